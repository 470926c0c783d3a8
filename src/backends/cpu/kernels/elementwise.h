/* elementwise.h - loops over contiguous float32 values, one build of them for each instruction set.
 * Outputs may be the inputs' own memory (same index), never a shifted overlap. */
#pragma once
#include "backends/cpu/isa.h"
#include "tensor/op.h"

/* A factor of each pixel: factor[pixel * stride], or NULL for 1. */
typedef struct {
    const float *factor;
    int stride; /* 0: the same for all pixels */
} PixelFactor;

/* `pixels` rows of `channels` values; strides are in elements. */
typedef struct {
    const float *x, *y;
    float *out;
    gint64 pixels;
    int channels, x_stride, y_stride, out_stride;
    PixelFactor a, b;
} MixRows;

typedef struct {
    void (*act)(RvAct act, const float *x, float *out, gint64 count);
    void (*glu)(const float *x, const float *gate, float *out, gint64 count); /* x * gelu(gate) */
    void (*add)(const float *a, const float *b, float *out, gint64 count);
    void (*mix)(const MixRows *rows); /* a * x + b * y */
    void (*scale)(const float *x, float scale, float shift, float *out, gint64 count);
    void (*to_u8)(const float *x, float scale, float shift, guint8 *out, gint64 count);
    void (*from_u8)(const guint8 *x, float scale, float shift, float *out, gint64 count);
} ElementwiseKernels;

CPU_DECLARE_KERNELS(ElementwiseKernels, elementwise_kernels)
