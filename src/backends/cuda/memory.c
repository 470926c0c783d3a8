#include "backends/cuda/range.h"

bool
cuda_bind(CudaDevice *device, GError **error)
{
    return cuda_check(cudaSetDevice(device->index), device->name, error);
}

void
cuda_set_out_of_memory(CudaDevice *device, gsize bytes, const char *what, GError **error)
{
    size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    rv_error_set(error, RV_ERROR_NO_MEMORY, device->name, "use a smaller size or batch, or free memory",
                 "out of memory: %.1f MB%s are needed, %.1f of %.1f MB are free", (double)bytes / 1e6, what,
                 (double)available / 1e6, (double)total / 1e6);
}

void *
cuda_alloc(CudaDevice *device, gsize bytes, GError **error)
{
    void *memory = NULL;
    if (!cuda_bind(device, error))
        return NULL;
    cudaError_t status = cudaMalloc(&memory, MAX(bytes, 256));
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        cuda_set_out_of_memory(device, bytes, " more", error);
        return NULL;
    }
    return cuda_check(status, device->name, error) ? memory : NULL;
}

void
cuda_free(CudaDevice *device, void *memory)
{
    if (memory != NULL && cudaSetDevice(device->index) == cudaSuccess)
        cudaFree(memory);
}

struct CudaArena {
    CudaDevice *device;
    guint64 base;
    gsize reserved, mapped;
    GArray *blocks; /* CudaBlock, in the order of their addresses */
};

CudaArena *
cuda_arena_new(CudaDevice *device, GError **error)
{
    size_t available = 0, total = 0;
    CudaArena *arena = g_new0(CudaArena, 1);
    arena->device = device;
    arena->blocks = g_array_new(FALSE, FALSE, sizeof(CudaBlock));
    if (cuda_check(cudaMemGetInfo(&available, &total), device->name, error)) {
        arena->reserved = cuda_ranges_round(device->ranges, total);
        arena->base = cuda_ranges_reserve(device->ranges, arena->reserved, error);
    }
    if (arena->base != 0)
        return arena;
    cuda_arena_free(arena);
    return NULL;
}

bool
cuda_arena_trim(CudaArena *arena, GError **error)
{
    CudaDevice *device = arena->device;
    if (!cuda_bind(device, error) ||
        !cuda_check(cudaStreamSynchronize(device->upload_stream), device->name, error) ||
        !cuda_check(cudaStreamSynchronize(device->stream), device->name, error) ||
        !cuda_check(cudaStreamSynchronize(device->download_stream), device->name, error))
        return false;
    while (arena->blocks->len > 0) {
        CudaBlock *last = &g_array_index(arena->blocks, CudaBlock, arena->blocks->len - 1);
        gsize bytes = last->bytes;
        if (!cuda_ranges_unmap(device->ranges, arena->base + arena->mapped - bytes, last, error))
            return false;
        arena->mapped -= bytes;
        g_array_set_size(arena->blocks, arena->blocks->len - 1);
    }
    return true;
}

void
cuda_arena_free(CudaArena *arena)
{
    if (arena == NULL)
        return;
    CudaRanges *ranges = arena->device->ranges;
    guint64 at = arena->base;
    for (guint i = 0; i < arena->blocks->len; i++) {
        CudaBlock *block = &g_array_index(arena->blocks, CudaBlock, i);
        gsize bytes = block->bytes;
        cuda_ranges_unmap(ranges, at, block, NULL);
        at += bytes;
    }
    cuda_ranges_unreserve(ranges, arena->base, arena->reserved);
    g_array_free(arena->blocks, TRUE);
    g_free(arena);
}

void *
cuda_arena_grow(CudaArena *arena, gsize bytes, GError **error)
{
    CudaDevice *device = arena->device;
    gsize rounded = cuda_ranges_round(device->ranges, bytes);
    CudaBlock block;
    if (rounded > arena->reserved) {
        cuda_set_out_of_memory(device, rounded, " of scratch memory", error);
        return NULL;
    }
    if (rounded > arena->mapped) {
        if (!cuda_ranges_map(device->ranges, arena->base + arena->mapped, rounded - arena->mapped,
                             " more of scratch memory", &block, error))
            return NULL;
        g_array_append_val(arena->blocks, block);
        arena->mapped += block.bytes;
    }
    return (void *)(gsize)arena->base;
}
