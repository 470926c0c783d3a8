#include <math.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "harness.h"

typedef struct {
    RvShape in;
    RvConv2d options;
    enum { ADD_NONE, ADD_SAME, ADD_SHARED } add;
    int before, after; /* channels of the tensor that x is a slice of */
    RvDType dtype;     /* of the weights */
} Case;

static double
act_of(RvAct act, double x)
{
    switch (act) {
    case RV_ACT_SILU:
        return x / (1 + exp(-x));
    case RV_ACT_GELU:
        return 0.5 * x * erfc(-x * M_SQRT1_2);
    case RV_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case RV_ACT_RELU:
        return x < 0 ? 0 : x;
    case RV_ACT_TANH3:
        return 3 * tanh(x / 3);
    default:
        return x;
    }
}

/* The sum over one output's window; x [in], weight [out, in, k, k]. */
static double
window_sum(const Case *t, const float *x, const float *weight, int image, int row, int column, int o)
{
    int k = t->options.kernel, h = t->options.up_h > 0 ? t->options.up_h : t->in.h;
    int w = t->options.up_w > 0 ? t->options.up_w : t->in.w, pad = t->options.pad_end ? 0 : (k - 1) / 2;
    double sum = 0;
    for (int tap = 0; tap < k * k; tap++) {
        int y = row * t->options.stride + tap / k - pad, at = column * t->options.stride + tap % k - pad;
        if (t->options.circular) {
            y = (y % h + h) % h;
            at = (at % w + w) % w;
        }
        if (y < 0 || y >= h || at < 0 || at >= w)
            continue;
        gint64 pixel = ((gint64)image * t->in.h + y * t->in.h / h) * t->in.w + at * t->in.w / w;
        for (int c = 0; c < t->in.c; c++)
            sum += (double)x[pixel * t->in.c + c] * weight[((gint64)o * t->in.c + c) * k * k + tap];
    }
    return sum;
}

static double *
expect(const Case *t, RvShape out, const float *x, const float *weight, const float *bias, const float *add)
{
    double *want = g_new(double, rv_shape_count(out));
    gint64 pixels = rv_shape_pixels(out), image = (gint64)out.h * out.w;
#pragma omp parallel for
    for (gint64 p = 0; p < pixels; p++)
        for (int o = 0; o < out.c; o++) {
            double sum = window_sum(t, x, weight, (int)(p / image), (int)(p % image) / out.w,
                                    (int)(p % image) % out.w, o);
            sum += bias != NULL ? bias[o] : 0;
            if (t->add == ADD_SAME)
                sum += add[p * out.c + o];
            else if (t->add == ADD_SHARED)
                sum += add[p / image * out.c + o];
            want[p * out.c + o] = act_of(t->options.act, sum);
        }
    return want;
}

static void
check(const Case *given)
{
    Case t = *given;
    t.options.kernel = t.options.kernel == 0 ? 3 : t.options.kernel;
    t.options.stride = t.options.stride == 0 ? 1 : t.options.stride;
    RvConv2d o = t.options;
    OpsCase *c = ops_case_new("conv2d [%d,%d,%d,%d]->%d k%d s%d%s%s up %dx%d act %d add %d slice %d+%d",
                              t.in.n, t.in.h, t.in.w, t.in.c, o.out, o.kernel, o.stride,
                              o.pad_end ? " pad_end" : "", o.circular ? " circular" : "", o.up_h, o.up_w,
                              (int)o.act, (int)t.add, t.before, t.after);
    const float *x, *bias = NULL, *add = NULL;
    RvTensor in = t.before + t.after > 0 ? ops_input_slice(c, t.in, t.before, t.after, -1, 1, &x)
                                         : ops_input(c, t.in, -1, 1, &x);
    const gint64 shape[] = { o.out, t.in.c, o.kernel, o.kernel };
    float range = 2.0f / sqrtf((float)(t.in.c * o.kernel * o.kernel));
    const float *weight = ops_weight(c, "layer.weight", t.dtype, -range, range, 4, shape);
    if (!o.no_bias)
        bias = ops_weight(c, "layer.bias", t.dtype, -1, 1, 1, shape);
    int h = o.up_h > 0 ? o.up_h : t.in.h, w = o.up_w > 0 ? o.up_w : t.in.w;
    int padding = o.pad_end ? 1 : o.kernel - 1;
    RvShape out = { t.in.n, (h + padding - o.kernel) / o.stride + 1, (w + padding - o.kernel) / o.stride + 1,
                    o.out };
    if (t.add == ADD_SAME)
        o.add = ops_input_slice(c, out, t.before, t.after, -1, 1, &add);
    else if (t.add == ADD_SHARED)
        o.add = ops_input(c, (RvShape) { out.n, 1, 1, out.c }, -1, 1, &add);
    g_autofree double *want = expect(&t, out, x, weight, bias, add);
    ops_check(c, rv_conv2d(ops_program(c), in, "layer", o), want, 2e-5);
    ops_case_free(c);
}

