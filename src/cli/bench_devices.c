/* bench_devices.c - frames a second of several devices: each by itself, then all at a time, in one run. */
#include <stdio.h>
#include <string.h>

#include "base/json_build.h"
#include "cli/bench.h"
#include "cli/generate.h"

#define WARM_FRAMES 4

/* What one device draws with. Its thread changes from phase to phase; only one at a time has it. */
typedef struct {
    const RvBench *bench;
    const char *name; /* "cuda:1" */
    char *path;       /* of the model; NULL: random weights */
    char shown[128];  /* the device's own name */
    RvEngine *engine;
    RvPipeline *pipeline;
    RvFramer *framer;
    RvRequest request;
    int frames, depth;
    double alone, together; /* frames a second */
    GError *error;
} Lane;

static bool
open_pipeline(Lane *lane, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    RvEngineOptions engine = { lane->name, o->precision, o->threads, rv_console_cancel_flag() };
    RvPipelineOptions options = {
        .vae = o->vae, .tokenizer = o->tokenizer, .prediction = o->prediction, .models_dir = o->models_dir
    };
    lane->engine = rv_engine_open(&engine, error);
    if (lane->engine == NULL)
        return false;
    lane->pipeline = lane->path != NULL ? rv_pipeline_open(lane->engine, lane->path, &options, error)
                                        : rv_pipeline_open_random(lane->engine, lane->bench->options.random,
                                                                  &options, error);
    return lane->pipeline != NULL;
}

static gpointer
open_lane(gpointer data)
{
    Lane *lane = data;
    GError **error = &lane->error;
    RvDeviceInfo info;
    g_autofree char *note = NULL;
    if (!open_pipeline(lane, error) || !rv_pipeline_complete(lane->pipeline, &lane->request, &note, error))
        return NULL;
    lane->framer = rv_framer_new(lane->pipeline);
    if (!rv_framer_check(lane->framer, &lane->request, error) ||
        !rv_framer_prepare(lane->framer, &lane->request, error))
        return NULL;
    rv_device_describe(rv_engine_device(lane->engine), &info);
    g_strlcpy(lane->shown, info.name, sizeof lane->shown);
    lane->depth = info.overlaps ? RV_STARTS_UNDER_WAY : 1;
    return NULL;
}

static bool
draw(Lane *lane, int frames, GError **error)
{
    for (int started = 0, finished = 0; finished < frames; finished++) {
        while (started < frames && started - finished < lane->depth) {
            if (!rv_framer_start(lane->framer, &lane->request, error))
                return false;
            started++;
        }
        g_autoptr(RvPicture) picture = rv_framer_finish(lane->framer, error);
        if (picture == NULL)
            return false;
    }
    return true;
}

/* Frames as a mirror under full load draws them: with the next under way where the device can. */
static gpointer
draw_lane(gpointer data)
{
    Lane *lane = data;
    gint64 start = g_get_monotonic_time();
    if (draw(lane, lane->frames, &lane->error))
        lane->together = lane->frames / ((double)(g_get_monotonic_time() - start) * 1e-6);
    return NULL;
}

static gpointer
warm_lane(gpointer data)
{
    Lane *lane = data;
    draw(lane, WARM_FRAMES, &lane->error);
    return NULL;
}

/* Each lane in a thread of its own, at the same time; the error is that of the first that failed. */
static bool
run_lanes(Lane *lanes, int count, GThreadFunc run, GError **error)
{
    g_autofree GThread **threads = g_new(GThread *, (gsize)count);
    for (int i = 0; i < count; i++)
        threads[i] = g_thread_new(lanes[i].name, run, &lanes[i]);
    for (int i = 0; i < count; i++)
        g_thread_join(threads[i]);
    for (int i = 0; i < count; i++)
        if (lanes[i].error != NULL) {
            g_propagate_prefixed_error(error, g_steal_pointer(&lanes[i].error), "%s: ", lanes[i].name);
            return false;
        }
    return true;
}

static bool
measure(Lane *lanes, int count, int frames, double *together, GError **error)
{
    for (int i = 0; i < count; i++)
        lanes[i].frames = frames;
    if (!run_lanes(lanes, count, open_lane, error) || !run_lanes(lanes, count, warm_lane, error))
        return false;
    for (int i = 0; i < count; i++) {
        if (!run_lanes(&lanes[i], 1, draw_lane, error))
            return false;
        lanes[i].alone = lanes[i].together;
    }
    gint64 start = g_get_monotonic_time();
    if (!run_lanes(lanes, count, draw_lane, error))
        return false;
    *together = (double)frames * count / ((double)(g_get_monotonic_time() - start) * 1e-6);
    return true;
}

static void
add_figure(JsonBuilder *json, const char *name, double value)
{
    rv_json_add_number(json, name, value);
}

static JsonBuilder *
figures(const Lane *lanes, int count, double one, double together)
{
    JsonBuilder *json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_begin_array(json, "devices");
    for (int i = 0; i < count; i++) {
        json_builder_begin_object(json);
        rv_json_add_text(json, "device", lanes[i].name);
        rv_json_add_text(json, "name", lanes[i].shown);
        add_figure(json, "alone_fps", lanes[i].alone);
        add_figure(json, "together_fps", lanes[i].together);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    add_figure(json, "one_fps", one);
    add_figure(json, "together_fps", together);
    add_figure(json, "ratio", together / one);
    json_builder_end_object(json);
    return json;
}

/* One device: the mean of them. All: from the common start until the last has ended. */
static bool
report(const RvBench *b, const Lane *lanes, int count, double together, GError **error)
{
    FILE *to = b->options.json != NULL && strcmp(b->options.json, "-") == 0 ? stderr : stdout;
    double one = 0.0;
    fprintf(to, "%s, %dx%d, %d frames on each device\n", rv_pipeline_name(lanes[0].pipeline),
            lanes[0].request.width, lanes[0].request.height, lanes[0].frames);
    for (int i = 0; i < count; i++) {
        one += lanes[i].alone / count;
        fprintf(to, "%s (%s): %.2f frames a second alone, %.2f beside the others\n", lanes[i].name,
                lanes[i].shown, lanes[i].alone, lanes[i].together);
    }
    fprintf(to, "one device: %.2f frames a second, %d devices: %.2f, ratio %.2f\n", one, count, together,
            together / one);
    if (b->options.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = figures(lanes, count, one, together);
    return rv_bench_write_json(b, json, error);
}

static void
clear_lane(Lane *lane)
{
    rv_framer_free(lane->framer);
    rv_pipeline_free(lane->pipeline);
    rv_engine_close(lane->engine);
    g_clear_error(&lane->error);
    g_free(lane->path);
}

bool
rv_bench_devices(RvBench *b, char **names, int frames, GError **error)
{
    const RvGenerateOptions *o = &rv_generate_options;
    int count = (int)g_strv_length(names);
    bool is_random = b->options.random != NULL && strcmp(b->options.random, "mini") != 0;
    double together = 0.0;
    g_autofree char *path = is_random ? NULL : rv_find_model(o->model, o->models_dir, error);
    if (!is_random && path == NULL)
        return false;
    g_autofree Lane *lanes = g_new0(Lane, (gsize)count);
    for (int i = 0; i < count; i++)
        lanes[i] = (Lane) { .bench = b, .name = names[i], .path = g_strdup(path), .request = b->request };
    bool ok = measure(lanes, count, frames, &together, error) && report(b, lanes, count, together, error);
    for (int i = 0; i < count; i++)
        clear_lane(&lanes[i]);
    return ok;
}
