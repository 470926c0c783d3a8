/* bench_ops - times the convolutions and linear layers of SD 1.5 on the CPU, shape by shape, beside
 * what one large matrix product of oneDNN reaches in the same run.
 *
 *     bench_ops [--size PIXELS] [--threads N] [--filter TEXT]
 *
 * One line a shape: how often it occurs in one UNet call (batch 2, guidance) or in one VAE decode
 * (batch 1), its best time, its rate counted as a direct convolution's operations, and the sums. */
#include <dnnl.h>
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/cpu/isa.h"
#include "tensor/program.h"

typedef enum { UNET, VAE, MINI, GROUPS } Group;

typedef struct {
    Group group;
    int count;  /* occurrences in the group's one call */
    int divide; /* side = size in pixels / divide; for tokens: 0 */
    int tokens; /* of one image, for linear layers on text */
    int in, out;
    int kernel, stride; /* kernel 0: linear */
    bool up;            /* input of half the side, resized */
} Shape;

static const Shape shapes[] = {
    /* SD 1.5 UNet: convolutions */
    { UNET, 1, 8, 0, 4, 320, 3, 1 },
    { UNET, 7, 8, 0, 320, 320, 3, 1 },
    { UNET, 1, 8, 0, 960, 320, 3, 1 },
    { UNET, 2, 8, 0, 640, 320, 3, 1 },
    { UNET, 1, 8, 0, 320, 4, 3, 1 },
    { UNET, 1, 16, 0, 320, 320, 3, 2 },
    { UNET, 1, 16, 0, 320, 640, 3, 1 },
    { UNET, 6, 16, 0, 640, 640, 3, 1 },
    { UNET, 1, 16, 0, 1920, 640, 3, 1 },
    { UNET, 1, 16, 0, 1280, 640, 3, 1 },
    { UNET, 1, 16, 0, 960, 640, 3, 1 },
    { UNET, 1, 8, 0, 640, 640, 3, 1, true },
    { UNET, 1, 32, 0, 640, 640, 3, 2 },
    { UNET, 1, 32, 0, 640, 1280, 3, 1 },
    { UNET, 6, 32, 0, 1280, 1280, 3, 1 },
    { UNET, 2, 32, 0, 2560, 1280, 3, 1 },
    { UNET, 1, 32, 0, 1920, 1280, 3, 1 },
    { UNET, 1, 16, 0, 1280, 1280, 3, 1, true },
    { UNET, 1, 64, 0, 1280, 1280, 3, 2 },
    { UNET, 11, 64, 0, 1280, 1280, 3, 1 },
    { UNET, 3, 64, 0, 2560, 1280, 3, 1 },
    { UNET, 1, 32, 0, 1280, 1280, 3, 1, true },
    /* skips */
    { UNET, 1, 8, 0, 960, 320, 1, 1 },
    { UNET, 2, 8, 0, 640, 320, 1, 1 },
    { UNET, 1, 16, 0, 1920, 640, 1, 1 },
    { UNET, 2, 32, 0, 2560, 1280, 1, 1 },
    { UNET, 3, 64, 0, 2560, 1280, 1, 1 },
    /* transformers: 5 of each width, 1 in the middle */
    { UNET, 25, 8, 0, 320, 320, 0, 1 },
    { UNET, 5, 8, 0, 320, 960, 0, 1 },
    { UNET, 5, 8, 0, 320, 2560, 0, 1 },
    { UNET, 5, 8, 0, 1280, 320, 0, 1 },
    { UNET, 25, 16, 0, 640, 640, 0, 1 },
    { UNET, 5, 16, 0, 640, 1920, 0, 1 },
    { UNET, 5, 16, 0, 640, 5120, 0, 1 },
    { UNET, 5, 16, 0, 2560, 640, 0, 1 },
    { UNET, 25, 32, 0, 1280, 1280, 0, 1 },
    { UNET, 5, 32, 0, 1280, 3840, 0, 1 },
    { UNET, 5, 32, 0, 1280, 10240, 0, 1 },
    { UNET, 5, 32, 0, 5120, 1280, 0, 1 },
    { UNET, 5, 64, 0, 1280, 1280, 0, 1 },
    { UNET, 1, 64, 0, 1280, 3840, 0, 1 },
    { UNET, 1, 64, 0, 1280, 10240, 0, 1 },
    { UNET, 1, 64, 0, 5120, 1280, 0, 1 },
    { UNET, 5, 0, 77, 768, 640, 0, 1 },
    { UNET, 5, 0, 77, 768, 1280, 0, 1 },
    { UNET, 6, 0, 77, 768, 2560, 0, 1 },
    { UNET, 22, 0, 1, 1280, 1280, 0, 1 },
    /* SD 1.5 VAE decode */
    { VAE, 1, 8, 0, 4, 512, 3, 1 },
    { VAE, 10, 8, 0, 512, 512, 3, 1 },
    { VAE, 4, 8, 0, 512, 512, 0, 1 },
    { VAE, 1, 4, 0, 512, 512, 3, 1, true },
    { VAE, 6, 4, 0, 512, 512, 3, 1 },
    { VAE, 1, 2, 0, 512, 512, 3, 1, true },
    { VAE, 1, 2, 0, 512, 256, 3, 1 },
    { VAE, 5, 2, 0, 256, 256, 3, 1 },
    { VAE, 1, 2, 0, 512, 256, 1, 1 },
    { VAE, 1, 1, 0, 256, 256, 3, 1, true },
    { VAE, 1, 1, 0, 256, 128, 3, 1 },
    { VAE, 5, 1, 0, 128, 128, 3, 1 },
    { VAE, 1, 1, 0, 256, 128, 1, 1 },
    { VAE, 1, 1, 0, 128, 3, 3, 1 },
    /* a small autoencoder of TAESD's shape */
    { MINI, 1, 1, 0, 3, 32, 3, 1 },
    { MINI, 4, 1, 0, 32, 32, 3, 1 },
    { MINI, 1, 2, 0, 32, 32, 3, 2 },
    { MINI, 10, 2, 0, 32, 32, 3, 1 },
    { MINI, 10, 4, 0, 32, 32, 3, 1 },
    { MINI, 1, 1, 0, 32, 32, 3, 1, true },
    { MINI, 1, 1, 0, 32, 3, 3, 1 },
};

