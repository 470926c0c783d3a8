#include "backends/cuda/f8.h"

#include "backends/cuda/gemm.h"
#include "backends/cuda/tune.h"
#include "backends/cuda/weights.h"

/* Layers whose rounding changes their results by more than this stay in float16. E4M3's own grain, half of
 * 2^-3 at most, makes 3 to 4 % of a product of two such numbers. */
#define MOST_ERROR 0.08f
/* Fewer rows are bound by reading the weights or by starting the kernel. */
#define FEWEST_ROWS 128
/* One scale for all outputs, which has the faster products, counts as good up to so much more error. */
#define AS_GOOD 1.02f
#define LARGEST 448.0f
#define ALIGNMENT ((gsize)256)

struct CudaF8 {
    CudaConv conv;  /* weight, bias and scale are set */
    float factor;   /* x is stored times this */
    bool is_direct; /* by the op before */
    CudaGemm *gemm;
    int variant; /* of cuda_conv_f8, where there is no gemm */
};

static gsize
rounded(gsize bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
}

bool
cuda_f8_open(CudaDevice *device, GError **error)
{
    if (!device->fp8)
        return true;
    device->f8_ones = cuda_alloc(device, CUDA_F8_MOST_ROWS * sizeof *device->f8_ones, error);
    return device->f8_ones != NULL &&
           cuda_check(cuda_f8_fill_ones(device->f8_ones, CUDA_F8_MOST_ROWS, device->stream), device->name,
                      error);
}

void
cuda_f8_free(CudaF8 *f8)
{
    if (f8 == NULL)
        return;
    cuda_gemm_free(f8->gemm);
    g_free(f8);
}

/* Whatever time and error say. */
static bool
is_forced(const CudaDevice *device)
{
    return device->fp8 != RV_FP8_FASTER;
}

/* A function of what pack() knows, too. */
static int
scaling_of(const CudaDevice *device, const RvOp *op, const CudaF8Record *record)
{
    if (device->fp8 == RV_FP8_EACH || (op->kind == RV_OP_CONV2D && op->conv2d.kernel > 1))
        return CUDA_F8_EACH;
    if (device->fp8 == RV_FP8_ONE)
        return CUDA_F8_ONE;
    return record->one <= record->each * AS_GOOD ? CUDA_F8_ONE : CUDA_F8_EACH;
}

static float
error_of(const CudaDevice *device, const RvOp *op, const CudaF8Record *record)
{
    return scaling_of(device, op, record) == CUDA_F8_ONE ? record->one : record->each;
}

static gsize
count_of(const RvOp *op, int slot)
{
    return op->weight[slot].array.data != NULL ? (gsize)rv_array_count(&op->weight[slot].array) : 0;
}

/* Memory for float16 weights of a layer, and in its first bytes what is noted of them. */
static guint8 *
room(CudaDevice *device, gsize bytes, GError **error)
{
    if (device->f8_room_bytes < bytes + ALIGNMENT) {
        cuda_free(device, device->f8_room);
        device->f8_room = cuda_alloc(device, bytes + ALIGNMENT, error);
        device->f8_room_bytes = device->f8_room != NULL ? bytes + ALIGNMENT : 0;
    }
    return device->f8_room;
}

static gsize
matrix_count(const RvOp *op)
{
    gsize count = 0;
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2)
        count += count_of(op, i);
    return count;
}

static int
outputs_of(const RvOp *op)
{
    int outputs = 0;
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2)
        if (op->weight[i].array.data != NULL)
            outputs += (int)op->weight[i].array.shape[0];
    return outputs;
}

static bool
load_matrix(CudaDevice *device, const RvOp *op, guint8 *to, GError **error)
{
    CudaLayout layout = op->kind == RV_OP_CONV2D && op->conv2d.kernel > 1 ? CUDA_OIHW_TO_OHWI : CUDA_PLAIN;
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2) {
        if (op->weight[i].array.data == NULL)
            continue;
        if (!cuda_load_weight(device, &op->weight[i].array, layout, RV_F16, to, error))
            return false;
        to += 2 * count_of(op, i);
    }
    return true;
}

