/* 3x3 convolutions of E4M3 numbers on Hopper, stride 1. The picture is one row of pixels: each line behind a
 * pixel of zeros, which is the next line's left and the last line's right border, so that a tap is a step
 * along that row. A block makes 128 of these pixels (those of the border are thrown away) times some
 * channels: the lines that it needs of 128 input channels are loaded once for all nine taps, the weights of
 * each tap pass through a ring. The matrix units' own sums lose digits; every 128 products they are added up
 * in float32. */
#include <cuda_fp16.h>

#include "backends/cuda/hopper.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/wgmma_f8.cuh"

#define PIXELS 128 /* of a block */
#define CHUNK 128  /* input channels, one swizzle row */
#define GROUPS 2
#define THREADS (GROUPS * 128 + 32)
#define BUFFERS 2 /* of lines */
#define MOST_STAGES 8
#define FEWEST_STAGES 3
#define BARRIER_BYTES 256
#define MOST_SHARED (227 << 10)
#define TAPS 9

typedef struct {
    CUtensorMap x, weight;
} Maps;

typedef struct {
    int lines, lines_bytes, stages; /* lines_bytes: of a buffer, its zeros included */
    int pitch, tiles;               /* pixels from line to line; blocks of an image */
} Plan;

#if ON_HOPPER
typedef struct {
    uint8_t *lines, *weights;
    uint64_t *lines_full, *lines_empty, *full, *empty;
} Memory;

static __device__ __forceinline__ Memory
memory_of(uint8_t *start, const Plan &plan, int stage_bytes)
{
    Memory m;
    m.lines = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.weights = m.lines + BUFFERS * plan.lines_bytes;
    m.lines_full = (uint64_t *)(m.weights + plan.stages * stage_bytes);
    m.lines_empty = m.lines_full + BUFFERS;
    m.full = m.lines_empty + BUFFERS;
    m.empty = m.full + MOST_STAGES;
    return m;
}

/* The zeros behind the last line are the right border of its last pixel. */
static __device__ __forceinline__ void
begin(const Memory &m, const Plan &plan)
{
    if (threadIdx.x == 0) {
        for (int i = 0; i < BUFFERS; i++) {
            barrier_init(&m.lines_full[i], 1);
            barrier_init(&m.lines_empty[i], GROUPS * 4);
        }
        for (int i = 0; i < plan.stages; i++) {
            barrier_init(&m.full[i], 1);
            barrier_init(&m.empty[i], GROUPS * 4);
        }
        barrier_publish();
    }
    for (int i = threadIdx.x; i < BUFFERS * CHUNK / 4; i += THREADS) {
        int buffer = i / (CHUNK / 4), at = plan.lines * plan.pitch * CHUNK + i % (CHUNK / 4) * 4;
        *(uint32_t *)(m.lines + buffer * plan.lines_bytes + at) = 0;
    }
    shared_to_engine();
    __syncthreads();
}

/* One thread: for each chunk of channels the lines from `top` on, then the weights tap by tap. */
template <int N>
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, const Plan &plan, int chunks, int image, int top, int output)
{
    wait_for_inputs();
    for (int chunk = 0, step = 0; chunk < chunks; chunk++) {
        int buffer = chunk % BUFFERS;
        barrier_wait(&m.lines_empty[buffer], ~(chunk / BUFFERS) & 1);
        barrier_expect(&m.lines_full[buffer], plan.lines * plan.pitch * CHUNK);
        tensor_load(m.lines + buffer * plan.lines_bytes, &maps.x, &m.lines_full[buffer], chunk * CHUNK, -1,
                    top, image);
        for (int tap = 0; tap < TAPS; tap++, step++) {
            int stage = step % plan.stages;
            barrier_wait(&m.empty[stage], ~(step / plan.stages) & 1);
            barrier_expect(&m.full[stage], N * CHUNK);
            tensor_load(m.weights + stage * N * CHUNK, &maps.weight, &m.full[stage], chunk * CHUNK, tap,
                        output, 0);
        }
    }
}

