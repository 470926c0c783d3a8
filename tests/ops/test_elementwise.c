#include <math.h>

#include "harness.h"

static double
act_value(RvAct act, double x)
{
    switch (act) {
    case RV_ACT_SILU:
        return x / (1.0 + exp(-x));
    case RV_ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2.0));
    case RV_ACT_QUICK_GELU:
        return x / (1.0 + exp(-1.702 * x));
    case RV_ACT_RELU:
        return x > 0.0 ? x : 0.0;
    case RV_ACT_TANH3:
        return 3.0 * tanh(x / 3.0);
    default:
        return x;
    }
}

static RvShape
random_shape(int largest_side, int largest_width)
{
    return (RvShape) { ops_random_int(1, 3), ops_random_int(1, largest_side), ops_random_int(1, largest_side),
                       ops_random_int(1, largest_width) };
}

static void
check_act(RvAct act, RvShape shape, int before, int after, bool in_place, float range)
{
    OpsCase *c = ops_case_new("act %d [%d,%d,%d,%d] slice %d,%d", act, shape.n, shape.h, shape.w, shape.c,
                              before, after);
    const float *x;
    RvTensor input =
        ops_input_slice(c, shape, before, after, rv_shape_count(shape) == 1 ? 0.5f : -range, range, &x);
    if (in_place)
        input = ops_copy(c, input);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(shape));
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        want[i] = act_value(act, (double)x[i]);
    RvTensor out = rv_act(ops_program(c), input, act);
    ops_check(c, in_place ? ops_copy(c, out) : out, want, 1e-6);
    ops_case_free(c);
}

static void
test_act(void)
{
    for (RvAct act = RV_ACT_NONE; act <= RV_ACT_TANH3; act++) {
        check_act(act, (RvShape) { 1, 1, 1, 1 }, 0, 0, false, 4.0f);
        check_act(act, (RvShape) { 2, 3, 5, 7 }, 0, 0, false, 10.0f);
        check_act(act, (RvShape) { 2, 3, 5, 7 }, 3, 2, false, 10.0f);
        check_act(act, (RvShape) { 1, 61, 67, 19 }, 0, 0, true,
                  100.0f); /* large enough for several threads */
        for (int i = 0; i < 4; i++)
            check_act(act, random_shape(40, 70), ops_random_int(0, 3), ops_random_int(0, 3), i % 2 == 1,
                      6.0f);
    }
}

/* Relative error near 0, where a bound on the whole tensor would not see it, and the far tails. */
static void
test_act_accuracy(void)
{
    static const float at[] = { 1e-6f, -1e-6f, 1e-3f, -1e-3f, 0.1f,   -0.1f, 0.59f, 0.61f,
                                2.5f,  -2.5f,  6.0f,  30.0f,  -30.0f, 90.0f, 1e30f };
    enum { COUNT = G_N_ELEMENTS(at) };
    for (RvAct act = RV_ACT_NONE; act <= RV_ACT_TANH3; act++) {
        OpsCase *c = ops_case_new("accuracy of act %d", act);
        RvTensor x = ops_copy(c, ops_input_values(c, RV_F32, (RvShape) { 1, 1, 1, COUNT }, at));
        g_autofree float *got = ops_result(c, rv_act(ops_program(c), x, act));
        for (int i = 0; i < COUNT; i++) {
            if (at[i] > 6e4f && ops_compute(c) == RV_F16)
                continue; /* more than a half float holds */
            double want = act_value(act, (double)at[i]), error = fabs((double)got[i] - want);
            double bound = ops_compute(c) == RV_F32 ? 1e-6 * fabs(want) + 4e-7 * MIN(1.0, fabs((double)at[i]))
                                                    : 0.05 * fabs(want) + 1e-3;
            if (error > bound)
                g_error("act %d of %g is %.9g, not %.9g", act, (double)at[i], (double)got[i], want);
        }
        ops_case_free(c);
    }
}

