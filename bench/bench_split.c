/* bench_split - whether one frame over two GPUs can be faster than on one: `bench-split [--device cuda:0,1]`.
 *
 * Nothing splits a frame; this measures the least that it would take, in one run with the frame of one GPU:
 * half the picture on one GPU, self-attention corrected for the other half's keys and values, and every
 * exchange that the frame's own program would need (split_points.h) between two GPUs (split_exchange.h),
 * which nothing hides. A split is worth building below LIMIT of one GPU's time. Work that both GPUs would do
 * in the rows next to the boundary, the second launch and the waiting of the faster GPU are left out: it is a
 * bound.
 *
 * --list prints the exchange points only, on any device. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/framer.h"
#include "split_exchange.h"
#include "split_points.h"

#define LIMIT 0.65
#define PROFILE_RUNS 5
#define TURNS 4 /* frames of both sizes take turns, so that a GPU that warms up slows both */
#define WARM_FRAMES 4
#define CHAIN 16 /* equal exchanges in one graph */
#define ATTENTION_RUNS 31
#define FEW_LAYERS 4
#define MANY_LAYERS 36

typedef struct {
    char *device, *random, *size;
    int frames;
    gboolean list;
    int width, height, gpus[2];
} Options;

/* A size's frames. */
typedef struct {
    RvFramer *framer;
    RvRequest request;
    RvPicture *init;
    GArray *ms; /* double */
    SplitFrame ops;
} Frames;

typedef struct {
    Options options;
    RvEngine *engine;
    RvPipeline *pipeline;
    SplitPair *pair;
    Frames whole, half;
    double attention_ms;           /* that the other half's keys add to a frame */
    SplitTimes chains[SPLIT_WAYS]; /* of all exchanges of a frame */
} Split;

static int
by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- frames ---- */

/* Edges, gradients and texture. */
static RvPicture *
test_picture(int width, int height, GError **error)
{
    RvPicture *picture = rv_picture_new(width, height, false, error);
    for (gsize i = 0; picture != NULL && i < (gsize)width * (gsize)height * 3; i++) {
        gsize x = i / 3 % (gsize)width, y = i / 3 / (gsize)width;
        picture->rgb[i] =
            (guint8)((x * (i % 3 + 1) * 255 / (gsize)width + y / 16 % 2 * 60 + x * y % 23) & 255);
    }
    return picture;
}

