#include "sampling/linear.h"
#include "base/error.h"
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

enum { UNITS = 1 + RV_LINEAR_EVALUATIONS }; /* x0, then the answers */

/* What is smaller beside the largest of its sum is a rounding error of the sampler's, not a part. */
#define ROUNDING 2e-5f

static void
drop_rounding(float *start, float *answers)
{
    float largest = fabsf(*start);
    for (int i = 0; i < RV_LINEAR_EVALUATIONS; i++)
        largest = MAX(largest, fabsf(answers[i]));
    *start = fabsf(*start) < ROUNDING * largest ? 0 : *start;
    for (int i = 0; i < RV_LINEAR_EVALUATIONS; i++)
        answers[i] = fabsf(answers[i]) < ROUNDING * largest ? 0 : answers[i];
}

/* Each "pixel" of the run has one thing at 1 and the others, noise included, at 0. */
static void
read_units(RvLinearPlan *plan, int row, const float *units)
{
    plan->start[row] = units[0];
    for (int k = 0; k < row; k++)
        plan->answer[row][k] = units[1 + k];
    drop_rounding(&plan->start[row], plan->answer[row]);
}

static bool
run_units(RvLinearPlan *plan, RvSampler *sampler, GError **error)
{
    const float x0[UNITS] = { 1 }, noise[UNITS] = { 0 };
    if (rv_sampler_clips(sampler))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, "sampler", "use one that does not clip",
                            "a sampler that clips is no fixed sum");
    sampler->is_silent = true;
    rv_sampler_begin(sampler, x0, noise);
    for (RvEvaluation e; rv_sampler_next(sampler, &e); plan->evaluations++) {
        float answer[UNITS] = { 0 };
        if (e.index >= RV_LINEAR_EVALUATIONS)
            return rv_error_set(error, RV_ERROR_UNSUPPORTED, "sampler", "use fewer steps",
                                "more than %d evaluations", RV_LINEAR_EVALUATIONS);
        plan->timestep[e.index] = e.timestep;
        read_units(plan, e.index, e.input);
        answer[1 + e.index] = 1;
        rv_sampler_give(sampler, answer);
    }
    read_units(plan, plan->evaluations, rv_sampler_latent(sampler));
    return true;
}

bool
rv_linear_plan_init(RvLinearPlan *plan, const RvSamplerOptions *options, GError **error)
{
    RvNoise *noise = rv_noise_new(RV_NOISE_NV, 0);
    RvSampler *sampler = rv_sampler_new(options, &noise, 1, UNITS, error);
    memset(plan, 0, sizeof *plan);
    bool ok = sampler != NULL && run_units(plan, sampler, error);
    rv_sampler_free(sampler);
    rv_noise_free(noise);
    return ok;
}

bool
rv_linear_plan_noise(const RvLinearPlan *plan, const RvSamplerOptions *options, RvNoise *noise,
                     const float *start, gsize count, float *parts, GError **error)
{
    RvSampler *sampler = rv_sampler_new(options, &noise, 1, count, error);
    if (sampler == NULL)
        return false;
    g_autofree float *zeros = g_new0(float, count);
    rv_sampler_begin(sampler, zeros, start);
    for (RvEvaluation e; rv_sampler_next(sampler, &e);) {
        memcpy(parts + (gsize)e.index * count, e.input, count * sizeof *parts);
        rv_sampler_give(sampler, zeros);
    }
    memcpy(parts + (gsize)plan->evaluations * count, rv_sampler_latent(sampler), count * sizeof *parts);
    rv_sampler_free(sampler);
    return true;
}
