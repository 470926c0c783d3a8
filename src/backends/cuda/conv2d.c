/* Convolutions: kernel 1 as a product, kernels of our own for the pictures' few channels and for 64 channels
 * on Hopper, cuDNN for the rest; what none of them takes is done without matrix units. */
#include "backends/cuda/dnn_conv.h"
#include "backends/cuda/f8.h"
#include "backends/cuda/gemm.h"
#include "backends/cuda/tune.h"
#include "backends/cuda/weights.h"
#include "backends/cuda/wrap.h"

typedef struct {
    CudaLayer layer;
    CudaConv conv;
    enum {
        BY_SIMT,
        BY_PRODUCT,
        BY_FEW_IN,
        BY_TAPS4,
        BY_FEW_OUT,
        BY_TAPS_HOPPER,
        BY_LIBRARY,
        BY_CONV64,
        BY_TWICE
    } way;
    CudaGemm *gemm;
    CudaDnnConv *library;
    int margin; /* of a circular convolution: pixels of the other side around x; then it pads no more */
    CudaDnnConv *spread; /* instead of a resize to twice the size and the convolution; NULL: not faster */
    const void *doubling_weight; /* of `spread`, or of BY_TWICE */
    /* Bytes of x resized, made contiguous or with a margin, in the workspace; 0 when it is taken as it is. */
    gsize gathered;
} Conv2d;

static void
release(CudaDevice *device, RvOp *op)
{
    Conv2d *state = op->state;
    cuda_f8_free(state->layer.f8);
    cuda_gemm_free(state->gemm);
    cuda_dnn_conv_free(state->library);
    cuda_dnn_conv_free(state->spread);
    g_free(state);
    op->state = NULL;
}

static bool
is_product(const CudaConv *s)
{
    return s->kernel == 1 && s->stride == 1 && s->up_h == s->h && s->up_w == s->w && s->out_h == s->h &&
           s->out_w == s->w;
}

/* x as the library gets it: resized, with its margin, and contiguous. */
static CudaConv
gathered(const Conv2d *state, const CudaConv *s, const void *x)
{
    CudaConv whole = *s;
    whole.x = x;
    whole.h = whole.up_h = s->up_h + 2 * state->margin;
    whole.w = whole.up_w = s->up_w + 2 * state->margin;
    whole.x_stride = s->c;
    whole.pad = state->margin > 0 ? 0 : s->pad;
    return whole;
}

static gsize
padded(gsize bytes)
{
    return (bytes + 255) & ~(gsize)255;
}

static gsize
gathered_bytes(const CudaConv *whole)
{
    gsize pixels = (gsize)whole->n * (gsize)whole->h * (gsize)whole->w;
    return padded(pixels * (gsize)whole->c * rv_dtype_size((RvDType)whole->dtype));
}

static bool
choose_wide_way(Conv2d *state, CudaDevice *device, RvOp *op, const CudaConv *whole, GError **error)
{
    if (whole->c % 8 != 0 || whole->out_c % 8 != 0 || op->out.dtype == RV_F32)
        return true;
    if (cuda_conv64_takes(whole, device->sm)) {
        state->way = BY_CONV64;
    } else if (!cuda_dnn_conv_new(&state->library, device, whole, error)) {
        return false;
    } else if (state->library != NULL) {
        state->way = BY_LIBRARY;
        op->workspace = cuda_dnn_conv_workspace(state->library);
    }
    return true;
}

/* x into `room`. */
static bool
gather(const Conv2d *state, const CudaConv *conv, void *room, cudaStream_t stream, GError **error)
{
    return cuda_check(state->margin > 0 ? cuda_wrap(conv, state->margin, room, stream)
                                        : cuda_resize(conv, room, stream),
                      "x of a convolution", error);
}

static bool
run_wide(const Conv2d *state, CudaDevice *device, const CudaConv *conv, guint8 *room, cudaStream_t stream,
         GError **error)
{
    CudaConv whole = gathered(state, conv, state->gathered > 0 ? room : conv->x);
    if (state->gathered > 0 && !gather(state, conv, room, stream, error))
        return false;
    if (state->way == BY_CONV64)
        return cuda_check(cuda_conv64(&whole, device->multiprocessors, stream), "a convolution", error);
    return cuda_dnn_conv_run(state->library, device, &whole, room + state->gathered, stream, error);
}

/* ---- a picture resized to twice its size ---- */

typedef struct {
    const Conv2d *state;
    CudaDevice *device;
    CudaConv conv;
    guint8 *room, *weights;
    gsize weight_bytes; /* of one tap */
} Contest;

static bool
try_way(void *user, int index, int turn, cudaStream_t stream)
{
    Contest *contest = user;
    CudaConv conv = contest->conv;
    conv.weight = contest->weights + cuda_bench_turn(contest->weight_bytes * (index == 0 ? 9 : 16), turn);
    if (index == 0)
        return run_wide(contest->state, contest->device, &conv, contest->room, stream, NULL);
    conv = cuda_doubling(&conv);
    return cuda_dnn_conv_run(contest->state->spread, contest->device, &conv, contest->room, stream, NULL);
}