static bool
load_biases(CudaDevice *device, const RvOp *op, guint8 *to, GError **error)
{
    for (int i = 1; i < RV_OP_WEIGHTS; i += 2) {
        if (op->weight[i].array.data == NULL)
            continue;
        if (!cuda_load_weight(device, &op->weight[i].array, CUDA_PLAIN, RV_F16, to, error))
            return false;
        to += 2 * count_of(op, i);
    }
    return true;
}

/* The numbers, the scales of the outputs, the biases. */
static bool
pack(void *user, RvOp *op, void *memory, gsize bytes, GError **error)
{
    CudaDevice *device = user;
    const CudaF8Record *record = cuda_f8_record(device, op);
    gsize count = matrix_count(op);
    int outputs = outputs_of(op);
    guint8 *whole = room(device, 2 * count, error);
    if (whole == NULL)
        return false;
    CudaF8Note *all = (CudaF8Note *)whole;
    guint8 *matrix = whole + ALIGNMENT;
    float *scales = (float *)((guint8 *)memory + rounded(count));
    bool is_one = scaling_of(device, op, record) == CUDA_F8_ONE;
    return load_matrix(device, op, matrix, error) &&
           cuda_check(cudaMemsetAsync(all, 0, sizeof *all, device->stream), op->name, error) &&
           cuda_check(cuda_f8_note_largest(matrix, (long long)count, all, device->stream), op->name, error) &&
           cuda_check(cuda_f8_pack_rows(matrix, outputs, (int)(count / (gsize)outputs), memory, scales,
                                        record->largest / LARGEST, is_one ? all : NULL, device->stream),
                      op->name, error) &&
           load_biases(device, op, (guint8 *)scales + rounded((gsize)outputs * sizeof *scales), error);
}

static bool
take_weights(CudaF8 *f8, CudaDevice *device, RvOp *op, GError **error)
{
    CudaConv *conv = &f8->conv;
    bool has_bias = conv->bias != NULL;
    gsize matrix = rounded(matrix_count(op)), scales = rounded((gsize)conv->out_c * sizeof(float));
    GString *key = g_string_new("e4m3");
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        if (op->weight[i].array.data != NULL)
            g_string_append_printf(key, " %s", op->weight[i].name);
    guint8 *memory = rv_weight_set_get(
        op->weights, key->str, matrix + scales + (has_bias ? 2 * (gsize)conv->out_c : 0), op, pack, error);
    g_string_free(key, TRUE);
    conv->weight = memory;
    conv->scale = (const float *)(memory + matrix);
    conv->bias = has_bias ? memory + matrix + scales : NULL;
    return memory != NULL;
}

static bool
stores_f8(const RvOp *op)
{
    return op->kind == RV_OP_LAYER_NORM || op->kind == RV_OP_GROUP_NORM || op->kind == RV_OP_GLU ||
           (op->kind == RV_OP_ATTENTION && cuda_attention_stores_f8(op));
}

typedef struct {
    CudaConv conv;
    void *to;
} Pass;

static bool
try_pass(void *user, int index, int turn, cudaStream_t stream)
{
    Pass *pass = user;
    return cuda_f8_gather(&pass->conv, pass->to, 1.0f, stream) == cudaSuccess;
}

static bool
time_pass(CudaDevice *device, const CudaConv *conv, const char *key, double *microseconds, GError **error)
{
    CudaBench bench;
    gsize x = rounded((gsize)conv->n * (gsize)conv->h * (gsize)conv->w * (gsize)conv->x_stride * 2);
    gsize to = rounded((gsize)conv->n * (gsize)conv->up_h * (gsize)conv->up_w * (gsize)conv->c);
    if (!cuda_bench_open(&bench, device, x + to, error))
        return false;
    Pass pass = { *conv, bench.memory + x };
    pass.conv.x = bench.memory;
    *microseconds = cuda_time(device, try_pass, &pass, 0);
    cuda_keep_time(device, key, *microseconds);
    cuda_bench_close(&bench, device);
    return true;
}

