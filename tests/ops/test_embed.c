#include <math.h>

#include "harness.h"

static void
check_embed(RvDType table_type, RvDType position_type, bool with_positions, int n, int tokens, int rows,
            int width)
{
    OpsCase *c =
        ops_case_new("embed %d x %d of %d rows of %d, %s", n, tokens, rows, width, rv_dtype_name(table_type));
    const float *table =
        ops_weight(c, "token.weight", table_type, -2.0f, 2.0f, 2, (gint64[]) { rows, width });
    const float *positions =
        ops_weight(c, "position.weight", position_type, -2.0f, 2.0f, 2, (gint64[]) { tokens, width });
    g_autofree gint32 *ids = g_new(gint32, (gsize)(n * tokens));
    g_autofree double *want = g_new(double, (gsize)(n * tokens * width));
    for (int i = 0; i < n * tokens; i++) {
        ids[i] = i == 0 ? 0 : i == 1 ? rows - 1 : ops_random_int(0, rows - 1);
        for (int k = 0; k < width; k++)
            want[i * width + k] = (double)table[ids[i] * width + k] +
                                  (with_positions ? (double)positions[i % tokens * width + k] : 0.0);
    }
    RvTensor input = ops_input_values(c, RV_I32, (RvShape) { n, 1, tokens, 1 }, ids);
    RvTensor out = rv_embed(ops_program(c), input, "token", rows, width, with_positions ? "position" : NULL);
    ops_check(c, out, want, 1e-7);
    ops_case_free(c);
}

static void
test_embed(void)
{
    static const RvDType types[] = { RV_F32, RV_F16, RV_BF16 };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            check_embed(types[i], types[j], true, 2, 7, 50, 33);
    check_embed(RV_F32, RV_F32, false, 1, 1, 1, 1);
    check_embed(RV_F16, RV_F32, false, 2, 77, 500, 768);
}

static void
test_embed_bad_ids(void)
{
    static const gint32 bad[] = { 10, -1, G_MAXINT32, G_MININT32 };
    static const char *const text[] = { "id 10", "id -1", "id 2147483647", "id -2147483648" };
    for (int i = 0; i < 4; i++) {
        OpsCase *c = ops_case_new("embed of id %d", bad[i]);
        ops_weight(c, "token.weight", RV_F32, -2.0f, 2.0f, 2, (gint64[]) { 10, 4 });
        RvTensor ids = ops_input_values(c, RV_I32, (RvShape) { 1, 1, 3, 1 }, (gint32[]) { 9, 0, bad[i] });
        ops_check_fails(c, rv_embed(ops_program(c), ids, "token", 10, 4, NULL), RV_ERROR_INVALID, text[i]);
        ops_case_free(c);
    }
}

static void
check_pick(RvShape shape, int slice)
{
    OpsCase *c = ops_case_new("pick of [%d,%d,%d,%d] slice %d", shape.n, shape.h, shape.w, shape.c, slice);
    const float *x;
    RvTensor input = ops_input_slice(c, shape, slice, slice, -2.0f, 2.0f, &x);
    int tokens = shape.h * shape.w;
    g_autofree gint32 *index = g_new(gint32, (gsize)shape.n);
    g_autofree double *want = g_new(double, (gsize)(shape.n * shape.c));
    for (int n = 0; n < shape.n; n++) {
        index[n] = n == 0 ? tokens - 1 : ops_random_int(0, tokens - 1);
        for (int i = 0; i < shape.c; i++)
            want[n * shape.c + i] = (double)x[(n * tokens + index[n]) * shape.c + i];
    }
    RvTensor at = ops_input_values(c, RV_I32, (RvShape) { shape.n, 1, 1, 1 }, index);
    ops_check(c, rv_pick(ops_program(c), input, at), want, 0.0);
    ops_case_free(c);
}

static void
test_pick(void)
{
    check_pick((RvShape) { 1, 1, 1, 1 }, 0);
    check_pick((RvShape) { 3, 1, 77, 768 }, 0);
    check_pick((RvShape) { 2, 4, 5, 6 }, 3);
    for (int i = 0; i < 2; i++) {
        OpsCase *c = ops_case_new("pick of a token that is not there");
        const float *x;
        RvTensor input = ops_input(c, (RvShape) { 2, 1, 7, 4 }, -1.0f, 1.0f, &x);
        RvTensor at =
            ops_input_values(c, RV_I32, (RvShape) { 2, 1, 1, 1 }, (gint32[]) { 0, i == 0 ? 7 : -1 });
        ops_check_fails(c, rv_pick(ops_program(c), input, at), RV_ERROR_INVALID,
                        i == 0 ? "token 7 of image 1" : "token -1 of image 1");
        ops_case_free(c);
    }
}

static void
check_sinusoid(RvShape shape, RvSinusoid options)
{
    OpsCase *c = ops_case_new("sinusoid of width %d, flip %d, shift %g", options.width,
                              options.flip_sin_to_cos, (double)options.shift);
    gsize count = (gsize)rv_shape_count(shape);
    int half = options.width / 2;
    g_autofree float *x = g_new(float, count);
    g_autofree double *want = g_new(double, count *(gsize)options.width);
    for (gsize p = 0; p < count; p++) {
        x[p] = p == 0 ? 0.0f : p == 1 ? 999.0f : ops_random(0.0f, 1024.0f);
        for (int i = 0; i < half; i++) {
            double angle = (double)x[p] * pow(10000.0, -i / (half - (double)options.shift));
            want[p * (gsize)options.width + (gsize)i] = options.flip_sin_to_cos ? cos(angle) : sin(angle);
            want[p * (gsize)options.width + (gsize)(half + i)] =
                options.flip_sin_to_cos ? sin(angle) : cos(angle);
        }
    }
    RvTensor input = ops_input_values(c, RV_F32, shape, x);
    ops_check(c, rv_sinusoid(ops_program(c), input, options), want, ops_compute(c) == RV_F32 ? 1e-6 : 4e-3);
    ops_case_free(c);
}

static void
test_sinusoid(void)
{
    check_sinusoid((RvShape) { 1, 1, 1, 1 }, (RvSinusoid) { .width = 2 });
    check_sinusoid((RvShape) { 2, 1, 1, 1 }, (RvSinusoid) { .width = 320, .flip_sin_to_cos = true });
    check_sinusoid((RvShape) { 2, 1, 6, 1 }, (RvSinusoid) { .width = 256, .flip_sin_to_cos = true });
    check_sinusoid((RvShape) { 3, 1, 1, 1 }, (RvSinusoid) { .width = 32, .shift = 1.0f });
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/embed/values", test_embed);
    ops_add_test("/embed/bad-ids", test_embed_bad_ids);
    ops_add_test("/pick", test_pick);
    ops_add_test("/sinusoid", test_sinusoid);
    return ops_main();
}
