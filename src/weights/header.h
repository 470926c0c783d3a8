/* header.h - private to this folder: the header of a safetensors file as plain data. */
#pragma once
#include "weights/safetensors.h"

#define RV_HEADER_MAX_BYTES 100000000
/* Ten times what the largest models have; bounds the time that names chosen to collide in a hash table can
 * cost. */
#define RV_HEADER_MAX_ENTRIES 32768

typedef struct {
    GArray *tensors;      /* of RvFileTensor; `array.data` holds NULL, see `begins` */
    GArray *begins;       /* of guint64: each tensor's first byte, counted from the end of the header */
    GHashTable *by_name;  /* name -> 1 + index */
    GHashTable *metadata; /* string -> string */
    GStringChunk *strings;
} RvHeader;

/* Parses `length` bytes of JSON and checks them against `data_bytes`, the bytes that follow.
 * `path` is for messages. */
bool rv_header_parse(RvHeader *header, const char *json, gsize length, guint64 data_bytes, const char *path,
                     GError **error);
void rv_header_clear(RvHeader *header);