static void
test_act_nonfinite(void)
{
    static const float at[] = { NAN, 1.0f, INFINITY, -1.0f, NAN, NAN, 2.0f, 3.0f, 4.0f };
    enum { COUNT = G_N_ELEMENTS(at) };
    for (RvAct act = RV_ACT_NONE; act <= RV_ACT_TANH3; act++) {
        OpsCase *c = ops_case_new("act %d of NaN and infinity", act);
        RvTensor x = ops_copy(c, ops_input_values(c, RV_F32, (RvShape) { 1, 1, 1, COUNT }, at));
        g_autofree float *got = ops_result(c, rv_act(ops_program(c), x, act));
        for (int i = 0; i < COUNT; i++)
            if (isnan(at[i]) != isnan(got[i]))
                g_error("act %d makes %g of %g", act, (double)got[i], (double)at[i]);
        if (act == RV_ACT_TANH3)
            g_assert_cmpfloat(fabsf(got[2] - 3.0f), <, 1e-3f);
        else
            g_assert_true(isinf(got[2]) && got[2] > 0.0f);
        ops_case_free(c);
    }
}

static void
check_glu(RvShape shape, int before, int after)
{
    OpsCase *c = ops_case_new("glu [%d,%d,%d,%d]", shape.n, shape.h, shape.w, shape.c);
    const float *x;
    RvTensor input = ops_input_slice(c, shape, before, after, -5.0f, 5.0f, &x);
    int half = shape.c / 2;
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(shape) / 2);
    for (gint64 p = 0; p < rv_shape_pixels(shape); p++)
        for (int i = 0; i < half; i++)
            want[p * half + i] =
                (double)x[p * shape.c + i] * act_value(RV_ACT_GELU, (double)x[p * shape.c + half + i]);
    ops_check(c, rv_glu(ops_program(c), input), want, 1e-6);
    ops_case_free(c);
}

static void
test_glu(void)
{
    check_glu((RvShape) { 1, 2, 2, 6 }, 0, 0);
    check_glu((RvShape) { 2, 8, 8, 10 }, 0, 0);
    check_glu((RvShape) { 2, 8, 8, 10 }, 5, 1);
    check_glu((RvShape) { 2, 16, 16, 640 }, 0, 0);
    OpsCase *c = ops_case_new("glu of an odd width");
    const float *x;
    RvTensor input = ops_input(c, (RvShape) { 1, 1, 1, 5 }, -1, 1, &x);
    ops_check_fails(c, rv_glu(ops_program(c), input), RV_ERROR_FAILED, "two halves");
    ops_case_free(c);
}

static gint64
addend_index(RvShape a, RvShape b, int n, int p, int i)
{
    int plane = a.h * a.w;
    gint64 pixel = b.h * b.w == plane ? (gint64)(b.n == 1 ? 0 : n) * plane + p : (gint64)n;
    return pixel * a.c + i;
}

static void
check_add(RvShape a, RvShape b, int slice, bool in_place)
{
    OpsCase *c = ops_case_new("add [%d,%d,%d,%d] + [%d,%d,%d,%d] slice %d", a.n, a.h, a.w, a.c, b.n, b.h, b.w,
                              b.c, slice);
    const float *x, *y;
    RvTensor ta = ops_input_slice(c, a, slice, slice, -2.0f, 2.0f, &x);
    RvTensor tb = ops_input_slice(c, b, slice, 0, -2.0f, 2.0f, &y);
    if (in_place)
        ta = ops_copy(c, ta);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(a));
    gint64 at = 0;
    for (int n = 0; n < a.n; n++)
        for (int p = 0; p < a.h * a.w; p++)
            for (int i = 0; i < a.c; i++, at++)
                want[at] = (double)x[at] + (double)y[addend_index(a, b, n, p, i)];
    RvTensor out = rv_add(ops_program(c), ta, tb);
    ops_check(c, in_place ? ops_copy(c, out) : out, want, 1e-7);
    ops_case_free(c);
}

