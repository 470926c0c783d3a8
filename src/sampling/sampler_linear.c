/* Samplers whose step is linear in latent, answer and noise: Euler and its ancestral form (Karras et al.
 * 2022), DDIM (Song et al. 2020, equations 12 and 16), DDPM (Ho et al. 2020, equation 7), LCM (Luo et al.
 * 2023). */
#include "sampling/sampler_internal.h"
#include <math.h>

/* x_next = x0 * (x0) + eps * (eps) + x * (latent) + noise * n */
typedef struct {
    double x0, eps, x, noise;
} Parts;

static Parts
euler_parts(const RvSampler *s, int index, double sigma)
{
    double next = (double)s->schedule->sigmas[index + 1], down = next, up = 0;
    if (s->options.sampler == RV_SAMPLER_EULER_A)
        rv_ancestral(sigma, next, rv_sampler_eta(s), &down, &up);
    return (Parts) { .x = 1, .eps = down - sigma, .noise = up * s->options.s_noise };
}

static Parts
ddim_parts(const RvSampler *s, int index)
{
    double here = s->schedule->alphas[index], next = s->schedule->next_alphas[index];
    double deviation = rv_sampler_eta(s) * sqrt((1 - next) / (1 - here) * (1 - here / next));
    return (Parts) { .x0 = sqrt(next),
                     .eps = sqrt(MAX(1 - next - deviation * deviation, 0)),
                     .noise = deviation };
}

static Parts
ddpm_parts(const RvSampler *s, int index)
{
    double here = s->schedule->alphas[index], next = s->schedule->next_alphas[index];
    double alpha = here / next, beta = 1 - alpha, variance = MAX((1 - next) / (1 - here) * beta, 1e-20);
    return (Parts) { .x0 = sqrt(next) * beta / (1 - here),
                     .x = sqrt(alpha) * (1 - next) / (1 - here),
                     .noise = s->schedule->timesteps[index] > 0 ? sqrt(variance) : 0 };
}

/* The consistency function's boundary condition at t = 0, then noise to the next level. */
static Parts
lcm_parts(const RvSampler *s, int index)
{
    const RvSchedule *schedule = s->schedule;
    double t = schedule->timesteps[index] * s->options.config.timestep_scaling, data = 0.5;
    double skip = data * data / (t * t + data * data), out = t / sqrt(t * t + data * data);
    if (schedule->sigmas != NULL)
        return (Parts) { .x0 = out, .x = skip, .noise = (double)schedule->sigmas[index + 1] };
    if (index == schedule->count - 1)
        return (Parts) { .x0 = out, .x = skip };
    double next = schedule->next_alphas[index];
    return (Parts) { .x0 = sqrt(next) * out, .x = sqrt(next) * skip, .noise = sqrt(1 - next) };
}

static Parts
parts_of(const RvSampler *s, int index, double sigma)
{
    switch (s->options.sampler) {
    case RV_SAMPLER_DDIM:
        return ddim_parts(s, index);
    case RV_SAMPLER_DDPM:
        return ddpm_parts(s, index);
    case RV_SAMPLER_LCM:
        return lcm_parts(s, index);
    default:
        return euler_parts(s, index, sigma);
    }
}

static void
ask(RvSampler *s, int index)
{
    rv_sampler_ask_step(s, index);
    if (!s->done && s->options.sampler == RV_SAMPLER_EULER)
        rv_sampler_churn(s, s->sigma);
}

static void
begin(RvSampler *s)
{
    ask(s, s->index);
}

/* Euler through the derivative, as diffusers and k-diffusion round it: with zero-terminal-SNR models, whose
 * first sigma is 4096, those roundings are what one compares with. */
static void
euler_move(RvSampler *s, double distance)
{
    float sigma = (float)s->sigma, dt = (float)distance;
    for (gsize i = 0; i < s->total; i++)
        s->x[i] += (s->x[i] - s->denoised[i]) / sigma * dt;
}

static void
give(RvSampler *s, const float *output)
{
    Parts parts = parts_of(s, s->index, s->sigma);
    if (s->options.sampler == RV_SAMPLER_EULER || s->options.sampler == RV_SAMPLER_EULER_A) {
        euler_move(s, parts.eps);
    } else {
        RvPredicted predicted = rv_predicted(s->options.config.prediction_type, s->signal, s->noise);
        RvTerm terms[] = { { parts.x0, s->denoised },
                           { parts.eps * predicted.eps[0] + parts.x, s->x },
                           { parts.eps * predicted.eps[1], output } };
        rv_combine(s->x, s->total, terms, 3);
    }
    rv_sampler_add_draw(s, parts.noise, s->sigma, 0);
    ask(s, s->index + 1);
}

static int
calls(const RvSampler *s, int steps)
{
    return steps;
}

const RvStepper rv_stepper_linear = { begin, give, calls };