/* What it takes to bring x into E4M3. */
static bool
pass_time(const CudaF8 *f8, CudaDevice *device, const CudaConv *conv, double *microseconds, GError **error)
{
    *microseconds = 0.0;
    if (f8->is_direct)
        return true;
    g_autofree char *key = g_strdup_printf("to e4m3 %dx%dx%dx%d %dx%d %d", conv->n, conv->h, conv->w, conv->c,
                                           conv->up_h, conv->up_w, conv->x_stride);
    *microseconds = cuda_kept_time(device, key);
    return *microseconds > 0.0 || time_pass(device, conv, key, microseconds, error);
}

static bool
suits(const CudaDevice *device, const RvOp *op, const CudaConv *conv)
{
    gint64 rows = (gint64)conv->n * conv->out_h * conv->out_w;
    return device->fp8 != RV_FP8_NONE && device->notes == NULL && op->out.dtype == RV_F16 &&
           conv->kernel <= 3 && conv->stride == 1 && (rows >= FEWEST_ROWS || is_forced(device)) &&
           rows <= CUDA_F8_MOST_ROWS && conv->c % 16 == 0 && conv->out_c % 16 == 0 && conv->x_stride % 8 == 0;
}

typedef struct {
    const CudaDevice *device;
    CudaConv conv; /* with addresses to time on */
    guint8 *weights;
    gsize weight_bytes;
} Trial;

static bool
try_conv(void *user, int index, int turn, cudaStream_t stream)
{
    Trial *trial = user;
    CudaConv conv = trial->conv;
    conv.weight = trial->weights + cuda_bench_turn(trial->weight_bytes, turn);
    return cuda_conv_f8_takes(&conv, index, trial->device->sm) &&
           cuda_conv_f8(&conv, index, stream) == cudaSuccess;
}

static bool
time_conv(CudaDevice *device, const CudaConv *conv, int *variant, double *microseconds, GError **error)
{
    gsize pixels = (gsize)conv->n * (gsize)conv->h * (gsize)conv->w;
    gsize x = rounded(pixels * (gsize)conv->c), out = rounded(pixels * (gsize)conv->out_c * 2);
    gsize add = conv->add_kind == CUDA_ADD_NONE ? 0 : rounded(pixels * (gsize)conv->add_stride * 2);
    gsize outputs = rounded((gsize)conv->out_c * sizeof(float));
    Trial trial = { .device = device, .conv = *conv };
    trial.weight_bytes = (gsize)conv->out_c * 9 * (gsize)conv->c;
    CudaBench bench;
    if (!cuda_bench_open(&bench, device,
                         x + out + add + 2 * outputs + cuda_bench_rotating(trial.weight_bytes), error))
        return false;
    trial.conv.x = bench.memory;
    trial.conv.out = bench.memory + x;
    trial.conv.add = bench.memory + x + out;
    trial.conv.scale = (const float *)(bench.memory + x + out + add);
    trial.conv.bias = conv->bias == NULL ? NULL : bench.memory + x + out + add + outputs;
    trial.weights = bench.memory + x + out + add + 2 * outputs;
    *variant = cuda_fastest(device, try_conv, &trial, CUDA_CONV_F8_VARIANTS, microseconds);
    cuda_bench_close(&bench, device);
    return true;
}

/* *variant is -1 when no kernel takes it. */
static bool
choose_conv(CudaDevice *device, const CudaConv *conv, int *variant, double *microseconds, GError **error)
{
    g_autofree char *key =
        g_strdup_printf("conv e4m3 %dx%dx%dx%d %d bias%d add%d %d", conv->n, conv->h, conv->w, conv->c,
                        conv->out_c, conv->bias != NULL, conv->add_kind, conv->add_stride);
    *microseconds = cuda_kept_time(device, key);
    *variant = cuda_choice_find(device, key, CUDA_CONV_F8_VARIANTS);
    if (*variant >= 0 && *microseconds > 0.0)
        return true;
    bool takes = false;
    for (int i = 0; i < CUDA_CONV_F8_VARIANTS; i++)
        takes |= cuda_conv_f8_takes(conv, i, device->sm);
    if (!takes)
        return true;
    if (!time_conv(device, conv, variant, microseconds, error))
        return false;
    cuda_choice_store(device, key, *variant, CUDA_CONV_F8_VARIANTS);
    cuda_keep_time(device, key, *microseconds);
    return true;
}

