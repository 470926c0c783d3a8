#include "backends/cpu/kernels/elementwise.h"
#include "backends/cpu/pixels.h"

static bool
convert_prepare(CpuDevice *device, RvOp *op, GError **error)
{
    if (op->in[0].dtype != RV_F32 && op->in[0].dtype != RV_U8)
        return cpu_refuse_dtype(op, op->in[0].dtype, error);
    if (op->out.dtype != RV_F32 && op->out.dtype != RV_U8)
        return cpu_refuse_dtype(op, op->out.dtype, error);
    return true;
}

/* U8 to U8 goes through a table, for there are only 256 answers. */
static void
remap_u8(const guint8 *x, float scale, float shift, guint8 *out, gint64 count)
{
    float values[256];
    guint8 table[256];
    for (int i = 0; i < 256; i++)
        values[i] = (float)i;
    elementwise_kernels()->to_u8(values, scale, shift, table, 256);
    for (gint64 i = 0; i < count; i++)
        out[i] = table[x[i]];
}

static void
convert_values(const RvOp *op, gint64 in_offset, gint64 out_offset, gint64 count)
{
    float scale = op->convert.scale == 0.0f ? 1.0f : op->convert.scale, shift = op->convert.shift;
    const float *x = (const float *)op->in[0].data + in_offset;
    const guint8 *x_u8 = (const guint8 *)op->in[0].data + in_offset;
    float *out = (float *)op->out.data + out_offset;
    guint8 *out_u8 = (guint8 *)op->out.data + out_offset;
    if (op->in[0].dtype == RV_F32 && op->out.dtype == RV_F32)
        elementwise_kernels()->scale(x, scale, shift, out, count);
    else if (op->in[0].dtype == RV_F32)
        elementwise_kernels()->to_u8(x, scale, shift, out_u8, count);
    else if (op->out.dtype == RV_F32)
        elementwise_kernels()->from_u8(x_u8, scale, shift, out, count);
    else
        remap_u8(x_u8, scale, shift, out_u8, count);
}

static void
convert_pixels(const RvOp *op, gint64 from, gint64 to)
{
    int channels = op->out.shape.c, in_stride = op->in[0].pixel_stride, out_stride = op->out.pixel_stride;
    if (cpu_is_dense(&op->in[0]) && cpu_is_dense(&op->out)) {
        convert_values(op, from * channels, from * channels, (to - from) * channels);
        return;
    }
    for (gint64 p = from; p < to; p++)
        convert_values(op, p * in_stride, p * out_stride, channels);
}

static bool
convert_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, convert_pixels);
    return true;
}

const CpuOp cpu_convert = { convert_prepare, convert_run, NULL };