static const char *const group_names[] = { "unet", "vae", "mini" };
static int size = 256, threads;
static char *filter;

static const GOptionEntry entries[] = {
    { "size", 0, 0, G_OPTION_ARG_INT, &size, "side of the picture in pixels (256)", "PIXELS" },
    { "threads", 0, 0, G_OPTION_ARG_INT, &threads, "threads (all cores)", "N" },
    { "filter", 0, 0, G_OPTION_ARG_STRING, &filter, "only shapes whose line holds TEXT", "TEXT" },
    { NULL },
};

static float *
random_floats(gsize count, float range)
{
    float *values = aligned_alloc(64, (count * sizeof *values + 63) / 64 * 64);
    guint32 state = 1;
    for (gsize i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = ((float)(state >> 8) * 0x1p-23f - 1.0f) * range;
    }
    return values;
}

/* The source of weights: every name is the same random block. */
static bool
find_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    *out = (RvArray) { .dtype = RV_F32, .rank = rank, .data = self };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    return true;
}

static double
sgemm_ceiling(int width)
{
    gsize count = (gsize)width * (gsize)width;
    float *a = random_floats(count, 1), *b = random_floats(count, 1), *c = random_floats(count, 1);
    double best = INFINITY;
    for (int i = 0; i < 6; i++) {
        gint64 start = g_get_monotonic_time();
        dnnl_sgemm('N', 'N', width, width, width, 1.0f, a, width, b, width, 0.0f, c, width);
        best = MIN(best, (double)(g_get_monotonic_time() - start) * 1e-6);
    }
    free(a);
    free(b);
    free(c);
    return 2.0 * pow(width, 3) / best;
}

