/* bench_layers - times the matrix-like layers of SDXL-Turbo's 1024x1024 frame on a GPU, shape by shape, and
 * linear ones of its 512x512 frame and of SD 1.5 (0 in a frame).
 *
 *     bench_layers [--device cuda] [--filter TEXT]
 *
 * Each shape is a program of many equal layers with weights of their own (so they come from memory, as in the
 * model, while activations stay in the cache), run as the back end runs programs. One line a shape: how often
 * the frame has it, microseconds of one layer (median of the runs), TFLOP/s and the share of the matrix
 * ceiling, TB/s of operands moved once. The ceiling is the best large product of the same run. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends/load.h"
#include "tensor/program.h"

#define RUNS 21
#define MOST_LAYERS 48
#define LEAST_FLOPS 60e9 /* of a program's layers, where MOST_LAYERS allows */
#define POOL_ELEMENTS ((gsize)80 << 20)

typedef enum { LINEAR, CONV, ATTENTION } Kind;

typedef struct {
    Kind kind;
    int count;       /* in one frame; 0: not in it */
    int side, width; /* rows and columns of pixels (LINEAR, ATTENTION: queries and 1) */
    int in, out;     /* ATTENTION: heads and keys; 64 channels a head */
    int kernel, stride;
    RvAct act;
    bool adds, adds_image; /* a residual; an addend for each channel */
    int up;                /* CONV: resized to this side first */
} Shape;

static const Shape shapes[] = {
    { LINEAR, 192, 1024, 1, 1280, 1280, .adds = true },
    { LINEAR, 60, 1024, 1, 1280, 3840 },
    { LINEAR, 60, 1024, 1, 1280, 10240 },
    { LINEAR, 60, 1024, 1, 5120, 1280, .adds = true },
    { LINEAR, 40, 4096, 1, 640, 640, .adds = true },
    { LINEAR, 10, 4096, 1, 640, 1920 },
    { LINEAR, 10, 4096, 1, 640, 5120 },
    { LINEAR, 10, 4096, 1, 2560, 640, .adds = true },
    { LINEAR, 0, 128, 1, 1280, 1280, .adds = true },
    { LINEAR, 0, 128, 1, 5120, 1280, .adds = true },
    { LINEAR, 0, 256, 1, 1280, 1280, .adds = true },
    { LINEAR, 0, 256, 1, 1280, 3840 },
    { LINEAR, 0, 256, 1, 1280, 10240 },
    { LINEAR, 0, 256, 1, 5120, 1280, .adds = true },
    { LINEAR, 0, 512, 1, 1280, 1280, .adds = true },
    { LINEAR, 0, 1024, 1, 640, 640, .adds = true },
    { LINEAR, 0, 2048, 1, 640, 640, .adds = true },
    { LINEAR, 0, 8192, 1, 320, 320, .adds = true },
    { LINEAR, 0, 8192, 1, 1280, 320, .adds = true },
    { ATTENTION, 60, 1024, 1, 20, 1024 },
    { ATTENTION, 10, 4096, 1, 10, 4096 },
    { ATTENTION, 60, 1024, 1, 20, 77 },
    { ATTENTION, 10, 4096, 1, 10, 77 },
    { CONV, 6, 1024, 1024, 64, 64, 3, 1, RV_ACT_RELU, true },
    { CONV, 18, 512, 512, 64, 64, 3, 1, RV_ACT_RELU, true },
    { CONV, 18, 256, 256, 64, 64, 3, 1, RV_ACT_RELU, true },
    { CONV, 18, 128, 128, 64, 64, 3, 1, RV_ACT_RELU, true },
    { CONV, 1, 512, 512, 64, 64, 3, 1, .up = 1024 },
    { CONV, 1, 256, 256, 64, 64, 3, 1, .up = 512 },
    { CONV, 1, 128, 128, 64, 64, 3, 1, .up = 256 },
    { CONV, 1, 1024, 1024, 64, 3, 3, 1 },
    { CONV, 1, 1024, 1024, 3, 64, 3, 1 },
    { CONV, 1, 1024, 1024, 64, 64, 3, 2 },
    { CONV, 1, 512, 512, 64, 64, 3, 2 },
    { CONV, 10, 32, 32, 1280, 1280, 3, 1, .adds = true },
    { CONV, 7, 128, 128, 320, 320, 3, 1, .adds = true },
    { CONV, 6, 64, 64, 640, 640, 3, 1, .adds = true },
    { CONV, 2, 128, 128, 640, 320, 3, 1, .adds_image = true },
    { CONV, 2, 32, 32, 2560, 1280, 3, 1, .adds_image = true },
    { CONV, 1, 32, 32, 1280, 1280, 3, 1, .up = 64 },
    { CONV, 1, 64, 64, 640, 640, 3, 1, .up = 128 },
    { CONV, 1, 128, 128, 960, 320, 3, 1, .adds_image = true },
    { CONV, 1, 64, 64, 1920, 640, 3, 1, .adds_image = true },
    { CONV, 1, 64, 64, 1280, 640, 3, 1, .adds_image = true },
    { CONV, 1, 32, 32, 1920, 1280, 3, 1, .adds_image = true },
    { CONV, 1, 64, 64, 960, 640, 3, 1, .adds_image = true },
    { CONV, 1, 128, 128, 320, 4, 3, 1 },
    { CONV, 1, 128, 128, 4, 320, 3, 1 },
    { CONV, 1, 128, 128, 320, 320, 3, 2 },
    { CONV, 1, 64, 64, 640, 640, 3, 2 },
    { CONV, 2, 128, 128, 640, 320, 1, 1 },
    { CONV, 2, 32, 32, 2560, 1280, 1, 1 },
};
static const Shape ceiling_shape = { LINEAR, 0, 8192, 1, 8192, 8192 };

