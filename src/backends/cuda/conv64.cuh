/* conv64.cuh - what the kernels for 64 channels in and out on Hopper share: tiles of 128 pixels as the copy
 * engine lays them out, two warpgroups that multiply and finish, a thread that loads. */
#pragma once
#include <math.h>

#include "backends/cuda/hopper.cuh"
#include "backends/cuda/launch.cuh"

#define CHANNELS 64
#define WIDTH 128                  /* pixels of a strip */
#define PIXEL_BYTES (2 * CHANNELS) /* one swizzle row */
#define ROW_BYTES ((WIDTH + 2) * PIXEL_BYTES)
#define SLOT_BYTES ((ROW_BYTES + 1023) / 1024 * 1024)
#define TAP_BYTES (CHANNELS * PIXEL_BYTES)
#define STAGE_BYTES (WIDTH * PIXEL_BYTES)
#define GROUPS 2
#define THREADS (GROUPS * 128 + 32)

#if ON_HOPPER
/* What is added to a warp's channels everywhere: of thread i those numbered i / 4 and i / 4 + 8. */
template <typename T>
static __device__ __forceinline__ void
load_bias(const CudaConv &p, float (&bias)[2], int image)
{
    for (int i = 0; i < 2; i++) {
        int channel = threadIdx.x / 32 % 4 * 16 + i * 8 + threadIdx.x % 32 / 4;
        bias[i] = p.bias == nullptr ? 0.0f : to_float(((const T *)p.bias)[channel]);
        if (p.add_kind == CUDA_ADD_IMAGE)
            bias[i] += to_float(((const T *)p.add)[(long long)image * p.add_stride + channel]);
    }
}

/* A warp has 16 channels of all pixels; 16 pixels at a time go through the stage, which is laid out as the
 * copy engine wants it and may hold the addend in the same places. */
template <typename T>
static __device__ __forceinline__ void
finish_row(const CudaConv &p, uint8_t *stage, const float (&sum)[WIDTH / 2], const float (&bias)[2],
           bool adds)
{
    float floor = p.act == ACT_RELU ? 0.0f : -INFINITY;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
    for (int block = 0; block < WIDTH / 16; block++) {
        int pixel = block * 16 + lane / 16 * 8 + lane % 8, chunk = warp * 2 + lane / 8 % 2;
        uint32_t at = shared_address(stage + pixel * PIXEL_BYTES + ((chunk ^ (pixel & 7)) * 16)), packed[4];
        uint32_t add[4] = {};
        if (adds)
            load_matrix4_transposed(add, at);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float2 extra = Pair<T>::unpack(add[i]);
            const float *from = &sum[block * 8 + i * 2];
            float low = from[0] + bias[i % 2] + extra.x, high = from[1] + bias[i % 2] + extra.y;
            packed[i] = Pair<T>::pack(low < floor ? floor : low, high < floor ? floor : high);
        }
        store_matrix4_transposed(at, packed);
    }
}
#endif

/* [images, rows, pixels, channels]. */
static inline bool
conv64_map(CUtensorMap *map, int dtype, const void *address, int width, int height, int images, int stride,
           int box_width, int box_height)
{
    uint64_t dims[4] = { CHANNELS, (uint64_t)width, (uint64_t)height, (uint64_t)images };
    uint64_t strides[3] = { 2ull * stride, 2ull * stride * width, 2ull * stride * width * height };
    uint32_t box[4] = { CHANNELS, (uint32_t)box_width, (uint32_t)box_height, 1 };
    return cuda_encode_tensor(map, dtype, address, dims, strides, box);
}
