/* DPM-Solver "fast" (Lu et al. 2022, with k-diffusion's ancestral noise): as many evaluations as steps, in
 * groups of third order and a shorter last one, over equal stretches of log sigma. Follows only the ends of
 * the schedule, and stops at its last sigma above zero. */
#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

static int
evaluations(const RvSampler *s)
{
    return s->schedule->count - rv_sampler_first_evaluated(s);
}

static int
groups(const RvSampler *s)
{
    return evaluations(s) / 3 + 1;
}

/* Threes, then the rest; a whole number of threes ends in two and one instead. */
static int
group_order(const RvSampler *s, int group)
{
    int left = groups(s) - group, rest = evaluations(s) % 3;
    if (rest != 0)
        return left == 1 ? rest : 3;
    return MIN(left, 3);
}

/* Time is minus log sigma. */
static double
last_time(const RvSampler *s)
{
    return -log((double)s->schedule->sigmas[s->schedule->count - 1]);
}

static double
group_time(const RvSampler *s, int group)
{
    double first = -log((double)s->schedule->sigmas[rv_sampler_first_evaluated(s)]);
    return first + (last_time(s) - first) * group / groups(s);
}

/* Where the group leads before fresh noise, as time; *up is that noise. */
static double
group_target(const RvSampler *s, double *up)
{
    double next = exp(-group_time(s, s->index + 1)), down;
    rv_ancestral(exp(-group_time(s, s->index)), next, rv_sampler_eta(s), &down, up);
    double target = down > 0 ? MIN(-log(down), last_time(s)) : last_time(s);
    *up = sqrt(MAX(next * next - exp(-2 * target), 0));
    return target;
}

static void
ask(RvSampler *s, double time)
{
    double sigma = exp(-time);
    rv_sampler_ask_sigma(s, sigma, rv_schedule_timestep(s->schedule, sigma));
}

static void
ask_group(RvSampler *s, int group)
{
    s->index = group;
    s->stage = 0;
    s->done = group >= groups(s);
    if (!s->done)
        ask(s, group_time(s, group));
}

static void
begin(RvSampler *s)
{
    ask_group(s, 0);
}

/* Moves from s->base by `width` in time, along the first derivative and `bend` times its change at a later
 * one. */
static void
move(RvSampler *s, double start, double width, double bend, int later)
{
    double to = exp(-(start + width));
    RvTerm terms[] = { { 1, s->base },
                       { -to * (expm1(width) - bend), s->history[0] },
                       { -to * bend, s->history[later] } };
    rv_combine(s->x, s->total, terms, bend != 0 ? 3 : 2);
}

static void
give(RvSampler *s, const float *output)
{
    double up, start = group_time(s, s->index), h = group_target(s, &up) - start;
    int order = group_order(s, s->index), stage = s->stage;
    float sigma = (float)s->sigma, *slope = s->history[stage];
    for (gsize i = 0; i < s->total; i++)
        slope[i] = (s->x[i] - s->denoised[i]) / sigma;
    if (stage == 0)
        memcpy(s->base, s->x, s->total * sizeof(float));
    if (stage + 1 < order) {
        double width = h * (order == 2 ? 0.5 : (stage + 1) / 3.0);
        move(s, start, width, stage == 0 || width == 0 ? 0 : 2 * (expm1(width) / width - 1), 1);
        s->stage++;
        ask(s, start + width);
        return;
    }
    double bend = order == 2 ? expm1(h) : order == 3 && h != 0 ? 1.5 * (expm1(h) / h - 1) : 0;
    move(s, start, h, bend, order - 1);
    rv_sampler_add_draw(s, up * s->options.s_noise, exp(-start), exp(-group_time(s, s->index + 1)));
    ask_group(s, s->index + 1);
}

static int
calls(const RvSampler *s, int steps)
{
    return steps;
}

const RvStepper rv_stepper_fast = { begin, give, calls };
