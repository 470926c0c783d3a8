#include "weights/safetensors.h"
#include "base/error.h"
#include "weights/header.h"
#include "weights/mapped.h"
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct RvSafetensors {
    char *path;
    char *map;
    gsize size;
    RvHeader header;
};

/* Files in other formats that people try: say what they are. A safetensors header's first byte, '{',
 * is looked at first, since a length can look like any magic number. `map` has 10 bytes at least. */
static bool
refuse_other_format(const char *map, const char *path, GError **error)
{
    if (map[8] == '{')
        return true;
    if (!memcmp(map, "PK\3\4", 4) || ((guchar)map[0] == 0x80 && map[1] >= 2 && map[1] <= 5))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path,
                            "convert it to .safetensors, or download the .safetensors of the same model",
                            "a pickle checkpoint (.ckpt, .pt, .bin) can run any code when read");
    if (!memcmp(map, "GGUF", 4))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "download the .safetensors of the same model",
                            "GGUF files are not supported");
    if (!memcmp(map, "version", 7))
        return rv_error_set(error, RV_ERROR_INVALID, path, "run git lfs pull, or download the file itself",
                            "this is a Git LFS pointer, not the weights");
    return true;
}

static bool
parse(RvSafetensors *file, GError **error)
{
    guint64 length;
    if (!refuse_other_format(file->map, file->path, error))
        return false;
    memcpy(&length, file->map, 8);
    length = GUINT64_FROM_LE(length);
    if (length > RV_HEADER_MAX_BYTES || length > file->size - 8)
        return rv_error_set(error, RV_ERROR_INVALID, file->path, "download or convert the file again",
                            "not a safetensors file, or cut short: a header of %" G_GUINT64_FORMAT " bytes",
                            length);
    const char *data = file->map + 8 + length;
    if (!rv_header_parse(&file->header, file->map + 8, length, file->size - 8 - length, file->path, error))
        return false;
    for (guint i = 0; i < file->header.tensors->len; i++)
        g_array_index(file->header.tensors, RvFileTensor, i).array.data =
            data + g_array_index(file->header.begins, guint64, i);
    return true;
}

static bool
map_file(RvSafetensors *file, GError **error)
{
    struct stat st;
    /* O_NONBLOCK: a FIFO in the place of a file must not block us. */
    int fd = g_open(file->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    if (fd < 0)
        return rv_error_set(error, rv_error_of_open(errno), file->path, "check the path", "cannot open: %s",
                            g_strerror(errno));
    bool ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    if (!ok)
        rv_error_set(error, RV_ERROR_INVALID, file->path, "give a .safetensors file", "not a regular file");
    else if (!(ok = st.st_size >= 10))
        rv_error_set(error, RV_ERROR_INVALID, file->path, "download the file again",
                     "not a safetensors file: %d bytes", (int)st.st_size);
    if (ok) {
        void *map = mmap(NULL, (gsize)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED) {
            ok = rv_error_set(error, RV_ERROR_IO, file->path, "check free address space", "cannot map: %s",
                              g_strerror(errno));
        } else {
            file->map = map;
            file->size = (gsize)st.st_size;
            rv_mapped_guard(map, file->size, file->path);
        }
    }
    close(fd);
    return ok;
}

RvSafetensors *
rv_safetensors_open(const char *path, GError **error)
{
    g_autoptr(RvSafetensors) file = g_new0(RvSafetensors, 1);
    file->path = g_strdup(path);
    if (!map_file(file, error) || !parse(file, error))
        return NULL;
    return g_steal_pointer(&file);
}

void
rv_safetensors_close(RvSafetensors *file)
{
    if (!file)
        return;
    rv_header_clear(&file->header);
    if (file->map) {
        rv_mapped_release(file->map);
        munmap(file->map, file->size);
    }
    g_free(file->path);
    g_free(file);
}

const char *
rv_safetensors_path(const RvSafetensors *file)
{
    return file->path;
}

gsize
rv_safetensors_size(const RvSafetensors *file)
{
    return file->size;
}

const RvFileTensor *
rv_safetensors_tensors(const RvSafetensors *file, gsize *count)
{
    *count = file->header.tensors->len;
    return (const RvFileTensor *)(void *)file->header.tensors->data;
}

const RvFileTensor *
rv_safetensors_find(const RvSafetensors *file, const char *name)
{
    gsize index = GPOINTER_TO_SIZE(g_hash_table_lookup(file->header.by_name, name));
    return index ? &g_array_index(file->header.tensors, RvFileTensor, index - 1) : NULL;
}

const RvArray *
rv_safetensors_get(const RvSafetensors *file, const char *name)
{
    const RvFileTensor *tensor = rv_safetensors_find(file, name);
    return tensor && tensor->readable ? &tensor->array : NULL;
}

const char *
rv_safetensors_metadata(const RvSafetensors *file, const char *key)
{
    return g_hash_table_lookup(file->header.metadata, key);
}

GHashTable *
rv_safetensors_metadata_table(const RvSafetensors *file)
{
    return file->header.metadata;
}

bool
rv_safetensors_contains(const RvSafetensors *file, const void *data, gsize bytes)
{
    guintptr base = (guintptr)file->map, first = (guintptr)data;
    return first >= base && first - base <= file->size && bytes <= file->size - (first - base);
}

void
rv_safetensors_advise(const RvSafetensors *file, const void *data, gsize bytes, RvAdvice advice)
{
    guintptr page = (guintptr)sysconf(_SC_PAGESIZE), base = (guintptr)file->map;
    guintptr first = (guintptr)data, last = first + bytes;
    g_assert(rv_safetensors_contains(file, data, bytes));
    if (advice == RV_ADVISE_DONTNEED) {
        first = (first + page - 1) / page * page;
        last = last / page * page;
    } else {
        first = first / page * page;
    }
    if (first < last)
        madvise(file->map + (first - base), last - first,
                advice == RV_ADVISE_DONTNEED ? MADV_DONTNEED : MADV_WILLNEED);
}
