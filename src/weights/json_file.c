#include "weights/json_file.h"
#include "base/error.h"
#include "base/json_check.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_BYTES (1 << 20) /* five times the largest shard index known */

static bool
read_all(int fd, char *to, gsize length)
{
    while (length > 0) {
        ssize_t n = read(fd, to, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        to += n;
        length -= (gsize)n;
    }
    return true;
}

char *
rv_file_read(const char *path, gsize max_bytes, gsize *length, GError **error)
{
    struct stat st;
    g_autofree char *text = NULL;
    int fd = g_open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0) {
        rv_error_set(error, rv_error_of_open(errno), path, "check the path", "cannot open: %s",
                     g_strerror(errno));
        return NULL;
    }
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size >= 0 && (gsize)st.st_size <= max_bytes;
    if (!ok) {
        rv_error_set(error, RV_ERROR_INVALID, path, "give another file",
                     "not a file of at most %" G_GSIZE_FORMAT " bytes", max_bytes);
    } else {
        text = g_malloc((gsize)st.st_size + 1);
        text[st.st_size] = '\0';
        *length = (gsize)st.st_size;
        if (!read_all(fd, text, *length))
            ok = rv_error_set(error, RV_ERROR_IO, path, "try again", "cannot read: %s", g_strerror(errno));
    }
    close(fd);
    return ok ? g_steal_pointer(&text) : NULL;
}

JsonObject *
rv_json_read(const char *path, GError **error)
{
    gsize length = 0;
    g_autofree char *text = rv_file_read(path, MAX_BYTES, &length, error);
    return text ? rv_json_parse(text, length, path, error) : NULL;
}

JsonObject *
rv_json_parse(const char *text, gsize length, const char *path, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) cause = NULL;
    if (length > MAX_BYTES || !rv_json_is_shallow(text, length) ||
        !g_utf8_validate(text, (gssize)length, NULL)) {
        rv_error_set(error, RV_ERROR_INVALID, path, "download the file again",
                     "not a JSON file that we read");
        return NULL;
    }
    JsonNode *root = NULL;
    if (json_parser_load_from_data(parser, text, (gssize)length, &cause))
        root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        rv_error_set(error, RV_ERROR_INVALID, path, "download the file again", "not a JSON object%s%s",
                     cause ? ": " : "", cause ? cause->message : "");
        return NULL;
    }
    return json_node_dup_object(root);
}

void
rv_reader_fail(RvReader *reader, const char *key, const char *what)
{
    if (!reader->error)
        rv_error_set(&reader->error, RV_ERROR_INVALID, reader->path, "correct the config file", "\"%s\" %s",
                     key, what);
}

bool
rv_reader_finish(RvReader *reader, GError **error)
{
    if (!reader->error)
        return true;
    g_propagate_error(error, g_steal_pointer(&reader->error));
    return false;
}

static JsonNode *
member(RvReader *reader, const char *key)
{
    JsonNode *node = reader->error ? NULL : json_object_get_member(reader->object, key);
    return node && !JSON_NODE_HOLDS_NULL(node) ? node : NULL;
}

bool
rv_read_is_null(RvReader *reader, const char *key)
{
    return !member(reader, key);
}

/* A number that is an integer in range, written either way ("8", "8.0"). */
static bool
node_int(JsonNode *node, gint64 low, gint64 high, gint64 *out)
{
    if (!JSON_NODE_HOLDS_VALUE(node))
        return false;
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_INT64) {
        *out = json_node_get_int(node);
    } else if (type == G_TYPE_DOUBLE) {
        double value = json_node_get_double(node);
        if (!(fabs(value) < 1e15) || value != floor(value))
            return false;
        *out = (gint64)value;
    } else {
        return false;
    }
    return *out >= low && *out <= high;
}

