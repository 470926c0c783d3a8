/* Convolutions: kernel 1 as a product, kernels of our own for the pictures' few channels and for 64 channels
 * on Hopper, cuDNN for the rest; what none of them takes is done without matrix units. */
#include "backends/cuda/dnn_conv.h"
#include "backends/cuda/gemm.h"
#include "backends/cuda/weights.h"

typedef struct {
    CudaConv conv;
    enum { BY_SIMT, BY_PRODUCT, BY_FEW_IN, BY_FEW_OUT, BY_LIBRARY, BY_CONV64 } way;
    CudaGemm *gemm;
    CudaDnnConv *library;
    gsize
        gathered; /* bytes of x resized, or made contiguous, in the workspace; 0 when it is taken as it is */
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

/* x as the library gets it: resized and contiguous. */
static CudaConv
gathered(const CudaConv *s, const void *x)
{
    CudaConv whole = *s;
    whole.x = x;
    whole.h = s->up_h;
    whole.w = s->up_w;
    whole.x_stride = s->c;
    return whole;
}

/* The library, or the kernel for 64 channels: both take x in its final size. */
static bool
choose_wide(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaConv *s = &state->conv;
    bool is_resized = s->up_h != s->h || s->up_w != s->w;
    if (s->c % 8 != 0 || s->out_c % 8 != 0)
        return true;
    CudaConv shape = gathered(s, NULL);
    if (cuda_conv64_takes(&shape, device->sm)) {
        state->way = BY_CONV64;
    } else if (!cuda_dnn_conv_new(&state->library, device, &shape, error)) {
        return false;
    } else if (state->library != NULL) {
        state->way = BY_LIBRARY;
        op->workspace = cuda_dnn_conv_workspace(state->library);
    }
    if (state->way != BY_SIMT && (is_resized || s->x_stride != s->c))
        state->gathered =
            ((gsize)s->n * (gsize)s->up_h * (gsize)s->up_w * (gsize)s->c * rv_dtype_size((RvDType)s->dtype) +
             255) &
            ~(gsize)255;
    op->workspace += state->gathered;
    return true;
}

static bool
choose(Conv2d *state, CudaDevice *device, RvOp *op, GError **error)
{
    const CudaConv *s = &state->conv;
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
    if (op->conv2d.circular)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, "draw tiles on the CPU",
                            "the CUDA back end has no circular convolutions");
    Conv2d *state = g_new0(Conv2d, 1);
    op->state = state;
    cuda_conv_describe(&state->conv, op);
    return cuda_pack(device, op, &state->conv, error) && choose(state, device, op, error);
}

static bool
run_wide(const Conv2d *state, CudaDevice *device, const RvOp *op, const CudaConv *conv, cudaStream_t stream,
         GError **error)
{
    guint8 *room = op->workspace_data;
    CudaConv whole = gathered(conv, state->gathered > 0 ? room : conv->x);
    if (state->gathered > 0 && !cuda_check(cuda_resize(conv, room, stream), op->name, error))
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
    cudaError_t status = state->way == BY_FEW_IN                  ? cuda_few_in(&conv, stream)
                         : state->way == BY_FEW_OUT && is_aligned ? cuda_few_out(&conv, stream)
                                                                  : cuda_simt_conv(&conv, stream);
    return cuda_check(status, op->name, error);
}

const CudaOp cuda_conv2d = { .prepare = prepare, .run = run, .release = release };
