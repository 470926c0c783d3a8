#include <cuda.h>
#include <cudaTypedefs.h>

#include "backends/cuda/internal.h"

bool
cuda_bind(CudaDevice *device, GError **error)
{
    return cuda_check(cudaSetDevice(device->index), device->name, error);
}

static void
set_out_of_memory(CudaDevice *device, gsize bytes, const char *what, GError **error)
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
        set_out_of_memory(device, bytes, " more", error);
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

/* The driver's virtual memory calls; the library that has them is there only with a driver. */
typedef struct {
    PFN_cuMemAddressReserve_v10020 reserve;
    PFN_cuMemAddressFree_v10020 free_range;
    PFN_cuMemCreate_v10020 create;
    PFN_cuMemRelease_v10020 release;
    PFN_cuMemMap_v10020 map;
    PFN_cuMemUnmap_v10020 unmap;
    PFN_cuMemSetAccess_v10020 set_access;
    PFN_cuMemGetAllocationGranularity_v10020 granularity;
} DriverCalls;

typedef struct {
    CUmemGenericAllocationHandle handle;
    gsize bytes;
} Block;

struct CudaArena {
    CudaDevice *device;
    DriverCalls driver;
    CUmemAllocationProp properties;
    CUdeviceptr base;
    gsize reserved, mapped, granularity;
    GArray *blocks; /* Block, in the order of their addresses */
};

static bool
find_call(const char *name, void *call, GError **error)
{
    enum cudaDriverEntryPointQueryResult found;
    cudaError_t status = cudaGetDriverEntryPointByVersion(name, call, 12000, cudaEnableDefault, &found);
    if (!cuda_check(status, name, error))
        return false;
    return found == cudaDriverEntryPointSuccess ||
           rv_error_set(error, RV_ERROR_DEVICE, "cuda", "install a newer NVIDIA driver",
                        "the driver has no %s", name);
}

static bool
find_calls(DriverCalls *driver, GError **error)
{
    return find_call("cuMemAddressReserve", &driver->reserve, error) &&
           find_call("cuMemAddressFree", &driver->free_range, error) &&
           find_call("cuMemCreate", &driver->create, error) &&
           find_call("cuMemRelease", &driver->release, error) && find_call("cuMemMap", &driver->map, error) &&
           find_call("cuMemUnmap", &driver->unmap, error) &&
           find_call("cuMemSetAccess", &driver->set_access, error) &&
           find_call("cuMemGetAllocationGranularity", &driver->granularity, error);
}

static bool
reserve_range(CudaArena *arena, GError **error)
{
    size_t available = 0, total = 0, granularity = 0;
    if (!cuda_check(cudaMemGetInfo(&available, &total), arena->device->name, error))
        return false;
    CUresult status =
        arena->driver.granularity(&granularity, &arena->properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    if (status == CUDA_SUCCESS) {
        arena->granularity = granularity;
        arena->reserved = (total + granularity - 1) / granularity * granularity;
        status = arena->driver.reserve(&arena->base, arena->reserved, 0, 0, 0);
    }
    return status == CUDA_SUCCESS ||
           rv_error_set(error, RV_ERROR_DEVICE, arena->device->name, NULL,
                        "cannot reserve addresses for scratch memory (driver error %d)", (int)status);
}

CudaArena *
cuda_arena_new(CudaDevice *device, GError **error)
{
    CudaArena *arena = g_new0(CudaArena, 1);
    arena->device = device;
    arena->blocks = g_array_new(FALSE, FALSE, sizeof(Block));
    arena->properties = (CUmemAllocationProp) {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->index },
    };
    if (find_calls(&arena->driver, error) && reserve_range(arena, error))
        return arena;
    cuda_arena_free(arena);
    return NULL;
}

void
cuda_arena_free(CudaArena *arena)
{
    if (arena == NULL)
        return;
    CUdeviceptr at = arena->base;
    for (guint i = 0; i < arena->blocks->len; i++) {
        const Block *block = &g_array_index(arena->blocks, Block, i);
        arena->driver.unmap(at, block->bytes);
        arena->driver.release(block->handle);
        at += block->bytes;
    }
    if (arena->base != 0)
        arena->driver.free_range(arena->base, arena->reserved);
    g_array_free(arena->blocks, TRUE);
    g_free(arena);
}

/* Maps `bytes` more at the end of what is mapped. */
static bool
append_block(CudaArena *arena, gsize bytes)
{
    Block block = { .bytes = bytes };
    CUdeviceptr end = arena->base + arena->mapped;
    CUmemAccessDesc access = { .location = arena->properties.location,
                               .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    if (arena->mapped + bytes > arena->reserved ||
        arena->driver.create(&block.handle, bytes, &arena->properties, 0) != CUDA_SUCCESS)
        return false;
    if (arena->driver.map(end, bytes, 0, block.handle, 0) != CUDA_SUCCESS) {
        arena->driver.release(block.handle);
        return false;
    }
    if (arena->driver.set_access(end, bytes, &access, 1) != CUDA_SUCCESS) {
        arena->driver.unmap(end, bytes);
        arena->driver.release(block.handle);
        return false;
    }
    g_array_append_val(arena->blocks, block);
    arena->mapped += bytes;
    return true;
}

void *
cuda_arena_grow(CudaArena *arena, gsize bytes, GError **error)
{
    gsize rounded = (MAX(bytes, 1) + arena->granularity - 1) / arena->granularity * arena->granularity;
    if (rounded > arena->mapped && !append_block(arena, rounded - arena->mapped)) {
        set_out_of_memory(arena->device, rounded - arena->mapped, " more of scratch memory", error);
        return NULL;
    }
    return (void *)(gsize)arena->base;
}
