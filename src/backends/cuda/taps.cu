/* 3x3 convolutions at the ends of the models, where a picture or a latent has few channels: bound by memory,
 * so the wide side is read or written once and the matrix units do the little arithmetic. */
#include "backends/cuda/device.cuh"
#include "backends/cuda/launch.cuh"

#define THREADS 256
#define WARPS (THREADS / 32)

/* ---- Few input channels: the window (9 * c numbers, padded to a multiple of 16) is the depth of one
 * product. ---- */

#define IN_W 64 /* pixels of a block */
#define IN_H 4
#define IN_OUTS 64    /* outputs of a block */
#define IN_MOST 16    /* input channels */
#define IN_BLOCKS 512 /* about as many as are resident; each takes several tiles */
#define STAGE_PITCH (IN_OUTS + 8)

static __host__ __device__ int
few_in_depth(int c)
{
    return (9 * c + 15) / 16 * 16;
}

static size_t
few_in_shared(int c)
{
    int depth = few_in_depth(c), halo = (IN_W + 2) * (IN_H + 2) * c + 8;
    return 2 * (size_t)((halo + 7) / 8 * 8 + IN_OUTS * (depth + 8) + WARPS * 16 * STAGE_PITCH) +
           sizeof(int) * (size_t)depth;
}

/* A warp for each row in turn: a row of the halo is contiguous when the pixels are. */
template <typename T>
__device__ void
load_halo(const CudaConv &p, T *to, int image, int top, int left)
{
    int lane = threadIdx.x % 32, count = (IN_W + 2) * p.c;
    for (int row = threadIdx.x / 32; row < IN_H + 2; row += WARPS) {
        int y = top + row - 1, first = (left - 1) * p.c;
        const T *from = (const T *)p.x + ((long long)image * p.h + y) * p.w * p.x_stride;
        for (int i = lane; i < count; i += 32) {
            int at = first + i;
            bool inside = y >= 0 && y < p.h && at >= 0 && at < p.w * p.c;
            if (p.x_stride != p.c)
                at = at / p.c * p.x_stride + at % p.c;
            to[row * count + i] = inside ? from[at] : from_float<T>(0.0f);
        }
    }
}

template <typename T>
__device__ void
load_outputs_weights(const CudaConv &p, T *to, int depth, int first)
{
    for (int i = threadIdx.x; i < IN_OUTS * depth; i += THREADS) {
        int k = i % depth, o = first + i / depth;
        bool inside = k < 9 * p.c && o < p.out_c;
        to[i / depth * (depth + 8) + k] =
            inside ? ((const T *)p.weight)[(long long)o * 9 * p.c + k] : from_float<T>(0.0f);
    }
}

/* Where the k-th number of a window lies, from its first pixel; -1 for padding. */
static __device__ __forceinline__ int
window_offset(int k, int c)
{
    int tap = k / c;
    return tap < 9 ? (tap / 3 * (IN_W + 2) + tap % 3) * c + k % c : -1;
}

template <typename T>
__device__ __forceinline__ uint32_t
window_pair(const T *from, int first, int second)
{
    uint16_t low = first < 0 ? 0 : *(const uint16_t *)(from + first);
    uint16_t high = second < 0 ? 0 : *(const uint16_t *)(from + second);
    return low | (uint32_t)high << 16;
}

/* What every tile of a block shares: a lane's outputs are always the same. */
typedef struct {
    float2 bias[IN_OUTS / 8];
    int first, outs;
} FewInOutputs;

template <typename T>
__device__ __forceinline__ float
few_in_add(const CudaConv &p, int image, long long pixel, int o)
{
    long long row = p.add_kind == CUDA_ADD_PIXEL ? pixel : image;
    return to_float(((const T *)p.add)[row * p.add_stride + o]);
}