static void
test_add(void)
{
    const RvShape small = { 2, 3, 5, 7 }, large = { 2, 40, 37, 33 };
    for (int slice = 0; slice < 3; slice++)
        for (int in_place = 0; in_place < 2; in_place++) {
            check_add(small, small, slice, in_place);
            check_add(small, (RvShape) { 2, 1, 1, 7 }, slice, in_place);
            check_add(small, (RvShape) { 1, 3, 5, 7 }, slice, in_place);
            check_add(large, large, slice, in_place);
            check_add(large, (RvShape) { 2, 1, 1, 33 }, slice, in_place);
            check_add(large, (RvShape) { 1, 40, 37, 33 }, slice, in_place);
        }
    check_add((RvShape) { 3, 1, 1, 4 }, (RvShape) { 1, 1, 1, 4 }, 0, false); /* both broadcasts at once */
    check_add((RvShape) { 1, 1, 1, 1 }, (RvShape) { 1, 1, 1, 1 }, 0, false);
    check_add((RvShape) { 1, 4, 4, 8 }, (RvShape) { 1, 1, 1, 8 }, 0, false);
    for (int i = 0; i < 6; i++) {
        RvShape a = random_shape(30, 60);
        check_add(a, (RvShape) { a.n, 1, 1, a.c }, ops_random_int(0, 2), false);
    }
    OpsCase *c = ops_case_new("add of unlike shapes");
    const float *x;
    RvTensor ta = ops_input(c, small, -1, 1, &x), tb = ops_input(c, (RvShape) { 2, 3, 5, 8 }, -1, 1, &x);
    ops_check_fails(c, rv_add(ops_program(c), ta, tb), RV_ERROR_FAILED, "cannot add");
    ops_case_free(c);
}

typedef enum { ABSENT, SCALAR, MASK, MASK_ALL } Factor;

static RvTensor
factor_input(OpsCase *c, Factor kind, RvShape x, double *per_pixel)
{
    if (kind == ABSENT) {
        for (gint64 p = 0; p < rv_shape_pixels(x); p++)
            per_pixel[p] = 1.0;
        return (RvTensor) { 0 };
    }
    RvShape shape =
        kind == SCALAR ? (RvShape) { 1, 1, 1, 1 } : (RvShape) { kind == MASK ? x.n : 1, x.h, x.w, 1 };
    gsize count = (gsize)rv_shape_count(shape);
    g_autofree float *values = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        values[i] = ops_random(-2.0f, 2.0f);
    for (gint64 p = 0; p < rv_shape_pixels(x); p++)
        per_pixel[p] = (double)values[(gsize)p % count];
    return ops_input_values(c, RV_F32, shape, values);
}

static void
check_mix(RvShape shape, Factor a_kind, Factor b_kind, int slice, bool in_place)
{
    OpsCase *c = ops_case_new("mix [%d,%d,%d,%d] factors %d, %d slice %d", shape.n, shape.h, shape.w, shape.c,
                              a_kind, b_kind, slice);
    const float *x, *y;
    gsize pixels = (gsize)rv_shape_pixels(shape);
    g_autofree double *a = g_new(double, pixels), *b = g_new(double, pixels);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(shape));
    RvTensor tx = ops_input_slice(c, shape, slice, slice, -2.0f, 2.0f, &x);
    RvTensor ty = ops_input_slice(c, shape, 0, slice, -2.0f, 2.0f, &y);
    RvTensor ta = factor_input(c, a_kind, shape, a), tb = factor_input(c, b_kind, shape, b);
    if (in_place)
        tx = ops_copy(c, tx);
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        want[i] = a[i / shape.c] * (double)x[i] + b[i / shape.c] * (double)y[i];
    RvTensor out = rv_mix(ops_program(c), ta, tx, tb, ty);
    ops_check(c, in_place ? ops_copy(c, out) : out, want, 4e-7);
    ops_case_free(c);
}

static void
test_mix(void)
{
    for (Factor a = ABSENT; a <= MASK_ALL; a++)
        for (Factor b = ABSENT; b <= MASK_ALL; b++) {
            check_mix((RvShape) { 2, 3, 5, 4 }, a, b, 0, false);
            check_mix((RvShape) { 2, 3, 5, 4 }, a, b, 2, true);
            check_mix((RvShape) { 3, 61, 67, 4 }, a, b, 0, true);
            check_mix((RvShape) { 1, 1, 1, 1 }, a, b, 0, false);
        }
}

