#include <string.h>

#include "backends/cuda/counters.h"
#include "backends/cuda/f8.h"
#include "backends/cuda/lost.h"
#include "backends/cuda/range.h"

#define OLDEST_CAPABILITY 75
#define LT_WORKSPACE ((gsize)32 << 20)
#define NORM_TICKETS 1024

static const CudaOp *const cuda_ops[RV_OP_KINDS] = {
    [RV_OP_CONV2D] = &cuda_conv2d,
    [RV_OP_LINEAR] = &cuda_linear,
    [RV_OP_ATTENTION] = &cuda_attention,
    [RV_OP_GROUP_NORM] = &cuda_group_norm,
    [RV_OP_LAYER_NORM] = &cuda_layer_norm,
    [RV_OP_ACT] = &cuda_act,
    [RV_OP_GLU] = &cuda_glu,
    [RV_OP_ADD] = &cuda_add,
    [RV_OP_MIX] = &cuda_mix,
    [RV_OP_CONCAT] = &cuda_concat,
    [RV_OP_EMBED] = &cuda_embed,
    [RV_OP_PICK] = &cuda_pick,
    [RV_OP_SINUSOID] = &cuda_sinusoid,
    [RV_OP_CONVERT] = &cuda_convert,
};

const CudaOp *
cuda_op_of(RvOpKind kind)
{
    return cuda_ops[kind];
}

/* How many GPUs there are; an error that says what is missing when there are none. */
static bool
count_devices(int *count, GError **error)
{
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (driver == 0)
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", "install NVIDIA's driver, or use --device cpu",
                            "there is no NVIDIA driver");
    cudaError_t status = cudaGetDeviceCount(count);
    cudaGetLastError();
    if (status == cudaErrorInsufficientDriver)
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", "install a newer driver, or use --device cpu",
                            "the NVIDIA driver is for CUDA %d.%d, this program needs %d.%d", driver / 1000,
                            driver % 1000 / 10, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    if (status == cudaErrorNoDevice || (status == cudaSuccess && *count == 0))
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", "use --device cpu", "no NVIDIA GPU was found");
    return cuda_check(status, "cuda", error);
}

static bool
choose_device(CudaDevice *cuda, const RvDeviceOptions *options, GError **error)
{
    int count = 0;
    struct cudaDeviceProp properties;
    if (!count_devices(&count, error))
        return false;
    if (options->index < 0 || options->index >= count)
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", "run nvidia-smi to see which there are",
                            "there is no GPU number %d, but %d in all", options->index, count);
    cuda->index = options->index;
    cuda->compute = options->compute;
    cuda->fp8 = options->fp8;
    if (!cuda_check(cudaGetDeviceProperties(&properties, cuda->index), "cuda", error))
        return false;
    g_strlcpy(cuda->name, properties.name, sizeof cuda->name);
    cuda->sm = properties.major * 10 + properties.minor;
    cuda->multiprocessors = properties.multiProcessorCount;
    cuda->shared_memory = properties.sharedMemPerBlockOptin;
    if (cuda->sm < OLDEST_CAPABILITY)
        return rv_error_set(error, RV_ERROR_DEVICE, cuda->name, "use --device cpu",
                            "compute capability %d.%d is too old, 7.5 or newer is needed", properties.major,
                            properties.minor);
    if (cuda->compute == RV_BF16 && cuda->sm < 80)
        return rv_error_set(error, RV_ERROR_DEVICE, cuda->name, "use --precision fp16 or fp32",
                            "this GPU has no bf16 arithmetic");
    if (cuda->fp8 && cuda->sm < CUDA_F8_OLDEST)
        return rv_error_set(error, RV_ERROR_DEVICE, cuda->name, "use --precision fp16",
                            "this GPU (compute capability %d.%d) has no fp8 arithmetic, which came with 8.9",
                            properties.major, properties.minor);
    return cuda_bind(cuda, error);
}

static bool
check_kernels(CudaDevice *cuda, GError **error)
{
    cudaError_t status = cuda_kernels_probe();
    cudaGetLastError();
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction)
        return rv_error_set(error, RV_ERROR_DEVICE, cuda->name, "build with -Dgpu_archs for this GPU",
                            "the CUDA module has no code for compute capability %d.%d", cuda->sm / 10,
                            cuda->sm % 10);
    return cuda_check(status, cuda->name, error);
}

