/* Flash attention in F16 for heads up to 64 wide on Hopper, long rows of keys: a block takes 64 queries of
 * one head for each of its three warpgroups, several times over, so that blocks of equal work fill the
 * multiprocessors. While one warpgroup's products run, the others turn scores into weights (flash_soft.cuh).
 * The sums of weights come out of the product with the values, from columns of ones; in heads up to 40 wide
 * ones in the keys' padding subtract the rows' bases. */
#include "backends/cuda/flash_soft.cuh"
#include "backends/cuda/launch.cuh"
#include "backends/cuda/wgmma_rows.cuh"

#define GROUPS 3
#define THREADS ((GROUPS + 1) * 128)
#define QUERY_BYTES (64 * ROW_BYTES)
#define STAGES 4
#define ONES_CHUNK 5 /* columns that narrow heads leave free in the depth of their products */
#define MOST_SETS 32 /* of a block */

/* WIDE: NARROW or WIDTH. */
template <int WIDE> struct Head {
    static constexpr bool is_narrow = WIDE == NARROW;
    static constexpr int columns = is_narrow ? 48 : 72; /* with those of the sums */
    static constexpr int ones_bytes = is_narrow ? 0 : 16 * ROW_BYTES;
    static constexpr unsigned shared_bytes =
        1024 + 2 * STAGES * TILE_BYTES + 2 * GROUPS * QUERY_BYTES + ones_bytes + 512;
};

/* Sets of 64 queries of a head, how many a block takes; tiles of keys. */
typedef struct {
    int sets, share, keys, tiles;
    float scale;  /* of scores, with the queries' share of it: */
    float folded; /* a power of two, for narrow heads */
    float out_factor;
} Work;

#if ON_HOPPER
typedef struct {
    uint8_t *k, *v, *ones, *q, *out;
    uint64_t *q_full, *q_empty, *k_full, *v_full, *k_empty, *v_empty, *k_ready, *v_ready;
} Memory;

template <int WIDE>
static __device__ __forceinline__ Memory
memory_of(uint8_t *start)
{
    Memory m;
    m.k = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.v = m.k + STAGES * TILE_BYTES;
    m.ones = m.v + STAGES * TILE_BYTES;
    m.q = m.ones + Head<WIDE>::ones_bytes;
    m.out = m.q + GROUPS * QUERY_BYTES;
    m.q_full = (uint64_t *)(m.out + GROUPS * QUERY_BYTES);
    m.q_empty = m.q_full + GROUPS;
    m.k_full = m.q_empty + GROUPS;
    m.v_full = m.k_full + STAGES;
    m.k_empty = m.v_full + STAGES;
    m.v_empty = m.k_empty + STAGES;
    m.k_ready = Head<WIDE>::is_narrow ? m.v_empty + STAGES : m.k_full;
    m.v_ready = Head<WIDE>::is_narrow ? m.k_ready + STAGES : m.v_full;
    return m;
}

template <int WIDE>
static __device__ __forceinline__ void
begin(const Memory &m)
{
    if (threadIdx.x == 0) {
        for (int i = 0; i < GROUPS; i++) {
            barrier_init(&m.q_full[i], 1);
            barrier_init(&m.q_empty[i], 4);
        }
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&m.k_full[i], 1);
            barrier_init(&m.v_full[i], 1);
            barrier_init(&m.k_empty[i], GROUPS * 4);
            barrier_init(&m.v_empty[i], GROUPS * 4);
            if (Head<WIDE>::is_narrow) {
                barrier_init(&m.k_ready[i], 1);
                barrier_init(&m.v_ready[i], 1);
            }
        }
        barrier_publish();
    }
    for (int i = threadIdx.x; i < Head<WIDE>::ones_bytes / 4; i += THREADS)
        ((uint32_t *)m.ones)[i] = 0x3c003c00u;
    shared_to_engine();
    __syncthreads();
}

/* One thread. */
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, const Work &work, int first, int sets)
{
    int head = blockIdx.y, image = blockIdx.z, n = 0, parity_q = 1;
    for (int set = 0; set < sets; set += GROUPS, parity_q ^= 1) {
        for (int g = 0; g < GROUPS && set + g < sets; g++) {
            barrier_wait(&m.q_empty[g], parity_q);
            barrier_expect(&m.q_full[g], QUERY_BYTES);
            tensor_load(m.q + g * QUERY_BYTES, &maps.q, &m.q_full[g], 0, head, (first + set + g) * 64, image);
        }
        for (int i = 0; i < work.tiles; i++, n++) {
            int stage = n % STAGES, parity = ~(n / STAGES) & 1;
            barrier_wait(&m.k_empty[stage], parity);
            barrier_expect(&m.k_full[stage], TILE_BYTES);
            tensor_load(m.k + stage * TILE_BYTES, &maps.k, &m.k_full[stage], 0, head, i * KEYS, image);
            barrier_wait(&m.v_empty[stage], parity);
            barrier_expect(&m.v_full[stage], TILE_BYTES);
            tensor_load(m.v + stage * TILE_BYTES, &maps.v, &m.v_full[stage], 0, head, i * KEYS, image);
        }
    }
}

