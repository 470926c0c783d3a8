#include "server/listener.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "server/log.h"
#include "server/restart.h"

#define BACKLOG 1024 /* connections that wait to be accepted */
#define LOOK_MS 1000

struct RvListener {
    SoupServer *soup;
    GSocket *socket;
    SoupServerListenOptions options;
    const RvHalfOpen *half_open;
    guint64 accepted; /* when it was last looked at */
    bool was_waiting; /* then somebody waited to be accepted */
    guint tick;       /* source */
};

static bool
listen_on(RvListener *listener, GSocketAddress *address, GError **error)
{
    if (g_socket_address_get_family(address) == G_SOCKET_FAMILY_IPV6 &&
        !g_socket_set_option(listener->socket, IPPROTO_IPV6, IPV6_V6ONLY, TRUE, error))
        return false;
    g_socket_set_listen_backlog(listener->socket, BACKLOG);
    return g_socket_bind(listener->socket, address, TRUE, error) && g_socket_listen(listener->socket, error);
}

/* It is of use if it listens where it should; any port will do for port 0. */
static GSocket *
take_inherited(GSocketAddress *address)
{
    int fd = rv_restart_take_socket();
    GSocket *socket = fd >= 0 ? g_socket_new_from_fd(fd, NULL) : NULL;
    g_autoptr(GSocketAddress) local = socket != NULL ? g_socket_get_local_address(socket, NULL) : NULL;
    if (local != NULL && G_IS_INET_SOCKET_ADDRESS(local)) {
        GInetSocketAddress *is = G_INET_SOCKET_ADDRESS(local), *wanted = G_INET_SOCKET_ADDRESS(address);
        guint16 port = g_inet_socket_address_get_port(wanted);
        if (g_inet_address_equal(g_inet_socket_address_get_address(is),
                                 g_inet_socket_address_get_address(wanted)) &&
            (port == 0 || port == g_inet_socket_address_get_port(is)))
            return socket;
    }
    if (socket != NULL)
        g_object_unref(socket);
    else if (fd >= 0)
        close(fd);
    return NULL;
}

RvListener *
rv_listener_new(SoupServer *soup, const char *host, guint port, bool is_tls, GError **error)
{
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(host, port);
    GSocket *inherited = take_inherited(address);
    GSocket *socket = inherited != NULL
                          ? inherited
                          : g_socket_new(g_socket_address_get_family(address), G_SOCKET_TYPE_STREAM,
                                         G_SOCKET_PROTOCOL_DEFAULT, error);
    if (socket == NULL)
        return NULL;
    RvListener *listener = g_new0(RvListener, 1);
    *listener =
        (RvListener) { .soup = soup, .socket = socket, .options = is_tls ? SOUP_SERVER_LISTEN_HTTPS : 0 };
    /* An accept must not wait for the next peer where one has gone meanwhile: it would hold up the loop. */
    g_socket_set_blocking(socket, FALSE);
    if ((inherited != NULL || listen_on(listener, address, error)) &&
        soup_server_listen_socket(soup, socket, listener->options, error))
        return listener;
    rv_listener_free(listener);
    return NULL;
}

guint
rv_listener_port(const RvListener *listener)
{
    g_autoptr(GSocketAddress) address = g_socket_get_local_address(listener->socket, NULL);
    return address != NULL ? g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address)) : 0;
}

/* Somebody has waited since the last look, and nobody was accepted. */
static gboolean
on_tick(gpointer user)
{
    RvListener *listener = user;
    guint64 accepted = rv_half_open_accepted(listener->half_open);
    bool is_waiting = (g_socket_condition_check(listener->socket, G_IO_IN) & G_IO_IN) != 0;
    if (is_waiting && listener->was_waiting && accepted == listener->accepted) {
        rv_log(RV_LOG_WARNING, "listening-again", NULL);
        soup_server_listen_socket(listener->soup, listener->socket, listener->options, NULL);
    }
    listener->was_waiting = is_waiting;
    listener->accepted = accepted;
    return G_SOURCE_CONTINUE;
}

void
rv_listener_watch(RvListener *listener, const RvHalfOpen *half_open)
{
    listener->half_open = half_open;
    listener->tick = g_timeout_add(LOOK_MS, on_tick, listener);
}

int
rv_listener_keep(const RvListener *listener)
{
    return fcntl(g_socket_get_fd(listener->socket), F_DUPFD_CLOEXEC, 3);
}

void
rv_listener_free(RvListener *listener)
{
    if (listener == NULL)
        return;
    if (listener->tick != 0)
        g_source_remove(listener->tick);
    g_object_unref(listener->socket);
    g_free(listener);
}
