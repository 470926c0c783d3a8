/* Linear layers on Hopper where libraries leave time on the table: small ones, one after the other. Blocks
 * load their first weights before the kernel in front of them ends; tiles pass through a ring that the copy
 * engine fills; a few blocks (a cluster) may share the depth of a tile, each finishes some of its columns and
 * gets the others' sums of them. Sums are added in a fixed order. */
#include "backends/cuda/cluster.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/wgmma_tiles.cuh"

#define DEPTH 64 /* of a stage: one swizzle row */
#define ROW_BYTES 128
#define MOST_STAGES 12
#define MOST_SHARED (227 << 10)
#define HALF_SHARED (113 << 10) /* two blocks on a multiprocessor */
#define READY 2                 /* the named barrier of all: the ring's barriers are made */
#define MULTIPLIED 1            /* that of the warpgroups that multiply */

typedef struct {
    CUtensorMap x, weight;
} Maps;

/* A block makes 64 GROUPS rows times N columns of a SPLITth of the depth. */
template <int GROUPS_, int N_, int SPLIT_> struct Cut {
    static constexpr int GROUPS = GROUPS_, N = N_, SPLIT = SPLIT_;
    static constexpr int ROWS = GROUPS * 64, WORKERS = GROUPS * 128, THREADS = WORKERS + 32;
    static constexpr int EIGHTS = N / 8 / SPLIT; /* of columns that a block finishes */
    static constexpr int STAGE_BYTES = (ROWS + N) * ROW_BYTES;
    static constexpr int HEAD_BYTES = 1024;                /* barriers, bias */
    static constexpr int PITCH = EIGHTS * 8 + 8;           /* floats from row to row of the finished sums */
    static constexpr int CHUNKS = (16 * EIGHTS + 31) / 32; /* of eight outputs that a thread stores */
    static constexpr int INBOX_BYTES = (SPLIT - 1) * EIGHTS * WORKERS * 16;
    static constexpr int LAST_BYTES = INBOX_BYTES + ROWS * PITCH * 4; /* what takes the ring's place */
    static_assert(N % (8 * SPLIT) == 0 && 256 + N * 4 <= HEAD_BYTES && N <= WORKERS * 2, "");
};

#if ON_HOPPER
typedef struct {
    uint64_t *full, *empty, *arrived;
    float *bias;
    uint8_t *ring;
} Memory;

template <class C>
static __device__ __forceinline__ Memory
memory_of(uint8_t *start)
{
    Memory m;
    m.full = (uint64_t *)start;
    m.empty = m.full + MOST_STAGES;
    m.arrived = m.empty + MOST_STAGES;
    m.bias = (float *)(start + 256);
    m.ring = start + C::HEAD_BYTES;
    return m;
}

typedef struct {
    int part; /* of the depth */
    int first_row, first_output, first_step, steps;
} Place;

template <class C>
static __device__ __forceinline__ Place
place_of(int depth)
{
    Place at;
    int steps = (depth + DEPTH - 1) / DEPTH, most = (steps + C::SPLIT - 1) / C::SPLIT;
    at.part = blockIdx.x % C::SPLIT;
    at.first_row = blockIdx.x / C::SPLIT * C::ROWS;
    at.first_output = blockIdx.y * C::N;
    at.first_step = at.part * most;
    at.steps = min(most, steps - at.first_step);
    return at;
}

template <class C>
static __device__ __forceinline__ void
make_barriers(const Memory &m, int stages)
{
    int lane = threadIdx.x % 32;
    if (lane < stages) {
        barrier_init(&m.full[lane], 1);
        barrier_init(&m.empty[lane], C::GROUPS * 4);
    }
    if (C::SPLIT > 1 && lane == 0) {
        barrier_init(m.arrived, 1);
        barrier_expect(m.arrived, C::INBOX_BYTES);
    }
    barrier_publish();
    __syncwarp();
    group_barrier_arrive(READY, C::THREADS);
}

/* One thread. Weights do not depend on the kernel before. */
template <class C>
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, const Place &at, int stages)
{
    int ahead = min(stages, at.steps);
    for (int step = 0; step < ahead; step++) {
        barrier_expect(&m.full[step], C::STAGE_BYTES);
        tensor_load(m.ring + step * C::STAGE_BYTES + C::ROWS * ROW_BYTES, &maps.weight, &m.full[step],
                    (at.first_step + step) * DEPTH, at.first_output, 0, 0);
    }
    wait_for_inputs();
    for (int step = 0; step < ahead; step++)
        tensor_load(m.ring + step * C::STAGE_BYTES, &maps.x, &m.full[step], (at.first_step + step) * DEPTH,
                    at.first_row, 0, 0);
    for (int step = ahead, stage = 0, parity = 0; step < at.steps; step++) {
        uint8_t *tile = m.ring + stage * C::STAGE_BYTES;
        int depth = (at.first_step + step) * DEPTH;
        barrier_wait(&m.empty[stage], parity);
        barrier_expect(&m.full[stage], C::STAGE_BYTES);
        tensor_load(tile + C::ROWS * ROW_BYTES, &maps.weight, &m.full[stage], depth, at.first_output, 0, 0);
        tensor_load(tile, &maps.x, &m.full[stage], depth, at.first_row, 0, 0);
        if (++stage == stages)
            stage = 0, parity ^= 1;
    }
}

