/* A write to nowhere: it takes the context with it, as a fault of the hardware or of a kernel does. For tests
 * of what comes after. */
#include "backends/cuda/lost.h"

__global__ void
fault_kernel(int *nowhere)
{
    *nowhere = 1;
}

extern "C" cudaError_t
cuda_fault(cudaStream_t stream)
{
    fault_kernel<<<1, 1, 0, stream>>>((int *)16);
    return cudaGetLastError();
}
