/* chunk.c - weights that can leave the device and come back to their addresses: their memory is mapped, and
 * what was kept of them is pinned memory of the host. */
#include <sys/mman.h>

#include "backends/cuda/range.h"

#define PAGE_BYTES ((gsize)2 << 20)

struct CudaChunk {
    guint64 base;
    gsize bytes; /* asked for */
    CudaBlock block;
    guint8 *copy;             /* pinned; NULL: nothing is kept */
    gsize copied, registered; /* registered: of copy; 0: the driver made it */
};

static CudaChunk *
find_chunk(CudaDevice *device, const void *memory)
{
    CudaChunk *chunk = g_hash_table_lookup(device->chunks, memory);
    g_assert(chunk != NULL);
    return chunk;
}

static void
drop_copy(CudaChunk *chunk)
{
    if (chunk->registered > 0) {
        cudaHostUnregister(chunk->copy);
        munmap(chunk->copy, chunk->registered);
    } else if (chunk->copy != NULL) {
        cudaFreeHost(chunk->copy);
    }
    chunk->copy = NULL;
    chunk->copied = chunk->registered = 0;
}

/* Memory that has its pages is pinned 20 times as fast as the driver makes it, and the driver keeps every
 * other call of the process waiting meanwhile. */
static bool
register_copy(CudaChunk *chunk, gsize bytes)
{
    gsize rounded = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    guint8 *memory = mmap(NULL, rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    madvise(memory, rounded, MADV_HUGEPAGE);
    for (gsize i = 0; i < rounded; i += 4096)
        ((volatile guint8 *)memory)[i] = 0;
    if (cudaHostRegister(memory, rounded, cudaHostRegisterDefault) != cudaSuccess) {
        cudaGetLastError();
        munmap(memory, rounded);
        return false;
    }
    chunk->copy = memory;
    chunk->registered = rounded;
    return true;
}

/* chunk->copy stays NULL where there is no memory for it. Not every driver pins memory that it did not make.
 */
static bool
make_copy(CudaChunk *chunk, gsize bytes, GError **error)
{
    if (register_copy(chunk, bytes))
        return true;
    cudaError_t status = cudaHostAlloc((void **)&chunk->copy, bytes, cudaHostAllocDefault);
    if (status == cudaSuccess)
        return true;
    chunk->copy = NULL;
    if (status != cudaErrorMemoryAllocation)
        return cuda_check(status, "pinned memory on the host", error);
    cudaGetLastError();
    return true;
}

void *
cuda_chunk_new(CudaDevice *device, gsize bytes, GError **error)
{
    if (!cuda_bind(device, error))
        return NULL;
    CudaChunk *chunk = g_new0(CudaChunk, 1);
    chunk->bytes = bytes;
    chunk->base = cuda_ranges_reserve(device->ranges, bytes, error);
    if (chunk->base == 0 ||
        !cuda_ranges_map(device->ranges, chunk->base, bytes, " more for weights", &chunk->block, error)) {
        cuda_ranges_unreserve(device->ranges, chunk->base, bytes);
        g_free(chunk);
        return NULL;
    }
    void *memory = (void *)(gsize)chunk->base;
    g_hash_table_insert(device->chunks, memory, chunk);
    return memory;
}

/* Nothing reads or writes weights any more; not of a device that is lost either. */
static bool
wait_for_all(CudaDevice *device, GError **error)
{
    return cuda_bind(device, error) &&
           cuda_check(cudaStreamSynchronize(device->upload_stream), device->name, error) &&
           cuda_check(cudaStreamSynchronize(device->stream), device->name, error) &&
           cuda_check(cudaStreamSynchronize(device->download_stream), device->name, error);
}

void
cuda_chunk_free(CudaDevice *device, void *memory)
{
    if (memory == NULL)
        return;
    CudaChunk *chunk = find_chunk(device, memory);
    wait_for_all(device, NULL);
    cuda_ranges_unmap(device->ranges, chunk->base, &chunk->block, NULL);
    cuda_ranges_unreserve(device->ranges, chunk->base, chunk->bytes);
    drop_copy(chunk);
    cudaGetLastError();
    g_hash_table_remove(device->chunks, memory);
    g_free(chunk);
}

/* A host that has no memory to pin is no error: the weights are packed anew then. */
bool
cuda_chunk_keep(CudaDevice *device, void *memory, gsize used, bool *is_kept, GError **error)
{
    CudaChunk *chunk = find_chunk(device, memory);
    *is_kept = false;
    if (!wait_for_all(device, error))
        return false;
    if (chunk->copied != used)
        drop_copy(chunk);
    if (used == 0)
        return true;
    if (chunk->copy == NULL && !make_copy(chunk, used, error))
        return false;
    if (chunk->copy == NULL)
        return true;
    chunk->copied = used;
    *is_kept = cuda_check(cudaMemcpyAsync(chunk->copy, memory, used, cudaMemcpyDeviceToHost, device->stream),
                          device->name, error) &&
               cuda_check(cudaStreamSynchronize(device->stream), device->name, error);
    return *is_kept;
}

bool
cuda_chunk_suspend(CudaDevice *device, void *memory, GError **error)
{
    CudaChunk *chunk = find_chunk(device, memory);
    return wait_for_all(device, error) &&
           cuda_ranges_unmap(device->ranges, chunk->base, &chunk->block, error);
}

/* What is enqueued on `stream` from now on finds the weights there. */
bool
cuda_chunk_resume(CudaDevice *device, void *memory, GError **error)
{
    CudaChunk *chunk = find_chunk(device, memory);
    if (!cuda_bind(device, error) || !cuda_ranges_map(device->ranges, chunk->base, chunk->bytes,
                                                      " more for weights", &chunk->block, error))
        return false;
    if (chunk->copy == NULL || cuda_check(cudaMemcpyAsync(memory, chunk->copy, chunk->copied,
                                                          cudaMemcpyHostToDevice, device->stream),
                                          device->name, error))
        return true;
    cudaStreamSynchronize(device->stream);
    cuda_ranges_unmap(device->ranges, chunk->base, &chunk->block, NULL);
    return false;
}
