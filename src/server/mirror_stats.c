/* mirror_stats.c - what the mirror has to say about itself. */
#include <stdlib.h>
#include <string.h>

#include "server/mirror_internal.h"

#include "base/json_build.h"

static const char *const counter_names[RV_CLIENT_N_COUNTERS] = { "bytes_in",   "bytes_out",  "frames_in",
                                                                 "bad_input",  "skipped_in", "skipped_out",
                                                                 "frames_out", "cut_off" };
static const char *const time_names[RV_CLIENT_N_TIMES] = { "decode", "encode", "client_age", "residence" };

/* Milliseconds, as people read them. */
static void
add_quantiles(JsonBuilder *json, const char *name, const RvLiveQuantiles *q)
{
    rv_json_begin_object(json, name);
    rv_json_add_int(json, "count", q->count);
    rv_json_add_number(json, "p50", (double)q->p50 * 1e-3);
    rv_json_add_number(json, "p95", (double)q->p95 * 1e-3);
    rv_json_add_number(json, "p99", (double)q->p99 * 1e-3);
    rv_json_add_number(json, "max", (double)q->max * 1e-3);
    json_builder_end_object(json);
}

static int
compare(const void *a, const void *b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
    return x < y ? -1 : x > y;
}

static RvLiveQuantiles
quantiles_of(const gint64 *ring, guint total)
{
    gint64 sorted[RV_CLIENT_RECENT];
    guint n = MIN(total, RV_CLIENT_RECENT);
    if (n == 0)
        return (RvLiveQuantiles) { 0 };
    memcpy(sorted, ring, n * sizeof *ring);
    qsort(sorted, n, sizeof *sorted, compare);
    return (RvLiveQuantiles) { n, sorted[(n - 1) / 2], sorted[(n - 1) * 95 / 100], sorted[(n - 1) * 99 / 100],
                               sorted[n - 1] };
}

static void
add_counters(JsonBuilder *json, const RvLiveCounters *c)
{
    rv_json_begin_object(json, "frames");
    rv_json_add_int(json, "pushed", (gint64)c->pushed);
    rv_json_add_int(json, "shown", (gint64)c->shown);
    rv_json_add_int(json, "dropped", (gint64)c->dropped);
    rv_json_add_int(json, "late", (gint64)c->late);
    rv_json_add_int(json, "failed", (gint64)c->failed);
    rv_json_add_int(json, "held", (gint64)c->held);
    json_builder_end_object(json);
}

static void
add_session(JsonBuilder *json, const RvClient *client)
{
    RvLiveSessionStats stats;
    rv_live_session_stats(client->session, &stats);
    json_builder_begin_object(json);
    rv_json_add_int(json, "id", (gint64)client->id);
    rv_json_add_text(json, "transport", client->transport);
    rv_json_add_text(json, "address", client->address != NULL ? client->address : "");
    rv_json_add_number(json, "seconds", (double)(g_get_monotonic_time() - client->opened_us) * 1e-6);
    rv_json_add_number(json, "fps_in", stats.fps_in);
    rv_json_add_number(json, "fps", stats.fps_shown);
    add_counters(json, &stats.counters);
    add_quantiles(json, "age_ms", &stats.age);
    add_quantiles(json, "interval_ms", &stats.interval);
    rv_json_begin_object(json, "stages_ms");
    for (int i = 0; i < RV_STAGE_COUNT; i++)
        if (i != RV_STAGE_DECODE && i != RV_STAGE_ENCODE)
            add_quantiles(json, rv_stage_name(i), &stats.stage[i]);
    for (int i = 0; i < RV_CLIENT_N_TIMES; i++) {
        RvLiveQuantiles q = quantiles_of(client->recent[i], client->n_recent[i]);
        add_quantiles(json, time_names[i], &q);
    }
    json_builder_end_object(json);
    rv_json_begin_object(json, "counters");
    for (int i = 0; i < RV_CLIENT_N_COUNTERS; i++)
        rv_json_add_int(json, counter_names[i], (gint64)client->counters[i]);
    json_builder_end_object(json);
    json_builder_end_object(json);
}

static const char *
state_name(RvLiveDeviceState state)
{
    static const char *const names[] = { "working", "out", "probing" };
    return names[state];
}

