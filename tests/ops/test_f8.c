/* Calibrated layers: on a device with 8-bit factors against a loop that rounds inputs and weights to E4M3 as
 * the calibration has it, elsewhere against the plain loop. */
#include <math.h>
#include <string.h>

#include "harness.h"

#define CALIBRATION "test-ops-f8"
#define LARGEST 448.0f
#define GROUPS 4
#define HEAD 64 /* channels */

typedef enum { FEED_NONE, FEED_LAYER_NORM, FEED_GROUP_NORM, FEED_GLU, FEED_ATTENTION } Feed;

typedef struct {
    RvShape in; /* of the layer */
    int out;
    int up;    /* a convolution after a resize by this factor; 0: a linear layer */
    Feed feed; /* the op before the layer */
    bool adds, bias;
    float outlier; /* one input is so large; 0: none */
} Case;

typedef struct {
    const float *x, *weight, *bias, *add, *norm_weight, *norm_bias;
    RvTensor out;
} Recorded;

/* The nearest number of E4M3, ties to even; at most 448. */
static float
to_e4m3(float x)
{
    int exponent;
    float clamped = CLAMP(x, -LARGEST, LARGEST);
    frexpf(clamped, &exponent);
    float step = ldexpf(1.0f, MAX(exponent - 1, -6) - 3);
    return rintf(clamped / step) * step;
}

static void
test_rounding(void)
{
    g_assert_cmpfloat(to_e4m3(1.0f), ==, 1.0f);
    g_assert_cmpfloat(to_e4m3(1.0625f), ==, 1.0f); /* half way, to even */
    g_assert_cmpfloat(to_e4m3(1.1875f), ==, 1.25f);
    g_assert_cmpfloat(to_e4m3(-1000.0f), ==, -448.0f);
    g_assert_cmpfloat(to_e4m3(0x1p-9f), ==, 0x1p-9f); /* the least number */
    g_assert_cmpfloat(to_e4m3(0x1p-11f), ==, 0.0f);
}

/* ---- the op before ---- */

static void
expect_layer_norm(const Case *t, const Recorded *r, float *h)
{
    for (gint64 p = 0; p < rv_shape_pixels(t->in); p++) {
        const float *x = r->x + p * t->in.c;
        double mean = 0.0, square = 0.0;
        for (int c = 0; c < t->in.c; c++)
            mean += x[c] / t->in.c;
        for (int c = 0; c < t->in.c; c++)
            square += (x[c] - mean) * (x[c] - mean) / t->in.c;
        for (int c = 0; c < t->in.c; c++)
            h[p * t->in.c + c] =
                (float)((x[c] - mean) / sqrt(square + 1e-5) * r->norm_weight[c] + r->norm_bias[c]);
    }
}

static double
silu(double x)
{
    return x / (1.0 + exp(-x));
}

static void
expect_group_norm(const Case *t, const Recorded *r, float *h)
{
    int image = t->in.h * t->in.w, width = t->in.c / GROUPS;
    double count = (double)image * width;
    for (int n = 0; n < t->in.n; n++)
        for (int g = 0; g < GROUPS; g++) {
            double mean = 0.0, square = 0.0;
            for (int i = 0; i < image * width; i++)
                mean += r->x[((gint64)n * image + i / width) * t->in.c + g * width + i % width] / count;
            for (int i = 0; i < image * width; i++) {
                double d = r->x[((gint64)n * image + i / width) * t->in.c + g * width + i % width] - mean;
                square += d * d / count;
            }
            for (int i = 0; i < image * width; i++) {
                int c = g * width + i % width;
                gint64 at = ((gint64)n * image + i / width) * t->in.c + c;
                double y = (r->x[at] - mean) / sqrt(square + 1e-5) * r->norm_weight[c] + r->norm_bias[c];
                h[at] = (float)silu(y);
            }
        }
}

static void
expect_glu(const Case *t, const Recorded *r, float *h)
{
    for (gint64 p = 0; p < rv_shape_pixels(t->in); p++)
        for (int c = 0; c < t->in.c; c++) {
            double gate = r->x[p * 2 * t->in.c + t->in.c + c];
            h[p * t->in.c + c] = (float)(r->x[p * 2 * t->in.c + c] * 0.5 * gate * erfc(-gate * M_SQRT1_2));
        }
}

