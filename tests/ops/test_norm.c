#include <math.h>

#include "harness.h"

typedef struct {
    RvShape shape;
    int groups; /* 0: layer norm */
    float eps;  /* 0: the default */
    RvAct act;
    RvDType weights;
    int slice;
    bool in_place;
    float mean; /* added to numbers in [-1, 1] */
} Case;

static double
act_value(RvAct act, double x)
{
    return act == RV_ACT_SILU ? x / (1.0 + exp(-x)) : act == RV_ACT_RELU ? MAX(x, 0.0) : x;
}

/* Normalises image n's channels [first, first + count), pixels [from, to). */
static void
normalize(const Case *k, const float *x, const float *weight, const float *bias, gint64 from, gint64 to,
          int first, int count, double *out)
{
    int c = k->shape.c;
    double mean = 0.0, variance = 0.0, size = (double)(to - from) * count;
    for (gint64 p = from; p < to; p++)
        for (int i = first; i < first + count; i++)
            mean += (double)x[p * c + i] / size;
    for (gint64 p = from; p < to; p++)
        for (int i = first; i < first + count; i++)
            variance += pow((double)x[p * c + i] - mean, 2.0) / size;
    double scale = 1.0 / sqrt(variance + (k->eps != 0.0f ? (double)k->eps : 1e-5));
    for (gint64 p = from; p < to; p++)
        for (int i = first; i < first + count; i++)
            out[p * c + i] = act_value(k->act, ((double)x[p * c + i] - mean) * scale * (double)weight[i] +
                                                   (double)bias[i]);
}

static void
check(Case k)
{
    OpsCase *c =
        ops_case_new("%s norm [%d,%d,%d,%d], %d groups, %s, slice %d, mean %g%s",
                     k.groups > 0 ? "group" : "layer", k.shape.n, k.shape.h, k.shape.w, k.shape.c, k.groups,
                     rv_dtype_name(k.weights), k.slice, (double)k.mean, k.in_place ? ", in place" : "");
    const gint64 width = k.shape.c;
    const float *weight = ops_weight(c, "norm.weight", k.weights, -2.0f, 2.0f, 1, &width);
    const float *bias = ops_weight(c, "norm.bias", k.weights, -2.0f, 2.0f, 1, &width);
    const float *x;
    RvTensor input = ops_input_slice(c, k.shape, k.slice, k.slice, k.mean - 1.0f, k.mean + 1.0f, &x);
    if (k.in_place)
        input = ops_copy(c, input);
    g_autofree double *want = g_new(double, (gsize)rv_shape_count(k.shape));
    gint64 plane = (gint64)k.shape.h * k.shape.w;
    if (k.groups == 0)
        for (gint64 p = 0; p < rv_shape_pixels(k.shape); p++)
            normalize(&k, x, weight, bias, p, p + 1, 0, k.shape.c, want);
    for (int n = 0; n < k.shape.n; n++)
        for (int g = 0; g < k.groups; g++)
            normalize(&k, x, weight, bias, n * plane, (n + 1) * plane, g * k.shape.c / k.groups,
                      k.shape.c / k.groups, want);
    RvNorm options = { .groups = k.groups, .eps = k.eps, .act = k.act };
    RvTensor out = k.groups > 0 ? rv_group_norm(ops_program(c), input, "norm", options)
                                : rv_layer_norm(ops_program(c), input, "norm", options);
    ops_check(c, k.in_place ? ops_copy(c, out) : out, want, 4e-6 + 1e-8 * fabs((double)k.mean));
    ops_case_free(c);
}

