/* notify.h - what systemd wants to know (sd_notify(3), spoken by hand: one datagram to $NOTIFY_SOCKET). */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* "READY=1", "STOPPING=1", "WATCHDOG=1", "STATUS=..."; false when nobody listens, or does not read for
 * 0.2 s. */
bool rv_notify(const char *state);
/* How often "WATCHDOG=1" is due: half of $WATCHDOG_USEC; 0: not wanted of this process. */
gint64 rv_notify_watchdog_us(void);
/* It is not ready until it says so again. */
void rv_notify_reloading(void);