/* x: queries, keys and values side by side. One query of one head. */
static void
expect_query(const Case *t, const float *x, int image, int query, int head, float *h)
{
    int tokens = t->in.h * t->in.w;
    const float *first = x + (gint64)image * tokens * 3 * t->in.c + head * HEAD;
    double total = 0.0, sum[HEAD] = { 0.0 };
    for (int k = 0; k < tokens; k++) {
        const float *key = first + (gint64)k * 3 * t->in.c + t->in.c, *value = key + t->in.c;
        double score = 0.0;
        for (int i = 0; i < HEAD; i++)
            score += (double)first[(gint64)query * 3 * t->in.c + i] * key[i];
        double weight = exp(score / sqrt(HEAD));
        total += weight;
        for (int i = 0; i < HEAD; i++)
            sum[i] += weight * value[i];
    }
    for (int i = 0; i < HEAD; i++)
        h[((gint64)image * tokens + query) * t->in.c + head * HEAD + i] = (float)(sum[i] / total);
}

static void
expect_attention(const Case *t, const Recorded *r, float *h)
{
    for (int image = 0; image < t->in.n; image++)
        for (int head = 0; head < t->in.c / HEAD; head++)
            for (int query = 0; query < t->in.h * t->in.w; query++)
                expect_query(t, r->x, image, query, head, h);
}

/* What the layer is given. */
static float *
expect_inputs(const Case *t, const Recorded *r)
{
    float *h = g_new(float, (gsize)rv_shape_count(t->in));
    if (t->feed == FEED_NONE)
        memcpy(h, r->x, sizeof *h * (gsize)rv_shape_count(t->in));
    else if (t->feed == FEED_LAYER_NORM)
        expect_layer_norm(t, r, h);
    else if (t->feed == FEED_GROUP_NORM)
        expect_group_norm(t, r, h);
    else if (t->feed == FEED_GLU)
        expect_glu(t, r, h);
    else
        expect_attention(t, r, h);
    return h;
}

/* ---- rounding as the device does ---- */

static float
largest_of(const float *x, gint64 count)
{
    float largest = 0.0f;
    for (gint64 i = 0; i < count; i++)
        largest = MAX(largest, fabsf(x[i]));
    return largest;
}

static float
as_f16(float x)
{
    guint16 bits;
    rv_convert_from_f32(RV_F16, &x, &bits, 1);
    rv_convert_to_f32(RV_F16, &bits, &x, 1);
    return x;
}

static void
round_numbers(float *x, gint64 count, float factor)
{
    for (gint64 i = 0; i < count; i++)
        x[i] = to_e4m3(x[i] * factor) / factor;
}

/* What a device's own arithmetic in the op before makes of a number, of the number and the RMS of all: far
 * less than E4M3 makes of it, but at the border of two numbers of E4M3 it decides which one it becomes. */
static double
grain_of(Feed feed)
{
    static const double grains[] = { [FEED_NONE] = 0.0,
                                     [FEED_LAYER_NORM] = 1e-5,
                                     [FEED_GROUP_NORM] = 1e-5,
                                     [FEED_GLU] = 1e-5,
                                     [FEED_ATTENTION] = 1e-3 };
    return grains[feed];
}

/* Rounds h; returns how far apart the numbers of E4M3 are that each may become: mostly 0. */
static float *
round_inputs(const Case *t, float *h)
{
    gsize count = (gsize)rv_shape_count(t->in);
    float factor =
        LARGEST / as_f16(largest_of(h, (gint64)count)); /* calibration saw the op before in float16 */
    double squares = 0.0;
    for (gsize i = 0; i < count; i++)
        squares += (double)h[i] * h[i] / (double)count;
    float *doubt = g_new(float, count);
    for (gsize i = 0; i < count; i++) {
        double around = grain_of(t->feed) * (fabs(h[i]) + sqrt(squares));
        doubt[i] =
            (to_e4m3((float)(h[i] + around) * factor) - to_e4m3((float)(h[i] - around) * factor)) / factor;
    }
    round_numbers(h, (gint64)count, factor);
    return doubt;
}

/* Rounded as the device does it: a tie must stay one. */
static float
weight_factor(const float *weight, gint64 count)
{
    float scale = largest_of(weight, count) / LARGEST;
    return 1.0f / scale;
}

/* ---- the layer ---- */

static double
convolve(const Case *t, const float *h, const float *weight, int image, int y, int x)
{
    int height = t->in.h * t->up, width = t->in.w * t->up;
    double sum = 0.0;
    for (int tap = 0; tap < 9; tap++) {
        int v = y + tap / 3 - 1, u = x + tap % 3 - 1;
        if (v < 0 || u < 0 || v >= height || u >= width)
            continue;
        const float *from = h + (((gint64)image * t->in.h + v / t->up) * t->in.w + u / t->up) * t->in.c;
        for (int i = 0; i < t->in.c; i++)
            sum += (double)from[i] * weight[i * 9 + tap];
    }
    return sum;
}

