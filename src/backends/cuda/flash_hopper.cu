/* Flash attention (Shah et al., https://arxiv.org/abs/2407.08608) for heads up to 64 wide on Hopper: a block
 * takes 192 queries of one head, 64 for each of three warpgroups, whose softmax runs beside the others'
 * products; one more feeds them keys and values through the copy engine, which also fills narrow heads and
 * missing keys with zeros. Where queries are few a block takes 64, and two blocks share a multiprocessor. */
#include "backends/cuda/flash_head.cuh"
#include "backends/cuda/launch.cuh"

/* A block with so many warpgroups of 64 queries. */
template <int GROUPS> struct Block {
    static constexpr int rows = GROUPS * 64, threads = (GROUPS + 1) * 128, stages = GROUPS > 1 ? 4 : 2,
                         per_multiprocessor = GROUPS > 1 ? 1 : 2;
    static constexpr unsigned shared_bytes = rows * ROW_BYTES + 2 * stages * TILE_BYTES + 256 + 1024;
};

#if ON_HOPPER
typedef struct {
    uint8_t *q, *k, *v;
    uint64_t *q_full, *k_full, *v_full, *k_empty, *v_empty;
} Memory;

template <int GROUPS>
static __device__ __forceinline__ Memory
memory_of(uint8_t *start)
{
    constexpr int stages = Block<GROUPS>::stages;
    Memory m;
    m.q = (uint8_t *)(((uintptr_t)start + 1023) & ~(uintptr_t)1023);
    m.k = m.q + Block<GROUPS>::rows * ROW_BYTES;
    m.v = m.k + stages * TILE_BYTES;
    m.q_full = (uint64_t *)(m.v + stages * TILE_BYTES);
    m.k_full = m.q_full + 1;
    m.v_full = m.k_full + stages;
    m.k_empty = m.v_full + stages;
    m.v_empty = m.k_empty + stages;
    return m;
}

template <int GROUPS>
static __device__ __forceinline__ void
begin(const Memory &m)
{
    if (threadIdx.x == 0) {
        barrier_init(m.q_full, 1);
        for (int i = 0; i < Block<GROUPS>::stages; i++) {
            barrier_init(&m.k_full[i], 1);
            barrier_init(&m.v_full[i], 1);
            barrier_init(&m.k_empty[i], GROUPS * 4);
            barrier_init(&m.v_empty[i], GROUPS * 4);
        }
        barrier_publish();
    }
    __syncthreads();
}

/* One thread. */
template <int GROUPS>
static __device__ __forceinline__ void
produce(const Maps &maps, const Memory &m, int tiles)
{
    constexpr int stages = Block<GROUPS>::stages;
    int first = blockIdx.x * Block<GROUPS>::rows, head = blockIdx.y, image = blockIdx.z;
    barrier_expect(m.q_full, Block<GROUPS>::rows * ROW_BYTES);
    tensor_load(m.q, &maps.q, m.q_full, 0, head, first, image);
    for (int i = 0; i < tiles; i++) {
        int stage = i % stages, parity = ~(i / stages) & 1;
        barrier_wait(&m.k_empty[stage], parity);
        barrier_expect(&m.k_full[stage], TILE_BYTES);
        tensor_load(m.k + stage * TILE_BYTES, &maps.k, &m.k_full[stage], 0, head, i * KEYS, image);
        barrier_wait(&m.v_empty[stage], parity);
        barrier_expect(&m.v_full[stage], TILE_BYTES);
        tensor_load(m.v + stage * TILE_BYTES, &maps.v, &m.v_full[stage], 0, head, i * KEYS, image);
    }
}

/* A thread's two rows of its warpgroup's 64 queries. `out` holds WIDE columns, and as many that stay zero as
 * leaving by 16 at a time needs. */
template <int WIDE> struct State {
    float out[(WIDE + 15) / 16 * 8], top[2], sum[2];
};

/* Scores become weights relative to the largest so far; `shrink` takes what was summed before to the same
 * base. */
