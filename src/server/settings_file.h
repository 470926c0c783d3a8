/* settings_file.h - the mirror's settings on the disk, written by a thread of their own: a busy disk takes
 * seconds to make them durable, and pictures go on meanwhile. One thread calls these. */
#pragma once
#include "server/state.h"

typedef struct RvSettingsFile RvSettingsFile;

RvSettingsFile *rv_settings_file_new(const char *path);
/* Writes what is still waiting. Accepts NULL. */
void rv_settings_file_free(RvSettingsFile *file);
/* Returns at once; the state is read now. Of states that wait for the disk only the newest is written. A
 * write that fails is an event of the log, "settings-not-kept". */
void rv_settings_file_save(RvSettingsFile *file, const RvState *state);
/* Until everything is on the disk. */
void rv_settings_file_wait(RvSettingsFile *file);