static double *
expect_conv(const Case *t, const float *h, const float *weight, const float *bias, const float *add)
{
    int height = t->in.h * t->up, width = t->in.w * t->up, image = height * width;
    gint64 pixels = (gint64)t->in.n * image;
    double *want = g_new(double, (gsize)(pixels * t->out));
#pragma omp parallel for
    for (gint64 p = 0; p < pixels; p++)
        for (int o = 0; o < t->out; o++) {
            int at = (int)(p % image);
            double sum =
                convolve(t, h, weight + (gint64)o * 9 * t->in.c, (int)(p / image), at / width, at % width);
            want[p * t->out + o] =
                sum + (bias != NULL ? bias[o] : 0.0) + (add != NULL ? add[p * t->out + o] : 0.0);
        }
    return want;
}

static double *
expect(const Case *t, const float *h, const float *weight, const float *bias, const float *add)
{
    if (t->up > 0)
        return expect_conv(t, h, weight, bias, add);
    gint64 rows = rv_shape_pixels(t->in);
    double *want = g_new(double, (gsize)(rows * t->out));
#pragma omp parallel for
    for (gint64 p = 0; p < rows; p++)
        for (int o = 0; o < t->out; o++) {
            double sum = bias != NULL ? bias[o] : 0.0;
            for (int i = 0; i < t->in.c; i++)
                sum += (double)h[p * t->in.c + i] * weight[(gint64)o * t->in.c + i];
            want[p * t->out + o] = sum + (add != NULL ? add[p * t->out + o] : 0.0);
        }
    return want;
}

static RvTensor
record_feed(OpsCase *c, const Case *t, Recorded *r)
{
    RvProgram *p = ops_program(c);
    RvShape shape = t->in;
    shape.c *= t->feed == FEED_GLU ? 2 : t->feed == FEED_ATTENTION ? 3 : 1;
    RvTensor x;
    if (t->outlier != 0.0f) {
        g_autofree float *values = g_new(float, rv_shape_count(shape));
        for (gint64 i = 0; i < rv_shape_count(shape); i++)
            values[i] = i == 17 ? t->outlier : (float)((int)(i * 37 % 256) - 128) / 128.0f;
        x = ops_copy(c, ops_input_values(c, RV_F32, shape, values));
        r->x = g_steal_pointer(&values);
    } else {
        x = ops_input(c, shape, -2, 2, &r->x);
    }
    if (t->feed == FEED_GLU)
        return rv_glu(p, x);
    if (t->feed == FEED_ATTENTION)
        return rv_attention(p, rv_slice(p, x, 0, t->in.c), rv_slice(p, x, t->in.c, t->in.c),
                            rv_slice(p, x, 2 * t->in.c, t->in.c), (RvAttention) { .heads = t->in.c / HEAD });
    if (t->feed == FEED_NONE)
        return x;
    const gint64 channels = t->in.c;
    r->norm_weight = ops_weight(c, "norm.weight", RV_F32, 0.5f, 1.5f, 1, &channels);
    r->norm_bias = ops_weight(c, "norm.bias", RV_F32, -0.5f, 0.5f, 1, &channels);
    if (t->feed == FEED_LAYER_NORM)
        return rv_layer_norm(p, x, "norm", (RvNorm) { 0 });
    return rv_group_norm(p, ops_copy(c, x), "norm", (RvNorm) { .groups = GROUPS, .act = RV_ACT_SILU });
}

static Recorded
record(OpsCase *c, const Case *t)
{
    Recorded r = { 0 };
    rv_weight_set_set_calibration(ops_weights(c), CALIBRATION);
    RvTensor h = record_feed(c, t, &r);
    const gint64 shape[4] = { t->out, t->in.c, 3, 3 }, outputs = t->out;
    float range = 2.0f / sqrtf((float)t->in.c);
    float *weight = (float *)ops_weight(c, "layer.weight", RV_F16, -range, range, t->up > 0 ? 4 : 2, shape);
    r.weight = weight;
    RvLinear o = { .out = t->out, .no_bias = !t->bias };
    if (t->bias)
        r.bias = ops_weight(c, "layer.bias", RV_F16, -1, 1, 1, &outputs);
    int up = MAX(t->up, 1);
    if (t->adds)
        o.add = ops_input(c, (RvShape) { t->in.n, t->in.h * up, t->in.w * up, t->out }, -1, 1, &r.add);
    if (t->up > 0)
        r.out = rv_conv2d(ops_program(c), h, "layer",
                          (RvConv2d) { .out = t->out,
                                       .no_bias = !t->bias,
                                       .add = o.add,
                                       .up_h = t->up > 1 ? t->in.h * t->up : 0,
                                       .up_w = t->up > 1 ? t->in.w * t->up : 0 });
    else
        r.out = rv_linear(ops_program(c), h, "layer", o);
    return r;
}

