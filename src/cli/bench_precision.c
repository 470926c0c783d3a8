/* bench_precision.c - what another precision than the usual one gains and costs: frames drawn in both,
 * compared, and the time and error of every matrix-like layer. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json_build.h"
#include "cli/bench.h"
#include "cli/chart.h"
#include "cli/generate.h"

#define TIMED_RUNS 5
#define WARM_FRAMES 5
#define TIMED_FRAMES 21
#define WORST_LAYERS 8

enum { USUAL, OTHER, SIDES }; /* fp16 (the CPU: fp32), and what --precision says */

typedef struct {
    char *name, *shape;
    double ms[SIDES];
    bool is_f8;
    double error; /* of the calibration; 0: not known */
} Layer;

typedef struct {
    GHashTable *by_name; /* name -> Layer */
    GPtrArray *layers;   /* in the order of the program */
    int side;
} Layers;

typedef struct {
    char precision[SIDES][8];
    double frame_ms[SIDES];
    GArray *psnr; /* double, of each frame */
} Outcome;

static void
layer_free(gpointer data)
{
    Layer *layer = data;
    g_free(layer->name);
    g_free(layer->shape);
    g_free(layer);
}

static char *
shape_of(const RvOp *op)
{
    RvShape in = op->in[0].shape, out = op->out.shape;
    if (op->kind == RV_OP_LINEAR)
        return g_strdup_printf("linear, %d rows, %d to %d", out.n * out.h * out.w, in.c, out.c);
    return g_strdup_printf("convolution %dx%d, %d to %d at %dx%d%s", op->conv2d.kernel, op->conv2d.kernel,
                           in.c, out.c, out.w, out.h, op->conv2d.stride == 2 ? ", stride 2" : "");
}

/* A layer that is evaluated several times a frame is one layer. */
static void
on_op(const RvOp *op, double seconds, void *user)
{
    Layers *layers = user;
    if ((op->kind != RV_OP_LINEAR && op->kind != RV_OP_CONV2D) || strcmp(op->stage, "unet") != 0)
        return;
    Layer *layer = g_hash_table_lookup(layers->by_name, op->name);
    if (layer == NULL) {
        layer = g_new0(Layer, 1);
        layer->name = g_strdup(op->name);
        layer->shape = shape_of(op);
        g_hash_table_insert(layers->by_name, layer->name, layer);
        g_ptr_array_add(layers->layers, layer);
    }
    layer->ms[layers->side] += seconds * 1e3 / TIMED_RUNS;
    if (layers->side == OTHER) {
        layer->is_f8 = op->factors == RV_F8_E4M3;
        layer->error = (double)op->error;
    }
}

static bool
time_layers(RvBench *b, Layers *layers, GError **error)
{
    RvDevice *device = rv_engine_device(b->engine);
    bool ok = true;
    rv_device_set_observer(device, on_op, layers);
    for (int i = 0; ok && i < TIMED_RUNS; i++)
        ok = rv_program_run(rv_framer_program(b->framer), error);
    rv_device_set_observer(device, NULL, NULL);
    return ok;
}

static double
psnr(const RvPicture *a, const RvPicture *b)
{
    gsize count = (gsize)a->width * (gsize)a->height * 3;
    double sum = 0.0;
    for (gsize i = 0; i < count; i++)
        sum += (double)((a->rgb[i] - b->rgb[i]) * (a->rgb[i] - b->rgb[i]));
    return sum > 0.0 ? 10.0 * log10(255.0 * 255.0 * (double)count / sum) : 99.0;
}

static RvPicture *
draw_frame(RvBench *b, GError **error)
{
    return rv_framer_start(b->framer, &b->request, error) ? rv_framer_finish(b->framer, error) : NULL;
}

/* One side's frames, each of another noise: those of the first are kept, those of the second are held against
 * them. */
static bool
draw_frames(RvBench *b, int frames, int side, GPtrArray *kept, Outcome *outcome, GError **error)
{
    for (int i = 0; i < frames; i++) {
        b->request.seed = (guint64)i + 1;
        g_autoptr(RvPicture) picture = draw_frame(b, error);
        if (picture == NULL)
            return false;
        if (side == USUAL) {
            g_ptr_array_add(kept, g_steal_pointer(&picture));
        } else {
            double decibels = psnr(g_ptr_array_index(kept, (guint)i), picture);
            g_array_append_val(outcome->psnr, decibels);
        }
    }
    return true;
}

