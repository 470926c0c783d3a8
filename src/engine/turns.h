/* turns.h - the lock of a device that live frames and the studio's steps share, after the rule of share.h.
 *
 * Any thread. A thread that waits is woken when its turn comes; what runs is never interrupted. */
#pragma once
#include "engine/share.h"

typedef struct RvTurns RvTurns;

/* The turns of all devices, by name. */
typedef struct RvTurnsTable RvTurnsTable;
RvTurnsTable *rv_turns_table_new(RvShareRule rule);
void rv_turns_table_free(RvTurnsTable *table); /* accepts NULL; turns that were taken a reference of stay */
/* Borrowed. `table` NULL: NULL, which all functions below take for a device that is not shared. */
RvTurns *rv_turns_table_get(RvTurnsTable *table, const char *device);

RvTurns *rv_turns_ref(RvTurns *turns);
void rv_turns_unref(RvTurns *turns);

/* A frame may begin now and has begun; or false: end first what is under way, then wait with begin. */
bool rv_turns_try_frame(RvTurns *turns);
void rv_turns_begin_frame(RvTurns *turns);
void rv_turns_end_frame(RvTurns *turns);

/* Waits for a step's turn. False: *cancel (may be NULL) was set meanwhile, and it has not begun. */
bool rv_turns_begin_step(RvTurns *turns, const int *cancel);
void rv_turns_end_step(RvTurns *turns);
/* Steps have to wait for live frames these days: one does now, or did a moment ago. */
bool rv_turns_is_held_up(RvTurns *turns);
