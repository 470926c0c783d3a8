#include <string.h>

#include "backends/cpu/kernels/elementwise.h"
#include "backends/cpu/pixels.h"

static bool
prepare_f32(CpuDevice *device, RvOp *op, GError **error)
{
    return cpu_wants_f32(op, error);
}

static void
act_pixels(const RvOp *op, gint64 from, gint64 to)
{
    int channels = op->out.shape.c;
    if (cpu_is_dense(&op->in[0]) && cpu_is_dense(&op->out)) {
        elementwise_kernels()->act(op->act, cpu_pixel(&op->in[0], from), cpu_pixel(&op->out, from),
                                   (to - from) * channels);
        return;
    }
    for (gint64 p = from; p < to; p++)
        elementwise_kernels()->act(op->act, cpu_pixel(&op->in[0], p), cpu_pixel(&op->out, p), channels);
}

static bool
act_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, act_pixels);
    return true;
}

static void
glu_pixels(const RvOp *op, gint64 from, gint64 to)
{
    int channels = op->out.shape.c;
    for (gint64 p = from; p < to; p++) {
        const float *x = cpu_pixel(&op->in[0], p);
        elementwise_kernels()->glu(x, x + channels, cpu_pixel(&op->out, p), channels);
    }
}

static bool
glu_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, glu_pixels);
    return true;
}

/* The pixel of b that is added to pixel p of a: b is [n,1,1,c], [1,h,w,c] or like a. */
static gint64
addend_pixel(const RvOp *op, gint64 p)
{
    RvShape a = op->in[0].shape, b = op->in[1].shape;
    gint64 plane = (gint64)a.h * a.w;
    if (b.n == a.n && b.h == a.h && b.w == a.w)
        return p;
    return b.h == 1 && b.w == 1 && b.n == a.n ? p / plane : p % plane;
}

static void
add_pixels(const RvOp *op, gint64 from, gint64 to)
{
    const RvOperand *a = &op->in[0], *b = &op->in[1], *out = &op->out;
    int channels = out->shape.c;
    bool same = rv_shape_pixels(a->shape) == rv_shape_pixels(b->shape);
    if (same && cpu_is_dense(a) && cpu_is_dense(b) && cpu_is_dense(out)) {
        elementwise_kernels()->add(cpu_pixel(a, from), cpu_pixel(b, from), cpu_pixel(out, from),
                                   (to - from) * channels);
        return;
    }
    for (gint64 p = from; p < to; p++)
        elementwise_kernels()->add(cpu_pixel(a, p), cpu_pixel(b, addend_pixel(op, p)), cpu_pixel(out, p),
                                   channels);
}

static bool
add_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, add_pixels);
    return true;
}

static PixelFactor
factor_from(const RvOperand *factor, gint64 pixel)
{
    if (factor->data == NULL)
        return (PixelFactor) { 0 };
    if (rv_shape_count(factor->shape) == 1)
        return (PixelFactor) { factor->data, 0 };
    return (PixelFactor) { cpu_pixel(factor, pixel % rv_shape_pixels(factor->shape)), factor->pixel_stride };
}

/* One piece within one image, so that a mask [1,h,w,1] never wraps inside it. */
static void
mix_image(const RvOp *op, gint64 from, gint64 to)
{
    MixRows rows = {
        .x = cpu_pixel(&op->in[0], from),
        .y = cpu_pixel(&op->in[1], from),
        .out = cpu_pixel(&op->out, from),
        .pixels = to - from,
        .channels = op->out.shape.c,
        .x_stride = op->in[0].pixel_stride,
        .y_stride = op->in[1].pixel_stride,
        .out_stride = op->out.pixel_stride,
        .a = factor_from(&op->in[2], from),
        .b = factor_from(&op->in[3], from),
    };
    bool is_flat = cpu_is_dense(&op->in[0]) && cpu_is_dense(&op->in[1]) && cpu_is_dense(&op->out);
    if (is_flat && rows.a.stride == 0 && rows.b.stride == 0) {
        rows.channels *= (int)rows.pixels;
        rows.pixels = 1;
    }
    elementwise_kernels()->mix(&rows);
}

static void
mix_pixels(const RvOp *op, gint64 from, gint64 to)
{
    gint64 plane = (gint64)op->out.shape.h * op->out.shape.w;
    for (gint64 start = from; start < to;) {
        gint64 end = MIN(to, (start / plane + 1) * plane);
        mix_image(op, start, end);
        start = end;
    }
}

static bool
mix_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, mix_pixels);
    return true;
}

static void
concat_pixels(const RvOp *op, gint64 from, gint64 to)
{
    gsize size = rv_dtype_size(op->out.dtype);
    int split = op->in[0].shape.c;
    for (int i = 0; i < 2; i++) {
        const RvOperand *x = &op->in[i];
        const guint8 *source = (const guint8 *)x->data + (gsize)from * (gsize)x->pixel_stride * size;
        guint8 *target =
            (guint8 *)op->out.data + ((gsize)from * (gsize)op->out.pixel_stride + (gsize)(i * split)) * size;
        for (gint64 p = from; p < to; p++) {
            memcpy(target, source, (gsize)x->shape.c * size);
            source += (gsize)x->pixel_stride * size;
            target += (gsize)op->out.pixel_stride * size;
        }
    }
}

static bool
concat_run(CpuDevice *device, const RvOp *op, GError **error)
{
    cpu_for_pixels(op, concat_pixels);
    return true;
}

const CpuOp cpu_act = { prepare_f32, act_run, NULL };
const CpuOp cpu_glu = { prepare_f32, glu_run, NULL };
const CpuOp cpu_add = { prepare_f32, add_run, NULL };
const CpuOp cpu_mix = { prepare_f32, mix_run, NULL };
const CpuOp cpu_concat = { prepare_f32, concat_run, NULL };
