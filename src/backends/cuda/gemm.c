#include "backends/cuda/gemm.h"

#include <math.h>

#include "backends/cuda/counters.h"
#include "backends/cuda/tune.h"

#define CANDIDATES 32
#define ALIGNMENT 16
#define LONGEST_FAST 1280

/* How a product is made: by the library, or by a kernel of our own (matrix.h). */
typedef struct {
    cublasLtMatmulAlgo_t algorithm;
    gint32 cut; /* -1: by the library */
} Way;

struct CudaGemm {
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c, out; /* column-major: `a` the weights, `b` the activations */
    Way way;
    CudaDevice *device;
    void *counter; /* its workspace; NULL: the device's */
    gsize weight_bytes, x_bytes, out_bytes, add_bytes;
    double microseconds;
    int rows, f8;
    bool adds, has_bias, needs_pass;
};

static cudaDataType_t
data_type(RvDType dtype)
{
    return dtype == RV_F32       ? CUDA_R_32F
           : dtype == RV_F16     ? CUDA_R_16F
           : dtype == RV_F8_E4M3 ? CUDA_R_8F_E4M3
                                 : CUDA_R_16BF;
}

static bool
set(CudaGemm *gemm, cublasLtMatmulDescAttributes_t name, const void *value, gsize bytes)
{
    return cublasLtMatmulDescSetAttribute(gemm->product, name, value, bytes) == CUBLAS_STATUS_SUCCESS;
}

static bool
layout(cublasLtMatrixLayout_t *to, RvDType dtype, int rows, int columns, int stride)
{
    return cublasLtMatrixLayoutCreate(to, data_type(dtype), (guint64)rows, (guint64)columns, stride) ==
           CUBLAS_STATUS_SUCCESS;
}

void
cuda_gemm_free(CudaGemm *gemm)
{
    if (gemm == NULL)
        return;
    cublasLtMatrixLayout_t layouts[] = { gemm->a, gemm->b, gemm->c, gemm->out };
    for (gsize i = 0; i < G_N_ELEMENTS(layouts); i++)
        if (layouts[i] != NULL)
            cublasLtMatrixLayoutDestroy(layouts[i]);
    if (gemm->product != NULL)
        cublasLtMatmulDescDestroy(gemm->product);
    cuda_counter_give(gemm->device, gemm->counter);
    g_free(gemm);
}

/* The activations' scale is in the weights' scales already. The matrix units' own sums lose digits: up to
 * LONGEST_FAST products that costs less than rounding to E4M3 does, beyond it they are added up in float32.
 */
static bool
describe_scales(CudaGemm *gemm, const CudaDevice *device, int depth)
{
    gint32 mode = CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F;
    gint8 is_fast = depth <= LONGEST_FAST;
    const float *ones = device->f8_ones;
    return set(gemm, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &is_fast, sizeof is_fast) &&
           set(gemm, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &ones, sizeof ones) &&
           set(gemm, CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &ones, sizeof ones) &&
           (gemm->f8 == CUDA_F8_ONE || (set(gemm, CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &mode, sizeof mode) &&
                                        set(gemm, CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &mode, sizeof mode)));
}

/* Row-major out = x w^T is column-major out^T = w x^T. */
static CudaGemm *
describe(CudaDevice *device, const CudaProduct *p, int add_stride, cublasLtEpilogue_t epilogue)
{
    CudaGemm *gemm = g_new0(CudaGemm, 1);
    gemm->device = device;
    cublasOperation_t turn = p->transposed ? CUBLAS_OP_T : CUBLAS_OP_N, keep = CUBLAS_OP_N;
    gemm->rows = p->rows;
    gemm->f8 = p->f8;
    gemm->weight_bytes =
        (gsize)(p->transposed ? p->columns : p->depth) * (gsize)p->b_stride * rv_dtype_size(p->in);
    gemm->x_bytes = (gsize)p->rows * (gsize)p->a_stride * rv_dtype_size(p->in);
    gemm->out_bytes = (gsize)p->rows * (gsize)p->out_stride * rv_dtype_size(p->out);
    gemm->add_bytes = (gsize)p->rows * (gsize)add_stride * rv_dtype_size(p->out);
    gemm->adds = add_stride > 0;
    bool ok =
        cublasLtMatmulDescCreate(&gemm->product, CUBLAS_COMPUTE_32F, CUDA_R_32F) == CUBLAS_STATUS_SUCCESS &&
        set(gemm, CUBLASLT_MATMUL_DESC_TRANSA, &turn, sizeof turn) &&
        set(gemm, CUBLASLT_MATMUL_DESC_TRANSB, &keep, sizeof keep) &&
        set(gemm, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue) &&
        (p->f8 == CUDA_F8_NONE || describe_scales(gemm, device, p->depth)) &&
        layout(&gemm->a, p->in, p->transposed ? p->depth : p->columns, p->transposed ? p->columns : p->depth,
               p->b_stride) &&
        layout(&gemm->b, p->in, p->depth, p->rows, p->a_stride) &&
        layout(&gemm->out, p->out, p->columns, p->rows, p->out_stride) &&
        layout(&gemm->c, p->out, p->columns, p->rows, gemm->adds ? add_stride : p->out_stride);
    if (!ok)
        g_clear_pointer(&gemm, cuda_gemm_free);
    return gemm;
}

