#include "server/mirror_internal.h"

#include <string.h>

#include "server/log.h"

#define DEFAULT_SIZE 1024

RvMirror *
rv_mirror_new(const RvServeOptions *options, RvState *state, RvTurnsTable *turns,
              void (*on_change)(const GError *error, void *user), void *user)
{
    RvMirror *mirror = g_new0(RvMirror, 1);
    mirror->options = options;
    mirror->state = state;
    mirror->turns = turns;
    mirror->on_change = on_change;
    mirror->user = user;
    mirror->clock = rv_clock_new_real(NULL);
    for (int i = 0; i < RV_MIRROR_N; i++)
        mirror->lives[i] =
            rv_live_new(mirror->clock, &(RvLiveOptions) { .max_sessions = options->max_clients });
    mirror->devices = g_ptr_array_new();
    mirror->clients = g_ptr_array_new();
    mirror->watches = g_ptr_array_new();
    return mirror;
}

/* ---- devices ---- */

static void
on_open(RvMirrorDevice *device, const GError *error, void *user)
{
    RvMirror *mirror = user;
    const RvDrawer *drawer = rv_mirror_device_drawer(device);
    if (error != NULL) {
        rv_log(RV_LOG_ERROR, "device-failed", "device", drawer->name, "error", error->message, NULL);
        if (++mirror->failed_devices == (int)mirror->devices->len)
            mirror->on_change(error, mirror->user);
        return;
    }
    mirror->width = drawer->width;
    mirror->height = drawer->height;
    rv_log(RV_LOG_INFO, "device-ready", "device", drawer->name, "width", rv_log_int(drawer->width), "height",
           rv_log_int(drawer->height), "bytes", rv_log_int((gint64)drawer->device_bytes), NULL);
    if (!mirror->was_ready) {
        mirror->was_ready = true;
        mirror->on_change(NULL, mirror->user);
    }
}

static void
add_device(RvMirror *mirror, RvDrawer *drawer, RvTurns *turns)
{
    RvMirrorDeviceOptions options = { .live = mirror->lives[RV_MIRROR_MAIN],
                                      .turns = turns,
                                      .state = mirror->state,
                                      .on_open = on_open,
                                      .user = mirror };
    g_ptr_array_add(mirror->devices, rv_mirror_device_new(drawer, &options));
}

/* A device that is listed several times has a name each time. */
static char *
name_of(char **names, char **name)
{
    int before = 0;
    for (char **other = names; other < name; other++)
        before += strcmp(*other, *name) == 0;
    return before == 0 ? g_strdup(*name) : g_strdup_printf("%s#%d", *name, before + 1);
}

static void
add_engine_devices(RvMirror *mirror, const char *model)
{
    const RvServeOptions *o = mirror->options;
    g_auto(GStrv) names = rv_engine_split_devices(o->device);
    for (char **name = names; *name != NULL; name++) {
        if (mirror->prompts == NULL) /* beside the first device */
            mirror->prompts = rv_prompt_store_new(
                &(RvPromptStoreOptions) { model, o->models, o->vae, *name, o->precision, &mirror->cancel });
        g_autofree char *own_name = name_of(names, name);
        RvEngineDrawerOptions options = { .model = model,
                                          .name = own_name,
                                          .models_dir = o->models,
                                          .vae = o->vae,
                                          .device = *name,
                                          .precision = o->precision,
                                          .threads = o->threads,
                                          .width = o->width,
                                          .height = o->height,
                                          .cancel = &mirror->cancel,
                                          .prompts = mirror->prompts };
        add_device(mirror, rv_drawer_engine_new(&options), rv_turns_table_get(mirror->turns, *name));
    }
}

void
rv_mirror_start(RvMirror *mirror, const char *model)
{
    if (mirror->options->effect != NULL)
        add_device(mirror, rv_drawer_invert_new(mirror->options->width, mirror->options->height), NULL);
    else
        add_engine_devices(mirror, model);
}

static void
on_effect_open(RvMirrorDevice *device, const GError *error, void *user)
{
}