template <int WIDE>
static __device__ __forceinline__ void
soften(State<WIDE> &state, float (&s)[KEYS / 2], float (&shrink)[2], float scale)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = state.top[half];
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            largest = fmaxf(largest, fmaxf(s[j * 4 + half * 2], s[j * 4 + half * 2 + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
        float base = largest == -INFINITY ? 0.0f : largest * scale, part = 0.0f;
        shrink[half] = power_of_two(state.top[half] * scale - base);
        state.top[half] = largest;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = half * 2; i < half * 2 + 2; i++) {
                s[j * 4 + i] = power_of_two(fmaf(s[j * 4 + i], scale, -base));
                part += s[j * 4 + i];
            }
        state.sum[half] = state.sum[half] * shrink[half] + part;
    }
}

template <typename T, int WIDE>
static __device__ __forceinline__ void
start_scores(float (&s)[KEYS / 2], uint64_t q, const uint8_t *keys)
{
    uint64_t k = matrix_descriptor(keys);
    products_begin();
#pragma unroll
    for (int step = 0; step < (WIDE + 15) / 16; step++)
        product_128<T>(s, q + 2 * step, k + 2 * step, step > 0);
    products_commit();
}

template <typename T>
static __device__ __forceinline__ void
pack(uint32_t (&p)[KEYS / 16][4], const float (&s)[KEYS / 2])
{
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            p[k][j] = Pair<T>::pack(s[k * 8 + j * 2], s[k * 8 + j * 2 + 1]);
}

template <typename T, int WIDE>
static __device__ __forceinline__ void
start_weighing(State<WIDE> &state, const uint32_t (&p)[KEYS / 16][4], const uint8_t *values)
{
    uint64_t v = matrix_descriptor(values);
    products_begin();
#pragma unroll
    for (int step = 0; step < KEYS / 16; step++)
        if constexpr (WIDE == NARROW)
            product_rows_40<T>(state.out, p[step], v + step * (16 * ROW_BYTES >> 4), 1);
        else
            product_rows_64<T>(state.out, p[step], v + step * (16 * ROW_BYTES >> 4), 1);
    products_commit();
}

/* Rows leave through the place of the queries, which nobody reads any more. */
template <typename T, bool IS_F8, int WIDE>
static __device__ __forceinline__ void
finish(const Maps &maps, uint8_t *room, State<WIDE> &state, int first, int group, float out_factor)
{
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = state.sum[half];
        total += __shfl_xor_sync(~0u, total, 1);
        total += __shfl_xor_sync(~0u, total, 2);
        float factor = (IS_F8 ? out_factor : 1.0f) / total;
#pragma unroll
        for (int j = 0; j < WIDE / 8; j++) {
            state.out[j * 4 + half * 2] *= factor;
            state.out[j * 4 + half * 2 + 1] *= factor;
        }
    }
    if constexpr (IS_F8)
        store_f8<WIDE>(room, state.out);
    else
        store_plain<T, WIDE>(room, state.out);
    shared_to_engine();
    group_barrier(1 + group, 128);
    if (threadIdx.x % 128 == 0) {
        tensor_store(&maps.out, room, 0, blockIdx.y, first, blockIdx.z);
        tensor_stores_done();
    }
}

/* While the values of a tile are weighed, the softmax of the next tile's scores. */
template <typename T, bool IS_F8, int GROUPS, int WIDE>
static __device__ __forceinline__ void
consume(const Maps &maps, const Memory &m, int group, int keys, int tiles, float scale, float out_factor)
{
    constexpr int stages = Block<GROUPS>::stages;
    bool leads = threadIdx.x % 32 == 0;
    uint8_t *queries = m.q + group * 64 * ROW_BYTES;
    uint64_t q = matrix_descriptor(queries);
    float s[KEYS / 2], shrink[2];
    uint32_t p[KEYS / 16][4];
    State<WIDE> state;
#pragma unroll
    for (float &out : state.out)
        out = 0.0f;
    state.top[0] = state.top[1] = -INFINITY;
    state.sum[0] = state.sum[1] = 0.0f;
    barrier_wait(m.q_full, 0);
    barrier_wait(&m.k_full[0], 0);
    start_scores<T, WIDE>(s, q, m.k);
    products_wait<0>();
    products_hold(s);
    if (leads)
        barrier_arrive(&m.k_empty[0]);
    if (keys < KEYS)
        mask(s, keys);
    soften(state, s, shrink, scale);
    pack<T>(p, s);
    for (int i = 1; i < tiles; i++) {
        int stage = i % stages, before = (i - 1) % stages;
        barrier_wait(&m.k_full[stage], i / stages & 1);
        start_scores<T, WIDE>(s, q, m.k + stage * TILE_BYTES);
        barrier_wait(&m.v_full[before], (i - 1) / stages & 1);
        start_weighing<T>(state, p, m.v + before * TILE_BYTES);
        products_wait<1>();
        products_hold(s);
        if (leads)
            barrier_arrive(&m.k_empty[stage]);
        if (keys - i * KEYS < KEYS)
            mask(s, keys - i * KEYS);
        soften(state, s, shrink, scale);
        products_wait<0>();
        products_hold(state.out);
        if (leads)
            barrier_arrive(&m.v_empty[before]);
#pragma unroll
        for (int j = 0; j < WIDE / 2; j++)
            state.out[j] *= shrink[j / 2 % 2];
        pack<T>(p, s);
    }
    int last = (tiles - 1) % stages;
    barrier_wait(&m.v_full[last], (tiles - 1) / stages & 1);
    start_weighing<T>(state, p, m.v + last * TILE_BYTES);
    products_wait<0>();
    products_hold(state.out);
    finish<T, IS_F8>(maps, queries, state, (int)blockIdx.x * Block<GROUPS>::rows + group * 64, group,
                     out_factor);
}
#endif

