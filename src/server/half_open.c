#include "server/half_open.h"

#include <sys/socket.h>

#define TICK_S 2
#define WHOLE_LIMITS 10  /* a body that drips in is given as many limits */
#define FEW_HANDSHAKES 4 /* which may take their time */
#define MANY_HANDSHAKES 32
#define HANDSHAKE_US G_USEC_PER_SEC
#define LONG_HANDSHAKE_US (10 * G_USEC_PER_SEC)
#define GONE_TICKS 3 /* until libsoup has surely seen it, and stopped to listen */

struct RvHalfOpen {          /* an rc box: handlers of messages hold references */
    GHashTable *connections; /* GSocket -> Connection; NULL once freed */
    gint64 limit_us;
    guint most_waiting, most_open;
    guint64 accepted, closed;
    guint tick;   /* source */
    guint signal; /* of libsoup's listeners: a new connection; 0: this libsoup has none */
    gulong hook;  /* of that signal */
};

/* A connection of which something is expected. */
typedef struct {
    GSocket *socket;
    GWeakRef object;              /* libsoup's SoupServerConnection; NULL: not known */
    gint64 begun_us, deadline_us; /* of g_get_monotonic_time(): the request; when it is too late */
    bool is_idle;                 /* between two requests */
    bool is_shaking;              /* hands, as TLS does before its first request */
    int gone_ticks;               /* ticks that saw it idle and its peer gone */
} Connection;

static void
connection_free(gpointer data)
{
    Connection *connection = data;
    g_weak_ref_clear(&connection->object);
    g_object_unref(connection->socket);
    g_free(connection);
}

static Connection *
wait_for(RvHalfOpen *half_open, GSocket *socket)
{
    Connection *connection = g_hash_table_lookup(half_open->connections, socket);
    if (connection == NULL) {
        connection = g_new0(Connection, 1);
        connection->socket = g_object_ref(socket);
        connection->begun_us = g_get_monotonic_time();
        g_weak_ref_init(&connection->object, NULL);
        g_hash_table_insert(half_open->connections, socket, connection);
    }
    connection->deadline_us = g_get_monotonic_time() + half_open->limit_us;
    return connection;
}

/* NULL: it is not watched (any more). */
static Connection *
find(RvHalfOpen *half_open, SoupServerMessage *message)
{
    GSocket *socket = soup_server_message_get_socket(message);
    return half_open->connections != NULL && socket != NULL
               ? g_hash_table_lookup(half_open->connections, socket)
               : NULL;
}

static void
on_chunk(SoupServerMessage *message, GBytes *chunk, gpointer user)
{
    RvHalfOpen *half_open = user;
    GSocket *socket = soup_server_message_get_socket(message);
    if (half_open->connections == NULL || socket == NULL)
        return;
    Connection *connection = wait_for(half_open, socket);
    connection->deadline_us =
        MIN(connection->deadline_us, connection->begun_us + WHOLE_LIMITS * half_open->limit_us);
}

/* TLS, too, has come through. */
static void
on_headers(SoupServerMessage *message, gpointer user)
{
    Connection *connection = find(user, message);
    if (connection != NULL)
        connection->is_shaking = false;
}

static void
on_complete(SoupServerMessage *message, gpointer user)
{
    Connection *connection = find(user, message);
    if (connection != NULL)
        connection->deadline_us = G_MAXINT64;
}

/* libsoup says that the next request has started only when something of it is here: the wait begins now. */
static void
on_finished(SoupServerMessage *message, gpointer user)
{
    RvHalfOpen *half_open = user;
    GSocket *socket = soup_server_message_get_socket(message);
    if (half_open->connections == NULL || socket == NULL)
        return;
    if (soup_server_message_get_status(message) == SOUP_STATUS_SWITCHING_PROTOCOLS)
        g_hash_table_remove(half_open->connections, socket);
    else if (!g_socket_is_closed(socket))
        wait_for(half_open, socket)->is_idle = true;
}

