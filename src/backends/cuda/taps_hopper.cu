/* 3x3 convolutions of many channels to at most eight on Hopper. As in conv64.cu a block walks down a strip
 * 128 pixels wide and the copy engine loads each row once, 64 channels at a time. Every row is multiplied
 * once for each column of the window: [64 pixels, 64 channels] times weights [64, 24], which gives what it
 * adds to the three rows of the result around it. Their sums stay in registers, 8 columns for each; what a
 * third of the columns stands for moves down three rows once its row is complete, so the weights lie in
 * memory such that any turn of the three is in one piece. */
#include "backends/cuda/hopper.cuh"
#include "backends/cuda/launch.cuh"

#define SLAB 64                /* channels at a time */
#define WIDTH 128              /* pixels of a strip */
#define PIXEL_BYTES (2 * SLAB) /* one swizzle row */
#define ROW_BYTES ((WIDTH + 2) * PIXEL_BYTES)
#define SLOT_BYTES ((ROW_BYTES + 1023) / 1024 * 1024)
#define MOST_SLOTS 12
#define MOST_OUTS 8
#define PART_BYTES (MOST_OUTS * PIXEL_BYTES) /* one tap of all outputs */
#define PARTS 5                              /* rows 2, 1, 0, 2, 1 of the window */
#define WIDEST 512
#define GROUPS 2 /* 64 pixels each */
#define THREADS (GROUPS * 128 + 32)
#define MOST_SHARED (227 * 1024)

typedef struct {
    int slabs, slots, rows;
} Shape;

static __host__ __device__ __forceinline__ int
weight_bytes(int slabs)
{
    return 3 * slabs * PARTS * PART_BYTES;
}

#if ON_HOPPER
typedef struct {
    uint8_t *weight, *ring;
    uint64_t *full, *empty;
} Memory;

static __device__ __forceinline__ Memory
memory_of(uint8_t *start, Shape s)
{
    Memory m;
    m.weight = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.ring = m.weight + weight_bytes(s.slabs);
    m.full = (uint64_t *)(m.ring + s.slots * SLOT_BYTES);
    m.empty = m.full + s.slots;
    return m;
}

/* All threads: weights [column][slab][part][output][64], swizzled, zeros for outputs that are not there. */
static __device__ __forceinline__ void
begin(const CudaConv &p, const Memory &m, Shape s)
{
    for (int i = threadIdx.x; i < weight_bytes(s.slabs) / 16; i += THREADS) {
        int chunk = i % 8, output = i / 8 % MOST_OUTS, part = i / 64 % PARTS, slab = i / 64 / PARTS % s.slabs,
            tap = (2 - part % 3) * 3 + i / 64 / PARTS / s.slabs;
        uint4 values = make_uint4(0, 0, 0, 0);
        if (output < p.out_c)
            values = *(const uint4 *)((const uint16_t *)p.weight + ((long long)output * 9 + tap) * p.c +
                                      slab * SLAB + chunk * 8);
        *(uint4 *)(m.weight + i / 8 * PIXEL_BYTES + ((chunk ^ output) * 16)) = values;
    }
    if (threadIdx.x == 0) {
        for (int i = 0; i < s.slots; i++) {
            barrier_init(&m.full[i], 1);
            barrier_init(&m.empty[i], GROUPS * 4);
        }
        barrier_publish();
    }
    shared_to_engine();
    __syncthreads();
}

/* A place in the ring and how often it was gone around, modulo 2. */
typedef struct {
    int slot, turn;
} Place;

static __device__ __forceinline__ void
advance(Place &place, int slots)
{
    if (++place.slot == slots)
        place.slot = 0, place.turn ^= 1;
}

/* One thread: rows top - 1 ... top + rows of the strip, slab by slab. */
static __device__ __forceinline__ void
produce(const CUtensorMap *map, const Memory &m, Shape s, int image, int left, int top, int rows)
{
    Place place = { 0, 0 };
    wait_for_inputs();
    for (int row = 0; row < rows + 2; row++)
        for (int slab = 0; slab < s.slabs; slab++, advance(place, s.slots)) {
            barrier_wait(&m.empty[place.slot], place.turn ^ 1);
            barrier_expect(&m.full[place.slot], ROW_BYTES);
            tensor_load(m.ring + place.slot * SLOT_BYTES, map, &m.full[place.slot], slab * SLAB, left - 1,
                        top + row - 1, image);
        }
}