/* A thread's sums are of rows lane / 4 and 8 more, columns 8 j + lane % 4 * 2 and 1 more. */
template <typename T, class C>
static __device__ __forceinline__ void
multiply(const Memory &m, const Place &at, int stages, int group, float (&sum)[C::N / 2])
{
    for (int step = 0, stage = 0, parity = 0, last = 0; step < at.steps; step++) {
        const uint8_t *tile = m.ring + stage * C::STAGE_BYTES;
        uint64_t a = matrix_descriptor(tile + group * 64 * ROW_BYTES);
        uint64_t b = matrix_descriptor(tile + C::ROWS * ROW_BYTES);
        barrier_wait(&m.full[stage], parity);
        products_begin();
#pragma unroll
        for (int k = 0; k < DEPTH / 16; k++)
            product_tile<T, C::N>(sum, a + 2 * k, b + 2 * k, step + k > 0);
        products_commit();
        if (step > 0) {
            products_wait<1>();
            if (threadIdx.x % 32 == 0)
                barrier_arrive(&m.empty[last]);
        }
        last = stage;
        if (++stage == stages)
            stage = 0, parity ^= 1;
    }
    products_wait<0>();
    products_hold(sum);
}

/* The other parts' sums of the columns that this block finishes are added to its own; theirs are sent. */
template <class C>
static __device__ __forceinline__ void
exchange(const Memory &m, const Place &at, const float (&sum)[C::N / 2], float (&mine)[C::EIGHTS * 4])
{
    float4 *inbox = (float4 *)m.ring + threadIdx.x;
#pragma unroll
    for (int part = 0; part < C::SPLIT; part++) {
        float4 *to = inbox + (at.part - (at.part > part)) * C::EIGHTS * C::WORKERS;
#pragma unroll
        for (int i = 0; i < C::EIGHTS; i++) {
            const float *x = &sum[(part * C::EIGHTS + i) * 4];
            if (part == at.part)
                mine[i * 4] = x[0], mine[i * 4 + 1] = x[1], mine[i * 4 + 2] = x[2], mine[i * 4 + 3] = x[3];
            else
                send_to(to + i * C::WORKERS, m.arrived, part, make_float4(x[0], x[1], x[2], x[3]));
        }
    }
    if (C::SPLIT == 1)
        return;
    barrier_await_cluster(m.arrived, 0);
    for (int i = 0; i < C::SPLIT - 1; i++)
#pragma unroll
        for (int k = 0; k < C::EIGHTS; k++) {
            float4 x = inbox[(i * C::EIGHTS + k) * C::WORKERS];
            mine[k * 4] += x.x, mine[k * 4 + 1] += x.y, mine[k * 4 + 2] += x.z, mine[k * 4 + 3] += x.w;
        }
}

/* A thread has one or two columns' bias, on its way while the products are made. */
template <typename T, class C>
static __device__ __forceinline__ void
load_bias(const CudaConv &p, const Place &at, float (&bias)[2])
{
#pragma unroll
    for (int k = 0; k < 2; k++) {
        int i = threadIdx.x + k * C::WORKERS, output = at.first_output + i;
        bool is_there = p.bias != nullptr && i < C::N && output < p.out_c;
        bias[k] = is_there ? to_float(((const T *)p.bias)[output]) : 0.0f;
    }
}

template <class C>
static __device__ __forceinline__ void
store_bias(const Memory &m, const float (&bias)[2])
{
#pragma unroll
    for (int k = 0; k < 2; k++) {
        int i = threadIdx.x + k * C::WORKERS;
        if (i < C::N)
            m.bias[i] = bias[k];
    }
}

/* Eight outputs of one of the warp's sixteen rows, as a thread stores them. */
typedef struct {
    int row, column; /* in the warp's rows, in the block's finished columns */
    int64_t pixel;   /* of the layer; -1: outside */
    int output;
} Chunk;

