#include "server/later.h"

struct RvLater {
    RvCall call;
    SoupServerMessage *message; /* NULL: gone */
    char *user;
    void (*on_gone)(void *data);
    void *data;
};

static void
on_finished(SoupServerMessage *message, gpointer data)
{
    RvLater *later = data;
    g_signal_handlers_disconnect_by_data(message, later);
    g_clear_object(&later->message);
    if (later->on_gone != NULL)
        later->on_gone(later->data);
}

RvLater *
rv_later_new(const RvCall *call, void (*on_gone)(void *data), void *data)
{
    RvLater *later = g_new0(RvLater, 1);
    later->user = g_strdup(call->user);
    later->message = g_object_ref(call->message);
    later->call = (RvCall) {
        .server = call->server, .route = call->route, .message = later->message, .user = later->user
    };
    later->on_gone = on_gone;
    later->data = data;
    g_signal_connect(later->message, "finished", G_CALLBACK(on_finished), later);
    soup_server_message_pause(later->message);
    return later;
}

const RvCall *
rv_later_call(RvLater *later)
{
    return later->message != NULL ? &later->call : NULL;
}

const char *
rv_later_user(const RvLater *later)
{
    return later->user;
}

RvServer *
rv_later_server(const RvLater *later)
{
    return later->call.server;
}

void
rv_later_end(RvLater *later)
{
    if (later->message != NULL) {
        g_signal_handlers_disconnect_by_data(later->message, later);
        rv_answer_note_time(later->message);
        soup_server_message_unpause(later->message);
        g_object_unref(later->message);
    }
    g_free(later->user);
    g_free(later);
}
