/* Samplers with two evaluations a step, on latents x0 + sigma * n: Heun (Karras et al. 2022, algorithm 2) and
 * Restart, which is Heun along a list that goes back up,
 * DPM-Solver-2 and its ancestral form (k-diffusion's), DPM-Solver++ 2S ancestral and SDE (Lu et al. 2022, in
 * k-diffusion's form). */
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

static double
next_sigma(const RvSampler *s)
{
    return (double)s->schedule->sigmas[s->index + 1];
}

static double
step_sigma(const RvSampler *s)
{
    return (double)s->schedule->sigmas[s->index];
}

/* (x - x0) / sigma into `out`. */
static void
derivative(const RvSampler *s, float *out)
{
    float sigma = (float)s->sigma;
    for (gsize i = 0; i < s->total; i++)
        out[i] = (s->x[i] - s->denoised[i]) / sigma;
}

static void
keep(float *to, const float *from, gsize count)
{
    memcpy(to, from, count * sizeof(float));
}

static void
move(RvSampler *s, const float *from, double distance, const float *slope)
{
    rv_combine(s->x, s->total, (RvTerm[]) { { 1, from }, { distance, slope } }, 2);
}

/* Restart's list rises where it begins again; another's only rises with a zero-terminal-SNR table, and is
 * stepped along as it is. */
static bool
goes_up(const RvSampler *s, int index)
{
    const float *sigmas = s->schedule->sigmas;
    return s->options.sampler == RV_SAMPLER_RESTART && index < s->schedule->count &&
           sigmas[index + 1] > sigmas[index];
}

static void
ask(RvSampler *s, int index)
{
    const float *sigmas = s->schedule->sigmas;
    if (goes_up(s, index)) {
        double here = (double)sigmas[index], high = (double)sigmas[index + 1];
        rv_sampler_add_draw(s, s->options.s_noise * sqrt(high * high - here * here), high, here);
        index++;
    }
    rv_sampler_ask_step(s, index);
    if (!s->done && (s->options.sampler == RV_SAMPLER_HEUN || s->options.sampler == RV_SAMPLER_DPM2))
        rv_sampler_churn(s, s->sigma);
    s->widths[0] = s->sigma; /* where the step starts, churned or not */
}

static void
begin(RvSampler *s)
{
    ask(s, s->index);
}

static void
second(RvSampler *s, double sigma, double timestep)
{
    s->stage = 1;
    rv_sampler_ask_sigma(s, sigma, timestep);
}

static int
calls(const RvSampler *s, int steps)
{
    int rises = 0;
    for (int i = s->schedule->count - steps; i < s->schedule->count; i++)
        rises += goes_up(s, i);
    return 2 * (steps - rises) - (s->schedule->sigmas[s->schedule->count] <= 0);
}

static void
heun_give(RvSampler *s, const float *output)
{
    double next = next_sigma(s), distance = next - s->widths[0];
    if (s->stage == 0) {
        derivative(s, s->history[0]);
        keep(s->base, s->x, s->total);
        move(s, s->base, distance, s->history[0]);
        if (next > 0)
            second(s, next,
                   s->index + 1 < s->schedule->count ? s->schedule->timesteps[s->index + 1]
                                                     : rv_schedule_timestep(s->schedule, next));
        else
            ask(s, s->index + 1);
        return;
    }
    derivative(s, s->history[1]);
    RvTerm terms[] = { { 1, s->base }, { distance / 2, s->history[0] }, { distance / 2, s->history[1] } };
    rv_combine(s->x, s->total, terms, 3);
    ask(s, s->index + 1);
}

const RvStepper rv_stepper_heun = { begin, heun_give, calls };

static void
dpm2_give(RvSampler *s, const float *output)
{
    double from = s->widths[0], next = next_sigma(s), down = next, up = 0;
    if (s->options.sampler == RV_SAMPLER_DPM2_A)
        rv_ancestral(from, next, rv_sampler_eta(s), &down, &up);
    derivative(s, s->history[0]);
    if (s->stage == 0 && down > 0) {
        double middle = sqrt(from * down); /* half way in log sigma */
        if (up > 0 && s->options.dialect == RV_DIALECT_DIFFUSERS)
            rv_sampler_draw(s, from, next); /* diffusers draws at every call and uses each second one */
        keep(s->base, s->x, s->total);
        move(s, s->base, middle - from, s->history[0]);
        second(s, middle, rv_schedule_timestep(s->schedule, middle));
        return;
    }
    move(s, s->stage == 0 ? s->x : s->base, down - from, s->history[0]);
    rv_sampler_add_draw(s, up * s->options.s_noise, from, next);
    ask(s, s->index + 1);
}

const RvStepper rv_stepper_dpm2 = { begin, dpm2_give, calls };

/* x * to/from + (1 - to/from) * x0: the exact solution while x0 stays the same. */
static void
glide(RvSampler *s, const float *start, double from, double to, const float *x0)
{
    rv_combine(s->x, s->total, (RvTerm[]) { { to / from, start }, { 1 - to / from, x0 } }, 2);
}

static void
dpmpp_2s_a_give(RvSampler *s, const float *output)
{
    double from = step_sigma(s), next = next_sigma(s), down, up;
    rv_ancestral(from, next, rv_sampler_eta(s), &down, &up);
    if (s->stage == 0 && down > 0) {
        keep(s->base, s->x, s->total);
        double middle = sqrt(from * down);
        glide(s, s->base, from, middle, s->denoised);
        second(s, middle, rv_schedule_timestep(s->schedule, middle));
        return;
    }
    glide(s, s->stage == 0 ? s->x : s->base, from, down, s->denoised);
    if (next > 0)
        rv_sampler_add_draw(s, up * s->options.s_noise, from, next);
    ask(s, s->index + 1);
}

const RvStepper rv_stepper_dpmpp_2s_a = { begin, dpmpp_2s_a_give, calls };

/* The sigma half way in log sigma, in float32: the Brownian tree is asked by its decimals. */
static double
half_way(double from, double to)
{
    float t = -logf((float)from), next = -logf((float)to);
    return (double)expf(-(t + (next - t) * 0.5f));
}

/* float32's exp(log(sigma)), which is not always sigma. */
static double
through_log(double sigma)
{
    return (double)expf(logf((float)sigma));
}

static void
dpmpp_sde_give(RvSampler *s, const float *output)
{
    double from = step_sigma(s), next = next_sigma(s), down, up;
    if (next <= 0) {
        keep(s->x, s->denoised, s->total);
        ask(s, s->index + 1);
        return;
    }
    double to = s->stage == 0 ? half_way(from, next) : next;
    rv_ancestral(from, to, rv_sampler_eta(s), &down, &up);
    if (s->stage == 0) {
        keep(s->base, s->x, s->total);
        glide(s, s->base, from, down, s->denoised);
    } else { /* with the middle's answer alone */
        glide(s, s->base, from, down, s->denoised);
    }
    rv_sampler_add_draw(s, up * s->options.s_noise, through_log(from), s->stage == 0 ? to : through_log(to));
    if (s->stage == 0)
        second(s, to, rv_schedule_timestep(s->schedule, to));
    else
        ask(s, s->index + 1);
}

const RvStepper rv_stepper_dpmpp_sde = { begin, dpmpp_sde_give, calls };
