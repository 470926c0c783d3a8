/* Tensor maps for the copy engine: a function of the driver, found at run time. */
#include <cudaTypedefs.h>

#include "backends/cuda/hopper.cuh"

static bool
encode(CUtensorMap *map, int dtype, CUtensorMapSwizzle swizzle, const void *address, const uint64_t *dims,
       const uint64_t *strides, const uint32_t *box)
{
    static PFN_cuTensorMapEncodeTiled_v12000 function;
    cudaDriverEntryPointQueryResult found;
    if (function == nullptr &&
        cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", (void **)&function, 12000,
                                         cudaEnableDefault, &found) != cudaSuccess)
        return false;
    cuuint64_t map_dims[4], map_strides[3];
    cuuint32_t steps[4] = { 1, 1, 1, 1 };
    for (int i = 0; i < 4; i++)
        map_dims[i] = dims[i];
    for (int i = 0; i < 3; i++)
        map_strides[i] = strides[i];
    CUtensorMapDataType type =
        dtype == DTYPE_F16       ? CU_TENSOR_MAP_DATA_TYPE_FLOAT16
        : dtype == DTYPE_F8_E4M3 ? CU_TENSOR_MAP_DATA_TYPE_UINT8
                                 : CU_TENSOR_MAP_DATA_TYPE_BFLOAT16;
    return function != nullptr &&
           function(map, type, 4, (void *)address, map_dims, map_strides, box, steps,
                    CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

bool
cuda_encode_tensor(CUtensorMap *map, int dtype, const void *address, const uint64_t *dims,
                   const uint64_t *strides, const uint32_t *box)
{
    return encode(map, dtype, CU_TENSOR_MAP_SWIZZLE_128B, address, dims, strides, box);
}

bool
cuda_encode_plain(CUtensorMap *map, int dtype, const void *address, const uint64_t *dims,
                  const uint64_t *strides, const uint32_t *box)
{
    return encode(map, dtype, CU_TENSOR_MAP_SWIZZLE_NONE, address, dims, strides, box);
}