/* Once the copy engine has filled a tile. One warp. */
static __device__ __forceinline__ void
write_ones(uint8_t *tile, uint64_t *full, uint64_t *ready, int parity)
{
    int lane = threadIdx.x % 32;
    barrier_wait(full, parity);
#pragma unroll
    for (int i = 0; i < KEYS / 32; i++) {
        int row = i * 32 + lane;
        *(uint4 *)(tile + row * ROW_BYTES + (ONES_CHUNK ^ (row & 7)) * 16) =
            make_uint4(0x3c003c00u, 0x3c003c00u, 0x3c003c00u, 0x3c003c00u);
    }
    shared_to_engine();
    __syncwarp();
    if (lane == 0)
        barrier_arrive(ready);
}

static __device__ __forceinline__ void
pad(const Memory &m, const Work &work, int sets)
{
    int rounds = (sets + GROUPS - 1) / GROUPS;
    for (int n = 0; n < rounds * work.tiles; n++) {
        int stage = n % STAGES, parity = n / STAGES & 1;
        write_ones(m.k + stage * TILE_BYTES, &m.k_full[stage], &m.k_ready[stage], parity);
        write_ones(m.v + stage * TILE_BYTES, &m.v_full[stage], &m.v_ready[stage], parity);
    }
}

/* What a warpgroup computes on. `out` ends with sums of weights, where the matrix units make them. */
template <int WIDE> struct State {
    float out[Head<WIDE>::columns / 2];
    SoftRows rows;
    uint32_t q[Head<WIDE>::is_narrow ? 3 : 1][4];
    uint64_t queries;
    int keys; /* of the tile at hand */
    bool is_first;
};

/* n: number of a tile among all of the block's. */
static __device__ __forceinline__ void
take(uint64_t *full, int n)
{
    barrier_wait(&full[n % STAGES], n / STAGES & 1);
}

static __device__ __forceinline__ void
release(uint64_t *empty, int n)
{
    if (threadIdx.x % 32 == 0)
        barrier_arrive(&empty[n % STAGES]);
}

template <int WIDE>
static __device__ __forceinline__ void
start_scores(State<WIDE> &state, const Memory &m, int n, float (&s)[KEYS / 2])
{
    take(m.k_ready, n);
    uint64_t k = matrix_descriptor(m.k + n % STAGES * TILE_BYTES);
    if constexpr (Head<WIDE>::is_narrow) {
        if (threadIdx.x % 4 == 0) {
            state.q[2][2] = state.rows.bias[0];
            state.q[2][3] = state.rows.bias[1];
        }
        products_begin();
#pragma unroll
        for (int step = 0; step < 3; step++)
            if (step == 0)
                rows_make_128(s, state.q[step], k);
            else
                rows_times_128(s, state.q[step], k + 2 * step);
    } else {
        products_begin();
#pragma unroll
        for (int step = 0; step < 4; step++)
            product_128<__half>(s, state.queries + 2 * step, k + 2 * step, step > 0);
    }
}

template <int WIDE>
static __device__ __forceinline__ void
start_weighing(State<WIDE> &state, const Memory &m, int n, const uint32_t (&p)[KEYS / 16][4])
{
    take(m.v_ready, n);
    const uint8_t *values = m.v + n % STAGES * TILE_BYTES;
    uint64_t v = matrix_descriptor(values);
    if constexpr (Head<WIDE>::columns == 72) /* the columns behind 64 are elsewhere */
        v += (uint64_t)(((uint32_t)(m.ones - values) >> 4) - 1) << 16;
    constexpr uint64_t next = 16 * ROW_BYTES >> 4;
    products_begin();
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++)
        if constexpr (Head<WIDE>::columns == 48)
            rows_times_48(state.out, p[step], v + step * next);
        else
            rows_times_72(state.out, p[step], v + step * next - (step * next << 16));
}