template <class C>
static __device__ __forceinline__ Chunk
chunk_of(const CudaConv &p, const Place &at, int k)
{
    Chunk chunk;
    int i = threadIdx.x % 32 + k * 32, pixel = at.first_row + threadIdx.x / 32 * 16 + i / C::EIGHTS;
    chunk.row = i / C::EIGHTS;
    chunk.column = i % C::EIGHTS * 8;
    chunk.output = at.first_output + at.part * C::EIGHTS * 8 + chunk.column;
    bool is_there = chunk.row < 16 && pixel < p.n * p.out_h * p.out_w && chunk.output < p.out_c;
    chunk.pixel = is_there ? pixel : -1;
    return chunk;
}

template <typename T, class C>
static __device__ __forceinline__ void
load_addend(const CudaConv &p, const Place &at, uint4 (&add)[C::CHUNKS])
{
#pragma unroll
    for (int k = 0; k < C::CHUNKS; k++) {
        Chunk chunk = chunk_of<C>(p, at, k);
        add[k] = make_uint4(0, 0, 0, 0);
        if (p.add_kind != CUDA_ADD_NONE && chunk.pixel >= 0)
            add[k] = *(const uint4 *)((const T *)p.add + chunk.pixel * p.add_stride + chunk.output);
    }
}

template <typename T>
static __device__ __forceinline__ void
finish_eight(const CudaConv &p, const float *sums, const float *bias, const uint4 &add, void *to)
{
    const uint32_t more[4] = { add.x, add.y, add.z, add.w };
    float x[8];
    uint4 out;
    uint32_t *pairs = (uint32_t *)&out;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        float2 a = *(const float2 *)(sums + 2 * k), b = *(const float2 *)(bias + 2 * k);
        float2 c = Pair<T>::unpack(more[k]);
        x[2 * k] = a.x + b.x + c.x, x[2 * k + 1] = a.y + b.y + c.y;
    }
    if (p.act == ACT_RELU)
        activate_all(ACT_RELU, x);
#pragma unroll
    for (int k = 0; k < 4; k++)
        pairs[k] = Pair<T>::pack(x[2 * k], x[2 * k + 1]);
    *(uint4 *)to = out;
}

/* Sums leave through memory of their warp. */
template <typename T, class C>
static __device__ __forceinline__ void
finish(const CudaConv &p, const Memory &m, const Place &at, const float (&mine)[C::EIGHTS * 4],
       const uint4 (&add)[C::CHUNKS])
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    float *own = (float *)(m.ring + C::INBOX_BYTES) + warp * 16 * C::PITCH;
    float *to = own + lane / 4 * C::PITCH + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < C::EIGHTS; i++) {
        *(float2 *)(to + i * 8) = make_float2(mine[i * 4], mine[i * 4 + 1]);
        *(float2 *)(to + 8 * C::PITCH + i * 8) = make_float2(mine[i * 4 + 2], mine[i * 4 + 3]);
    }
    __syncwarp();
#pragma unroll
    for (int k = 0; k < C::CHUNKS; k++) {
        Chunk chunk = chunk_of<C>(p, at, k);
        if (chunk.pixel >= 0)
            finish_eight<T>(p, own + chunk.row * C::PITCH + chunk.column,
                            m.bias + at.part * C::EIGHTS * 8 + chunk.column, add[k],
                            (T *)p.out + chunk.pixel * p.out_c + chunk.output);
    }
}

template <typename T, class C>
static __device__ __forceinline__ void
consume(const CudaConv &p, const Memory &m, const Place &at, int stages, int group)
{
    float sum[C::N / 2], mine[C::EIGHTS * 4], bias[2];
    uint4 add[C::CHUNKS];
    load_bias<T, C>(p, at, bias);
    group_barrier(READY, C::THREADS);
    wait_for_inputs();
    load_addend<T, C>(p, at, add);
    multiply<T, C>(m, at, stages, group, sum);
    store_bias<C>(m, bias);
    group_barrier(MULTIPLIED, C::WORKERS);
    if (C::SPLIT > 1)
        cluster_meet(); /* the rings are free */
    exchange<C>(m, at, sum, mine);
    finish<T, C>(p, m, at, mine, add);
}
#endif

template <typename T, class C>
__global__ void
__launch_bounds__(C::THREADS, 1)
    linear_kernel(const CudaConv p, const __grid_constant__ Maps maps, int stages)
{
#if ON_HOPPER
    extern __shared__ __align__(1024) uint8_t start[];
    Memory m = memory_of<C>(start);
    Place at = place_of<C>(p.c);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0); /* known to be the same in a warp */
    if (group < C::GROUPS) {
        consume<T, C>(p, m, at, stages, group);
        return;
    }
    make_barriers<C>(m, stages);
    if (threadIdx.x == C::WORKERS)
        produce<C>(maps, m, at, stages);
    __syncwarp();
    if (C::SPLIT > 1)
        cluster_meet();
#endif
}

