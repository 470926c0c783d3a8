#include "backends/cuda/dnn_conv.h"

#include "backends/cuda/tune.h"

#define MOST_WORKSPACE ((gsize)256 << 20)
#define MOST_FUSED 8 /* plans of each form to time: making one may compile a kernel */
#define MOST_BARE 6
/* Below this many operations the bare convolution and a pass will do: no time goes into compiling fused
 * forms. */
#define SMALL_FLOPS 5e8

enum { ID_X = 1, ID_WEIGHT, ID_Y, ID_BIAS, ID_ADD, ID_SUM, ID_BIASED, ID_ADDED };

struct CudaDnnConv {
    CudaPlan plan;
    bool is_fused;
    double microseconds;
};

/* A tensor [n, c, h, w] whose channels are innermost. */
static CudaNode
image(CudaGraph *graph, gint64 id, CudaTensorKind kind, RvDType dtype, int n, int c, int h, int w, int pitch)
{
    gint64 dims[4] = { n, c, h, w }, strides[4] = { (gint64)h * w * pitch, 1, (gint64)w * pitch, pitch };
    return cuda_graph_tensor(graph, id, kind, dtype, dims, strides);
}

static bool
mode_of(int act, cudnnPointwiseMode_t *mode, float *beta)
{
    *beta = 1.0f;
    switch ((RvAct)act) {
    case RV_ACT_QUICK_GELU:
        *beta = 1.702f;
        *mode = CUDNN_POINTWISE_SWISH_FWD;
        return true;
    case RV_ACT_SILU:
        *mode = CUDNN_POINTWISE_SWISH_FWD;
        return true;
    case RV_ACT_GELU:
        *mode = CUDNN_POINTWISE_GELU_FWD;
        return true;
    case RV_ACT_RELU:
        *mode = CUDNN_POINTWISE_RELU_FWD;
        return true;
    default:
        return false;
    }
}

static CudaNode
output(CudaGraph *graph, const CudaConv *s, gint64 id, bool is_last)
{
    return image(graph, is_last ? ID_Y : id, is_last ? CUDA_TENSOR_STORED : CUDA_TENSOR_VIRTUAL,
                 (RvDType)s->dtype, s->n, s->out_c, s->out_h, s->out_w, s->out_c);
}

static void
describe_rest(CudaGraph *graph, const CudaConv *s, CudaNode sum)
{
    RvDType dtype = (RvDType)s->dtype;
    bool acts = s->act != RV_ACT_NONE, adds = s->add_kind != CUDA_ADD_NONE;
    if (s->bias != NULL) {
        CudaNode bias = image(graph, ID_BIAS, CUDA_TENSOR_STORED, dtype, 1, s->out_c, 1, 1, s->out_c);
        CudaNode biased = output(graph, s, ID_BIASED, !acts && !adds);
        cuda_graph_pointwise(graph, CUDNN_POINTWISE_ADD, sum, bias, biased, 0.0f);
        sum = biased;
    }
    if (adds) {
        bool is_pixel = s->add_kind == CUDA_ADD_PIXEL;
        CudaNode add = image(graph, ID_ADD, CUDA_TENSOR_STORED, dtype, s->n, s->out_c,
                             is_pixel ? s->out_h : 1, is_pixel ? s->out_w : 1, s->add_stride);
        CudaNode added = output(graph, s, ID_ADDED, !acts);
        cuda_graph_pointwise(graph, CUDNN_POINTWISE_ADD, sum, add, added, 0.0f);
        sum = added;
    }
    cudnnPointwiseMode_t mode;
    float beta;
    if (acts && mode_of(s->act, &mode, &beta))
        cuda_graph_pointwise(graph, mode, sum, NULL, output(graph, s, ID_Y, true), beta);
}

static bool
has_rest(const CudaConv *s)
{
    return s->bias != NULL || s->add_kind != CUDA_ADD_NONE || s->act != RV_ACT_NONE;
}

