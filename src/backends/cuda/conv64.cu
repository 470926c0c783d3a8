/* 3x3 convolutions of 64 channels to 64 (TAESD's) on Hopper. A block keeps all weights in shared memory and
 * walks down a strip 128 pixels wide; input rows pass through a ring there, each loaded once by the copy
 * engine, which also makes the zeros around the picture. Two warpgroups take rows in turn: out^T [64
 * channels, 128 pixels] is the sum over the nine taps of weights [64, 64] times x^T [64, 128 pixels], where a
 * tap's pixels are just other rows of the ring. */
#include "backends/cuda/conv64.cuh"

#define SLOTS 7
#define SHARED_BYTES (9 * TAP_BYTES + GROUPS * STAGE_BYTES + SLOTS * SLOT_BYTES + 256 + 1024)

typedef struct {
    CUtensorMap x, weight, add, out;
} Maps;

#if ON_HOPPER
typedef struct {
    uint8_t *weight, *stage, *ring;
    uint64_t *full, *empty, *weights_full, *add_full;
} Memory;

static __device__ __forceinline__ Memory
memory_of(uint8_t *start)
{
    Memory m;
    m.weight = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.stage = m.weight + 9 * TAP_BYTES;
    m.ring = m.stage + GROUPS * STAGE_BYTES;
    m.full = (uint64_t *)(m.ring + SLOTS * SLOT_BYTES);
    m.empty = m.full + SLOTS;
    m.weights_full = m.empty + SLOTS;
    m.add_full = m.weights_full + 1;
    return m;
}

static __device__ __forceinline__ void
begin(const Memory &m)
{
    if (threadIdx.x == 0) {
        for (int i = 0; i < SLOTS; i++) {
            barrier_init(&m.full[i], 1);
            barrier_init(&m.empty[i], GROUPS * 4);
        }
        barrier_init(m.weights_full, 1);
        for (int i = 0; i < GROUPS; i++)
            barrier_init(&m.add_full[i], 1);
        barrier_publish();
    }
    __syncthreads();
}

/* One thread: weights, then rows top - 1 ... top + rows of the strip. */
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, int image, int left, int top, int rows)
{
    barrier_expect(m.weights_full, 9 * TAP_BYTES);
    for (int tap = 0; tap < 9; tap++)
        tensor_load(m.weight + tap * TAP_BYTES, &maps.weight, m.weights_full, 0, tap, 0, 0);
    wait_for_inputs();
    for (int i = 0; i < rows + 2; i++) {
        int slot = i % SLOTS, turn = i / SLOTS;
        barrier_wait(&m.empty[slot], ~turn & 1);
        barrier_expect(&m.full[slot], ROW_BYTES);
        tensor_load(m.ring + slot * SLOT_BYTES, &maps.x, &m.full[slot], 0, left - 1, top + i - 1, image);
    }
}

/* One output row: inputs are rows i, i + 1, i + 2 of the ring's order. */
template <typename T>
static __device__ __forceinline__ void
multiply_row(const Memory &m, float (&sum)[WIDTH / 2], int i)
{
    for (int y = 0; y < 3; y++)
        barrier_wait(&m.full[(i + y) % SLOTS], (i + y) / SLOTS & 1);
    products_begin();
#pragma unroll
    for (int y = 0; y < 3; y++) {
        int slot = (i + y) % SLOTS;
        const uint8_t *row = m.ring + slot * SLOT_BYTES;
#pragma unroll
        for (int x = 0; x < 3; x++) {
            uint64_t a = matrix_descriptor(m.weight + (y * 3 + x) * TAP_BYTES);
            uint64_t b = matrix_descriptor(row + x * PIXEL_BYTES);
#pragma unroll
            for (int k = 0; k < CHANNELS / 16; k++)
                product_128<T>(sum, a + 2 * k, b + 2 * k, y + x + k > 0);
        }
    }
    products_commit();
    products_wait<0>();
}