static RvTensor
record(RvProgram *p, const Shape *s)
{
    int n = s->group == UNET ? 2 : 1, side = s->divide > 0 ? size / s->divide : 0, stride = s->stride;
    if (s->kernel == 0) {
        RvShape shape =
            s->divide > 0 ? (RvShape) { n, side, side, s->in } : (RvShape) { n, s->tokens, 1, s->in };
        return rv_linear(p, rv_input(p, "x", RV_F32, shape), "layer", (RvLinear) { .out = s->out });
    }
    int in_side = s->up ? side / 2 : side * stride;
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { n, in_side, in_side, s->in });
    RvConv2d options = { .out = s->out, .kernel = s->kernel, .stride = stride };
    if (s->up)
        options.up_h = options.up_w = side;
    return rv_conv2d(p, x, "layer", options);
}

/* Best seconds of one run of the shape; *flops is its work. */
static double
time_shape(RvDevice *device, const Shape *s, float *weights, double *flops)
{
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find_weight, .self = weights });
    RvProgram *p = rv_program_new(set);
    GError *error = NULL;
    rv_output(p, "y", record(p, s));
    double best = INFINITY, total = 0;
    if (!rv_program_compile(p, &error))
        g_error("%s", error->message);
    for (int i = 0; i < 4 || (i < 40 && total < 0.3); i++) {
        gint64 start = g_get_monotonic_time();
        if (!rv_program_run(p, &error))
            g_error("%s", error->message);
        double seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
        total += seconds;
        best = MIN(best, seconds);
    }
    *flops = rv_program_flops(p);
    rv_program_free(p);
    rv_weight_set_free(set);
    return best;
}

static char *
describe(const Shape *s)
{
    int side = s->divide > 0 ? size / s->divide : 0;
    g_autofree char *where =
        side > 0 ? g_strdup_printf("%dx%d", side, side) : g_strdup_printf("%d tokens", s->tokens);
    g_autofree char *what = s->kernel == 0 ? g_strdup("linear")
                                           : g_strdup_printf("conv%d%s%s", s->kernel,
                                                             s->stride == 2 ? " /2" : "", s->up ? " up" : "");
    return g_strdup_printf("%-5s %-9s %4d -> %5d @ %s", group_names[s->group], what, s->in, s->out, where);
}

int
main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    GError *error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error))
        g_error("%s", error->message);
    RvDevice *device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = threads }, &error);
    RvDeviceInfo info;
    rv_device_describe(device, &info);
    omp_set_num_threads(info.threads);
    double ceiling = sgemm_ceiling(2048), seconds[GROUPS] = { 0 }, flops[GROUPS] = { 0 };
    g_print("%s, %d threads, %s kernels; oneDNN sgemm 2048^3: %.1f GFLOP/s\n", info.name, info.threads,
            cpu_isa_name(cpu_isa()), ceiling / 1e9);
    float *weights = random_floats((gsize)2560 * 1280 * 9, 0.05f);
    for (gsize i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const Shape *s = &shapes[i];
        g_autofree char *text = describe(s);
        if (filter != NULL && strstr(text, filter) == NULL)
            continue;
        double work, time = time_shape(device, s, weights, &work);
        seconds[s->group] += time * s->count;
        flops[s->group] += work * s->count;
        g_print("%-44s x%-2d %8.2f ms %7.1f GFLOP/s %4.0f %%  sum %6.1f ms\n", text, s->count, time * 1e3,
                work / time / 1e9, 100 * work / time / ceiling, time * s->count * 1e3);
    }
    for (int g = 0; g < GROUPS; g++)
        if (seconds[g] > 0)
            g_print("%-5s %7.1f GFLOP in %7.1f ms: %.1f GFLOP/s, %.0f %% of sgemm\n", group_names[g],
                    flops[g] / 1e9, seconds[g] * 1e3, flops[g] / seconds[g] / 1e9,
                    100 * flops[g] / seconds[g] / ceiling);
    free(weights);
    rv_device_close(device);
    return 0;
}
