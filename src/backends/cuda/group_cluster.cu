/* group_cluster.cu - group norm in one pass over memory: a cluster of blocks holds some groups of one image
 * in its shared memory, and exchanges its sums there. Compute capability 9.0 and newer. */
#include <cooperative_groups.h>
#include <cuda_pipeline.h>

#include "group_norm.cuh"
#include "launch.cuh"

#define THREADS 512
#define MOST_GROUPS 16 /* of a cluster */
#define MOST_BLOCKS 16
#define PORTABLE_BLOCKS 8 /* more only where the chip is known to have room for them */
#define MOST_COLUMNS 64   /* vectors of a tile */
#define SEGMENTS 3 /* groups that a vector of eight channels touches: groups have four channels at least */
#define LEAST_CHANNELS 32
#define FIXED_SHARED (32 << 10) /* more than the kernel's own arrays */

namespace groups_api = cooperative_groups;

static int
least_common_multiple(int a, int b)
{
    int x = a, y = b;
    while (y != 0) {
        int rest = x % y;
        x = y, y = rest;
    }
    return a / x * b;
}

/* Channels of a cluster: whole groups and whole vectors, 64 bytes of each pixel at least. 0: none fits. */
static int
tile_channels(int channels, int groups)
{
    int per_group = channels / groups, tile = least_common_multiple(per_group, 8);
    while (tile < LEAST_CHANNELS && channels % (2 * tile) == 0)
        tile *= 2;
    return channels % tile == 0 && tile / per_group <= MOST_GROUPS && tile / 8 <= MOST_COLUMNS ? tile : 0;
}

bool
plan_cluster(CudaGroupPlan *plan, const CudaNorm *norm, const CudaLimits *limits)
{
    int channels = norm->x.channels, tile = tile_channels(channels, plan->groups);
    if (limits->capability < 90 || plan->width != 8 || channels / plan->groups < 4 || tile == 0)
        return false;
    int64_t bytes = plan->plane * tile * type_size(norm->x.dtype);
    int64_t room = (int64_t)limits->shared_memory - FIXED_SHARED;
    plan->columns = tile / 8, plan->tiles = channels / tile, plan->rows = THREADS / plan->columns;
    int64_t blocks = (int64_t)plan->tiles * plan->images;
    int cluster = 1;
    int most = limits->capability == 90 && limits->multiprocessors >= 128 ? MOST_BLOCKS : PORTABLE_BLOCKS;
    while (cluster < most &&
           (bytes / cluster > room || (2 * blocks * cluster <= limits->multiprocessors &&
                                       ceil_divide(plan->plane, 2 * cluster) >= plan->rows)))
        cluster *= 2;
    plan->piece = ceil_divide(plan->plane, cluster);
    if (plan->piece * tile * type_size(norm->x.dtype) > room || plan->images > 65535)
        return false;
    plan->cluster = cluster;
    return true;
}

#if __CUDA_ARCH__ >= 900

/* Sums of the groups that a thread's vector touches, one segment each. */
static __device__ __forceinline__ void
write_segments(const double2 sums[8], int channel, int per_group, double2 (*segments)[THREADS])
{
    int segment = 0, next = (channel / per_group + 1) * per_group;
    double2 sum = make_double2(0.0, 0.0);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (channel + i == next) {
            segments[segment++][threadIdx.x] = sum;
            sum = make_double2(0.0, 0.0);
            next += per_group;
        }
        sum.x += sums[i].x, sum.y += sums[i].y;
    }
    segments[segment][threadIdx.x] = sum;
}

/* Sums over the rows, columns[segment][column], a warp each. */
static __device__ __forceinline__ void
sum_rows(const CudaGroupPlan &plan, int segment_count, const double2 (*segments)[THREADS],
         double2 (*columns)[MOST_COLUMNS])
{
    int lane = threadIdx.x % 32;
    for (int entry = threadIdx.x / 32; entry < plan.columns * segment_count; entry += THREADS / 32) {
        int segment = entry / plan.columns, column = entry - segment * plan.columns;
        double2 sum = make_double2(0.0, 0.0);
        for (int row = lane; row < plan.rows; row += 32) {
            double2 part = segments[segment][row * plan.columns + column];
            sum.x += part.x, sum.y += part.y;
        }
        sum = warp_sum(sum);
        if (lane == 0)
            columns[segment][column] = sum;
    }
}

/* The block's sum of group g of its tile. */
static __device__ __forceinline__ double2
block_sum(int g, int per_group, const double2 (*columns)[MOST_COLUMNS])
{
    double2 sum = make_double2(0.0, 0.0);
    int first = g * per_group, last = first + per_group - 1;
    for (int column = first / 8; column <= last / 8; column++) {
        double2 part = columns[g - column * 8 / per_group][column];
        sum.x += part.x, sum.y += part.y;
    }
    return sum;
}

/* A vector as it lies in memory, into the shared memory of the thread that reads it again; all of a thread's
 * are under way at a time. */
static __device__ __forceinline__ void
keep_vector(uint4 *kept, const CudaView &x, int64_t at)
{
    const uint4 *from = (const uint4 *)((const char *)x.data + at * (x.dtype == F32 ? 4 : 2));
    __pipeline_memcpy_async(kept, from, sizeof *kept);
    if (x.dtype == F32)
        __pipeline_memcpy_async(kept + 1, from + 1, sizeof *kept);
}