static void
test_group_norm(void)
{
    check((Case) { .shape = { 1, 1, 1, 4 }, .groups = 1 });
    check((Case) { .shape = { 1, 1, 1, 4 }, .groups = 2, .eps = 1e-6f });
    check((Case) { .shape = { 2, 3, 5, 8 }, .groups = 8, .act = RV_ACT_SILU });
    check((Case) { .shape = { 2, 8, 8, 320 }, .groups = 32, .act = RV_ACT_SILU });
    check((Case) { .shape = { 2, 16, 16, 96 }, .groups = 32, .eps = 1e-6f, .weights = RV_F16 });
    check((Case) { .shape = { 1, 9, 31, 30 }, .groups = 3, .weights = RV_BF16, .slice = 5 });
    check((Case) { .shape = { 3, 65, 63, 32 }, .groups = 32, .act = RV_ACT_RELU, .slice = 1 });
    check((Case) { .shape = { 1, 128, 128, 32 }, .groups = 8, .act = RV_ACT_SILU, .in_place = true });
    check((Case) { .shape = { 1, 2, 2, 2560 }, .groups = 32, .in_place = true });
    check((Case) { .shape = { 1, 64, 64, 320 }, .groups = 32, .act = RV_ACT_SILU });
    check((Case) { .shape = { 2, 32, 32, 640 }, .groups = 32, .in_place = true });
    check((Case) { .shape = { 3, 16, 17, 960 }, .groups = 32, .act = RV_ACT_SILU, .slice = 8 });
    check((Case) { .shape = { 1, 33, 31, 1920 }, .groups = 32, .act = RV_ACT_SILU });
    check((Case) { .shape = { 2, 8, 8, 1280 }, .groups = 32, .mean = 30.0f });
    check((Case) { .shape = { 1, 40, 24, 352 }, .groups = 32, .act = RV_ACT_SILU, .in_place = true });
    check((Case) { .shape = { 1, 150, 150, 64 }, .groups = 1, .act = RV_ACT_SILU });
}

static void
test_layer_norm(void)
{
    check((Case) { .shape = { 1, 1, 1, 2 } });
    check((Case) { .shape = { 2, 1, 77, 768 } });
    check((Case) { .shape = { 2, 1, 77, 768 }, .weights = RV_F16, .eps = 1e-6f });
    check((Case) { .shape = { 1, 16, 16, 320 }, .slice = 3 });
    check((Case) { .shape = { 1, 16, 16, 33 }, .act = RV_ACT_SILU });
    check((Case) { .shape = { 1, 5, 5, 17 }, .weights = RV_BF16, .act = RV_ACT_RELU });
}

static void
test_random_shapes(void)
{
    for (int i = 0; i < 20; i++) {
        int groups = ops_random_int(0, 8), width = ops_random_int(2, 40);
        check((Case) { .shape = { ops_random_int(1, 3), ops_random_int(1, 40), ops_random_int(1, 40),
                                  MAX(1, groups) * width },
                       .groups = groups,
                       .slice = ops_random_int(0, 3),
                       .in_place = ops_random_int(0, 1) });
    }
}

/* A mean far from zero must not cancel the variance. */
static void
test_large_mean(void)
{
    check((Case) { .shape = { 1, 64, 64, 32 }, .groups = 8, .mean = 1000.0f });
    check((Case) { .shape = { 1, 64, 64, 32 }, .groups = 1, .mean = -5000.0f });
    check((Case) { .shape = { 1, 4, 4, 320 }, .mean = 1000.0f });
}

/* Not the exact zero variance only: bias must come out where all values are equal. */
static void
test_constant_input(void)
{
    enum { PIXELS = 100, WIDTH = 8 };
    for (int groups = 0; groups <= 4; groups += 4) {
        OpsCase *c = ops_case_new("norm of a constant, %d groups", groups);
        const gint64 width = WIDTH;
        ops_weight(c, "norm.weight", RV_F32, -2.0f, 2.0f, 1, &width);
        const float *bias = ops_weight(c, "norm.bias", RV_F32, -2.0f, 2.0f, 1, &width);
        float x[PIXELS * WIDTH];
        double want[PIXELS * WIDTH];
        for (int i = 0; i < PIXELS * WIDTH; i++)
            x[i] = 0.7f, want[i] = (double)bias[i % WIDTH];
        RvTensor input = ops_copy(c, ops_input_values(c, RV_F32, (RvShape) { 1, 10, 10, WIDTH }, x));
        RvNorm options = { .groups = groups };
        ops_check(c,
                  groups > 0 ? rv_group_norm(ops_program(c), input, "norm", options)
                             : rv_layer_norm(ops_program(c), input, "norm", options),
                  want, 1e-4);
        ops_case_free(c);
    }
}

/* A NaN spoils its own group of its own image, and nothing else. */
static void
test_nan_stays_in_its_group(void)
{
    const RvShape shape = { 2, 12, 12, 8 };
    OpsCase *c = ops_case_new("group norm with a NaN");
    const gint64 width = shape.c;
    ops_weight(c, "norm.weight", RV_F32, 1.0f, 2.0f, 1, &width);
    ops_weight(c, "norm.bias", RV_F32, -2.0f, 2.0f, 1, &width);
    g_autofree float *x = g_new(float, (gsize)rv_shape_count(shape));
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        x[i] = ops_random(-1.0f, 1.0f);
    x[(144 + 50) * 8 + 3] = NAN;
    RvTensor input = ops_copy(c, ops_input_values(c, RV_F32, shape, x));
    g_autofree float *got =
        ops_result(c, rv_group_norm(ops_program(c), input, "norm", (RvNorm) { .groups = 4 }));
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        g_assert_cmpint(isnan(got[i]) != 0, ==, i >= 144 * 8 && i % 8 / 2 == 1);
    ops_case_free(c);
}

