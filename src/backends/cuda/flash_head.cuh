/* flash_head.cuh - what the flash kernels for Hopper share: heads as tensors of the copy engine, and rows of
 * a warpgroup's accumulators as they leave. */
#pragma once
#include <cuda_fp8.h>
#include <math.h>

#include "backends/cuda/fast_math.cuh"
#include "backends/cuda/hopper.cuh"

#define WIDTH 64
#define ROW_BYTES (2 * WIDTH)
#define KEYS 128 /* of a tile */
#define TILE_BYTES (KEYS * ROW_BYTES)
#define NARROW 40 /* heads up to this have products of their own */

typedef struct {
    CUtensorMap q, k, v, out;
} Maps;

#if ON_HOPPER

/* Scores of keys that are not there: a thread has two neighbours of every eight. */
static __device__ __forceinline__ void
mask(float (&s)[KEYS / 2], int left)
{
#pragma unroll
    for (int i = 0; i < KEYS / 2; i++)
        if (i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2 >= left)
            s[i] = -INFINITY;
}

/* The numbers as E4M3, rows of 64 bytes behind each other. */
template <int WIDE>
static __device__ __forceinline__ void
store_f8(uint8_t *room, const float *out)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = threadIdx.x / 32 % 4 * 16 + half * 8 + lane / 4;
#pragma unroll
        for (int j = 0; j < WIDE / 8; j++) {
            float2 pair = make_float2(out[j * 4 + half * 2], out[j * 4 + half * 2 + 1]);
            *(uint16_t *)(room + row * WIDTH + j * 8 + lane % 4 * 2) =
                __nv_cvt_float2_to_fp8x2(pair, __NV_SATFINITE, __NV_E4M3);
        }
    }
}

/* As T, in the copy engine's swizzle; 16 columns at a time. */
template <typename T, int WIDE>
static __device__ __forceinline__ void
store_plain(uint8_t *room, const float *out)
{
    int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
    for (int j = 0; j < (WIDE + 15) / 16; j++) {
        uint32_t packed[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            packed[i] = Pair<T>::pack(out[j * 8 + i * 2], out[j * 8 + i * 2 + 1]);
        int chunk = (j * 2 + lane / 16) ^ (row & 7);
        store_matrix4(shared_address(room + row * ROW_BYTES + chunk * 16), packed);
    }
}

#endif

/* [images, tokens, heads, width]. */
static inline bool
encode(CUtensorMap *map, const CudaAttention *p, const void *address, int tokens, int stride, int box_rows)
{
    uint64_t dims[4] = { (uint64_t)p->width, (uint64_t)p->heads, (uint64_t)tokens, (uint64_t)p->n };
    uint64_t strides[3] = { 2ull * p->width, 2ull * stride, 2ull * stride * tokens };
    uint32_t box[4] = { WIDTH, 1, (uint32_t)box_rows, 1 };
    return cuda_encode_tensor(map, p->dtype, address, dims, strides, box);
}

/* The result: in E4M3 rows of a box are 64 bytes, not swizzled. */
static inline bool
encode_out(CUtensorMap *map, const CudaAttention *p)
{
    if (p->out_factor == 0.0f)
        return encode(map, p, p->out, p->queries, p->out_stride, 64);
    uint64_t dims[4] = { (uint64_t)p->width, (uint64_t)p->heads, (uint64_t)p->queries, (uint64_t)p->n };
    uint64_t strides[3] = { (uint64_t)p->width, (uint64_t)p->out_stride,
                            (uint64_t)p->out_stride * (uint64_t)p->queries };
    uint32_t box[4] = { WIDTH, 1, 64, 1 };
    return cuda_encode_plain(map, DTYPE_F8_E4M3, p->out, dims, strides, box);
}

/* `rows`: queries of a box. */
static inline bool
encode_all(Maps *maps, const CudaAttention *p, int rows)
{
    return encode(&maps->q, p, p->q, p->queries, p->q_stride, rows) &&
           encode(&maps->k, p, p->k, p->keys, p->k_stride, KEYS) &&
           encode(&maps->v, p, p->v, p->keys, p->v_stride, KEYS) && encode_out(&maps->out, p);
}
