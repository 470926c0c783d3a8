/* Flash attention (Dao, https://arxiv.org/abs/2307.08691) on mma.sync: a block takes some queries of one
 * head, a warp 16 or 32 of them, and walks over the keys in tiles; scores and softmax in float32 registers.
 */
#include <math.h>

#include "backends/cuda/device.cuh"

#define WARPS 4
#define THREADS (WARPS * 32)
#define PAD 8 /* elements after a row in shared memory: rows of one matrix fall in different banks */

/* `depth`: the head's width rounded up to a template's; `blocks`: 16-query blocks a warp; `tile`: keys. */
template <typename T, int depth, int blocks, int tile> struct Flash {
    static const int pitch = depth + PAD, rows = WARPS * 16 * blocks;
    static const size_t shared = sizeof(T) * pitch * (rows + 4 * tile);

    float o[blocks][depth / 8][4], top[blocks][2], sum[blocks][2];
    uint32_t q[blocks][depth / 16][4];

    /* Rows [first, first + count) of a head, zeros past `tokens` and past the head's width. */
    static __device__ __forceinline__ void load(T *to, const T *from, int stride, int first, int tokens,
                                                int count, int width)
    {
        const int chunks = depth / 8;
        for (int i = threadIdx.x; i < count * chunks; i += THREADS) {
            int row = i / chunks, column = (i % chunks) * 8;
            bool valid = first + row < tokens && column < width;
            const T *source = from + (valid ? (long long)(first + row) * stride + column : 0);
            copy16(shared_address(to + row * pitch + column), source, valid);
        }
    }

    __device__ __forceinline__ void take_queries(const T *from)
    {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int k = 0; k < depth / 16; k++) {
                int row = (warp * blocks + b) * 16 + lane % 16, column = k * 16 + lane / 16 * 8;
                load_matrix4(q[b][k], shared_address(from + row * pitch + column));
            }
    }

    __device__ __forceinline__ void begin()
    {
#pragma unroll
        for (int b = 0; b < blocks; b++) {
            top[b][0] = top[b][1] = -INFINITY;
            sum[b][0] = sum[b][1] = 0.0f;
#pragma unroll
            for (int j = 0; j < depth / 8; j++)
                o[b][j][0] = o[b][j][1] = o[b][j][2] = o[b][j][3] = 0.0f;
        }
    }

    __device__ __forceinline__ void scores(float (&s)[blocks][tile / 8][4], const T *keys)
    {
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int j = 0; j < tile / 8; j++)
                s[b][j][0] = s[b][j][1] = s[b][j][2] = s[b][j][3] = 0.0f;
#pragma unroll
        for (int k = 0; k < depth / 16; k++)
