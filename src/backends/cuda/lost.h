/* lost.h - a GPU whose context this process lost (an illegal address, an Xid) takes CUDA with it in the whole
 * process: every call fails from then on, on the other GPUs too, and cudaDeviceReset leaves devices that are
 * "unavailable" (seen with the driver 580.159 on two H200). CUDA's manual says no less: the process must be
 * started again. */
#pragma once
#include <cuda_runtime.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Enqueues the write. */
cudaError_t cuda_fault(cudaStream_t stream);

#ifdef __cplusplus
}
#else
#include "backends/cuda/internal.h"

/* Looks at what a call returned. */
void cuda_lost_note(cudaError_t status);
bool cuda_lost_is(void);
/* Before a GPU is opened: false with RV_ERROR_DEVICE once one was lost. */
bool cuda_lost_check(GError **error);

/* For tests: REVERIE_CUDA_FAULT="GPU:N" has the N-th start of a program on that GPU lose it, once. */
bool cuda_lost_inject(CudaDevice *device, GError **error);
#endif
