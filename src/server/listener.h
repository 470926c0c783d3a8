/* listener.h - the socket that the server listens on.
 *
 * libsoup 3.2 stops to accept for good after one accept that failed, because descriptors were used up or the
 * peer had gone already: then the socket is handed to it again. Main loop. */
#pragma once
#include <libsoup/soup.h>
#include <stdbool.h>

#include "server/half_open.h"

typedef struct RvListener RvListener;

/* An IPv6 address takes IPv6 only. The socket that the process before left (restart.h) if it is there. NULL
 * with an error of GIO: such as that the port is taken. */
RvListener *rv_listener_new(SoupServer *soup, const char *host, guint port, bool is_tls, GError **error);
guint rv_listener_port(const RvListener *listener); /* the one it got, where 0 was asked for */
/* `half_open` counts what is accepted. */
void rv_listener_watch(RvListener *listener, const RvHalfOpen *half_open);
/* Another descriptor of the socket, for the next process; -1 when there are none left. */
int rv_listener_keep(const RvListener *listener);
void rv_listener_free(RvListener *listener); /* accepts NULL; the server may still use the socket */