static void
test_listed(void)
{
    static const Case cases[] = {
        { .in = { 1, 8, 8, 32 }, .options = { .out = 32 } },
        { .in = { 2, 32, 32, 4 }, .options = { .out = 64 } },
        { .in = { 2, 16, 16, 64 }, .options = { .out = 4 } },
        { .in = { 1, 33, 47, 3 }, .options = { .out = 32, .act = RV_ACT_RELU } },
        { .in = { 1, 33, 47, 32 }, .options = { .out = 3 } },
        { .in = { 2, 16, 16, 320 }, .options = { .out = 96 }, .add = ADD_SAME },
        { .in = { 2, 8, 8, 640 }, .options = { .out = 48 }, .add = ADD_SHARED },
        { .in = { 2, 4, 4, 1280 }, .options = { .out = 80 }, .add = ADD_SHARED },
        { .in = { 2, 9, 13, 96 }, .options = { .out = 40, .kernel = 1 }, .add = ADD_SAME },
        { .in = { 1, 15, 16, 64 }, .options = { .out = 64, .stride = 2 } },
        { .in = { 1, 15, 16, 64 }, .options = { .out = 64, .stride = 2, .pad_end = true } },
        { .in = { 1, 14, 16, 24 }, .options = { .out = 24, .pad_end = true } },
        { .in = { 1, 6, 5, 48 }, .options = { .out = 48, .up_h = 12, .up_w = 10 } },
        { .in = { 2, 6, 5, 48 }, .options = { .out = 48, .up_h = 11, .up_w = 9 } },
        { .in = { 1, 5, 5, 19 }, .options = { .out = 21, .kernel = 5 } },
        { .in = { 1, 1, 1, 1 }, .options = { .out = 1 } },
        { .in = { 1, 70, 70, 130 }, .options = { .out = 33, .act = RV_ACT_SILU } },
        { .in = { 1, 12, 12, 64 }, .options = { .out = 64, .no_bias = true }, .before = 32, .after = 5 },
        { .in = { 3, 7, 7, 40 }, .options = { .out = 72, .act = RV_ACT_GELU }, .add = ADD_SAME, .before = 3 },
        { .in = { 2, 9, 150, 64 }, .options = { .out = 64, .act = RV_ACT_RELU }, .add = ADD_SAME },
        { .in = { 1, 17, 129, 64 }, .options = { .out = 64 }, .add = ADD_SHARED, .before = 8 },
        { .in = { 2, 7, 33, 64 }, .options = { .out = 64, .no_bias = true, .up_h = 14, .up_w = 66 } },
        { .in = { 1, 9, 130, 3 }, .options = { .out = 64, .act = RV_ACT_SILU } },
        { .in = { 2, 6, 70, 9 }, .options = { .out = 72 }, .add = ADD_SHARED },
        { .in = { 2, 9, 35, 320 }, .options = { .out = 4 }, .add = ADD_SAME, .before = 8 },
        { .in = { 1, 10, 66, 96 }, .options = { .out = 1, .act = RV_ACT_TANH3 }, .add = ADD_SHARED },
        { .in = { 2, 13, 70, 3 }, .options = { .out = 72, .no_bias = true } },
        { .in = { 1, 9, 65, 4 }, .options = { .out = 320 } },
        { .in = { 1, 7, 9, 3 }, .options = { .out = 16 }, .before = 2, .after = 1 },
        { .in = { 1, 25, 140, 64 }, .options = { .out = 3, .no_bias = true } },
        { .in = { 2, 21, 33, 128 }, .options = { .out = 3, .act = RV_ACT_RELU }, .add = ADD_SHARED },
        { .in = { 1, 150, 20, 64 }, .options = { .out = 4 }, .add = ADD_SAME, .before = 64 },
        { .in = { 1, 16, 16, 16 }, .options = { .out = 24, .kernel = 7 } },
        { .in = { 1, 20, 20, 32 }, .options = { .out = 32 }, .dtype = RV_F16 },
        { .in = { 1, 20, 20, 32 }, .options = { .out = 32 }, .dtype = RV_BF16 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check(&cases[i]);
}

/* Behind a resize to twice the size, with the channels of the models that do it (UNets, TAESD): a GPU times
 * other ways for these. */
static void
test_doubled(void)
{
    static const Case cases[] = {
        { .in = { 1, 4, 4, 640 }, .options = { .out = 640 } },
        { .in = { 2, 1, 2, 1280 }, .options = { .out = 1280 } },
        { .in = { 1, 24, 20, 64 }, .options = { .out = 64, .no_bias = true } },
        { .in = { 2, 3, 130, 64 }, .options = { .out = 64, .act = RV_ACT_RELU }, .add = ADD_SHARED },
        { .in = { 1, 5, 6, 64 }, .options = { .out = 64 }, .add = ADD_SAME },
        { .in = { 3, 5, 7, 96 }, .options = { .out = 40, .act = RV_ACT_SILU }, .add = ADD_SAME },
        { .in = { 1, 1, 1, 64 }, .options = { .out = 64, .no_bias = true } },
        { .in = { 2, 6, 5, 64 }, .options = { .out = 64 }, .before = 8, .after = 8 },
        { .in = { 1, 6, 5, 32 }, .options = { .out = 24 }, .dtype = RV_F16 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Case t = cases[i];
        t.options.up_h = 2 * t.in.h;
        t.options.up_w = 2 * t.in.w;
        check(&t);
    }
}

static void
test_random(void)
{
    for (int i = 0; i < 60; i++) {
        Case t = { .in = { ops_random_int(1, 3), ops_random_int(1, 21), ops_random_int(1, 21),
                           ops_random_int(1, 100) } };
        t.options.out = ops_random_int(1, 100);
        t.options.kernel = ops_random_int(0, 2) * 2 + 1;
        t.options.stride = ops_random_int(1, 2);
        t.options.pad_end = t.in.h > 1 && t.in.w > 1 && t.options.kernel == 3 && ops_random_int(0, 3) == 0;
        if (ops_random_int(0, 3) == 0) {
            t.options.up_h = t.in.h * 2 - ops_random_int(0, 1);
            t.options.up_w = t.in.w * 2 - ops_random_int(0, 1);
        }
        t.options.act = (RvAct)ops_random_int(RV_ACT_NONE, RV_ACT_TANH3);
        t.options.no_bias = ops_random_int(0, 3) == 0;
        t.add = ops_random_int(ADD_NONE, ADD_SHARED);
        t.before = ops_random_int(0, 1) * ops_random_int(0, 9);
        check(&t);
    }
}

/* The window goes on at the other edge; smaller pictures than the kernel are met more than once. */
static void
test_circular(void)
{
    static const Case cases[] = {
        { .in = { 1, 8, 8, 32 }, .options = { .out = 32 } },
        { .in = { 2, 16, 24, 64 }, .options = { .out = 48, .act = RV_ACT_SILU }, .add = ADD_SAME },
        { .in = { 1, 33, 47, 3 }, .options = { .out = 32 } },
        { .in = { 2, 7, 9, 40 }, .options = { .out = 3 }, .add = ADD_SHARED, .before = 5, .after = 2 },
        { .in = { 1, 15, 16, 64 }, .options = { .out = 64, .stride = 2 } },
        { .in = { 1, 6, 5, 48 }, .options = { .out = 48, .up_h = 12, .up_w = 10 } },
        { .in = { 1, 9, 11, 19 }, .options = { .out = 21, .kernel = 5 } },
        { .in = { 1, 1, 2, 16 }, .options = { .out = 16, .kernel = 7 } },
        { .in = { 1, 40, 40, 128 }, .options = { .out = 128 } },
        { .in = { 1, 24, 20, 64 }, .options = { .out = 64, .act = RV_ACT_RELU }, .add = ADD_SAME },
        { .in = { 2, 12, 12, 64 }, .options = { .out = 64 }, .before = 3, .after = 5 },
        { .in = { 1, 8, 8, 32 }, .options = { .out = 16, .kernel = 1 } },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Case t = cases[i];
        t.options.circular = true;
        check(&t);
    }
}

/* What the program says counts for its convolutions, but for those that pad the end alone. */
static void
test_circular_program(void)
{
    for (int pad_end = 0; pad_end < 2; pad_end++) {
        Case t = { .in = { 1, 8, 10, 32 },
                   .options = { .out = 32, .kernel = 3, .stride = 1, .pad_end = pad_end == 1 } };
        RvShape out = { 1, pad_end ? 7 : 8, pad_end ? 9 : 10, 32 };
        const gint64 shape[] = { 32, 32, 3, 3 };
        OpsCase *c = ops_case_new("conv2d of a circular program, pad_end %d", pad_end);
        const float *x, *bias;
        RvTensor in = ops_input(c, t.in, -1, 1, &x);
        const float *weight = ops_weight(c, "layer.weight", RV_F32, -0.1f, 0.1f, 4, shape);
        bias = ops_weight(c, "layer.bias", RV_F32, -1, 1, 1, shape);
        rv_program_set_circular(ops_program(c), true);
        RvTensor y = rv_conv2d(ops_program(c), in, "layer", t.options);
        t.options.circular = !t.options.pad_end;
        g_autofree double *want = expect(&t, out, x, weight, bias, NULL);
        ops_check(c, y, want, 2e-5);
        ops_case_free(c);
    }
}

static void
refuse(RvConv2d options, RvError code, const char *text)
{
    OpsCase *c = ops_case_new("conv2d that is refused: %s", text);
    const float *x;
    const gint64 shape[] = { 4, 4, 3, 3 };
    RvTensor in = ops_input(c, (RvShape) { 1, 8, 8, 4 }, -1, 1, &x);
    ops_weight(c, "layer.weight", RV_F32, -1, 1, 4, shape);
    ops_weight(c, "layer.bias", RV_F32, -1, 1, 1, shape);
    ops_check_fails(c, rv_conv2d(ops_program(c), in, "layer", options), code, text);
    ops_case_free(c);
}

static void
test_circular_refused(void)
{
    refuse((RvConv2d) { .out = 4, .circular = true, .pad_end = true }, RV_ERROR_FAILED,
           "a circular convolution pads all around");
}

static void
test_refused(void)
{
    OpsCase *c = ops_case_new("conv2d with an even kernel");
    const float *x;
    const gint64 shape[] = { 4, 4, 2, 2 };
    RvTensor in = ops_input(c, (RvShape) { 1, 8, 8, 4 }, -1, 1, &x);
    ops_weight(c, "layer.weight", RV_F32, -1, 1, 4, shape);
    ops_weight(c, "layer.bias", RV_F32, -1, 1, 1, shape);
    RvTensor out = rv_conv2d(ops_program(c), in, "layer", (RvConv2d) { .out = 4, .kernel = 2 });
    ops_check_fails(c, out, RV_ERROR_UNSUPPORTED, "layer");
    ops_case_free(c);
}

/* Winograd's rounding over many channels: RMS below 2e-6 of the output's, largest 2e-5 of the largest. */
static void
test_winograd_error(void)
{
    if (ops_is_gpu()) {
        g_test_skip("of the CPU's convolutions");
        return;
    }
    Case t = { .in = { 1, 32, 32, 320 },
               .options = { .out = 32, .kernel = 3, .stride = 1, .no_bias = true } };
    RvShape out = { 1, 32, 32, 32 };
    const gint64 shape[] = { 32, 320, 3, 3 };
    OpsCase *c = ops_case_new("winograd's error");
    const float *x;
    RvTensor in = ops_input(c, t.in, -1, 1, &x);
    const float *weight = ops_weight(c, "layer.weight", RV_F32, -0.04f, 0.04f, 4, shape);
    g_autofree double *want = expect(&t, out, x, weight, NULL, NULL);
    g_autofree float *got = ops_result(c, rv_conv2d(ops_program(c), in, "layer", t.options));
    double squares = 0, errors = 0, largest = 0, worst = 0;
    for (gint64 i = 0; i < rv_shape_count(out); i++) {
        double error = got[i] - want[i];
        squares += want[i] * want[i];
        errors += error * error;
        largest = MAX(largest, fabs(want[i]));
        worst = MAX(worst, fabs(error));
    }
    g_test_message("rms %.2g, largest %.2g", sqrt(errors / squares), worst / largest);
    g_assert_cmpfloat(sqrt(errors / squares), <, 2e-6);
    g_assert_cmpfloat(worst / largest, <, 2e-5);
    ops_case_free(c);
}

/* A NaN reaches every output whose window holds it, and none further away than its tiles. */
static void
test_nan(void)
{
    OpsCase *c = ops_case_new("conv2d of a NaN");
    RvShape shape = { 1, 24, 24, 32 };
    g_autofree float *x = g_new0(float, 24 * 24 * 32);
    x[(12 * 24 + 13) * 32 + 7] = NAN;
    const gint64 weight_shape[] = { 16, 32, 3, 3 };
    ops_weight(c, "layer.weight", RV_F32, 0.1f, 1, 4, weight_shape);
    RvTensor in = ops_copy(c, ops_input_values(c, RV_F32, shape, x));
    RvConv2d options = { .out = 16, .no_bias = true, .act = RV_ACT_SILU };
    g_autofree float *got = ops_result(c, rv_conv2d(ops_program(c), in, "layer", options));
    for (int row = 0; row < 24; row++)
        for (int column = 0; column < 24; column++)
            for (int o = 0; o < 16; o++) {
                int distance = MAX(abs(row - 12), abs(column - 13));
                bool is_nan = isnan(got[(row * 24 + column) * 16 + o]);
                g_assert_true(distance <= 1 ? is_nan : distance <= 4 || !is_nan);
            }
    ops_case_free(c);
}

static bool
find_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    *out = (RvArray) { .rank = rank, .data = self };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    return true;
}

static float *
run_with_threads(int threads, const Case *t, const float *x, float *weights)
{
    GError *error = NULL;
    RvDevice *device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = threads }, &error);
    g_assert_no_error(error);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find_weight, .self = weights });
    RvProgram *p = rv_program_new(set);
    RvTensor y = rv_conv2d(p, rv_input(p, "x", RV_F32, t->in), "layer", t->options);
    gsize bytes = sizeof(float) * (gsize)rv_shape_count(rv_shape(p, y));
    float *out = g_malloc(bytes);
    rv_output(p, "y", y);
    g_assert_true(rv_program_compile(p, &error));
    g_assert_true(rv_program_write(p, "x", x, sizeof *x * (gsize)rv_shape_count(t->in), &error));
    g_assert_true(rv_program_run(p, &error) && rv_program_read(p, "y", out, bytes, &error));
    rv_program_free(p);
    rv_weight_set_free(set);
    rv_device_close(device);
    return out;
}

