/* json_file.h - JSON files of a model folder, read with limits. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* Contents of a regular file of at most `max_bytes`; NOT_FOUND, IO or INVALID otherwise. */
bool rv_text_file_read(const char *path, gsize max_bytes, char **contents, gsize *length, GError **error);

/* The object that the file holds; a new reference. NULL with INVALID when it is not JSON, is nested more
 * than 64 deep (json-glib recurses) or is not an object. */
JsonObject *rv_json_file_read(const char *path, gsize max_bytes, GError **error);
