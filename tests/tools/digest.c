#include "digest.h"
#include "weights/safetensors.h"
#include <string.h>

static int
by_name(gconstpointer a, gconstpointer b)
{
    const RvFileTensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static void
add_tensor(GChecksum *sum, const RvFileTensor *tensor)
{
    g_autoptr(GString) line = g_string_new(NULL);
    g_string_printf(line, "%s %s ", tensor->name, tensor->dtype_name);
    for (int i = 0; i < tensor->array.rank; i++)
        g_string_append_printf(line, "%s%" G_GINT64_FORMAT, i ? "x" : "", tensor->array.shape[i]);
    g_string_append_c(line, '\n');
    g_checksum_update(sum, (const guchar *)line->str, (gssize)line->len);
    g_checksum_update(sum, tensor->array.data, (gssize)tensor->bytes);
}

char *
digest_of_file(const char *path, GError **error)
{
    gsize count;
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, error);
    if (!file)
        return NULL;
    const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
    g_autoptr(GPtrArray) sorted = g_ptr_array_new();
    for (gsize i = 0; i < count; i++)
        g_ptr_array_add(sorted, (gpointer)(guintptr)&tensors[i]);
    g_ptr_array_sort(sorted, by_name);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    for (guint i = 0; i < sorted->len; i++)
        add_tensor(sum, sorted->pdata[i]);
    return g_strdup(g_checksum_get_string(sum));
}
