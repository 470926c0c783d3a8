/* Attention: the flash kernel of this back end or cuDNN's, whichever was faster when both were timed; two
 * products with a softmax between for heads wider than either takes (the autoencoder's 512); a plain kernel
 * for the rest. */
#include <math.h>

#include "backends/cuda/dnn.h"
#include "backends/cuda/f8.h"
#include "backends/cuda/gemm.h"
#include "backends/cuda/matrix.h"
#include "backends/cuda/tune.h"

/* Ways that are timed, in this order: variants of the flash kernel, those for Hopper, the balanced one,
 * engines of cuDNN. */
#define HOPPER CUDA_FLASH_VARIANTS
#define BALANCED (HOPPER + CUDA_HOPPER_VARIANTS)
#define FIRST_ENGINE (BALANCED + 1)
#define ENGINES 4
#define CHOICES (FIRST_ENGINE + ENGINES)
#define SMALL_FLOPS                                                                        \
    1e8 /* below this cuDNN is not asked: making its plans takes longer than it could save \
         */
#define MOST_WORKSPACE ((gsize)256 << 20)
#define SCORE_BYTES ((gsize)128 << 20) /* about what the scores of the two products may take */
#define WIDEST_FLASH 160

enum { ID_Q = 1, ID_K, ID_V, ID_OUT, ID_SCALE };

typedef struct {
    CudaAttention shape; /* without addresses */
    enum { BY_PLAIN, BY_FLASH, BY_LIBRARY, BY_PRODUCTS } way;
    int variant;
    CudaPlan plan;
    CudaGemm *scores, *values;           /* of `rows` queries */
    CudaGemm *last_scores, *last_values; /* of what is left after them; NULL when nothing is */
    int rows;
} Attention;

static void
release(CudaDevice *device, RvOp *op)
{
    Attention *state = op->state;
    cuda_plan_free(&state->plan);
    cuda_gemm_free(state->scores);
    cuda_gemm_free(state->values);
    cuda_gemm_free(state->last_scores);
    cuda_gemm_free(state->last_values);
    g_free(state);
    op->state = NULL;
}

static CudaAttention
describe(const RvOp *op)
{
    RvShape q = op->in[0].shape, k = op->in[1].shape;
    int width = q.c / op->attention.heads;
    float scale = op->attention.scale != 0.0f ? op->attention.scale : 1.0f / sqrtf((float)width);
    return (CudaAttention) { .n = q.n,
                             .heads = op->attention.heads,
                             .width = width,
                             .queries = q.h * q.w,
                             .keys = k.h * k.w,
                             .q_stride = op->in[0].pixel_stride,
                             .k_stride = op->in[1].pixel_stride,
                             .v_stride = op->in[2].pixel_stride,
                             .out_stride = op->out.pixel_stride,
                             .scale = scale,
                             .causal = op->attention.causal,
                             .dtype = (int)op->out.dtype };
}

static CudaNode
tokens_of(CudaGraph *graph, gint64 id, const CudaAttention *s, int tokens, int stride)
{
    gint64 dims[4] = { s->n, s->heads, tokens, s->width };
    gint64 strides[4] = { (gint64)tokens * stride, s->width, stride, 1 };
    return cuda_graph_tensor(graph, id, CUDA_TENSOR_STORED, (RvDType)s->dtype, dims, strides);
}

static CudaGraph *
library_graph(CudaDevice *device, const CudaAttention *s)
{
    static const gint64 one[4] = { 1, 1, 1, 1 };
    CudaGraph *graph = cuda_graph_new(device);
    CudaNode q = tokens_of(graph, ID_Q, s, s->queries, s->q_stride);
    CudaNode k = tokens_of(graph, ID_K, s, s->keys, s->k_stride);
    CudaNode v = tokens_of(graph, ID_V, s, s->keys, s->v_stride);
    CudaNode out = tokens_of(graph, ID_OUT, s, s->queries, s->out_stride);
    CudaNode scale = cuda_graph_tensor(graph, ID_SCALE, CUDA_TENSOR_VALUE, RV_F32, one, one);
    cuda_graph_attention(graph, q, k, v, out, scale);
    return graph;
}

