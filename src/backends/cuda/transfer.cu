/* Bytes between pinned memory of the host and the device by a kernel. The copy engine serves one queue until
 * it runs dry: while weights of gigabytes cross the link, a frame's bytes would wait for all of them. */
#include "kernels.h"

#define BLOCKS 16
#define THREADS 256
#define UNDER_WAY 4 /* reads of a thread: the link is long */

static __global__ void
__launch_bounds__(THREADS) transfer(uint4 *to, const uint4 *from, size_t count)
{
    constexpr size_t step = (size_t)BLOCKS * THREADS;
    for (size_t i = blockIdx.x * (size_t)THREADS + threadIdx.x; i < count; i += step * UNDER_WAY) {
        uint4 x[UNDER_WAY];
#pragma unroll
        for (int k = 0; k < UNDER_WAY; k++)
            if (i + k * step < count)
                x[k] = __ldcv(from + i + k * step);
#pragma unroll
        for (int k = 0; k < UNDER_WAY; k++)
            if (i + k * step < count)
                to[i + k * step] = x[k];
    }
}

extern "C" cudaError_t
cuda_kernel_transfer(void *to, const void *from, size_t bytes, cudaStream_t stream)
{
    transfer<<<BLOCKS, THREADS, 0, stream>>>((uint4 *)to, (const uint4 *)from, bytes / sizeof(uint4));
    return cudaGetLastError();
}
