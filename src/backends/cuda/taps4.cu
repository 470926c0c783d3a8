/* 3x3 convolutions of at most four input channels: pixels lie in shared memory with four channels each, so
 * that the three taps of a row of the window, and a fourth of zeros, are 16 numbers in a row: the depth of
 * one product. A warp has 16 pixels and 64 outputs at a time, all weights in its registers. Outputs are
 * numbered so that a lane's lie side by side: sums go from registers to memory. */
#include "backends/cuda/device.cuh"
#include "backends/cuda/launch.cuh"

#define THREADS 256
#define TILE_W 64
#define TILE_H 8 /* a row for each warp */
#define HALO_W (TILE_W + 2)
#define HALO (HALO_W * (TILE_H + 2))
#define EACH ((HALO + THREADS - 1) / THREADS) /* pixels that a thread loads */
#define OUTS 64
#define BLOCKS 2 /* resident on a multiprocessor */

/* The first of the two outputs that a lane has of tile j of 8 columns; columns are outputs of this order too.
 */
static __device__ __forceinline__ int
output_of(int j, int quarter)
{
    return j / 4 * 32 + quarter * 8 + j % 4 * 2;
}

template <typename T>
static __device__ __forceinline__ uint32_t
weight_pair(const CudaConv &p, int output, int row, int k)
{
    uint32_t pair = 0;
    for (int i = 0; i < 2; i++) {
        int x = (k + i) / 4, channel = (k + i) % 4;
        if (output < p.out_c && x < 3 && channel < p.c)
            pair |=
                (uint32_t)((const uint16_t *)p.weight)[((long long)output * 9 + row * 3 + x) * p.c + channel]
                << 16 * i;
    }
    return pair;
}

typedef struct {
    int image, top, left;
} Tile;

static __device__ __forceinline__ Tile
tile_of(const CudaConv &p, int number)
{
    int across = (p.w + TILE_W - 1) / TILE_W, down = (p.h + TILE_H - 1) / TILE_H;
    int rest = number % (across * down);
    return { number / (across * down), rest / across * TILE_H, rest % across * TILE_W };
}

/* A thread's share of a tile's pixels and those around it, four channels each. */
static __device__ __forceinline__ void
fetch(const CudaConv &p, Tile tile, uint2 (&pixels)[EACH])
{
#pragma unroll
    for (int i = 0; i < EACH; i++) {
        int at = threadIdx.x + i * THREADS, y = tile.top + at / HALO_W - 1, x = tile.left + at % HALO_W - 1;
        uint32_t channel[4] = {};
        if (at < HALO && y >= 0 && y < p.h && x >= 0 && x < p.w) {
            const uint16_t *from =
                (const uint16_t *)p.x + (((long long)tile.image * p.h + y) * p.w + x) * p.x_stride;
#pragma unroll
            for (int c = 0; c < 4; c++)
                if (c < p.c)
                    channel[c] = from[c];
        }
        pixels[i] = make_uint2(channel[0] | channel[1] << 16, channel[2] | channel[3] << 16);
    }
}

static __device__ __forceinline__ void
keep(uint2 *to, const uint2 (&pixels)[EACH])
{
#pragma unroll
    for (int i = 0; i < EACH; i++)
        if (threadIdx.x + i * THREADS < HALO)
            to[threadIdx.x + i * THREADS] = pixels[i];
}

/* 16 pixels from `x` on, a pixel above and to the left of them. */
template <typename T>
static __device__ __forceinline__ void
multiply_all(float (&sum)[OUTS / 8][4], const uint2 *x, const uint32_t (&weights)[3][OUTS / 8][2])
{
    int quarter = threadIdx.x % 4;
    const uint32_t *from = (const uint32_t *)(x + threadIdx.x % 32 / 4) + quarter;
#pragma unroll
    for (int row = 0; row < 3; row++) {
        uint32_t a[4] = { from[row * HALO_W * 2], from[row * HALO_W * 2 + 16], 0, 0 };
        if (quarter < 2) /* the fourth pixel counts for nothing, whatever it holds */
            a[2] = from[row * HALO_W * 2 + 4], a[3] = from[row * HALO_W * 2 + 20];
#pragma unroll
        for (int j = 0; j < OUTS / 8; j++)
            multiply<T>(sum[j], a, weights[row][j][0], weights[row][j][1]);
    }
}