template <typename T>
static __device__ __forceinline__ void
consume(const CudaConv &p, const Maps &maps, const Memory &m, int group, int image, int left, int top,
        int rows)
{
    int lane = threadIdx.x % 32;
    bool leads = threadIdx.x % 128 == 0, adds = p.add_kind == CUDA_ADD_PIXEL;
    uint8_t *stage = m.stage + group * STAGE_BYTES;
    float bias[2];
    wait_for_inputs();
    load_bias<T>(p, bias, image);
    barrier_wait(m.weights_full, 0);
    if (group > 0 && lane == 0) /* the first row is the other group's alone */
        for (int i = 0; i < group; i++)
            barrier_arrive(&m.empty[i]);
    for (int i = group, turn = 0; i < rows; i += GROUPS, turn++) {
        if (leads && adds) {
            tensor_stores_read();
            barrier_expect(&m.add_full[group], STAGE_BYTES);
            tensor_load(stage, &maps.add, &m.add_full[group], 0, left, top + i, image);
        } else if (leads) {
            tensor_stores_read();
        }
        float sum[WIDTH / 2];
        multiply_row<T>(m, sum, i);
        if (lane == 0)
            for (int used = i; used < i + GROUPS; used++)
                barrier_arrive(&m.empty[used % SLOTS]);
        if (adds)
            barrier_wait(&m.add_full[group], turn & 1);
        else
            group_barrier(1 + group, 128);
        finish_row<T>(p, stage, sum, bias, adds);
        shared_to_engine();
        group_barrier(1 + group, 128);
        if (leads)
            tensor_store(&maps.out, stage, 0, left, top + i, image);
    }
    if (leads)
        tensor_stores_done();
}
#endif

template <typename T>
__global__ void
__launch_bounds__(THREADS, 1) conv64_kernel(const CudaConv p, const __grid_constant__ Maps maps, int rows)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of(start);
    int strips = (p.w + WIDTH - 1) / WIDTH, chunks = (p.h + rows - 1) / rows;
    int chunk = blockIdx.x % chunks, strip = blockIdx.x / chunks % strips,
        image = blockIdx.x / chunks / strips;
    int top = chunk * rows, left = strip * WIDTH;
    rows = min(rows, p.h - top);
    begin(m);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* known to be the same in a warp */
    if (group == GROUPS) {
        if (threadIdx.x == GROUPS * 128)
            produce(maps, m, image, left, top, rows);
    } else {
        consume<T>(p, maps, m, group, image, left, top, rows);
    }
#endif
}

extern "C" bool
cuda_conv64_takes(const CudaConv *p, int sm)
{
    return sm == 90 && (p->dtype == DTYPE_F16 || p->dtype == DTYPE_BF16) && p->kernel == 3 &&
           p->stride == 1 && (p->act == ACT_NONE || p->act == ACT_RELU) && p->pad == 1 && p->c == CHANNELS &&
           p->out_c == CHANNELS && p->up_h == p->h && p->up_w == p->w && p->x_stride % 8 == 0 &&
           (p->add_kind != CUDA_ADD_PIXEL || p->add_stride % 8 == 0);
}

template <typename T>
static cudaError_t
launch(const CudaConv *p, const Maps *maps, int multiprocessors, cudaStream_t stream)
{
    int strips = (p->w + WIDTH - 1) / WIDTH * p->n, chunks = multiprocessors / strips;
    int rows = chunks < 1 ? p->h : (p->h + chunks - 1) / chunks;
    unsigned blocks = (unsigned)(strips * ((p->h + rows - 1) / rows));
    cudaError_t status =
        cudaFuncSetAttribute(conv64_kernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES);
    if (status != cudaSuccess)
        return status;
    launch_kernel(conv64_kernel<T>, dim3(blocks), THREADS, SHARED_BYTES, 1, stream, *p, *maps, rows);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_conv64(const CudaConv *p, int multiprocessors, cudaStream_t stream)
{
    Maps maps;
    const void *add = p->add_kind == CUDA_ADD_PIXEL ? p->add : p->out;
    int add_stride = p->add_kind == CUDA_ADD_PIXEL ? p->add_stride : p->out_c;
    /* Weights [64][9][64]: a box is one tap of all outputs, so outputs take the place of image rows. */
    if (!conv64_map(&maps.x, p->dtype, p->x, p->w, p->h, p->n, p->x_stride, WIDTH + 2, 1) ||
        !conv64_map(&maps.out, p->dtype, p->out, p->w, p->h, p->n, p->out_c, WIDTH, 1) ||
        !conv64_map(&maps.add, p->dtype, add, p->w, p->h, p->n, add_stride, WIDTH, 1) ||
        !conv64_map(&maps.weight, p->dtype, p->weight, 9, CHANNELS, 1, CHANNELS, 1, CHANNELS))
        return cudaErrorInvalidValue;
    return p->dtype == DTYPE_F16 ? launch<__half>(p, &maps, multiprocessors, stream)
                                 : launch<__nv_bfloat16>(p, &maps, multiprocessors, stream);
}
