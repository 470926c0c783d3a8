/* save.h - names of pictures on disk. */
#pragma once
#include "base/error.h"

/* Writes folder/NNNNN-SEED.ENDING with the next number of the folder, as A1111 counts. The path, free with
 * g_free. Any thread. */
char *rv_save_numbered(const char *folder, gint64 seed, GBytes *bytes, const char *ending, GError **error);