/* Times the resize and the convolution (0) against the one that spreads (1), on memory of their own. */
static bool
compare(const Conv2d *state, CudaDevice *device, const RvOp *op, int *choice, GError **error)
{
    const CudaConv *s = &state->conv;
    gsize element = rv_dtype_size((RvDType)s->dtype), weights = (gsize)s->c * (gsize)s->out_c * element;
    gsize x = padded((gsize)rv_shape_count(op->in[0].shape) * element);
    gsize out = padded((gsize)rv_shape_count(op->out.shape) * element);
    gsize add = s->add_kind == CUDA_ADD_NONE
                    ? 0
                    : padded((gsize)rv_shape_pixels(op->in[1].shape) * (gsize)s->add_stride * element);
    gsize bias = padded((gsize)s->out_c * element);
    gsize room = padded(MAX(op->workspace, cuda_dnn_conv_workspace(state->spread)));
    /* As many copies as fit: those of fewer taps may be longer than those of more. */
    gsize rotating = MAX(cuda_bench_rotating(9 * weights), cuda_bench_rotating(16 * weights));
    Contest contest = { .state = state, .device = device, .conv = *s, .weight_bytes = weights };
    CudaBench bench;
    if (!cuda_bench_open(&bench, device, x + out + add + bias + room + rotating, error))
        return false;
    contest.conv.x = bench.memory;
    contest.conv.out = bench.memory + x;
    contest.conv.add = bench.memory + x + out;
    contest.conv.bias = s->bias == NULL ? NULL : bench.memory + x + out + add;
    contest.room = bench.memory + x + out + add + bias;
    contest.weights = contest.room + room;
    *choice = cuda_fastest(device, try_way, &contest, 2, NULL);
    cuda_bench_close(&bench, device);
    return true;
}

static bool
doubles(const Conv2d *state, const CudaConv *s)
{
    return s->up_h == 2 * s->h && s->up_w == 2 * s->w && s->kernel == 3 && s->stride == 1 && s->pad == 1 &&
           s->x_stride == s->c && state->margin == 0 && (state->way == BY_LIBRARY || state->way == BY_CONV64);
}

static bool
choose_doubling(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaConv *s = &state->conv;
    if (!doubles(state, s) || device->notes != NULL)
        return true;
    g_autofree char *key = g_strdup_printf("doubling %s %dx%dx%dx%d %d bias%d add%d %d act%d",
                                           rv_dtype_name((RvDType)s->dtype), s->n, s->h, s->w, s->c, s->out_c,
                                           s->bias != NULL, s->add_kind, s->add_stride, s->act);
    CudaConv spread = cuda_doubling(s);
    int choice = cuda_choice_find(device, key, 2);
    if (choice != 0 && !cuda_dnn_conv_new(&state->spread, device, &spread, error))
        return false;
    if (choice < 0 && state->spread != NULL) {
        if (!compare(state, device, op, &choice, error))
            return false;
        cuda_choice_store(device, key, choice, 2);
    }
    if (choice <= 0)
        g_clear_pointer(&state->spread, cuda_dnn_conv_free);
    if (state->spread == NULL)
        return true;
    op->workspace = MAX(op->workspace, cuda_dnn_conv_workspace(state->spread));
    return true;
}

/* The library, or the kernel for 64 channels: both take x in its final size; with a margin all do. */
static bool
choose_wide(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaConv *s = &state->conv;
    bool is_resized = s->up_h != s->h || s->up_w != s->w;
    CudaConv whole = gathered(state, s, NULL);
    if (!choose_wide_way(state, device, op, &whole, error))
        return false;
    if (state->margin > 0 || (state->way != BY_SIMT && (is_resized || s->x_stride != s->c)))
        state->gathered = gathered_bytes(&whole);
    op->workspace += state->gathered;
    return choose_doubling(state, device, op, error);
}

static bool
choose_twice(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    state->way = BY_TWICE;
    state->doubling_weight = cuda_pack_doubling(device, op, true, error);
    return state->doubling_weight != NULL;
}

static bool
choose(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaConv *s = &state->conv;
    if (state->margin > 0)
        return choose_wide(state, device, op, error);
    if (op->out.dtype == RV_F32 && !is_product(s))
        return true;
    if (is_product(s)) {
        if (!cuda_gemm_new(&state->gemm, device, s, error))
            return false;
        state->way = state->gemm != NULL ? BY_PRODUCT : BY_SIMT;
        return true;
    }
    if (cuda_few_in_takes(s, device->sm))
        state->way = cuda_taps4_takes(s, device->sm) ? BY_TAPS4 : BY_FEW_IN;
    else if (cuda_few_out_takes(s, device->sm))
        state->way = cuda_taps_hopper_takes(s, device->sm) ? BY_TAPS_HOPPER : BY_FEW_OUT;
    else if (cuda_conv64_twice_takes(s, device->sm))
        return choose_twice(state, device, op, error);
    else
        return choose_wide(state, device, op, error);
    return true;
}