/* As `reverie bench frame` asks for them. */
static bool
open_frames(Split *split, Frames *frames, int width, int height, GError **error)
{
    g_autofree char *note = NULL;
    frames->ms = g_array_new(FALSE, FALSE, sizeof(double));
    frames->request = (RvRequest) { .prompt = "a photograph of a mountain lake at dawn",
                                    .images = 1,
                                    .seed = 1,
                                    .eta = -1.0,
                                    .steps = 2,
                                    .strength = 0.7,
                                    .width = width,
                                    .height = height };
    frames->init = test_picture(width, height, error);
    if (frames->init == NULL)
        return false;
    frames->request.init = frames->init;
    frames->framer = rv_framer_new(split->pipeline);
    if (!rv_pipeline_complete(split->pipeline, &frames->request, &note, error))
        return false;
    if (note != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--size", "give multiples of 16", "%s", note);
    return rv_framer_check(frames->framer, &frames->request, error) &&
           rv_framer_prepare(frames->framer, &frames->request, error);
}

static void
close_frames(Frames *frames)
{
    split_frame_clear(&frames->ops);
    g_clear_pointer(&frames->framer, rv_framer_free);
    g_clear_pointer(&frames->init, rv_picture_free);
    g_clear_pointer(&frames->ms, g_array_unref);
}

static bool
draw(Frames *frames, int count, bool counts, GError **error)
{
    for (int i = 0; i < count; i++) {
        gint64 start = g_get_monotonic_time();
        g_autoptr(RvPicture) picture = rv_framer_start(frames->framer, &frames->request, error)
                                           ? rv_framer_finish(frames->framer, error)
                                           : NULL;
        if (picture == NULL)
            return false;
        double ms = (double)(g_get_monotonic_time() - start) * 1e-3;
        if (counts)
            g_array_append_val(frames->ms, ms);
    }
    return true;
}

static bool
time_frames(Split *split, GError **error)
{
    Frames *sizes[] = { &split->whole, &split->half };
    int each = (split->options.frames + TURNS - 1) / TURNS;
    for (int i = 0; i < 2 * TURNS; i++)
        if (!draw(sizes[i % 2], WARM_FRAMES, false, error) || !draw(sizes[i % 2], each, true, error))
            return false;
    for (int i = 0; i < 2; i++)
        qsort(sizes[i]->ms->data, sizes[i]->ms->len, sizeof(double), by_value);
    return true;
}

static double
median(const Frames *frames)
{
    return g_array_index(frames->ms, double, frames->ms->len / 2);
}

static void
print_frames(const Frames *frames, const char *what)
{
    guint count = frames->ms->len;
    g_print("| %s, %dx%d, %u frames | %.2f | %.2f | %.2f |\n", what, frames->request.width,
            frames->request.height, count, median(frames),
            g_array_index(frames->ms, double, count * 99 / 100),
            g_array_index(frames->ms, double, count - 1));
}

/* ---- attention of half the queries ---- */

static bool
write_halves(RvProgram *p, const char *name, GError **error)
{
    gsize bytes = rv_program_slot_bytes(p, name);
    g_autofree float *values = g_malloc(bytes);
    for (gsize i = 0; i < bytes / sizeof *values; i++)
        values[i] = sinf((float)(i % 8191)) * 0.5f;
    return rv_program_write(p, name, values, bytes, error);
}

/* The layers' results are not read; a small tensor is the program's output. */
static void
record_attention(RvProgram *p, const SplitAttention *a, int keys, int layers)
{
    int channels = a->heads * a->width;
    RvTensor q = rv_input(p, "queries", RV_F32, (RvShape) { 1, a->tokens / 2, 1, channels });
    RvTensor k = rv_input(p, "keys", RV_F32, (RvShape) { 1, keys, 1, channels });
    for (int i = 0; i < layers; i++)
        rv_attention(p, q, k, k, (RvAttention) { .heads = a->heads });
    RvTensor small = rv_input(p, "small", RV_F32, (RvShape) { 1, 1, 1, 8 });
    rv_output(p, "done", rv_act(p, small, RV_ACT_RELU));
}

/* Milliseconds of a run, the median; negative with an error. */
static double
time_layers(RvDevice *device, const SplitAttention *a, int keys, int layers, GError **error)
{
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { 0 });
    RvProgram *p = rv_program_new(set);
    double ms[ATTENTION_RUNS];
    record_attention(p, a, keys, layers);
    bool ok = rv_program_compile(p, error) && write_halves(p, "queries", error) &&
              write_halves(p, "keys", error) && write_halves(p, "small", error);
    for (int i = -2; ok && i < ATTENTION_RUNS; i++) {
        gint64 start = g_get_monotonic_time();
        ok = rv_program_run(p, error);
        ms[MAX(i, 0)] = (double)(g_get_monotonic_time() - start) * 1e-3;
    }
    rv_program_free(p);
    rv_weight_set_free(set);
    qsort(ms, ATTENTION_RUNS, sizeof *ms, by_value);
    return ok ? ms[ATTENTION_RUNS / 2] : -1.0;
}

/* Of one layer: what more layers take more. */
static bool
time_attention(RvDevice *device, const SplitAttention *a, int keys, double *ms, GError **error)
{
    double few = time_layers(device, a, keys, FEW_LAYERS, error);
    double many = few < 0 ? -1.0 : time_layers(device, a, keys, MANY_LAYERS, error);
    *ms = (many - few) / (MANY_LAYERS - FEW_LAYERS);
    return many >= 0;
}

/* Half a picture has half the keys, too; a half that is split from a whole one has all of them. */
static bool
correct_attention(Split *split, GError **error)
{
    RvDevice *device = rv_engine_device(split->engine);
    g_print("\n| attention of half the queries | in a frame | half the keys, us | all keys, us |\n"
            "|---|---|---|---|\n");
    for (guint i = 0; i < split->whole.ops.attentions->len; i++) {
        const SplitAttention *a = &g_array_index(split->whole.ops.attentions, SplitAttention, i);
        double half = 0.0, all = 0.0;
        if (!time_attention(device, a, a->tokens / 2, &half, error) ||
            !time_attention(device, a, a->tokens, &all, error))
            return false;
        split->attention_ms += (all - half) * a->count;
        g_print("| %d heads of %d, %d queries | %d | %.1f | %.1f |\n", a->heads, a->width, a->tokens / 2,
                a->count, half * 1e3, all * 1e3);
    }
    return true;
}

/* ---- exchanges ---- */

static int
count_equal(const GArray *points, guint index, bool *is_first)
{
    const SplitPoint *point = &g_array_index(points, SplitPoint, index);
    int count = 0;
    *is_first = true;
    for (guint i = 0; i < points->len; i++) {
        const SplitPoint *other = &g_array_index(points, SplitPoint, i);
        if (other->bytes != point->bytes || strcmp(other->what, point->what) != 0)
            continue;
        count++;
        *is_first = *is_first && i >= index;
    }
    return count;
}