/* `first` is the pixel of the lines that the group's first one lies at. */
template <int N>
static __device__ __forceinline__ void
multiply(const Memory &m, const Plan &plan, int chunks, int channels, int first, float (&total)[N / 2])
{
    int lane = threadIdx.x % 32;
    for (int chunk = 0, step = 0; chunk < chunks; chunk++) {
        int buffer = chunk % BUFFERS, steps = min(channels - chunk * CHUNK, CHUNK) / 32;
        const uint8_t *lines = m.lines + buffer * plan.lines_bytes + first * CHUNK;
        barrier_wait(&m.lines_full[buffer], chunk / BUFFERS & 1);
        for (int tap = 0; tap < TAPS; tap++, step++) {
            int stage = step % plan.stages;
            int away = (tap / 3 - 1) * plan.pitch + tap % 3 - 1;
            uint64_t a = matrix_descriptor(lines + away * CHUNK);
            uint64_t b = matrix_descriptor(m.weights + stage * N * CHUNK);
            float sum[N / 2];
            barrier_wait(&m.full[stage], step / plan.stages & 1);
            products_begin();
#pragma unroll
            for (int k = 0; k < CHUNK / 32; k++)
                if (k < steps)
                    product_f8<N>(sum, a + 2 * k, b + 2 * k, k > 0);
            products_commit();
            products_wait<0>();
            products_hold(sum);
            if (lane == 0)
                barrier_arrive(&m.empty[stage]);
#pragma unroll
            for (int i = 0; i < N / 2; i++)
                total[i] += sum[i];
        }
        if (lane == 0)
            barrier_arrive(&m.lines_empty[buffer]);
    }
}

/* A thread has two channels of every eight, of two pixels. */
template <int N>
static __device__ __forceinline__ void
finish(const CudaConv &p, const Plan &plan, const float (&total)[N / 2], int image, int position, int output)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int at = position + warp * 16 + half * 8 + lane / 4, y = at / plan.pitch, x = at - y * plan.pitch - 1;
        if (y >= p.out_h || x < 0)
            continue;
        long long pixel = ((long long)image * p.out_h + y) * p.out_w + x;
        const __half *add =
            (const __half *)p.add + (p.add_kind == CUDA_ADD_PIXEL ? pixel : (long long)image) * p.add_stride;
#pragma unroll
        for (int j = 0; j < N / 8; j++) {
            int channel = output + j * 8 + lane % 4 * 2;
            float2 scale = *(const float2 *)(p.scale + channel);
            float2 value =
                make_float2(total[j * 4 + half * 2] * scale.x, total[j * 4 + half * 2 + 1] * scale.y);
            if (p.bias != nullptr) {
                float2 bias = __half22float2(*(const __half2 *)((const __half *)p.bias + channel));
                value.x += bias.x, value.y += bias.y;
            }
            if (p.add_kind != CUDA_ADD_NONE) {
                float2 more = __half22float2(*(const __half2 *)(add + channel));
                value.x += more.x, value.y += more.y;
            }
            *(__half2 *)((__half *)p.out + pixel * p.out_c + channel) = __floats2half2_rn(value.x, value.y);
        }
    }
}
#endif

template <int N>
__global__ void
__launch_bounds__(THREADS, 1)
    conv_f8_kernel(const CudaConv p, const __grid_constant__ Maps maps, const Plan plan)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of(start, plan, N * CHUNK);
    int image = blockIdx.x / plan.tiles, position = blockIdx.x % plan.tiles * PIXELS, output = blockIdx.y * N;
    int top = position / plan.pitch - 1, chunks = (p.c + CHUNK - 1) / CHUNK;
    begin(m, plan);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* known to be the same in a warp */
    if (group == GROUPS) {
        if (threadIdx.x == GROUPS * 128)
            produce<N>(maps, m, plan, chunks, image, top, output);
    } else {
        float total[N / 2];
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            total[i] = 0.0f;
        position += group * 64;
        multiply<N>(m, plan, chunks, p.c, position - top * plan.pitch, total);
        wait_for_inputs();
        finish<N>(p, plan, total, image, position, output);
    }