/* Bias, addend and activation of the 16 pixels from `pixel` on, which are in one row of the picture. */
template <typename T>
__device__ __forceinline__ void
few_in_finish(const CudaConv &p, float (&sum)[IN_OUTS / 8][4], T *stage, const FewInOutputs &outputs,
              int image, long long pixel, int left)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int j = 0; j < IN_OUTS / 8; j++) {
        int o = j * 8 + lane % 4 * 2;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + i / 2 * 8;
            sum[j][i] += i % 2 == 0 ? outputs.bias[j].x : outputs.bias[j].y;
            if (p.add_kind != CUDA_ADD_NONE && left + row < p.w && o + i % 2 < outputs.outs)
                sum[j][i] += few_in_add<T>(p, image, pixel + row, outputs.first + o + i % 2);
        }
        activate_all(p.act, sum[j]);
        *(uint32_t *)(stage + lane / 4 * STAGE_PITCH + o) = Pair<T>::pack(sum[j][0], sum[j][1]);
        *(uint32_t *)(stage + (lane / 4 + 8) * STAGE_PITCH + o) = Pair<T>::pack(sum[j][2], sum[j][3]);
    }
    __syncwarp();
    T *out = (T *)p.out + pixel * p.out_c + outputs.first;
    int outs = outputs.outs, pixels = min(16, p.w - left);
    if (p.out_c % 8 == 0 && ((uintptr_t)p.out & 15) == 0)
        for (int i = lane; i < pixels * (IN_OUTS / 8); i += 32) {
            int row = i / (IN_OUTS / 8), o = i % (IN_OUTS / 8) * 8;
            if (o < outs)
                *(uint4 *)(out + (long long)row * p.out_c + o) =
                    *(const uint4 *)(stage + row * STAGE_PITCH + o);
        }
    else
        for (int i = lane; i < pixels * IN_OUTS; i += 32)
            if (i % IN_OUTS < outs)
                out[(long long)(i / IN_OUTS) * p.out_c + i % IN_OUTS] =
                    stage[i / IN_OUTS * STAGE_PITCH + i % IN_OUTS];
    __syncwarp();
}