static void
add_device(RvLiveDevice *device, void *data)
{
    JsonBuilder *json = data;
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    json_builder_begin_object(json);
    rv_json_add_text(json, "name", stats.name);
    rv_json_add_text(json, "state", state_name(stats.state));
    add_quantiles(json, "service_ms", &stats.service);
    rv_json_add_int(json, "served", (gint64)stats.served);
    rv_json_add_int(json, "failed", (gint64)stats.failed);
    rv_json_add_int(json, "late_answers", (gint64)stats.late_answers);
    rv_json_add_int(json, "taken_out", (gint64)stats.taken_out);
    rv_json_add_int(json, "brought_back", (gint64)stats.brought_back);
    rv_json_add_number(json, "busy_seconds", (double)stats.busy_us * 1e-6);
    rv_json_add_text(json, "last_error", stats.last_error != NULL ? stats.last_error : "");
    json_builder_end_object(json);
}

static RvLiveCounters
all_counters(const RvMirror *mirror)
{
    RvLiveCounters sum = { 0 };
    for (int i = 0; i < RV_MIRROR_N; i++) {
        RvLiveCounters c;
        rv_live_counters(mirror->lives[i], &c);
        sum.pushed += c.pushed;
        sum.shown += c.shown;
        sum.dropped += c.dropped;
        sum.late += c.late;
        sum.failed += c.failed;
        sum.held += c.held;
    }
    return sum;
}

/* Of the client that came last. */
static RvLiveSessionStats
newest_stats(const RvMirror *mirror)
{
    RvLiveSessionStats stats = { 0 };
    if (mirror->clients->len > 0) {
        const RvClient *client = g_ptr_array_index(mirror->clients, mirror->clients->len - 1);
        rv_live_session_stats(client->session, &stats);
    }
    return stats;
}

void
rv_mirror_add_summary(const RvMirror *mirror, JsonBuilder *json)
{
    RvLiveSessionStats stats = newest_stats(mirror);
    rv_json_add_number(json, "fps", stats.fps_shown);
    rv_json_add_number(json, "frame_ms", (double)stats.service.p50 * 1e-3);
    rv_json_add_number(json, "capture_ms", (double)stats.stage[RV_STAGE_WAIT].p50 * 1e-3);
    rv_json_add_number(json, "display_ms", (double)stats.stage[RV_STAGE_HOLD].p50 * 1e-3);
    rv_json_add_number(json, "loop_ms", (double)stats.age.p50 * 1e-3);
    rv_json_add_int(json, "queued_frames", stats.in_work + stats.waiting);
    rv_json_add_int(json, "dropped_frames", (gint64)stats.counters.dropped);
    rv_json_add_int(json, "width", mirror->width);
    rv_json_add_int(json, "height", mirror->height);
    rv_json_add_int(json, "clients", mirror->clients->len);
    rv_json_add_int(json, "prompts_being_encoded",
                    mirror->prompts != NULL ? rv_prompt_store_pending(mirror->prompts) : 0);
    rv_json_add_flag(json, "ready", rv_mirror_is_ready(mirror));
}

/* ---- fast-trt's objects ---- */

static void
begin(JsonBuilder *json, const char *name)
{
    rv_json_begin_object(json, name);
}

