#include "backends/cuda/f8.h"
#include "backends/cuda/tune.h"

typedef struct {
    const float *weight, *bias; /* borrowed from the weight set */
    int variant;                /* of a group norm */
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
group_plan(const CudaDevice *device, const RvOp *op, const CudaNorm *norm, int variant)
{
    CudaLimits limits = { device->sm, device->multiprocessors, (int)device->shared_memory };
    return cuda_group_plan(norm, op->in[0].shape.n, op->norm.groups, &limits, variant);
}

typedef struct {
    CudaDevice *device;
    const RvOp *op;
    CudaNorm norm;
    void *workspace;
} Trial;

static bool
try_variant(void *user, int variant, int turn, cudaStream_t stream)
{
    Trial *trial = user;
    CudaGroupPlan plan = group_plan(trial->device, trial->op, &trial->norm, variant);
    if (variant > 0 && plan.threads == 0)
        return false;
    cuda_kernel_group_norm(&trial->norm, &plan, trial->workspace, trial->device->norm_tickets,
                           trial->device->norm_ticket_count, stream);
    return cudaGetLastError() == cudaSuccess;
}

static gsize
padded_view(const CudaView *view)
{
    return ((gsize)view->pixels * (gsize)view->stride * rv_dtype_size((RvDType)view->dtype) + 255) &
           ~(gsize)255;
}

/* Times the variants on memory of their own. */
static bool
fastest_variant(CudaDevice *device, const RvOp *op, const CudaNorm *norm, int *variant, GError **error)
{
    Trial trial = { device, op, *norm, NULL };
    gsize x = padded_view(&norm->x), out = padded_view(&norm->out);
    CudaBench bench;
    if (!cuda_bench_open(&bench, device, x + out + op->workspace + 256, error))
        return false;
    trial.norm.x.data = bench.memory;
    trial.norm.out.data = bench.memory + x;
    trial.workspace = bench.memory + x + out;
    *variant = cuda_fastest(device, try_variant, &trial, 1 + CUDA_GROUP_VARIANTS, NULL);
    cuda_bench_close(&bench, device);
    return true;
}

/* The way of the shape, unless addresses force narrower vectors when it runs. */
static bool
choose_variant(CudaDevice *device, RvOp *op, const CudaNorm *norm, GError **error)
{
    NormState *state = op->state;
    bool has_others = false;
    for (int i = 1; i <= CUDA_GROUP_VARIANTS; i++)
        has_others = has_others || group_plan(device, op, norm, i).threads > 0;
    if (!has_others)
        return true;
    RvShape s = op->in[0].shape;
    g_autofree char *key = g_strdup_printf(
        "group norm %s %dx%dx%dx%d groups %d strides %" G_GINT64_FORMAT " %" G_GINT64_FORMAT " act%d",
        rv_dtype_name(op->in[0].dtype), s.n, s.h, s.w, s.c, op->norm.groups, (gint64)norm->x.stride,
        (gint64)norm->out.stride, norm->act);
    int choice = cuda_choice_find(device, key, 1 + CUDA_GROUP_VARIANTS);
    if (choice < 0) {
        if (!fastest_variant(device, op, norm, &choice, error))
            return false;
        cuda_choice_store(device, key, choice, 1 + CUDA_GROUP_VARIANTS);
    }
    state->variant = MAX(choice, 0);
    return true;
}

/* Addresses, which may force narrower vectors, are not known yet: there is room for either plan. */
static bool
group_norm_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (!norm_prepare(device, op, error))
        return false;
    CudaNorm norm = norm_of(device, op);
    norm.x.data = norm.out.data = (void *)1;
    CudaGroupPlan narrow = group_plan(device, op, &norm, 0);
    norm.x.data = norm.out.data = NULL; /* aligned */
    CudaGroupPlan wide = group_plan(device, op, &norm, 0);
    op->workspace = MAX(cuda_group_workspace(&wide), cuda_group_workspace(&narrow));
    return choose_variant(device, op, &norm, error);
}

static bool
group_norm_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    CudaNorm norm = norm_of(device, op);
    CudaGroupPlan plan = group_plan(device, op, &norm, ((const NormState *)op->state)->variant);
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
