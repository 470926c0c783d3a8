#include "server/half_open.h"

#define TICK_S 2

struct RvHalfOpen { /* an rc box: handlers of messages hold references */
    /* Connections that something should come from: GSocket, referenced -> gint64 *, time of
     * g_get_monotonic_time() when patience ends. NULL once freed. */
    GHashTable *deadlines;
    gint64 limit_us;
    guint64 closed;
    guint tick; /* source */
};

static void
wait_for(RvHalfOpen *half_open, GSocket *socket)
{
    gint64 *deadline = g_new(gint64, 1);
    *deadline = g_get_monotonic_time() + half_open->limit_us;
    g_hash_table_replace(half_open->deadlines, g_object_ref(socket), deadline);
}

static void
on_chunk(SoupServerMessage *message, GBytes *chunk, gpointer user)
{
    RvHalfOpen *half_open = user;
    GSocket *socket = soup_server_message_get_socket(message);
    if (half_open->deadlines != NULL && socket != NULL)
        wait_for(half_open, socket);
}

static void
on_complete(SoupServerMessage *message, gpointer user)
{
    RvHalfOpen *half_open = user;
    GSocket *socket = soup_server_message_get_socket(message);
    if (half_open->deadlines != NULL && socket != NULL)
        g_hash_table_remove(half_open->deadlines, socket);
}

/* libsoup says that the next request has started only when its head is here: the wait for it begins now. */
static void
on_finished(SoupServerMessage *message, gpointer user)
{
    RvHalfOpen *half_open = user;
    GSocket *socket = soup_server_message_get_socket(message);
    bool is_kept = soup_server_message_get_status(message) != SOUP_STATUS_SWITCHING_PROTOCOLS;
    if (half_open->deadlines != NULL && socket != NULL && is_kept && !g_socket_is_closed(socket))
        wait_for(half_open, socket);
}

/* The end of what can be read makes libsoup close the connection, as if the peer had. */
static gboolean
on_tick(gpointer user)
{
    RvHalfOpen *half_open = user;
    gint64 now = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer socket, deadline;
    g_hash_table_iter_init(&iter, half_open->deadlines);
    while (g_hash_table_iter_next(&iter, &socket, &deadline)) {
        bool is_late = *(gint64 *)deadline <= now, is_closed = g_socket_is_closed(socket);
        if (is_late && !is_closed) {
            g_socket_shutdown(socket, TRUE, TRUE, NULL);
            half_open->closed++;
        }
        if (is_late || is_closed)
            g_hash_table_iter_remove(&iter);
    }
    return G_SOURCE_CONTINUE;
}

RvHalfOpen *
rv_half_open_new(guint limit_s)
{
    RvHalfOpen *half_open = g_rc_box_new0(RvHalfOpen);
    half_open->deadlines = g_hash_table_new_full(NULL, NULL, g_object_unref, g_free);
    half_open->limit_us = (gint64)limit_s * G_USEC_PER_SEC;
    half_open->tick = g_timeout_add_seconds(TICK_S, on_tick, half_open);
    return half_open;
}

void
rv_half_open_free(RvHalfOpen *half_open)
{
    if (half_open == NULL)
        return;
    g_clear_pointer(&half_open->deadlines, g_hash_table_unref);
    g_source_remove(half_open->tick);
    g_rc_box_release(half_open);
}

static void
release(gpointer half_open, GClosure *closure)
{
    g_rc_box_release(half_open);
}

static void
connect_to(SoupServerMessage *message, const char *signal, GCallback handler, RvHalfOpen *half_open)
{
    g_signal_connect_data(message, signal, handler, g_rc_box_acquire(half_open), release, 0);
}

void
rv_half_open_watch(RvHalfOpen *half_open, SoupServerMessage *message)
{
    GSocket *socket = soup_server_message_get_socket(message);
    if (socket == NULL)
        return;
    wait_for(half_open, socket);
    connect_to(message, "got-chunk", G_CALLBACK(on_chunk), half_open);
    connect_to(message, "got-body", G_CALLBACK(on_complete), half_open);
    connect_to(message, "finished", G_CALLBACK(on_finished), half_open);
    connect_to(message, "disconnected", G_CALLBACK(on_complete), half_open);
}

guint64
rv_half_open_closed(const RvHalfOpen *half_open)
{
    return half_open->closed;
}
