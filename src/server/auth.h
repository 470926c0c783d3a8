/* auth.h - who may come in: one token, or users with passwords, or everybody when there are neither.
 *
 * Accepted: `Authorization: Bearer TOKEN`, `Basic NAME:PASSWORD` (the token is a password under any name),
 * `?token=`, and the cookie that a page gets after one of these. The cookie is an HMAC-SHA256 under the
 * secret itself, so it outlives restarts and ends when the secret changes. Comparisons take the same time
 * whatever they find. An address that fails RV_AUTH_MAX_FAILURES times within a minute is refused for the
 * rest of it (cookies, which cannot be guessed, still work). Main loop only. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "base/error.h"

#define RV_AUTH_MAX_FAILURES 10

typedef struct RvAuth RvAuth;

/* `token` and `users_path` may be NULL. RV_ERROR_INVALID names the line of a bad users file. */
RvAuth *rv_auth_new(const char *token, const char *users_path, GError **error);
void rv_auth_free(RvAuth *auth); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvAuth, rv_auth_free)

bool rv_auth_is_open(const RvAuth *auth); /* neither token nor users */

typedef enum { RV_AUTH_OK, RV_AUTH_MISSING, RV_AUTH_WRONG, RV_AUTH_LIMITED } RvAuthVerdict;

/* Each may be NULL: the Authorization header, the Cookie header, the query's token. With RV_AUTH_OK by other
 * means than the cookie, *cookie is a value for Set-Cookie "reverie=..." (free with g_free), else NULL. *user
 * (free with g_free) is the name of who came in, "" with the token or when nobody has to log in; else NULL.
 */
RvAuthVerdict rv_auth_check(RvAuth *auth, const char *address, const char *authorization, const char *cookies,
                            const char *token, gint64 now_us, char **cookie, char **user);
guint64 rv_auth_failures(const RvAuth *auth);

bool rv_equal_in_constant_time(const char *a, const char *b);
