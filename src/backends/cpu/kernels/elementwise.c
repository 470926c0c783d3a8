#include "backends/cpu/kernels/elementwise.h"
#include "backends/cpu/kernels/activate.h"

static inline __attribute__((always_inline)) void
act_loop(RvAct act, const float *x, float *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++)
        out[i] = activate(act, x[i]);
}

static void
act_kernel(RvAct act, const float *x, float *out, gint64 count)
{
#define CALL(constant) act_loop(constant, x, out, count)
    SWITCH_ACT(act, CALL)
#undef CALL
}

static void
glu_kernel(const float *x, const float *gate, float *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++)
        out[i] = x[i] * cpu_gelu(gate[i]);
}

static void
add_kernel(const float *a, const float *b, float *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++)
        out[i] = a[i] + b[i];
}

static void
mix_kernel(const MixRows *r)
{
    for (gint64 p = 0; p < r->pixels; p++) {
        const float *x = r->x + p * r->x_stride, *y = r->y + p * r->y_stride;
        float *out = r->out + p * r->out_stride;
        float a = r->a.factor != NULL ? r->a.factor[p * r->a.stride] : 1.0f;
        float b = r->b.factor != NULL ? r->b.factor[p * r->b.stride] : 1.0f;
#pragma omp simd
        for (int i = 0; i < r->channels; i++)
            out[i] = a * x[i] + b * y[i];
    }
}

static void
scale_kernel(const float *x, float scale, float shift, float *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++)
        out[i] = x[i] * scale + shift;
}

/* Adding 1.5 * 2^23 leaves the value, rounded half to even, in the low bits of the sum. A NaN fails
 * the first comparison and becomes 0. */
static void
to_u8_kernel(const float *x, float scale, float shift, guint8 *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++) {
        float v = x[i] * scale + shift;
        v = v > 0.0f ? v : 0.0f;
        v = v < 255.0f ? v : 255.0f;
        v += 0x1.8p+23f;
        guint32 bits;
        memcpy(&bits, &v, sizeof bits);
        out[i] = (guint8)bits;
    }
}

static void
from_u8_kernel(const guint8 *x, float scale, float shift, float *out, gint64 count)
{
#pragma omp simd
    for (gint64 i = 0; i < count; i++)
        out[i] = (float)x[i] * scale + shift;
}

const ElementwiseKernels CPU_TABLE(elementwise_kernels) = {
    .act = act_kernel,
    .glu = glu_kernel,
    .add = add_kernel,
    .mix = mix_kernel,
    .scale = scale_kernel,
    .to_u8 = to_u8_kernel,
    .from_u8 = from_u8_kernel,
};
