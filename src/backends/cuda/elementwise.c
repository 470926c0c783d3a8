#include "backends/cuda/f8.h"

static bool
prepare_floats(CudaDevice *device, RvOp *op, GError **error)
{
    return cuda_wants_floats(op, error);
}

static bool
is_exact(const RvOp *op)
{
    return op->out.dtype == RV_F32;
}

static bool
act_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_act(cuda_view(&op->in[0]), cuda_view(&op->out), (int)op->act, is_exact(op), stream);
    return cuda_check_launch(op, error);
}

static bool
glu_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_glu(cuda_view(&op->in[0]), cuda_f8_out(device, op), is_exact(op), stream);
    return cuda_check_launch(op, error);
}

static bool
add_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    RvShape a = op->in[0].shape, b = op->in[1].shape;
    gint64 plane = (gint64)a.h * a.w;
    bool per_image = b.n == a.n && b.h == 1 && b.w == 1;
    cuda_kernel_add(cuda_view(&op->in[0]), cuda_view(&op->in[1]), cuda_view(&op->out), plane, per_image,
                    stream);
    return cuda_check_launch(op, error);
}

static bool
mix_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_mix(cuda_view(&op->in[0]), cuda_view(&op->in[1]), cuda_view(&op->in[2]),
                    cuda_view(&op->in[3]), cuda_view(&op->out), stream);
    return cuda_check_launch(op, error);
}

static bool
concat_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    cuda_kernel_concat(cuda_view(&op->in[0]), cuda_view(&op->in[1]), cuda_view(&op->out), stream);
    return cuda_check_launch(op, error);
}

static bool
converts(RvDType dtype)
{
    return dtype == RV_F32 || dtype == RV_F16 || dtype == RV_BF16 || dtype == RV_U8;
}

static bool
convert_prepare(CudaDevice *device, RvOp *op, GError **error)
{
    if (!converts(op->in[0].dtype))
        return cuda_refuse_dtype(op, op->in[0].dtype, error);
    return converts(op->out.dtype) || cuda_refuse_dtype(op, op->out.dtype, error);
}

static bool
convert_run(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error)
{
    float scale = op->convert.scale == 0.0f ? 1.0f : op->convert.scale;
    cuda_kernel_convert(cuda_view(&op->in[0]), cuda_view(&op->out), scale, op->convert.shift, stream);
    return cuda_check_launch(op, error);
}

const CudaOp cuda_act = { prepare_floats, act_run, NULL };
const CudaOp cuda_glu = { prepare_floats, glu_run, NULL };
const CudaOp cuda_add = { prepare_floats, add_run, NULL };
const CudaOp cuda_mix = { prepare_floats, mix_run, NULL };
const CudaOp cuda_concat = { prepare_floats, concat_run, NULL };
const CudaOp cuda_convert = { convert_prepare, convert_run, NULL };
