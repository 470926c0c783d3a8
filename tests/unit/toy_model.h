/* toy_model.h - the model that the reference trajectories were made with, and a short way to a sampler. */
#pragma once
#include "sampling/sampler.h"
#include <math.h>

enum { COUNT = 4 * 4 * 6 }; /* of the reference's latent */

/* The reference's model: 0.3 x + 0.1 sin(3 x + t / 200) of the scaled input. */
static inline void
toy(const RvEvaluation *evaluation, float *out, gsize count)
{
    for (gsize i = 0; i < count; i++) {
        float x = evaluation->input[i];
        out[i] = 0.3f * x + 0.1f * sinf(x * 3.0f + (float)(evaluation->timestep / 200));
    }
}

static inline RvSampler *
sampler_of(const RvSamplerOptions *options, RvNoise **noises, int images, gsize count)
{
    g_autoptr(GError) error = NULL;
    RvSampler *sampler = rv_sampler_new(options, noises, images, count, &error);
    g_assert_no_error(error);
    return sampler;
}
