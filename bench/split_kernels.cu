#include "split_kernels.h"

#define THREADS 512
#define LOOKS_BEFORE_FAILED 256
#define PATIENCE_NS 1000000000ull

__device__ static unsigned
load_acquire(const unsigned *flag)
{
    unsigned value;
    asm volatile("ld.acquire.sys.global.u32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}

__device__ static void
store_release(unsigned *flag, unsigned value)
{
    asm volatile("st.release.sys.global.u32 [%0], %1;" ::"l"(flag), "r"(value) : "memory");
}

__device__ static unsigned long long
nanoseconds()
{
    unsigned long long now;
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
    return now;
}

__device__ static void
wait_for(const unsigned *flag, unsigned run, volatile unsigned *failed)
{
    unsigned long long start = 0;
    for (unsigned looks = 0; (int)(load_acquire(flag) - run) < 0; looks++) {
        if (looks % LOOKS_BEFORE_FAILED != LOOKS_BEFORE_FAILED - 1)
            continue;
        if (start == 0)
            start = nanoseconds();
        if (*failed != 0)
            return;
        if (nanoseconds() - start > PATIENCE_NS)
            *failed = 1;
    }
}

__global__ static void __launch_bounds__(THREADS)
exchange_kernel(const SplitExchange e)
{
    const uint4 *from = (const uint4 *)e.from;
    uint4 *to = (uint4 *)e.to;
    size_t words = e.bytes / sizeof(uint4), step = (size_t)gridDim.x * THREADS;
    unsigned run = threadIdx.x == 0 ? *e.run : 0;
#pragma unroll 4
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < words; i += step)
        to[i] = from[i];
    __syncthreads();
    if (threadIdx.x == 0) {
        store_release(e.peer + blockIdx.x, run);
        wait_for(e.own + blockIdx.x, run, e.failed);
    }
}

__global__ static void
next_run_kernel(unsigned *run)
{
    ++*run;
}

__device__ static uint4
word_of(size_t index, int gpu)
{
    unsigned low = (unsigned)index * 2654435761u, high = (unsigned)(index >> 32);
    return make_uint4(low, low ^ 0x9e3779b9u, high + (unsigned)gpu, ~low);
}

__global__ static void
fill_kernel(uint4 *to, size_t words, int gpu)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < words; i += step)
        to[i] = word_of(i, gpu);
}

__global__ static void
compare_kernel(const uint4 *words, size_t count, int gpu, unsigned *wrong)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        uint4 is = words[i], should = word_of(i, gpu);
        if (is.x != should.x || is.y != should.y || is.z != should.z || is.w != should.w)
            atomicAdd(wrong, 1u);
    }
}

extern "C" cudaError_t
split_exchange(const SplitExchange *exchange, cudaStream_t stream)
{
    SplitExchange e = *exchange;
    e.bytes = (e.bytes + sizeof(uint4) - 1) / sizeof(uint4) * sizeof(uint4);
    size_t blocks = (e.bytes / sizeof(uint4) + THREADS - 1) / THREADS;
    blocks = blocks < 1 ? 1 : blocks > SPLIT_MOST_BLOCKS ? SPLIT_MOST_BLOCKS : blocks;
    exchange_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(e);
    return cudaGetLastError();
}

extern "C" cudaError_t
split_next_run(unsigned *run, cudaStream_t stream)
{
    next_run_kernel<<<1, 1, 0, stream>>>(run);
    return cudaGetLastError();
}

extern "C" cudaError_t
split_fill(void *to, size_t bytes, int gpu, cudaStream_t stream)
{
    fill_kernel<<<SPLIT_MOST_BLOCKS, THREADS, 0, stream>>>((uint4 *)to, bytes / sizeof(uint4), gpu);
    return cudaGetLastError();
}

extern "C" cudaError_t
split_compare(const void *words, size_t bytes, int gpu, unsigned *wrong, cudaStream_t stream)
{
    compare_kernel<<<SPLIT_MOST_BLOCKS, THREADS, 0, stream>>>((const uint4 *)words, bytes / sizeof(uint4), gpu,
                                                              wrong);
    return cudaGetLastError();
}