/* The same frame again and again: new noise would take the host's time. */
static bool
time_frames(RvBench *b, int side, Outcome *outcome, GError **error)
{
    double times[TIMED_FRAMES];
    for (int i = -WARM_FRAMES; i < TIMED_FRAMES; i++) {
        gint64 start = g_get_monotonic_time();
        g_autoptr(RvPicture) picture = draw_frame(b, error);
        if (picture == NULL)
            return false;
        times[MAX(i, 0)] = (double)(g_get_monotonic_time() - start) * 1e-3;
    }
    g_strlcpy(outcome->precision[side], rv_engine_precision(b->engine), sizeof outcome->precision[side]);
    outcome->frame_ms[side] = rv_timings_of(times, TIMED_FRAMES).median;
    return true;
}

static bool
run_side(RvBench *b, int frames, Layers *layers, GPtrArray *kept, Outcome *outcome, GError **error)
{
    if (!rv_bench_open_frames(b, error))
        return false;
    if (b->framer == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "bench precision",
                            "leave the sampler and steps as they are",
                            "these frames cannot be drawn as one program");
    return draw_frames(b, frames, layers->side, kept, outcome, error) &&
           time_frames(b, layers->side, outcome, error) && time_layers(b, layers, error);
}

/* Layers of one shape, summed. */
typedef struct {
    const char *shape;
    int count, f8;
    double ms[SIDES], most_error, errors;
} Kind;

static gint
longest_first(gconstpointer a, gconstpointer b)
{
    const Kind *x = a, *y = b;
    return x->ms[USUAL] < y->ms[USUAL] ? 1 : x->ms[USUAL] > y->ms[USUAL] ? -1 : 0;
}

static GArray *
kinds_of(const Layers *layers)
{
    GArray *kinds = g_array_new(FALSE, TRUE, sizeof(Kind));
    for (guint i = 0; i < layers->layers->len; i++) {
        const Layer *layer = g_ptr_array_index(layers->layers, i);
        guint k = 0;
        while (k < kinds->len && strcmp(g_array_index(kinds, Kind, k).shape, layer->shape) != 0)
            k++;
        if (k == kinds->len) {
            Kind fresh = { .shape = layer->shape };
            g_array_append_val(kinds, fresh);
        }
        Kind *kind = &g_array_index(kinds, Kind, k);
        kind->count++;
        kind->f8 += layer->is_f8;
        kind->errors += layer->error;
        kind->most_error = MAX(kind->most_error, layer->error);
        for (int side = 0; side < SIDES; side++)
            kind->ms[side] += layer->ms[side];
    }
    g_array_sort(kinds, longest_first);
    return kinds;
}

static gint
worst_first(gconstpointer a, gconstpointer b)
{
    const Layer *x = *(const Layer *const *)a, *y = *(const Layer *const *)b;
    return x->error < y->error ? 1 : x->error > y->error ? -1 : 0;
}

static void
print_layers(const Layers *layers, const Outcome *outcome, FILE *to)
{
    g_autoptr(GArray) kinds = kinds_of(layers);
    fprintf(to, "%6s %6s %7s ms %7s ms %8s %8s\n", "layers", "in fp8", outcome->precision[USUAL],
            outcome->precision[OTHER], "error", "most");
    for (guint i = 0; i < kinds->len; i++) {
        const Kind *kind = &g_array_index(kinds, Kind, i);
        fprintf(to, "%6d %6d %10.3f %10.3f %7.2f%% %7.2f%%  %s\n", kind->count, kind->f8, kind->ms[USUAL],
                kind->ms[OTHER], 100.0 * kind->errors / kind->count, 100.0 * kind->most_error, kind->shape);
    }
    g_autoptr(GPtrArray) worst = g_ptr_array_new();
    g_ptr_array_extend(worst, layers->layers, NULL, NULL);
    g_ptr_array_sort(worst, worst_first);
    fprintf(to, "largest errors:\n");
    for (guint i = 0; i < MIN(worst->len, WORST_LAYERS); i++) {
        const Layer *layer = g_ptr_array_index(worst, i);
        if (layer->error > 0.0)
            fprintf(to, "%7.2f%% %s%s\n", 100.0 * layer->error, layer->name, layer->is_f8 ? "" : " (kept)");
    }
}