template <typename T, bool IS_F8, int GROUPS, int WIDE>
__global__ void
__launch_bounds__(Block<GROUPS>::threads, Block<GROUPS>::per_multiprocessor)
    flash_hopper_kernel(const __grid_constant__ Maps maps, int keys, float scale, float out_factor)
{
#if ON_HOPPER
    extern __shared__ uint8_t start[];
    Memory m = memory_of<GROUPS>(start);
    int group = __shfl_sync(~0u, threadIdx.x / 128, 0), tiles = (keys + KEYS - 1) / KEYS;
    begin<GROUPS>(m);
    wait_for_inputs();
    if (group == GROUPS) {
        registers_give<24>();
        if (threadIdx.x == GROUPS * 128)
            produce<GROUPS>(maps, m, tiles);
    } else {
        registers_take<160>();
        consume<T, IS_F8, GROUPS, WIDE>(maps, m, group, keys, tiles, scale, out_factor);
    }
#endif
}

extern "C" bool
cuda_flash_hopper_takes(const CudaAttention *p, int sm)
{
    return sm == 90 && !p->causal && p->width <= WIDTH && cuda_flash_takes(p, sm) &&
           (p->out_factor == 0.0f || p->width % 16 == 0);
}

template <typename T, bool IS_F8, int GROUPS, int WIDE>
static cudaError_t
launch(const CudaAttention *p, cudaStream_t stream)
{
    constexpr int rows = Block<GROUPS>::rows;
    constexpr unsigned shared = Block<GROUPS>::shared_bytes;
    auto kernel = flash_hopper_kernel<T, IS_F8, GROUPS, WIDE>;
    Maps maps;
    if (!encode_all(&maps, p, rows))
        return cudaErrorInvalidValue;
    dim3 grid((unsigned)((p->queries + rows - 1) / rows), (unsigned)p->heads, (unsigned)p->n);
    cudaError_t status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared);
    if (status != cudaSuccess)
        return status;
    launch_kernel(kernel, grid, Block<GROUPS>::threads, shared, 1, stream, maps, p->keys,
                  p->scale * 1.44269504f, p->out_factor);
    return cudaGetLastError();
}

template <typename T, bool IS_F8, int GROUPS>
static cudaError_t
launch_as_wide(const CudaAttention *p, cudaStream_t stream)
{
    return p->width <= NARROW ? launch<T, IS_F8, GROUPS, NARROW>(p, stream)
                              : launch<T, IS_F8, GROUPS, WIDTH>(p, stream);
}

template <typename T, bool IS_F8>
static cudaError_t
launch_variant(const CudaAttention *p, int variant, cudaStream_t stream)
{
    return variant == 0 ? launch_as_wide<T, IS_F8, 3>(p, stream) : launch_as_wide<T, IS_F8, 1>(p, stream);
}

extern "C" cudaError_t
cuda_flash_hopper(const CudaAttention *p, int variant, cudaStream_t stream)
{
    if (p->out_factor != 0.0f)
        return launch_variant<__half, true>(p, variant, stream);
    return p->dtype == DTYPE_F16 ? launch_variant<__half, false>(p, variant, stream)
                                 : launch_variant<__nv_bfloat16, false>(p, variant, stream);
}
