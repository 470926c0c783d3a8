#include "backends/cuda/lost.h"

#include <stdio.h>

static gint is_lost; /* atomic, as the next */
static gint starts;  /* on the GPU that REVERIE_CUDA_FAULT names */

/* What leaves a process unable to use CUDA, by CUDA's manual. */
static bool
is_fatal(cudaError_t status)
{
    switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed:
    case cudaErrorExternalDevice:
        return true;
    default:
        return false;
    }
}

void
cuda_lost_note(cudaError_t status)
{
    if (is_fatal(status))
        g_atomic_int_set(&is_lost, 1);
}

bool
cuda_lost_is(void)
{
    return g_atomic_int_get(&is_lost) != 0;
}

bool
cuda_lost_check(GError **error)
{
    return !cuda_lost_is() || rv_error_set(error, RV_ERROR_DEVICE, "cuda", "start the program again",
                                           "this process lost a GPU, and CUDA with it");
}

bool
cuda_lost_inject(CudaDevice *device, GError **error)
{
    const char *wish = g_getenv("REVERIE_CUDA_FAULT");
    int index, start;
    if (wish == NULL || sscanf(wish, "%d:%d", &index, &start) != 2 || index != device->index)
        return true;
    if (g_atomic_int_add(&starts, 1) + 1 != start)
        return true;
    return cuda_check(cuda_fault(device->stream), device->name, error);
}
