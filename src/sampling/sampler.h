/* sampler.h - from noise to a picture: the loop around the model, with the loop left to the caller.
 *
 *     RvSampler *s = rv_sampler_new(&options, noises, images, count, &error);
 *     rv_sampler_begin(s, NULL, NULL);
 *     for (RvEvaluation e; rv_sampler_next(s, &e);)
 *         rv_sampler_give(s, run_model(e.input, e.timestep));
 *     use(rv_sampler_latent(s));
 *
 * Latents are host float32, [images, count], each image in the order in which its noise is drawn (torch's:
 * channel, row, column); all arithmetic is per element. Formulas are those of the papers named in the
 * sampler_*.c files, in the form that diffusers and k-diffusion give them.
 * A sampler is used by one thread at a time. */
#pragma once
#include "sampling/noise.h"
#include "sampling/schedule.h"

typedef struct RvSampler RvSampler;

typedef struct {
    RvSamplerKind sampler;
    RvScheduleKind schedule;
    RvDialect dialect;
    RvSchedulerConfig config;
    int steps;
    int first_step;     /* 0: all; image-to-image starts later, see rv_sampler_first_step() */
    double start_shift; /* -1 to 1, diffusers' dialect only: see rv_sampler_smooth_start() */
    double eta;         /* share of fresh noise; below 0: the sampler's own (ancestral and SDE 1, DDIM 0) */
    double s_noise;     /* scale of fresh noise, 1 */
    double s_churn, s_tmin,
        s_tmax; /* Karras et al. 2022, algorithm 2; A1111's dialect only; s_tmax 0: no limit */
} RvSamplerOptions;

/* Euler, 20 steps, and Stable Diffusion's config. */
void rv_sampler_options_init(RvSamplerOptions *options);

/* The first step of an image-to-image run: diffusers runs the last int(steps * strength) steps, A1111
 * int(min(strength, 0.999) * steps) + 1. Equal to `steps` when nothing is left to run. */
int rv_sampler_first_step(RvDialect dialect, int steps, double strength);

/* The first step for a strength that works evenly, for diffusers' dialect: as many steps as there are run,
 * from a noise level of its own. `*shift` says how far the start lies towards that of the step before (above
 * 0) or after (below). It is 0, diffusers' level itself, where the share of a step that diffusers leaves out
 * is 0.4 to 0.5 (so for 2 steps at 0.7 and 3 at 0.5) and at strength 1; in between the level changes
 * linearly. At least one step is run. */
int rv_sampler_smooth_start(int steps, double strength, double *shift);

/* `noises` are borrowed, one per image, and must outlive the sampler. USAGE: steps, first step or schedule
 * do not fit. */
RvSampler *rv_sampler_new(const RvSamplerOptions *options, RvNoise **noises, int images, gsize count,
                          GError **error);
void rv_sampler_free(RvSampler *sampler); /* accepts NULL */

/* Builds the starting latent: noise alone when `x0` is NULL, else x0 at the noise level of the first step.
 * `noise` NULL: one draw per image. The starting noise is kept for rv_sampler_start_noise(). */
void rv_sampler_begin(RvSampler *sampler, const float *x0, const float *noise);

typedef struct {
    const float *input; /* [images, count], scaled for the model; valid until rv_sampler_give() */
    double timestep;
    double sigma;     /* noise over signal */
    int index, total; /* of this evaluation, for progress */
    int step;         /* the step that it belongs to, counted in the whole schedule */
} RvEvaluation;

/* The next model call; false when the picture is done. Asking twice gives the same call. */
bool rv_sampler_next(RvSampler *sampler, RvEvaluation *evaluation);
/* The model's answer to it, [images, count]. */
void rv_sampler_give(RvSampler *sampler, const float *output);

/* The latent as it stands (after the last step: the result); may be changed in place between steps. */
float *rv_sampler_latent(RvSampler *sampler);
/* The last estimate of the clean latent, for previews; NULL before the first answer. */
const float *rv_sampler_denoised(const RvSampler *sampler);
const float *rv_sampler_start_noise(const RvSampler *sampler);
const RvSchedule *rv_sampler_schedule(const RvSampler *sampler);

/* What the latent is made of now: signal * x0 + noise * n; (1, 0) when done. For inpainting with an ordinary
 * model, put back the known part at this level after each step. */
void rv_sampler_noise_level(const RvSampler *sampler, double *signal, double *noise);
void rv_sampler_add_noise(const RvSampler *sampler, const float *x0, const float *noise, float *out);

int rv_sampler_first_evaluated(const RvSampler *sampler); /* the step of the first evaluation */
/* The level that begin() mixes at: x = signal * x0 + noise * n; without an x0 only `noise` counts. */
void rv_sampler_start_level(const RvSampler *sampler, bool has_x0, double *signal, double *noise);