static cudaError_t
run_flash(const CudaDevice *device, const CudaAttention *a, int variant, cudaStream_t stream)
{
    if (variant == BALANCED)
        return cuda_flash_balanced(a, device->multiprocessors, stream);
    return variant >= HOPPER ? cuda_flash_hopper(a, variant - HOPPER, stream)
                             : cuda_flash_attention(a, variant, stream);
}

static cudnnStatus_t
run_library(const CudaPlan *plan, CudaDevice *device, const CudaAttention *a, void *workspace,
            cudaStream_t stream)
{
    static const gint64 ids[] = { ID_Q, ID_K, ID_V, ID_OUT, ID_SCALE };
    const void *addresses[] = { a->q, a->k, a->v, a->out, &a->scale };
    return cuda_plan_run(plan, device, 5, ids, addresses, workspace, stream);
}

typedef struct {
    CudaDevice *device;
    CudaAttention attention; /* with addresses to time on */
    CudaPlan plans[ENGINES];
    void *workspace;
} Trial;

static bool
try_once(void *user, int index, int turn, cudaStream_t stream)
{
    Trial *trial = user;
    if ((index >= HOPPER && index < BALANCED &&
         !cuda_flash_hopper_takes(&trial->attention, trial->device->sm)) ||
        (index == BALANCED && !cuda_flash_balanced_takes(&trial->attention, trial->device->sm)))
        return false;
    if (index < FIRST_ENGINE)
        return run_flash(trial->device, &trial->attention, index, stream) == cudaSuccess;
    const CudaPlan *plan = &trial->plans[index - FIRST_ENGINE];
    return plan->plan != NULL && run_library(plan, trial->device, &trial->attention, trial->workspace,
                                             stream) == CUDNN_STATUS_SUCCESS;
}

static gsize
token_bytes(const CudaAttention *s, int tokens, int stride)
{
    return ((gsize)s->n * (gsize)tokens * (gsize)stride * rv_dtype_size((RvDType)s->dtype) + 255) &
           ~(gsize)255;
}

static bool
fastest(Trial *trial, const CudaAttention *s, int *choice, GError **error)
{
    gsize q = token_bytes(s, s->queries, s->q_stride), k = token_bytes(s, s->keys, s->k_stride);
    gsize v = token_bytes(s, s->keys, s->v_stride), out = token_bytes(s, s->queries, s->out_stride);
    gsize workspace = 0;
    for (int i = 0; i < ENGINES; i++)
        workspace = MAX(workspace, trial->plans[i].plan == NULL ? 0 : trial->plans[i].workspace);
    CudaBench bench;
    if (!cuda_bench_open(&bench, trial->device, q + k + v + out + workspace + 256, error))
        return false;
    trial->attention = *s;
    trial->attention.q = bench.memory;
    trial->attention.k = bench.memory + q;
    trial->attention.v = bench.memory + q + k;
    trial->attention.out = bench.memory + q + k + v;
    trial->workspace = bench.memory + q + k + v + out;
    *choice = cuda_fastest(trial->device, try_once, trial, CHOICES, NULL);
    cuda_bench_close(&bench, trial->device);
    return true;
}

static void
take_choice(Attention *state, Trial *trial, int choice)
{
    if (choice >= 0 && choice < FIRST_ENGINE) {
        state->way = BY_FLASH;
        state->variant = choice;
    } else if (choice >= 0 && trial->plans[choice - FIRST_ENGINE].plan != NULL) {
        state->way = BY_LIBRARY;
        state->plan = trial->plans[choice - FIRST_ENGINE];
        trial->plans[choice - FIRST_ENGINE].plan = NULL;
    }
}

