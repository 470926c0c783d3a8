#include "backends/cuda/internal.h"

typedef struct {
    CudaView table, positions;
} EmbedState;

static CudaReport
report_of(CudaDevice *device, const RvOp *op)
{
    return (CudaReport) { device->fault, device->fault_claim, (guint64)(gsize)op };
}

/* Tables keep the type they were stored in: rows are converted as they are looked up. */
static bool
pack_table(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    return cuda_upload(device, memory, op->weight[0].array.data, bytes, error);
}

static bool
pack_positions(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    return cuda_upload(device, memory, op->weight[1].array.data, bytes, error);
}

static bool
packed_view(RvOp *op, int weight, RvPackFunc pack, CudaView *view, GError **error)
{
    const RvArray *array = &op->weight[weight].array;
    if (array->dtype != RV_F32 && array->dtype != RV_F16 && array->dtype != RV_BF16)
        return cuda_refuse_dtype(op, array->dtype, error);
    g_autofree char *key = g_strconcat("embed:", op->weight[weight].name, NULL);
    int width = op->out.shape.c;
    *view = (CudaView) { .dtype = (int)array->dtype,
                         .channels = width,
                         .pixels = rv_array_count(array) / width,
                         .stride = width };
    gsize bytes = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    view->data = rv_weight_set_get(op->weights, key, bytes, op, pack, error);
    return view->data != NULL;
}

static bool
embed_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    EmbedState state = { 0 };
    if (op->in[0].dtype != RV_I32)
        return cuda_refuse_dtype(op, op->in[0].dtype, error);
    if (!packed_view(op, 0, pack_table, &state.table, error) ||
        (op->weight[1].array.data != NULL && !packed_view(op, 1, pack_positions, &state.positions, error)))
        return false;
    op->state = g_memdup2(&state, sizeof state);
    return true;
}

static bool
embed_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const EmbedState *state = op->state;
    cuda_kernel_embed(cuda_view(&op->in[0]), state->table, state->positions, cuda_view(&op->out),
                      report_of(device, op), stream);
    return cuda_check_launch(op, error);
}

static void
embed_release(CudaDevice *device, RvOp *op)
{
    g_free(op->state);
}

static bool
pick_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    RvDType x = op->in[0].dtype;
    if (x != RV_F32 && x != RV_F16 && x != RV_BF16)
        return cuda_refuse_dtype(op, x, error);
    return op->in[1].dtype == RV_I32 || cuda_refuse_dtype(op, op->in[1].dtype, error);
}

static bool
pick_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_pick(cuda_view(&op->in[0]), cuda_view(&op->in[1]), cuda_view(&op->out), report_of(device, op),
                     stream);
    return cuda_check_launch(op, error);
}

static bool
sinusoid_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    return op->in[0].dtype == RV_F32 || cuda_refuse_dtype(op, op->in[0].dtype, error);
}

static bool
sinusoid_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_sinusoid(cuda_view(&op->in[0]), cuda_view(&op->out), op->sinusoid.flip_sin_to_cos,
                         op->sinusoid.shift, stream);
    return cuda_check_launch(op, error);
}

const CudaOp cuda_embed = { embed_prepare, embed_run, embed_release };
const CudaOp cuda_pick = { pick_prepare, pick_run, NULL };
const CudaOp cuda_sinusoid = { sinusoid_prepare, sinusoid_run, NULL };
