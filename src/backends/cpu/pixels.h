/* pixels.h - splitting the memory-bound ops over pixels and threads. */
#pragma once
#include "backends/cpu/internal.h"

/* Below this many elements a fork costs more than it saves. */
#define CPU_SERIAL_ELEMENTS 32768

/* Handles the output's pixels [from, to). */
typedef void (*CpuPixelsFunc)(const RvOp *op, gint64 from, gint64 to);

/* Calls `func` for all pixels of op->out in contiguous pieces, by several threads when it pays. */
void cpu_for_pixels(const RvOp *op, CpuPixelsFunc func);

static inline bool
cpu_is_dense(const RvOperand *operand)
{
    return operand->pixel_stride == operand->shape.c;
}

static inline float *
cpu_pixel(const RvOperand *operand, gint64 pixel)
{
    return (float *)operand->data + pixel * operand->pixel_stride;
}

/* Fails unless the op's present inputs and its output are all float32. */
bool cpu_wants_f32(const RvOp *op, GError **error);
/* Fails with the text for an operand type that this op does not take. */
bool cpu_refuse_dtype(const RvOp *op, RvDType dtype, GError **error);