static void
add_config(const RvMirror *mirror, int http_port, JsonBuilder *json)
{
    begin(json, "config");
    rv_json_add_int(json, "requested_width",
                    mirror->options->width > 0 ? mirror->options->width : mirror->width);
    rv_json_add_int(json, "requested_height",
                    mirror->options->height > 0 ? mirror->options->height : mirror->height);
    rv_json_begin_array(json, "cached_resolutions");
    if (mirror->width > 0) {
        json_builder_begin_object(json);
        rv_json_add_int(json, "width", mirror->width);
        rv_json_add_int(json, "height", mirror->height);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    rv_json_add_text(json, "display_sync", rv_state_pace(mirror->state));
    rv_json_add_int(json, "http_port", http_port);
    rv_json_add_int(json, "osc_port", mirror->options->osc);
    json_builder_end_object(json);
}

static void
note_device_error(RvLiveDevice *device, void *data)
{
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    if (stats.state != RV_LIVE_DEVICE_WORKING && stats.last_error != NULL)
        *(const char **)data = stats.last_error;
}

void
rv_mirror_add_fast_trt(const RvMirror *mirror, int http_port, JsonBuilder *json)
{
    RvLiveSessionStats stats = newest_stats(mirror);
    bool is_ready = rv_mirror_is_ready(mirror);
    const char *error = "";
    rv_live_foreach_device(mirror->lives[RV_MIRROR_MAIN], note_device_error, &error);
    const char *message = is_ready         ? "ready"
                          : *error != '\0' ? "the device is out"
                                           : "the model is being loaded";
    gint64 encode_us = mirror->prompts != NULL ? rv_prompt_store_encode_us(mirror->prompts) : 0;
    rv_json_add_number(json, "conditioning_ms", (double)encode_us * 1e-3);
    rv_json_add_text(json, "status_text", message);
    rv_json_add_flag(json, "use_latest_frame", true); /* there is no other way here */
    rv_json_add_text(json, "frame_mode", "latest");
    add_config(mirror, http_port, json);
    begin(json, "stats");
    rv_json_add_number(json, "camera_fps", stats.fps_in);
    rv_json_add_number(json, "camera_wait_ms", (double)stats.stage[RV_STAGE_WAIT].p50 * 1e-3);
    rv_json_add_number(json, "diffusion_fps", stats.fps_shown);
    rv_json_add_number(json, "diffusion_ms", (double)stats.service.p50 * 1e-3);
    rv_json_add_number(json, "display_fps", stats.fps_shown);
    rv_json_add_number(json, "display_ms", (double)stats.stage[RV_STAGE_HOLD].p50 * 1e-3);
    rv_json_add_int(json, "queued_frames", stats.in_work + stats.waiting);
    rv_json_add_int(json, "dropped_frames", (gint64)stats.counters.dropped);
    json_builder_end_object(json);
    begin(json, "status");
    rv_json_add_flag(json, "camera_ready", stats.fps_in > 0);
    rv_json_add_flag(json, "model_ready", is_ready);
    rv_json_add_flag(json, "resolution_changing", false);
    rv_json_add_text(json, "last_error", error);
    rv_json_add_text(json, "message", message);
    json_builder_end_object(json);
}

void
rv_mirror_add_stats(RvMirror *mirror, JsonBuilder *json)
{
    RvLiveCounters counters = all_counters(mirror);
    rv_mirror_add_summary(mirror, json);
    rv_json_add_int(json, "watchers", mirror->watches->len);
    add_counters(json, &counters);
    rv_json_begin_array(json, "sessions");
    for (guint i = 0; i < mirror->clients->len; i++)
        add_session(json, g_ptr_array_index(mirror->clients, i));
    json_builder_end_array(json);
    rv_json_begin_array(json, "devices");
    for (int i = 0; i < RV_MIRROR_N; i++)
        rv_live_foreach_device(mirror->lives[i], add_device, json);
    json_builder_end_array(json);
}

/* ---- Prometheus ---- */

typedef struct {
    GString *to;
    const char *name;
    double (*value)(const RvLiveDeviceStats *stats);
} DeviceMetric;

static double
is_up(const RvLiveDeviceStats *stats)
{
    return stats->state == RV_LIVE_DEVICE_WORKING;
}

static double
busy_seconds(const RvLiveDeviceStats *stats)
{
    return (double)stats->busy_us * 1e-6;
}

static double
failures(const RvLiveDeviceStats *stats)
{
    return (double)stats->failed;
}

static void
add_device_metric(RvLiveDevice *device, void *data)
{
    DeviceMetric *metric = data;
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    g_autofree char *name = rv_metrics_escape(stats.name), *labels = g_strdup_printf("device=\"%s\"", name);
    rv_metrics_sample(metric->to, metric->name, labels, metric->value(&stats));
}

static void
add_device_metrics(RvMirror *mirror, GString *to)
{
    static const struct {
        const char *name, *kind, *help;
        double (*value)(const RvLiveDeviceStats *stats);
    } metrics[] = {
        { "reverie_device_up", "gauge", "Whether the device takes frames.", is_up },
        { "reverie_device_busy_seconds_total", "counter", "Device time served.", busy_seconds },
        { "reverie_device_failures_total", "counter", "Frames that the device could not draw.", failures },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(metrics); i++) {
        DeviceMetric metric = { to, metrics[i].name, metrics[i].value };
        rv_metrics_head(to, metrics[i].name, metrics[i].kind, metrics[i].help);
        for (int part = 0; part < RV_MIRROR_N; part++)
            rv_live_foreach_device(mirror->lives[part], add_device_metric, &metric);
    }
    rv_metrics_head(to, "reverie_device_bytes", "gauge", "Weights and scratch memory on the device.");
    for (guint i = 0; i < mirror->devices->len; i++) {
        const RvMirrorDevice *device = g_ptr_array_index(mirror->devices, i);
        if (!rv_mirror_device_is_open(device))
            continue;
        const RvDrawer *drawer = rv_mirror_device_drawer(device);
        g_autofree char *name = rv_metrics_escape(drawer->name),
                        *labels = g_strdup_printf("device=\"%s\"", name);
        rv_metrics_sample(to, "reverie_device_bytes", labels, (double)drawer->device_bytes);
    }
}

static void
add_frame_metrics(RvMirror *mirror, GString *to)
{
    RvLiveCounters c = all_counters(mirror);
    rv_metrics_head(to, "reverie_frames_total", "counter", "Camera frames by what became of them.");
    rv_metrics_sample(to, "reverie_frames_total", "outcome=\"shown\"", (double)c.shown);
    rv_metrics_sample(to, "reverie_frames_total", "outcome=\"dropped\"", (double)c.dropped);
    rv_metrics_sample(to, "reverie_frames_total", "outcome=\"late\"", (double)c.late);
    rv_metrics_sample(to, "reverie_frames_total", "outcome=\"failed\"", (double)c.failed);
    rv_metrics_head(to, "reverie_pictures_held_total", "counter",
                    "How often the last picture stayed because a due one was missing.");
    rv_metrics_sample(to, "reverie_pictures_held_total", NULL, (double)c.held);
    rv_metrics_head(to, "reverie_frame_seconds", "histogram",
                    "Where the time of shown frames went; age is all of it.");
    for (int i = 0; i < RV_STAGE_COUNT; i++) {
        const RvHistogram *histogram = i == RV_STAGE_DECODE   ? &mirror->times[RV_CLIENT_DECODE]
                                       : i == RV_STAGE_ENCODE ? &mirror->times[RV_CLIENT_ENCODE]
                                                              : &mirror->stages[i];
        g_autofree char *labels = g_strdup_printf("stage=\"%s\"", rv_stage_name(i));
        rv_metrics_histogram(to, "reverie_frame_seconds", labels, histogram);
    }
    rv_metrics_histogram(to, "reverie_frame_seconds", "stage=\"age\"", &mirror->ages);
    rv_metrics_histogram(to, "reverie_frame_seconds", "stage=\"client_age\"", &mirror->times[RV_CLIENT_AGE]);
    rv_metrics_histogram(to, "reverie_frame_seconds", "stage=\"residence\"",
                         &mirror->times[RV_CLIENT_RESIDENCE]);
}

void
rv_mirror_add_metrics(RvMirror *mirror, GString *to)
{
    add_frame_metrics(mirror, to);
    add_device_metrics(mirror, to);
    rv_metrics_head(to, "reverie_ready", "gauge", "Whether pictures are drawn.");
    rv_metrics_sample(to, "reverie_ready", NULL, rv_mirror_is_ready(mirror));
    rv_metrics_head(to, "reverie_clients", "gauge", "Mirrors that are connected.");
    rv_metrics_sample(to, "reverie_clients", NULL, mirror->clients->len);
    rv_metrics_head(to, "reverie_watchers", "gauge", "Those who only look.");
    rv_metrics_sample(to, "reverie_watchers", NULL, mirror->watches->len);
    for (int i = 0; i < RV_CLIENT_N_COUNTERS; i++) {
        g_autofree char *name = g_strdup_printf("reverie_transport_%s_total", counter_names[i]);
        rv_metrics_head(to, name, "counter", "What transports counted, of all clients.");
        rv_metrics_sample(to, name, NULL, (double)mirror->totals[i]);
    }
}
