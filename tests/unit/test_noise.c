/* Noise against torch's own draws (CPU bit for bit, an H200 within its fast arithmetic) and against the
 * published vectors of the portable source. */
#include "golden.h"
#include "sampling/noise.h"
#include <math.h>
#include <string.h>

static const guint64 seeds[] = { 0, 42, 123456789, G_GUINT64_CONSTANT(4294967303) };

static void
compare_draws(const char *prefix, RvNoiseKind kind, double tolerance)
{
    g_autofree char *path = golden_path("reference/numbers.safetensors");
    Golden *golden = golden_open(path);
    for (gsize s = 0; s < G_N_ELEMENTS(seeds); s++) {
        RvNoise *noise = rv_noise_new(kind, seeds[s]);
        static const char *const draws[] = { "a", "b", "small" };
        for (gsize d = 0; d < G_N_ELEMENTS(draws); d++) {
            g_autofree char *name =
                g_strdup_printf("%s.%" G_GUINT64_FORMAT ".%s", prefix, seeds[s], draws[d]);
            gsize count;
            const float *want = golden_get(golden, name, &count, NULL);
            g_autofree float *got = g_new(float, count);
            rv_noise_draw(noise, got, count);
            double difference = golden_difference(got, want, count);
            g_test_message("%s: largest difference %g", name, difference);
            g_assert_cmpfloat(difference, <=, tolerance);
        }
        rv_noise_free(noise);
    }
    golden_close(golden);
}

static void
test_cpu_is_torch_bit_for_bit(void)
{
    compare_draws("cpu", RV_NOISE_CPU, 0);
}

static void
test_cuda_is_an_h200(void)
{
    compare_draws("cuda", RV_NOISE_CUDA, 3e-6);
}

/* Only the sine halves are used while a latent fits the GPU at once, and then NV equals CUDA. */
static void
test_nv_equals_cuda_while_it_fits(void)
{
    compare_draws("cuda", RV_NOISE_NV, 3e-6);
    RvNoise *nv = rv_noise_new(RV_NOISE_NV, 7), *small = rv_noise_new_cuda(7, 1, 512);
    float a[1024], b[1024];
    rv_noise_draw(nv, a, 1024);
    rv_noise_draw(small, b, 1024);
    g_assert_cmpfloat(golden_difference(a, b, 512), <=, 3e-6);
    g_assert_cmpfloat(golden_difference(a + 512, b + 512, 512), >, 0.1);
    rv_noise_free(nv);
    rv_noise_free(small);
}

static void
test_cuda_at_the_size_of_a_picture(void)
{
    g_autofree char *path = golden_path("reference/numbers.safetensors");
    Golden *golden = golden_open(path);
    g_autofree float *got = g_new(float, 4 * 128 * 128);
    for (gsize s = 0; s < G_N_ELEMENTS(seeds); s++) {
        g_autofree char *name = g_strdup_printf("cuda.%" G_GUINT64_FORMAT ".sdxl", seeds[s]);
        const float *want = golden_get(golden, name, NULL, NULL);
        RvNoise *noise = rv_noise_new(RV_NOISE_CUDA, seeds[s]);
        rv_noise_draw(noise, got, 4 * 128 * 128);
        for (int c = 0; c < 4; c++)
            for (int y = 0; y < 8; y++)
                for (int x = 0; x < 8; x++)
                    g_assert_cmpfloat(fabs((double)got[(c * 128 + y * 16) * 128 + x * 16] -
                                           (double)want[(c * 8 + y) * 8 + x]),
                                      <=, 3e-6);
        rv_noise_free(noise);
    }
    golden_close(golden);
}

static void
expect_draw(RvNoise *noise, const float *want, gsize count, double tolerance)
{
    g_autofree float *got = g_new(float, count);
    rv_noise_draw(noise, got, count);
    g_assert_cmpfloat(golden_difference(got, want, count), <=, tolerance);
}

static void
test_nv_vectors(void)
{
    /* A1111's own example, made before its constants were rounded to float32. */
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 0);
    expect_draw(noise, (float[]) { -0.92466259f, -0.42534415f, -2.6438457f, 0.14518388f }, 4, 3e-7);
    rv_noise_free(noise);
    noise = rv_noise_new(RV_NOISE_NV, 1234);
    expect_draw(noise, (float[]) { -1.6164904f, 0.5684552f, -0.5102246f, -0.9113394f }, 4, 1e-7);
    expect_draw(noise, (float[]) { 0.6330828f, 1.6358219f, -0.3458629f, 1.0195528f }, 4, 1e-7);
    rv_noise_free(noise);
    noise = rv_noise_new(RV_NOISE_NV, (G_GUINT64_CONSTANT(1) << 32) + 5);
    expect_draw(noise, (float[]) { -2.8427474f, 1.3404924f, 0.2722309f }, 3, 1e-7);
    rv_noise_free(noise);
}

static void
test_cpu_vectors(void)
{
    static const float want[] = { -1.1258f, -1.1524f, -0.2506f, -0.4339f, 0.8487f, 0.6920f,
                                  -0.3160f, -2.1152f, 0.3223f,  -1.2633f, 0.3500f, 0.3081f,
                                  0.1198f,  1.2377f,  1.1168f,  -0.2473f };
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, 0);
    expect_draw(noise, want, 16, 6e-5);
    rv_noise_free(noise);
}

