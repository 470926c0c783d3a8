/* gemm.h - the inner product of every matrix product and convolution: a few rows of A times one panel
 * of B, kept in registers. A's rows are plain (k contiguous, any stride); B is packed in panels of
 * `columns` outputs, [k][columns], so that the loop reads it in order. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "backends/cpu/isa.h"
#include "tensor/op.h"

/* Largest `columns` of all levels: what buffers shared by levels allow for. */
#define CPU_MAX_COLUMNS 32

/* What follows a product: out = act(out + bias + add), for `rows` rows of `columns` values. */
typedef struct {
    const float *bias; /* [columns] or NULL */
    const float *add;  /* row r at add + r * add_stride, or NULL; stride 0: one row for all */
    gint64 add_stride;
    RvAct act;
} CpuFinish;

typedef struct {
    int rows;    /* of the largest block kept in registers */
    int columns; /* of a panel */
    /* c[r][j] = (accumulate ? c[r][j] : 0) + sum over i < k of a[r][i] * b[i][j], for r < m and
     * j < n <= columns. Strides in elements. Each element sums its products in order of i, whatever m. */
    void (*panel)(int m, int n, int k, const float *a, gint64 a_stride, const float *b, float *c,
                  gint64 c_stride, bool accumulate);
    void (*finish)(float *out, gint64 out_stride, gint64 rows, int columns, const CpuFinish *finish);
} CpuGemmKernels;

CPU_DECLARE_KERNELS(CpuGemmKernels, cpu_gemm_kernels)