#endif
}

/* False when the lines do not fit. */
static bool
plan_of(Plan *plan, const CudaConv *p, int outputs)
{
    plan->pitch = p->w + 1;
    plan->tiles = (p->h * plan->pitch + PIXELS - 1) / PIXELS;
    plan->lines = 0;
    for (int tile = 0; tile < plan->tiles; tile++) {
        int lines = (tile * PIXELS + PIXELS - 1) / plan->pitch - tile * PIXELS / plan->pitch + 3;
        plan->lines = lines > plan->lines ? lines : plan->lines;
    }
    plan->lines_bytes = ((plan->lines * plan->pitch + 1) * CHUNK + 1023) / 1024 * 1024;
    int room = MOST_SHARED - 1024 - BARRIER_BYTES - BUFFERS * plan->lines_bytes;
    plan->stages = room < 0 ? 0 : room / (outputs * CHUNK);
    if (plan->stages > MOST_STAGES)
        plan->stages = MOST_STAGES;
    return plan->stages >= FEWEST_STAGES && plan->pitch <= 256 && plan->lines <= 256;
}

/* Of a block: 160 or 128; 0: the variant does not suit the layer. */
static int
outputs_of(const CudaConv *p, int variant)
{
    int outputs = variant == 0 ? 160 : 128;
    return p->out_c % outputs == 0 ? outputs : 0;
}

extern "C" bool
cuda_conv_f8_takes(const CudaConv *p, int variant, int sm)
{
    Plan plan;
    int outputs = outputs_of(p, variant);
    return sm == 90 && p->kernel == 3 && p->stride == 1 && p->pad == 1 && p->act == ACT_NONE &&
           p->c % 32 == 0 && outputs > 0 && p->out_h == p->h && p->out_w == p->w && p->x_stride == p->c &&
           (p->add_kind == CUDA_ADD_NONE || p->add_stride % 2 == 0) && plan_of(&plan, p, outputs);
}

static bool
encode(Maps *maps, const CudaConv *p, const Plan *plan, int outputs)
{
    uint64_t c = (uint64_t)p->c, w = (uint64_t)p->w, h = (uint64_t)p->h;
    uint64_t dims[4] = { c, w, h, (uint64_t)p->n }, strides[3] = { c, c * w, c * w * h };
    uint32_t box[4] = { CHUNK, (uint32_t)plan->pitch, (uint32_t)plan->lines, 1 };
    uint64_t weight_dims[4] = { c, TAPS, (uint64_t)p->out_c, 1 };
    uint64_t weight_strides[3] = { c, TAPS * c, TAPS * c * (uint64_t)p->out_c };
    uint32_t weight_box[4] = { CHUNK, 1, (uint32_t)outputs, 1 };
    return cuda_encode_tensor(&maps->x, DTYPE_F8_E4M3, p->x, dims, strides, box) &&
           cuda_encode_tensor(&maps->weight, DTYPE_F8_E4M3, p->weight, weight_dims, weight_strides,
                              weight_box);
}

template <int N>
static cudaError_t
launch(const CudaConv *p, cudaStream_t stream)
{
    Maps maps;
    Plan plan;
    auto kernel = conv_f8_kernel<N>;
    if (!plan_of(&plan, p, N) || !encode(&maps, p, &plan, N))
        return cudaErrorInvalidValue;
    int bytes = 1024 + BUFFERS * plan.lines_bytes + plan.stages * N * CHUNK + BARRIER_BYTES;
    cudaError_t status = allow_shared(kernel, bytes);
    if (status != cudaSuccess)
        return status;
    launch_kernel(kernel, dim3((unsigned)(plan.tiles * p->n), (unsigned)(p->out_c / N)), THREADS,
                  (size_t)bytes, 1, stream, *p, maps, plan);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_conv_f8(const CudaConv *p, int variant, cudaStream_t stream)
{
    return outputs_of(p, variant) == 160 ? launch<160>(p, stream) : launch<128>(p, stream);
}
