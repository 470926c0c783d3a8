/* output.h - a file that appears whole or not at all: written beside its place under a temporary name,
 * synced and renamed. A place that is no plain file (a pipe, /dev/null) is written to directly. */
#pragma once
#include "base/error.h"

typedef struct RvOutput RvOutput;

RvOutput *rv_output_open(const char *path, GError **error);
/* The name under which to write, for writers that open files themselves. Borrowed. */
const char *rv_output_temporary_path(const RvOutput *output);
bool rv_output_write(RvOutput *output, const void *data, gsize size, GError **error);
/* Syncs and renames. The output is done with after this, whatever the result; free it. */
bool rv_output_commit(RvOutput *output, GError **error);
void rv_output_free(RvOutput *output); /* accepts NULL; without a commit the temporary file goes away */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvOutput, rv_output_free)
