/* group_held.cu - group norm in one pass over memory on Hopper, in half precision: a cluster of blocks takes
 * a tile of an image, its threads hold their vectors in registers (and beyond those in shared memory) while
 * sums go around. Sums are of differences to the group's first number of the image, in float, so that a mean
 * far from zero costs no digits. */
#include "fast_math.cuh"
#include "group_norm.cuh"
#include "launch.cuh"

#define HELD_GROUPS 16    /* of a tile */
#define HELD_BLOCKS 16    /* of a cluster */
#define HELD_CHANNELS 512 /* of a tile */
#define HELD_CHUNKS 4     /* of what goes to shared memory: sums begin when the first has come */

#define PORTABLE_BLOCKS 8
#define LARGE_DEVICE 128 /* multiprocessors that have clusters of 16 */
#define CLUSTERS 5       /* 1, 2, 4, 8, 16 blocks */
#define LEAST_CHANNELS 32
#define LEAST_GROUP 4    /* channels: a vector meets three groups at most */
#define LEAST_VECTORS 64 /* of a block, before it is worth a cluster */
#define USUAL_THREADS 192
#define MOST_HELD 16
#define MOST_GRID_ROWS 65535

typedef struct {
    alignas(16) float weight[HELD_CHANNELS], bias[HELD_CHANNELS];
    float2 inbox[HELD_GROUPS][HELD_BLOCKS]; /* sums of each block of the cluster */
    GroupStats stats[HELD_GROUPS];
    float origin[HELD_GROUPS]; /* what sums are differences to */
    uint64_t arrived;
} HeldShared;

#define FIXED_SHARED ((int)sizeof(HeldShared) + 1024)

/* So many threads that each may have the registers it needs. */
static constexpr int
held_threads(int held)
{
    return held <= 2 ? 1024 : held <= 4 ? 768 : held <= 8 ? 640 : 512;
}

#if __CUDA_ARCH__ >= 900

static __device__ __forceinline__ unsigned
address_of(const void *shared)
{
    return (unsigned)__cvta_generic_to_shared(shared);
}

static __device__ __forceinline__ unsigned
address_at(unsigned own, unsigned rank)
{
    unsigned there;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(own), "r"(rank));
    return there;
}

static __device__ __forceinline__ void
cluster_arrive(void)
{
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

static __device__ __forceinline__ void
cluster_wait(void)
{
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/* The barrier is complete when `bytes` have come. Visible to the cluster after its next barrier. */
static __device__ __forceinline__ void
expect_messages(uint64_t *barrier, unsigned bytes)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;\n"
                 "fence.mbarrier_init.release.cluster;\n"
                 "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address_of(barrier)),
                 "r"(bytes)
                 : "memory");
}

static __device__ __forceinline__ void
await_messages(uint64_t *barrier)
{
    unsigned done = 0;
    while (done == 0)
        asm volatile("{\n"
                     ".reg .pred p;\n"
                     "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], 0;\n"
                     "selp.u32 %0, 1, 0, p;\n"
                     "}"
                     : "=r"(done)
                     : "r"(address_of(barrier))
                     : "memory");
}

static __device__ __forceinline__ void
send_message(float2 *to, uint64_t *barrier, unsigned rank, float2 value)
{
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(
                     address_at(address_of(to), rank)),
                 "f"(value.x), "f"(value.y), "r"(address_at(address_of(barrier), rank))
                 : "memory");
}

static __device__ __forceinline__ uint4
load_once(const void *from)
{
    uint4 v;
    asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "l"(from)
                 : "memory");
    return v;
}

static __device__ __forceinline__ void
copy_once(uint4 *to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address_of(to)), "l"(from) : "memory");
}

static __device__ __forceinline__ void
await_copies(int chunks_under_way)
{
    switch (chunks_under_way) {
    case 3:
        asm volatile("cp.async.wait_group 3;" ::: "memory");
        break;
    case 2:
        asm volatile("cp.async.wait_group 2;" ::: "memory");
        break;
    case 1:
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        break;
    default:
        asm volatile("cp.async.wait_group 0;" ::: "memory");
    }
}

static __device__ __forceinline__ void
add_vector(uint4 bits, const float origin[8], float sum[8], float square[8])
{
    float x[8];
    unpack_half(bits, x);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float d = x[i] - origin[i];
        sum[i] += d;
        square[i] += d * d;
    }
}

