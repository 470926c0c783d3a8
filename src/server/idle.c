#include "server/idle.h"

#include "server/log.h"

#define LEAST_LOOK_MS 20
#define MOST_LOOK_MS 1000
#define LIVE_US (5 * G_USEC_PER_SEC) /* after the last frame a mirror keeps its model */

struct RvIdle {
    RvServer *server;
    void (*on_exit)(RvServer *server);
    guint look;
    gint64 worked_us, framed_us; /* when there was work; a frame; 0: none yet */
    guint64 frames, ended;       /* of live frames, of jobs: at the last look */
    bool has_unloaded, has_exited;
};

static bool
has_jobs(RvServer *server)
{
    int jobs, batches;
    RvStudio *studio = rv_server_studio(server);
    rv_studio_count(studio, &jobs, &batches);
    return (jobs > 0 && rv_studio_paused(studio) == NULL) || rv_studio_is_loading(studio);
}

static void
see(RvIdle *idle)
{
    gint64 now = g_get_monotonic_time();
    guint64 frames = rv_mirror_frames_in(rv_server_mirror(idle->server));
    if (frames != idle->frames)
        idle->framed_us = now;
    guint64 ended = rv_studio_ended(rv_server_studio(idle->server));
    if (frames != idle->frames || ended != idle->ended || has_jobs(idle->server)) {
        idle->worked_us = now;
        idle->has_unloaded = false;
    }
    idle->frames = frames;
    idle->ended = ended;
}

static void
on_unloaded(void *user)
{
    rv_log(RV_LOG_INFO, "models-unloaded", "because", "idle", NULL);
}

static gboolean
on_look(gpointer data)
{
    RvIdle *idle = data;
    const RvServeOptions *o = rv_server_options(idle->server);
    see(idle);
    double seconds = rv_idle_seconds(idle);
    bool is_ready = rv_mirror_is_ready(rv_server_mirror(idle->server));
    if (o->unload_after_s > 0.0 && seconds >= o->unload_after_s && is_ready && !idle->has_unloaded) {
        idle->has_unloaded = true;
        rv_server_unload(idle->server, on_unloaded, NULL);
    }
    if (o->exit_when_idle_s > 0.0 && seconds >= o->exit_when_idle_s && is_ready && !idle->has_exited) {
        idle->has_exited = true;
        rv_log(RV_LOG_INFO, "idle", "seconds", rv_log_int((gint64)seconds), NULL);
        idle->on_exit(idle->server);
    }
    return G_SOURCE_CONTINUE;
}

RvIdle *
rv_idle_new(RvServer *server, void (*on_exit)(RvServer *server))
{
    const RvServeOptions *o = rv_server_options(server);
    RvIdle *idle = g_new0(RvIdle, 1);
    double shortest = o->unload_after_s > 0.0 ? o->unload_after_s : G_MAXDOUBLE;
    if (o->exit_when_idle_s > 0.0)
        shortest = MIN(shortest, o->exit_when_idle_s);
    idle->server = server;
    idle->on_exit = on_exit;
    idle->worked_us = g_get_monotonic_time();
    idle->look = g_timeout_add((guint)CLAMP(shortest * 250.0, LEAST_LOOK_MS, MOST_LOOK_MS), on_look, idle);
    return idle;
}

void
rv_idle_free(RvIdle *idle)
{
    if (idle == NULL)
        return;
    g_source_remove(idle->look);
    g_free(idle);
}

double
rv_idle_seconds(RvIdle *idle)
{
    see(idle);
    return (double)(g_get_monotonic_time() - idle->worked_us) * 1e-6;
}

/* ---- giving models up ---- */

typedef struct {
    int left;
    void (*done)(void *user);
    void *user;
} Unloading;

static void
on_part_unloaded(void *user)
{
    Unloading *unloading = user;
    if (--unloading->left > 0)
        return;
    unloading->done(unloading->user);
    g_free(unloading);
}

static bool
is_live(RvIdle *idle)
{
    see(idle);
    return idle->framed_us > 0 && g_get_monotonic_time() - idle->framed_us < LIVE_US;
}

void
rv_server_unload(RvServer *server, void (*done)(void *user), void *user)
{
    Unloading *unloading = g_new(Unloading, 1);
    bool keeps_mirror = is_live(rv_server_idle(server));
    *unloading = (Unloading) { keeps_mirror ? 1 : 2, done, user };
    rv_studio_unload(rv_server_studio(server), on_part_unloaded, unloading);
    if (!keeps_mirror)
        rv_mirror_park(rv_server_mirror(server), on_part_unloaded, unloading);
}
