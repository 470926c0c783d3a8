/* residents.h - the models that stay loaded on one device, within a budget of bytes: the least recently used
 * goes first. One whose files have changed since is loaded again. One thread, but for rv_residents_has(). */
#pragma once
#include "studio/painter.h"

typedef struct RvResidents RvResidents;

/* `budget` 0: as many as the device takes. */
RvResidents *rv_residents_new(const RvPainterClass *class, gpointer painter, gsize budget);
void rv_residents_free(RvResidents *residents); /* accepts NULL */
/* Loads it if it is not loaded; when the device has no room, all others (but those that are held) are given
 * up and it is tried once more. Borrowed until the next call. */
gpointer rv_residents_get(RvResidents *residents, const char *model, const char *vae, GError **error);
/* A model that get() gave is not given up until all are let go. */
void rv_residents_hold(RvResidents *residents, gpointer loaded);
void rv_residents_let_go(RvResidents *residents);
void rv_residents_clear(RvResidents *residents);
/* The device has no room for what is drawn: gives up all but those that are held. False: there were none. */
bool rv_residents_make_room(RvResidents *residents);
/* Looks at the sizes again (programs of further sizes took memory) and gives up what is too much. */
void rv_residents_trim(RvResidents *residents);

/* Any thread. `vae` NULL matches any. */
bool rv_residents_has(RvResidents *residents, const char *model, const char *vae);
gsize rv_residents_bytes(RvResidents *residents);
