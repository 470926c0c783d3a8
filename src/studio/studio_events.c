/* studio_events.c - what happened lately, and who wants to hear of it. */
#include <string.h>

#include "studio/studio_internal.h"

#include "base/json_build.h"

#define KEPT 1024
#define KEPT_BYTES (4 << 20) /* prompts may be long */

typedef struct {
    char *user, *name, *data;
    guint64 sequence;
} Kept;

typedef struct {
    char *user;
    RvStudioOnEvent on_event;
    void *user_data;
} Watcher;

struct RvEventLog {
    GQueue kept; /* Kept, the oldest first */
    gsize bytes; /* of their data */
    GPtrArray *watchers;
    guint64 last;
};

static void
kept_free(gpointer data)
{
    Kept *kept = data;
    g_free(kept->user);
    g_free(kept->name);
    g_free(kept->data);
    g_free(kept);
}

static void
watcher_free(gpointer data)
{
    Watcher *watcher = data;
    g_free(watcher->user);
    g_free(watcher);
}

RvEventLog *
rv_event_log_new(void)
{
    RvEventLog *log = g_new0(RvEventLog, 1);
    g_queue_init(&log->kept);
    log->watchers = g_ptr_array_new_with_free_func(watcher_free);
    return log;
}

void
rv_event_log_free(RvEventLog *log)
{
    if (log == NULL)
        return;
    g_queue_clear_full(&log->kept, kept_free);
    g_ptr_array_unref(log->watchers);
    g_free(log);
}

bool
rv_event_log_has_watchers(const RvEventLog *log)
{
    return log->watchers->len > 0;
}

static void
send(const Watcher *watcher, const Kept *kept)
{
    if (kept->user != NULL && strcmp(kept->user, watcher->user) != 0)
        return;
    RvStudioEvent event = { kept->sequence, kept->user, kept->name, kept->data };
    watcher->on_event(&event, watcher->user_data);
}

static void
keep(RvEventLog *log, Kept *kept)
{
    g_queue_push_tail(&log->kept, kept);
    log->bytes += strlen(kept->data);
    while (log->kept.length > KEPT || (log->bytes > KEPT_BYTES && log->kept.length > 1)) {
        Kept *oldest = g_queue_pop_head(&log->kept);
        log->bytes -= strlen(oldest->data);
        kept_free(oldest);
    }
}

/* Progress is of no use later: it is told, not kept. */
void
rv_studio_tell(RvStudio *studio, const char *user, const char *name, JsonBuilder *json)
{
    RvEventLog *log = studio->events;
    g_autoptr(JsonNode) root = json_builder_get_root(json);
    bool is_passing = strcmp(name, "progress") == 0;
    Kept *kept = g_new(Kept, 1);
    *kept = (Kept) { g_strdup(user), g_strdup(name), json_to_string(root, FALSE), ++log->last };
    for (guint i = log->watchers->len; i-- > 0;)
        send(g_ptr_array_index(log->watchers, i), kept);
    if (is_passing)
        kept_free(kept);
    else
        keep(log, kept);
}

void
rv_studio_tell_job(RvLiveJob *job, const char *name)
{
    if (strcmp(name, "progress") == 0 && !rv_event_log_has_watchers(job->studio->events))
        return;
    g_autoptr(RvStudioStatus) status = rv_live_job_status(job);
    g_autoptr(JsonBuilder) json = json_builder_new();
    rv_studio_status_add_json(status, json);
    rv_studio_tell(job->studio, job->row->user, name, json);
}

void
rv_studio_tell_queue(RvStudio *studio)
{
    if (!rv_event_log_has_watchers(studio->events))
        return;
    RvQueueCount count = rv_queue_count(studio->queue);
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_int(json, "jobs", count.jobs);
    rv_json_add_int(json, "batches", count.batches);
    rv_json_add_text(json, "paused", studio->paused);
    json_builder_end_object(json);
    rv_studio_tell(studio, NULL, "queue", json);
}

void
rv_studio_watch(RvStudio *studio, const char *user, guint64 since, RvStudioOnEvent on_event, void *user_data)
{
    RvEventLog *log = studio->events;
    Watcher *watcher = g_new(Watcher, 1);
    *watcher = (Watcher) { g_strdup(user), on_event, user_data };
    for (GList *link = since != G_MAXUINT64 ? log->kept.head : NULL; link != NULL; link = link->next)
        if (((const Kept *)link->data)->sequence > since)
            send(watcher, link->data);
    g_ptr_array_add(log->watchers, watcher);
}

void
rv_studio_unwatch(RvStudio *studio, void *user_data)
{
    for (guint i = studio->events->watchers->len; i-- > 0;)
        if (((const Watcher *)g_ptr_array_index(studio->events->watchers, i))->user_data == user_data)
            g_ptr_array_remove_index(studio->events->watchers, i);
}