/* Work in the background only gets the multiprocessors that frames leave idle. */
static bool
open_streams(CudaDevice *cuda, bool is_background, GError **error)
{
    int lowest = 0, highest = 0;
    if (!cuda_check(cudaDeviceGetStreamPriorityRange(&lowest, &highest), cuda->name, error))
        return false;
    int priority = is_background ? lowest : highest;
    cudaStream_t *const streams[] = { &cuda->stream, &cuda->upload_stream, &cuda->download_stream };
    for (gsize i = 0; i < G_N_ELEMENTS(streams); i++)
        if (!cuda_check(cudaStreamCreateWithPriority(streams[i], cudaStreamNonBlocking, priority), cuda->name,
                        error))
            return false;
    return true;
}

static bool
open_libraries(CudaDevice *cuda, GError **error)
{
    cuda->lt_workspace_bytes = LT_WORKSPACE;
    return cuda_check_cublas(cublasLtCreate(&cuda->lt), cuda->name, error) &&
           cuda_check_cudnn(cudnnCreate(&cuda->dnn), cuda->name, error) &&
           cuda_check_cudnn(cudnnSetStream(cuda->dnn, cuda->stream), cuda->name, error) &&
           (cuda->lt_workspace = cuda_alloc(cuda, cuda->lt_workspace_bytes, error)) != NULL &&
           (cuda->counters = cuda_counters_new(cuda, error)) != NULL;
}

static bool
open_memory(CudaDevice *cuda, GError **error)
{
    gsize bytes = (NORM_TICKETS + 1) * sizeof *cuda->norm_tickets;
    cuda->norm_ticket_count = NORM_TICKETS;
    if (!cuda_check(cudaHostAlloc((void **)&cuda->fault, sizeof *cuda->fault, cudaHostAllocDefault),
                    cuda->name, error))
        return false;
    memset(cuda->fault, 0, sizeof *cuda->fault);
    cuda->norm_tickets = cuda_alloc(cuda, bytes, error);
    cuda->fault_claim = cuda->norm_tickets + NORM_TICKETS;
    return cuda->norm_tickets != NULL &&
           cuda_check(cudaMemset(cuda->norm_tickets, 0, bytes), cuda->name, error) &&
           (cuda->ranges = cuda_ranges_new(cuda, error)) != NULL &&
           (cuda->arena = cuda_arena_new(cuda, error)) != NULL &&
           (cuda->staging = cuda_staging_new(cuda, error)) != NULL;
}

static void
open_tuning(CudaDevice *cuda)
{
    g_autofree char *key = g_strdup_printf("%s sm%d cublas%zu cudnn%zu reverie%s", cuda->name, cuda->sm,
                                           cublasLtGetVersion(), cudnnGetVersion(), REVERIE_VERSION);
    if (g_getenv("REVERIE_CUDA_WAY") == NULL) /* tune.h */
        cuda->tuning = cuda_tuning_open("tuning", key);
}

static void
cuda_close(void *device)
{
    CudaDevice *cuda = device;
    cudaSetDevice(cuda->index);
    cudaDeviceSynchronize();
    cuda_f8_close(cuda);
    cuda_tuning_close(cuda->tuning);
    cuda_staging_free(cuda->staging);
    cuda_arena_free(cuda->arena);
    cuda_ranges_free(cuda->ranges);
    g_hash_table_unref(cuda->chunks);
    cuda_free(cuda, cuda->norm_tickets);
    cuda_free(cuda, cuda->lt_workspace);
    cuda_counters_free(cuda, cuda->counters);
    if (cuda->fault != NULL)
        cudaFreeHost(cuda->fault);
    if (cuda->dnn != NULL)
        cudnnDestroy(cuda->dnn);
    if (cuda->lt != NULL)
        cublasLtDestroy(cuda->lt);
    cudaStream_t streams[] = { cuda->stream, cuda->upload_stream, cuda->download_stream };
    for (gsize i = 0; i < G_N_ELEMENTS(streams); i++)
        if (streams[i] != NULL)
            cudaStreamDestroy(streams[i]);
    cudaGetLastError();
    g_free(cuda);
}

static bool
cuda_open(const RvDeviceOptions *options, void **device, GError **error)
{
    if (!cuda_lost_check(error))
        return false;
    CudaDevice *cuda = g_new0(CudaDevice, 1);
    if (!choose_device(cuda, options, error)) {
        g_free(cuda);
        return false;
    }
    cuda->chunks = g_hash_table_new(NULL, NULL);
    cuda->turn = options->turn;
    if (!check_kernels(cuda, error) || !open_streams(cuda, options->background, error) ||
        !open_libraries(cuda, error) || !open_memory(cuda, error) || !cuda_f8_open(cuda, error)) {
        cuda_close(cuda);
        return false;
    }
    open_tuning(cuda);
    *device = cuda;
    return true;
}