static int
steps_of(const CudaConv *p, int split)
{
    int steps = (p->c + DEPTH - 1) / DEPTH;
    return (steps + split - 1) / split;
}

static int
stages_in(int bytes, int stage_bytes, int head_bytes, int steps)
{
    int stages = (bytes - head_bytes) / stage_bytes;
    stages = stages < MOST_STAGES ? stages : MOST_STAGES;
    return stages < steps ? stages : steps;
}

template <typename T, class C>
static cudaError_t
launch(const CudaConv *p, bool deep, cudaStream_t stream)
{
    auto kernel = linear_kernel<T, C>;
    int rows = p->n * p->out_h * p->out_w;
    uint64_t in = (uint64_t)p->c * sizeof(T), outs = (uint64_t)p->out_c,
             pitch = (uint64_t)p->x_stride * sizeof(T);
    uint64_t dims[4] = { (uint64_t)p->c, (uint64_t)rows, 1, 1 },
             weight_dims[4] = { (uint64_t)p->c, outs, 1, 1 };
    uint64_t strides[3] = { pitch, pitch * (uint64_t)rows, pitch * (uint64_t)rows };
    uint64_t weight_strides[3] = { in, in * outs, in * outs };
    uint32_t box[4] = { DEPTH, C::ROWS, 1, 1 }, weight_box[4] = { DEPTH, C::N, 1, 1 };
    Maps maps;
    if (!cuda_encode_tensor(&maps.x, p->dtype, p->x, dims, strides, box) ||
        !cuda_encode_tensor(&maps.weight, p->dtype, p->weight, weight_dims, weight_strides, weight_box))
        return cudaErrorInvalidValue;
    int stages =
        stages_in(deep ? MOST_SHARED : HALF_SHARED, C::STAGE_BYTES, C::HEAD_BYTES, steps_of(p, C::SPLIT));
    int ring = stages * C::STAGE_BYTES, bytes = C::HEAD_BYTES + (ring > C::LAST_BYTES ? ring : C::LAST_BYTES);
    cudaError_t status = allow_shared(kernel, (size_t)bytes);
    if (status != cudaSuccess)
        return status;
    dim3 grid((unsigned)((rows + C::ROWS - 1) / C::ROWS * C::SPLIT),
              (unsigned)((p->out_c + C::N - 1) / C::N));
    launch_kernel(kernel, grid, C::THREADS, (size_t)bytes, C::SPLIT, stream, *p, maps, stages);
    return cudaGetLastError();
}

typedef cudaError_t (*Launch)(const CudaConv *p, bool deep, cudaStream_t stream);

#define CUT(groups, outputs, split, deep)                                          \
    {                                                                              \
        groups, outputs, split, deep, launch<__half, Cut<groups, outputs, split>>, \
            launch<__nv_bfloat16, Cut<groups, outputs, split>>                     \
    }

static const struct {
    int groups, outputs, split;
    bool deep; /* the ring may have all memory of a multiprocessor */
    Launch half, bfloat;
} cuts[CUDA_LINEAR_CUTS] = {
    CUT(1, 64, 1, false), CUT(1, 64, 1, true),   CUT(1, 80, 1, false), CUT(1, 80, 1, true),
    CUT(1, 80, 2, true),  CUT(2, 64, 4, true),   CUT(2, 80, 1, false), CUT(2, 80, 1, true),
    CUT(2, 80, 2, true),  CUT(2, 160, 1, false), CUT(2, 160, 1, true),
};

extern "C" bool
cuda_linear_hopper_takes(const CudaConv *p, int cut, int sm)
{
    if (sm != 90 || (p->dtype != DTYPE_F16 && p->dtype != DTYPE_BF16) || p->kernel != 1 || p->stride != 1 ||
        p->f8 != CUDA_F8_NONE || p->c % 8 != 0 || p->out_c % 8 != 0 || p->x_stride % 8 != 0 ||
        p->add_kind == CUDA_ADD_IMAGE || (p->add_kind == CUDA_ADD_PIXEL && p->add_stride % 8 != 0) ||
        (p->act != ACT_NONE && p->act != ACT_RELU))
        return false;
    int split = cuts[cut].split, part = steps_of(p, split);
    int stage = (cuts[cut].groups * 64 + cuts[cut].outputs) * ROW_BYTES;
    if (part * (split - 1) >= steps_of(p, 1)) /* a part would have nothing to do */
        return false;
    return !cuts[cut].deep || part * stage > HALF_SHARED; /* else it is the one that is not deep */
}

extern "C" cudaError_t
cuda_linear_hopper(const CudaConv *p, int cut, cudaStream_t stream)
{
    return (p->dtype == DTYPE_F16 ? cuts[cut].half : cuts[cut].bfloat)(p, cuts[cut].deep, stream);
}
