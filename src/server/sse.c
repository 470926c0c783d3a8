#include "server/sse.h"

#include <string.h>

#define MAX_LISTENERS 256

struct RvSseListener {
    RvSse *sse;
    SoupServerMessage *message;
    int unsent;
};

struct RvSse {
    GPtrArray *listeners;
    int most_unsent;
    void (*gone)(RvSseListener *listener, void *user);
    void *user;
};

RvSse *
rv_sse_new(int most_unsent, void (*gone)(RvSseListener *listener, void *user), void *user)
{
    RvSse *sse = g_new0(RvSse, 1);
    *sse = (RvSse) { g_ptr_array_new(), most_unsent, gone, user };
    return sse;
}

static void
on_wrote_chunk(SoupServerMessage *message, gpointer user)
{
    RvSseListener *listener = user;
    listener->unsent = MAX(listener->unsent - 1, 0);
}

static void
on_finished(SoupServerMessage *message, gpointer user)
{
    RvSseListener *listener = user;
    g_signal_handlers_disconnect_by_data(message, listener);
    if (listener->sse->gone != NULL)
        listener->sse->gone(listener, listener->sse->user);
    g_ptr_array_remove(listener->sse->listeners, listener);
    g_object_unref(message);
    g_free(listener);
}

void
rv_sse_free(RvSse *sse)
{
    if (sse == NULL)
        return;
    while (sse->listeners->len > 0) {
        RvSseListener *listener = g_ptr_array_index(sse->listeners, sse->listeners->len - 1);
        on_finished(listener->message, listener);
    }
    g_ptr_array_unref(sse->listeners);
    g_free(sse);
}

RvSseListener *
rv_sse_accept(RvSse *sse, const RvCall *call)
{
    if (sse->listeners->len >= MAX_LISTENERS)
        return NULL;
    RvSseListener *listener = g_new0(RvSseListener, 1);
    listener->sse = sse;
    listener->message = g_object_ref(call->message);
    SoupMessageHeaders *headers = soup_server_message_get_response_headers(call->message);
    soup_message_headers_set_encoding(headers, SOUP_ENCODING_CHUNKED);
    soup_message_headers_set_content_type(headers, "text/event-stream", NULL);
    soup_message_headers_replace(headers, "X-Accel-Buffering", "no");
    soup_message_body_set_accumulate(soup_server_message_get_response_body(call->message), FALSE);
    soup_server_message_set_status(call->message, 200, NULL);
    g_signal_connect(call->message, "wrote-chunk", G_CALLBACK(on_wrote_chunk), listener);
    g_signal_connect(call->message, "finished", G_CALLBACK(on_finished), listener);
    g_ptr_array_add(sse->listeners, listener);
    return listener;
}

guint
rv_sse_count(const RvSse *sse)
{
    return sse->listeners->len;
}

void
rv_sse_send(RvSseListener *listener, const char *text)
{
    if (++listener->unsent > listener->sse->most_unsent) {
        GSocket *socket = soup_server_message_get_socket(listener->message);
        if (socket != NULL)
            g_socket_shutdown(socket, TRUE, TRUE, NULL);
        return;
    }
    soup_message_body_append(soup_server_message_get_response_body(listener->message), SOUP_MEMORY_COPY, text,
                             strlen(text));
    soup_server_message_unpause(listener->message);
}

void
rv_sse_send_all(RvSse *sse, const char *text)
{
    for (guint i = sse->listeners->len; i-- > 0;)
        rv_sse_send(g_ptr_array_index(sse->listeners, i), text);
}
