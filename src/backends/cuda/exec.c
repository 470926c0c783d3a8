/* exec.c - a plan as one CUDA graph. Runs that do not wait use three streams: a frame's bytes cross the link
 * into staging memory while the frame before it is computed, and results leave while the next one is. */
#include <string.h>

#include "backends/cuda/counters.h"
#include "backends/cuda/lost.h"

#define TRANSFER_ALIGNMENT ((gsize)256)

/* Staging memory of one direction, for all transfers of a start. */
typedef struct {
    guint8 *host, *device; /* the host's is pinned */
    gsize bytes;
} Buffer;

typedef struct {
    Buffer in, out;
    cudaEvent_t uploaded, computed, downloaded;
    GArray *results; /* RvTransfer: what finish hands out */
} Frame;

typedef struct {
    RvOp **ops;
    int count;
    cudaGraphExec_t graph;
    cudaGraphExec_t *single; /* each op between two time stamps, for observers; made when first needed */
    cudaEvent_t begin, end, done;
    Frame frames[RV_STARTS_UNDER_WAY];
    guint started, finished;
} CudaExec;

static bool
enqueue(CudaDevice *device, RvOp *const *ops, int count, GError **error)
{
    for (int i = 0; i < count; i++)
        if (!cuda_op_of(ops[i]->kind)->run(device, ops[i], device->stream, error))
            return false;
    return true;
}

static bool
stamp(CudaDevice *device, cudaEvent_t event, GError **error)
{
    return event == NULL ||
           cuda_check(cudaEventRecordWithFlags(event, device->stream, cudaEventRecordExternal), device->name,
                      error);
}

/* The ops as an executable graph, with time stamps around them unless `begin` is NULL. */
static bool
capture(CudaDevice *device, RvOp *const *ops, int count, cudaEvent_t begin, cudaEvent_t end,
        cudaGraphExec_t *exec, GError **error)
{
    cudaGraph_t graph = NULL;
    if (!cuda_check(cudaStreamBeginCapture(device->stream, cudaStreamCaptureModeThreadLocal), device->name,
                    error))
        return false;
    bool ok = stamp(device, begin, error) && enqueue(device, ops, count, error) && stamp(device, end, error);
    cudaError_t status = cudaStreamEndCapture(device->stream, &graph);
    ok = ok && cuda_check(status, device->name, error) && cuda_counters_hoist(device, graph, error) &&
         cuda_check(cudaGraphInstantiate(exec, graph, 0), device->name, error) &&
         cuda_check(cudaGraphUpload(*exec, device->stream), device->name, error);
    if (graph != NULL)
        cudaGraphDestroy(graph);
    cudaGetLastError(); /* of a capture that was broken off, which is reported already */
    return ok;
}

static bool
make_events(CudaDevice *device, CudaExec *exec, GError **error)
{
    cudaEvent_t *const timed[] = { &exec->begin, &exec->end };
    cudaEvent_t *const plain[] = {
        &exec->done,
        &exec->frames[0].uploaded,
        &exec->frames[0].computed,
        &exec->frames[0].downloaded,
        &exec->frames[1].uploaded,
        &exec->frames[1].computed,
        &exec->frames[1].downloaded,
    };
    bool ok = true;
    for (gsize i = 0; ok && i < G_N_ELEMENTS(timed); i++)
        ok = cuda_check(cudaEventCreate(timed[i]), device->name, error);
    for (gsize i = 0; ok && i < G_N_ELEMENTS(plain); i++)
        ok = cuda_check(cudaEventCreateWithFlags(plain[i], cudaEventDisableTiming), device->name, error);
    return ok;
}

bool
cuda_exec_build(void *device, const RvPlan *plan, void **exec, GError **error)
{
    CudaDevice *cuda = device;
    CudaExec *built = g_new0(CudaExec, 1);
    built->ops = g_memdup2(plan->ops, sizeof *plan->ops * (gsize)plan->count);
    built->count = plan->count;
    for (int i = 0; i < RV_STARTS_UNDER_WAY; i++)
        built->frames[i].results = g_array_new(FALSE, FALSE, sizeof(RvTransfer));
    if (!cuda_bind(cuda, error) || !make_events(cuda, built, error) ||
        !capture(cuda, built->ops, built->count, NULL, NULL, &built->graph, error)) {
        cuda_exec_drop(device, built);
        return false;
    }
    cuda_tuning_save(cuda->tuning);
    *exec = built;
    return true;
}

static void
free_buffer(CudaDevice *device, Buffer *buffer)
{
    if (buffer->host != NULL)
        cudaFreeHost(buffer->host);
    cuda_free(device, buffer->device);
    *buffer = (Buffer) { 0 };
}

