/* f8.cu - numbers to E4M3 and back: packing weights, activations that no op before has rounded, and what
 * calibration looks at. Matrices are float16. */
#include "f8_kernels.h"
#include "launch.cuh"
#include "values.cuh"

#define THREADS 256
#define LARGEST 448.0f
#define V 8

static unsigned
blocks_for(long long items)
{
    long long blocks = (items + THREADS - 1) / THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks > 4096 ? 4096 : blocks);
}

static __device__ __forceinline__ float
largest_of(const float x[V])
{
    float largest = 0.0f;
#pragma unroll
    for (int i = 0; i < V; i++)
        largest = fmaxf(largest, fabsf(x[i]));
    return largest;
}

static __device__ __forceinline__ float
warp_largest(float x)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
    return x;
}

static __device__ __forceinline__ float
block_largest(float x)
{
    __shared__ float shared[THREADS / 32];
    x = warp_largest(x);
    if (threadIdx.x % 32 == 0)
        shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[threadIdx.x % (THREADS / 32)];
    return warp_largest(x);
}

/* Two vectors of an output pixel a thread. */
static __global__ void
__launch_bounds__(THREADS) gather(const CudaConv p, void *to, float factor)
{
    wait_for_inputs();
    int per_pixel = p.c / (2 * V);
    long long total = (long long)p.n * p.up_h * p.up_w * per_pixel;
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < total;
         i += (long long)gridDim.x * THREADS) {
        long long pixel = i / per_pixel, from = pixel;
        int channel = (int)(i - pixel * per_pixel) * 2 * V;
        if (p.up_h != p.h || p.up_w != p.w) {
            long long row = pixel / p.up_w;
            int x = (int)(pixel - row * p.up_w), image = (int)(row / p.up_h);
            int y = (int)(row - (long long)image * p.up_h);
            y = (int)((long long)y * p.h / p.up_h);
            x = (int)((long long)x * p.w / p.up_w);
            from = ((long long)image * p.h + y) * p.w + x;
        }
        float x[2 * V];
        uint2 halves[2];
        load_eight(p.x, F16, from * p.x_stride + channel, x);
        load_eight(p.x, F16, from * p.x_stride + channel + V, x + V);
        halves[0] = pack_f8(x, factor);
        halves[1] = pack_f8(x + V, factor);
        ((uint4 *)to)[i] = make_uint4(halves[0].x, halves[0].y, halves[1].x, halves[1].y);
    }
}

extern "C" cudaError_t
cuda_f8_gather(const CudaConv *conv, void *to, float factor, cudaStream_t stream)
{
    long long items = (long long)conv->n * conv->up_h * conv->up_w * (conv->c / (2 * V));
    launch_kernel(gather, dim3(blocks_for(items)), THREADS, 0, 1, stream, *conv, to, factor);
    return cudaGetLastError();
}

/* The scale of a row, or of all rows if `all` is given. */
static __device__ __forceinline__ float
scale_of(const __half *row, int length, const CudaF8Note *all)
{
    float x[V], largest = 0.0f;
    if (all != nullptr) {
        largest = __uint_as_float(all->largest);
    } else {
        for (int i = threadIdx.x * V; i < length; i += THREADS * V) {
            load_eight(row, F16, i, x);
            largest = fmaxf(largest, largest_of(x));
        }
        largest = block_largest(largest);
    }
    return largest > 0.0f ? largest / LARGEST : 1.0f;
}

/* A block for each row. */
static __global__ void
__launch_bounds__(THREADS)
    pack_rows(const __half *from, int length, void *to, float *scales, float x_scale, const CudaF8Note *all)
{
    const __half *row = from + (int64_t)blockIdx.x * length;
    float x[V], scale = scale_of(row, length, all);
    for (int i = threadIdx.x * V; i < length; i += THREADS * V) {
        load_eight(row, F16, i, x);
        *(uint2 *)((uint8_t *)to + (int64_t)blockIdx.x * length + i) = pack_f8(x, 1.0f / scale);
    }
    if (threadIdx.x == 0)
        scales[blockIdx.x] = scale * x_scale;
}

extern "C" cudaError_t
cuda_f8_pack_rows(const void *from, int rows, int length, void *to, float *scales, float x_scale,
                  const CudaF8Note *all, cudaStream_t stream)
{
    pack_rows<<<(unsigned)rows, THREADS, 0, stream>>>((const __half *)from, length, to, scales, x_scale, all);
    return cudaGetLastError();
}

static __device__ __forceinline__ void
round_eight(float x[V], float scale)
{
    uint2 bits = pack_f8(x, 1.0f / scale);
#pragma unroll
    for (int i = 0; i < V; i++) {
        __nv_fp8_e4m3 number;
        number.__x = (uint8_t)((i < 4 ? bits.x : bits.y) >> (8 * (i % 4)));
        x[i] = (float)number * scale;
    }
}

