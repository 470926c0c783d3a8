/* wildcards.h - __NAME__ in a prompt: a line of a text, drawn by lot.
 *
 * The syntax is that of the web UI's wildcard extensions: a name between two pairs of underscores (letters,
 * digits, - _ . and / for folders); a line may hold further wildcards. Empty lines, and those that begin with
 * #, are no choices. The lot depends on the seed and the prompt alone, so a picture can be drawn again as
 * long as the texts stay. */
#pragma once
#include "base/error.h"

/* The text of a wildcard, UTF-8; NULL with an error when there is none. Free with g_free. */
typedef char *(*RvWildcardRead)(const char *name, void *user, GError **error);

bool rv_wildcards_in(const char *prompt); /* `prompt` may be NULL */
/* The prompt with a choice in place of each wildcard. Free with g_free. NULL: `read` failed, a text has no
 * choices, a name leads elsewhere (RV_ERROR_USAGE), or the wildcards hold each other. */
char *rv_wildcards_draw(const char *prompt, guint64 seed, RvWildcardRead read, void *user, GError **error);
