/* events.c - /api/events: the mirror's parameters at every change, its statistics every second. */
#include "base/json_build.h"
#include "server/server_internal.h"
#include "server/sse.h"

#define MAX_UNSENT 16 /* events */
#define STATS_MS 1000

struct RvEvents {
    RvServer *server;
    RvSse *sse;
    guint timer, pending; /* sources: statistics; a state to send once the loop has time */
};

static char *
event_text(const char *name, JsonBuilder *json)
{
    g_autofree char *data = rv_json_text(json);
    return g_strdup_printf("event: %s\ndata: %s\n\n", name, data);
}

static gboolean
on_timer(gpointer data)
{
    RvEvents *events = data;
    if (rv_sse_count(events->sse) == 0) {
        events->timer = 0;
        return G_SOURCE_REMOVE;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_mirror_add_stats(events->server->mirror, json);
    json_builder_end_object(json);
    g_autofree char *text = event_text("stats", json);
    rv_sse_send_all(events->sse, text);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_pending(gpointer data)
{
    RvEvents *events = data;
    events->pending = 0;
    g_autoptr(JsonBuilder) json = rv_control_build_state(events->server);
    g_autofree char *text = event_text("state", json);
    rv_sse_send_all(events->sse, text);
    return G_SOURCE_REMOVE;
}

/* Many changes at a time become one event. */
void
rv_events_state_changed(RvEvents *events)
{
    if (rv_sse_count(events->sse) > 0 && events->pending == 0)
        events->pending = g_timeout_add(20, on_pending, events);
}

void
rv_events_get(const RvCall *call)
{
    RvEvents *events = call->server->events;
    RvSseListener *listener = rv_sse_accept(events->sse, call);
    if (listener == NULL) {
        rv_answer_text(call, 503, "text/plain; charset=utf-8", "too many listen already\n");
        return;
    }
    g_autoptr(JsonBuilder) json = rv_control_build_state(call->server);
    g_autofree char *state = event_text("state", json), *text = g_strconcat("retry: 1000\n", state, NULL);
    rv_sse_send(listener, text);
    if (events->timer == 0)
        events->timer = g_timeout_add(STATS_MS, on_timer, events);
}

RvEvents *
rv_events_new(RvServer *server)
{
    RvEvents *events = g_new0(RvEvents, 1);
    events->server = server;
    events->sse = rv_sse_new(MAX_UNSENT, NULL, NULL);
    return events;
}

void
rv_events_free(RvEvents *events)
{
    if (events == NULL)
        return;
    rv_sse_free(events->sse);
    if (events->timer != 0)
        g_source_remove(events->timer);
    if (events->pending != 0)
        g_source_remove(events->pending);
    g_free(events);
}
