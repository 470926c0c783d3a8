/* range.h - device memory at addresses that are reserved apart from it, by the driver's virtual memory calls:
 * it comes and goes under plans that were made for the addresses. */
#pragma once
#include "backends/cuda/internal.h"

/* Bytes that are mapped together. 0 bytes: none are. */
typedef struct {
    guint64 handle;
    gsize bytes;
} CudaBlock;

/* The driver's calls, and what the device's memory is like. */
CudaRanges *cuda_ranges_new(CudaDevice *device, GError **error);
void cuda_ranges_free(CudaRanges *ranges); /* accepts NULL */

/* `bytes` as memory is mapped: whole pages of the device. */
gsize cuda_ranges_round(const CudaRanges *ranges, gsize bytes);
/* Addresses without memory, `bytes` rounded as above; 0 and an error when there are none. */
guint64 cuda_ranges_reserve(CudaRanges *ranges, gsize bytes, GError **error);
void cuda_ranges_unreserve(CudaRanges *ranges, guint64 base, gsize bytes);

/* Memory at reserved addresses. RV_ERROR_NO_MEMORY says `what` needs it and what is free. */
bool cuda_ranges_map(CudaRanges *ranges, guint64 at, gsize bytes, const char *what, CudaBlock *block,
                     GError **error);
/* The device has finished with it. Clears the block; one of 0 bytes is left alone. */
bool cuda_ranges_unmap(CudaRanges *ranges, guint64 at, CudaBlock *block, GError **error);