static guint16 *pool; /* random half floats that every weight takes a part of */

/* Half floats in [-0.5, 0.5): random sign and fraction, exponents of 2^-2 to 2^-5. */
static void
fill_pool(void)
{
    guint32 state = 1;
    pool = g_new(guint16, POOL_ELEMENTS);
    for (gsize i = 0; i < POOL_ELEMENTS; i++) {
        state = state * 1664525u + 1013904223u;
        pool[i] = (guint16)(((state >> 16) & 0x83ffu) | ((10u + (state >> 30)) << 10));
    }
}

static bool
find_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    *out = (RvArray) { .dtype = RV_F16, .rank = rank };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    gsize count = (gsize)rv_array_count(out);
    if (count > POOL_ELEMENTS)
        return rv_error_set(error, RV_ERROR_FAILED, name, NULL, "the benchmark's weights are too few");
    out->data = pool + g_str_hash(name) % (POOL_ELEMENTS - count + 1);
    return true;
}

static RvShape
input_shape(const Shape *s)
{
    return (RvShape) { 1, s->side, s->width, s->kind == ATTENTION ? s->in * 64 : s->in };
}

static RvTensor
record_layer(RvProgram *p, const Shape *s, RvTensor x, RvTensor keys, RvTensor add, int number)
{
    g_autofree char *name = g_strdup_printf("layer%d", number);
    if (s->kind == LINEAR)
        return rv_linear(p, x, name, (RvLinear) { .out = s->out, .act = s->act, .add = add });
    if (s->kind == ATTENTION)
        return rv_attention(p, x, keys, keys, (RvAttention) { .heads = s->in });
    return rv_conv2d(p, x, name,
                     (RvConv2d) { .out = s->out,
                                  .kernel = s->kernel,
                                  .stride = s->stride,
                                  .act = s->act,
                                  .add = add,
                                  .up_h = s->up,
                                  .up_w = s->up });
}

static RvShape
output_shape(const Shape *s)
{
    int stride = MAX(1, s->stride), side = s->up > 0 ? s->up : s->side, width = s->up > 0 ? s->up : s->width;
    int channels = s->kind == ATTENTION ? s->in * 64 : s->out;
    return (RvShape) { 1, (side - 1) / stride + 1, (width - 1) / stride + 1, channels };
}

static double
flops_of(const Shape *s)
{
    double outputs = (double)rv_shape_count(output_shape(s));
    if (s->kind == ATTENTION)
        return 4.0 * outputs * s->out;
    return 2.0 * outputs * s->in * MAX(1, s->kernel) * MAX(1, s->kernel);
}

static double
bytes_of(const Shape *s)
{
    double out = (double)rv_shape_count(output_shape(s)), in = (double)rv_shape_count(input_shape(s));
    double weights = s->kind == ATTENTION ? 2.0 * s->out * s->in * 64
                                          : (double)s->in * s->out * MAX(1, s->kernel) * MAX(1, s->kernel);
    return 2.0 * (in + weights + out * (s->adds ? 2 : 1));
}

/* The layers' results are not read; a small tensor is the program's output. */
static void
record(RvProgram *p, const Shape *s, int layers)
{
    RvTensor x = rv_input(p, "x", RV_F32, input_shape(s)), keys = { 0 }, add = { 0 };
    if (s->kind == ATTENTION)
        keys = rv_input(p, "keys", RV_F32, (RvShape) { 1, s->out, 1, s->in * 64 });
    if (s->adds || s->adds_image) {
        RvShape shape = output_shape(s);
        add = rv_input(p, "add", RV_F32, s->adds ? shape : (RvShape) { 1, 1, 1, shape.c });
    }
    for (int i = 0; i < layers; i++)
        record_layer(p, s, x, keys, add, i);
    rv_output(p, "done", rv_act(p, rv_input(p, "small", RV_F32, (RvShape) { 1, 1, 1, 8 }), RV_ACT_RELU));
}

