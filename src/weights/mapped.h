/* mapped.h - files that stay mapped although somebody may cut them short.
 *
 * Reading a mapped page that lies behind the end of its file raises SIGBUS: a model that is copied anew over
 * the one in use would end the server. Pages of the maps that are guarded here read as zeros from then on,
 * and the event is counted, so that whoever read meanwhile can refuse what came of it. The handler is
 * installed with the first map; faults elsewhere go to whoever handled them before.
 *
 * Any thread. */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* `path` lives as long as the map is guarded. A process has room for 1024; further ones are not guarded. */
void rv_mapped_guard(const void *map, gsize bytes, const char *path);
void rv_mapped_release(const void *map); /* before munmap(); one that is not guarded is passed over */

/* How often a map was found cut short; rises. */
guint rv_mapped_torn(void);
/* RV_ERROR_IO with the file's path, when that happened since rv_mapped_torn() gave `before`. */
bool rv_mapped_check(guint before, GError **error);
