/* socket_guard.h - bounds what a connection may send within one message.
 *
 * libsoup 3.2 joins the fragments of a message without a bound of their sum, and reads as long as there is
 * something to read, so the main loop itself may be kept busy by such a client. A thread of its own looks at
 * TCP's counts and shuts the socket down. */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>

#define RV_SOCKET_GUARD_BYTES (32u << 20)

typedef struct RvSocketGuard RvSocketGuard;

RvSocketGuard *rv_socket_guard_new(GSocket *socket); /* takes a reference */
/* A whole message was received: counting begins again. Any thread. */
void rv_socket_guard_reset(RvSocketGuard *guard);
/* Whether the socket was shut down. Any thread. */
bool rv_socket_guard_has_cut(RvSocketGuard *guard);
void rv_socket_guard_free(RvSocketGuard *guard); /* accepts NULL */
