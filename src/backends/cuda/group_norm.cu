/* group_norm.cu - group norm where a cluster's memory does not hold an image (group_cluster.cu): two passes,
 * the second mostly from the L2 cache: sums of each group, then scale and shift. The block that finishes last
 * makes mean and deviation of the partial sums; all sums are in an order that the shape alone decides. */
#include "group_norm.cuh"
#include "launch.cuh"

#define MAX_COLUMNS 256
#define THREADS 512
#define SUMS 2048 /* pairs of doubles in shared memory: MAX_COLUMNS vectors of eight */
/* Vectors that a thread reads at least before sums are worth their reduction. */
#define LEAST_READS 4
#define MOST_WRITES 8

static void
plan_passes(CudaGroupPlan *plan, int channels, int multiprocessors)
{
    int vectors = channels / plan->width;
    plan->columns = vectors < MAX_COLUMNS ? vectors : MAX_COLUMNS;
    plan->tiles = (int)ceil_divide(vectors, plan->columns);
    plan->rows = THREADS / plan->columns;
    if (plan->rows > plan->plane)
        plan->rows = (int)plan->plane;
    int64_t most = 2 * multiprocessors / ((int64_t)plan->images * plan->tiles);
    int64_t pieces = ceil_divide(plan->plane, (int64_t)plan->rows * LEAST_READS);
    pieces = pieces > most ? most : pieces;
    plan->piece = ceil_divide(ceil_divide(plan->plane, pieces < 1 ? 1 : pieces), plan->rows) * plan->rows;
    plan->pieces = (int)ceil_divide(plan->plane, plan->piece);
}

extern "C" CudaGroupPlan
cuda_group_plan(const CudaNorm *norm, int images, int groups, const CudaLimits *limits, int variant)
{
    CudaGroupPlan plan = {};
    bool is_wide = takes_eight(&norm->x) && takes_eight(&norm->out) && norm->x.channels % 8 == 0;
    plan.images = images, plan.groups = groups, plan.width = is_wide ? 8 : 1;
    plan.plane = norm->x.pixels / images;
    bool is_held = variant > 0 && plan_held(&plan, norm, limits, variant - 1);
    if (!is_held && !plan_cluster(&plan, norm, limits))
        plan_passes(&plan, norm->x.channels, limits->multiprocessors);
    return plan;
}

static size_t
partial_bytes(const CudaGroupPlan *plan)
{
    return sizeof(double2) * (size_t)plan->images * plan->pieces * plan->tiles * plan->groups;
}

extern "C" size_t
cuda_group_workspace(const CudaGroupPlan *plan)
{
    if (plan->cluster > 0)
        return 0;
    return partial_bytes(plan) + sizeof(GroupStats) * (size_t)plan->images * plan->groups;
}

/* Sum and sum of squares of one channel over this thread's pixels. Differences to the first number are summed
 * in float, so that a mean far from zero costs no digits. */
