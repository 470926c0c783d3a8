/* Linear multistep methods over past derivatives: LMS (k-diffusion's) and PLMS, that is PNDM without its
 * Runge-Kutta start (Liu et al. 2022, equations 9 and 12). */
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

/* Integral over the step of the Lagrange polynomial that is 1 at the j-th last level and 0 at the others;
 * Gauss-Legendre with four points is exact for it. */
static double
lagrange_integral(const float *levels, int index, int order, int j)
{
    static const double nodes[] = { 0.3399810435848563, 0.8611363115940526 };
    static const double shares[] = { 0.6521451548625461, 0.3478548451374538 };
    double from = (double)levels[index], to = (double)levels[index + 1], sum = 0;
    for (int n = 0; n < 4; n++) {
        double at = (from + to) / 2 + (n % 2 ? 1 : -1) * nodes[n / 2] * (to - from) / 2, product = 1;
        for (int k = 0; k < order; k++)
            if (k != j)
                product *= (at - (double)levels[index - k]) /
                           ((double)levels[index - j] - (double)levels[index - k]);
        sum += shares[n / 2] * product;
    }
    return sum * (to - from) / 2;
}

static void
lms_give(RvSampler *s, const float *output)
{
    float *slope = rv_sampler_push(s), sigma = (float)s->sigma;
    for (gsize i = 0; i < s->total; i++)
        slope[i] = (s->x[i] - s->denoised[i]) / sigma;
    RvTerm terms[1 + RV_HISTORY] = { { 1, s->x } };
    for (int j = 0; j < s->known; j++)
        terms[1 + j] =
            (RvTerm) { lagrange_integral(s->schedule->sigmas, s->index, s->known, j), s->history[j] };
    rv_combine(s->x, s->total, terms, 1 + s->known);
    rv_sampler_ask_step(s, s->index + 1);
}

static void
begin(RvSampler *s)
{
    rv_sampler_ask_step(s, s->index);
}

static int
lms_calls(const RvSampler *s, int steps)
{
    return steps;
}

const RvStepper rv_stepper_lms = { begin, lms_give, lms_calls };

/* DDIM's step between two cumulative alphas, from `start`, with `answer` for the model's. */
static void
transfer(RvSampler *s, const float *start, const float *answer, double here, double next)
{
    RvPredicted p = rv_predicted(s->options.config.prediction_type, sqrt(here), sqrt(1 - here));
    double x0 = sqrt(next), eps = sqrt(1 - next);
    RvTerm terms[] = { { x0 * p.x0[0] + eps * p.eps[0], start }, { x0 * p.x0[1] + eps * p.eps[1], answer } };
    rv_combine(s->x, s->total, terms, 2);
}

/* The latest answers extrapolated (Adams-Bashforth) into s->draw. */
static void
extrapolate(RvSampler *s)
{
    static const double weights[4][4] = { { 1 },
                                          { 3 / 2.0, -1 / 2.0 },
                                          { 23 / 12.0, -16 / 12.0, 5 / 12.0 },
                                          { 55 / 24.0, -59 / 24.0, 37 / 24.0, -9 / 24.0 } };
    RvTerm terms[RV_HISTORY];
    for (int i = 0; i < s->known; i++)
        terms[i] = (RvTerm) { weights[s->known - 1][i], s->history[i] };
    rv_combine(s->draw, s->total, terms, s->known);
}

/* The first step is done twice: once to look ahead, then again with the mean of both answers. */
static void
pndm_mend(RvSampler *s, const float *output)
{
    const RvSchedule *schedule = s->schedule;
    bool diffusers = s->options.dialect == RV_DIALECT_DIFFUSERS;
    rv_combine(s->draw, s->total, (RvTerm[]) { { 0.5, s->history[0] }, { 0.5, output } }, 2);
    double here = schedule->alphas[s->index], next = schedule->next_alphas[s->index];
    if (diffusers) { /* the list of timesteps holds the second one twice, and we stand on it */
        int t = (int)schedule->timesteps[s->index];
        here = (double)schedule->train_alphas[MIN(t + schedule->stride, schedule->train - 1)];
        next = (double)schedule->train_alphas[t];
    }
    transfer(s, s->base, s->draw, here, next);
    rv_sampler_ask_step(s, s->index + 1);
}

static void
pndm_give(RvSampler *s, const float *output)
{
    const RvSchedule *schedule = s->schedule;
    if (s->calls == 2) {
        pndm_mend(s, output);
        return;
    }
    memcpy(rv_sampler_push(s), output, s->total * sizeof(float));
    if (s->calls == 1)
        memcpy(s->base, s->x, s->total * sizeof(float));
    extrapolate(s);
    transfer(s, s->x, s->draw, schedule->alphas[s->index], schedule->next_alphas[s->index]);
    if (s->calls > 1 || s->options.dialect == RV_DIALECT_DIFFUSERS) {
        rv_sampler_ask_step(s, s->index + 1);
        return;
    }
    /* A1111: look ahead from the same step */
    double next = schedule->next_alphas[s->index];
    s->signal = sqrt(next);
    s->noise = sqrt(1 - next);
    s->sigma = s->noise / s->signal;
    s->timestep = schedule->timesteps[s->index + 1];
}

static int
pndm_calls(const RvSampler *s, int steps)
{
    return steps + (s->options.dialect == RV_DIALECT_A1111);
}

const RvStepper rv_stepper_pndm = { begin, pndm_give, pndm_calls };