static int
candidates(CudaGemm *gemm, CudaDevice *device, cublasLtMatmulHeuristicResult_t *results)
{
    cublasLtMatmulPreference_t preference;
    if (cublasLtMatmulPreferenceCreate(&preference) != CUBLAS_STATUS_SUCCESS)
        return 0;
    guint32 alignment = ALIGNMENT;
    guint64 workspace = device->lt_workspace_bytes;
    /* In place, the order of a split sum would be that of arrival. */
    guint32 reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
    static const cublasLtMatmulPreferenceAttributes_t alignments[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES
    };
    for (gsize i = 0; i < G_N_ELEMENTS(alignments); i++)
        cublasLtMatmulPreferenceSetAttribute(preference, alignments[i], &alignment, sizeof alignment);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                                         sizeof workspace);
    cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                         sizeof reductions);
    int count = 0;
    if (cublasLtMatmulAlgoGetHeuristic(device->lt, gemm->product, gemm->a, gemm->b, gemm->c, gemm->out,
                                       preference, CANDIDATES, results, &count) != CUBLAS_STATUS_SUCCESS)
        count = 0;
    cublasLtMatmulPreferenceDestroy(preference);
    return count;
}

static cublasStatus_t
multiply(const CudaGemm *gemm, const cublasLtMatmulAlgo_t *algorithm, void *counter, const void *weight,
         const void *x, const void *add, void *out, cudaStream_t stream)
{
    CudaDevice *device = gemm->device;
    void *workspace = counter != NULL ? counter : device->lt_workspace;
    gsize bytes = counter != NULL ? CUDA_COUNTER_BYTES : device->lt_workspace_bytes;
    float one = 1.0f, beta = gemm->adds ? 1.0f : 0.0f;
    return cublasLtMatmul(device->lt, gemm->product, &one, weight, gemm->a, x, gemm->b, &beta,
                          gemm->adds ? add : out, gemm->c, out, gemm->out, algorithm, workspace, bytes,
                          stream);
}

typedef struct {
    const CudaGemm *gemm;
    const cublasLtMatmulHeuristicResult_t *results;
    const CudaConv *shape; /* NULL: the library's ways only */
    int cuts;              /* of our own, the first candidates */
    guint8 *x, *out, *add, *weights;
} Trial;

static bool
try_cut(const Trial *trial, int cut, const void *weight, cudaStream_t stream)
{
    CudaConv conv = *trial->shape;
    conv.x = trial->x;
    conv.weight = weight;
    conv.bias = trial->gemm->has_bias ? trial->x : NULL;
    conv.add = trial->add;
    conv.out = trial->out;
    return cuda_linear_hopper_takes(&conv, cut, trial->gemm->device->sm) &&
           cuda_linear_hopper(&conv, cut, stream) == cudaSuccess;
}

static bool
try_once(void *user, int index, int turn, cudaStream_t stream)
{
    Trial *trial = user;
    const guint8 *weight = trial->weights + cuda_bench_turn(trial->gemm->weight_bytes, turn);
    if (index < trial->cuts)
        return try_cut(trial, index, weight, stream);
    const cublasLtMatmulHeuristicResult_t *result = &trial->results[index - trial->cuts];
    void *counter = cuda_counter_of_turn(trial->gemm->device, result->workspaceSize, turn);
    return multiply(trial->gemm, &result->algo, counter, weight, trial->x, trial->add, trial->out, stream) ==
           CUBLAS_STATUS_SUCCESS;
}

static gsize
rounded(gsize bytes)
{
    return (bytes + 255) & ~(gsize)255;
}