static void
free_graphs(CudaExec *exec)
{
    if (exec->graph != NULL)
        cudaGraphExecDestroy(exec->graph);
    for (int i = 0; exec->single != NULL && i < exec->count; i++)
        if (exec->single[i] != NULL)
            cudaGraphExecDestroy(exec->single[i]);
    g_free(exec->single);
}

void
cuda_exec_drop(void *device, void *exec)
{
    CudaDevice *cuda = device;
    CudaExec *dropped = exec;
    cudaSetDevice(cuda->index);
    cudaStreamSynchronize(cuda->stream);
    cudaStreamSynchronize(cuda->download_stream);
    free_graphs(dropped);
    cudaEvent_t events[3 + 3 * RV_STARTS_UNDER_WAY] = { dropped->begin, dropped->end, dropped->done };
    for (int i = 0; i < RV_STARTS_UNDER_WAY; i++) {
        Frame *frame = &dropped->frames[i];
        free_buffer(cuda, &frame->in);
        free_buffer(cuda, &frame->out);
        g_array_free(frame->results, TRUE);
        memcpy(events + 3 + 3 * i, (cudaEvent_t[]) { frame->uploaded, frame->computed, frame->downloaded },
               3 * sizeof *events);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(events); i++)
        if (events[i] != NULL)
            cudaEventDestroy(events[i]);
    cudaGetLastError();
    g_free(dropped->ops);
    g_free(dropped);
}

static bool
refuse_id(const RvOp *op, const CudaFault *fault, GError **error)
{
    return rv_error_set(error, RV_ERROR_INVALID, op->name, "use the tokenizer of the same model",
                        "token %d of the prompt has id %d, but the table has %" G_GINT64_FORMAT " rows",
                        fault->index % op->out.shape.w, fault->value,
                        rv_array_count(&op->weight[0].array) / op->out.shape.c);
}

/* What a kernel found wrong with the values that it was given. */
static bool
check_fault(CudaDevice *device, const CudaExec *exec, GError **error)
{
    CudaFault fault = *device->fault;
    if (fault.op == 0)
        return true;
    memset(device->fault, 0, sizeof *device->fault);
    if (!cuda_check(cudaMemsetAsync(device->fault_claim, 0, sizeof *device->fault_claim, device->stream),
                    device->name, error))
        return false;
    for (int i = 0; i < exec->count; i++) {
        const RvOp *op = exec->ops[i];
        if ((guint64)(gsize)op != fault.op)
            continue;
        if (op->kind == RV_OP_EMBED)
            return refuse_id(op, &fault, error);
        return rv_error_set(error, RV_ERROR_INVALID, op->name, NULL,
                            "token %d of image %d was asked for, but there are %d", fault.value, fault.index,
                            op->in[0].shape.h * op->in[0].shape.w);
    }
    return rv_error_set(error, RV_ERROR_INVALID, device->name, NULL,
                        "a program before this one was given bad ids");
}

static bool
is_cancelled(const int *cancel, GError **error)
{
    if (cancel == NULL || g_atomic_int_get(cancel) == 0)
        return false;
    rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
    return true;
}

static bool
launch_and_wait(CudaDevice *device, CudaExec *exec, cudaGraphExec_t graph, GError **error)
{
    return cuda_check(cudaGraphLaunch(graph, device->stream), device->name, error) &&
           cuda_check(cudaEventRecord(exec->done, device->stream), device->name, error) &&
           cuda_check(cudaEventSynchronize(exec->done), device->name, error) &&
           check_fault(device, exec, error);
}

/* One op at a time, so that the observer sees each result before scratch memory is used again. */
static bool
run_observed(CudaDevice *device, CudaExec *exec, const int *cancel, RvObserver observer, void *user,
             GError **error)
{
    if (exec->single == NULL)
        exec->single = g_new0(cudaGraphExec_t, (gsize)exec->count + 1);
    for (int i = 0; i < exec->count; i++) {
        float milliseconds = 0.0f;
        if (is_cancelled(cancel, error))
            return false;
        if (exec->single[i] == NULL &&
            !capture(device, &exec->ops[i], 1, exec->begin, exec->end, &exec->single[i], error))
            return false;
        if (!launch_and_wait(device, exec, exec->single[i], error) ||
            !cuda_check(cudaEventElapsedTime(&milliseconds, exec->begin, exec->end), device->name, error))
            return false;
        observer(exec->ops[i], (double)milliseconds * 1e-3, user);
    }
    return true;
}

bool
cuda_exec_run(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error)
{
    CudaDevice *cuda = device;
    CudaExec *run = exec;
    if (is_cancelled(cancel, error) || !cuda_bind(cuda, error))
        return false;
    if (observer != NULL)
        return run_observed(cuda, run, cancel, observer, user, error);
    return launch_and_wait(cuda, run, run->graph, error) && !is_cancelled(cancel, error);
}

