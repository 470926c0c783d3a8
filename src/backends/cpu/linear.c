#include "backends/cpu/gemm.h"

static bool
prepare(CpuDevice *device, RvOp *op, GError **error)
{
    RvShape in = op->in[0].shape;
    if (op->in[0].dtype != RV_F32)
        return cpu_unsupported(op, rv_dtype_name(op->in[0].dtype), error);
    CpuProduct *product = g_new0(CpuProduct, 1);
    op->state = product;
    product->patches = (CpuPatches) {
        .in = in, .h = in.h, .w = in.w, .out_h = in.h, .out_w = in.w, .kernel = 1, .stride = 1
    };
    product->act = op->linear.act;
    return cpu_product_prepare(product, device, op, error);
}

static bool
run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_product_run(op->state, device, op);
    return true;
}

static void
release(RvOp *op)
{
    g_free(op->state);
}

const CpuOp cpu_linear = { .prepare = prepare, .run = run, .release = release };