static void
on_op(const RvOp *op, double seconds, void *user)
{
    bool *is_f8 = user;
    if (op->kind == RV_OP_LINEAR || op->kind == RV_OP_CONV2D)
        *is_f8 = op->factors == RV_F8_E4M3;
}

/* What the loop multiplies. */
static float *
expect_weights(const Case *t, const float *weight)
{
    gint64 row = (gint64)t->in.c * (t->up > 0 ? 9 : 1), count = t->out * row;
    float *w = g_new(float, (gsize)count);
    memcpy(w, weight, sizeof *w * (gsize)count);
    if (!ops_fp8())
        return w;
    bool is_each = ops_fp8() == RV_FP8_EACH || t->up > 0;
    for (int o = 0; is_each && o < t->out; o++)
        round_numbers(w + o * row, row, weight_factor(w + o * row, row));
    if (!is_each)
        round_numbers(w, count, weight_factor(w, count));
    return w;
}

static double
rms_of(const double *x, const double *minus, gint64 count)
{
    double squares = 0.0;
    for (gint64 i = 0; i < count; i++)
        squares += pow(x[i] - (minus != NULL ? minus[i] : 0.0), 2.0);
    return sqrt(squares / (double)count);
}

/* What rounding costs the layer, its addend and bias apart: two factors with an error of 2.6 % each. */
static void
check_loss(const Case *t, const float *h, const float *rounded_h, const float *w, const float *rounded_w)
{
    gint64 count = rv_shape_pixels(t->in) * MAX(t->up, 1) * MAX(t->up, 1) * t->out;
    g_autofree double *whole = expect(t, h, w, NULL, NULL);
    g_autofree double *got = expect(t, rounded_h, rounded_w, NULL, NULL);
    double loss = rms_of(got, whole, count) / rms_of(whole, NULL, count);
    g_test_message("E4M3 makes %.2g of the result", loss);
    g_assert_cmpfloat(loss, >, 0.02);
    g_assert_cmpfloat(loss, <, 0.05);
}

/* The device's result is the product of the rounded numbers; beside it each output may be away by what the
 * doubtful ones weigh. */
static void
check_f8(OpsCase *c, const Case *t, const Recorded *r)
{
    g_autofree float *h = expect_inputs(t, r), *rounded_h = expect_inputs(t, r);
    g_autofree float *doubt = round_inputs(t, rounded_h);
    g_autofree float *w = expect_weights(t, r->weight), *size = expect_weights(t, r->weight);
    for (gint64 i = 0; i < (gint64)t->out * t->in.c * (t->up > 0 ? 9 : 1); i++)
        size[i] = fabsf(w[i]);
    check_loss(t, h, rounded_h, r->weight, w);
    g_autofree double *want = expect(t, rounded_h, w, r->bias, r->add);
    g_autofree double *slack = expect(t, doubt, size, NULL, NULL);
    ops_check_beyond(c, r->out, want, slack, 2e-3);
}

static void
check_result(OpsCase *c, const Case *t, const Recorded *r)
{
    bool is_f8 = false;
    rv_device_set_observer(ops_device(c), on_op, &is_f8);
    if (ops_fp8()) {
        check_f8(c, t, r);
    } else {
        g_autofree float *h = expect_inputs(t, r);
        g_autofree double *want = expect(t, h, r->weight, r->bias, r->add);
        ops_check(c, r->out, want, 3e-5);
    }
    g_assert_true(is_f8 == (ops_fp8() != RV_FP8_NONE));
}