static CudaGraph *
describe(CudaDevice *device, const CudaConv *s, bool is_fused)
{
    CudaGraph *graph = cuda_graph_new(device);
    RvDType dtype = (RvDType)s->dtype;
    bool is_last = !is_fused || !has_rest(s);
    CudaNode x = image(graph, ID_X, CUDA_TENSOR_STORED, dtype, s->n, s->c, s->up_h, s->up_w, s->c);
    int from_c = s->spreads ? s->out_c : s->c, to_c = s->spreads ? s->c : s->out_c;
    CudaNode weight =
        image(graph, ID_WEIGHT, CUDA_TENSOR_STORED, dtype, to_c, from_c, s->kernel, s->kernel, from_c);
    CudaNode y = output(graph, s, ID_SUM, is_last);
    gint64 before[2] = { s->pad, s->pad };
    gint64 after[2] = { (s->out_h - 1) * s->stride + s->kernel - s->up_h - s->pad,
                        (s->out_w - 1) * s->stride + s->kernel - s->up_w - s->pad };
    /* Rows that no window reaches are left out by the stride, not by negative padding. */
    after[0] = MAX(after[0], s->pad == 0 ? 0 : s->pad);
    after[1] = MAX(after[1], s->pad == 0 ? 0 : s->pad);
    if (s->spreads)
        cuda_graph_spread(graph, x, weight, y, s->stride, before, before);
    else
        cuda_graph_convolution(graph, x, weight, y, s->stride, before, after);
    if (!is_last)
        describe_rest(graph, s, y);
    return graph;
}

static cudnnStatus_t
run_plan(const CudaPlan *plan, bool is_fused, CudaDevice *device, const CudaConv *op, void *workspace,
         cudaStream_t stream)
{
    gint64 ids[5] = { ID_X, ID_WEIGHT, ID_Y };
    const void *addresses[5] = { op->x, op->weight, op->out };
    int count = 3;
    if (is_fused && op->bias != NULL) {
        ids[count] = ID_BIAS;
        addresses[count++] = op->bias;
    }
    if (is_fused && op->add_kind != CUDA_ADD_NONE) {
        ids[count] = ID_ADD;
        addresses[count++] = op->add;
    }
    cudnnStatus_t status = cuda_plan_run(plan, device, count, ids, addresses, workspace, stream);
    if (status == CUDNN_STATUS_SUCCESS && !is_fused && has_rest(op) &&
        cuda_epilogue(op, stream) != cudaSuccess)
        status = CUDNN_STATUS_EXECUTION_FAILED;
    return status;
}

typedef struct {
    CudaDevice *device;
    CudaConv conv; /* with addresses to time on */
    CudaPlan plans[MOST_FUSED + MOST_BARE];
    guint8 *weights, *workspace;
    gsize weight_bytes;
} Trial;

static bool
try_once(void *user, int index, int turn, cudaStream_t stream)
{
    Trial *trial = user;
    if (trial->plans[index].plan == NULL)
        return false;
    CudaConv conv = trial->conv;
    conv.weight = trial->weights + cuda_bench_turn(trial->weight_bytes, turn);
    return run_plan(&trial->plans[index], index < MOST_FUSED, trial->device, &conv, trial->workspace,
                    stream) == CUDNN_STATUS_SUCCESS;
}

static gsize
rounded(gsize elements, int dtype)
{
    return (elements * rv_dtype_size((RvDType)dtype) + 255) & ~(gsize)255;
}

/* Times the plans on memory of their own. */
static bool
fastest(Trial *trial, const CudaConv *s, int *choice, double *microseconds, GError **error)
{
    gsize out = rounded((gsize)s->n * (gsize)s->out_h * (gsize)s->out_w * (gsize)s->out_c, s->dtype);
    gsize x = rounded((gsize)s->n * (gsize)s->up_h * (gsize)s->up_w * (gsize)s->c, s->dtype);
    gsize add = s->add_kind == CUDA_ADD_NONE ? 0 : out / (gsize)s->out_c * (gsize)s->add_stride + 256;
    gsize bias = rounded((gsize)s->out_c, s->dtype), workspace = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(trial->plans); i++)
        workspace = MAX(workspace, trial->plans[i].plan == NULL ? 0 : trial->plans[i].workspace);
    add = (add + 255) & ~(gsize)255;
    workspace = (workspace + 255) & ~(gsize)255;
    trial->weight_bytes = (gsize)s->out_c * (gsize)s->kernel * (gsize)s->kernel * (gsize)s->c *
                          rv_dtype_size((RvDType)s->dtype);
    CudaBench bench;
    if (!cuda_bench_open(&bench, trial->device,
                         out + x + add + bias + workspace + cuda_bench_rotating(trial->weight_bytes), error))
        return false;
    trial->conv = *s;
    trial->conv.out = bench.memory;
    trial->conv.x = bench.memory + out;
    trial->conv.add = bench.memory + out + x;
    trial->conv.bias = s->bias == NULL ? NULL : bench.memory + out + x + add;
    trial->workspace = bench.memory + out + x + add + bias;
    trial->weights = trial->workspace + workspace;
    *choice = cuda_fastest(trial->device, try_once, trial, MOST_FUSED + MOST_BARE, microseconds);
    cuda_bench_close(&bench, trial->device);
    return true;
}