static void
list_points(const SplitFrame *ops)
{
    gsize bytes = 0;
    g_print("| exchange | bytes that each sends | in a frame |\n|---|---|---|\n");
    for (guint i = 0; i < ops->points->len; i++) {
        const SplitPoint *point = &g_array_index(ops->points, SplitPoint, i);
        bool is_first;
        int count = count_equal(ops->points, i, &is_first);
        bytes += point->bytes;
        if (is_first)
            g_print("| %s | %" G_GSIZE_FORMAT " | %d |\n", point->what, point->bytes, count);
    }
    g_print("| all, of %d ops | %" G_GSIZE_FORMAT " | %u |\n", ops->ops, bytes, ops->points->len);
}

/* Microseconds of one of CHAIN equal exchanges. */
static bool
time_point(Split *split, const SplitPoint *point, int count, GError **error)
{
    gsize bytes[CHAIN];
    SplitTimes times[SPLIT_WAYS];
    for (int i = 0; i < CHAIN; i++)
        bytes[i] = point->bytes;
    for (int way = 0; way < SPLIT_WAYS; way++)
        if (!split_pair_measure(split->pair, (SplitWay)way, bytes, CHAIN, split->options.frames, &times[way],
                                error))
            return false;
    g_print("| %s | %" G_GSIZE_FORMAT " | %d |", point->what, point->bytes, count);
    for (int way = 0; way < SPLIT_WAYS; way++)
        g_print(" %.2f | %.2f | %.2f |", times[way].median / CHAIN, times[way].p99 / CHAIN,
                times[way].slowest / CHAIN);
    g_print("\n");
    return true;
}

static bool
time_chains(Split *split, GError **error)
{
    const GArray *points = split->whole.ops.points;
    g_autofree gsize *bytes = g_new(gsize, points->len);
    for (guint i = 0; i < points->len; i++)
        bytes[i] = g_array_index(points, SplitPoint, i).bytes;
    g_print("| **all of a frame, in its order** | | %u |", points->len);
    for (int way = 0; way < SPLIT_WAYS; way++) {
        SplitTimes *times = &split->chains[way];
        if (!split_pair_measure(split->pair, (SplitWay)way, bytes, (int)points->len, split->options.frames,
                                times, error))
            return false;
        g_print(" %.0f | %.0f | %.0f |", times->median, times->p99, times->slowest);
    }
    g_print("\n");
    return true;
}

