/* norm.h - sums and normalisation of [pixels, channels] float32 blocks, one build for each instruction set.
 */
#pragma once
#include "backends/cpu/isa.h"
#include "tensor/op.h"

typedef struct {
    /* Folds `pixels` rows into each channel's running count, mean and sum of squared deviations
     * (Chan, Golub and LeVeque's pairwise update); `scratch` holds 2 * channels floats. */
    void (*moments)(const float *x, gint64 pixels, int channels, int stride, double count, double *mean,
                    double *squares, float *scratch);
    /* out = act((x - mean) * scale + shift), the three per channel. */
    void (*normalize)(RvAct act, const float *x, const float *mean, const float *scale, const float *shift,
                      float *out, int channels);
    /* One row of layer normalisation. */
    void (*layer_norm)(RvAct act, const float *x, const float *weight, const float *bias, float eps,
                       float *out, int channels);
} NormKernels;

CPU_DECLARE_KERNELS(NormKernels, norm_kernels)
