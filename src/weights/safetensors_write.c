#include "base/error.h"
#include "weights/mapped.h"
#include "weights/safetensors.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void
append_string(GString *json, const char *text)
{
    g_string_append_c(json, '"');
    for (const guchar *c = (const guchar *)text; *c; c++) {
        if (*c == '"' || *c == '\\')
            g_string_append_printf(json, "\\%c", *c);
        else if (*c < 0x20)
            g_string_append_printf(json, "\\u%04x", *c);
        else
            g_string_append_c(json, (char)*c);
    }
    g_string_append_c(json, '"');
}

static void
append_metadata(GString *json, GHashTable *metadata)
{
    g_autoptr(GList) keys =
        g_list_sort(g_hash_table_get_keys(metadata), (GCompareFunc)(void (*)(void))strcmp);
    g_string_append(json, "\"__metadata__\":{");
    for (GList *l = keys; l; l = l->next) {
        append_string(json, l->data);
        g_string_append_c(json, ':');
        append_string(json, g_hash_table_lookup(metadata, l->data));
        if (l->next)
            g_string_append_c(json, ',');
    }
    g_string_append_c(json, '}');
}

static gint64
spec_count(const RvTensorSpec *spec)
{
    gint64 count = 1;
    for (int i = 0; i < spec->rank; i++)
        count *= spec->shape[i];
    return count;
}

/* Padded with spaces to a multiple of 8, so that the data is aligned. */
static GString *
make_header(const RvTensorSpec *tensors, gsize count, GHashTable *metadata)
{
    GString *json = g_string_new("{");
    guint64 offset = 0;
    bool first = true;
    if (metadata && g_hash_table_size(metadata) > 0) {
        append_metadata(json, metadata);
        first = false;
    }
    for (gsize i = 0; i < count; i++) {
        guint64 bytes = (guint64)spec_count(&tensors[i]) * rv_dtype_size(tensors[i].dtype);
        if (!first)
            g_string_append_c(json, ',');
        first = false;
        append_string(json, tensors[i].name);
        g_string_append_printf(json, ":{\"dtype\":\"%s\",\"shape\":[", rv_dtype_name(tensors[i].dtype));
        for (int d = 0; d < tensors[i].rank; d++)
            g_string_append_printf(json, "%s%" G_GINT64_FORMAT, d ? "," : "", tensors[i].shape[d]);
        g_string_append_printf(json, "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}",
                               offset, offset + bytes);
        offset += bytes;
    }
    g_string_append_c(json, '}');
    while (json->len % 8)
        g_string_append_c(json, ' ');
    return json;
}

static bool
write_all(int fd, const void *data, gsize bytes, const char *path, GError **error)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t n = write(fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return rv_error_set(error, RV_ERROR_IO, path, "free some space, or write to another place",
                                "cannot write: %s", g_strerror(n < 0 ? errno : ENOSPC));
        at += n;
        bytes -= (gsize)n;
    }
    return true;
}

static bool
write_tensor(int fd, const RvTensorSpec *spec, gsize index, void *piece, RvTensorFill fill, void *user,
             const char *path, GError **error)
{
    gint64 count = spec_count(spec);
    for (gint64 first = 0; first < count; first += RV_WRITE_PIECE) {
        gint64 n = MIN(count - first, RV_WRITE_PIECE);
        if (!fill(user, index, first, n, piece, error) ||
            !write_all(fd, piece, (gsize)n * rv_dtype_size(spec->dtype), path, error))
            return false;
    }
    return true;
}

static bool
write_file(int fd, const RvTensorSpec *tensors, gsize count, GHashTable *metadata, RvTensorFill fill,
           void *user, const char *path, GError **error)
{
    guint torn = rv_mapped_torn(); /* the numbers often come from another file that is mapped */
    g_autofree void *piece = g_malloc(RV_WRITE_PIECE * 8);
    g_autoptr(GString) json = make_header(tensors, count, metadata);
    guint64 length = GUINT64_TO_LE((guint64)json->len);
    if (!write_all(fd, &length, 8, path, error) || !write_all(fd, json->str, json->len, path, error))
        return false;
    for (gsize i = 0; i < count; i++)
        if (!write_tensor(fd, &tensors[i], i, piece, fill, user, path, error))
            return false;
    if (!rv_mapped_check(torn, error))
        return false;
    if (fsync(fd) != 0)
        return rv_error_set(error, RV_ERROR_IO, path, "free some space, or write to another place",
                            "cannot write: %s", g_strerror(errno));
    return true;
}

bool
rv_safetensors_write(const char *path, const RvTensorSpec *tensors, gsize count, GHashTable *metadata,
                     RvTensorFill fill, void *user, GError **error)
{
    g_autofree char *temporary = g_strconcat(path, ".XXXXXX", NULL);
    int fd = g_mkstemp_full(temporary, O_WRONLY | O_CLOEXEC, 0666);
    if (fd < 0)
        return rv_error_set(error, RV_ERROR_IO, path, "check that the folder exists and may be written",
                            "cannot create: %s", g_strerror(errno));
    bool ok = write_file(fd, tensors, count, metadata, fill, user, path, error);
    if (close(fd) != 0 && ok)
        ok = rv_error_set(error, RV_ERROR_IO, path, "free some space", "cannot write: %s", g_strerror(errno));
    if (ok && g_rename(temporary, path) != 0)
        ok = rv_error_set(error, RV_ERROR_IO, path, "check that the folder may be written",
                          "cannot rename: %s", g_strerror(errno));
    if (!ok)
        g_unlink(temporary);
    return ok;
}