/* d [64, 24] += a [64, 16] b [16, 24], both from shared memory. */
template <typename T>
static __device__ __forceinline__ void
product_24(float (&d)[12], uint64_t a, uint64_t b)
{
#define PRODUCT(TYPES)                                                                                 \
    asm volatile("{\n"                                                                                 \
                 ".reg .pred p;\n"                                                                     \
                 "setp.eq.b32 p, 0, 0;\n"                                                              \
                 "wgmma.mma_async.sync.aligned.m64n24k16.f32." TYPES                                   \
                 " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11}, %12, %13, p, 1, 1, 0, 0;\n"     \
                 "}"                                                                                   \
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), \
                   "+f"(d[7]), "+f"(d[8]), "+f"(d[9]), "+f"(d[10]), "+f"(d[11])                        \
                 : "l"(a), "l"(b))
    if constexpr (__is_same(T, __half))
        PRODUCT("f16.f16");
    else
        PRODUCT("bf16.bf16");
#undef PRODUCT
}

/* A row of x, the slabs one after the other; `phase` is its number in the strip modulo 3: columns [8 phase, 8
 * phase + 8) start anew, with the window's row 0. */
template <typename T, int phase>
static __device__ __forceinline__ void
multiply_row(const Memory &m, Shape s, Place &place, float (&sum)[12], int group)
{
#pragma unroll
    for (int i = 0; i < 4; i++)
        sum[4 * phase + i] = 0.0f;
    for (int slab = 0; slab < s.slabs; slab++, advance(place, s.slots)) {
        barrier_wait(&m.full[place.slot], place.turn);
        const uint8_t *row = m.ring + place.slot * SLOT_BYTES + group * 64 * PIXEL_BYTES;
        products_begin();
#pragma unroll
        for (int x = 0; x < 3; x++) {
            uint64_t a = matrix_descriptor(row + x * PIXEL_BYTES);
            uint64_t b =
                matrix_descriptor(m.weight + ((x * s.slabs + slab) * PARTS + 2 - phase) * PART_BYTES);
#pragma unroll
            for (int k = 0; k < SLAB / 16; k++)
                product_24<T>(sum, a + 2 * k, b + 2 * k);
        }
        products_commit();
        products_wait<0>();
        products_hold(sum);
        if (threadIdx.x % 32 == 0)
            barrier_arrive(&m.empty[place.slot]);
    }
}

/* Four of a thread's sums: two outputs of two pixels. */
template <typename T>
static __device__ __forceinline__ void
write_sums(const CudaConv &p, const float *sum, const float (&bias)[2], int image, int row, int x)
{
#pragma unroll
    for (int i = 0; i < 4; i++) {
        int at = x + i / 2 * 8, o = threadIdx.x % 4 * 2 + i % 2;
        if (o >= p.out_c || at >= p.w)
            continue;
        long long pixel = ((long long)image * p.h + row) * p.w + at;
        float value = sum[i] + bias[i % 2];
        if (p.add_kind == CUDA_ADD_PIXEL)
            value += to_float(((const T *)p.add)[pixel * p.add_stride + o]);
        ((T *)p.out)[pixel * p.out_c + o] = from_float<T>(activate(p.act, value));
    }
}

