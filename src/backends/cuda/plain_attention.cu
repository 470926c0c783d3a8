/* Attention of any shape, stride and type, a warp for each query: the float32 reference and what the flash
 * kernel does not take; and the softmax between the two products of very wide heads. */
#include <math.h>

#include "backends/cuda/device.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)
#define MOST 16 /* elements of a head in one lane */

__device__ __forceinline__ float
warp_sum(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x += __shfl_xor_sync(~0u, x, step);
    return x;
}

__device__ __forceinline__ float
warp_max(float x)
{
    for (int step = 16; step > 0; step /= 2)
        x = fmaxf(x, __shfl_xor_sync(~0u, x, step));
    return x;
}

/* The softmax's base for rows that see nothing but minus infinity. */
__device__ __forceinline__ float
finite_base(float largest)
{
    return largest == -INFINITY ? 0.0f : largest;
}

template <typename T, int most>
__global__ void
__launch_bounds__(THREADS) plain_attention_kernel(const CudaAttention p)
{
    int lane = threadIdx.x % 32;
    long long row = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= (long long)p.n * p.queries)
        return;
    long long image = row / p.queries;
    int head = blockIdx.y * p.width, query = (int)(row - image * p.queries);
    const T *q = (const T *)p.q + row * p.q_stride + head;
    const T *k = (const T *)p.k + image * p.keys * p.k_stride + head;
    const T *v = (const T *)p.v + image * p.keys * p.v_stride + head;
    float mine[most], out[most] = {}, top = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int i = 0; i < most; i++)
        mine[i] = i * 32 + lane < p.width ? to_float(q[i * 32 + lane]) * p.scale : 0.0f;
    int keys = p.causal ? min(p.keys, query + 1) : p.keys;
    for (int j = 0; j < keys; j++) {
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < most; i++)
            if (i * 32 + lane < p.width)
                score = fmaf(mine[i], to_float(k[(long long)j * p.k_stride + i * 32 + lane]), score);
        score = warp_sum(score);
        float largest = fmaxf(top, score), base = finite_base(largest);
        float shrink = expf(top - base), weight = expf(score - base);
        top = largest;
        sum = sum * shrink + weight;
#pragma unroll
        for (int i = 0; i < most; i++)
            if (i * 32 + lane < p.width)
                out[i] = out[i] * shrink + weight * to_float(v[(long long)j * p.v_stride + i * 32 + lane]);
    }
    T *to = (T *)p.out + row * p.out_stride + head;
#pragma unroll
    for (int i = 0; i < most; i++)
        if (i * 32 + lane < p.width)
            to[i * 32 + lane] = from_float<T>(out[i] / sum);
}

template <typename T>
static cudaError_t
plain_attention(const CudaAttention *p, cudaStream_t stream)
{
    dim3 grid((unsigned)(((long long)p->n * p->queries + WARPS - 1) / WARPS), (unsigned)p->heads);
    if (p->width > MOST * 32)
        return cudaErrorInvalidValue;
    if (p->width <= 64)
        plain_attention_kernel<T, 2><<<grid, THREADS, 0, stream>>>(*p);
    else
        plain_attention_kernel<T, MOST><<<grid, THREADS, 0, stream>>>(*p);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_plain_attention(const CudaAttention *p, cudaStream_t stream)
{
    return p->dtype == DTYPE_F32   ? plain_attention<float>(p, stream)
           : p->dtype == DTYPE_F16 ? plain_attention<__half>(p, stream)
                                   : plain_attention<__nv_bfloat16>(p, stream);
}

__device__ float
block_reduce(float x, float (*reduce)(float), float *room)
{
    x = reduce(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        room[threadIdx.x / 32] = x;
    __syncthreads();
    return reduce(room[threadIdx.x % WARPS]);
}

template <typename T>
__global__ void
__launch_bounds__(THREADS) softmax_kernel(const CudaSoftmax p)
{
    __shared__ float room[WARPS];
    const float *scores = p.scores + (long long)blockIdx.x * p.keys;
    T *out = (T *)p.out + (long long)blockIdx.x * p.keys;
    int keys = p.causal ? min(p.keys, p.first + (int)blockIdx.x + 1) : p.keys;
    float top = -INFINITY, sum = 0.0f;
    for (int i = threadIdx.x; i < keys; i += THREADS)
        top = fmaxf(top, scores[i] * p.scale);
    float base = finite_base(block_reduce(top, warp_max, room));
    for (int i = threadIdx.x; i < keys; i += THREADS)
        sum += __expf(scores[i] * p.scale - base);
    /* Each warp reduces the same WARPS numbers 32 / WARPS times over. */
    float factor = (32.0f / WARPS) / block_reduce(sum, warp_sum, room);
    for (int i = threadIdx.x; i < p.keys; i += THREADS)
        out[i] = from_float<T>(i < keys ? __expf(scores[i] * p.scale - base) * factor : 0.0f);
}

extern "C" cudaError_t
cuda_softmax_rows(const CudaSoftmax *p, cudaStream_t stream)
{
    if (p->dtype == DTYPE_F32)
        softmax_kernel<float><<<(unsigned)p->rows, THREADS, 0, stream>>>(*p);
    else if (p->dtype == DTYPE_F16)
        softmax_kernel<__half><<<(unsigned)p->rows, THREADS, 0, stream>>>(*p);
    else
        softmax_kernel<__nv_bfloat16><<<(unsigned)p->rows, THREADS, 0, stream>>>(*p);
    return cudaGetLastError();
}
