/* linear.h - a run of a sampler as fixed sums, for programs that do its arithmetic on a device.
 *
 * For a fixed schedule every sampler is linear in the start latent x0, the noise and the model's answers:
 *     input of evaluation e  =  start[e] * x0  +  sum over k < e of answer[e][k] * (answer k)  +  noise[e]
 * and the result, e = evaluations, likewise. The sampler itself is run to find the numbers (on unit vectors,
 * and on the noise alone), so its formulas stand in one place. */
#pragma once
#include "sampling/sampler.h"

#define RV_LINEAR_EVALUATIONS 8 /* at the most */

typedef struct {
    int evaluations;
    double timestep[RV_LINEAR_EVALUATIONS];
    float start[RV_LINEAR_EVALUATIONS + 1];
    float answer[RV_LINEAR_EVALUATIONS + 1][RV_LINEAR_EVALUATIONS]; /* 0 for what does not count */
} RvLinearPlan;

/* Of an image-to-image run. RV_ERROR_UNSUPPORTED: the sampler clips, or evaluates too often; other errors as
 * rv_sampler_new(). */
bool rv_linear_plan_init(RvLinearPlan *plan, const RvSamplerOptions *options, GError **error);

/* The noise parts, [evaluations + 1][count], of one image: `start` is its start noise [count], `noise` the
 * generator after that was drawn. */
bool rv_linear_plan_noise(const RvLinearPlan *plan, const RvSamplerOptions *options, RvNoise *noise,
                          const float *start, gsize count, float *parts, GError **error);