/* *choice is a number of Trial's, -1 when none runs. */
static bool
choose(CudaGemm *gemm, CudaDevice *device, const CudaConv *shape,
       const cublasLtMatmulHeuristicResult_t *results, int count, int *choice, GError **error)
{
    CudaBench bench;
    gsize x = rounded(gemm->x_bytes), out = rounded(gemm->out_bytes), add = rounded(gemm->add_bytes);
    if (!cuda_bench_open(&bench, device, x + out + add + cuda_bench_rotating(gemm->weight_bytes), error))
        return false;
    Trial trial = { gemm,
                    results,
                    shape,
                    shape != NULL ? CUDA_LINEAR_CUTS : 0,
                    bench.memory,
                    bench.memory + x,
                    bench.memory + x + out,
                    bench.memory + x + out + add };
    if (gemm->has_bias) {
        const void *bias = bench.memory;
        set(gemm, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias);
    }
    *choice = cuda_fastest(device, try_once, &trial, trial.cuts + count, &gemm->microseconds);
    cuda_bench_close(&bench, device);
    return true;
}

/* Whether the way that was kept is one on this device; takes the counter that it needs. */
static bool
take_kept(CudaGemm *gemm, const CudaConv *shape, const Way *kept)
{
    CudaDevice *device = gemm->device;
    cublasLtMatmulHeuristicResult_t checked;
    if (kept->cut >= 0) {
        if (shape == NULL || kept->cut >= CUDA_LINEAR_CUTS ||
            !cuda_linear_hopper_takes(shape, kept->cut, device->sm))
            return false;
    } else {
        if (cublasLtMatmulAlgoCheck(device->lt, gemm->product, gemm->a, gemm->b, gemm->c, gemm->out,
                                    &kept->algorithm, &checked) != CUBLAS_STATUS_SUCCESS ||
            checked.workspaceSize > device->lt_workspace_bytes)
            return false;
        gemm->counter = cuda_counter_take(device, checked.workspaceSize);
    }
    gemm->way = *kept;
    return true;
}

/* Keeps the way under the key; *gemm is freed and NULL when nothing runs. `shape`: see Trial. */
static bool
tune(CudaGemm **made, CudaDevice *device, const CudaConv *shape, const char *key, GError **error)
{
    CudaGemm *gemm = *made;
    const Way *kept = device->tuning == NULL ? NULL : cuda_tuning_find(device->tuning, key, sizeof *kept);
    cublasLtMatmulHeuristicResult_t results[CANDIDATES];
    gemm->microseconds = cuda_kept_time(device, key);
    if (kept != NULL && (gemm->microseconds > 0.0 || !device->fp8) && take_kept(gemm, shape, kept))
        return true;
    int count = candidates(gemm, device, results), cuts = shape != NULL ? CUDA_LINEAR_CUTS : 0, choice = -1;
    if (count + cuts > 0 && !choose(gemm, device, shape, results, count, &choice, error)) {
        g_clear_pointer(made, cuda_gemm_free);
        return false;
    }
    if (choice < 0) {
        g_clear_pointer(made, cuda_gemm_free);
        return true;
    }
    gemm->way.cut = choice < cuts ? choice : -1;
    if (choice >= cuts) {
        gemm->way.algorithm = results[choice - cuts].algo;
        gemm->counter = cuda_counter_take(device, results[choice - cuts].workspaceSize);
    }
    if (device->tuning != NULL)
        cuda_tuning_store(device->tuning, key, &gemm->way, sizeof gemm->way);
    cuda_keep_time(device, key, gemm->microseconds);
    return true;
}

static void
drop_counter(CudaGemm *gemm)
{
    cuda_counter_give(gemm->device, gemm->counter);
    gemm->counter = NULL;
}