/* cuDNN's plans, or only the one of the engine `wanted`; there is no causal form of them here. */
static void
make_plans(Trial *trial, const CudaAttention *s, int wanted)
{
    double flops = 4.0 * s->n * s->heads * s->queries * s->keys * s->width;
    if (s->causal || trial->device->sm < 80 || flops < SMALL_FLOPS)
        return;
    CudaGraph *graph = library_graph(trial->device, s);
    int engines = MIN(cuda_graph_engines(graph), ENGINES);
    for (int i = 0; i < engines; i++)
        if (wanted < 0 || wanted == i)
            cuda_graph_plan(graph, i, MOST_WORKSPACE, &trial->plans[i]);
    cuda_graph_free(graph);
}

static bool
choose_fused(Attention *state, CudaDevice *device, GError **error)
{
    const CudaAttention *s = &state->shape;
    g_autofree char *key = g_strdup_printf(
        "attention %s %dx%d %dx%d width %d strides %d %d %d causal%d", rv_dtype_name((RvDType)s->dtype), s->n,
        s->heads, s->queries, s->keys, s->width, s->q_stride, s->k_stride, s->v_stride, s->causal);
    int choice = cuda_choice_find(device, key, CHOICES);
    bool ok = true;
    Trial trial = { .device = device };
    if (choice >= FIRST_ENGINE)
        make_plans(&trial, s, choice - FIRST_ENGINE);
    if (choice < 0 || (choice >= FIRST_ENGINE && trial.plans[choice - FIRST_ENGINE].plan == NULL)) {
        make_plans(&trial, s, -1);
        ok = fastest(&trial, s, &choice, error);
        if (ok)
            cuda_choice_store(device, key, choice, CHOICES);
    }
    state->way = BY_FLASH;
    if (ok)
        take_choice(state, &trial, choice);
    for (int i = 0; i < ENGINES; i++)
        cuda_plan_free(&trial.plans[i]);
    return ok;
}

static bool
new_pair(Attention *state, CudaDevice *device, int rows, CudaGemm **scores, CudaGemm **values, GError **error)
{
    const CudaAttention *s = &state->shape;
    RvDType dtype = (RvDType)s->dtype;
    CudaProduct first = { rows, s->keys, s->width, s->q_stride, s->k_stride, s->keys, true, dtype, RV_F32 };
    CudaProduct second = {
        rows, s->width, s->keys, s->keys, s->v_stride, s->out_stride, false, dtype, dtype
    };
    return cuda_product_new(scores, device, &first, error) &&
           cuda_product_new(values, device, &second, error);
}

/* Some hundred queries of a head at a time: their scores in float32, softmax, the weighted sum of the values.
 */
static bool
choose_products(Attention *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaAttention *s = &state->shape;
    gsize row = (gsize)s->keys * (sizeof(float) + rv_dtype_size((RvDType)s->dtype));
    state->rows = (int)CLAMP(SCORE_BYTES / row, 64, (gsize)s->queries);
    state->rows = MIN(state->rows, s->queries);
    int left = s->queries % state->rows;
    if (!new_pair(state, device, state->rows, &state->scores, &state->values, error) ||
        (left > 0 && !new_pair(state, device, left, &state->last_scores, &state->last_values, error)))
        return false;
    bool has_all = state->scores != NULL && state->values != NULL &&
                   (left == 0 || (state->last_scores != NULL && state->last_values != NULL));
    if (has_all) {
        state->way = BY_PRODUCTS;
        op->workspace = (gsize)state->rows * row + 256;
    }
    return true;
}

