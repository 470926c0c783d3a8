#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/bench.h"
#include "engine/source.h"
#include "weights/model.h"

#define STAGE_RUNS 5
#define LINK_BYTES ((gsize)64 << 20)

static double
milliseconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) * 1e-3;
}

/* ---- frames ---- */

/* A frame by the pipeline, whose parts report what they took. */
static bool
generate_frame(RvBench *b, bool counts, GError **error)
{
    g_autoptr(RvResult) result = rv_pipeline_generate(b->pipeline, &b->request, error);
    RvStageCosts costs = rv_pipeline_costs(b->pipeline);
    b->flops = costs.encode_flops + costs.unet_flops + costs.decode_flops;
    if (counts) {
        b->stages.encode += costs.encode * 1e3;
        b->stages.unet += costs.unet * 1e3;
        b->stages.decode += costs.decode * 1e3;
    }
    return result != NULL;
}

static bool
draw_frame(RvBench *b, GError **error)
{
    g_autoptr(RvPicture) picture =
        rv_framer_start(b->framer, &b->request, error) ? rv_framer_finish(b->framer, error) : NULL;
    return picture != NULL;
}

static void
add_op(const RvOp *op, double seconds, void *user)
{
    RvBenchStages *stages = user;
    double ms = seconds * 1e3 / STAGE_RUNS;
    if (strcmp(op->stage, "encode") == 0)
        stages->encode += ms;
    else if (strcmp(op->stage, "decode") == 0)
        stages->decode += ms;
    else
        stages->unet += ms;
}

/* The program's parts op by op, and its bytes on the way by themselves. */
static bool
measure_stages(RvBench *b, bool overlaps, GError **error)
{
    RvProgram *p = rv_framer_program(b->framer);
    gsize bytes = rv_program_slot_bytes(p, "rgb");
    g_autofree guint8 *rgb = g_malloc0(bytes);
    b->flops = rv_program_flops(p);
    for (int i = -1; i < STAGE_RUNS; i++) { /* the first one warms up */
        rv_device_set_observer(rv_engine_device(b->engine), i < 0 ? NULL : add_op, &b->stages);
        bool ok = rv_program_run(p, error);
        rv_device_set_observer(rv_engine_device(b->engine), NULL, NULL);
        if (!ok)
            return false;
        gint64 start = g_get_monotonic_time();
        if (!rv_program_read(p, "picture", rgb, bytes, error))
            return false;
        gint64 half = g_get_monotonic_time();
        if (!rv_program_write(p, "rgb", rgb, bytes, error))
            return false;
        if (i < 0 || !overlaps)
            continue;
        b->stages.download += (double)(half - start) * 1e-3 / STAGE_RUNS;
        b->stages.upload += milliseconds_since(half) / STAGE_RUNS;
    }
    return true;
}

/* What a mirror under full load sees: the next frame's bytes cross while this one is computed. */
static bool
measure_interval(RvBench *b, int frames, GError **error)
{
    gint64 start = g_get_monotonic_time();
    bool ok = rv_framer_start(b->framer, &b->request, error);
    for (int i = 0; ok && i < frames; i++) {
        ok = i == frames - 1 || rv_framer_start(b->framer, &b->request, error);
        g_autoptr(RvPicture) picture = ok ? rv_framer_finish(b->framer, error) : NULL;
        ok = picture != NULL;
    }
    b->interval_ms = milliseconds_since(start) / frames;
    return ok;
}

/* What of that is computing: the rest is what bytes on their way cost. */
static bool
measure_compute(RvBench *b, int frames, GError **error)
{
    gint64 start = g_get_monotonic_time();
    for (int i = 0; i < frames; i++)
        if (!rv_program_run(rv_framer_program(b->framer), error))
            return false;
    b->compute_ms = milliseconds_since(start) / frames;
    return true;
}

/* Until a frame's turn: when its picture came. Of pictures that came meanwhile the newest counts, as in a
 * mirror. */
static gint64
wait_for_camera(RvBench *b, gint64 *tick)
{
    if (b->options.rate == 0.0)
        return g_get_monotonic_time();
    gint64 period = (gint64)(1e6 / b->options.rate), now = g_get_monotonic_time();
    *tick += period;
    gint64 late = MAX(now - *tick, 0) / period;
    b->missed += (int)late;
    *tick += late * period;
    if (now >= *tick)
        return *tick;
    g_usleep((gulong)(*tick - now));
    return g_get_monotonic_time();
}