/* The same bits with any number of threads. */
static void
test_threads(void)
{
    static const Case cases[] = {
        { .in = { 2, 30, 26, 96 }, .options = { .out = 100 } },
        { .in = { 2, 8, 8, 200 }, .options = { .out = 72 } },
        { .in = { 1, 30, 26, 96 }, .options = { .out = 100, .stride = 2 } },
        { .in = { 1, 30, 26, 4 }, .options = { .out = 40, .kernel = 1 } },
    };
    g_autofree float *weights = g_new(float, 100 * 200 * 9), *x = g_new(float, 2 * 30 * 26 * 200);
    for (int i = 0; i < 100 * 200 * 9; i++)
        weights[i] = ops_random(-1, 1);
    for (int i = 0; i < 2 * 30 * 26 * 200; i++)
        x[i] = ops_random(-1, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *t = &cases[i];
        g_autofree float *one = run_with_threads(1, t, x, weights);
        int stride = MAX(1, t->options.stride);
        gsize bytes =
            sizeof(float) * (gsize)(t->in.n * (t->in.h / stride) * (t->in.w / stride) * t->options.out);
        for (int threads = 2; threads <= 5; threads++) {
            g_autofree float *many = run_with_threads(threads, t, x, weights);
            g_assert_cmpmem(one, bytes, many, bytes);
        }
    }
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/conv2d/listed", test_listed);
    ops_add_test("/conv2d/doubled", test_doubled);
    ops_add_test("/conv2d/random", test_random);
    ops_add_test("/conv2d/circular", test_circular);
    ops_add_test("/conv2d/circular-program", test_circular_program);
    ops_add_test("/conv2d/circular-refused", test_circular_refused);
    ops_add_test("/conv2d/refused", test_refused);
    ops_add_test("/conv2d/winograd-error", test_winograd_error);
    ops_add_test("/conv2d/nan", test_nan);
    ops_add_test("/conv2d/threads", test_threads);
    return ops_main();
}
