/* Convolutions and linear layers without matrix units, for every type, shape and stride: a block computes 64
 * pixels x 64 outputs, a thread 4 x 4, over 16 inputs at a time. */
#include "backends/cuda/device.cuh"

#define TILE 64
#define DEPTH 16
#define THREADS 256

/* The element k = tap * c + channel of the window of an output pixel; 0 outside. */
template <typename T>
__device__ float
window_element(const CudaConv &p, int image, int row, int column, int k)
{
    int tap = k / p.c, channel = k - tap * p.c;
    int y = row * p.stride + tap / p.kernel - p.pad, x = column * p.stride + tap % p.kernel - p.pad;
    if (y < 0 || y >= p.up_h || x < 0 || x >= p.up_w)
        return 0.0f;
    if (p.up_h != p.h)
        y = (int)((long long)y * p.h / p.up_h);
    if (p.up_w != p.w)
        x = (int)((long long)x * p.w / p.up_w);
    long long pixel = ((long long)image * p.h + y) * p.w + x;
    return to_float(((const T *)p.x)[pixel * p.x_stride + channel]);
}

template <typename T>
__device__ void
load_windows(const CudaConv &p, float (*to)[TILE + 4], long long first, long long pixels, int k0, int depth)
{
    int k = k0 + (int)threadIdx.x % DEPTH;
    for (int i = threadIdx.x / DEPTH; i < TILE; i += THREADS / DEPTH) {
        long long pixel = first + i;
        float value = 0.0f;
        if (pixel < pixels && k < depth) {
            int image = (int)(pixel / ((long long)p.out_h * p.out_w));
            int rest = (int)(pixel - (long long)image * p.out_h * p.out_w);
            value = window_element<T>(p, image, rest / p.out_w, rest % p.out_w, k);
        }
        to[k - k0][i] = value;
    }
}

template <typename T>
__device__ void
load_weights(const CudaConv &p, float (*to)[TILE + 4], int first, int k0, int depth)
{
    int k = k0 + (int)threadIdx.x % DEPTH;
    for (int i = threadIdx.x / DEPTH; i < TILE; i += THREADS / DEPTH) {
        bool inside = first + i < p.out_c && k < depth;
        to[k - k0][i] = inside ? to_float(((const T *)p.weight)[(long long)(first + i) * depth + k]) : 0.0f;
    }
}

template <typename T>
__device__ void
store(const CudaConv &p, long long pixel, int channel, float sum)
{
    if (p.bias != nullptr)
        sum += to_float(((const T *)p.bias)[channel]);
    if (p.add_kind == CUDA_ADD_PIXEL)
        sum += to_float(((const T *)p.add)[pixel * p.add_stride + channel]);
    else if (p.add_kind == CUDA_ADD_IMAGE)
        sum += to_float(((const T *)p.add)[pixel / ((long long)p.out_h * p.out_w) * p.add_stride + channel]);
    ((T *)p.out)[pixel * p.out_c + channel] = from_float<T>(activate(p.act, sum));
}

template <typename T>
__global__ void
__launch_bounds__(THREADS) simt_conv_kernel(const CudaConv p)
{
    __shared__ float a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];
    long long pixels = (long long)p.n * p.out_h * p.out_w, first = (long long)blockIdx.x * TILE;
    int first_out = blockIdx.y * TILE, depth = p.kernel * p.kernel * p.c;
    int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
    float sum[4][4] = {};
    for (int k0 = 0; k0 < depth; k0 += DEPTH) {
        load_windows<T>(p, a, first, pixels, k0, depth);
        load_weights<T>(p, b, first_out, k0, depth);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; k++) {
            float4 va = *(const float4 *)&a[k][ty * 4], vb = *(const float4 *)&b[k][tx * 4];
            float ra[4] = { va.x, va.y, va.z, va.w }, rb[4] = { vb.x, vb.y, vb.z, vb.w };
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] = fmaf(ra[i], rb[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            if (first + ty * 4 + i < pixels && first_out + tx * 4 + j < p.out_c)
                store<T>(p, first + ty * 4 + i, first_out + tx * 4 + j, sum[i][j]);
}

extern "C" cudaError_t
cuda_simt_conv(const CudaConv *conv, cudaStream_t stream)
{
    long long pixels = (long long)conv->n * conv->out_h * conv->out_w;
    dim3 grid((unsigned)((pixels + TILE - 1) / TILE), (unsigned)((conv->out_c + TILE - 1) / TILE));
    if (conv->dtype == DTYPE_F32)
        simt_conv_kernel<float><<<grid, THREADS, 0, stream>>>(*conv);
    else if (conv->dtype == DTYPE_F16)
        simt_conv_kernel<__half><<<grid, THREADS, 0, stream>>>(*conv);
    else
        simt_conv_kernel<__nv_bfloat16><<<grid, THREADS, 0, stream>>>(*conv);
    return cudaGetLastError();
}