static double
mean_psnr(const Outcome *outcome, double *least)
{
    double sum = 0.0;
    *least = g_array_index(outcome->psnr, double, 0);
    for (guint i = 0; i < outcome->psnr->len; i++) {
        double decibels = g_array_index(outcome->psnr, double, i);
        sum += decibels;
        *least = MIN(*least, decibels);
    }
    return sum / outcome->psnr->len;
}

static void
add_layers(JsonBuilder *json, const Layers *layers)
{
    rv_json_begin_array(json, "layers");
    for (guint i = 0; i < layers->layers->len; i++) {
        const Layer *layer = g_ptr_array_index(layers->layers, i);
        json_builder_begin_object(json);
        rv_json_add_text(json, "name", layer->name);
        rv_json_add_text(json, "shape", layer->shape);
        rv_json_add_flag(json, "is_fp8", layer->is_f8);
        rv_json_add_number(json, "usual_ms", layer->ms[USUAL]);
        rv_json_add_number(json, "ms", layer->ms[OTHER]);
        if (layer->error > 0.0)
            rv_json_add_number(json, "error", layer->error);
        else
            rv_json_add_null(json, "error");
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
}

static bool
write_json(const RvBench *b, const Layers *layers, const Outcome *outcome, GError **error)
{
    double least, mean = mean_psnr(outcome, &least);
    if (b->options.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = rv_bench_json(b);
    rv_json_add_int(json, "frames", outcome->psnr->len);
    rv_json_begin_object(json, "psnr_db");
    rv_json_add_number(json, "mean", mean);
    rv_json_add_number(json, "min", least);
    json_builder_end_object(json);
    rv_json_add_text(json, "compared_to", outcome->precision[USUAL]);
    rv_json_add_number(json, "usual_frame_ms", outcome->frame_ms[USUAL]);
    rv_json_add_number(json, "frame_ms", outcome->frame_ms[OTHER]);
    add_layers(json, layers);
    json_builder_end_object(json);
    return rv_bench_write_json(b, json, error);
}

static void
print_outcome(const RvBench *b, const Layers *layers, const Outcome *outcome)
{
    FILE *to = rv_bench_stream(b);
    double least, mean = mean_psnr(outcome, &least);
    fprintf(to, "%s, %dx%d, %u frames in %s against %s: PSNR %.1f dB, least %.1f dB\n",
            rv_pipeline_name(b->pipeline), b->request.width, b->request.height, outcome->psnr->len,
            outcome->precision[OTHER], outcome->precision[USUAL], mean, least);
    for (int side = 0; side < SIDES; side++)
        fprintf(to, "a frame in %s: %.2f ms (median)\n", outcome->precision[side], outcome->frame_ms[side]);
    print_layers(layers, outcome, to);
}

bool
rv_bench_precision(RvBench *b, int frames, GError **error)
{
    g_autofree char *asked = g_strdup(rv_generate_options.precision);
    g_autoptr(GPtrArray) kept = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    g_autoptr(GHashTable) by_name = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) layers = g_ptr_array_new_with_free_func(layer_free);
    Layers all = { by_name, layers, USUAL };
    Outcome outcome = { .psnr = g_array_new(FALSE, FALSE, sizeof(double)) };
    const char *const precisions[SIDES] = { "auto", asked != NULL ? asked : "fp8" };
    bool ok = true;
    for (all.side = 0; ok && all.side < SIDES; all.side++) {
        if (all.side > 0)
            rv_bench_close(b);
        g_free(rv_generate_options.precision);
        rv_generate_options.precision = g_strdup(precisions[all.side]);
        ok = run_side(b, frames, &all, kept, &outcome, error);
    }
    if (ok) {
        print_outcome(b, &all, &outcome);
        ok = write_json(b, &all, &outcome, error);
    }
    g_array_unref(outcome.psnr);
    return ok;
}
