#include "backends/cpu/pixels.h"

/* 64 KiB of output: pieces of this size share the work evenly and stay in the inner caches. */
#define PIECE_ELEMENTS 16384

void
cpu_for_pixels(const RvOp *op, CpuPixelsFunc func)
{
    gint64 pixels = rv_shape_pixels(op->out.shape);
    if (pixels * op->out.shape.c <= CPU_SERIAL_ELEMENTS) {
        func(op, 0, pixels);
        return;
    }
    gint64 piece = MAX(1, PIECE_ELEMENTS / op->out.shape.c);
    gint64 pieces = (pixels + piece - 1) / piece;
#pragma omp parallel for schedule(static)
    for (gint64 i = 0; i < pieces; i++)
        func(op, i * piece, MIN(pixels, (i + 1) * piece));
}

bool
cpu_refuse_dtype(const RvOp *op, RvDType dtype, GError **error)
{
    return rv_error_set(error, RV_ERROR_UNSUPPORTED, op->name, NULL, "the CPU's %s does not take %s",
                        rv_op_kind_name(op->kind), rv_dtype_name(dtype));
}

bool
cpu_wants_f32(const RvOp *op, GError **error)
{
    for (int i = 0; i < RV_OP_INPUTS; i++)
        if (op->in[i].shape.n > 0 && op->in[i].dtype != RV_F32)
            return cpu_refuse_dtype(op, op->in[i].dtype, error);
    return op->out.dtype == RV_F32 || cpu_refuse_dtype(op, op->out.dtype, error);
}
