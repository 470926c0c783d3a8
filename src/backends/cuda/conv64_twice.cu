/* The 3x3 convolution of 64 channels to 64 behind a resize to twice the size (TAESD's), on Hopper: rows and
 * columns of the result that are even and those that are odd each see two by two pixels of x, so that x is
 * never resized and 4/9 of the operations are left. As in conv64.cu a block keeps its weights in shared
 * memory and walks down a strip 128 pixels of x wide; its rows of the result are all even or all odd, and a
 * warpgroup has the even and the odd pixels of a row at once: one is finished while the other is multiplied.
 */
#include "backends/cuda/conv64.cuh"

#define SLOTS 5
#define TAPS 8 /* two by two for the even pixels, then for the odd ones */
#define SHARED_BYTES (TAPS * TAP_BYTES + 2 * GROUPS * STAGE_BYTES + SLOTS * SLOT_BYTES + 256 + 1024)

typedef struct {
    CUtensorMap x, weight, out[2];
} Maps;

#if ON_HOPPER
typedef struct {
    uint8_t *weight, *stage, *ring;
    uint64_t *full, *empty, *weights_full;
} Memory;

static __device__ __forceinline__ Memory
memory_of(uint8_t *start)
{
    Memory m;
    m.weight = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.stage = m.weight + TAPS * TAP_BYTES;
    m.ring = m.stage + 2 * GROUPS * STAGE_BYTES;
    m.full = (uint64_t *)(m.ring + SLOTS * SLOT_BYTES);
    m.empty = m.full + SLOTS;
    m.weights_full = m.empty + SLOTS;
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
        barrier_publish();
    }
    __syncthreads();
}

/* One thread: weights, then the rows of x. `odd` rows of the result see the row they lie in and the one
 * below, the others the one above and their own; the 4x4 window has their two at 2 and 0, or at 3 and 1.
 * Columns alike. */
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, int image, int left, int top, int rows, int odd)
{
    barrier_expect(m.weights_full, TAPS * TAP_BYTES);
    for (int i = 0; i < TAPS; i++) {
        int row = 3 - odd - i / 2 % 2 * 2, column = 3 - i / 4 - i % 2 * 2;
        tensor_load(m.weight + i * TAP_BYTES, &maps.weight, m.weights_full, 0, row * 4 + column, 0, 0);
    }
    wait_for_inputs();
    for (int i = 0; i < rows + 1; i++) {
        int slot = i % SLOTS, turn = i / SLOTS;
        barrier_wait(&m.empty[slot], ~turn & 1);
        barrier_expect(&m.full[slot], ROW_BYTES);
        tensor_load(m.ring + slot * SLOT_BYTES, &maps.x, &m.full[slot], 0, left - 1, top + i - 1 + odd,
                    image);
    }
}

/* The even (0) or odd (1) pixels of one row: inputs are rows i and i + 1 of the ring's order. */
template <typename T, int odd>
static __device__ __forceinline__ void
multiply_row(const Memory &m, float (&sum)[WIDTH / 2], int i)
{
#pragma unroll
    for (int y = 0; y < 2; y++) {
        const uint8_t *row = m.ring + (i + y) % SLOTS * SLOT_BYTES;
#pragma unroll
        for (int x = 0; x < 2; x++) {
            uint64_t a = matrix_descriptor(m.weight + (odd * 4 + y * 2 + x) * TAP_BYTES);
            uint64_t b = matrix_descriptor(row + (x + odd) * PIXEL_BYTES);
#pragma unroll
            for (int k = 0; k < CHANNELS / 16; k++)
                product_128<T>(sum, a + 2 * k, b + 2 * k, y + x + k > 0);
        }
    }
    products_commit();
}

/* The stage may be written again. */
template <typename T>
static __device__ __forceinline__ void
write_row(const CudaConv &p, const CUtensorMap *map, uint8_t *stage, const float (&sum)[WIDTH / 2],
          const float (&bias)[2], int group, int left, int row, int image)
{
    finish_row<T>(p, stage, sum, bias, false);
    shared_to_engine();
    group_barrier(1 + group, 128);
    if (threadIdx.x % 128 == 0)
        tensor_store(map, stage, 0, left, row, image);
}

