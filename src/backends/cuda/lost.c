#include "backends/cuda/lost.h"

#include <stdio.h>

#define MOST_GPUS 1024 /* as many as can be named */
#define TRIAL_BYTES ((gsize)1 << 20)

static GMutex mutex;
static struct {
    int users; /* open handles */
    bool is_lost;
} gpus[MOST_GPUS];
static _Thread_local int bound = -1; /* the thread's GPU: a lost context need not tell */
static gint starts;                  /* atomic: on the GPU that REVERIE_CUDA_FAULT names */

/* What leaves a context unusable, by CUDA's manual. */
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
cuda_lost_bind(int index)
{
    bound = index;
}

void
cuda_lost_note(cudaError_t status)
{
    if (!is_fatal(status) || bound < 0 || bound >= MOST_GPUS)
        return;
    g_mutex_lock(&mutex);
    gpus[bound].is_lost = true;
    g_mutex_unlock(&mutex);
}

bool
cuda_lost_is(int index)
{
    g_mutex_lock(&mutex);
    bool is_lost = gpus[index].is_lost;
    g_mutex_unlock(&mutex);
    return is_lost;
}

/* Memory, and work on it. */
static cudaError_t
try_out(void)
{
    void *memory = NULL;
    cudaError_t status = cudaMalloc(&memory, TRIAL_BYTES);
    if (status != cudaSuccess)
        return status;
    status = cudaMemset(memory, 0, TRIAL_BYTES);
    if (status == cudaSuccess)
        status = cudaDeviceSynchronize();
    cudaFree(memory);
    return status;
}

static bool
renew(int index, GError **error)
{
    g_autofree char *name = g_strdup_printf("cuda:%d", index);
    cudaSetDevice(index);
    cudaDeviceReset();
    cudaGetLastError();
    cudaError_t status = cudaSetDevice(index);
    if (status == cudaSuccess)
        status = try_out();
    cudaGetLastError();
    if (status != cudaSuccess)
        return rv_error_set(error, RV_ERROR_DEVICE, name, "start the program again; see the kernel's log",
                            "the GPU was lost and does not come back: %s", cudaGetErrorString(status));
    g_message("%s works again, with a new context", name);
    return true;
}

bool
cuda_lost_renew(int index, GError **error)
{
    if (index < 0 || index >= MOST_GPUS)
        return true;
    bool ok = true;
    g_mutex_lock(&mutex); /* all the while: nobody opens it meanwhile */
    if (gpus[index].is_lost && gpus[index].users > 0)
        ok = rv_error_set(error, RV_ERROR_DEVICE, "cuda", "try again in a moment",
                          "GPU %d was lost, and other work on it has not ended yet", index);
    else if (gpus[index].is_lost && (ok = renew(index, error)))
        gpus[index].is_lost = false;
    g_mutex_unlock(&mutex);
    return ok;
}

void
cuda_lost_enter(CudaDevice *device)
{
    g_mutex_lock(&mutex);
    gpus[device->index].users++;
    g_mutex_unlock(&mutex);
}

void
cuda_lost_leave(CudaDevice *device)
{
    g_mutex_lock(&mutex);
    gpus[device->index].users--;
    g_mutex_unlock(&mutex);
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