static __device__ __forceinline__ GroupStats
held_stats(float2 sum, float origin, double share, float eps)
{
    double off = sum.x * share, variance = sum.y * share - off * off, mean = origin + off;
    float spread = variance < 0.0 ? 0.0f : (float)variance; /* NaN stays */
    return GroupStats { (float)mean, (float)(mean - (float)mean), rsqrtf(spread + eps), 0.0f };
}

static __device__ __forceinline__ float
silu(float x)
{
    return x * reciprocal(1.0f + power_of_two(-1.44269504f * x));
}

template <bool WITH_SILU, bool TO_F8>
static __device__ __forceinline__ void
finish_vector(uint4 bits, const float mean[8], const float scale[8], const float shift[8], char *to,
              float factor)
{
    float x[8];
    unpack_half(bits, x);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        x[i] = (x[i] - mean[i]) * scale[i] + shift[i];
        if constexpr (WITH_SILU)
            x[i] = silu(x[i]);
    }
    if constexpr (TO_F8)
        *(uint2 *)to = pack_f8(x, factor);
    else
        store_eight(to, F16, 0, x);
}

template <int HELD, bool WITH_SILU, bool TO_F8>
static __device__ __forceinline__ void
finish_all(const CudaNorm &norm, const CudaGroupPlan &plan, const uint4 *held, const uint4 *kept, int count,
           int64_t first, const float mean[8], const float scale[8], const float shift[8])
{
    char *to = (char *)norm.out.data + first * (TO_F8 ? 1 : 2);
    int64_t step = plan.rows * norm.out.stride * (TO_F8 ? 1 : 2);
#pragma unroll
    for (int k = 0; k < HELD; k++)
        if (k < count)
            finish_vector<WITH_SILU, TO_F8>(held[k], mean, scale, shift, to + k * step, norm.out.factor);
#pragma unroll 2
    for (int k = HELD; k < count; k++)
        finish_vector<WITH_SILU, TO_F8>(kept[(k - HELD) * plan.threads], mean, scale, shift, to + k * step,
                                        norm.out.factor);
}

#endif

/* HELD: vectors of a thread in registers. Group g's part of the sums of column c lies in a list of its own:
 * lists[g][c - first column of g][row]. */
template <int HELD>
static __global__ void
__launch_bounds__(held_threads(HELD), 1)
    held_norm(const __grid_constant__ CudaNorm norm, const __grid_constant__ CudaGroupPlan plan)
{
#if __CUDA_ARCH__ >= 900
    extern __shared__ uint4 kept[];
    __shared__ HeldShared shared;
    int thread = threadIdx.x, warp = thread / 32, lane = thread % 32, warps = plan.threads / 32;
    int row = thread / plan.columns, column = thread - row * plan.columns;
    int tile_channels = plan.columns * 8, per_group = norm.x.channels / plan.groups;
    int tile_groups = tile_channels / per_group;
    int first_channel = blockIdx.x / plan.cluster * tile_channels, rank = blockIdx.x % plan.cluster;
    int group = column * 8 / per_group, next = (group + 1) * per_group - column * 8;
    int64_t start = blockIdx.y * plan.plane, first = start + rank * plan.piece;
    int64_t left = min(first + plan.piece, start + plan.plane) - first - row;
    int count = row < plan.rows && left > 0 ? ((int)left + plan.rows - 1) / plan.rows : 0;
    float2 *lists = (float2 *)(kept + plan.kept * plan.threads);
    if (plan.cluster > 1) {
        if (thread == 0)
            expect_messages(&shared.arrived, plan.cluster * tile_groups * sizeof(float2));
        __syncwarp();
        cluster_arrive();
    }
    for (int i = thread; i < tile_channels; i += plan.threads) {
        shared.weight[i] = norm.weight[first_channel + i];
        shared.bias[i] = norm.bias[first_channel + i];
    }
    const __half *x = (const __half *)norm.x.data + first_channel;
    const __half *from = x + (first + row) * norm.x.stride + column * 8;
    const __half *image = x + start * norm.x.stride;
    int64_t step = plan.rows * norm.x.stride;
    wait_for_inputs();

    __half first_of[3];
#pragma unroll
    for (int s = 0; s < 3; s++)
        first_of[s] = image[min(group + s, tile_groups - 1) * per_group];
    uint4 held[HELD];
#pragma unroll
    for (int k = 0; k < HELD; k++)
        if (k < count)
            held[k] = load_once(from + k * step);
    int chunk = (plan.kept + HELD_CHUNKS - 1) / HELD_CHUNKS;
    if (plan.kept > 0)
#pragma unroll
        for (int c = 0; c < HELD_CHUNKS; c++) {
            int end = min(count, HELD + (c + 1) * chunk);
#pragma unroll 4
            for (int k = HELD + c * chunk; k < end; k++)
                copy_once(&kept[(k - HELD) * plan.threads + thread], from + k * step);
            asm volatile("cp.async.commit_group;" ::: "memory");
        }
    if (thread < tile_groups)
        shared.origin[thread] = __half2float(image[thread * per_group]);

    float sum[8] = {}, square[8] = {};
    {
        float origin[8], of = __half2float(first_of[0]);
        int boundary = next, segment = 0;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i == boundary) {
                segment++;
                of = __half2float(segment == 1 ? first_of[1] : first_of[2]);
                boundary += per_group;
            }
            origin[i] = of;
        }