/* 16 pixels from x on times IN_OUTS outputs. */
template <typename T>
__device__ __forceinline__ void
few_in_products(const CudaConv &p, float (&sum)[IN_OUTS / 8][4], const T *x, const T *weight,
                const int *offsets, int depth)
{
    int lane = threadIdx.x % 32;
    for (int k = 0; k < depth; k += 16) {
        int o[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            o[i] = offsets[k + i / 2 * 8 + lane % 4 * 2 + i % 2];
        uint32_t a[4];
#pragma unroll
        for (int i = 0; i < 4; i++)
            a[i] = window_pair(x + (lane / 4 + i % 2 * 8) * p.c, o[i / 2 * 2], o[i / 2 * 2 + 1]);
#pragma unroll
        for (int j = 0; j < IN_OUTS / 16; j++) {
            uint32_t b[4];
            int n = j * 16 + lane / 16 * 8 + lane % 8, at = k + lane / 8 % 2 * 8;
            load_matrix4(b, shared_address(weight + n * (depth + 8) + at));
            multiply<T>(sum[2 * j], a, b[0], b[1]);
            multiply<T>(sum[2 * j + 1], a, b[2], b[3]);
        }
    }
}

/* A warp's half row of the tile at (top, left): 32 pixels. */
template <typename T>
__device__ __forceinline__ void
few_in_tile(const CudaConv &p, const T *x, const T *weight, const int *offsets, T *stage,
            const FewInOutputs &outputs, int image, int top, int left)
{
    int warp = threadIdx.x / 32, row = warp / 2, depth = few_in_depth(p.c);
    for (int column = warp % 2 * 32; column < warp % 2 * 32 + 32; column += 16) {
        int x0 = left + column;
        if (x0 >= p.w || top + row >= p.h)
            return;
        float sum[IN_OUTS / 8][4] = {};
        few_in_products(p, sum, x + (row * (IN_W + 2) + column) * p.c, weight, offsets, depth);
        long long pixel = ((long long)image * p.h + top + row) * p.w + x0;
        few_in_finish(p, sum, stage + warp * 16 * STAGE_PITCH, outputs, image, pixel, x0);
    }
}

template <typename T>
__global__ void
__launch_bounds__(THREADS, 2) few_in_kernel(const CudaConv p)
{
    extern __shared__ uint4 memory[];
    int depth = few_in_depth(p.c), halo = ((IN_W + 2) * (IN_H + 2) * p.c + 8 + 7) / 8 * 8;
    T *x = (T *)memory, *weight = x + halo, *stage = weight + IN_OUTS * (depth + 8);
    int *offsets = (int *)(stage + WARPS * 16 * STAGE_PITCH);
    int across = (p.w + IN_W - 1) / IN_W, down = (p.h + IN_H - 1) / IN_H;
    FewInOutputs outputs = { {},
                             (int)blockIdx.y * IN_OUTS,
                             min(IN_OUTS, p.out_c - (int)blockIdx.y * IN_OUTS) };
    load_outputs_weights(p, weight, depth, outputs.first);
    for (int k = threadIdx.x; k < depth; k += THREADS)
        offsets[k] = window_offset(k, p.c);
    if (p.bias != nullptr)
#pragma unroll
        for (int j = 0; j < IN_OUTS / 8; j++) {
            int o = j * 8 + threadIdx.x % 4 * 2;
            const T *bias = (const T *)p.bias + outputs.first;
            outputs.bias[j].x = o < outputs.outs ? to_float(bias[o]) : 0.0f;
            outputs.bias[j].y = o + 1 < outputs.outs ? to_float(bias[o + 1]) : 0.0f;
        }
    wait_for_inputs();
    for (int tile = blockIdx.x; tile < across * down * p.n; tile += gridDim.x) {
        int image = tile / (across * down), rest = tile % (across * down);
        int top = rest / across * IN_H, left = rest % across * IN_W;
        load_halo(p, x, image, top, left);
        __syncthreads();
        few_in_tile(p, x, weight, offsets, stage, outputs, image, top, left);
        __syncthreads();
    }
}

static bool
is_plain_3x3(const CudaConv *p, int sm)
{
    return sm >= 80 && (p->dtype == DTYPE_F16 || p->dtype == DTYPE_BF16) && p->kernel == 3 &&
           p->stride == 1 && p->pad == 1 && p->up_h == p->h && p->up_w == p->w;
}

extern "C" bool
cuda_few_in_takes(const CudaConv *p, int sm)
{
    return is_plain_3x3(p, sm) && p->c <= IN_MOST && p->c % 8 != 0;
}

template <typename T>
static cudaError_t
few_in(const CudaConv *p, cudaStream_t stream)
{
    size_t shared = few_in_shared(p->c);
    cudaError_t status = allow_shared(few_in_kernel<T>, shared);
    if (status != cudaSuccess)
        return status;
    int tiles = (p->w + IN_W - 1) / IN_W * ((p->h + IN_H - 1) / IN_H) * p->n,
        outs = (p->out_c + IN_OUTS - 1) / IN_OUTS;
    dim3 grid((unsigned)min(tiles, max(1, IN_BLOCKS / outs)), (unsigned)outs);
    launch_kernel(few_in_kernel<T>, grid, THREADS, shared, 1, stream, *p);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_few_in(const CudaConv *p, cudaStream_t stream)
{
    return p->dtype == DTYPE_F16 ? few_in<__half>(p, stream) : few_in<__nv_bfloat16>(p, stream);
}

/* ---- Few output channels: one product gives what each pixel adds to each of its nine neighbours' outputs
 * ([pixels, c] x [c, 9 * out_c]); the nine are summed out of shared memory. ---- */

#define OUT_W 32
#define OUT_H 8
#define HALO_W (OUT_W + 2)
#define HALO_PIXELS (HALO_W * (OUT_H + 2))
#define OUT_MOST 4
#define OUT_WIDEST 512

/* HALO_PIXELS is also the pitch of the sums in shared memory, a column for each tap and output: 20 modulo 32
 * keeps a warp's stores in different banks. Input channels are taken in groups of 32: lane t of a row's four
 * holds 8 of them, 16 bytes, as the k indices of two products; the weights lie in shared memory in just that
 * order. */
template <typename T>
__device__ void
load_tap_weights(const CudaConv &p, uint32_t *to, int tiles)
{
    int total = p.c / 16 * tiles * 64;
    for (int i = threadIdx.x; i < total; i += THREADS) {
        int half = i % 2, lane = i / 2 % 32, tile = i / 64 % tiles, step = i / 64 / tiles;
        int column = tile * 8 + lane / 4, tap = column / p.out_c, o = column % p.out_c;
        int channel = step / 2 * 32 + lane % 4 * 8 + step % 2 * 4 + half * 2;
        to[i] =
            tap < 9 ? *(const uint32_t *)((const T *)p.weight + ((long long)o * 9 + tap) * p.c + channel) : 0;
    }
}

template <typename T, int tiles>
__device__ __forceinline__ void
tap_products(const CudaConv &p, const uint32_t *weights, float *parts, int image, int top, int left,
             int block)
{
    int lane = threadIdx.x % 32;
    const uint4 *from[2];
    bool inside[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        int pixel = block * 16 + lane / 4 + i * 8, y = top + pixel / HALO_W - 1,
            x = left + pixel % HALO_W - 1;
        inside[i] = pixel < HALO_PIXELS && y >= 0 && y < p.h && x >= 0 && x < p.w;
        long long at = inside[i] ? ((long long)image * p.h + y) * p.w + x : 0;
        from[i] = (const uint4 *)((const T *)p.x + at * p.x_stride + lane % 4 * 8);
    }
    float sum[tiles][4] = {};
#pragma unroll 2
    for (int group = 0; group < p.c / 32; group++) {
        uint4 zero = make_uint4(0, 0, 0, 0);
        uint4 low = inside[0] ? from[0][group * 4] : zero, high = inside[1] ? from[1][group * 4] : zero;
        uint32_t a[2][4] = { { low.x, high.x, low.y, high.y }, { low.z, high.z, low.w, high.w } };
#pragma unroll
        for (int step = 0; step < 2; step++)
#pragma unroll
            for (int j = 0; j < tiles; j++) {
                uint2 b = *(const uint2 *)(weights + ((group * 2 + step) * tiles + j) * 64 + lane * 2);
                multiply<T>(sum[j], a[step], b.x, b.y);
            }
    }
#pragma unroll
    for (int j = 0; j < tiles; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int pixel = block * 16 + lane / 4 + i / 2 * 8;
            int column = j * 8 + lane % 4 * 2 + i % 2;
            if (pixel < HALO_PIXELS && column < 9 * p.out_c)
                parts[column * HALO_PIXELS + pixel] = sum[j][i];
        }
}

template <typename T, int tiles>
__global__ void
__launch_bounds__(THREADS) few_out_kernel(const CudaConv p)
{
    extern __shared__ uint4 memory[];
    uint32_t *weights = (uint32_t *)memory;
    float *parts = (float *)(weights + p.c / 16 * tiles * 64);
    int across = (p.w + OUT_W - 1) / OUT_W, down = (p.h + OUT_H - 1) / OUT_H;
    int image = blockIdx.x / (across * down), tile = blockIdx.x % (across * down);
    int top = tile / across * OUT_H, left = tile % across * OUT_W;
    load_tap_weights<T>(p, weights, tiles);
    wait_for_inputs();
    __syncthreads();
    for (int block = threadIdx.x / 32; block < (HALO_PIXELS + 15) / 16; block += WARPS)
        tap_products<T, tiles>(p, weights, parts, image, top, left, block);
    __syncthreads();
    int x = threadIdx.x % OUT_W, y = threadIdx.x / OUT_W;
    if (left + x >= p.w || top + y >= p.h)
        return;
    long long pixel = ((long long)image * p.h + top + y) * p.w + left + x;
    for (int o = 0; o < p.out_c; o++) {
        float sum = p.bias != nullptr ? to_float(((const T *)p.bias)[o]) : 0.0f;
#pragma unroll
        for (int tap = 0; tap < 9; tap++)
            sum += parts[(tap * p.out_c + o) * HALO_PIXELS + (y + tap / 3) * HALO_W + x + tap % 3];
        if (p.add_kind == CUDA_ADD_PIXEL)
            sum += to_float(((const T *)p.add)[pixel * p.add_stride + o]);
        else if (p.add_kind == CUDA_ADD_IMAGE)
            sum += to_float(((const T *)p.add)[(long long)image * p.add_stride + o]);
        ((T *)p.out)[pixel * p.out_c + o] = from_float<T>(activate(p.act, sum));
    }
}

extern "C" bool
cuda_few_out_takes(const CudaConv *p, int sm)
{
    return is_plain_3x3(p, sm) && p->out_c <= OUT_MOST && p->c % 32 == 0 && p->c <= OUT_WIDEST &&
           p->x_stride % 8 == 0;
}

template <typename T, int tiles>
static cudaError_t
few_out(const CudaConv *p, cudaStream_t stream)
{
    size_t shared = sizeof(float) * HALO_PIXELS * 9 * (size_t)p->out_c +
                    sizeof(uint32_t) * 64 * tiles * (size_t)(p->c / 16);
    cudaError_t status = allow_shared(few_out_kernel<T, tiles>, shared);
    if (status != cudaSuccess)
        return status;
    unsigned blocks = (unsigned)((p->w + OUT_W - 1) / OUT_W * ((p->h + OUT_H - 1) / OUT_H) * p->n);
    launch_kernel(few_out_kernel<T, tiles>, dim3(blocks), THREADS, shared, 1, stream, *p);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_few_out(const CudaConv *p, cudaStream_t stream)
{
    if (p->dtype == DTYPE_F16)
        return p->out_c <= 3 ? few_out<__half, 4>(p, stream) : few_out<__half, 5>(p, stream);
    return p->out_c <= 3 ? few_out<__nv_bfloat16, 4>(p, stream) : few_out<__nv_bfloat16, 5>(p, stream);
}