template <int V>
static __device__ __forceinline__ void
thread_sums(const CudaView &x, int64_t pixel, int64_t end, int rows, int channel, double2 sums[V])
{
    float first[V], sum[V] = {}, square[V] = {};
    if (pixel >= end)
        return;
    load_vector<V>(x.data, x.dtype, pixel * x.stride + channel, first);
    double count = (double)((end - 1 - pixel) / rows + 1);
    pixel += rows;
#pragma unroll 4
    for (; pixel < end; pixel += rows) {
        float value[V];
        load_vector<V>(x.data, x.dtype, pixel * x.stride + channel, value);
#pragma unroll
        for (int i = 0; i < V; i++) {
            float d = value[i] - first[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
    finish_sums<V>(first, sum, square, count, sums);
}

/* Adds up the rows of a block: shared[slot][i][column] for channel column * V + i. Returns the slots in use.
 */
template <int V>
static __device__ __forceinline__ int
gather(const CudaGroupPlan &plan, int row, int column, const double2 sums[V], double2 *shared)
{
    int slots = SUMS / (plan.columns * V);
    for (int from = 0; from < plan.rows; from += slots) {
        if (row >= from && row < from + slots && row < plan.rows)
#pragma unroll
            for (int i = 0; i < V; i++) {
                double2 &at = shared[((row - from) * V + i) * plan.columns + column];
                at = from == 0 ? sums[i] : make_double2(at.x + sums[i].x, at.y + sums[i].y);
            }
        __syncthreads();
    }
    return slots < plan.rows ? slots : plan.rows;
}

/* This block's sums of each group, of the channels [first, end) that the block has. */
template <int V>
static __device__ __forceinline__ void
group_sums(const CudaGroupPlan &plan, int per_group, int first, int end, int slots, const double2 *shared,
           double2 *partial)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int g = warp; g < plan.groups; g += warps) {
        int from = max(g * per_group, first) - first, to = min((g + 1) * per_group, end) - first;
        double2 sum = make_double2(0.0, 0.0);
        for (int slot = 0; slot < slots; slot++)
            for (int c = from + lane; c < to; c += 32) {
                double2 part = shared[(slot * V + c % V) * plan.columns + c / V];
                sum.x += part.x, sum.y += part.y;
            }
        sum = warp_sum(sum);
        if (lane == 0)
            partial[g] = sum;
    }
}

static __device__ __forceinline__ void
finish_stats(const CudaGroupPlan &plan, const double2 *partial, int blocks, double share, float eps,
             GroupStats *stats)
{
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
    for (int g = warp; g < plan.groups; g += warps) {
        double2 sum = make_double2(0.0, 0.0);
        for (int i = lane; i < blocks; i += 32) {
            double2 part = __ldcg(&partial[(int64_t)i * plan.groups + g]);
            sum.x += part.x, sum.y += part.y;
        }
        sum = warp_sum(sum);
        if (lane == 0)
            stats[g] = stats_of(sum, share, eps);
    }
}

template <int V>
static __global__ void
__launch_bounds__(THREADS) group_moments(CudaView x, CudaGroupPlan plan, int first_image, float eps,
                                         double2 *partial, GroupStats *stats, unsigned *tickets)
{
    __shared__ double2 shared[SUMS];
    __shared__ bool is_last;
    int row = threadIdx.x / plan.columns, column = threadIdx.x - row * plan.columns;
    int tile = blockIdx.y, image = first_image + blockIdx.z, blocks = plan.pieces * plan.tiles;
    int first = tile * plan.columns * V, end = min(first + plan.columns * V, x.channels);
    int64_t start = image * plan.plane, pixel = blockIdx.x * plan.piece;
    wait_for_inputs();
    double2 sums[V];
    for (int i = 0; i < V; i++)
        sums[i] = make_double2(0.0, 0.0);
    if (row < plan.rows && first + column * V < end)
        thread_sums<V>(x, start + pixel + row, start + min(pixel + plan.piece, plan.plane), plan.rows,
                       first + column * V, sums);
    int slots = gather<V>(plan, row, column, sums, shared);
    int per_group = x.channels / plan.groups;
    double2 *image_partial = partial + (int64_t)image * blocks * plan.groups;
    group_sums<V>(plan, per_group, first, end, slots, shared,
                  image_partial + ((int64_t)blockIdx.x * plan.tiles + tile) * plan.groups);
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        is_last = atomicInc(&tickets[blockIdx.z], blocks - 1) == (unsigned)blocks - 1;
    __syncthreads();
    if (!is_last)
        return;
    __threadfence();
    finish_stats(plan, image_partial, blocks, 1.0 / ((double)plan.plane * per_group), eps,
                 stats + (int64_t)image * plan.groups);
}

template <int V>
static __global__ void
__launch_bounds__(THREADS)
    group_apply(CudaNorm norm, CudaGroupPlan plan, int64_t piece, const GroupStats *stats)
{
    int row = threadIdx.x / plan.columns, column = threadIdx.x - row * plan.columns;
    int channel = (blockIdx.y * plan.columns + column) * V, image = blockIdx.z;
    int per_group = norm.x.channels / plan.groups;
    if (row >= plan.rows || channel >= norm.x.channels)
        return;
    float mean[V], scale[V], shift[V];
    load_affine<V>(norm, channel, scale, shift);
    wait_for_inputs();
    vector_affine<V>(stats + (int64_t)image * plan.groups, channel, per_group, mean, scale, shift);
    int64_t pixel = blockIdx.x * piece, end = min(pixel + piece, plan.plane), start = image * plan.plane;
#pragma unroll 2
    for (pixel += row; pixel < end; pixel += plan.rows) {
        float x[V];
        load_vector<V>(norm.x.data, norm.x.dtype, (start + pixel) * norm.x.stride + channel, x);
#pragma unroll
        for (int i = 0; i < V; i++)
            x[i] = (x[i] - mean[i]) * scale[i] + shift[i];
        activate_vector<V>(x, norm.act, norm.is_exact);
        store_result<V>(norm.out, (start + pixel) * norm.out.stride + channel, x);
    }
}

template <int V>
static void
launch(const CudaNorm &norm, const CudaGroupPlan &plan, void *workspace, unsigned *tickets, int ticket_count,
       cudaStream_t stream)
{
    double2 *partial = (double2 *)workspace;
    GroupStats *stats = (GroupStats *)((char *)workspace + partial_bytes(&plan));
    unsigned threads = (unsigned)(ceil_divide(plan.rows * plan.columns, 32) * 32);
    for (int image = 0; image < plan.images; image += ticket_count) {
        int count = plan.images - image < ticket_count ? plan.images - image : ticket_count;
        launch_kernel(group_moments<V>, dim3(plan.pieces, plan.tiles, count), threads, 0, 1, stream, norm.x,
                      plan, image, norm.eps, partial, stats, tickets);
    }
    int64_t most = ceil_divide(plan.plane, (int64_t)plan.rows * MOST_WRITES);
    int64_t pieces = plan.pieces > most ? plan.pieces : most;
    int64_t piece = ceil_divide(ceil_divide(plan.plane, pieces), plan.rows) * plan.rows;
    launch_kernel(group_apply<V>, dim3((unsigned)ceil_divide(plan.plane, piece), plan.tiles, plan.images),
                  threads, 0, 1, stream, norm, plan, piece, stats);
}

extern "C" void
cuda_kernel_group_norm(const CudaNorm *norm, const CudaGroupPlan *plan, void *workspace, unsigned *tickets,
                       int ticket_count, cudaStream_t stream)
{
    if (plan->threads > 0)
        launch_held(*norm, *plan, stream);
    else if (plan->cluster > 0)
        launch_cluster(*norm, *plan, stream);
    else if (plan->width == 8)
        launch<8>(*norm, *plan, workspace, tickets, ticket_count, stream);
    else
        launch<1>(*norm, *plan, workspace, tickets, ticket_count, stream);
}
