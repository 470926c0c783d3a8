/* safetensors.h - read and write the safetensors format: 8 bytes of header length (little endian),
 * a JSON header naming each tensor's type, shape and byte range, then the numbers, row-major.
 *
 * Reading maps the file (private, read-only) and checks all of the header before anything is handed out:
 * names unique, shape times type equal to the range, ranges side by side from the first byte to the
 * last as the format asks (no holes, no overlap). Nothing in a file can make us allocate more than a
 * small multiple of the header that is really there; the header is at most 100 MB, as in the public reader.
 *
 * Replace model files by renaming, never by writing into them: a file that somebody cuts short while it is
 * open reads as zeros from there on (mapped.h says how to know).
 *
 * Threads: an open file may be read from any number of threads. */
#pragma once
#include "base/array.h"
#include <glib.h>
#include <stdbool.h>

typedef struct RvSafetensors RvSafetensors;

/* One tensor; it and everything in it lives as long as the file is open. */
typedef struct {
    const char *name;
    const char *dtype_name; /* as the file spells it */
    bool readable;          /* false: a type or rank that we do not read; then `array` means nothing */
    RvArray array; /* the data is aligned to the element only if the file's header length allows it */
    gsize bytes;
} RvFileTensor;

RvSafetensors *rv_safetensors_open(const char *path, GError **error);
void rv_safetensors_close(RvSafetensors *file); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvSafetensors, rv_safetensors_close)

const char *rv_safetensors_path(const RvSafetensors *file);
gsize rv_safetensors_size(const RvSafetensors *file);                                /* bytes on disk */
const RvFileTensor *rv_safetensors_tensors(const RvSafetensors *file, gsize *count); /* in the file's order */

/* NULL when there is no such tensor, or when we do not read its type (see rv_safetensors_find). */
const RvArray *rv_safetensors_get(const RvSafetensors *file, const char *name);
const RvFileTensor *rv_safetensors_find(const RvSafetensors *file, const char *name);

/* A string of the header's __metadata__, or NULL. The table is string to string; never NULL. */
const char *rv_safetensors_metadata(const RvSafetensors *file, const char *key);
GHashTable *rv_safetensors_metadata_table(const RvSafetensors *file);

/* Tells the kernel about a range inside the mapping: that it is needed soon, or (once its numbers were
 * copied elsewhere) that its pages may go. The range must lie inside the file (rv_safetensors_contains);
 * only whole pages inside the range are dropped. Reading a dropped range again reads the disk again. */
typedef enum { RV_ADVISE_WILLNEED, RV_ADVISE_DONTNEED } RvAdvice;
bool rv_safetensors_contains(const RvSafetensors *file, const void *data, gsize bytes);
void rv_safetensors_advise(const RvSafetensors *file, const void *data, gsize bytes, RvAdvice advice);

/* Writing. `fill` gives elements first .. first+count-1 of one tensor, of the type asked for; it is called
 * in ascending order with pieces of at most RV_WRITE_PIECE elements. */
#define RV_WRITE_PIECE (1 << 20)
typedef bool (*RvTensorFill)(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error);

typedef struct {
    const char *name;
    RvDType dtype;
    int rank;
    gint64 shape[RV_MAX_RANK];
} RvTensorSpec;

/* Writes under a temporary name in the same folder, syncs and renames: `path` is whole or untouched.
 * `metadata` is string to string, or NULL. Disk full is RV_ERROR_IO. */
bool rv_safetensors_write(const char *path, const RvTensorSpec *tensors, gsize count, GHashTable *metadata,
                          RvTensorFill fill, void *user, GError **error);
