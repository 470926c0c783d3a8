/* folder_watch.h - says when something below some folders came, went or changed, and is still again: a copy
 * that takes minutes is one change, not thousands. Where the system tells nothing of changes (network file
 * systems), nothing is said. Main loop only. */
#pragma once
#include <gio/gio.h>

typedef struct RvFolderWatch RvFolderWatch;

/* Waits this long for further changes before it speaks; no longer than a few seconds in all. */
#define RV_FOLDER_WATCH_STILL_MS 700

/* `folders` need not exist yet. NULL-terminated. `changed` is never called from within another call. */
RvFolderWatch *rv_folder_watch_new(const char *const *folders, void (*changed)(void *user), void *user);
void rv_folder_watch_free(RvFolderWatch *watch); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvFolderWatch, rv_folder_watch_free)
