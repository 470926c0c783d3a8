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

/* Taps of the 3x3 window that meet in a row or column of the 4x4 one: from x[i], output 2i - 1 gets tap 2, 2i
 * gets 1 and 2, 2i + 1 gets 0 and 1, 2i + 2 gets tap 0. */
static __device__ __forceinline__ void
taps_of(int at, int &first, int &last)
{
    first = at == 0 ? 2 : at == 1 ? 1 : 0;
    last = at == 0 ? 2 : at == 1 ? 2 : at == 2 ? 1 : 0;
}

static __global__ void
pack_spread(const void *from, int from_type, void *to, int to_type, CudaSpread s)
{
    int64_t all = (int64_t)s.count * s.channels * 16;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < all;
         i += gridDim.x * (int64_t)THREADS) {
        int output = (int)(i % s.count), tap = (int)(i / s.count % 16), channel = (int)(i / s.count / 16);
        int top, bottom, left, right;
        taps_of(tap / 4, top, bottom);
        taps_of(tap % 4, left, right);
        float sum = 0.0f;
        for (int y = top; y <= bottom; y++)
            for (int x = left; x <= right; x++)
                sum += load_value(from, from_type, ((int64_t)output * s.channels + channel) * 9 + y * 3 + x);
        output += s.first;
        int64_t at = s.inputs_last ? ((int64_t)output * 16 + tap) * s.channels + channel
                                   : ((int64_t)channel * 16 + tap) * s.outputs + output;
        store_value(to, to_type, at, sum);
    }
}

extern "C" void
cuda_kernel_pack_spread(const void *from, int from_type, void *to, int to_type, CudaSpread spread,
                        cudaStream_t stream)
{
    if (spread.count <= 0)
        return;
    int64_t blocks = ((int64_t)spread.count * spread.channels * 16 + THREADS - 1) / THREADS;
    pack_spread<<<(unsigned)(blocks < 8192 ? blocks : 8192), THREADS, 0, stream>>>(from, from_type, to,
                                                                                   to_type, spread);
}