/* A length that is no multiple of 16 draws its last 16 numbers afresh. */
static void
test_cpu_odd_length(void)
{
    float whole[32], odd[20];
    RvNoise *a = rv_noise_new(RV_NOISE_CPU, 3), *b = rv_noise_new(RV_NOISE_CPU, 3);
    rv_noise_draw(a, whole, 32);
    rv_noise_draw(b, odd, 20);
    g_assert_cmpmem(whole, 4 * sizeof(float), odd, 4 * sizeof(float));
    g_assert_cmpfloat(golden_difference(whole + 4, odd + 4, 12), >, 0.01);
    rv_noise_free(a);
    rv_noise_free(b);
}

static void
test_kind_names(void)
{
    RvNoiseKind kind;
    g_assert_true(rv_noise_parse_kind("GPU", &kind));
    g_assert_cmpint(kind, ==, RV_NOISE_NV);
    for (int i = RV_NOISE_CPU; i <= RV_NOISE_CUDA; i++) {
        g_assert_true(rv_noise_parse_kind(rv_noise_kind_name((RvNoiseKind)i), &kind));
        g_assert_cmpint(kind, ==, i);
    }
    g_assert_false(rv_noise_parse_kind("dice", &kind));
    g_assert_null(rv_noise_kind_name((RvNoiseKind)9));
}

/* Half way between two orthogonal columns lies their sum over the square root of two. */
static void
test_slerp(void)
{
    const float low[] = { 1, 0, 0, 2 }, high[] = { 0, 3, 1, 0 }; /* 1 channel, 2 rows, 2 columns */
    float out[4];
    rv_noise_slerp(0.5f, low, high, 1, 2, 2, out);
    for (int i = 0; i < 4; i++)
        g_assert_cmpfloat(fabsf(out[i] - (low[i] + high[i]) * 0.70710678f), <, 1e-6f);
    rv_noise_slerp(0.25f, low, low, 1, 2, 2, out); /* parallel: amounts are swapped, as in A1111 */
    for (int i = 0; i < 4; i++)
        g_assert_cmpfloat(fabsf(out[i] - low[i]), <, 1e-6f);
}

static void
test_paste_centres_and_crops(void)
{
    const float small[] = { 1, 2, 3, 4 };
    float big[16] = { 0 }, line[2] = { 0 };
    rv_noise_paste(small, 2, 2, 1, 4, 4, big);
    g_assert_cmpfloat(big[5], ==, 1);
    g_assert_cmpfloat(big[10], ==, 4);
    g_assert_cmpfloat(big[0], ==, 0);
    for (int i = 0; i < 16; i++)
        big[i] = (float)i;
    rv_noise_paste(big, 4, 4, 1, 2, 1, line); /* 3 columns too many: floor(-3/2) = -2 leaves none */
    g_assert_cmpfloat(line[0], ==, 0);
    float two[4];
    rv_noise_paste(big, 4, 4, 1, 2, 2, two);
    g_assert_cmpfloat(two[0], ==, 5);
    g_assert_cmpfloat(two[3], ==, 10);
}

static void
test_start_rules(void)
{
    float plain[64], start[64], again[64];
    RvNoise *a = rv_noise_new(RV_NOISE_NV, 5), *b = rv_noise_new(RV_NOISE_NV, 5);
    rv_noise_draw(a, plain, 64);
    rv_noise_draw_start(b, &(RvNoiseStart) { .channels = 1, .height = 8, .width = 8 }, start);
    g_assert_cmpmem(plain, sizeof plain, start, sizeof start);
    rv_noise_draw(a, plain, 64); /* both generators go on alike */
    rv_noise_draw(b, again, 64);
    g_assert_cmpmem(plain, sizeof plain, again, sizeof again);
    rv_noise_free(b);

    /* A variation of full strength is the other seed's noise. */
    b = rv_noise_new(RV_NOISE_NV, 5);
    RvNoise *other = rv_noise_new(RV_NOISE_NV, 6);
    rv_noise_draw(other, plain, 64);
    rv_noise_draw_start(
        b, &(RvNoiseStart) { .channels = 1, .height = 8, .width = 8, .subseed = 6, .subseed_strength = 1 },
        start);
    g_assert_cmpfloat(golden_difference(plain, start, 64), <, 1e-5);
    rv_noise_free(b);

    /* A resized seed keeps the old noise in the centre. */
    b = rv_noise_new(RV_NOISE_NV, 5);
    float small[16];
    RvNoise *fresh = rv_noise_new_like(b, 5);
    rv_noise_draw(fresh, small, 16);
    rv_noise_draw_start(
        b, &(RvNoiseStart) { .channels = 1, .height = 8, .width = 8, .from_height = 4, .from_width = 4 },
        start);
    g_assert_cmpmem(start + 2 * 8 + 2, 4 * sizeof(float), small, 4 * sizeof(float));
    rv_noise_free(a);
    rv_noise_free(b);
    rv_noise_free(other);
    rv_noise_free(fresh);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/noise/cpu-bit-for-bit", test_cpu_is_torch_bit_for_bit);
    g_test_add_func("/noise/cpu-vectors", test_cpu_vectors);
    g_test_add_func("/noise/cpu-odd-length", test_cpu_odd_length);
    g_test_add_func("/noise/cuda-h200", test_cuda_is_an_h200);
    g_test_add_func("/noise/cuda-picture", test_cuda_at_the_size_of_a_picture);
    g_test_add_func("/noise/nv-equals-cuda", test_nv_equals_cuda_while_it_fits);
    g_test_add_func("/noise/nv-vectors", test_nv_vectors);
    g_test_add_func("/noise/kind-names", test_kind_names);
    g_test_add_func("/noise/slerp", test_slerp);
    g_test_add_func("/noise/paste", test_paste_centres_and_crops);
    g_test_add_func("/noise/start", test_start_rules);
    return g_test_run();
}
