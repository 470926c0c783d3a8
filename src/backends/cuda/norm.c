#include "backends/cuda/f8.h"

typedef struct {
    const float *weight, *bias; /* borrowed from the weight set */
} NormState;

/* Each array starts on 32 bytes, for the kernels' vectors. */
static gsize
padded_bytes(const RvOp *op)
{
    return ((gsize)op->in[0].shape.c * sizeof(float) + 31) & ~(gsize)31;
}

static bool
pack_norm(void *device, RvOp *op, void *memory, gsize bytes, GError **error)
{
    for (gsize i = 0; i < 2; i++)
        if (!cuda_load_weight(device, &op->weight[i].array, CUDA_PLAIN, RV_F32,
                              (guint8 *)memory + i * padded_bytes(op), error))
            return false;
    return true;
}

static bool
norm_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (!cuda_wants_floats(op, error))
        return false;
    g_autofree char *key = g_strconcat("norm:", op->weight[0].name, NULL);
    gsize bytes = padded_bytes(op);
    const guint8 *memory = rv_weight_set_get(op->weights, key, 2 * bytes, op, pack_norm, error);
    if (memory == NULL)
        return false;
    NormState *state = g_new0(NormState, 1);
    state->weight = (const float *)memory;
    state->bias = (const float *)(memory + bytes);
    op->state = state;
    cuda_f8_keep_apart(device, op);
    return true;
}

static void
norm_release(CudaDevice *device, RvOp *op)
{
    g_free(op->state);
}

static CudaNorm
norm_of(CudaDevice *device, const RvOp *op)
{
    const NormState *state = op->state;
    return (CudaNorm) {
        .x = cuda_view(&op->in[0]),
        .out = cuda_f8_out(device, op),
        .weight = state->weight,
        .bias = state->bias,
        .eps = op->norm.eps,
        .act = (int)op->norm.act,
        .is_exact = op->out.dtype == RV_F32,
    };
}

static CudaGroupPlan
group_plan(const CudaDevice *device, const RvOp *op, const CudaNorm *norm)
{
    CudaLimits limits = { device->sm, device->multiprocessors, (int)device->shared_memory };
    return cuda_group_plan(norm, op->in[0].shape.n, op->norm.groups, &limits);
}

/* Addresses, which may force narrower vectors, are not known yet: there is room for either plan. */
static bool
group_norm_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (!norm_prepare(device, op, error))
        return false;
    CudaNorm norm = norm_of(device, op);
    CudaGroupPlan wide = group_plan(device, op, &norm);
    norm.x.data = norm.out.data = (void *)1;
    CudaGroupPlan narrow = group_plan(device, op, &norm);
    op->workspace = MAX(cuda_group_workspace(&wide), cuda_group_workspace(&narrow));
    return true;
}

static bool
group_norm_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    CudaNorm norm = norm_of(device, op);
    CudaGroupPlan plan = group_plan(device, op, &norm);
    cuda_kernel_group_norm(&norm, &plan, op->workspace_data, device->norm_tickets, device->norm_ticket_count,
                           stream);
    return cuda_check_launch(op, error);
}

static bool
layer_norm_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    CudaNorm norm = norm_of(device, op);
    cuda_kernel_layer_norm(&norm, stream);
    return cuda_check_launch(op, error);
}

const CudaOp cuda_group_norm = { group_norm_prepare, group_norm_run, norm_release };
const CudaOp cuda_layer_norm = { norm_prepare, layer_norm_run, norm_release };
