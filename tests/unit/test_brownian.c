/* Seeds against numpy's published vectors, increments against the A1111 notes' and against what a
 * Brownian path must satisfy. */
#include "golden.h"
#include "sampling/brownian.h"
#include <math.h>

static void
expect_words(const guint32 *entropy, int count, const guint32 *spawn, int spawn_count, int pool,
             const guint32 *want, int words)
{
    guint32 got[8];
    rv_seed_sequence(entropy, count, spawn, spawn_count, pool, got, words);
    for (int i = 0; i < words; i++)
        g_assert_cmpuint(got[i], ==, want[i]);
}

static void
test_seed_sequence(void)
{
    const guint32 numpy[] = { 3735928559u, 195939070u, 229505742u, 305419896u };
    expect_words(numpy, 4, NULL, 0, 4, (guint32[]) { 3914649087u, 576849849u, 3593928901u, 2229911004u }, 4);
    const guint32 seed[] = { 1234 };
    expect_words(seed, 1, NULL, 0, 24, (guint32[]) { 4280268349u, 3829106894u, 2675148735u }, 3);
    expect_words(seed, 1, (guint32[]) { 0, 0 }, 2, 24,
                 (guint32[]) { 840100010u, 4216861537u, 2835682605u, 1180521712u }, 4);
    expect_words(seed, 1, (guint32[]) { 0, 1 }, 2, 24, (guint32[]) { 3139964114u }, 1);
    expect_words(seed, 1, (guint32[]) { 1, 1 }, 2, 24, (guint32[]) { 4194980149u }, 1);
}

static void
test_karras_steps(void)
{
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 1234);
    RvBrownian *tree = rv_brownian_new(noise, (double)0.0291671753f, (double)14.6146412f, 4);
    double sigmas[3];
    for (int i = 0; i < 3; i++) {
        double low = pow((double)0.0291671753f, 1 / 7.0), high = pow((double)14.6146412f, 1 / 7.0);
        sigmas[i] = (double)(float)pow(high + i / 9.0 * (low - high), 7);
    }
    float got[4];
    rv_brownian_draw(tree, sigmas[0], sigmas[1], got);
    g_assert_cmpfloat(golden_difference(got, (const float[]) { 0.50078f, -0.33443f, 0.58408f, -0.02680f }, 4),
                      <, 2e-5);
    rv_brownian_draw(tree, sigmas[1], sigmas[2], got);
    g_assert_cmpfloat(
        golden_difference(got, (const float[]) { 0.04419f, -1.67282f, -0.66815f, -1.22023f }, 4), <, 2e-5);
    rv_brownian_free(tree);
    rv_noise_free(noise);
}

/* Increments over neighbouring intervals add up, whatever was asked before. */
static void
test_increments_add_up(void)
{
    enum { COUNT = 64 };
    RvNoise *noise = rv_noise_new(RV_NOISE_CPU, (G_GUINT64_CONSTANT(1) << 33) + 1);
    RvBrownian *tree = rv_brownian_new(noise, 0.03, 14.6, COUNT);
    float ab[COUNT], bc[COUNT], ac[COUNT];
    rv_brownian_draw(tree, 10.5, 3.25, ab);
    rv_brownian_draw(tree, 3.25, 0.7, bc);
    rv_brownian_draw(tree, 10.5, 0.7, ac);
    for (int i = 0; i < COUNT; i++) {
        double sum = (double)ab[i] * sqrt(10.5 - 3.25) + (double)bc[i] * sqrt(3.25 - 0.7);
        g_assert_cmpfloat(fabs(sum - (double)ac[i] * sqrt(10.5 - 0.7)), <, 1e-4);
    }
    rv_brownian_free(tree);
    rv_noise_free(noise);
}

/* What was asked before changes nothing, to the bit. */
static void
test_order_of_questions(void)
{
    enum { COUNT = 32 };
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 77);
    RvBrownian *used = rv_brownian_new(noise, 0.03, 14.6, COUNT);
    static const double steps[][2] = { { 14.6, 9.1 }, { 9.1, 5.4 },   { 5.4, 3.3 },
                                       { 9.1, 5.4 },  { 0.2, 0.03 },  { 5.4, 2.0 },
                                       { 2.0, 0.2 },  { 14.6, 0.03 }, { 3.3, 2.0 } };
    for (gsize i = 0; i < G_N_ELEMENTS(steps); i++) {
        RvBrownian *fresh = rv_brownian_new(noise, 0.03, 14.6, COUNT);
        float a[COUNT], b[COUNT];
        rv_brownian_draw(used, steps[i][0], steps[i][1], a);
        rv_brownian_draw(fresh, steps[i][0], steps[i][1], b);
        g_assert_cmpmem(a, sizeof a, b, sizeof b);
        rv_brownian_free(fresh);
    }
    rv_brownian_free(used);
    rv_noise_free(noise);
}

static void
test_unit_variance(void)
{
    enum { COUNT = 20000 };
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 9);
    RvBrownian *tree = rv_brownian_new(noise, 0.03, 14.6, COUNT);
    g_autofree float *draw = g_new(float, COUNT);
    rv_brownian_draw(tree, 2.0, 1.9, draw);
    double sum = 0, squares = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)draw[i];
        squares += (double)draw[i] * (double)draw[i];
    }
    g_assert_cmpfloat(fabs(sum / COUNT), <, 0.03);
    g_assert_cmpfloat(fabs(squares / COUNT - 1), <, 0.05);
    rv_brownian_draw(tree, 1.0, 1.0, draw); /* nothing happens in no time */
    g_assert_cmpfloat(draw[0], ==, 0);
    rv_brownian_free(tree);
    rv_brownian_free(NULL);
    rv_noise_free(noise);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/brownian/seed-sequence", test_seed_sequence);
    g_test_add_func("/brownian/karras-steps", test_karras_steps);
    g_test_add_func("/brownian/increments-add-up", test_increments_add_up);
    g_test_add_func("/brownian/order-of-questions", test_order_of_questions);
    g_test_add_func("/brownian/unit-variance", test_unit_variance);
    return g_test_run();
}