template <typename T>
static __device__ __forceinline__ void
consume(const CudaConv &p, const Memory &m, Shape s, int group, int image, int left, int top, int rows)
{
    int x = left + group * 64 + threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4;
    float sum[12] = {}, bias[2] = {};
    Place place = { 0, 0 };
    wait_for_inputs();
    for (int i = 0; i < 2; i++) {
        int o = threadIdx.x % 4 * 2 + i;
        if (o < p.out_c && p.bias != nullptr)
            bias[i] = to_float(((const T *)p.bias)[o]);
        if (o < p.out_c && p.add_kind == CUDA_ADD_IMAGE)
            bias[i] += to_float(((const T *)p.add)[(long long)image * p.add_stride + o]);
    }
    /* Row i of the strip of x completes row i - 2 of the result. */
    for (int i = 0; i < rows + 2; i += 3) {
        multiply_row<T, 0>(m, s, place, sum, group);
        if (i > 0)
            write_sums<T>(p, &sum[4], bias, image, top + i - 2, x);
        if (i + 1 < rows + 2) {
            multiply_row<T, 1>(m, s, place, sum, group);
            if (i > 0)
                write_sums<T>(p, &sum[8], bias, image, top + i - 1, x);
        }
        if (i + 2 < rows + 2) {
            multiply_row<T, 2>(m, s, place, sum, group);
            write_sums<T>(p, &sum[0], bias, image, top + i, x);
        }
    }
}
#endif

template <typename T>
static __global__ void
__launch_bounds__(THREADS, 1)
    taps_hopper_kernel(const CudaConv p, const __grid_constant__ CUtensorMap map, Shape s)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of(start, s);
    int strips = (p.w + WIDTH - 1) / WIDTH, chunks = (p.h + s.rows - 1) / s.rows;
    int chunk = blockIdx.x % chunks, strip = blockIdx.x / chunks % strips,
        image = blockIdx.x / chunks / strips;
    int top = chunk * s.rows, rows = min(s.rows, p.h - top);
    begin(p, m, s);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* known to be the same in a warp */
    if (group < GROUPS)
        consume<T>(p, m, s, group, image, strip * WIDTH, top, rows);
    else if (threadIdx.x == GROUPS * 128)
        produce(&map, m, s, image, strip * WIDTH, top, rows);
#endif
}

extern "C" bool
cuda_taps_hopper_takes(const CudaConv *p, int sm)
{
    return sm == 90 && (p->dtype == DTYPE_F16 || p->dtype == DTYPE_BF16) && p->kernel == 3 &&
           p->stride == 1 && p->pad == 1 && p->up_h == p->h && p->up_w == p->w && p->out_c <= MOST_OUTS &&
           p->c % SLAB == 0 && p->c <= WIDEST && p->x_stride % 8 == 0;
}

template <typename T>
static cudaError_t
launch(const CudaConv *p, const CUtensorMap *map, int multiprocessors, cudaStream_t stream)
{
    int strips = (p->w + WIDTH - 1) / WIDTH * p->n, chunks = max(1, multiprocessors / strips);
    Shape s = { p->c / SLAB, 0, (p->h + chunks - 1) / chunks };
    int left = MOST_SHARED - 1024 - 256 - weight_bytes(s.slabs);
    s.slots = min(MOST_SLOTS, left / SLOT_BYTES);
    size_t shared = 1024 + 256 + (size_t)weight_bytes(s.slabs) + (size_t)s.slots * SLOT_BYTES;
    cudaError_t status = allow_shared(taps_hopper_kernel<T>, shared);
    if (status != cudaSuccess)
        return status;
    unsigned blocks = (unsigned)(strips * ((p->h + s.rows - 1) / s.rows));
    launch_kernel(taps_hopper_kernel<T>, dim3(blocks), THREADS, shared, 1, stream, *p, *map, s);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_taps_hopper(const CudaConv *p, int multiprocessors, cudaStream_t stream)
{
    CUtensorMap map;
    uint64_t pixel = 2ull * p->x_stride;
    uint64_t dims[4] = { (uint64_t)p->c, (uint64_t)p->w, (uint64_t)p->h, (uint64_t)p->n };
    uint64_t strides[3] = { pixel, pixel * p->w, pixel * p->w * p->h };
    uint32_t box[4] = { SLAB, WIDTH + 2, 1, 1 };
    if (!cuda_encode_tensor(&map, p->dtype, p->x, dims, strides, box))
        return cudaErrorInvalidValue;
    return p->dtype == DTYPE_F16 ? launch<__half>(p, &map, multiprocessors, stream)
                                 : launch<__nv_bfloat16>(p, &map, multiprocessors, stream);
}