static void
check_concat(RvShape shape, int second, int slice)
{
    OpsCase *c = ops_case_new("concat [%d,%d,%d,%d] and %d slice %d", shape.n, shape.h, shape.w, shape.c,
                              second, slice);
    RvShape other = shape, whole = shape;
    other.c = second;
    whole.c += second;
    const float *x, *y;
    RvTensor tx = ops_input_slice(c, shape, slice, 0, -2.0f, 2.0f, &x);
    RvTensor ty = ops_input_slice(c, other, slice, slice, -2.0f, 2.0f, &y);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(whole));
    for (gint64 p = 0; p < rv_shape_pixels(shape); p++)
        for (int i = 0; i < whole.c; i++)
            want[p * whole.c + i] =
                i < shape.c ? (double)x[p * shape.c + i] : (double)y[p * second + i - shape.c];
    ops_check(c, rv_concat(ops_program(c), tx, ty), want, 0.0);
    ops_case_free(c);
}

static void
test_concat(void)
{
    check_concat((RvShape) { 1, 1, 1, 1 }, 1, 0);
    check_concat((RvShape) { 2, 3, 5, 7 }, 4, 0);
    check_concat((RvShape) { 2, 3, 5, 7 }, 4, 3);
    check_concat((RvShape) { 2, 16, 16, 320 }, 640, 0);
    for (int i = 0; i < 6; i++)
        check_concat(random_shape(30, 60), ops_random_int(1, 60), ops_random_int(0, 2));
}

static guint8
to_u8(double value)
{
    return isnan(value) ? 0 : (guint8)CLAMP(nearbyint(value), 0.0, 255.0);
}

static void
check_convert(RvShape shape, RvDType from, RvDType to, float scale, float shift, int slice)
{
    OpsCase *c = ops_case_new("convert %s to %s [%d,%d,%d,%d] slice %d", rv_dtype_name(from),
                              rv_dtype_name(to), shape.n, shape.h, shape.w, shape.c, slice);
    RvShape whole = shape;
    whole.c += slice;
    gsize count = (gsize)rv_shape_count(whole);
    g_autofree float *floats = g_new(float, count);
    g_autofree guint8 *bytes = g_new(guint8, count);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(shape));
    for (gsize i = 0; i < count; i++) {
        bytes[i] = (guint8)ops_random_int(0, 255);
        floats[i] = (float)ops_random_int(-64, 600) * 0.5f; /* exact, and full of ties */
    }
    for (gint64 p = 0, at = 0; p < rv_shape_pixels(shape); p++)
        for (int i = 0; i < shape.c; i++, at++) {
            gint64 source = p * whole.c + slice + i;
            double value = (from == RV_U8 ? (double)bytes[source] : (double)floats[source]) *
                               (scale == 0.0f ? 1.0 : (double)scale) +
                           (double)shift;
            want[at] = to == RV_U8 ? (double)to_u8(value) : value;
        }
    RvTensor x = ops_input_values(c, from, whole, from == RV_U8 ? (const void *)bytes : floats);
    if (slice > 0)
        x = rv_slice(ops_program(c), x, slice, shape.c);
    RvTensor out = rv_convert(ops_program(c), x, (RvConvert) { to, scale, shift });
    ops_check(c, out, want, to == RV_U8 ? 0.0 : 2e-7);
    ops_case_free(c);
}

static void
test_convert(void)
{
    static const RvDType types[] = { RV_F32, RV_U8 };
    for (int from = 0; from < 2; from++)
        for (int to = 0; to < 2; to++)
            for (int slice = 0; slice < 3; slice++) {
                check_convert((RvShape) { 2, 3, 5, 3 }, types[from], types[to], 0.0f, 0.0f, slice);
                check_convert((RvShape) { 2, 3, 5, 3 }, types[from], types[to], 0.5f, 0.25f, slice);
                check_convert((RvShape) { 1, 127, 129, 3 }, types[from], types[to], 0.25f, -16.0f, slice);
                check_convert((RvShape) { 1, 1, 1, 1 }, types[from], types[to], 2.0f, -1.0f, slice);
            }
}

