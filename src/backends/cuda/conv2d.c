/* Convolutions: kernel 1 as a product, kernels of our own for the pictures' few channels and for 64 channels
 * on Hopper, cuDNN for the rest; what none of them takes is done without matrix units. */
#include "backends/cuda/dnn_conv.h"
#include "backends/cuda/gemm.h"
#include "backends/cuda/weights.h"
#include "backends/cuda/wrap.h"

typedef struct {
    CudaConv conv;
    enum { BY_SIMT, BY_PRODUCT, BY_FEW_IN, BY_FEW_OUT, BY_LIBRARY, BY_CONV64 } way;
    CudaGemm *gemm;
    CudaDnnConv *library;
    int margin; /* of a circular convolution: pixels of the other side around x; then it pads no more */
    /* Bytes of x resized, made contiguous or with a margin, in the workspace; 0 when it is taken as it is. */
    gsize gathered;
} Conv2d;

static void
release(CudaDevice *device, RvOp *op)
{
    Conv2d *state = op->state;
    cuda_gemm_free(state->gemm);
    cuda_dnn_conv_free(state->library);
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
gathered_bytes(const CudaConv *whole)
{
    gsize pixels = (gsize)whole->n * (gsize)whole->h * (gsize)whole->w;
    gsize bytes = pixels * (gsize)whole->c * rv_dtype_size((RvDType)whole->dtype);
    return (bytes + 255) & ~(gsize)255;
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
    return true;
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
        state->way = BY_FEW_IN;
    else if (cuda_few_out_takes(s, device->sm))
        state->way = BY_FEW_OUT;
    else
        return choose_wide(state, device, op, error);
    return true;
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
    return cuda_pack(device, op, &state->conv, error) && choose(state, device, op, error);
}

/* x into the workspace. */
static bool
gather(const Conv2d *state, const RvOp *op, const CudaConv *conv, cudaStream_t stream, GError **error)
{
    return cuda_check(state->margin > 0 ? cuda_wrap(conv, state->margin, op->workspace_data, stream)
                                        : cuda_resize(conv, op->workspace_data, stream),
                      op->name, error);
}

static bool
run_wide(const Conv2d *state, CudaDevice *device, const RvOp *op, const CudaConv *conv, cudaStream_t stream,
         GError **error)
{
    guint8 *room = op->workspace_data;
    CudaConv whole = gathered(state, conv, state->gathered > 0 ? room : conv->x);
    if (state->gathered > 0 && !gather(state, op, conv, stream, error))
        return false;
    if (state->way == BY_CONV64)
        return cuda_check(cuda_conv64(&whole, device->multiprocessors, stream), op->name, error);
    return cuda_dnn_conv_run(state->library, device, &whole, room + state->gathered, stream, error);
}

static bool
run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    const Conv2d *state = op->state;
    CudaConv conv = state->conv;
    cuda_conv_address(&conv, op);
    bool is_aligned = state->gathered > 0 || (guintptr)conv.x % 16 == 0;
    is_aligned &= conv.add_kind == CUDA_ADD_NONE || (guintptr)conv.add % 16 == 0;
    if (state->way == BY_PRODUCT && cuda_gemm_takes(&conv))
        return cuda_gemm_run(state->gemm, device, &conv, stream, error);
    if ((state->way == BY_LIBRARY || state->way == BY_CONV64) && is_aligned)
        return run_wide(state, device, op, &conv, stream, error);
    if (state->margin > 0) {
        CudaConv whole = gathered(state, &conv, op->workspace_data);
        return gather(state, op, &conv, stream, error) &&
               cuda_check(cuda_simt_conv(&whole, stream), op->name, error);
    }
    cudaError_t status = state->way == BY_FEW_IN                  ? cuda_few_in(&conv, stream)
                         : state->way == BY_FEW_OUT && is_aligned ? cuda_few_out(&conv, stream)
                                                                  : cuda_simt_conv(&conv, stream);
    return cuda_check(status, op->name, error);
}

const CudaOp cuda_conv2d = { .prepare = prepare, .run = run, .release = release };
