/* winograd.h - 3x3 convolutions of stride 1 by Winograd's F(4x4, 3x3) (kernels/winograd.h).
 *
 * Tiles of 6x6 inputs are transformed into the workspace, some megabytes at a time. A task then takes
 * a block of tiles and a few panels of outputs: it transforms its share of the weights on the fly (so
 * that weights cost four bytes a parameter, not sixteen), multiplies part by part, transforms back and
 * finishes with bias, add and activation while all of it lies in the cache. Against a float64 loop over
 * uniform random data of 320 channels the error is 1.6e-6 (RMS, of the output's RMS), at most 2e-5 of
 * the largest output (tests/ops/test_conv2d.c). A NaN or infinity spreads over its tiles, up to three
 * pixels further than in the plain sum. Results do not depend on the thread count. */
#pragma once
#include "backends/cpu/gemm.h"

typedef struct {
    CpuPatches patches;
    CpuWeights weights;
    RvAct act;
    int tiles_high, tiles_wide; /* of one image */
    gint64 tiles;               /* of all images */
    int tiles_per_block;        /* tiles whose products one task makes */
    int tiles_per_round;        /* tiles in the workspace at a time */
    int panels_per_task;
    int channels_per_pass, passes; /* input channels are split into passes */
    int row_stride;                /* of transformed inputs */
} CpuWinograd;

/* Whether the method is expected to be faster than the direct product, from arithmetic alone. */
bool cpu_winograd_pays(const CpuPatches *patches, int out);

bool cpu_winograd_prepare(CpuWinograd *winograd, CpuDevice *device, RvOp *op, GError **error);
void cpu_winograd_run(const CpuWinograd *winograd, CpuDevice *device, const RvOp *op);