#pragma unroll
            for (int j = 0; j < tile / 16; j++) {
                uint32_t pair[4];
                int row = j * 16 + lane / 16 * 8 + lane % 8, column = k * 16 + lane / 8 % 2 * 8;
                load_matrix4(pair, shared_address(keys + row * pitch + column));
#pragma unroll
                for (int b = 0; b < blocks; b++) {
                    multiply<T>(s[b][2 * j], q[b][k], pair[0], pair[1]);
                    multiply<T>(s[b][2 * j + 1], q[b][k], pair[2], pair[3]);
                }
            }
    }

    /* Keys from `keys` on, and with `causal` those after the query, weigh nothing. */
    __device__ __forceinline__ void mask(float (&s)[blocks][tile / 8][4], int first_key, int keys,
                                         int first_query, bool causal)
    {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int j = 0; j < tile / 8; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    int key = first_key + j * 8 + lane % 4 * 2 + i % 2;
                    int query = first_query + (warp * blocks + b) * 16 + lane / 4 + i / 2 * 8;
                    if (key >= keys || (causal && key > query))
                        s[b][j][i] = -INFINITY;
                }
    }

    /* Scores become weights relative to the largest so far; what was summed is rescaled to it. */
    __device__ __forceinline__ void soften(float (&s)[blocks][tile / 8][4], float scale)
    {
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float largest = top[b][half];
#pragma unroll
                for (int j = 0; j < tile / 8; j++)
                    largest = fmaxf(largest, fmaxf(s[b][j][half * 2], s[b][j][half * 2 + 1]));
                largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
                largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
                float base = largest == -INFINITY ? 0.0f : largest * scale;
                float shrink = exp2f(top[b][half] * scale - base), part = 0.0f;
                top[b][half] = largest;
#pragma unroll
                for (int j = 0; j < tile / 8; j++)
#pragma unroll
                    for (int i = half * 2; i < half * 2 + 2; i++) {
                        s[b][j][i] = exp2f(fmaf(s[b][j][i], scale, -base));
                        part += s[b][j][i];
                    }
                sum[b][half] = sum[b][half] * shrink + part;
#pragma unroll
                for (int j = 0; j < depth / 8; j++) {
                    o[b][j][half * 2] *= shrink;
                    o[b][j][half * 2 + 1] *= shrink;
                }
            }
    }

    __device__ __forceinline__ void weigh(const float (&s)[blocks][tile / 8][4], const T *values)
    {
        int lane = threadIdx.x % 32;
#pragma unroll
        for (int k = 0; k < tile / 16; k++) {
            uint32_t p[blocks][4];
#pragma unroll
            for (int b = 0; b < blocks; b++)
#pragma unroll
                for (int i = 0; i < 4; i++)
                    p[b][i] =
                        Pair<T>::pack(s[b][2 * k + i / 2][i % 2 * 2], s[b][2 * k + i / 2][i % 2 * 2 + 1]);
#pragma unroll
            for (int j = 0; j < depth / 16; j++) {
                uint32_t pair[4];
                int row = k * 16 + lane / 8 % 2 * 8 + lane % 8, column = j * 16 + lane / 16 * 8;
                load_matrix4_transposed(pair, shared_address(values + row * pitch + column));
#pragma unroll
                for (int b = 0; b < blocks; b++) {
                    multiply<T>(o[b][2 * j], p[b], pair[0], pair[1]);
                    multiply<T>(o[b][2 * j + 1], p[b], pair[2], pair[3]);
                }
            }
        }
    }

    /* Through shared memory, so that rows leave in 16-byte pieces; each warp has its own rows there. */
    __device__ __forceinline__ void finish(T *room, T *out, int stride, int first, int tokens, int width)
    {
        int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
#pragma unroll
        for (int b = 0; b < blocks; b++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float total = sum[b][half];
                total += __shfl_xor_sync(~0u, total, 1);
                total += __shfl_xor_sync(~0u, total, 2);
                float factor = 1.0f / total;
                T *row = room + ((warp * blocks + b) * 16 + lane / 4 + half * 8) * pitch + lane % 4 * 2;
#pragma unroll
                for (int j = 0; j < depth / 8; j++)
                    *(uint32_t *)(row + j * 8) =
                        Pair<T>::pack(o[b][j][half * 2] * factor, o[b][j][half * 2 + 1] * factor);
            }
        __syncwarp();
        int chunks = width / 8;
        for (int i = lane; i < 16 * blocks * chunks; i += 32) {
            int row = warp * 16 * blocks + i / chunks, column = i % chunks * 8;
            if (first + row < tokens)
                *(uint4 *)(out + (long long)(first + row) * stride + column) =
                    *(const uint4 *)(room + row * pitch + column);
        }
    }
};