template <typename T>
static __device__ __forceinline__ void
consume(const CudaConv &p, const Maps &maps, const Memory &m, int group, int image, int left, int top,
        int rows, int odd)
{
    int lane = threadIdx.x % 32;
    uint8_t *stage = m.stage + 2 * group * STAGE_BYTES;
    float bias[2];
    wait_for_inputs();
    load_bias<T>(p, bias, image);
    barrier_wait(m.weights_full, 0);
    if (group > 0 && lane == 0) /* the first row is the other group's alone */
        barrier_arrive(&m.empty[0]);
    for (int i = group; i < rows; i += GROUPS) {
        float even_sum[WIDTH / 2], odd_sum[WIDTH / 2];
        for (int y = 0; y < 2; y++)
            barrier_wait(&m.full[(i + y) % SLOTS], (i + y) / SLOTS & 1);
        products_begin();
        multiply_row<T, 0>(m, even_sum, i);
        multiply_row<T, 1>(m, odd_sum, i);
        if (threadIdx.x % 128 == 0)
            tensor_stores_read();
        group_barrier(1 + group, 128);
        products_wait<1>();
        products_hold(even_sum);
        write_row<T>(p, &maps.out[0], stage, even_sum, bias, group, left, 2 * (top + i) + odd, image);
        products_wait<0>();
        products_hold(odd_sum);
        if (lane == 0)
            for (int used = i; used < i + GROUPS; used++)
                barrier_arrive(&m.empty[used % SLOTS]);
        write_row<T>(p, &maps.out[1], stage + STAGE_BYTES, odd_sum, bias, group, left, 2 * (top + i) + odd,
                     image);
    }
    if (threadIdx.x % 128 == 0)
        tensor_stores_done();
}
#endif

template <typename T>
__global__ void
__launch_bounds__(THREADS, 1)
    conv64_twice_kernel(const CudaConv p, const __grid_constant__ Maps maps, int rows)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of(start);
    int strips = (p.w + WIDTH - 1) / WIDTH, chunks = (p.h + rows - 1) / rows;
    int odd = blockIdx.x % 2, chunk = blockIdx.x / 2 % chunks, strip = blockIdx.x / 2 / chunks % strips,
        image = blockIdx.x / 2 / chunks / strips;
    int top = chunk * rows, left = strip * WIDTH;
    rows = min(rows, p.h - top);
    begin(m);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* known to be the same in a warp */
    if (group == GROUPS) {
        if (threadIdx.x == GROUPS * 128)
            produce(maps, m, image, left, top, rows, odd);
    } else {
        consume<T>(p, maps, m, group, image, left, top, rows, odd);
    }
#endif
}

extern "C" bool
cuda_conv64_twice_takes(const CudaConv *p, int sm)
{
    return sm == 90 && (p->dtype == DTYPE_F16 || p->dtype == DTYPE_BF16) && p->kernel == 3 &&
           p->stride == 1 && (p->act == ACT_NONE || p->act == ACT_RELU) && p->pad == 1 && p->c == CHANNELS &&
           p->out_c == CHANNELS && p->up_h == 2 * p->h && p->up_w == 2 * p->w && p->x_stride % 8 == 0 &&
           p->add_kind != CUDA_ADD_PIXEL;
}

template <typename T>
static cudaError_t
launch(const CudaConv *p, const Maps *maps, int multiprocessors, cudaStream_t stream)
{
    int strips = (p->w + WIDTH - 1) / WIDTH * p->n, chunks = multiprocessors / (2 * strips);
    int rows = chunks < 1 ? p->h : (p->h + chunks - 1) / chunks;
    unsigned blocks = (unsigned)(2 * strips * ((p->h + rows - 1) / rows));
    cudaError_t status = allow_shared(conv64_twice_kernel<T>, SHARED_BYTES);
    if (status != cudaSuccess)
        return status;
    launch_kernel(conv64_twice_kernel<T>, dim3(blocks), THREADS, SHARED_BYTES, 1, stream, *p, *maps, rows);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_conv64_twice(const CudaConv *p, int multiprocessors, cudaStream_t stream)
{
    Maps maps;
    uint8_t *out = (uint8_t *)p->out;
    /* Weights [64][4][4][64]: a box is one tap of all outputs, so outputs take the place of image rows. Every
     * second pixel of the result is an image as wide as x. */
    if (!conv64_map(&maps.x, p->dtype, p->x, p->w, p->h, p->n, p->x_stride, WIDTH + 2, 1) ||
        !conv64_map(&maps.out[0], p->dtype, out, p->w, p->out_h, p->n, 2 * CHANNELS, WIDTH, 1) ||
        !conv64_map(&maps.out[1], p->dtype, out + PIXEL_BYTES, p->w, p->out_h, p->n, 2 * CHANNELS, WIDTH,
                    1) ||
        !conv64_map(&maps.weight, p->dtype, p->weight, 16, CHANNELS, 1, CHANNELS, 1, CHANNELS))
        return cudaErrorInvalidValue;
    return p->dtype == DTYPE_F16 ? launch<__half>(p, &maps, multiprocessors, stream)
                                 : launch<__nv_bfloat16>(p, &maps, multiprocessors, stream);
}