/* In 8-bit floats, where that is faster than what was chosen. */
static bool
choose_f8(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    if (state->margin > 0 || (state->way != BY_PRODUCT && state->way != BY_LIBRARY))
        return true;
    double microseconds = state->way == BY_PRODUCT ? cuda_gemm_microseconds(state->gemm)
                          : state->spread != NULL  ? cuda_dnn_conv_microseconds(state->spread)
                                                   : cuda_dnn_conv_microseconds(state->library);
    return cuda_f8_new(&state->layer.f8, device, op, &state->conv, microseconds, error);
}

static bool
prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != op->out.dtype)
        return cuda_refuse_dtype(op, op->in[0].dtype, error);
    if (op->conv2d.kernel % 2 == 0 || op->conv2d.kernel > 7)
        return rv_error_set(
            error, RV_ERROR_UNSUPPORTED, op->name, NULL,
            "the CUDA back end has no convolutions with kernels that are even or larger than 7");
    Conv2d *state = g_new0(Conv2d, 1);
    op->state = state;
    cuda_conv_describe(&state->conv, op);
    state->margin = op->conv2d.circular ? state->conv.pad : 0;
    if (!choose(state, device, op, error) || !choose_f8(state, device, op, error))
        return false;
    if (state->layer.f8 != NULL)
        return true;
    if (state->spread != NULL)
        state->doubling_weight = cuda_pack_doubling(device, op, false, error);
    return (state->spread == NULL || state->doubling_weight != NULL) &&
           cuda_pack(device, op, &state->conv, error) &&
           (state->way == BY_TWICE || cuda_f8_take_notes(&state->layer, device, op, &state->conv, error));
}

/* Few channels at one end, and what nothing else takes. `is_aligned`: x and the addend. */
static cudaError_t
run_narrow(const Conv2d *state, CudaDevice *device, const CudaConv *conv, bool is_aligned,
           cudaStream_t stream)
{
    if (state->way == BY_TAPS4 && (guintptr)conv->out % 16 == 0)
        return cuda_taps4(conv, device->multiprocessors, stream);
    if (state->way == BY_TAPS4 || state->way == BY_FEW_IN)
        return cuda_few_in(conv, stream);
    if (state->way == BY_TAPS_HOPPER && is_aligned)
        return cuda_taps_hopper(conv, device->multiprocessors, stream);
    if (state->way == BY_FEW_OUT && is_aligned)
        return cuda_few_out(conv, stream);
    return cuda_simt_conv(conv, stream);
}

static bool
run_as_it_is(CudaDevice *device, const RvOp *op, const CudaConv *from, cudaStream_t stream, GError **error)
{
    const Conv2d *state = op->state;
    CudaConv conv = *from;
    bool is_aligned = state->gathered > 0 || (guintptr)conv.x % 16 == 0;
    is_aligned &= conv.add_kind == CUDA_ADD_NONE || (guintptr)conv.add % 16 == 0;
    if (state->way == BY_PRODUCT && cuda_gemm_takes(&conv))
        return cuda_gemm_run(state->gemm, device, &conv, stream, error);
    if (state->spread != NULL && is_aligned && (guintptr)conv.x % 16 == 0) {
        CudaConv spread = cuda_doubling(&conv);
        spread.weight = state->doubling_weight;
        return cuda_dnn_conv_run(state->spread, device, &spread, op->workspace_data, stream, error);
    }
    if (state->way == BY_TWICE && is_aligned) {
        conv.weight = state->doubling_weight;
        return cuda_check(cuda_conv64_twice(&conv, device->multiprocessors, stream), op->name, error);
    }
    if ((state->way == BY_LIBRARY || state->way == BY_CONV64) && is_aligned)
        return run_wide(state, device, &conv, op->workspace_data, stream, error);
    if (state->margin > 0) {
        CudaConv whole = gathered(state, &conv, op->workspace_data);
        return gather(state, &conv, op->workspace_data, stream, error) &&
               cuda_check(cuda_simt_conv(&whole, stream), op->name, error);
    }
    return cuda_check(run_narrow(state, device, &conv, is_aligned, stream), op->name, error);
}

static bool
run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const Conv2d *state = op->state;
    CudaConv conv = state->conv;
    cuda_conv_address(&conv, op);
    if (state->layer.f8 != NULL)
        return cuda_f8_run(state->layer.f8, device, op, &conv, stream, error);
    return run_as_it_is(device, op, &conv, stream, error) &&
           (state->layer.notes == NULL ||
            cuda_f8_note(&state->layer, device, op, &conv, run_as_it_is, stream, error));
}

const CudaOp cuda_conv2d = { .prepare = prepare, .run = run, .release = release };
