/* events.c - server-sent events. A listener that does not read is disconnected, so that nothing piles up. */
#include <string.h>

#include "server/server_internal.h"

#define MAX_LISTENERS 256
#define MAX_UNSENT 16 /* events */
#define STATS_MS 1000

typedef struct {
    RvEvents *events;
    SoupServerMessage *message;
    int unsent;
} Listener;

struct RvEvents {
    RvServer *server;
    GPtrArray *listeners;
    guint timer, pending; /* sources: statistics; a state to send once the loop has time */
};

static void
send_event(Listener *listener, const char *text)
{
    if (++listener->unsent > MAX_UNSENT) {
        GSocket *socket = soup_server_message_get_socket(listener->message);
        if (socket != NULL)
            g_socket_shutdown(socket, TRUE, TRUE, NULL);
        return;
    }
    soup_message_body_append(soup_server_message_get_response_body(listener->message), SOUP_MEMORY_COPY, text,
                             strlen(text));
    soup_server_message_unpause(listener->message);
}

static void
send_all(RvEvents *events, const char *name, JsonBuilder *json)
{
    g_autoptr(JsonNode) root = json_builder_get_root(json);
    g_autofree char *data = json_to_string(root, FALSE),
                    *text = g_strdup_printf("event: %s\ndata: %s\n\n", name, data);
    for (guint i = events->listeners->len; i-- > 0;)
        send_event(g_ptr_array_index(events->listeners, i), text);
}

static gboolean
on_timer(gpointer data)
{
    RvEvents *events = data;
    if (events->listeners->len == 0) {
        events->timer = 0;
        return G_SOURCE_REMOVE;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_mirror_add_stats(events->server->mirror, json);
    json_builder_end_object(json);
    send_all(events, "stats", json);
    return G_SOURCE_CONTINUE;
}

static gboolean
on_pending(gpointer data)
{
    RvEvents *events = data;
    events->pending = 0;
    g_autoptr(JsonBuilder) json = rv_control_build_state(events->server);
    send_all(events, "state", json);
    return G_SOURCE_REMOVE;
}

/* Many changes at a time become one event. */
void
rv_events_state_changed(RvEvents *events)
{
    if (events->listeners->len > 0 && events->pending == 0)
        events->pending = g_timeout_add(20, on_pending, events);
}

static void
on_wrote_chunk(SoupServerMessage *message, gpointer user)
{
    Listener *listener = user;
    listener->unsent = MAX(listener->unsent - 1, 0);
}

static void
on_finished(SoupServerMessage *message, gpointer user)
{
    Listener *listener = user;
    g_signal_handlers_disconnect_by_data(message, listener);
    g_ptr_array_remove(listener->events->listeners, listener);
    g_object_unref(message);
    g_free(listener);
}

void
rv_events_get(const RvCall *call)
{
    RvEvents *events = call->server->events;
    if (events->listeners->len >= MAX_LISTENERS) {
        rv_answer_text(call, 503, "text/plain; charset=utf-8", "too many listen already\n");
        return;
    }
    Listener *listener = g_new0(Listener, 1);
    listener->events = events;
    listener->message = g_object_ref(call->message);
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(call->message);
    soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
    soup_message_headers_set_content_type(headers, "text/event-stream", NULL);
    soup_message_headers_replace(headers, "X-Accel-Buffering", "no");
    soup_message_body_set_accumulate(soup_server_message_get_response_body(call->message), FALSE);
    soup_server_message_set_status(call->message, 200, NULL);
    g_signal_connect(call->message, "wrote-chunk", G_CALLBACK(on_wrote_chunk), listener);
    g_signal_connect(call->message, "finished", G_CALLBACK(on_finished), listener);
    g_ptr_array_add(events->listeners, listener);
    g_autoptr(JsonBuilder) json = rv_control_build_state(call->server);
    g_autoptr(JsonNode) root = json_builder_get_root(json);
    g_autofree char *data = json_to_string(root, FALSE),
                    *text = g_strdup_printf("retry: 1000\nevent: state\ndata: %s\n\n", data);
    send_event(listener, text);
    if (events->timer == 0)
        events->timer = g_timeout_add(STATS_MS, on_timer, events);
}

RvEvents *
rv_events_new(RvServer *server)
{
    RvEvents *events = g_new0(RvEvents, 1);
    events->server = server;
    events->listeners = g_ptr_array_new();
    return events;
}

void
rv_events_free(RvEvents *events)
{
    if (events == NULL)
        return;
    while (events->listeners->len > 0) {
        Listener *listener = g_ptr_array_index(events->listeners, events->listeners->len - 1);
        on_finished(listener->message, listener);
    }
    if (events->timer != 0)
        g_source_remove(events->timer);
    if (events->pending != 0)
        g_source_remove(events->pending);
    g_ptr_array_unref(events->listeners);
    g_free(events);
}