/* The plans numbered from `first` on: all of them, or only `wanted` (not negative). */
static void
make_plans(CudaDevice *device, const CudaConv *s, bool is_fused, int most, CudaPlan *plans, int wanted)
{
    CudaGraph *graph = describe(device, s, is_fused);
    int engines = MIN(cuda_graph_engines(graph), most);
    for (int i = 0; i < engines; i++)
        if (wanted < 0 || wanted == i)
            cuda_graph_plan(graph, i, MOST_WORKSPACE, &plans[i]);
    cuda_graph_free(graph);
}

/* An addend [n,c,1,1] is only fused for one image: with more, engines of cuDNN 9.19 for sm_90 read misaligned
 * addresses. */
static bool
can_fuse(const CudaConv *s)
{
    cudnnPointwiseMode_t mode;
    float beta;
    return (s->add_kind != CUDA_ADD_IMAGE || s->n == 1) &&
           (s->act == RV_ACT_NONE || mode_of(s->act, &mode, &beta)) &&
           (s->add_kind == CUDA_ADD_NONE || s->add_stride % 8 == 0);
}

static char *
key_of(const CudaConv *s)
{
    return g_strdup_printf("conv%s %s %dx%dx%dx%d %d k%d s%d p%d %dx%d bias%d add%d %d act%d",
                           s->spreads ? " spread" : "", rv_dtype_name((RvDType)s->dtype), s->n, s->up_h,
                           s->up_w, s->c, s->out_c, s->kernel, s->stride, s->pad, s->out_h, s->out_w,
                           s->bias != NULL, s->add_kind, s->add_stride, s->act);
}

/* Every plan, or only the one numbered `wanted`. */
static void
make_all_plans(Trial *trial, const CudaConv *s, int wanted)
{
    double flops = 2.0 * s->n * s->out_h * s->out_w * s->out_c * s->kernel * s->kernel * s->c;
    bool is_small = flops < SMALL_FLOPS;
    if (can_fuse(s) && !is_small && wanted < MOST_FUSED)
        make_plans(trial->device, s, true, MOST_FUSED, trial->plans, wanted);
    if (wanted < 0 || wanted >= MOST_FUSED)
        make_plans(trial->device, s, false, is_small ? 2 : MOST_BARE, trial->plans + MOST_FUSED,
                   wanted < 0 ? -1 : wanted - MOST_FUSED);
}

bool
cuda_dnn_conv_new(CudaDnnConv **made, CudaDevice *device, const CudaConv *s, GError **error)
{
    const int count = MOST_FUSED + MOST_BARE;
    g_autofree char *key = key_of(s);
    Trial trial = { .device = device };
    int choice = cuda_choice_find(device, key, count);
    double microseconds = cuda_kept_time(device, key);
    bool ok = true;
    *made = NULL;
    if (device->fp8 && microseconds == 0.0)
        choice = -1;
    if (choice >= 0)
        make_all_plans(&trial, s, choice);
    if (choice < 0 || trial.plans[choice].plan == NULL) {
        make_all_plans(&trial, s, -1);
        ok = fastest(&trial, s, &choice, &microseconds, error);
        if (ok) {
            cuda_choice_store(device, key, choice, count);
            cuda_keep_time(device, key, microseconds);
        }
    }
    if (ok && choice >= 0) {
        *made = g_new0(CudaDnnConv, 1);
        (*made)->plan = trial.plans[choice];
        (*made)->is_fused = choice < MOST_FUSED;
        (*made)->microseconds = microseconds;
        trial.plans[choice].plan = NULL;
    }
    for (int i = 0; i < count; i++)
        cuda_plan_free(&trial.plans[i]);
    return ok;
}

void
cuda_dnn_conv_free(CudaDnnConv *conv)
{
    if (conv == NULL)
        return;
    cuda_plan_free(&conv->plan);
    g_free(conv);
}

double
cuda_dnn_conv_microseconds(const CudaDnnConv *conv)
{
    return conv->microseconds;
}

gsize
cuda_dnn_conv_workspace(const CudaDnnConv *conv)
{
    return conv->plan.workspace;
}

bool
cuda_dnn_conv_run(const CudaDnnConv *conv, CudaDevice *device, const CudaConv *op, void *workspace,
                  cudaStream_t stream, GError **error)
{
    return cuda_check_cudnn(run_plan(&conv->plan, conv->is_fused, device, op, workspace, stream),
                            "a convolution", error);
}
