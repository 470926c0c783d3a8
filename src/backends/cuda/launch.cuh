/* launch.cuh - launches that overlap the end of the kernel before (programmatic dependent launch, compute
 * capability 9.0 and newer): a kernel launched so calls wait_for_inputs() before its first access to memory
 * that another kernel writes. */
#pragma once
#include <cuda_runtime.h>

#include <mutex>

/* Everything before in the stream is complete and visible afterwards; the kernel after this one may be set
 * up. */
static __device__ __forceinline__ void
wait_for_inputs(void)
{
#if __CUDA_ARCH__ >= 900
    cudaTriggerProgrammaticLaunchCompletion();
    cudaGridDependencySynchronize();
#endif
}

/* Compute capability of the current device: 90 for 9.0. */
static inline int
current_capability(void)
{
    static int known[64];
    int device = 0, major = 0, minor = 0;
    cudaGetDevice(&device);
    int *at = &known[device & 63];
    if (*at == 0) {
        cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
        cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
        *at = major * 10 + minor;
    }
    return *at;
}

/* The kernel may ask for so much shared memory on the current device. Never lowered: another thread may be
 * about to launch with more. */
template <class... Parameters>
static cudaError_t
allow_shared(void (*kernel)(Parameters...), size_t bytes)
{
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    cudaFuncAttributes now;
    cudaError_t status = cudaFuncGetAttributes(&now, kernel);
    if (status != cudaSuccess || now.maxDynamicSharedSizeBytes >= (int)bytes)
        return status;
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes);
}

/* cluster: blocks along x that share memory, 1 for none. */
template <class... Parameters, class... Arguments>
static void
launch_kernel(void (*kernel)(Parameters...), dim3 grid, unsigned threads, size_t shared, unsigned cluster,
              cudaStream_t stream, Arguments... arguments)
{
    cudaLaunchAttribute attributes[2];
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = attributes;
    if (current_capability() >= 90) {
        attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attributes[0].val.programmaticStreamSerializationAllowed = 1;
        config.numAttrs = 1;
    }
    if (cluster > 1) {
        attributes[config.numAttrs].id = cudaLaunchAttributeClusterDimension;
        attributes[config.numAttrs].val.clusterDim.x = cluster;
        attributes[config.numAttrs].val.clusterDim.y = attributes[config.numAttrs].val.clusterDim.z = 1;
        config.numAttrs++;
    }
    cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...);
}