static __global__ void
__launch_bounds__(THREADS) round_rows(const __half *from, int length, __half *to, const CudaF8Note *all)
{
    const __half *row = from + (int64_t)blockIdx.x * length;
    float x[V], scale = scale_of(row, length, all);
    for (int i = threadIdx.x * V; i < length; i += THREADS * V) {
        load_eight(row, F16, i, x);
        round_eight(x, scale);
        store_eight(to, F16, (int64_t)blockIdx.x * length + i, x);
    }
}

extern "C" cudaError_t
cuda_f8_round_rows(const void *from, int rows, int length, void *to, const CudaF8Note *all,
                   cudaStream_t stream)
{
    round_rows<<<(unsigned)rows, THREADS, 0, stream>>>((const __half *)from, length, (__half *)to, all);
    return cudaGetLastError();
}

static __global__ void
__launch_bounds__(THREADS) round_all(const __half *from, int64_t count, __half *to, const CudaF8Note *note)
{
    float largest = __uint_as_float(note->largest), x[V];
    float scale = largest > 0.0f ? largest / LARGEST : 1.0f;
    for (int64_t i = (blockIdx.x * (int64_t)THREADS + threadIdx.x) * V; i < count;
         i += gridDim.x * (int64_t)THREADS * V) {
        load_eight(from, F16, i, x);
        round_eight(x, scale);
        store_eight(to, F16, i, x);
    }
}

extern "C" cudaError_t
cuda_f8_round(const void *from, long long count, void *to, const CudaF8Note *note, cudaStream_t stream)
{
    round_all<<<blocks_for(count / V), THREADS, 0, stream>>>((const __half *)from, count, (__half *)to, note);
    return cudaGetLastError();
}

/* Bits of numbers that are not negative are in the numbers' order. */
static __global__ void
__launch_bounds__(THREADS) note_largest(const __half *x, int64_t count, CudaF8Note *note)
{
    float largest = 0.0f, v[V];
    for (int64_t i = (blockIdx.x * (int64_t)THREADS + threadIdx.x) * V; i < count;
         i += gridDim.x * (int64_t)THREADS * V) {
        load_eight(x, F16, i, v);
        largest = fmaxf(largest, largest_of(v));
    }
    largest = block_largest(largest);
    if (threadIdx.x == 0)
        atomicMax(&note->largest, __float_as_uint(largest));
}

extern "C" cudaError_t
cuda_f8_note_largest(const void *x, long long count, CudaF8Note *note, cudaStream_t stream)
{
    note_largest<<<blocks_for(count / V), THREADS, 0, stream>>>((const __half *)x, count, note);
    return cudaGetLastError();
}

static __device__ __forceinline__ void
note_sum(float sum, double *to)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(~0u, sum, step);
    if (threadIdx.x % 32 == 0)
        atomicAdd(to, (double)sum);
}

/* `got` and the op's result, which has the addend in it, as `got` has. */
static __global__ void
__launch_bounds__(THREADS) compare(const CudaConv p, const __half *got, double *sums)
{
    float difference = 0.0f, size = 0.0f, a[V], b[V], add[V];
    int per_pixel = p.out_c / V;
    int64_t image = (int64_t)p.out_h * p.out_w, total = p.n * image * per_pixel;
    for (int64_t i = blockIdx.x * (int64_t)THREADS + threadIdx.x; i < total;
         i += gridDim.x * (int64_t)THREADS) {
        int64_t pixel = i / per_pixel;
        int channel = (int)(i - pixel * per_pixel) * V;
        load_eight(p.out, F16, i * V, a);
        load_eight(got, F16, i * V, b);
        if (p.add_kind != CUDA_ADD_NONE)
            load_eight(p.add, F16,
                       (p.add_kind == CUDA_ADD_PIXEL ? pixel : pixel / image) * p.add_stride + channel, add);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float whole = p.add_kind != CUDA_ADD_NONE ? a[k] - add[k] : a[k];
            difference += (b[k] - a[k]) * (b[k] - a[k]);
            size += whole * whole;
        }
    }
    note_sum(difference, &sums[0]);
    note_sum(size, &sums[1]);
}

extern "C" cudaError_t
cuda_f8_compare(const CudaConv *conv, const void *got, double sums[2], cudaStream_t stream)
{
    long long items = (long long)conv->n * conv->out_h * conv->out_w * conv->out_c / V;
    compare<<<blocks_for(items), THREADS, 0, stream>>>(*conv, (const __half *)got, sums);
    return cudaGetLastError();
}

static __global__ void
fill_ones(float *to, int count)
{
    int i = blockIdx.x * THREADS + threadIdx.x;
    if (i < count)
        to[i] = 1.0f;
}

extern "C" cudaError_t
cuda_f8_fill_ones(float *to, int count, cudaStream_t stream)
{
    fill_ones<<<(unsigned)((count + THREADS - 1) / THREADS), THREADS, 0, stream>>>(to, count);
    return cudaGetLastError();
}
