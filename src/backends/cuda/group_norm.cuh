/* group_norm.cuh - what both ways of computing a group norm share. */
#pragma once
#include "activation.cuh"
#include "kernels.h"
#include "rows.cuh"

static inline int64_t
ceil_divide(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

/* Chooses the one-pass form; false when the shape or the device does not allow it. */
bool plan_cluster(CudaGroupPlan *plan, const CudaNorm *norm, const CudaLimits *limits);
void launch_cluster(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream);
/* The same with vectors in registers: half precision, Hopper; false too where the variant has no room. */
bool plan_held(CudaGroupPlan *plan, const CudaNorm *norm, const CudaLimits *limits, int variant);
void launch_held(const CudaNorm &norm, const CudaGroupPlan &plan, cudaStream_t stream);

/* The mean as two floats, for a mean far from zero leaves one float too few digits of the difference. */
typedef struct {
    float mean, mean_rest, scale, unused;
} GroupStats;

/* T: float2 or double2. */
template <class T>
static __device__ __forceinline__ T
warp_sum(T sum)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        sum.x += __shfl_xor_sync(~0u, sum.x, step);
        sum.y += __shfl_xor_sync(~0u, sum.y, step);
    }
    return sum;
}

/* Sums of x and of its squares from those of its difference to the first number, which are in float, so that
 * a mean far from zero costs no digits. */
template <int V>
static __device__ __forceinline__ void
finish_sums(const float first[V], const float sum[V], const float square[V], double count, double2 sums[V])
{
#pragma unroll
    for (int i = 0; i < V; i++) {
        double f = first[i];
        sums[i] = make_double2(count * f + sum[i], square[i] + 2.0 * f * sum[i] + count * f * f);
    }
}

/* From a group's sum and sum of squares; `share` is one over the group's size. */
static __device__ __forceinline__ GroupStats
stats_of(double2 sum, double share, float eps)
{
    double mean = sum.x * share, variance = sum.y * share - mean * mean;
    float spread = variance < 0.0 ? 0.0f : (float)variance; /* NaN stays */
    return GroupStats { (float)mean, (float)(mean - (float)mean), rsqrtf(spread + eps), 0.0f };
}

/* V of the norm's weights from `channel` on. */
template <int V>
static __device__ __forceinline__ void
load_affine(const CudaNorm &norm, int channel, float weight[V], float bias[V])
{
    load_vector<V>(norm.weight, F32, channel, weight);
    load_vector<V>(norm.bias, F32, channel, bias);
}

/* From weight and bias to out = (x - mean) * scale + shift, for V channels from `channel` on; stats[0] is the
 * group of channel 0. */
template <int V>
static __device__ __forceinline__ void
vector_affine(const GroupStats *stats, int channel, int per_group, float mean[V], float scale[V],
              float shift[V])
{
    int group = channel / per_group, next = (group + 1) * per_group;
    GroupStats of = stats[group];
#pragma unroll
    for (int i = 0; i < V; i++) {
        if (channel + i == next) {
            next += per_group;
            of = stats[++group];
        }
        mean[i] = of.mean;
        scale[i] *= of.scale;
        shift[i] -= of.mean_rest * scale[i];
    }
}