static gsize
aligned_bytes(const RvTransfer *transfers, int count)
{
    gsize bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += (transfers[i].bytes + TRANSFER_ALIGNMENT - 1) / TRANSFER_ALIGNMENT * TRANSFER_ALIGNMENT;
    return bytes;
}

/* Nothing is under way on the frame that the buffer belongs to. */
static bool
need_buffer(CudaDevice *device, Buffer *buffer, gsize bytes, GError **error)
{
    if (buffer->bytes >= bytes)
        return true;
    free_buffer(device, buffer);
    if (!cuda_check(cudaHostAlloc((void **)&buffer->host, bytes, cudaHostAllocDefault),
                    "pinned memory on the host", error) ||
        (buffer->device = cuda_alloc(device, bytes, error)) == NULL)
        return false;
    buffer->bytes = bytes;
    return true;
}

/* Host to staging over the link, then into the slots once the runs before are through with them. */
static bool
enqueue_inputs(CudaDevice *device, Frame *frame, const RvTransfer *in, int ins, GError **error)
{
    gsize offset = 0, total = aligned_bytes(in, ins);
    for (int i = 0; i < ins; i++, offset += aligned_bytes(in + i - 1, 1))
        cuda_copy_host(device, frame->in.host + offset, in[i].host, in[i].bytes);
    if (ins > 0 &&
        (!cuda_check(cuda_kernel_transfer(frame->in.device, frame->in.host, total, device->upload_stream),
                     device->name, error) ||
         !cuda_check(cudaEventRecord(frame->uploaded, device->upload_stream), device->name, error) ||
         !cuda_check(cudaStreamWaitEvent(device->stream, frame->uploaded, 0), device->name, error)))
        return false;
    offset = 0;
    for (int i = 0; i < ins; i++, offset += aligned_bytes(in + i - 1, 1))
        if (!cuda_check(cudaMemcpyAsync(in[i].device, frame->in.device + offset, in[i].bytes,
                                        cudaMemcpyDeviceToDevice, device->stream),
                        device->name, error))
            return false;
    return true;
}

static bool
enqueue_outputs(CudaDevice *device, Frame *frame, const RvTransfer *out, int outs, GError **error)
{
    gsize offset = 0, total = aligned_bytes(out, outs);
    for (int i = 0; i < outs; i++, offset += aligned_bytes(out + i - 1, 1))
        if (!cuda_check(cudaMemcpyAsync(frame->out.device + offset, out[i].device, out[i].bytes,
                                        cudaMemcpyDeviceToDevice, device->stream),
                        device->name, error))
            return false;
    return cuda_check(cudaEventRecord(frame->computed, device->stream), device->name, error) &&
           cuda_check(cudaStreamWaitEvent(device->download_stream, frame->computed, 0), device->name,
                      error) &&
           (outs == 0 || cuda_check(cuda_kernel_transfer(frame->out.host, frame->out.device, total,
                                                         device->download_stream),
                                    device->name, error)) &&
           cuda_check(cudaEventRecord(frame->downloaded, device->download_stream), device->name, error);
}

bool
cuda_exec_start(void *device, void *exec, const int *cancel, const RvTransfer *in, int ins,
                const RvTransfer *out, int outs, GError **error)
{
    CudaDevice *cuda = device;
    CudaExec *run = exec;
    g_assert(run->started - run->finished < RV_STARTS_UNDER_WAY);
    Frame *frame = &run->frames[run->started % RV_STARTS_UNDER_WAY];
    if (!cuda_bind(cuda, error) || !cuda_lost_inject(cuda, error) ||
        !need_buffer(cuda, &frame->in, aligned_bytes(in, ins), error) ||
        !need_buffer(cuda, &frame->out, aligned_bytes(out, outs), error))
        return false;
    g_array_set_size(frame->results, 0);
    g_array_append_vals(frame->results, out, (guint)outs);
    if (!enqueue_inputs(cuda, frame, in, ins, error) ||
        !cuda_check(cudaGraphLaunch(run->graph, cuda->stream), cuda->name, error) ||
        !enqueue_outputs(cuda, frame, out, outs, error))
        return false;
    run->started++;
    return true;
}

bool
cuda_exec_finish(void *device, void *exec, GError **error)
{
    CudaDevice *cuda = device;
    CudaExec *run = exec;
    g_assert(run->started != run->finished);
    Frame *frame = &run->frames[run->finished++ % RV_STARTS_UNDER_WAY];
    if (!cuda_bind(cuda, error) || !cuda_check(cudaEventSynchronize(frame->downloaded), cuda->name, error) ||
        !check_fault(cuda, run, error))
        return false;
    gsize offset = 0;
    for (guint i = 0; i < frame->results->len; i++) {
        const RvTransfer *result = &g_array_index(frame->results, RvTransfer, i);
        cuda_copy_host(cuda, result->host, frame->out.host + offset, result->bytes);
        offset += aligned_bytes(result, 1);
    }
    return true;
}
