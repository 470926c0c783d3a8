/* lost.h - GPUs whose context this process lost (an illegal address, an Xid): everything on such a GPU fails
 * from then on.
 *
 * CUDA's manual says that the process must be started again. What can be tried before: once nothing of the
 * process is open on the GPU any more, its context is destroyed (cudaDeviceReset) and a new one is put to the
 * test. So whoever has the GPU open must close it when it fails, or when the device's description says that
 * it is lost; whoever opens it then either finds it working or is told to start the server again. */
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

/* Before a GPU is opened: gives it a new context where the last was lost, unless somebody has it open still.
 * Numbers that no GPU has are left to others. */
bool cuda_lost_renew(int index, GError **error);
/* Around a handle's life. leave: after everything of it is destroyed. */
void cuda_lost_enter(CudaDevice *device);
void cuda_lost_leave(CudaDevice *device);
/* The calling thread works on this GPU from now on. */
void cuda_lost_bind(int index);
/* Looks at what a call returned: the thread's GPU may be lost. */
void cuda_lost_note(cudaError_t status);
bool cuda_lost_is(int index);

/* For tests: REVERIE_CUDA_FAULT="GPU:N" has the N-th start of a program on that GPU lose it, once. */
bool cuda_lost_inject(CudaDevice *device, GError **error);
#endif