bool
rv_bench_frames(RvBench *b, int frames, GError **error)
{
    RvDeviceInfo info;
    gint64 tick = g_get_monotonic_time();
    rv_device_describe(rv_engine_device(b->engine), &info);
    for (int i = -RV_STARTS_UNDER_WAY; i < frames; i++) { /* every buffer's first frame warms up */
        gint64 start = wait_for_camera(b, &tick);
        if (b->framer != NULL ? !draw_frame(b, error) : !generate_frame(b, i >= 0, error))
            return false;
        double ms = milliseconds_since(start);
        if (i == -RV_STARTS_UNDER_WAY)
            b->first_frame_seconds = rv_bench_age();
        if (i < 0) {
            b->missed = 0;
            continue;
        }
        g_array_append_val(b->samples_ms, ms);
        rv_progress_bar_update(&b->bar, i + 1, frames, "frame");
    }
    if (b->framer == NULL) {
        b->stages.encode /= frames;
        b->stages.unet /= frames;
        b->stages.decode /= frames;
        return true;
    }
    int turns = MAX(frames / 3, 2);
    return (!info.overlaps || (measure_interval(b, turns, error) && measure_compute(b, turns, error))) &&
           measure_stages(b, info.overlaps, error);
}

/* ---- steps ---- */

static void
on_step(const RvProgress *progress, void *user)
{
    RvBench *b = user;
    gint64 now = g_get_monotonic_time();
    double ms = (double)(now - b->last_step) * 1e-3;
    if (progress->phase == RV_PHASE_SAMPLE && progress->done > 1) /* the first step reads cold memory */
        g_array_append_val(b->samples_ms, ms);
    if (progress->phase == RV_PHASE_SAMPLE)
        rv_progress_bar_update(&b->bar, progress->done, progress->total, "it");
    b->last_step = now;
}

bool
rv_bench_steps(RvBench *b, GError **error)
{
    b->request.on_progress = on_step;
    b->request.user = b;
    b->last_step = g_get_monotonic_time();
    g_autoptr(RvResult) result = rv_pipeline_generate(b->pipeline, &b->request, error);
    if (result == NULL)
        return false;
    RvStageCosts costs = rv_pipeline_costs(b->pipeline);
    b->stages = (RvBenchStages) { costs.encode * 1e3, costs.unet * 1e3, costs.decode * 1e3, 0.0, 0.0 };
    b->compute_ms = costs.unet_runs * 1e3 / result->evaluations;
    b->flops = costs.unet_flops / result->evaluations;
    return b->samples_ms->len > 0 ||
           rv_error_set(error, RV_ERROR_USAGE, "--steps", "give at least 2", "too few steps to time");
}

/* ---- loading ---- */

typedef struct {
    double bytes;
    guint64 sum; /* so that the reading is not optimised away */
} ReadSum;

static void
sum_bytes(void *user, const char *name, const RvArray *array)
{
    ReadSum *sum = user;
    gsize size = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    const guint8 *data = array->data;
    for (gsize i = 0; i + 64 <= size; i += 64)
        sum->sum += data[i];
    sum->bytes += (double)size;
}

bool
rv_bench_reading(const char *path, double *seconds, double *bytes, GError **error)
{
    g_autoptr(RvModel) model = rv_model_open(path, NULL, error);
    if (model == NULL)
        return false;
    ReadSum sum = { 0 };
    gint64 start = g_get_monotonic_time();
    for (int part = 0; part < RV_PARTS; part++)
        rv_model_each(model, (RvPart)part, sum_bytes, &sum);
    *seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    *bytes = sum.bytes;
    return true;
}

bool
rv_bench_link(RvEngine *engine, double *rate, GError **error)
{
    RvRandomSource *random = rv_random_source_new(1);
    RvWeightSet *set = rv_weight_set_new(rv_engine_device(engine), rv_random_source_weights(random));
    RvProgram *p = rv_program_new(set);
    g_autofree guint8 *bytes = g_malloc0(LINK_BYTES);
    RvTensor x = rv_input_exact(p, "x", RV_U8, (RvShape) { 1, 1, 1 << 20, (int)(LINK_BYTES >> 20) });
    rv_output(p, "y", rv_convert(p, rv_slice(p, x, 0, 1), (RvConvert) { .dtype = RV_U8 }));
    bool ok = rv_program_compile(p, error);
    double best = 0.0;
    for (int i = 0; ok && i < STAGE_RUNS; i++) {
        gint64 start = g_get_monotonic_time();
        ok = rv_program_write(p, "x", bytes, LINK_BYTES, error) && rv_program_run(p, error);
        best = MAX(best, (double)LINK_BYTES / (milliseconds_since(start) * 1e-3));
    }
    *rate = best;
    rv_program_free(p);
    rv_weight_set_free(set);
    rv_random_source_free(random);
    return ok;
}

/* Field 22 of /proc/self/stat is the start in clock ticks since the machine's; the name before it may hold
 * spaces. */
double
rv_bench_age(void)
{
    g_autofree char *text = NULL;
    unsigned long long ticks = 0;
    struct timespec now;
    if (!g_file_get_contents("/proc/self/stat", &text, NULL, NULL) || strrchr(text, ')') == NULL ||
        sscanf(strrchr(text, ')') + 2,
               "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
               &ticks) != 1)
        return 0.0;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9 - (double)ticks / (double)sysconf(_SC_CLK_TCK);
}
