#include "kernels.h"
#include "values.cuh"

#define THREADS 256

static __global__ void
probe(void)
{
}

extern "C" cudaError_t
cuda_kernels_probe(void)
{
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, (const void *)probe);
}

/* Writes are in order; reads of a permuted row are `taps` elements apart and meet in the caches. */
static __global__ void
pack(const void *from, int from_type, void *to, int to_type, int64_t count, int64_t row, int taps)
{
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < count;
         i += gridDim.x * (int64_t)THREADS) {
        int64_t source = i;
        if (taps > 1) {
            int64_t start = i / row * row, at = i - start, channels = row / taps;
            source = start + at % channels * taps + at / channels;
        }
        store_value(to, to_type, i, load_value(from, from_type, source));
    }
}

extern "C" void
cuda_kernel_pack(const void *from, int from_type, void *to, int to_type, int64_t count, int64_t row, int taps,
                 cudaStream_t stream)
{
    if (count <= 0)
        return;
    int64_t blocks = (count + THREADS - 1) / THREADS;
    pack<<<(unsigned)(blocks < 8192 ? blocks : 8192), THREADS, 0, stream>>>(from, from_type, to, to_type,
                                                                            count, row, taps);
}