static void
cuda_describe(void *device, RvDeviceInfo *info)
{
    CudaDevice *cuda = device;
    size_t available = 0, total = 0;
    g_strlcpy(info->name, cuda->name, sizeof info->name);
    info->compute = cuda->compute;
    info->overlaps = true;
    if (cudaSetDevice(cuda->index) == cudaSuccess && cudaMemGetInfo(&available, &total) == cudaSuccess) {
        info->memory_free = (gint64)available;
        info->memory_total = (gint64)total;
    }
}

static bool
cuda_is_lost(void *device)
{
    return cuda_lost_is();
}

static void *
cuda_backend_alloc(void *device, gsize bytes, GError **error)
{
    return cuda_alloc(device, bytes, error);
}

static void
cuda_backend_free(void *device, void *memory, gsize bytes)
{
    cuda_free(device, memory);
}

static void *
cuda_scratch(void *device, gsize bytes, GError **error)
{
    CudaDevice *cuda = device;
    return cuda_bind(cuda, error) ? cuda_arena_grow(cuda->arena, bytes, error) : NULL;
}

static bool
cuda_trim(void *device, GError **error)
{
    return cuda_arena_trim(((CudaDevice *)device)->arena, error);
}

static void *
cuda_backend_chunk(void *device, gsize bytes, GError **error)
{
    return cuda_chunk_new(device, bytes, error);
}

static void
cuda_backend_chunk_free(void *device, void *chunk, gsize bytes)
{
    cuda_chunk_free(device, chunk);
}

static bool
cuda_backend_keep(void *device, void *chunk, gsize used, bool *is_kept, GError **error)
{
    return cuda_chunk_keep(device, chunk, used, is_kept, error);
}

static bool
cuda_backend_suspend(void *device, void *chunk, gsize bytes, GError **error)
{
    return cuda_chunk_suspend(device, chunk, error);
}

static bool
cuda_backend_resume(void *device, void *chunk, gsize bytes, GError **error)
{
    return cuda_chunk_resume(device, chunk, error);
}

static bool
cuda_backend_upload(void *device, void *to, const void *from, gsize bytes, GError **error)
{
    return cuda_upload(device, to, from, bytes, error);
}

static bool
cuda_backend_download(void *device, void *to, const void *from, gsize bytes, GError **error)
{
    return cuda_download(device, to, from, bytes, error);
}

static bool
cuda_backend_copy(void *device, void *to, const void *from, gsize bytes, GError **error)
{
    CudaDevice *cuda = device;
    return cuda_bind(cuda, error) &&
           cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda->stream), cuda->name,
                      error);
}

static bool
cuda_prepare(void *device, RvOp *op, GError **error)
{
    CudaDevice *cuda = device;
    const CudaOp *kind = cuda_ops[op->kind];
    if (kind == NULL)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, "use --device cpu",
                            "the CUDA back end has no %s", rv_op_kind_name(op->kind));
    if (op->out.dtype == RV_BF16 && cuda->sm < 80)
        return rv_error_set(error, RV_ERROR_DEVICE, cuda->name,
                            "use --precision fp32, or --vae taesd for SDXL",
                            "this GPU has no bf16 arithmetic, which %s needs", op->name);
    return cuda_bind(cuda, error) && (kind->prepare == NULL || kind->prepare(cuda, op, error));
}

static void
cuda_release(void *device, RvOp *op)
{
    CudaDevice *cuda = device;
    const CudaOp *kind = cuda_ops[op->kind];
    if (op->state != NULL && kind != NULL && kind->release != NULL) {
        cudaSetDevice(cuda->index);
        kind->release(cuda, op);
    }
    op->state = NULL;
}

__attribute__((visibility("default"))) const RvBackend rv_cuda_backend = {
    .abi = RV_BACKEND_ABI,
    .name = "cuda",
    .open = cuda_open,
    .close = cuda_close,
    .describe = cuda_describe,
    .is_lost = cuda_is_lost,
    .alloc = cuda_backend_alloc,
    .free = cuda_backend_free,
    .scratch = cuda_scratch,
    .trim = cuda_trim,
    .chunk = cuda_backend_chunk,
    .chunk_free = cuda_backend_chunk_free,
    .keep = cuda_backend_keep,
    .suspend = cuda_backend_suspend,
    .resume = cuda_backend_resume,
    .upload = cuda_backend_upload,
    .download = cuda_backend_download,
    .copy = cuda_backend_copy,
    .prepare = cuda_prepare,
    .release = cuda_release,
    .calibrate = cuda_calibrate,
    .build = cuda_exec_build,
    .drop = cuda_exec_drop,
    .run = cuda_exec_run,
    .start = cuda_exec_start,
    .finish = cuda_exec_finish,
};