static bool
write_input(RvProgram *p, const char *name, GError **error)
{
    gsize bytes = rv_program_slot_bytes(p, name);
    if (bytes == 0)
        return true;
    g_autofree float *values = g_malloc(bytes);
    rv_convert_to_f32(RV_F16, pool, values, bytes / sizeof *values);
    return rv_program_write(p, name, values, bytes, error);
}

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of a run of a program with so many layers, the run of that rank (0 the fastest); negative with an
 * error. */
static double
time_program(RvDevice *device, const Shape *s, int layers, int rank, GError **error)
{
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find_weight });
    RvProgram *p = rv_program_new(set);
    record(p, s, layers);
    double seconds[RUNS];
    bool ok = rv_program_compile(p, error) && write_input(p, "x", error) && write_input(p, "keys", error) &&
              write_input(p, "add", error) && write_input(p, "small", error);
    for (int i = 0; ok && i < RUNS + 2; i++) {
        gint64 start = g_get_monotonic_time();
        ok = rv_program_run(p, error);
        seconds[MAX(0, i - 2)] = (double)(g_get_monotonic_time() - start) * 1e-6;
    }
    rv_program_free(p);
    rv_weight_set_free(set);
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return ok ? seconds[rank] : -1.0;
}

/* Seconds of one layer: what more layers take more, so that starting and waiting do not count. */
static double
time_layer(RvDevice *device, const Shape *s, int rank, GError **error)
{
    int layers = (int)CLAMP(LEAST_FLOPS / flops_of(s), 4, MOST_LAYERS);
    double few = time_program(device, s, layers / 4, rank, error);
    double many = few < 0 ? -1.0 : time_program(device, s, layers + layers / 4, rank, error);
    return many < 0 ? -1.0 : (many - few) / layers;
}

static char *
describe(const Shape *s)
{
    static const char *const acts[] = { "", ", SiLU", ", GELU", ", quick GELU", ", ReLU", ", tanh" };
    const char *add = s->adds ? ", residual" : s->adds_image ? ", embedding" : "";
    if (s->kind == LINEAR)
        return g_strdup_printf("linear %d rows, %d to %d%s%s", s->side, s->in, s->out, add, acts[s->act]);
    if (s->kind == ATTENTION)
        return g_strdup_printf("attention %d heads of 64, %d x %d", s->in, s->side, s->out);
    g_autofree char *up = s->up > 0 ? g_strdup_printf(" resized to %dx%d", s->up, s->up) : g_strdup("");
    return g_strdup_printf("convolution %dx%d, %d to %d at %dx%d%s%s%s%s", s->kernel, s->kernel, s->in,
                           s->out, s->side, s->width, s->stride == 2 ? ", stride 2" : "", up, add,
                           acts[s->act]);
}

static bool
bench(RvDevice *device, const char *filter, GError **error)
{
    double ceiling_time = time_layer(device, &ceiling_shape, 0, error), sum = 0.0;
    if (ceiling_time < 0)
        return false;
    double ceiling = flops_of(&ceiling_shape) / ceiling_time;
    g_print("matrix ceiling (product of 8192 x 8192 x 8192): %.0f TFLOP/s\n\n", ceiling * 1e-12);
    g_print("| layer | in a frame | us | TFLOP/s | of the ceiling | TB/s |\n|---|---|---|---|---|---|\n");
    for (gsize i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const Shape *s = &shapes[i];
        g_autofree char *name = describe(s);
        if (filter != NULL && strstr(name, filter) == NULL)
            continue;
        double seconds = time_layer(device, s, RUNS / 2, error);
        if (seconds < 0)
            return false;
        sum += seconds * s->count;
        g_print("| %s | %d | %.1f | %.0f | %.0f %% | %.2f |\n", name, s->count, seconds * 1e6,
                flops_of(s) / seconds * 1e-12, flops_of(s) / seconds / ceiling * 100.0,
                bytes_of(s) / seconds * 1e-12);
    }
    g_print("\nin a frame: %.2f ms\n", sum * 1e3);
    return true;
}

int
main(int argc, char **argv)
{
    g_autofree char *name = g_strdup("cuda"), *filter = NULL;
    const GOptionEntry entries[] = {
        { "device", 0, 0, G_OPTION_ARG_STRING, &name, "back end", "NAME" },
        { "filter", 0, 0, G_OPTION_ARG_STRING, &filter, "only layers whose line holds TEXT", "TEXT" },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- time the layers of SDXL-Turbo's frame");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("%s\n", error->message);
        return 2;
    }
    const RvBackend *backend = rv_backend_load(name, &error);
    RvDevice *device =
        backend == NULL ? NULL : rv_device_open(backend, &(RvDeviceOptions) { .compute = RV_F16 }, &error);
    if (device == NULL) {
        g_printerr("bench-layers: %s\n", error->message);
        return rv_error_exit_code(error);
    }
    fill_pool();
    bool ok = bench(device, filter, &error);
    if (!ok)
        g_printerr("bench-layers: %s\n", error->message);
    rv_device_close(device);
    g_free(pool);
    return rv_error_exit_code(error);
}