template <int count>
static __device__ __forceinline__ void
operands_hold(uint32_t (&a)[count][4])
{
#pragma unroll
    for (int i = 0; i < count; i++)
        asm volatile("" : "+r"(a[i][0]), "+r"(a[i][1]), "+r"(a[i][2]), "+r"(a[i][3])::"memory");
}

template <int WIDE>
static __device__ __forceinline__ void
reset(State<WIDE> &state)
{
#pragma unroll
    for (float &out : state.out)
        out = 0.0f;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        state.rows.base[half] = state.rows.shrink[half] = 0.0f;
        state.rows.bias[half] = 0;
    }
}

/* A tile, its number n, while the values of the one before are weighed by p: its scores become the weights p.
 */
template <int WIDE>
static __device__ __forceinline__ void
step_on(State<WIDE> &state, const Memory &m, const Work &work, int n, int i, uint32_t (&p)[KEYS / 16][4])
{
    float s[KEYS / 2];
    start_scores(state, m, n + i, s);
    products_commit();
    start_weighing(state, m, n + max(i - 1, 0), p);
    products_commit();
    products_wait<1>();
    products_hold(s);
    if (Head<WIDE>::is_narrow)
        operands_hold(state.q);
    release(m.k_empty, n + i);
    int left = work.keys - i * KEYS;
    if (left < KEYS)
        mask(s, left);
    bool is_rebased = settle<!Head<WIDE>::is_narrow>(state.rows, s, work.scale, i == 0);
    products_wait<0>();
    products_hold(state.out);
    operands_hold(p);
    if (i > 0)
        release(m.v_empty, n + i - 1);
    if (is_rebased) {
#pragma unroll
        for (int j = 0; j < Head<WIDE>::columns / 2; j++)
            state.out[j] *= state.rows.shrink[j / 2 % 2];
    }
    weights<!Head<WIDE>::is_narrow>(p, s, work.scale);
}

/* All keys of one set of queries. Before the first tile weights of 0 are multiplied: branches around products
 * would make the compiler wait for each. */
template <int WIDE>
static __device__ __forceinline__ void
attend(State<WIDE> &state, const Memory &m, const Work &work, int n)
{
    uint32_t p[KEYS / 16][4] = {};
    reset(state);
    for (int i = 0; i < work.tiles; i++)
        step_on(state, m, work, n, i, p);
    int last = n + work.tiles - 1;
    start_weighing(state, m, last, p);
    products_commit();
    products_wait<0>();
    products_hold(state.out);
    release(m.v_empty, last);
}

/* The queries; of narrow heads in registers, times `folded`. */
template <int WIDE>
static __device__ __forceinline__ void
load_queries(State<WIDE> &state, const uint8_t *room, float folded)
{
    state.queries = matrix_descriptor(room);
    if constexpr (Head<WIDE>::is_narrow) {
        int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
        for (int step = 0; step < 3; step++) {
            int chunk = (step * 2 + lane / 16) ^ (row & 7);
            load_matrix4(state.q[step], shared_address(room + row * ROW_BYTES + chunk * 16));
#pragma unroll
            for (int j = 0; j < 4; j++) {
                float2 pair = Pair<__half>::unpack(state.q[step][j]);
                state.q[step][j] = Pair<__half>::pack(pair.x * folded, pair.y * folded);
            }
        }
    }
}

template <int WIDE, bool IS_F8>
static __device__ __forceinline__ void
finish(const Maps &maps, uint8_t *room, State<WIDE> &state, int first, int group, float out_factor)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float factor = (IS_F8 ? out_factor : 1.0f) / state.out[WIDE / 2 + half * 2];
#pragma unroll
        for (int j = 0; j < WIDE / 8; j++) {
            state.out[j * 4 + half * 2] *= factor;
            state.out[j * 4 + half * 2 + 1] *= factor;
        }
    }
    if (threadIdx.x % 128 == 0)
        tensor_stores_read();
    group_barrier(1 + group, 128);
    if constexpr (IS_F8)
        store_f8<WIDE>(room, state.out);
    else
        store_plain<__half, WIDE>(room, state.out);
    shared_to_engine();
    group_barrier(1 + group, 128);
    if (threadIdx.x % 128 == 0)
        tensor_store(&maps.out, room, 0, blockIdx.y, first, blockIdx.z);
}

/* A warpgroup without queries in the block's last round lets the tiles pass. */
static __device__ __forceinline__ void
idle(const Memory &m, int n, int tiles)
{
    for (int i = n; i < n + tiles; i++) {
        int stage = i % STAGES, parity = i / STAGES & 1;
        barrier_wait(&m.k_full[stage], parity);
        if (threadIdx.x % 32 == 0)
            barrier_arrive(&m.k_empty[stage]);
        barrier_wait(&m.v_full[stage], parity);
        if (threadIdx.x % 32 == 0)
            barrier_arrive(&m.v_empty[stage]);
    }
}

