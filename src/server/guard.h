/* guard.h - which requests come from our own pages: the Host and Origin headers.
 *
 * A page of another site may send requests here from a visitor's browser. It may not change anything or open
 * a socket: its Origin (or Sec-Fetch-Site) tells. A name of its own that resolves to our address (DNS
 * rebinding) would make it look like ours: while nobody has to log in, only names that are known to be ours
 * are answered. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct RvGuard RvGuard;

/* `allowed`: names with commas between, "*" for any; may be NULL. */
RvGuard *rv_guard_new(const char *allowed);
void rv_guard_free(RvGuard *guard); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvGuard, rv_guard_free)

/* Addresses, localhost, this machine's name (also with .local) and the allowed names; any port. */
bool rv_guard_host_is_ours(const RvGuard *guard, const char *host);
/* The Origin is the Host itself, or one of the allowed names. `origin` NULL: no browser page sent it, true.
 */
bool rv_guard_origin_is_ours(const RvGuard *guard, const char *origin, const char *host);
/* May a page of this (foreign) origin read answers: it was allowed by name. */
bool rv_guard_origin_is_allowed(const RvGuard *guard, const char *origin);
/* Whether any was. */
bool rv_guard_allows_some(const RvGuard *guard);