static bool
time_exchanges(Split *split, GError **error)
{
    const GArray *points = split->whole.ops.points;
    g_print(
        "\nus of an exchange (median, p99, slowest of %d runs of %d in a graph): by stores into the other "
        "GPU's memory; by\ncopies between the GPUs; each GPU by itself (launches and local memory)\n\n"
        "| exchange | bytes | in a frame | stores | p99 | slowest | copies | p99 | slowest | alone | p99 | "
        "slowest |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        split->options.frames, CHAIN);
    for (guint i = 0; i < points->len; i++) {
        bool is_first;
        int count = count_equal(points, i, &is_first);
        if (is_first && !time_point(split, &g_array_index(points, SplitPoint, i), count, error))
            return false;
    }
    return time_chains(split, error);
}

/* ---- the verdict ---- */

static void
print_kinds(const Split *split)
{
    g_print("\n| ops, one at a time | whole, ms | half the picture, ms | share |\n|---|---|---|---|\n");
    for (int i = 0; i < RV_OP_KINDS; i++) {
        double whole = split->whole.ops.seconds[i], half = split->half.ops.seconds[i];
        if (whole > 0.0)
            g_print("| %s | %.2f | %.2f | %.2f |\n", rv_op_kind_name((RvOpKind)i), whole * 1e3, half * 1e3,
                    half / whole);
    }
}

static double
print_bound(const Split *split, const char *what, double ms)
{
    double share = ms / median(&split->whole);
    g_print("| %s | %.2f | %.3f |\n", what, ms, share);
    return share;
}

static void
judge(const Split *split)
{
    const SplitTimes *chains = split->chains;
    double compute = median(&split->half) + split->attention_ms;
    double exchange = MIN(chains[SPLIT_STORES].median, chains[SPLIT_COPIES].median) * 1e-3;
    double fused = MAX(0.0, chains[SPLIT_STORES].median - chains[SPLIT_ALONE].median) * 1e-3;
    g_print("\n| frame | median, ms | p99 | slowest |\n|---|---|---|---|\n");
    print_frames(&split->whole, "one GPU");
    print_frames(&split->half, "half the picture");
    g_print("\n| least of a frame over two GPUs | ms | of one GPU's |\n|---|---|---|\n");
    double least = print_bound(split, "half the picture, attention over all keys", compute);
    double hidden = print_bound(split, "and the exchanges without their launches (inside other kernels)",
                                compute + fused);
    double plain = print_bound(split, "and the exchanges as kernels of their own", compute + exchange);
    g_print("\nwanted: below %.2f of one GPU's time\n", LIMIT);
    if (plain < LIMIT)
        g_print("PASS: worth building\n");
    else if (hidden < LIMIT)
        g_print("UNDECIDED: only with exchanges inside other kernels\n");
    else if (least < LIMIT)
        g_print("AGAINST: the exchanges take what half the work saves\n");
    else
        g_print("AGAINST: half the work alone takes too long\n");
}

/* ---- */

static bool
parse(Options *o, char ***devices, GError **error)
{
    char rest;
    if (sscanf(o->size, "%dx%d%c", &o->width, &o->height, &rest) != 2 || o->width < 64 || o->height < 128)
        return rv_error_set(error, RV_ERROR_USAGE, "--size", "give WIDTHxHEIGHT, for example 1024x1024",
                            "\"%s\" is no size", o->size);
    if (o->frames < TURNS)
        return rv_error_set(error, RV_ERROR_USAGE, "--frames", "give more", "%d are too few", o->frames);
    *devices = rv_engine_split_devices(o->device);
    if (o->list)
        return true;
    if (g_strv_length(*devices) != 2 || sscanf((*devices)[0], "cuda:%d%c", &o->gpus[0], &rest) != 1 ||
        sscanf((*devices)[1], "cuda:%d%c", &o->gpus[1], &rest) != 1)
        return rv_error_set(error, RV_ERROR_USAGE, "--device", "give two GPUs, for example cuda:0,1",
                            "a frame is split over two GPUs");
    return true;
}

static bool
open_whole(Split *split, const char *device, int runs, GError **error)
{
    const Options *o = &split->options;
    RvEngineOptions engine = { .device = device, .precision = strcmp(device, "cpu") == 0 ? NULL : "fp16" };
    RvPipelineOptions pipeline = { .vae = "taesd" };
    split->engine = rv_engine_open(&engine, error);
    if (split->engine == NULL)
        return false;
    split->pipeline = rv_pipeline_open_random(split->engine, o->random, &pipeline, error);
    return split->pipeline != NULL && open_frames(split, &split->whole, o->width, o->height, error) &&
           draw(&split->whole, 1, false, error) &&
           split_frame_read(rv_engine_device(split->engine), rv_framer_program(split->whole.framer), runs,
                            &split->whole.ops, error);
}

static bool
measure_halves(Split *split, GError **error)
{
    const Options *o = &split->options;
    return open_frames(split, &split->half, o->width, o->height / 2, error) &&
           draw(&split->half, 1, false, error) &&
           split_frame_read(rv_engine_device(split->engine), rv_framer_program(split->half.framer),
                            PROFILE_RUNS, &split->half.ops, error) &&
           time_frames(split, error);
}

static bool
run(Split *split, char **devices, GError **error)
{
    const Options *o = &split->options;
    if (o->list) {
        if (!open_whole(split, devices[0], 1, error))
            return false;
        list_points(&split->whole.ops);
        return true;
    }
    split->pair = split_pair_open(o->gpus[0], o->gpus[1], error);
    if (split->pair == NULL)
        return false;
    g_print("%s, %s; %s, %s\n", devices[0], split_pair_name(split->pair, 0), devices[1],
            split_pair_name(split->pair, 1));
    if (!open_whole(split, devices[0], PROFILE_RUNS, error) || !time_exchanges(split, error) ||
        !correct_attention(split, error) || !measure_halves(split, error))
        return false;
    print_kinds(split);
    judge(split);
    return true;
}

int
main(int argc, char **argv)
{
    Split split = { .options = { .device = g_strdup("cuda:0,1"),
                                 .random = g_strdup("sdxl"),
                                 .size = g_strdup("1024x1024"),
                                 .frames = 300 } };
    Options *o = &split.options;
    const GOptionEntry entries[] = {
        { "device", 0, 0, G_OPTION_ARG_STRING, &o->device, "Two GPUs (default: cuda:0,1)", "NAME" },
        { "random", 0, 0, G_OPTION_ARG_STRING, &o->random, "Family (default: sdxl)", "FAMILY" },
        { "size", 0, 0, G_OPTION_ARG_STRING, &o->size, "Of the frame (default: 1024x1024)", "WxH" },
        { "frames", 0, 0, G_OPTION_ARG_INT, &o->frames, "Of each size, and runs (default: 300)", "N" },
        { "list", 0, 0, G_OPTION_ARG_NONE, &o->list, "Only list the exchanges; one device of any kind",
          NULL },
        { 0 },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- the least that a frame over two GPUs takes");
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) devices = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("bench-split: %s\n", error->message);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!parse(o, &devices, &error) || !run(&split, devices, &error))
        g_printerr("bench-split: %s\n", error->message);
    close_frames(&split.half);
    close_frames(&split.whole);
    rv_pipeline_free(split.pipeline);
    rv_engine_close(split.engine);
    split_pair_close(split.pair);
    g_free(o->device);
    g_free(o->random);
    g_free(o->size);
    return rv_error_exit_code(error);
}
