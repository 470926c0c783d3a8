/* jobs_events.c - /api/v1/events: what happens to a user's jobs, as server-sent events. A listener that does
 * not read is disconnected; it comes back with Last-Event-ID and misses nothing but progress. */
#include <string.h>

#include "server/server_internal.h"
#include "server/studio_routes.h"

#define MAX_LISTENERS 256
#define MAX_UNSENT 256 /* events */

typedef struct {
    RvJobEvents *events;
    SoupServerMessage *message;
    int unsent;
} Listener;

struct RvJobEvents {
    RvServer *server;
    GPtrArray *listeners;
};

static void
send_text(Listener *listener, const char *text)
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
on_event(const RvStudioEvent *event, void *user)
{
    g_autofree char *text = g_strdup_printf("id: %" G_GUINT64_FORMAT "\nevent: %s\ndata: %s\n\n",
                                            event->sequence, event->name, event->data);
    send_text(user, text);
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
    rv_studio_unwatch(listener->events->server->studio, listener);
    g_ptr_array_remove(listener->events->listeners, listener);
    g_object_unref(message);
    g_free(listener);
}

/* From a header, or ?since= for clients that cannot set one. A number from before a restart is none of ours:
 * all that is kept is told. */
static guint64
last_event(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *text = soup_message_headers_get_one(request, "Last-Event-ID");
    guint64 id;
    if (text == NULL)
        text = rv_studio_query(call, "since");
    return text != NULL && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, &id, NULL) ? id : G_MAXUINT64;
}

void
rv_jobs_events(const RvCall *call)
{
    RvJobEvents *events = call->server->job_events;
    if (events->listeners->len >= MAX_LISTENERS) {
        rv_answer_problem(call, 503, "TooMany", "too many listen already");
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
    send_text(listener, "retry: 1000\n\n");
    rv_studio_watch(call->server->studio, call->user, last_event(call), on_event, listener);
}

RvJobEvents *
rv_job_events_new(RvServer *server)
{
    RvJobEvents *events = g_new0(RvJobEvents, 1);
    events->server = server;
    events->listeners = g_ptr_array_new();
    return events;
}

void
rv_job_events_free(RvJobEvents *events)
{
    if (events == NULL)
        return;
    while (events->listeners->len > 0) {
        Listener *listener = g_ptr_array_index(events->listeners, events->listeners->len - 1);
        on_finished(listener->message, listener);
    }
    g_ptr_array_unref(events->listeners);
    g_free(events);
}