static bool
peer_has_gone(GSocket *socket)
{
    char byte;
    return recv(g_socket_get_fd(socket), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* libsoup lets go of the connection, as it should have done itself. */
static void
let_go(const Connection *connection)
{
    g_autoptr(GObject) object = g_weak_ref_get((GWeakRef *)&connection->object);
    if (object != NULL && !soup_check_version(3, 3, 0))
        g_signal_emit_by_name(object, "disconnected");
}

/* For libsoup the peer goes away now. */
static void
end(RvHalfOpen *half_open, Connection *connection)
{
    g_socket_shutdown(connection->socket, TRUE, TRUE, NULL);
    connection->deadline_us = G_MAXINT64;
    half_open->closed++;
}

/* Whether the connection need not be watched any more. */
static bool
look_at(RvHalfOpen *half_open, Connection *connection, gint64 now_us)
{
    if (g_socket_is_closed(connection->socket))
        return true;
    bool is_slow = connection->is_shaking && now_us - connection->begun_us > LONG_HANDSHAKE_US;
    if (connection->deadline_us <= now_us || (is_slow && connection->deadline_us != G_MAXINT64))
        end(half_open, connection);
    connection->gone_ticks =
        connection->is_idle && peer_has_gone(connection->socket) ? connection->gone_ticks + 1 : 0;
    if (connection->gone_ticks < GONE_TICKS)
        return false;
    let_go(connection);
    return true;
}

static gboolean
on_tick(gpointer user)
{
    RvHalfOpen *half_open = user;
    gint64 now_us = g_get_monotonic_time();
    GHashTableIter iter;
    gpointer connection;
    g_hash_table_iter_init(&iter, half_open->connections);
    while (g_hash_table_iter_next(&iter, NULL, &connection))
        if (look_at(half_open, connection, now_us))
            g_hash_table_iter_remove(&iter);
    return G_SOURCE_CONTINUE;
}

typedef struct {
    guint open, waiting, shaking; /* connections */
    Connection *waiting_longest, *shaking_longest;
} Census;

static Connection *
earlier(Connection *a, Connection *b)
{
    return a == NULL || b->begun_us < a->begun_us ? b : a;
}

static Census
count_all(RvHalfOpen *half_open)
{
    Census census = { 0 };
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, half_open->connections);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Connection *connection = value;
        census.open += !g_socket_is_closed(connection->socket);
        if (connection->deadline_us == G_MAXINT64)
            continue;
        census.waiting++;
        census.waiting_longest = earlier(census.waiting_longest, connection);
        if (!connection->is_shaking)
            continue;
        census.shaking++;
        census.shaking_longest = earlier(census.shaking_longest, connection);
    }
    return census;
}

/* Of those that wait the one whose request began first makes room; where too many are at work, the newest. A
 * handshake takes a thread of those that all tasks of the process share, for as long as its peer likes. */
static void
make_room(RvHalfOpen *half_open, Connection *newest)
{
    if (g_hash_table_size(half_open->connections) <= FEW_HANDSHAKES)
        return;
    Census census = count_all(half_open);
    if (census.shaking > MANY_HANDSHAKES ||
        (census.shaking > FEW_HANDSHAKES &&
         newest->begun_us - census.shaking_longest->begun_us > HANDSHAKE_US))
        end(half_open, census.shaking_longest);
    else if (census.waiting > half_open->most_waiting)
        end(half_open, census.waiting_longest);
    else if (census.open > half_open->most_open)
        end(half_open, newest);
}

/* libsoup 3.2 keeps a reference of each socket that it accepts, beside its connection's, and never drops it:
 * a third of a kilobyte a connection. Here that reference, the connection's and ours are all there are; where
 * one is missing libsoup was mended. */
static void
drop_lost_reference(GSocket *socket)
{
    if (!soup_check_version(3, 3, 0) && g_atomic_int_get((gint *)&G_OBJECT(socket)->ref_count) == 3)
        g_object_unref(socket);
}

static gboolean
on_connection(GSignalInvocationHint *hint, guint count, const GValue *values, gpointer user)
{
    RvHalfOpen *half_open = user;
    GObject *object = g_value_get_object(&values[1]);
    g_autoptr(GSocket) socket = NULL;
    g_autoptr(GTlsCertificate) certificate = NULL;
    g_object_get(object, "socket", &socket, "tls-certificate", &certificate, NULL);
    half_open->accepted++;
    if (socket == NULL)
        return TRUE;
    drop_lost_reference(socket);
    Connection *connection = wait_for(half_open, socket);
    connection->is_shaking = certificate != NULL;
    g_weak_ref_set(&connection->object, object);
    make_room(half_open, connection);
    return TRUE;
}

/* libsoup's own types of listeners and connections have no header, but their signals can be listened to. */
static void
install_hook(RvHalfOpen *half_open)
{
    GType type = g_type_from_name("SoupListener");
    half_open->signal = type != 0 ? g_signal_lookup("new-connection", type) : 0;
    if (half_open->signal != 0)
        half_open->hook = g_signal_add_emission_hook(half_open->signal, 0, on_connection, half_open, NULL);
}

RvHalfOpen *
rv_half_open_new(guint limit_s, guint most_waiting, guint most_open)
{
    RvHalfOpen *half_open = g_rc_box_new0(RvHalfOpen);
    half_open->connections = g_hash_table_new_full(NULL, NULL, NULL, connection_free);
    half_open->limit_us = (gint64)limit_s * G_USEC_PER_SEC;
    half_open->most_waiting = most_waiting;
    half_open->most_open = most_open;
    install_hook(half_open);
    half_open->tick = g_timeout_add_seconds(TICK_S, on_tick, half_open);
    return half_open;
}

void
rv_half_open_free(RvHalfOpen *half_open)
{
    if (half_open == NULL)
        return;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, half_open->connections);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        g_socket_shutdown(((Connection *)value)->socket, TRUE, TRUE, NULL);
    if (half_open->hook != 0)
        g_signal_remove_emission_hook(half_open->signal, half_open->hook);
    g_clear_pointer(&half_open->connections, g_hash_table_unref);
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
    Connection *connection = wait_for(half_open, socket);
    connection->is_idle = false;
    connection->begun_us = g_get_monotonic_time();
    connect_to(message, "got-headers", G_CALLBACK(on_headers), half_open);
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

guint64
rv_half_open_accepted(const RvHalfOpen *half_open)
{
    return half_open->accepted;
}