bool
rv_mirror_find_part(RvMirror *mirror, const char *effect, RvMirrorPart *part, GError **error)
{
    const char *own = mirror->options->effect;
    *part = RV_MIRROR_MAIN;
    if (effect == NULL || (own != NULL && strcmp(effect, own) == 0))
        return mirror->was_ready || rv_error_set(error, RV_ERROR_BUSY, "mirror", "try again in a moment",
                                                 "the model is being loaded");
    if (strcmp(effect, "invert") != 0)
        return rv_error_set(error, RV_ERROR_USAGE, "effect", "use invert", "there is no effect \"%s\"",
                            effect);
    *part = RV_MIRROR_EFFECT;
    if (mirror->effect == NULL) {
        int width = mirror->options->width, height = mirror->options->height;
        RvMirrorDeviceOptions options = { .live = mirror->lives[RV_MIRROR_EFFECT],
                                          .state = mirror->state,
                                          .on_open = on_effect_open,
                                          .user = mirror };
        RvDrawer *drawer =
            rv_drawer_invert_new(width > 0 ? width : DEFAULT_SIZE, height > 0 ? height : DEFAULT_SIZE);
        mirror->effect = rv_mirror_device_new(drawer, &options);
    }
    return true;
}

bool
rv_mirror_is_ready(const RvMirror *mirror)
{
    return mirror->was_ready && !mirror->refuses &&
           rv_live_working_devices(mirror->lives[RV_MIRROR_MAIN]) > 0;
}

/* ---- parking ---- */

typedef struct {
    guint left;
    void (*done)(void *user);
    void *user;
} Parking;

static void
on_parked(void *user)
{
    Parking *parking = user;
    if (--parking->left > 0)
        return;
    parking->done(parking->user);
    g_free(parking);
}

static gboolean
on_nothing_to_park(gpointer data)
{
    on_parked(data);
    return G_SOURCE_REMOVE;
}

void
rv_mirror_park(RvMirror *mirror, void (*done)(void *user), void *user)
{
    guint devices = mirror->options->effect == NULL ? mirror->devices->len : 0;
    Parking *parking = g_new(Parking, 1);
    *parking = (Parking) { devices + 1, done, user };
    for (guint i = 0; i < devices; i++)
        rv_mirror_device_park(g_ptr_array_index(mirror->devices, i), on_parked, parking);
    rv_prompt_store_park(mirror->prompts);
    g_idle_add(on_nothing_to_park, parking);
}

/* ---- sessions ---- */

void
rv_mirror_apply_state(RvMirror *mirror)
{
    RvPace pace;
    gint64 budget_us;
    if (!rv_pace_parse(rv_state_pace(mirror->state), &pace, &budget_us, NULL))
        return;
    for (guint i = 0; i < mirror->clients->len; i++) {
        RvClient *client = g_ptr_array_index(mirror->clients, i);
        rv_live_session_set_pace(client->session, pace, budget_us);
    }
}

int
rv_mirror_clients(const RvMirror *mirror)
{
    return (int)mirror->clients->len;
}

guint64
rv_mirror_frames_in(const RvMirror *mirror)
{
    return mirror->totals[RV_CLIENT_FRAMES_IN];
}

void
rv_mirror_refuse(RvMirror *mirror)
{
    mirror->refuses = true;
    g_autoptr(GPtrArray) clients = g_ptr_array_copy(mirror->clients, NULL, NULL);
    for (guint i = 0; i < clients->len; i++) {
        RvClient *client = g_ptr_array_index(clients, i);
        if (client->options.on_stop != NULL && g_ptr_array_find(mirror->clients, client, NULL))
            client->options.on_stop(client->options.user);
    }
}

int
rv_mirror_in_work(const RvMirror *mirror)
{
    int frames = 0;
    for (guint i = 0; i < mirror->clients->len; i++) {
        const RvClient *client = g_ptr_array_index(mirror->clients, i);
        RvLiveSessionStats stats;
        rv_live_session_stats(client->session, &stats);
        frames += stats.in_work + stats.waiting;
    }
    return frames;
}

void
rv_mirror_free(RvMirror *mirror, gint64 deadline_us)
{
    if (mirror == NULL)
        return;
    mirror->refuses = true;
    g_atomic_int_set(&mirror->cancel, 1);
    for (guint i = 0; i < mirror->devices->len; i++)
        rv_mirror_device_end(g_ptr_array_index(mirror->devices, i));
    rv_mirror_device_end(mirror->effect);
    for (guint i = 0; i < mirror->devices->len; i++)
        rv_mirror_device_close(g_ptr_array_index(mirror->devices, i), deadline_us);
    rv_mirror_device_close(mirror->effect, deadline_us);
    rv_prompt_store_close(mirror->prompts, deadline_us);
    if (mirror->clients->len > 0 || mirror->watches->len > 0)
        return; /* their transports still hold them: the end of the process frees everything */
    for (int i = 0; i < RV_MIRROR_N; i++)
        rv_live_free(mirror->lives[i]);
    rv_clock_free(mirror->clock);
    g_ptr_array_unref(mirror->devices);
    g_ptr_array_unref(mirror->clients);
    g_ptr_array_unref(mirror->watches);
    g_free(mirror);
}