/* Sums of `count` vectors that lie `step` apart. */
template <int TYPE>
static __device__ __forceinline__ void
kept_sums(const uint4 *kept, int step, int count, double2 sums[8])
{
    float first[8], sum[8] = {}, square[8] = {};
    if (count == 0)
        return;
    load_eight(kept, TYPE, 0, first);
#pragma unroll 2
    for (int k = 1; k < count; k++) {
        float value[8];
        load_eight(kept + k * step, TYPE, 0, value);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float d = value[i] - first[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
    finish_sums<8>(first, sum, square, count, sums);
}

/* The sums of the whole cluster, eight threads a group, and what follows from them for each group of the
 * tile. The caller waits for the cluster before it ends, so that no block's memory goes before the others
 * have read it. */
static __device__ __forceinline__ void
exchange(const CudaGroupPlan &plan, int tile_groups, double share, float eps, double2 *exchanged,
         GroupStats *stats)
{
    groups_api::cluster_group cluster = groups_api::this_cluster();
    cluster.sync();
    int g = threadIdx.x / MOST_BLOCKS, rank = threadIdx.x % MOST_BLOCKS;
    if (g < MOST_GROUPS) {
        double2 sum = make_double2(0.0, 0.0);
        if (g < tile_groups && rank < plan.cluster)
            sum = *cluster.map_shared_rank(&exchanged[g], rank);
#pragma unroll
        for (int step = MOST_BLOCKS / 2; step > 0; step /= 2) {
            sum.x += __shfl_xor_sync(~0u, sum.x, step);
            sum.y += __shfl_xor_sync(~0u, sum.y, step);
        }
        if (g < tile_groups && rank == 0)
            stats[g] = stats_of(sum, share, eps);
    }
    cluster.barrier_arrive();
    __syncthreads();
}

#endif

template <int TYPE>
static __global__ void
__launch_bounds__(THREADS, 2) cluster_norm(CudaNorm norm, CudaGroupPlan plan)
{
#if __CUDA_ARCH__ >= 900
    extern __shared__ uint4 kept[];
    __shared__ double2 segments[SEGMENTS][THREADS];
    __shared__ double2 columns[SEGMENTS][MOST_COLUMNS];
    __shared__ double2 exchanged[MOST_GROUPS];
    __shared__ GroupStats stats[MOST_GROUPS];
    int row = threadIdx.x / plan.columns, column = threadIdx.x - row * plan.columns;
    constexpr int width = TYPE == F32 ? 2 : 1;
    int step = plan.rows * plan.columns * width;
    int tile_channels = plan.columns * 8, first_channel = blockIdx.x / plan.cluster * tile_channels;
    int per_group = norm.x.channels / plan.groups, tile_groups = tile_channels / per_group;
    int channel = first_channel + column * 8;
    int64_t start = blockIdx.y * plan.plane, first = start + blockIdx.x % plan.cluster * plan.piece;
    int64_t end = min(first + plan.piece, start + plan.plane);
    int count = row < plan.rows && first + row < end ? (int)((end - 1 - first - row) / plan.rows + 1) : 0;
    uint4 *own = kept + (row * plan.columns + column) * width;
    double2 sums[8];
    float mean[8], scale[8] = {}, shift[8] = {};
#pragma unroll
    for (int i = 0; i < 8; i++)
        sums[i] = make_double2(0.0, 0.0);
    if (count > 0)
        load_affine<8>(norm, channel, scale, shift);
    wait_for_inputs();
#pragma unroll 4
    for (int k = 0; k < count; k++)
        keep_vector(own + k * step, norm.x, (first + row + (int64_t)k * plan.rows) * norm.x.stride + channel);
    __pipeline_commit();
    __pipeline_wait_prior(0);
    kept_sums<TYPE>(own, step, count, sums);
    if (row < plan.rows)
        write_segments(sums, channel - first_channel, per_group, segments);
    __syncthreads();
    sum_rows(plan, per_group % 8 == 0 ? 1 : SEGMENTS, segments, columns);
    __syncthreads();
    if (threadIdx.x < tile_groups)
        exchanged[threadIdx.x] = block_sum(threadIdx.x, per_group, columns);
    exchange(plan, tile_groups, 1.0 / ((double)plan.plane * per_group), norm.eps, exchanged, stats);
    if (count > 0)
        vector_affine<8>(stats - first_channel / per_group, channel, per_group, mean, scale, shift);
#pragma unroll 2
    for (int k = 0; k < count; k++) {
        float x[8];
        load_eight(own + k * step, TYPE, 0, x);
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[i] = (x[i] - mean[i]) * scale[i] + shift[i];
        activate_vector<8>(x, norm.act, norm.is_exact);
        store_result<8>(norm.out, (first + row + (int64_t)k * plan.rows) * norm.out.stride + channel, x);
    }
    groups_api::this_cluster().barrier_wait();
#endif
}

template <int TYPE>
static void
launch_typed(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream)
{
    size_t shared = (size_t)(plan.piece * plan.columns * 8 * type_size(TYPE));
    auto kernel = cluster_norm<TYPE>;
    if (allow_shared(kernel, shared) != cudaSuccess ||
        (plan.cluster > PORTABLE_BLOCKS &&
         cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1) != cudaSuccess))
        return; /* the caller looks for the error */
    launch_kernel(kernel, dim3(plan.tiles * plan.cluster, plan.images), THREADS, shared, plan.cluster, stream,
                  norm, plan);
}

void
launch_cluster(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream)
{
    if (norm.x.dtype == F16)
        launch_typed<F16>(norm, plan, stream);
    else if (norm.x.dtype == BF16)
        launch_typed<BF16>(norm, plan, stream);
    else
        launch_typed<F32>(norm, plan, stream);
}
