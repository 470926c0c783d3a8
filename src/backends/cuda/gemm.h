/* gemm.h - products of activations and weights by cuBLASLt, float32 accumulation: out = act(x w^T + bias +
 * add) for x [rows, in] and w [out, in], the algorithm timed on this GPU once for each shape. */
#pragma once
#include "backends/cuda/internal.h"
#include "backends/cuda/matrix.h"

typedef struct CudaGemm CudaGemm;

/* `shape` is a convolution of kernel 1 without addresses. *gemm is NULL when the library has nothing for it,
 * which is no error. What the library's epilogue lacks is done by a pass of its own. */
bool cuda_gemm_new(CudaGemm **gemm, CudaDevice *device, const CudaConv *shape, GError **error);
void cuda_gemm_free(CudaGemm *gemm); /* accepts NULL */
/* Whether the addresses suit it (16-byte alignment). */
bool cuda_gemm_takes(const CudaConv *conv);
/* Of the product when it was tuned; on a device with fp8 always known, else perhaps 0. */
double cuda_gemm_microseconds(const CudaGemm *gemm);
bool cuda_gemm_run(const CudaGemm *gemm, CudaDevice *device, const CudaConv *conv, cudaStream_t stream,
                   GError **error);

/* A plain product of row-major matrices: out [rows, columns] = a [rows, depth] b, where b is [columns, depth]
 * (transposed) or [depth, columns]; strides in elements from row to row. Tuned like the above. */
typedef struct {
    int rows, columns, depth;
    int a_stride, b_stride, out_stride;
    bool transposed; /* b is [columns, depth] */
    RvDType in, out;
    int f8; /* with in E4M3 (transposed, out F16): CudaConv.f8 */
} CudaProduct;

bool cuda_product_new(CudaGemm **gemm, CudaDevice *device, const CudaProduct *product, GError **error);
bool cuda_product_run(const CudaGemm *gemm, CudaDevice *device, const void *a, const void *b, void *out,
                      cudaStream_t stream, GError **error);
