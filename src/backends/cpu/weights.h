/* weights.h - weights of linear layers and convolutions in the one layout that all of their kernels
 * read: panels of `columns` outputs (kernels/gemm.h), outputs past the last one zero, each [block of
 * input channels][tap][channel of the block][columns]. Blocks keep the nine taps that Winograd's
 * transform reads together near each other; the last block may be narrower. Float32, four bytes a
 * parameter; made once for each weight set. */
#pragma once
#include "backends/cpu/internal.h"

#define CPU_CHANNEL_BLOCK 40
#define CPU_MAX_TAPS 49 /* kernels up to 7x7 */

typedef struct {
    const float *panels;
    const float *bias; /* [panels * columns], or NULL */
    int out, in, taps;
    int columns, panel_count;
} CpuWeights;

/* Takes the op's weights [2i] and biases [2i + 1], stacked along the outputs. */
bool cpu_weights_get(CpuWeights *weights, RvOp *op, int out, int in, int taps, GError **error);

static inline const float *
cpu_weights_panel(const CpuWeights *w, int panel)
{
    return w->panels + (gsize)panel * (gsize)w->taps * (gsize)w->in * (gsize)w->columns;
}
