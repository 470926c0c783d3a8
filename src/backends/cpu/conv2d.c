#include "backends/cpu/winograd.h"

/* The one of the two that `is_winograd` names is in use. */
typedef struct {
    bool is_winograd;
    CpuProduct product;
    CpuWinograd winograd;
} Conv2d;

static CpuPatches
patches_of(const RvOp *op)
{
    const RvConv2d *o = &op->conv2d;
    RvShape in = op->in[0].shape;
    return (CpuPatches) {
        .in = in,
        .h = o->up_h > 0 ? o->up_h : in.h,
        .w = o->up_w > 0 ? o->up_w : in.w,
        .out_h = op->out.shape.h,
        .out_w = op->out.shape.w,
        .kernel = o->kernel,
        .stride = o->stride,
        .pad = o->pad_end ? 0 : (o->kernel - 1) / 2,
        .circular = o->circular,
    };
}

static bool
prepare(CpuDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != RV_F32)
        return cpu_unsupported(op, rv_dtype_name(op->in[0].dtype), error);
    if (op->conv2d.kernel % 2 == 0 || op->conv2d.kernel * op->conv2d.kernel > CPU_MAX_TAPS)
        return cpu_unsupported(op, "kernels that are even or larger than 7", error);
    Conv2d *conv = g_new0(Conv2d, 1);
    op->state = conv;
    CpuPatches patches = patches_of(op);
    conv->is_winograd = cpu_winograd_pays(&patches, op->out.shape.c);
    if (conv->is_winograd) {
        conv->winograd = (CpuWinograd) { .patches = patches, .act = op->conv2d.act };
        return cpu_winograd_prepare(&conv->winograd, device, op, error);
    }
    conv->product = (CpuProduct) { .patches = patches, .act = op->conv2d.act };
    return cpu_product_prepare(&conv->product, device, op, error);
}

static bool
run(CpuDevice *device, const RvOp *op, GError **error)
{
    const Conv2d *conv = op->state;
    if (conv->is_winograd)
        cpu_winograd_run(&conv->winograd, device, op);
    else
        cpu_product_run(&conv->product, device, op);
    return true;
}

static void
release(RvOp *op)
{
    g_free(op->state);
}

const CpuOp cpu_conv2d = { .prepare = prepare, .run = run, .release = release };
