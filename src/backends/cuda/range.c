#include "backends/cuda/range.h"

#include <cuda.h>
#include <cudaTypedefs.h>

/* The library that has these calls is there only with a driver. */
struct CudaRanges {
    CudaDevice *device;
    PFN_cuMemAddressReserve_v10020 reserve;
    PFN_cuMemAddressFree_v10020 free_range;
    PFN_cuMemCreate_v10020 create;
    PFN_cuMemRelease_v10020 release;
    PFN_cuMemMap_v10020 map;
    PFN_cuMemUnmap_v10020 unmap;
    PFN_cuMemSetAccess_v10020 set_access;
    PFN_cuMemGetAllocationGranularity_v10020 granularity;
    CUmemAllocationProp properties;
    gsize page;
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
find_calls(CudaRanges *r, GError **error)
{
    return find_call("cuMemAddressReserve", &r->reserve, error) &&
           find_call("cuMemAddressFree", &r->free_range, error) &&
           find_call("cuMemCreate", &r->create, error) && find_call("cuMemRelease", &r->release, error) &&
           find_call("cuMemMap", &r->map, error) && find_call("cuMemUnmap", &r->unmap, error) &&
           find_call("cuMemSetAccess", &r->set_access, error) &&
           find_call("cuMemGetAllocationGranularity", &r->granularity, error);
}

static bool
fail(const CudaRanges *r, const char *what, CUresult status, GError **error)
{
    return rv_error_set(error, RV_ERROR_DEVICE, r->device->name, NULL, "%s failed (driver error %d)", what,
                        (int)status);
}

CudaRanges *
cuda_ranges_new(CudaDevice *device, GError **error)
{
    CudaRanges *r = g_new0(CudaRanges, 1);
    size_t page = 0;
    r->device = device;
    r->properties = (CUmemAllocationProp) {
        .type = CU_MEM_ALLOCATION_TYPE_PINNED,
        .location = { .type = CU_MEM_LOCATION_TYPE_DEVICE, .id = device->index },
    };
    if (!find_calls(r, error)) {
        cuda_ranges_free(r);
        return NULL;
    }
    CUresult status = r->granularity(&page, &r->properties, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED);
    if (status != CUDA_SUCCESS) {
        fail(r, "asking for the size of pages", status, error);
        cuda_ranges_free(r);
        return NULL;
    }
    r->page = page;
    return r;
}

void
cuda_ranges_free(CudaRanges *ranges)
{
    g_free(ranges);
}

gsize
cuda_ranges_round(const CudaRanges *r, gsize bytes)
{
    return (MAX(bytes, 1) + r->page - 1) / r->page * r->page;
}

guint64
cuda_ranges_reserve(CudaRanges *r, gsize bytes, GError **error)
{
    CUdeviceptr base = 0;
    CUresult status = r->reserve(&base, cuda_ranges_round(r, bytes), 0, 0, 0);
    if (status == CUDA_SUCCESS)
        return base;
    fail(r, "reserving addresses", status, error);
    return 0;
}

void
cuda_ranges_unreserve(CudaRanges *r, guint64 base, gsize bytes)
{
    if (base != 0)
        r->free_range(base, cuda_ranges_round(r, bytes));
}

bool
cuda_ranges_map(CudaRanges *r, guint64 at, gsize bytes, const char *what, CudaBlock *block, GError **error)
{
    CUmemGenericAllocationHandle handle = 0;
    CUmemAccessDesc access = { .location = r->properties.location,
                               .flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE };
    gsize rounded = cuda_ranges_round(r, bytes);
    CUresult status = r->create(&handle, rounded, &r->properties, 0);
    if (status == CUDA_ERROR_OUT_OF_MEMORY) {
        cuda_set_out_of_memory(r->device, rounded, what, error);
        return false;
    }
    if (status != CUDA_SUCCESS)
        return fail(r, "allocating memory", status, error);
    status = r->map(at, rounded, 0, handle, 0);
    if (status != CUDA_SUCCESS) {
        r->release(handle);
        return fail(r, "mapping memory", status, error);
    }
    status = r->set_access(at, rounded, &access, 1);
    if (status != CUDA_SUCCESS) {
        r->unmap(at, rounded);
        r->release(handle);
        return fail(r, "opening memory to the device", status, error);
    }
    *block = (CudaBlock) { handle, rounded };
    return true;
}

bool
cuda_ranges_unmap(CudaRanges *r, guint64 at, CudaBlock *block, GError **error)
{
    if (block->bytes == 0)
        return true;
    CUresult status = r->unmap(at, block->bytes);
    if (status != CUDA_SUCCESS)
        return fail(r, "unmapping memory", status, error);
    status = r->release(block->handle);
    *block = (CudaBlock) { 0 };
    return status == CUDA_SUCCESS || fail(r, "freeing memory", status, error);
}