/* Once to take notes, once by them; the same numbers both times. */
static void
check(const Case *t)
{
    for (int pass = 0; pass < 2; pass++) {
        GError *error = NULL;
        ops_seed(7);
        OpsCase *c = ops_case_new("calibrated [%d,%d,%d,%d]->%d feed %d", t->in.n, t->in.h, t->in.w, t->in.c,
                                  t->out, (int)t->feed);
        if (pass == 0)
            rv_device_calibrate(ops_device(c), CALIBRATION, RV_CALIBRATION_START, NULL, &error);
        g_assert_no_error(error);
        Recorded r = record(c, t);
        if (pass == 0) {
            g_free(ops_result(c, r.out));
            rv_device_calibrate(ops_device(c), CALIBRATION, RV_CALIBRATION_STOP, NULL, &error);
            g_assert_no_error(error);
        } else {
            check_result(c, t, &r);
        }
        if (t->outlier != 0.0f)
            g_free((float *)r.x);
        ops_case_free(c);
    }
}

static void
test_linear(void)
{
    const Case cases[] = {
        { .in = { 1, 1, 256, 128 }, .out = 256, .bias = true },
        { .in = { 2, 8, 16, 320 }, .out = 320, .bias = true, .adds = true },
        { .in = { 1, 32, 32, 64 }, .out = 1280 },
        { .in = { 1, 1, 200, 48 }, .out = 16, .bias = true },
        { .in = { 1, 1, 128, 2560 }, .out = 64, .bias = true, .adds = true },
        { .in = { 1, 32, 32, 320 }, .out = 640, .adds = true },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check(&cases[i]);
}

/* Lines of many widths, blocks that end in the middle of them, channels that do not fill a chunk. */
static void
test_conv2d(void)
{
    const Case cases[] = {
        { .in = { 1, 16, 16, 128 }, .out = 128, .up = 1, .bias = true },
        { .in = { 1, 16, 16, 64 }, .out = 160, .up = 1, .bias = true, .adds = true },
        { .in = { 2, 13, 24, 96 }, .out = 160, .up = 1, .bias = true, .adds = true },
        { .in = { 1, 4, 128, 320 }, .out = 160, .up = 1 },
        { .in = { 1, 9, 33, 288 }, .out = 128, .up = 1, .bias = true },
        { .in = { 1, 8, 16, 128 }, .out = 128, .up = 2, .bias = true },
        { .in = { 2, 12, 16, 320 }, .out = 128, .up = 1, .feed = FEED_GROUP_NORM, .adds = true },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        check(&cases[i]);
}

/* One number takes the scale; the rest keeps its four digits, but for the least. */
static void
test_outlier(void)
{
    check(&(Case) { .in = { 1, 1, 256, 128 }, .out = 128, .bias = true, .outlier = 60.0f });
}

static void
test_fed(void)
{
    for (Feed feed = FEED_LAYER_NORM; feed <= FEED_ATTENTION; feed++) {
        check(&(Case) { .in = { 1, 16, 16, 128 }, .out = 256, .feed = feed, .bias = true });
        check(&(Case) { .in = { 2, 12, 16, 320 }, .out = 64, .feed = feed, .adds = true });
    }
}

/* Before anybody has taken notes a device may say either; afterwards it knows. */
static void
test_known(void)
{
    OpsCase *c = ops_case_new("known");
    bool is_known = false;
    g_assert_true(
        rv_device_calibrate(ops_device(c), "test-ops-f8-nobody", RV_CALIBRATION_FIND, &is_known, NULL));
    g_assert_true(is_known == !ops_fp8());
    g_assert_true(rv_device_calibrate(ops_device(c), CALIBRATION, RV_CALIBRATION_START, NULL, NULL));
    g_assert_true(rv_device_calibrate(ops_device(c), CALIBRATION, RV_CALIBRATION_STOP, NULL, NULL));
    g_assert_true(rv_device_calibrate(ops_device(c), CALIBRATION, RV_CALIBRATION_FIND, &is_known, NULL));
    g_assert_true(is_known);
    g_assert_true(rv_device_calibrate(ops_device(c), "test-ops-f8-nobody", RV_CALIBRATION_START, NULL, NULL));
    g_assert_true(
        rv_device_calibrate(ops_device(c), "test-ops-f8-nobody", RV_CALIBRATION_CANCEL, NULL, NULL));
    g_assert_true(
        rv_device_calibrate(ops_device(c), "test-ops-f8-nobody", RV_CALIBRATION_FIND, &is_known, NULL));
    g_assert_true(is_known == !ops_fp8());
    ops_case_free(c);
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/f8/rounding", test_rounding);
    ops_add_test("/f8/linear", test_linear);
    ops_add_test("/f8/conv2d", test_conv2d);
    ops_add_test("/f8/outlier", test_outlier);
    ops_add_test("/f8/fed", test_fed);
    ops_add_test("/f8/known", test_known);
    return ops_main();
}
