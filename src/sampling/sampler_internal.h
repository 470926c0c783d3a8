/* sampler_internal.h - what the samplers share. A sampler is a state machine: it asks for an evaluation,
 * is given the answer, moves the latent and asks again. */
#pragma once
#include "sampling/brownian.h"
#include "sampling/sampler.h"

enum { RV_HISTORY = 4 };

typedef struct {
    void (*begin)(RvSampler *sampler); /* asks for the first evaluation */
    void (*give)(RvSampler *sampler, const float *output);
    int (*calls)(const RvSampler *sampler, int steps); /* evaluations of the last `steps` steps */
} RvStepper;

extern const RvStepper rv_stepper_linear, rv_stepper_multistep, rv_stepper_singlestep, rv_stepper_unipc,
    rv_stepper_heun, rv_stepper_dpm2, rv_stepper_dpmpp_2s_a, rv_stepper_dpmpp_sde, rv_stepper_lms,
    rv_stepper_pndm, rv_stepper_fast;

struct RvSampler {
    RvSamplerOptions options;
    RvSchedule *schedule;
    const RvStepper *stepper;
    RvNoise **noises;
    RvBrownian **trees; /* NULL unless noise comes from Brownian trees */
    int images;
    gsize count, total;

    float *x, *input, *denoised, *draw, *start_noise;
    float *base;                /* the latent at the start of a step of several evaluations */
    float *history[RV_HISTORY]; /* answers or derivatives, latest first */
    int known;                  /* how many of them are filled */

    int index, stage;                      /* step, and evaluation within it */
    double signal, noise, timestep, sigma; /* of the evaluation asked for */
    double widths[RV_HISTORY];             /* of the last steps, in log signal-to-noise */
    int last_order;
    int calls;
    bool done, has_denoised;
    bool is_silent; /* fresh noise is zeros */
};

typedef struct {
    double weight;
    const float *values;
} RvTerm;

/* out = sum of weight * values; `out` may be one of the values. */
void rv_combine(float *out, gsize count, const RvTerm *terms, int terms_count);

/* Asks for an evaluation of s->x: at a step of the schedule (past the last: done), or at any sigma. */
void rv_sampler_ask_step(RvSampler *sampler, int index);
void rv_sampler_ask_sigma(RvSampler *sampler, double sigma, double timestep);

/* x0 = x[0] * x + x[1] * output, and n likewise, at the level asked for. */
typedef struct {
    double x0[2], eps[2];
} RvPredicted;
RvPredicted rv_predicted(RvPrediction prediction, double signal, double noise);
void rv_sampler_predict_x0(RvSampler *sampler, const float *output); /* fills s->denoised, clipped if asked */

/* Signal and noise of a latent at `sigma` in this sampler's space. */
void rv_sampler_split_sigma(const RvSampler *sampler, double sigma, double *signal, double *noise);

/* Fresh unit noise into s->draw; the sigmas are where a Brownian tree looks. */
void rv_sampler_draw(RvSampler *sampler, double sigma, double sigma_next);
/* Adds scale * fresh noise to s->x; nothing when scale is 0. */
void rv_sampler_add_draw(RvSampler *sampler, double scale, double sigma, double sigma_next);

/* Makes room at history[0] and returns it. */
float *rv_sampler_push(RvSampler *sampler);

double rv_sampler_eta(const RvSampler *sampler);
/* Noise taken away and put back by an ancestral step. */
void rv_ancestral(double sigma, double sigma_next, double eta, double *down, double *up);
/* Karras et al. 2022, algorithm 2: raises the noise of s->x before a step; returns the sigma reached. */
double rv_sampler_churn(RvSampler *sampler, double sigma);
bool rv_sampler_clips(const RvSampler *sampler);
