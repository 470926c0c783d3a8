/* client.c - the transports' side of the mirror. */
#include <string.h>

#include "server/log.h"
#include "server/mirror_internal.h"
#include "server/server.h"

#define MIN_SIDE 16
#define MAX_SIDE 8192

struct RvWatch {
    RvMirror *mirror;
    guint64 client_id; /* 0: the newest */
    void (*on_shown)(RvShown *shown, void *user);
    void *user;
    guint first; /* source that shows the picture of now */
};

/* ---- shown pictures ---- */

typedef struct {
    RvShown shown; /* first, so that both have one address */
    RvFrame *frame;
} Shown;

static RvShown *
shown_new(RvFrame *frame, gint64 now_us)
{
    const RvDrawn *drawn = frame->data;
    Shown *s = g_atomic_rc_box_new0(Shown);
    s->frame = rv_frame_ref(frame);
    gint64 finished_us = now_us - frame->stage_us[RV_STAGE_HOLD],
           started_us = finished_us - frame->stage_us[RV_STAGE_SERVICE];
    s->shown = (RvShown) {
        .raster = drawn->raster,
        .stamp = { frame->sequence, frame->capture_us, frame->born_us, frame->stage_us[RV_STAGE_DECODE] },
        .render_us = frame->stage_us[RV_STAGE_RENDER],
        .revision = frame->revision,
        .pushed_us = started_us - frame->stage_us[RV_STAGE_WAIT],
        .started_us = started_us,
        .finished_us = finished_us,
        .shown_us = now_us,
        .is_passthrough = drawn->is_passthrough,
    };
    return &s->shown;
}

static void
shown_clear(gpointer data)
{
    rv_frame_unref(((Shown *)data)->frame);
}

RvShown *
rv_shown_ref(RvShown *shown)
{
    return g_atomic_rc_box_acquire(shown);
}

void
rv_shown_unref(RvShown *shown)
{
    if (shown != NULL)
        g_atomic_rc_box_release_full(shown, shown_clear);
}

/* ---- clients ---- */

static RvClient *
newest(const RvMirror *mirror)
{
    return mirror->clients->len > 0 ? g_ptr_array_index(mirror->clients, mirror->clients->len - 1) : NULL;
}

static bool
is_watched_by(const RvClient *client, const RvWatch *watch)
{
    return watch->client_id == client->id || (watch->client_id == 0 && newest(client->mirror) == client);
}

/* Watchers may close themselves, each other, and the client. */
static void
show_watchers(RvMirror *mirror, guint64 client_id, RvShown *shown)
{
    g_autoptr(GPtrArray) watches = g_ptr_array_copy(mirror->watches, NULL, NULL);
    guint64 newest_id = newest(mirror) != NULL ? newest(mirror)->id : 0;
    for (guint i = 0; i < watches->len; i++) {
        RvWatch *watch = g_ptr_array_index(watches, i);
        if (g_ptr_array_find(mirror->watches, watch, NULL) &&
            (watch->client_id == client_id || (watch->client_id == 0 && newest_id == client_id)))
            watch->on_shown(shown, watch->user);
    }
}

static void
on_show(RvLiveSession *session, RvFrame *result, void *user_data)
{
    RvClient *client = user_data;
    RvMirror *mirror = client->mirror;
    gint64 now_us = g_get_monotonic_time();
    guint64 id = client->id;
    g_autoptr(RvShown) shown = shown_new(result, now_us);
    for (int i = 0; i < RV_STAGE_COUNT; i++)
        if (result->stage_us[i] > 0 || i == RV_STAGE_WAIT || i == RV_STAGE_SERVICE || i == RV_STAGE_HOLD)
            rv_histogram_add(&mirror->stages[i], result->stage_us[i]);
    rv_histogram_add(&mirror->ages, now_us - result->born_us);
    if (!client->options.has_jpegs)
        rv_take_shown(client->take, shown, NULL);
    client->options.on_shown(shown, client->options.user); /* may close the client */
    show_watchers(mirror, id, shown);
}

RvClient *
rv_client_open(RvServer *server, const RvClientOptions *options, GError **error)
{
    RvMirror *mirror = rv_server_mirror(server);
    RvMirrorPart part;
    RvLiveSessionOptions session = { .on_show = on_show };
    if (mirror->refuses) {
        rv_error_set(error, RV_ERROR_BUSY, "server", "connect again in a moment", "the server is stopping");
        return NULL;
    }
    if (mirror->clients->len >= (guint)mirror->options->max_clients) {
        rv_error_set(error, RV_ERROR_BUSY, "server", "try again later, or raise --max-clients",
                     "there are %u mirrors already", mirror->clients->len);
        return NULL;
    }
    if (!rv_mirror_find_part(mirror, options->effect, &part, error) ||
        !rv_pace_parse(rv_state_pace(mirror->state), &session.pace, &session.budget_us, error))
        return NULL;
    RvClient *client = g_new0(RvClient, 1);
    g_autofree char *name = g_strdup_printf("%" G_GUINT64_FORMAT, mirror->last_id + 1);
    session.name = name;
    session.user_data = client;
    client->session = rv_live_session_new(mirror->lives[part], &session, error);
    if (client->session == NULL) {
        g_free(client);
        return NULL;
    }
    client->mirror = mirror;
    client->part = part;
    client->id = ++mirror->last_id;
    client->options = *options;
    client->transport = g_strdup(options->transport);
    client->address = g_strdup(options->address);
    client->opened_us = g_get_monotonic_time();
    client->take = rv_take_new(rv_server_recording(server), client->id);
    g_ptr_array_add(mirror->clients, client);
    rv_log(RV_LOG_INFO, "client-open", "client", name, "transport", client->transport, "address",
           client->address, "effect", options->effect, NULL);
    return client;
}