bool
cuda_gemm_new(CudaGemm **made, CudaDevice *device, const CudaConv *s, GError **error)
{
    RvDType dtype = (RvDType)s->dtype, in = s->f8 == CUDA_F8_NONE ? dtype : RV_F8_E4M3;
    int wide = ALIGNMENT / (int)rv_dtype_size(in);
    gint64 rows = (gint64)s->n * s->out_h * s->out_w;
    *made = NULL;
    if (s->c % wide != 0 || s->out_c % wide != 0 || s->x_stride % wide != 0 || rows > G_MAXINT32 ||
        (s->add_kind == CUDA_ADD_PIXEL && s->add_stride % wide != 0))
        return true;
    bool in_library = s->add_kind != CUDA_ADD_IMAGE && (s->act == RV_ACT_NONE || s->act == RV_ACT_RELU);
    bool bias = s->bias != NULL && s->add_kind != CUDA_ADD_IMAGE;
    cublasLtEpilogue_t epilogue = in_library && s->act == RV_ACT_RELU
                                      ? (bias ? CUBLASLT_EPILOGUE_RELU_BIAS : CUBLASLT_EPILOGUE_RELU)
                                  : bias ? CUBLASLT_EPILOGUE_BIAS
                                         : CUBLASLT_EPILOGUE_DEFAULT;
    int add_stride = s->add_kind == CUDA_ADD_PIXEL ? s->add_stride : 0;
    CudaProduct product = { (int)rows, s->out_c, s->c, s->x_stride, s->c, s->out_c, true, in, dtype, s->f8 };
    CudaGemm *gemm = describe(device, &product, add_stride, epilogue);
    if (gemm == NULL)
        return true;
    gemm->has_bias = bias;
    gemm->needs_pass = !in_library;
    *made = gemm;
    g_autofree char *key = g_strdup_printf("gemm %s%s %dx%dx%d x%d add%d epilogue%d%s", rv_dtype_name(in),
                                           s->f8 == CUDA_F8_EACH ? " each" : "", product.rows, s->c, s->out_c,
                                           s->x_stride, add_stride, (int)epilogue,
                                           s->f8 != CUDA_F8_NONE && s->c <= LONGEST_FAST ? " fast" : "");
    bool has_cuts = in_library && s->f8 == CUDA_F8_NONE && device->sm == 90;
    if (!tune(made, device, has_cuts ? s : NULL, key, error))
        return false;
    if (*made != NULL && device->notes != NULL) /* it runs again to be compared */
        drop_counter(*made);
    return true;
}

double
cuda_gemm_microseconds(const CudaGemm *gemm)
{
    return gemm->microseconds;
}

bool
cuda_gemm_takes(const CudaConv *conv)
{
    guintptr bits = (guintptr)conv->x | (guintptr)conv->weight | (guintptr)conv->bias | (guintptr)conv->out;
    if (conv->add_kind == CUDA_ADD_PIXEL)
        bits |= (guintptr)conv->add;
    return bits % ALIGNMENT == 0;
}

bool
cuda_gemm_run(const CudaGemm *gemm, CudaDevice *device, const CudaConv *conv, cudaStream_t stream,
              GError **error)
{
    if (gemm->way.cut >= 0)
        return cuda_check(cuda_linear_hopper(conv, gemm->way.cut, stream), "a product", error);
    if (gemm->has_bias &&
        !set((CudaGemm *)gemm, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &conv->bias, sizeof conv->bias))
        return cuda_check_cublas(CUBLAS_STATUS_INVALID_VALUE, "the bias of a product", error);
    if (gemm->f8 != CUDA_F8_NONE &&
        !set((CudaGemm *)gemm, CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &conv->scale, sizeof conv->scale))
        return cuda_check_cublas(CUBLAS_STATUS_INVALID_VALUE, "the scales of a product", error);
    if (!cuda_check_cublas(multiply(gemm, &gemm->way.algorithm, gemm->counter, conv->weight, conv->x,
                                    conv->add, conv->out, stream),
                           "a product", error))
        return false;
    if (!gemm->needs_pass)
        return true;
    CudaConv pass = *conv;
    if (gemm->has_bias)
        pass.bias = NULL;
    if (gemm->adds)
        pass.add_kind = CUDA_ADD_NONE;
    return cuda_check(cuda_epilogue(&pass, stream), "the pass after a product", error);
}

bool
cuda_product_new(CudaGemm **made, CudaDevice *device, const CudaProduct *p, GError **error)
{
    *made = describe(device, p, 0, CUBLASLT_EPILOGUE_DEFAULT);
    if (*made == NULL)
        return true;
    g_autofree char *key = g_strdup_printf(
        "product %s %s %dx%dx%d %s strides %d %d %d", rv_dtype_name(p->in), rv_dtype_name(p->out), p->rows,
        p->depth, p->columns, p->transposed ? "nt" : "nn", p->a_stride, p->b_stride, p->out_stride);
    if (!tune(made, device, NULL, key, error))
        return false;
    if (*made != NULL) /* it may run more than once in a graph */
        drop_counter(*made);
    return true;
}

bool
cuda_product_run(const CudaGemm *gemm, CudaDevice *device, const void *a, const void *b, void *out,
                 cudaStream_t stream, GError **error)
{
    return cuda_check_cublas(multiply(gemm, &gemm->way.algorithm, gemm->counter, b, a, NULL, out, stream),
                             "a product", error);
}