static bool
prepare(CudaDevice *device, RvOp *op, GError **error)
{
    for (int i = 0; i < 3; i++)
        if (op->in[i].dtype != op->out.dtype)
            return cuda_refuse_dtype(op, op->in[i].dtype, error);
    Attention *state = g_new0(Attention, 1);
    op->state = state;
    state->shape = describe(op);
    const CudaAttention *s = &state->shape;
    if (s->width > 512)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, NULL,
                            "the CUDA back end has no attention heads of %d channels", s->width);
    if (cuda_flash_takes(s, device->sm)) {
        bool ok = choose_fused(state, device, error);
        op->workspace = state->plan.workspace;
        return ok;
    }
    bool is_aligned = s->width % 8 == 0 && s->keys % 8 == 0 && s->q_stride % 8 == 0 && s->k_stride % 8 == 0 &&
                      s->v_stride % 8 == 0;
    if (op->out.dtype == RV_F32 || s->width <= WIDEST_FLASH || !is_aligned)
        return true;
    return choose_products(state, device, op, error);
}

static bool
run_products(const Attention *state, CudaDevice *device, const CudaAttention *a, void *workspace,
             cudaStream_t stream, GError **error)
{
    gsize size = rv_dtype_size((RvDType)a->dtype);
    float *scores = workspace;
    void *weights = scores + (gsize)state->rows * (gsize)a->keys;
    for (int image = 0; image < a->n; image++)
        for (int head = 0; head < a->heads; head++)
            for (int first = 0; first < a->queries; first += state->rows) {
                int rows = MIN(state->rows, a->queries - first);
                bool is_last = rows < state->rows;
                gsize column = (gsize)head * (gsize)a->width, key = (gsize)image * (gsize)a->keys;
                gsize query = (gsize)image * (gsize)a->queries + (gsize)first;
                const guint8 *q = (const guint8 *)a->q + (query * (gsize)a->q_stride + column) * size;
                const guint8 *k = (const guint8 *)a->k + (key * (gsize)a->k_stride + column) * size;
                const guint8 *v = (const guint8 *)a->v + (key * (gsize)a->v_stride + column) * size;
                guint8 *out = (guint8 *)a->out + (query * (gsize)a->out_stride + column) * size;
                CudaSoftmax softmax = {
                    scores, weights, rows, a->keys, first, a->causal, a->dtype, a->scale
                };
                if (!cuda_product_run(is_last ? state->last_scores : state->scores, device, q, k, scores,
                                      stream, error) ||
                    !cuda_check(cuda_softmax_rows(&softmax, stream), "softmax", error) ||
                    !cuda_product_run(is_last ? state->last_values : state->values, device, weights, v, out,
                                      stream, error))
                    return false;
            }
    return true;
}

bool
cuda_attention_stores_f8(const RvOp *op)
{
    const Attention *state = op->state;
    return state->way == BY_FLASH && state->variant >= HOPPER && state->shape.width % 16 == 0;
}

static bool
run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const Attention *state = op->state;
    CudaAttention a = state->shape;
    a.q = op->in[0].data;
    a.k = op->in[1].data;
    a.v = op->in[2].data;
    a.out = op->out.data;
    CudaView out = cuda_f8_out(device, op);
    a.out_factor = out.dtype == RV_F8_E4M3 ? out.factor : 0.0f;
    guintptr bits = (guintptr)a.q | (guintptr)a.k | (guintptr)a.v | (guintptr)a.out;
    if (a.out_factor != 0.0f && bits % 16 != 0)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, "use --precision fp16",
                            "attention in fp8 wants slices that begin at multiples of 8 channels");
    if (bits % 16 != 0 || state->way == BY_PLAIN)
        return cuda_check(cuda_plain_attention(&a, stream), op->name, error);
    if (state->way == BY_PRODUCTS)
        return run_products(state, device, &a, op->workspace_data, stream, error);
    if (state->way == BY_LIBRARY)
        return cuda_check_cudnn(run_library(&state->plan, device, &a, op->workspace_data, stream), op->name,
                                error);
    return cuda_check(run_flash(device, &a, state->variant, stream), op->name, error);
}

const CudaOp cuda_attention = { .prepare = prepare, .run = run, .release = release };