template <int WIDE, bool IS_F8>
static __device__ __forceinline__ void
consume(const Maps &maps, const Memory &m, const Work &work, int group, int first, int sets)
{
    State<WIDE> state;
    int n = 0, parity = 0;
    for (int set = group; set < sets; set += GROUPS, n += work.tiles, parity ^= 1) {
        barrier_wait(&m.q_full[group], parity);
        load_queries(state, m.q + group * QUERY_BYTES, work.folded);
        attend(state, m, work, n);
        if (threadIdx.x % 32 == 0)
            barrier_arrive(&m.q_empty[group]);
        finish<WIDE, IS_F8>(maps, m.out + group * QUERY_BYTES, state, (first + set) * 64, group,
                            work.out_factor);
    }
    if (n < (sets + GROUPS - 1) / GROUPS * work.tiles)
        idle(m, n, work.tiles);
    if (threadIdx.x % 128 == 0)
        tensor_stores_done();
}
#endif

template <int WIDE, bool IS_F8>
__global__ void
__launch_bounds__(THREADS, 1) flash_balanced_kernel(const __grid_constant__ Maps maps, Work work)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of<WIDE>(start);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0), first = blockIdx.x * work.share;
    int sets = min(work.share, work.sets - first);
    begin<WIDE>(m);
    wait_for_inputs();
    if (group == GROUPS) {
        registers_give<32>();
        int warp = __shfl_sync(~0u, threadIdx.x / 32 % 4, 0);
        if (threadIdx.x == GROUPS * 128)
            produce(maps, m, work, first, sets);
        else if (Head<WIDE>::is_narrow && warp == 1)
            pad(m, work, sets);
    } else {
        registers_take<160>();
        consume<WIDE, IS_F8>(maps, m, work, group, first, sets);
    }
#endif
}

/* Sets of 64 queries for a block: the busiest multiprocessor is through first. A warpgroup without a set
 * costs, and so does a block's start. */
static int
share_of(int sets, int heads, int multiprocessors)
{
    int best = 1;
    double least = INFINITY;
    for (int share = 1; share <= sets && share <= MOST_SETS; share++) {
        int blocks = (sets + share - 1) / share * heads,
            waves = (blocks + multiprocessors - 1) / multiprocessors;
        int idle_groups = (GROUPS - share % GROUPS) % GROUPS;
        double time = waves * (share + 0.3 * idle_groups + 0.5);
        if (time < least) {
            least = time;
            best = share;
        }
    }
    return best;
}

template <int WIDE, bool IS_F8>
static cudaError_t
launch(const CudaAttention *p, int multiprocessors, cudaStream_t stream)
{
    auto kernel = flash_balanced_kernel<WIDE, IS_F8>;
    Maps maps;
    if (!encode_all(&maps, p, 64))
        return cudaErrorInvalidValue;
    int sets = (p->queries + 63) / 64, share = share_of(sets, p->heads * p->n, multiprocessors);
    float scale = p->scale * 1.44269504f, folded = Head<WIDE>::is_narrow ? exp2f(floorf(log2f(scale))) : 1.0f;
    Work work = { sets, share, p->keys, (p->keys + KEYS - 1) / KEYS, scale / folded, folded, p->out_factor };
    dim3 grid((unsigned)((sets + share - 1) / share), (unsigned)p->heads, (unsigned)p->n);
    cudaError_t status = allow_shared(kernel, Head<WIDE>::shared_bytes);
    if (status != cudaSuccess)
        return status;
    launch_kernel(kernel, grid, THREADS, Head<WIDE>::shared_bytes, 1, stream, maps, work);
    return cudaGetLastError();
}

extern "C" bool
cuda_flash_balanced_takes(const CudaAttention *p, int sm)
{
    return p->dtype == DTYPE_F16 && p->scale > 0.0f && cuda_flash_hopper_takes(p, sm);
}

extern "C" cudaError_t
cuda_flash_balanced(const CudaAttention *p, int multiprocessors, cudaStream_t stream)
{
    bool is_f8 = p->out_factor != 0.0f;
    if (p->width <= NARROW)
        return is_f8 ? launch<NARROW, true>(p, multiprocessors, stream)
                     : launch<NARROW, false>(p, multiprocessors, stream);
    return is_f8 ? launch<WIDTH, true>(p, multiprocessors, stream)
                 : launch<WIDTH, false>(p, multiprocessors, stream);
}