#pragma unroll
        for (int k = 0; k < HELD; k++)
            if (k < count)
                add_vector(held[k], origin, sum, square);
        if (plan.kept > 0)
#pragma unroll
            for (int c = 0; c < HELD_CHUNKS; c++) {
                int end = min(count, HELD + (c + 1) * chunk);
                await_copies(HELD_CHUNKS - 1 - c);
#pragma unroll 2
                for (int k = HELD + c * chunk; k < end; k++)
                    add_vector(kept[(k - HELD) * plan.threads + thread], origin, sum, square);
            }
    }

    if (row < plan.rows) {
        int g = group, boundary = next;
        float2 *list = lists + (g * plan.reach + column - g * per_group / 8) * plan.rows + row;
        float2 part = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i == boundary) {
                *list = part;
                part = make_float2(0.0f, 0.0f);
                list = lists + ++g * plan.reach * plan.rows + row;
                boundary += per_group;
            }
            part.x += sum[i], part.y += square[i];
        }
        *list = part;
    }
    __syncthreads();
    if (plan.cluster > 1)
        cluster_wait();
    double share = 1.0 / ((double)plan.plane * per_group);
    for (int g = warp; g < tile_groups; g += warps) {
        const float2 *list = lists + g * plan.reach * plan.rows;
        int entries = ((g * per_group + per_group - 1) / 8 - g * per_group / 8 + 1) * plan.rows;
        float2 total = make_float2(0.0f, 0.0f);
#pragma unroll 4
        for (int i = lane; i < entries; i += 32)
            total.x += list[i].x, total.y += list[i].y;
        total = warp_sum(total);
        if (plan.cluster == 1) {
            if (lane == 0)
                shared.stats[g] = held_stats(total, shared.origin[g], share, norm.eps);
        } else if (lane < plan.cluster) {
            send_message(&shared.inbox[g][rank], &shared.arrived, lane, total);
        }
    }
    if (plan.cluster > 1 && warp < tile_groups) {
        await_messages(&shared.arrived);
        for (int g = warp; g < tile_groups; g += warps) {
            float2 total = make_float2(0.0f, 0.0f);
            if (lane < plan.cluster)
                total = shared.inbox[g][lane];
            total = warp_sum(total);
            if (lane == 0)
                shared.stats[g] = held_stats(total, shared.origin[g], share, norm.eps);
        }
    }
    __syncthreads();

    if (count > 0) {
        float mean[8], scale[8], shift[8];
        load_eight(shared.weight, F32, column * 8, scale);
        load_eight(shared.bias, F32, column * 8, shift);
        GroupStats of = shared.stats[group];
#pragma unroll
        for (int i = 0; i < 8; i++) {
            if (i == next) {
                next += per_group;
                of = shared.stats[++group];
            }
            mean[i] = of.mean;
            scale[i] *= of.scale;
            shift[i] -= of.mean_rest * scale[i];
        }
        int64_t at = (first + row) * norm.out.stride + first_channel + column * 8;
        const uint4 *own = kept + thread;
        if (norm.out.dtype == F16) {
            if (norm.act == ACT_SILU)
                finish_all<HELD, true, false>(norm, plan, held, own, count, at, mean, scale, shift);
            else
                finish_all<HELD, false, false>(norm, plan, held, own, count, at, mean, scale, shift);
        } else if (norm.act == ACT_SILU) {
            finish_all<HELD, true, true>(norm, plan, held, own, count, at, mean, scale, shift);
        } else {
            finish_all<HELD, false, true>(norm, plan, held, own, count, at, mean, scale, shift);
        }
    }
#endif
}

static int
greatest_common_divisor(int a, int b)
{
    while (b != 0) {
        int rest = a % b;
        a = b, b = rest;
    }
    return a;
}