template <typename T>
static __device__ __forceinline__ void
write_pixels(const CudaConv &p, float (&sum)[OUTS / 8][4], T *out, int pixels, int outs)
{
    int quarter = threadIdx.x % 4;
#pragma unroll
    for (int j = 0; j < OUTS / 8; j++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            sum[j][i] = p.act == ACT_RELU && sum[j][i] < 0.0f ? 0.0f : sum[j][i];
    if (p.act == ACT_SILU)
#pragma unroll
        for (int j = 0; j < OUTS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                sum[j][i] /= 1.0f + __expf(-sum[j][i]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int pixel = threadIdx.x % 32 / 4 + i % 2 * 8, half = i / 2, side = i % 2 * 2;
        uint4 packed = make_uint4(Pair<T>::pack(sum[half * 4][side], sum[half * 4][side + 1]),
                                  Pair<T>::pack(sum[half * 4 + 1][side], sum[half * 4 + 1][side + 1]),
                                  Pair<T>::pack(sum[half * 4 + 2][side], sum[half * 4 + 2][side + 1]),
                                  Pair<T>::pack(sum[half * 4 + 3][side], sum[half * 4 + 3][side + 1]));
        if (pixel < pixels && half * 32 + quarter * 8 < outs)
            *(uint4 *)(out + (long long)pixel * p.out_c + half * 32 + quarter * 8) = packed;
    }
}

/* The warp's row of the tile. */
template <typename T>
static __device__ __forceinline__ void
write_row(const CudaConv &p, Tile tile, const uint2 *halo, const uint32_t (&weights)[3][OUTS / 8][2],
          const float *bias, int first)
{
    int row = threadIdx.x / 32;
    if (tile.top + row >= p.h)
        return;
    T *out =
        (T *)p.out + (((long long)tile.image * p.h + tile.top + row) * p.w + tile.left) * p.out_c + first;
#pragma unroll 1
    for (int x = 0; x < TILE_W && tile.left + x < p.w; x += 16) {
        float sum[OUTS / 8][4];
#pragma unroll
        for (int j = 0; j < OUTS / 8; j++) {
            float2 pair = *(const float2 *)(bias + output_of(j, threadIdx.x % 4));
            sum[j][0] = sum[j][2] = pair.x, sum[j][1] = sum[j][3] = pair.y;
        }
        multiply_all<T>(sum, halo + row * HALO_W + x, weights);
        write_pixels<T>(p, sum, out + (long long)x * p.out_c, p.w - tile.left - x, p.out_c - first);
    }
}

template <typename T>
static __global__ void
__launch_bounds__(THREADS, BLOCKS) taps4_kernel(const CudaConv p)
{
    __shared__ uint2 halo[2][HALO];
    __shared__ float2 room[OUTS / 2];
    float *bias = (float *)room;
    int first = (int)blockIdx.y * OUTS, lane = threadIdx.x % 32;
    int tiles = (p.w + TILE_W - 1) / TILE_W * ((p.h + TILE_H - 1) / TILE_H) * p.n;
    uint32_t weights[3][OUTS / 8][2];
    if (threadIdx.x < OUTS)
        bias[threadIdx.x] = p.bias != nullptr && first + threadIdx.x < p.out_c
                                ? to_float(((const T *)p.bias)[first + threadIdx.x])
                                : 0.0f;
#pragma unroll
    for (int j = 0; j < OUTS / 8; j++) {
        int column = first + output_of(j, lane / 8) + lane / 4 % 2;
#pragma unroll
        for (int row = 0; row < 3; row++)
            for (int i = 0; i < 2; i++)
                weights[row][j][i] = weight_pair<T>(p, column, row, lane % 4 * 2 + i * 8);
    }
    wait_for_inputs();
    uint2 pixels[EACH];
    Tile tile = tile_of(p, blockIdx.x);
    fetch(p, tile, pixels);
    for (int number = blockIdx.x, turn = 0; number < tiles; number += gridDim.x, turn ^= 1) {
        keep(halo[turn], pixels);
        __syncthreads();
        Tile next = tile_of(p, number + gridDim.x);
        if (number + gridDim.x < tiles)
            fetch(p, next, pixels);
        write_row<T>(p, tile, halo[turn], weights, bias, first);
        tile = next;
    }
}

template <typename T>
static cudaError_t
launch(const CudaConv *p, int multiprocessors, cudaStream_t stream)
{
    int tiles = (p->w + TILE_W - 1) / TILE_W * ((p->h + TILE_H - 1) / TILE_H) * p->n,
        outs = (p->out_c + OUTS - 1) / OUTS;
    dim3 grid((unsigned)min(tiles, max(1, BLOCKS * multiprocessors / outs)), (unsigned)outs);
    launch_kernel(taps4_kernel<T>, grid, THREADS, 0, 1, stream, *p);
    return cudaGetLastError();
}

extern "C" bool
cuda_taps4_takes(const CudaConv *p, int sm)
{
    return sm >= 80 && (p->dtype == DTYPE_F16 || p->dtype == DTYPE_BF16) && p->kernel == 3 &&
           p->stride == 1 && p->pad == 1 && p->up_h == p->h && p->up_w == p->w && p->c <= 4 &&
           (p->act == ACT_NONE || p->act == ACT_RELU || p->act == ACT_SILU) && p->out_c % 8 == 0 &&
           p->add_kind == CUDA_ADD_NONE;
}

extern "C" cudaError_t
cuda_taps4(const CudaConv *p, int multiprocessors, cudaStream_t stream)
{
    return p->dtype == DTYPE_F16 ? launch<__half>(p, multiprocessors, stream)
                                 : launch<__nv_bfloat16>(p, multiprocessors, stream);
}
