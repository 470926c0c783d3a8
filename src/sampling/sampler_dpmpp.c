/* DPM-Solver++ (Lu et al. 2022), multistep (2M, 3M, and their SDE forms as k-diffusion has them) and
 * single-step (2S). Written for both kinds of latent: signal and noise are (1, sigma) in one and
 * (alpha, alpha * sigma) in the other, and lambda = -log(sigma) in both. */
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

static bool
is_stochastic(const RvSampler *s)
{
    return s->options.sampler != RV_SAMPLER_DPMPP_2M;
}

static int
wanted_order(const RvSampler *s)
{
    if (s->options.sampler == RV_SAMPLER_DPMPP_3M_SDE)
        return 3;
    int order = s->options.config.solver_order;
    return s->options.dialect == RV_DIALECT_DIFFUSERS && order > 0 ? order : 2;
}

/* Few steps end in lower orders, and a step to zero noise is always of the first. */
static int
order_now(const RvSampler *s)
{
    const RvSchedulerConfig *config = &s->options.config;
    int order = MIN(wanted_order(s), s->known), left = s->schedule->count - s->index;
    if (s->schedule->sigmas[s->index + 1] <= 0)
        return 1;
    if (s->options.dialect == RV_DIALECT_A1111)
        return order;
    bool few = config->lower_order_final && s->schedule->count < 15;
    if (left == 1 && (few || config->euler_at_final))
        return 1;
    return left == 2 && few ? MIN(order, 2) : order;
}

static bool
uses_heun(const RvSampler *s)
{
    return s->options.sampler == RV_SAMPLER_DPMPP_2M_SDE_HEUN ||
           s->options.sampler == RV_SAMPLER_DPMPP_3M_SDE ||
           (s->options.dialect == RV_DIALECT_DIFFUSERS && s->options.config.solver_type == RV_SOLVER_HEUN);
}

/* Weights of the answers m0, m1, m2 in the step's integral: `full` is 1 - exp(-width), `h` the step's own
 * width and s->widths[1..] those before. */
static void
integral_weights(const RvSampler *s, int order, double h, double width, double full, double weights[3])
{
    weights[0] = full, weights[1] = weights[2] = 0;
    if (order < 2)
        return;
    double slope = uses_heun(s) || order == 3 ? 1 - full / width : 0.5 * full;
    double r0 = s->widths[1] / h;
    if (order == 2) {
        weights[0] += slope / r0;
        weights[1] -= slope / r0;
        return;
    }
    double r1 = s->widths[2] / h, bend = slope / width - 0.5;
    /* first = slope weight, second = bend weight, over the divided differences of m */
    double near = slope * (1 + r0 / (r0 + r1)) - bend / (r0 + r1);
    double far = -slope * r0 / (r0 + r1) + bend / (r0 + r1);
    weights[0] += near / r0;
    weights[1] += far / r1 - near / r0;
    weights[2] -= far / r1;
}

static void
multistep_give(RvSampler *s, const float *output)
{
    double sigma = (double)s->schedule->sigmas[s->index], next = (double)s->schedule->sigmas[s->index + 1];
    double eta = is_stochastic(s) ? rv_sampler_eta(s) : 0, signal, noise, weights[3];
    memcpy(rv_sampler_push(s), s->denoised, s->total * sizeof(float));
    double h = log(sigma / next), width = h * (1 + eta);
    s->widths[0] = h;
    int order = order_now(s);
    rv_sampler_split_sigma(s, next, &signal, &noise);
    integral_weights(s, order, h, width, -expm1(-width), weights);
    double kept = next > 0 ? noise / s->noise * exp(-eta * h) : 0;
    RvTerm terms[] = { { kept, s->x },
                       { signal * weights[0], s->history[0] },
                       { signal * weights[1], s->history[1] },
                       { signal * weights[2], s->history[2] } };
    rv_combine(s->x, s->total, terms, 1 + order);
    if (next > 0 && eta > 0)
        rv_sampler_add_draw(s, noise * sqrt(-expm1(-2 * eta * h)) * s->options.s_noise, sigma, next);
    rv_sampler_ask_step(s, s->index + 1);
}

static void
begin(RvSampler *s)
{
    rv_sampler_ask_step(s, s->index);
}

static int
calls(const RvSampler *s, int steps)
{
    return steps;
}

const RvStepper rv_stepper_multistep = { begin, multistep_give, calls };

/* Steps go in pairs: an Euler step, then one of second order from the same start over both. */
static int
singlestep_order(const RvSampler *s)
{
    int count = s->schedule->count, left = count - s->index;
    bool lower = s->options.config.lower_order_final || !s->options.config.final_sigma_min || count % 2 != 0;
    if (s->options.config.solver_order == 1 || s->index % 2 == 0 || s->known < 2)
        return 1;
    return lower && count % 2 == 0 && left == 1 ? 1 : 2;
}

static void
singlestep_give(RvSampler *s, const float *output)
{
    double next = (double)s->schedule->sigmas[s->index + 1], signal, noise;
    memcpy(rv_sampler_push(s), s->denoised, s->total * sizeof(float));
    rv_sampler_split_sigma(s, next, &signal, &noise);
    if (singlestep_order(s) == 1) {
        memcpy(s->base, s->x, s->total * sizeof(float));
        double full = next > 0 ? -expm1(log(next / s->sigma)) : 1;
        rv_combine(s->x, s->total,
                   (RvTerm[]) { { noise / s->noise, s->x }, { signal * full, s->history[0] } }, 2);
    } else {
        double before = (double)s->schedule->sigmas[s->index - 1], start_signal, start_noise;
        rv_sampler_split_sigma(s, before, &start_signal, &start_noise);
        double h = log(before / next), share = log(before / s->sigma) / h, full = -expm1(-h);
        bool heun = s->options.config.solver_type == RV_SOLVER_HEUN;
        double slope = (heun ? 1 - full / h : 0.5 * full) / share;
        RvTerm terms[] = { { noise / start_noise, s->base },
                           { signal * slope, s->history[0] },
                           { signal * (full - slope), s->history[1] } };
        rv_combine(s->x, s->total, terms, 3);
    }
    rv_sampler_ask_step(s, s->index + 1);
}

const RvStepper rv_stepper_singlestep = { begin, singlestep_give, calls };