void
rv_client_close(RvClient *client)
{
    if (client == NULL)
        return;
    RvLiveSessionStats stats;
    rv_live_session_stats(client->session, &stats);
    rv_log(RV_LOG_INFO, "client-close", "client", rv_log_int((gint64)client->id), "seconds",
           rv_log_int((g_get_monotonic_time() - client->opened_us) / G_USEC_PER_SEC), "shown",
           rv_log_int((gint64)stats.counters.shown), "dropped", rv_log_int((gint64)stats.counters.dropped),
           "late", rv_log_int((gint64)stats.counters.late), "failed",
           rv_log_int((gint64)stats.counters.failed), NULL);
    rv_live_session_close(client->session);
    rv_take_close(client->take);
    g_ptr_array_remove(client->mirror->clients, client);
    g_free(client->transport);
    g_free(client->address);
    g_free(client);
}

guint64
rv_client_id(const RvClient *client)
{
    return client->id;
}

static void
free_raster(gpointer raster)
{
    rv_raster_free(raster);
}

bool
rv_client_push(RvClient *client, RvRaster *raster, const RvFrameStamp *stamp, GError **error)
{
    g_autoptr(RvRaster) taken = raster;
    if (client->mirror->refuses)
        return rv_error_set(error, RV_ERROR_BUSY, "server", "connect again in a moment",
                            "the server is stopping");
    if (raster->width < MIN_SIDE || raster->height < MIN_SIDE || raster->width > MAX_SIDE ||
        raster->height > MAX_SIDE)
        return rv_error_set(error, RV_ERROR_INVALID, "frame", "send 16 to 8192 pixels a side",
                            "a picture of %d x %d", raster->width, raster->height);
    if (!client->options.has_jpegs)
        rv_take_picture(client->take, raster, stamp->arrived_us);
    if (rv_state_is_paused(client->mirror->state))
        return true; /* the last picture stays */
    gsize bytes;
    rv_raster_samples(raster, &bytes);
    RvFrame *frame = rv_frame_new(g_steal_pointer(&taken), bytes, free_raster);
    frame->sequence = stamp->sequence;
    frame->capture_us = stamp->captured_us;
    frame->born_us = stamp->arrived_us;
    frame->stage_us[RV_STAGE_DECODE] = stamp->decode_us;
    rv_live_session_push(client->session, frame);
    return true;
}

void
rv_client_output_size(const RvClient *client, int *width, int *height)
{
    const RvMirror *mirror = client->mirror;
    bool is_main = client->part == RV_MIRROR_MAIN;
    *width = is_main ? mirror->width : rv_mirror_device_drawer(mirror->effect)->width;
    *height = is_main ? mirror->height : rv_mirror_device_drawer(mirror->effect)->height;
}

/* Devices of one part have drawers of one kind. */
bool
rv_client_takes_planes(const RvClient *client)
{
    const RvMirror *mirror = client->mirror;
    const RvMirrorDevice *device =
        client->part == RV_MIRROR_MAIN ? g_ptr_array_index(mirror->devices, 0) : mirror->effect;
    return rv_drawer_takes_planes(rv_mirror_device_drawer(device));
}

void
rv_client_record_input(RvClient *client, GBytes *message, gsize offset, gint64 arrived_us)
{
    rv_take_jpeg(client->take, message, offset, arrived_us);
}

void
rv_client_record_output(RvClient *client, RvShown *shown, GBytes *jpeg)
{
    rv_take_shown(client->take, shown, jpeg);
}

void
rv_client_count(RvClient *client, RvClientCounter counter, guint64 amount)
{
    client->counters[counter] += amount;
    client->mirror->totals[counter] += amount;
}

void
rv_client_time(RvClient *client, RvClientTime time, gint64 us)
{
    client->recent[time][client->n_recent[time]++ % RV_CLIENT_RECENT] = us;
    rv_histogram_add(&client->mirror->times[time], us);
}

/* ---- watches ---- */

static gboolean
show_now(gpointer data)
{
    RvWatch *watch = data;
    watch->first = 0;
    for (guint i = 0; i < watch->mirror->clients->len; i++) {
        RvClient *client = g_ptr_array_index(watch->mirror->clients, i);
        RvFrame *last = rv_live_session_last(client->session);
        if (last == NULL || !is_watched_by(client, watch))
            continue;
        g_autoptr(RvShown) shown = shown_new(last, g_get_monotonic_time());
        watch->on_shown(shown, watch->user);
        break;
    }
    return G_SOURCE_REMOVE;
}

RvWatch *
rv_watch_open(RvServer *server, guint64 client_id, void (*on_shown)(RvShown *shown, void *user), void *user,
              GError **error)
{
    RvMirror *mirror = rv_server_mirror(server);
    if (mirror->refuses || mirror->watches->len >= (guint)mirror->options->max_clients) {
        rv_error_set(error, RV_ERROR_BUSY, "server", "try again later",
                     mirror->refuses ? "the server is stopping" : "too many watch already");
        return NULL;
    }
    RvWatch *watch = g_new0(RvWatch, 1);
    *watch = (RvWatch) { mirror, client_id, on_shown, user, 0 };
    g_ptr_array_add(mirror->watches, watch);
    watch->first = g_idle_add(show_now, watch);
    return watch;
}

void
rv_watch_close(RvWatch *watch)
{
    if (watch == NULL)
        return;
    if (watch->first != 0)
        g_source_remove(watch->first);
    g_ptr_array_remove(watch->mirror->watches, watch);
    g_free(watch);
}