static void
test_convert_rounding(void)
{
    static const float at[] = { 0.5f,   1.5f,  2.5f, 254.5f,   255.5f,    -0.5f,
                                -1e30f, 1e30f, NAN,  INFINITY, -INFINITY, 3.4999998f };
    static const float want[] = { 0, 2, 2, 254, 255, 0, 0, 255, 0, 255, 0, 3 };
    OpsCase *c = ops_case_new("rounding to bytes");
    RvTensor x = ops_input_values(c, RV_F32, (RvShape) { 1, 1, 1, G_N_ELEMENTS(at) }, at);
    g_autofree float *got = ops_result(c, rv_convert(ops_program(c), x, (RvConvert) { RV_U8, 0, 0 }));
    for (gsize i = 0; i < G_N_ELEMENTS(at); i++)
        g_assert_cmpfloat(got[i], ==, want[i]);
    ops_case_free(c);

    c = ops_case_new("convert of integers");
    static const gint32 integers[] = { 1, 2, 3 };
    x = ops_input_values(c, RV_I32, (RvShape) { 1, 1, 1, 3 }, integers);
    ops_check_fails(c, rv_convert(ops_program(c), x, (RvConvert) { RV_F32, 0, 0 }), RV_ERROR_UNSUPPORTED,
                    "I32");
    ops_case_free(c);
}

static void
bench_elementwise(void)
{
    const RvShape shape = { 1, 64, 64, 1280 }, wide = { 1, 64, 64, 2560 };
    const float *x;
    for (RvAct act = RV_ACT_SILU; act <= RV_ACT_TANH3; act++) {
        OpsCase *c = ops_case_new("act %d [1,64,64,1280]", act);
        ops_bench(c, rv_act(ops_program(c), ops_input(c, shape, -4, 4, &x), act));
        ops_case_free(c);
    }
    const RvShape large = { 1, 256, 256, 512 }; /* more than any cache holds */
    OpsCase *c = ops_case_new("act 1 [1,256,256,512]");
    ops_bench(c, rv_act(ops_program(c), ops_input(c, large, -4, 4, &x), RV_ACT_SILU));
    ops_case_free(c);
    c = ops_case_new("glu [1,256,256,512]");
    ops_bench(c, rv_glu(ops_program(c), ops_input(c, large, -4, 4, &x)));
    ops_case_free(c);
    c = ops_case_new("add [1,256,256,512]");
    ops_bench(c, rv_add(ops_program(c), ops_input(c, large, -4, 4, &x), ops_input(c, large, -4, 4, &x)));
    ops_case_free(c);
    c = ops_case_new("convert to U8 [1,4096,4096,3]");
    ops_bench(c, rv_convert(ops_program(c), ops_input(c, (RvShape) { 1, 4096, 4096, 3 }, -1, 1, &x),
                            (RvConvert) { RV_U8, 127.5f, 127.5f }));
    ops_case_free(c);
    c = ops_case_new("glu [1,64,64,2560]");
    ops_bench(c, rv_glu(ops_program(c), ops_input(c, wide, -4, 4, &x)));
    ops_case_free(c);
    c = ops_case_new("add [1,64,64,1280]");
    ops_bench(c, rv_add(ops_program(c), ops_input(c, shape, -4, 4, &x), ops_input(c, shape, -4, 4, &x)));
    ops_case_free(c);
    c = ops_case_new("concat [1,64,64,1280] twice");
    ops_bench(c, rv_concat(ops_program(c), ops_input(c, shape, -4, 4, &x), ops_input(c, shape, -4, 4, &x)));
    ops_case_free(c);
    c = ops_case_new("convert to U8 [1,512,512,3]");
    ops_bench(c, rv_convert(ops_program(c), ops_input(c, (RvShape) { 1, 512, 512, 3 }, -1, 1, &x),
                            (RvConvert) { RV_U8, 127.5f, 127.5f }));
    ops_case_free(c);
    c = ops_case_new("mix [1,64,64,4]");
    float half = 0.5f;
    RvTensor factor = ops_input_values(c, RV_F32, (RvShape) { 1, 1, 1, 1 }, &half);
    const RvShape latent = { 1, 64, 64, 4 };
    ops_bench(c, rv_mix(ops_program(c), factor, ops_input(c, latent, -1, 1, &x), factor,
                        ops_input(c, latent, -1, 1, &x)));
    ops_case_free(c);
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/act/values", test_act);
    ops_add_test("/act/accuracy", test_act_accuracy);
    ops_add_test("/act/nonfinite", test_act_nonfinite);
    ops_add_test("/glu", test_glu);
    ops_add_test("/add", test_add);
    ops_add_test("/mix", test_mix);
    ops_add_test("/concat", test_concat);
    ops_add_test("/convert/values", test_convert);
    ops_add_test("/convert/rounding", test_convert_rounding);
    ops_add_bench(bench_elementwise);
    return ops_main();
}
