/* layer_norm.cu - a warp for each token, which it keeps in registers where it fits. */
#include "activation.cuh"
#include "kernels.h"
#include "launch.cuh"
#include "rows.cuh"

#define WARPS 4

static __device__ __forceinline__ float
warp_sum(float sum)
{
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        sum += __shfl_xor_sync(~0u, sum, step);
    return sum;
}

/* What is left of a float's mean after its rounding, and the scale: of sums of differences to that mean. */
static __device__ __forceinline__ float2
moments(float sum, float square, float channels, float eps)
{
    float rest = sum / channels, variance = square / channels - rest * rest;
    return make_float2(rest, rsqrtf((variance < 0.0f ? 0.0f : variance) + eps));
}

/* Vectors of eight, at most K a lane, all of them under way at a time: so the type is known here. */
template <int K, int TYPE>
static __global__ void
__launch_bounds__(WARPS * 32) in_registers(CudaNorm norm)
{
    int64_t token = blockIdx.x * (int64_t)WARPS + threadIdx.x / 32;
    int lane = threadIdx.x % 32, channels = norm.x.channels;
    float weight[K][8], bias[K][8];
#pragma unroll
    for (int k = 0; k < K; k++) { /* no kernel before writes these */
        int c = (k * 32 + lane) * 8;
        if (c < channels) {
            load_eight(norm.weight, F32, c, weight[k]);
            load_eight(norm.bias, F32, c, bias[k]);
        }
    }
    wait_for_inputs();
    if (token >= norm.x.pixels)
        return;
    float x[K][8], sum = 0.0f, square = 0.0f;
#pragma unroll
    for (int k = 0; k < K; k++) {
        int c = (k * 32 + lane) * 8;
        if (c < channels)
            load_eight(norm.x.data, TYPE, token * norm.x.stride + c, x[k]);
    }
#pragma unroll
    for (int k = 0; k < K; k++)
        if ((k * 32 + lane) * 8 < channels) {
#pragma unroll
            for (int i = 0; i < 8; i++)
                sum += x[k][i];
        }
    float mean = warp_sum(sum) / (float)channels;
    sum = 0.0f;
#pragma unroll
    for (int k = 0; k < K; k++)
        if ((k * 32 + lane) * 8 < channels) {
#pragma unroll
            for (int i = 0; i < 8; i++) {
                x[k][i] -= mean;
                sum += x[k][i];
                square += x[k][i] * x[k][i];
            }
        }
    float2 rest = moments(warp_sum(sum), warp_sum(square), (float)channels, norm.eps);
#pragma unroll
    for (int k = 0; k < K; k++) {
        int c = (k * 32 + lane) * 8;
        if (c >= channels)
            break;
#pragma unroll
        for (int i = 0; i < 8; i++)
            x[k][i] = (x[k][i] - rest.x) * rest.y * weight[k][i] + bias[k][i];
        activate_vector<8>(x[k], norm.act, norm.is_exact);
        store_result<8>(norm.out, token * norm.out.stride + c, x[k]);
    }
}

/* Any width, any alignment: the token is read three times. */
static __global__ void
__launch_bounds__(WARPS * 32) streamed(CudaNorm norm)
{
    wait_for_inputs();
    int64_t token = blockIdx.x * (int64_t)WARPS + threadIdx.x / 32;
    int lane = threadIdx.x % 32, channels = norm.x.channels;
    if (token >= norm.x.pixels)
        return;
    int64_t from = token * norm.x.stride, to = token * norm.out.stride;
    float sum = 0.0f, square = 0.0f;
    for (int c = lane; c < channels; c += 32)
        sum += load_value(norm.x.data, norm.x.dtype, from + c);
    float mean = warp_sum(sum) / (float)channels;
    sum = 0.0f;
    for (int c = lane; c < channels; c += 32) {
        float d = load_value(norm.x.data, norm.x.dtype, from + c) - mean;
        sum += d;
        square += d * d;
    }
    float2 rest = moments(warp_sum(sum), warp_sum(square), (float)channels, norm.eps);
    for (int c = lane; c < channels; c += 32) {
        float x = load_value(norm.x.data, norm.x.dtype, from + c) - mean;
        x = (x - rest.x) * rest.y * norm.weight[c] + norm.bias[c];
        x = activate_rarely(x, norm.act, norm.is_exact);
        store_result<1>(norm.out, to + c, &x);
    }
}

template <int K>
static void
launch_typed(const CudaNorm &norm, unsigned blocks, cudaStream_t stream)
{
    auto kernel = norm.x.dtype == F16    ? in_registers<K, F16>
                  : norm.x.dtype == BF16 ? in_registers<K, BF16>
                                         : in_registers<K, F32>;
    launch_kernel(kernel, dim3(blocks), WARPS * 32, 0, 1, stream, norm);
}

extern "C" void
cuda_kernel_layer_norm(const CudaNorm *norm, cudaStream_t stream)
{
    unsigned blocks = (unsigned)((norm->x.pixels + WARPS - 1) / WARPS);
    int channels = norm->x.channels;
    if (!takes_eight(&norm->x) || !takes_eight(&norm->out) || channels % 8 != 0 || channels > 8 * 256)
        launch_kernel(streamed, dim3(blocks), WARPS * 32, 0, 1, stream, *norm);
    else if (channels <= 2 * 256)
        launch_typed<2>(*norm, blocks, stream);
    else if (channels <= 5 * 256)
        launch_typed<5>(*norm, blocks, stream);
    else
        launch_typed<8>(*norm, blocks, stream);
}