gint64
rv_read_int(RvReader *reader, const char *key, gint64 fallback, gint64 low, gint64 high)
{
    JsonNode *node = member(reader, key);
    gint64 value = fallback;
    if (node && !node_int(node, low, high, &value)) {
        g_autofree char *what = g_strdup_printf(
            "is not a whole number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, low, high);
        rv_reader_fail(reader, key, what);
        return fallback;
    }
    return value;
}

double
rv_read_double(RvReader *reader, const char *key, double fallback, double low, double high)
{
    JsonNode *node = member(reader, key);
    if (!node)
        return fallback;
    GType type = JSON_NODE_HOLDS_VALUE(node) ? json_node_get_value_type(node) : G_TYPE_INVALID;
    double value = type == G_TYPE_DOUBLE  ? json_node_get_double(node)
                   : type == G_TYPE_INT64 ? (double)json_node_get_int(node)
                                          : NAN;
    if (!(value >= low && value <= high)) {
        g_autofree char *what = g_strdup_printf("is not a number from %g to %g", low, high);
        rv_reader_fail(reader, key, what);
        return fallback;
    }
    return value;
}

bool
rv_read_bool(RvReader *reader, const char *key, bool fallback)
{
    JsonNode *node = member(reader, key);
    if (!node)
        return fallback;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN) {
        rv_reader_fail(reader, key, "is not true or false");
        return fallback;
    }
    return json_node_get_boolean(node);
}

const char *
rv_read_string(RvReader *reader, const char *key, const char *fallback)
{
    JsonNode *node = member(reader, key);
    if (!node)
        return fallback;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING) {
        rv_reader_fail(reader, key, "is not a string");
        return fallback;
    }
    return json_node_get_string(node);
}

int
rv_read_ints(RvReader *reader, const char *key, int *out, int max, int repeat, gint64 low, gint64 high)
{
    JsonNode *node = member(reader, key);
    gint64 value = 0;
    if (!node)
        return 0;
    if (repeat > 0 && node_int(node, low, high, &value)) {
        for (int i = 0; i < repeat; i++)
            out[i] = (int)value;
        return repeat;
    }
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    guint count = array ? json_array_get_length(array) : 0;
    bool ok = count >= 1 && count <= (guint)max;
    for (guint i = 0; ok && i < count; i++) {
        ok = node_int(json_array_get_element(array, i), low, high, &value);
        out[i] = (int)value;
    }
    if (ok)
        return (int)count;
    g_autofree char *what = g_strdup_printf("is not a list of 1 to %d whole numbers from %" G_GINT64_FORMAT
                                            " to %" G_GINT64_FORMAT,
                                            max, low, high);
    rv_reader_fail(reader, key, what);
    return 0;
}

int
rv_read_strings(RvReader *reader, const char *key, const char **out, int max)
{
    JsonNode *node = member(reader, key);
    if (!node)
        return 0;
    JsonArray *array = JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    guint count = array ? json_array_get_length(array) : 0;
    bool ok = count >= 1 && count <= (guint)max;
    for (guint i = 0; ok && i < count; i++) {
        JsonNode *element = json_array_get_element(array, i);
        ok = JSON_NODE_HOLDS_VALUE(element) && json_node_get_value_type(element) == G_TYPE_STRING;
        if (ok)
            out[i] = json_node_get_string(element);
    }
    if (ok)
        return (int)count;
    g_autofree char *what = g_strdup_printf("is not a list of 1 to %d strings", max);
    rv_reader_fail(reader, key, what);
    return 0;
}

void
rv_read_only(RvReader *reader, const char *key, const char *word, const char *word2)
{
    JsonNode *node = member(reader, key);
    if (!node)
        return;
    const char *value = rv_read_string(reader, key, NULL);
    if (!value || (word && !strcmp(value, word)) || (word2 && !strcmp(value, word2)))
        return;
    rv_error_set(&reader->error, RV_ERROR_UNSUPPORTED, reader->path, "use another model",
                 "\"%s\" is \"%.64s\"", key, value);
}