/* Whether the layer would be faster; the parts that it needs for that are made. */
static bool
choose(CudaF8 *f8, CudaDevice *device, const CudaConv *conv, double usual, bool *is_faster, GError **error)
{
    double pass = 0.0, own = 0.0;
    bool ok = conv->kernel == 1 ? cuda_gemm_new(&f8->gemm, device, &f8->conv, error)
                                : choose_conv(device, &f8->conv, &f8->variant, &own, error);
    *is_faster = false;
    if (!ok || !pass_time(f8, device, conv, &pass, error))
        return false;
    if (f8->gemm != NULL)
        own = cuda_gemm_microseconds(f8->gemm);
    *is_faster = (f8->gemm != NULL || f8->variant >= 0) && (is_forced(device) || own + pass < usual);
    return true;
}

bool
cuda_f8_new(CudaF8 **made, CudaDevice *device, RvOp *op, const CudaConv *conv, double microseconds,
            GError **error)
{
    const CudaF8Record *record = suits(device, op, conv) ? cuda_f8_record(device, op) : NULL;
    bool is_faster;
    *made = NULL;
    if (record == NULL)
        return true;
    op->error = error_of(device, op, record);
    if (op->error > MOST_ERROR && !is_forced(device))
        return true;
    CudaF8 *f8 = g_new0(CudaF8, 1);
    f8->conv = *conv;
    f8->conv.f8 = scaling_of(device, op, record);
    f8->conv.x_stride = conv->c;
    f8->conv.h = conv->up_h;
    f8->conv.w = conv->up_w;
    f8->variant = -1;
    f8->factor = LARGEST / record->largest;
    f8->is_direct = op->feeder != NULL && stores_f8(op->feeder) && conv->up_h == conv->h &&
                    conv->up_w == conv->w && conv->x_stride == conv->c;
    bool ok = choose(f8, device, conv, microseconds, &is_faster, error) &&
              (!is_faster || take_weights(f8, device, op, error));
    if (!ok || !is_faster) {
        cuda_f8_free(f8);
        return ok;
    }
    op->factors = RV_F8_E4M3;
    op->workspace =
        f8->is_direct ? 0 : (gsize)conv->n * (gsize)conv->up_h * (gsize)conv->up_w * (gsize)conv->c;
    *made = f8;
    return true;
}

bool
cuda_f8_run(const CudaF8 *f8, CudaDevice *device, const RvOp *op, const CudaConv *conv, cudaStream_t stream,
            GError **error)
{
    CudaConv own = f8->conv;
    own.x = f8->is_direct ? conv->x : op->workspace_data;
    own.add = conv->add;
    own.out = conv->out;
    if (!f8->is_direct &&
        !cuda_check(cuda_f8_gather(conv, op->workspace_data, f8->factor, stream), op->name, error))
        return false;
    if (f8->gemm != NULL)
        return cuda_gemm_run(f8->gemm, device, &own, stream, error);
    return cuda_check(cuda_conv_f8(&own, f8->variant, stream), op->name, error);
}

/* The layer that reads op's result as E4M3, or NULL. */
static const CudaF8 *
reader_of(const CudaDevice *device, const RvOp *op)
{
    const RvOp *reader = op->reader;
    if (!device->fp8 || reader == NULL || (reader->kind != RV_OP_LINEAR && reader->kind != RV_OP_CONV2D))
        return NULL;
    const CudaLayer *layer = reader->state;
    return layer != NULL && layer->f8 != NULL && layer->f8->is_direct ? layer->f8 : NULL;
}

CudaView
cuda_f8_out(CudaDevice *device, const RvOp *op)
{
    CudaView view = cuda_view(&op->out);
    const CudaF8 *reader = reader_of(device, op);
    if (reader != NULL) {
        view.dtype = RV_F8_E4M3;
        view.factor = reader->factor;
    }
    return view;
}

void
cuda_f8_keep_apart(CudaDevice *device, RvOp *op)
{
    op->apart = device->fp8 && op->reader != NULL && op->reader->calibration != NULL;
}
