/* json_file.h - private to this folder: small JSON files of unknown origin, read with bounds. */
#pragma once
#include <glib.h>
#include <json-glib/json-glib.h>
#include <stdbool.h>

/* The whole of a regular file of at most `max_bytes`, with a NUL behind it. */
char *rv_file_read(const char *path, gsize max_bytes, gsize *length, GError **error);

/* The object in a JSON file (at most 1 MB, 32 levels deep); owned by the caller. */
JsonObject *rv_json_read(const char *path, GError **error);
/* The same of a text; `path` is for messages. */
JsonObject *rv_json_parse(const char *text, gsize length, const char *path, GError **error);

/* Reads members with ranges. The first mistake sticks in `error`; later reads return their fallback. A member
 * that is absent or null gives the fallback without being a mistake. */
typedef struct {
    JsonObject *object; /* borrowed */
    const char *path;   /* for messages */
    GError *error;
} RvReader;

gint64 rv_read_int(RvReader *reader, const char *key, gint64 fallback, gint64 low, gint64 high);
double rv_read_double(RvReader *reader, const char *key, double fallback, double low, double high);
bool rv_read_bool(RvReader *reader, const char *key, bool fallback);
const char *rv_read_string(RvReader *reader, const char *key, const char *fallback); /* owned by the object */
bool rv_read_is_null(RvReader *reader, const char *key);                             /* absent or null */
/* A list of 1 to `max` integers, or one integer that stands for `repeat` equal ones; gives how many, 0 if
 * absent. */
int rv_read_ints(RvReader *reader, const char *key, int *out, int max, int repeat, gint64 low, gint64 high);
/* A list of 1 to `max` strings. */
int rv_read_strings(RvReader *reader, const char *key, const char **out, int max);
/* Records a mistake about `key`. */
void rv_reader_fail(RvReader *reader, const char *key, const char *what);
/* The member must be absent, null, or one of the given words; else what it says is unsupported. */
void rv_read_only(RvReader *reader, const char *key, const char *word, const char *word2);
/* False, and the mistake moved to `error`, if there was one. */
bool rv_reader_finish(RvReader *reader, GError **error);