/* Channels of the narrowest tile: whole groups and whole vectors, 64 bytes of each pixel where that is
 * possible. */
static int
narrowest_tile(int channels, int per_group)
{
    int tile = per_group * 8 / greatest_common_divisor(per_group, 8);
    while (tile < LEAST_CHANNELS && channels % (2 * tile) == 0)
        tile *= 2;
    return tile;
}

/* Rows, threads and shared memory for `held` vectors of a thread in registers; false: no room. */
static bool
fit_block(CudaGroupPlan *plan, int per_group, int held, int room)
{
    int most = held_threads(held) / plan->columns;
    int64_t rows = ceil_divide(plan->piece, held);
    plan->rows = (int)(rows < most ? rows : most);
    plan->threads = (int)ceil_divide(plan->rows * plan->columns, 32) * 32;
    int64_t vectors = ceil_divide(plan->piece, plan->rows);
    plan->held = held, plan->kept = (int)(vectors > held ? vectors - held : 0);
    plan->reach = (7 - greatest_common_divisor(per_group, 8) + per_group) / 8 + 1;
    int64_t lists = (int64_t)(plan->columns * 8 / per_group) * plan->reach * plan->rows * sizeof(float2);
    return plan->kept * plan->threads * (int64_t)sizeof(uint4) + lists <= room;
}

/* Few threads that hold much: the least that USUAL_THREADS can hold, else shared memory too. */
static bool
plan_block(CudaGroupPlan *plan, int per_group, int room)
{
    for (int held = 2; held <= MOST_HELD; held *= 2)
        if (ceil_divide(plan->piece, held) * plan->columns <= USUAL_THREADS)
            return fit_block(plan, per_group, held, room);
    return plan->cluster >= PORTABLE_BLOCKS && fit_block(plan, per_group, MOST_HELD, room);
}

static bool
takes(const CudaGroupPlan *plan, const CudaNorm *norm, const CudaLimits *limits)
{
    return limits->capability == 90 && plan->width == 8 && norm->x.dtype == F16 &&
           (norm->out.dtype == F16 || norm->out.dtype == F8_E4M3) && !norm->is_exact &&
           (norm->act == ACT_NONE || norm->act == ACT_SILU) && plan->images <= MOST_GRID_ROWS &&
           norm->x.channels / plan->groups >= LEAST_GROUP;
}

bool
plan_held(CudaGroupPlan *plan, const CudaNorm *norm, const CudaLimits *limits, int variant)
{
    int channels = norm->x.channels, per_group = channels / plan->groups;
    if (!takes(plan, norm, limits))
        return false;
    CudaGroupPlan form = *plan;
    int tile = narrowest_tile(channels, per_group) << variant / CLUSTERS;
    form.cluster = 1 << variant % CLUSTERS;
    form.columns = tile / 8, form.tiles = channels / tile;
    form.piece = ceil_divide(form.plane, form.cluster);
    if (channels % tile != 0 || tile / per_group > HELD_GROUPS || tile > HELD_CHANNELS ||
        (form.cluster > PORTABLE_BLOCKS && limits->multiprocessors < LARGE_DEVICE) ||
        (form.cluster > 1 && form.piece * form.columns < LEAST_VECTORS) ||
        !plan_block(&form, per_group, limits->shared_memory - FIXED_SHARED))
        return false;
    *plan = form;
    return true;
}

template <int HELD>
static void
launch_with(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream)
{
    int lists = plan.columns * 8 / (norm.x.channels / plan.groups) * plan.reach * plan.rows;
    size_t shared = (size_t)plan.kept * plan.threads * sizeof(uint4) + lists * sizeof(float2);
    if (allow_shared(held_norm<HELD>, shared) != cudaSuccess ||
        (plan.cluster > PORTABLE_BLOCKS &&
         cudaFuncSetAttribute(held_norm<HELD>, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) !=
             cudaSuccess))
        return; /* the caller looks for the error */
    launch_kernel(held_norm<HELD>, dim3(plan.tiles * plan.cluster, plan.images), plan.threads, shared,
                  plan.cluster, stream, norm, plan);
}

void
launch_held(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream)
{
    switch (plan.held) {
    case 2:
        return launch_with<2>(norm, plan, stream);
    case 4:
        return launch_with<4>(norm, plan, stream);
    case 8:
        return launch_with<8>(norm, plan, stream);
    default:
        return launch_with<MOST_HELD>(norm, plan, stream);
    }
}
