/* bench_sleep.c - how long a model takes to leave the device and to come back, and whether it is the same. */
#include <stdio.h>
#include <string.h>

#include "base/json_build.h"
#include "cli/bench.h"

#define ROUNDS 4
#define USUAL_FRAMES 3
/* What issue 4 asks of a GPU once the weights have been copied to the host, which the first round does. */
#define MOST_YIELD_MS 100.0
#define MOST_RETURN_MS 500.0

typedef struct {
    double yield_ms, return_ms, freed_mb;
    bool is_same;
} Round;

static RvPicture *
draw(RvBench *b, GError **error)
{
    if (b->framer != NULL)
        return rv_framer_start(b->framer, &b->request, error) ? rv_framer_finish(b->framer, error) : NULL;
    g_autoptr(RvResult) result = rv_pipeline_generate(b->pipeline, &b->request, error);
    return result != NULL ? g_steal_pointer(&result->images[0].picture) : NULL;
}

static double
milliseconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) * 1e-3;
}

static gint64
free_memory(RvBench *b)
{
    RvDeviceInfo info;
    rv_device_describe(rv_engine_device(b->engine), &info);
    return info.memory_free;
}

static bool
is_same(const RvPicture *a, const RvPicture *b)
{
    return a->width == b->width && a->height == b->height &&
           memcmp(a->rgb, b->rgb, (gsize)a->width * (gsize)a->height * 3) == 0;
}

/* A return ends with the first picture; a picture's usual time is not the return's. */
static bool
run_round(RvBench *b, const RvPicture *wanted, double frame_ms, Round *round, GError **error)
{
    gint64 free_before = free_memory(b), start = g_get_monotonic_time();
    if (!rv_engine_sleep(b->engine, error))
        return false;
    round->yield_ms = milliseconds_since(start);
    round->freed_mb = (double)(free_memory(b) - free_before) * 1e-6;
    start = g_get_monotonic_time();
    if (!rv_engine_wake(b->engine, error))
        return false;
    g_autoptr(RvPicture) picture = draw(b, error);
    if (picture == NULL)
        return false;
    round->return_ms = MAX(milliseconds_since(start) - frame_ms, 0.0);
    round->is_same = is_same(picture, wanted);
    return true;
}

static bool
write_rounds(const RvBench *b, const Round *rounds, double weights_mb, GError **error)
{
    if (b->options.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = rv_bench_json(b);
    rv_json_add_number(json, "weights_mb", weights_mb);
    rv_json_begin_array(json, "rounds");
    for (int i = 0; i < ROUNDS; i++) {
        json_builder_begin_object(json);
        rv_json_add_number(json, "yield_ms", rounds[i].yield_ms);
        rv_json_add_number(json, "freed_mb", rounds[i].freed_mb);
        rv_json_add_number(json, "return_ms", rounds[i].return_ms);
        rv_json_add_flag(json, "is_same", rounds[i].is_same);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    json_builder_end_object(json);
    return rv_bench_write_json(b, json, error);
}

static bool
judge(const RvBench *b, const Round *rounds, double weights_mb, GError **error)
{
    bool is_gpu = strcmp(rv_device_backend(rv_engine_device(b->engine)), "cpu") != 0, ok = true;
    FILE *to = rv_bench_stream(b);
    fprintf(to, "%s, %dx%d: %.1f MB of weights and scratch\n", rv_pipeline_name(b->pipeline),
            b->request.width, b->request.height, weights_mb);
    for (int i = 0; i < ROUNDS; i++) {
        bool is_quick =
            rounds[i].return_ms <= MOST_RETURN_MS && (i == 0 || rounds[i].yield_ms <= MOST_YIELD_MS);
        ok &= rounds[i].is_same && (is_quick || !is_gpu);
        fprintf(to, "round %d: yield %.1f ms, %.1f MB freed, return %.1f ms, picture %s\n", i + 1,
                rounds[i].yield_ms, rounds[i].freed_mb, rounds[i].return_ms,
                rounds[i].is_same ? "the same" : "DIFFERENT");
    }
    if (is_gpu)
        fprintf(to, "wanted: yield within %.0f ms after the first, return within %.0f ms\n", MOST_YIELD_MS,
                MOST_RETURN_MS);
    fprintf(to, "%s\n", ok ? "PASS" : "FAIL");
    if (!write_rounds(b, rounds, weights_mb, error))
        return false;
    return ok || rv_error_set(error, RV_ERROR_FAILED, "bench sleep", NULL, "a figure above is not as wanted");
}

bool
rv_bench_sleep(RvBench *b, GError **error)
{
    Round rounds[ROUNDS];
    double frame_ms = 0.0;
    g_autoptr(RvPicture) wanted = NULL;
    for (int i = -1; i < USUAL_FRAMES; i++) { /* the first one warms up */
        g_clear_pointer(&wanted, rv_picture_free);
        gint64 start = g_get_monotonic_time();
        wanted = draw(b, error);
        if (wanted == NULL)
            return false;
        frame_ms += i < 0 ? 0.0 : milliseconds_since(start) / USUAL_FRAMES;
    }
    double weights_mb = (double)rv_pipeline_device_bytes(b->pipeline) * 1e-6;
    for (int i = 0; i < ROUNDS; i++)
        if (!run_round(b, wanted, frame_ms, &rounds[i], error))
            return false;
    return judge(b, rounds, weights_mb, error);
}
