#include "kernels.h"
#include "launch.cuh"
#include "values.cuh"

#define THREADS 128

static __device__ void
report_value(const CudaReport &report, int index, int value)
{
    if (atomicCAS(report.claim, 0u, 1u) != 0u)
        return;
    report.fault->index = index;
    report.fault->value = value;
    report.fault->op = report.op;
    __threadfence_system();
}

static __global__ void
embed(CudaView ids, CudaView table, CudaView positions, CudaView out, CudaReport report)
{
    wait_for_inputs();
    int64_t token = blockIdx.x;
    int id = ((const int *)ids.data)[token * ids.stride];
    bool is_known = id >= 0 && id < table.pixels;
    if (!is_known && threadIdx.x == 0)
        report_value(report, (int)token, id);
    for (int c = threadIdx.x; c < out.channels; c += THREADS) {
        float x = is_known ? load_value(table.data, table.dtype, id * table.stride + c) : 0.0f;
        if (positions.data != nullptr)
            x += load_value(positions.data, positions.dtype, token % positions.pixels * positions.stride + c);
        store_value(out.data, out.dtype, token * out.stride + c, x);
    }
}

static __global__ void
pick(CudaView x, CudaView index, CudaView out, CudaReport report)
{
    wait_for_inputs();
    int64_t n = blockIdx.x, tokens = x.pixels / out.pixels;
    int at = ((const int *)index.data)[n * index.stride];
    bool is_known = at >= 0 && at < tokens;
    if (!is_known && threadIdx.x == 0)
        report_value(report, (int)n, at);
    for (int c = threadIdx.x; c < out.channels; c += THREADS) {
        float value = is_known ? load_value(x.data, x.dtype, (n * tokens + at) * x.stride + c) : 0.0f;
        store_value(out.data, out.dtype, n * out.stride + c, value);
    }
}

/* In double: an angle of a thousand radians leaves a float few digits. */
static __global__ void
sinusoid(CudaView x, CudaView out, int flip, float shift)
{
    wait_for_inputs();
    int64_t p = blockIdx.x;
    int half = out.channels / 2;
    double at = ((const float *)x.data)[p * x.stride];
    for (int i = threadIdx.x; i < half; i += THREADS) {
        double sine, cosine;
        sincos(at * exp(-9.210340371976184 * i / ((double)half - (double)shift)), &sine, &cosine);
        store_value(out.data, out.dtype, p * out.stride + (flip ? half : 0) + i, (float)sine);
        store_value(out.data, out.dtype, p * out.stride + (flip ? 0 : half) + i, (float)cosine);
    }
}

extern "C" void
cuda_kernel_embed(CudaView ids, CudaView table, CudaView positions, CudaView out, CudaReport report,
                  cudaStream_t stream)
{
    launch_kernel(embed, dim3((unsigned)out.pixels), THREADS, 0, 1, stream, ids, table, positions, out,
                  report);
}

extern "C" void
cuda_kernel_pick(CudaView x, CudaView index, CudaView out, CudaReport report, cudaStream_t stream)
{
    launch_kernel(pick, dim3((unsigned)out.pixels), THREADS, 0, 1, stream, x, index, out, report);
}

extern "C" void
cuda_kernel_sinusoid(CudaView x, CudaView out, int flip, float shift, cudaStream_t stream)
{
    launch_kernel(sinusoid, dim3((unsigned)out.pixels), THREADS, 0, 1, stream, x, out, flip, shift);
}
