#include "server/listener.h"

#include <netinet/in.h>

#include "server/log.h"

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
    /* An accept must not wait for the next peer where one has gone meanwhile: it would hold up the loop. */
    g_socket_set_blocking(listener->socket, FALSE);
    g_socket_set_listen_backlog(listener->socket, BACKLOG);
    return g_socket_bind(listener->socket, address, TRUE, error) &&
           g_socket_listen(listener->socket, error) &&
           soup_server_listen_socket(listener->soup, listener->socket, listener->options, error);
}

RvListener *
rv_listener_new(SoupServer *soup, const char *host, guint port, bool is_tls, GError **error)
{
    g_autoptr(GSocketAddress) address = g_inet_socket_address_new_from_string(host, port);
    GSocket *socket = g_socket_new(g_socket_address_get_family(address), G_SOCKET_TYPE_STREAM,
                                   G_SOCKET_PROTOCOL_DEFAULT, error);
    if (socket == NULL)
        return NULL;
    RvListener *listener = g_new0(RvListener, 1);
    *listener =
        (RvListener) { .soup = soup, .socket = socket, .options = is_tls ? SOUP_SERVER_LISTEN_HTTPS : 0 };
    if (listen_on(listener, address, error))
        return listener;
    rv_listener_free(listener);
    return NULL;
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
