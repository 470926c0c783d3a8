/* auth.h - who may come in: one token, or users with passwords, or everybody when there are neither.
 *
 * The file of users has lines "NAME:HASH" or "NAME:HASH:admin" as `reverie users` writes them (password.h); a
 * password in the clear is understood in place of a hash. It is read again when it changes.
 *
 * Accepted: `Authorization: Bearer TOKEN` (or a session's cookie), `Basic NAME:PASSWORD` (the token is a
 * password under any name), `?token=`, and the cookie that a page gets after one of these. The cookie is an
 * HMAC-SHA256 of the secret under a random key of this installation, so it ends when the secret changes, and
 * whoever guesses secrets cannot try them as cookies. Comparisons take the same time whatever they find. An
 * address (of IPv6: its first 64 bits) that fails RV_AUTH_MAX_FAILURES times within a minute is refused for
 * the rest of it (cookies still work). Hashing takes a fourth of the loop's time at most: where guesses come
 * from very many addresses, a password that was not right before is refused unread meanwhile. Main loop only.
 */
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

/* Keeps the key of cookies in this file (made, for its owner only, when there is none), so that they outlive
 * restarts. Without a file that can be read or written the key lasts as long as the process. */
void rv_auth_keep_key(RvAuth *auth, const char *path);

bool rv_auth_is_open(const RvAuth *auth); /* neither token nor users */
/* Who may see everybody's load and set limits: users marked so, the token's owner, everybody when it is open.
 */
bool rv_auth_is_admin(const RvAuth *auth, const char *user);
/* Names of users; an array of text, free with g_strfreev. */
char **rv_auth_users(const RvAuth *auth);
/* One line of the file; false when it is no user. NULL in *name for comments and blank lines. Free all. */
bool rv_auth_parse_line(const char *line, char **name, char **secret, bool *is_admin);
/* Letters, digits and ._@- up to 64 bytes, no dot first: what `reverie users add` takes. */
bool rv_auth_name_is_plain(const char *name);

typedef enum { RV_AUTH_OK, RV_AUTH_MISSING, RV_AUTH_WRONG, RV_AUTH_LIMITED } RvAuthVerdict;

/* Each may be NULL: the Authorization header, the Cookie header, the query's token. With RV_AUTH_OK by other
 * means than the cookie, *cookie is a value for Set-Cookie "reverie=..." (free with g_free), else NULL. *user
 * (free with g_free) is the name of who came in, "" with the token or when nobody has to log in; else NULL.
 */
RvAuthVerdict rv_auth_check(RvAuth *auth, const char *address, const char *authorization, const char *cookies,
                            const char *token, gint64 now_us, char **cookie, char **user);
/* The same for a name and a password, such as a page's form has; `name` NULL: the token alone. */
RvAuthVerdict rv_auth_log_in(RvAuth *auth, const char *address, const char *name, const char *password,
                             gint64 now_us, char **cookie, char **user);
guint64 rv_auth_failures(const RvAuth *auth);

bool rv_equal_in_constant_time(const char *a, const char *b);
