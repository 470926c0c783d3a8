/* gemm.h - out = act(patches(x) * B + bias + add): the product behind linear layers and those
 * convolutions that are not done by Winograd's method (winograd.h).
 *
 * Row r of the left matrix is what output pixel r sees: kernel * kernel pixels of c channels, gathered
 * block by block into each thread's workspace and never stored as a whole (an "implicit" im2col; the
 * nearest-neighbour resize happens in the same gathering). B holds the weights in panels (weights.h).
 * Every output sums its products in one fixed order, so results do not depend on the thread count. */
#pragma once
#include "backends/cpu/internal.h"
#include "backends/cpu/weights.h"

/* Where the pixels of a convolution's input lie. A linear layer is a 1x1 convolution. */
typedef struct {
    RvShape in; /* as stored */
    int h, w;   /* after the resize; in.h and in.w without one */
    int out_h, out_w;
    int kernel, stride, pad; /* pad: pixels before row 0 and column 0 */
    bool circular;           /* they are those of the other edge; else zeros */
} CpuPatches;

typedef struct {
    CpuPatches patches;
    CpuWeights weights;
    RvAct act;
    int rows_per_task, columns_per_task; /* columns: a multiple of a panel's */
    int k_per_pass;
} CpuProduct;

/* The pixel of the stored input at (y, x) of the resized, padded one; NULL for a pixel of zeros. */
const float *cpu_patches_pixel(const CpuPatches *patches, const RvOperand *x, int image, int row, int column);

/* Readies the weights and chooses the blocks; sets op->workspace. */
bool cpu_product_prepare(CpuProduct *product, CpuDevice *device, RvOp *op, GError **error);
void cpu_product_run(const CpuProduct *product, CpuDevice *device, const RvOp *op);

/* Applies bias, op->in[1] and act to columns [from, from + columns) of output pixels [row, row + rows). */
void cpu_product_finish(const RvOp *op, const CpuWeights *weights, RvAct act, gint64 row, gint64 rows,
                        int from, int columns);

/* The error of a combination that the CPU back end does not do; always false. */
bool cpu_unsupported(const RvOp *op, const char *what, GError **error);