/* Sums are cut by the image's size alone: the number of threads changes no bit. */
static void
test_threads_change_nothing(void)
{
    const RvShape shape = { 1, 70, 70, 40 };
    gsize count = (gsize)rv_shape_count(shape);
    const gint64 width = shape.c;
    g_autofree float *x = g_new(float, count);
    g_autofree float *first = NULL;
    for (gsize i = 0; i < count; i++)
        x[i] = ops_random(-1.0f, 3.0f);
    for (int threads = 1; threads <= 5; threads += 2) {
        ops_set_threads(threads);
        OpsCase *c = ops_case_new("group norm by %d threads", threads);
        ops_weight(c, "norm.weight", RV_F32, 1.0f, 1.0f, 1, &width);
        ops_weight(c, "norm.bias", RV_F32, 0.0f, 0.0f, 1, &width);
        RvTensor input = ops_copy(c, ops_input_values(c, RV_F32, shape, x));
        RvTensor out =
            rv_group_norm(ops_program(c), input, "norm", (RvNorm) { .groups = 8, .act = RV_ACT_SILU });
        g_autofree float *got = ops_result(c, out);
        ops_case_free(c);
        if (first == NULL)
            first = g_steal_pointer(&got);
        else
            g_assert_cmpmem(got, count * sizeof(float), first, count * sizeof(float));
    }
    ops_set_threads(0);
}

static void
test_bad_groups(void)
{
    OpsCase *c = ops_case_new("groups that do not divide");
    const float *x;
    RvTensor input = ops_input(c, (RvShape) { 1, 2, 2, 10 }, -1, 1, &x);
    ops_check_fails(c, rv_group_norm(ops_program(c), input, "norm", (RvNorm) { .groups = 4 }),
                    RV_ERROR_INVALID, "4 groups");
    ops_case_free(c);
}

static void
bench_case(RvShape shape, int groups, RvAct act)
{
    OpsCase *c = ops_case_new("%s norm [%d,%d,%d,%d]%s", groups > 0 ? "group" : "layer", shape.n, shape.h,
                              shape.w, shape.c, act == RV_ACT_SILU ? " silu" : "");
    const gint64 width = shape.c;
    const float *x;
    ops_weight(c, "norm.weight", RV_F32, -2.0f, 2.0f, 1, &width);
    ops_weight(c, "norm.bias", RV_F32, -2.0f, 2.0f, 1, &width);
    RvTensor input = ops_input(c, shape, -1, 1, &x);
    RvNorm options = { .groups = groups, .act = act };
    ops_bench(c, groups > 0 ? rv_group_norm(ops_program(c), input, "norm", options)
                            : rv_layer_norm(ops_program(c), input, "norm", options));
    ops_case_free(c);
}

static void
bench(void)
{
    bench_case((RvShape) { 1, 512, 512, 128 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 64, 64, 320 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 64, 64, 320 }, 32, RV_ACT_NONE);
    bench_case((RvShape) { 1, 128, 128, 320 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 64, 64, 640 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 32, 32, 1280 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 16, 16, 2560 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 8, 8, 1280 }, 32, RV_ACT_SILU);
    bench_case((RvShape) { 1, 64, 64, 320 }, 0, RV_ACT_NONE);
    bench_case((RvShape) { 1, 64, 64, 640 }, 0, RV_ACT_NONE);
    bench_case((RvShape) { 1, 32, 32, 1280 }, 0, RV_ACT_NONE);
    bench_case((RvShape) { 2, 1, 77, 768 }, 0, RV_ACT_NONE);
    bench_case((RvShape) { 1, 256, 256, 640 }, 0, RV_ACT_NONE);
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/norm/group", test_group_norm);
    ops_add_test("/norm/layer", test_layer_norm);
    ops_add_test("/norm/random-shapes", test_random_shapes);
    ops_add_test("/norm/large-mean", test_large_mean);
    ops_add_test("/norm/constant", test_constant_input);
    ops_add_test("/norm/nan", test_nan_stays_in_its_group);
    ops_add_test("/norm/threads", test_threads_change_nothing);
    ops_add_test("/norm/bad-groups", test_bad_groups);
    ops_add_bench(bench);
    return ops_main();
}