template <typename T, int depth, int blocks, int tile>
__global__ void
__launch_bounds__(THREADS) flash_kernel(const CudaAttention p)
{
    typedef Flash<T, depth, blocks, tile> F;
    extern __shared__ uint4 memory[];
    T *queries = (T *)memory, *keys = queries + F::rows * F::pitch, *values = keys + 2 * tile * F::pitch;
    long long image = blockIdx.z;
    int head = blockIdx.y * p.width, first = blockIdx.x * F::rows;
    const T *q = (const T *)p.q + image * p.queries * p.q_stride + head;
    const T *k = (const T *)p.k + image * p.keys * p.k_stride + head;
    const T *v = (const T *)p.v + image * p.keys * p.v_stride + head;
    int last = p.causal ? min(p.keys, first + F::rows) : p.keys, tiles = (last + tile - 1) / tile;

    F::load(queries, q, p.q_stride, first, p.queries, F::rows, p.width);
    F::load(keys, k, p.k_stride, 0, p.keys, tile, p.width);
    copies_commit();
    F::load(values, v, p.v_stride, 0, p.keys, tile, p.width);
    copies_commit();
    F state;
    state.begin();
    float scale = p.scale * 1.44269504f;
    for (int i = 0; i < tiles; i++) {
        int now = (i & 1) * tile * F::pitch, next = (~i & 1) * tile * F::pitch;
        copies_wait<1>();
        __syncthreads();
        if (i == 0)
            state.take_queries(queries);
        if (i + 1 < tiles)
            F::load(keys + next, k, p.k_stride, (i + 1) * tile, p.keys, tile, p.width);
        copies_commit();
        float s[blocks][tile / 8][4];
        state.scores(s, keys + now);
        if ((i + 1) * tile > p.keys || (p.causal && (i + 1) * tile > first))
            state.mask(s, i * tile, p.keys, first, p.causal != 0);
        state.soften(s, scale);
        copies_wait<1>();
        __syncthreads();
        if (i + 1 < tiles)
            F::load(values + next, v, p.v_stride, (i + 1) * tile, p.keys, tile, p.width);
        copies_commit();
        state.weigh(s, values + now);
    }
    copies_wait<0>();
    T *out = (T *)p.out + image * p.queries * p.out_stride + head;
    state.finish(queries, out, p.out_stride, first, p.queries, p.width);
}

template <typename T, int depth, int blocks, int tile>
static cudaError_t
launch(const CudaAttention *p, cudaStream_t stream)
{
    typedef Flash<T, depth, blocks, tile> F;
    dim3 grid((unsigned)((p->queries + F::rows - 1) / F::rows), (unsigned)p->heads, (unsigned)p->n);
    cudaError_t status = cudaFuncSetAttribute(flash_kernel<T, depth, blocks, tile>,
                                              cudaFuncAttributeMaxDynamicSharedMemorySize, (int)F::shared);
    if (status != cudaSuccess)
        return status;
    flash_kernel<T, depth, blocks, tile><<<grid, THREADS, F::shared, stream>>>(*p);
    return cudaGetLastError();
}

template <typename T>
static cudaError_t
launch_narrow(const CudaAttention *p, cudaStream_t stream)
{
    return p->width <= 48   ? launch<T, 48, 1, 64>(p, stream)
           : p->width <= 64 ? launch<T, 64, 1, 64>(p, stream)
           : p->width <= 80 ? launch<T, 80, 1, 64>(p, stream)
                            : launch<T, 160, 1, 32>(p, stream);
}

static bool
row_aligned(const void *p, int stride)
{
    return ((uintptr_t)p & 15) == 0 && stride % 8 == 0;
}

extern "C" bool
cuda_flash_takes(const CudaAttention *p, int sm)
{
    return (p->dtype == DTYPE_F16 || (p->dtype == DTYPE_BF16 && sm >= 80)) && p->width % 8 == 0 &&
           p->width <= 160 && p->heads <= 65535 && p->n <= 65535 && row_aligned(p->q, p->q_stride) &&
           row_aligned(p->k, p->k_stride) && row_aligned(p->v, p->v_stride) &&
           row_aligned(p->out, p->out_stride);
}

extern "C" cudaError_t
cuda_flash_attention(const CudaAttention *p, int variant, cudaStream_t stream)
{
    if (p->dtype == DTYPE_BF16)
        return launch_narrow<__nv_bfloat16>(p, stream);
    if (variant == 1 && p->width <= 48)
        return launch<__half, 48, 2, 64>(p, stream);
    if (variant == 1 && p->width <= 64)
        return launch<__half, 64, 2, 64>(p, stream);
    return launch_narrow<__half>(p, stream);
}
