#include "sampling/sampler.h"
#include "base/error.h"
#include "sampling/sampler_internal.h"
#include "sampling/schedule_internal.h"
#include <math.h>
#include <string.h>

static const RvStepper *const steppers[] = {
    [RV_SAMPLER_EULER] = &rv_stepper_linear,
    [RV_SAMPLER_EULER_A] = &rv_stepper_linear,
    [RV_SAMPLER_HEUN] = &rv_stepper_heun,
    [RV_SAMPLER_DPMPP_2M] = &rv_stepper_multistep,
    [RV_SAMPLER_DPMPP_SDE] = &rv_stepper_dpmpp_sde,
    [RV_SAMPLER_DPMPP_2M_SDE] = &rv_stepper_multistep,
    [RV_SAMPLER_DPMPP_2M_SDE_HEUN] = &rv_stepper_multistep,
    [RV_SAMPLER_DPMPP_3M_SDE] = &rv_stepper_multistep,
    [RV_SAMPLER_DPMPP_2S] = &rv_stepper_singlestep,
    [RV_SAMPLER_DPMPP_2S_A] = &rv_stepper_dpmpp_2s_a,
    [RV_SAMPLER_DDIM] = &rv_stepper_linear,
    [RV_SAMPLER_DDPM] = &rv_stepper_linear,
    [RV_SAMPLER_UNIPC] = &rv_stepper_unipc,
    [RV_SAMPLER_LCM] = &rv_stepper_linear,
    [RV_SAMPLER_LMS] = &rv_stepper_lms,
    [RV_SAMPLER_DPM2] = &rv_stepper_dpm2,
    [RV_SAMPLER_DPM2_A] = &rv_stepper_dpm2,
    [RV_SAMPLER_PNDM] = &rv_stepper_pndm,
    [RV_SAMPLER_RESTART] = &rv_stepper_heun,
    [RV_SAMPLER_DPM_FAST] = &rv_stepper_fast,
};
G_STATIC_ASSERT(G_N_ELEMENTS(steppers) == RV_SAMPLER_COUNT);

void
rv_sampler_options_init(RvSamplerOptions *options)
{
    *options = (RvSamplerOptions) { .steps = 20, .eta = -1, .s_noise = 1 };
    rv_scheduler_config_init(&options->config);
}

int
rv_sampler_first_step(RvDialect dialect, int steps, double strength)
{
    strength = CLAMP(strength, 0, 1);
    if (dialect == RV_DIALECT_A1111)
        return MAX(steps - (int)(MIN(strength, 0.999) * steps) - 1, 0);
    return MAX(steps - MIN((int)(steps * strength), steps), 0);
}

#define FLAT_FROM 0.4 /* of a step: diffusers' own levels, which presets ask for */
#define FLAT_TO 0.5

int
rv_sampler_smooth_start(int steps, double strength, double *shift)
{
    double x = CLAMP(strength, 0, 1) * steps, level = x;
    int whole = CLAMP((int)floor(x - FLAT_FROM), 0, MAX(steps - 2, 0)); /* the level before */
    int run = CLAMP((int)(x + 1e-9), 1, steps);
    if (steps > 1 && x >= steps - 1 + FLAT_TO)
        level = steps - 1 + (x - (steps - 1 + FLAT_TO)) / (1 - FLAT_TO);
    else if (steps > 1 && whole == 0)
        level = MIN(x / (1 + FLAT_FROM), 1);
    else if (steps > 1)
        level = whole + CLAMP((x - whole - FLAT_TO) / (1 + FLAT_FROM - FLAT_TO), 0, 1);
    *shift = fabs(level - run) < 1e-6 ? 0 : level - run;
    return steps - run;
}

static void
plant_trees(RvSampler *sampler)
{
    const RvSchedule *schedule = sampler->schedule;
    double low = INFINITY, high = 0;
    for (int i = 0; i <= schedule->count; i++) {
        double sigma = (double)schedule->sigmas[i];
        low = sigma > 0 ? MIN(low, sigma) : low;
        high = MAX(high, sigma);
    }
    if (!(low < high)) /* a single level: nothing random happens */
        return;
    sampler->trees = g_new(RvBrownian *, sampler->images);
    for (int i = 0; i < sampler->images; i++)
        sampler->trees[i] = rv_brownian_new(sampler->noises[i], low, high, sampler->count);
}

RvSampler *
rv_sampler_new(const RvSamplerOptions *options, RvNoise **noises, int images, gsize count, GError **error)
{
    g_assert(images > 0 && count > 0);
    RvSchedule *schedule = rv_schedule_new(&options->config, options->sampler, options->schedule,
                                           options->dialect, options->steps, error);
    if (schedule == NULL)
        return NULL;
    if (options->first_step < 0 || options->first_step >= options->steps ||
        options->first_step + schedule->begin_shift * (options->first_step > 0) >= schedule->count) {
        rv_error_set(error, RV_ERROR_USAGE, "strength", "raise the strength or the number of steps",
                     "no step is left to run (first step %d of %d)", options->first_step, schedule->count);
        rv_schedule_free(schedule);
        return NULL;
    }
    rv_schedule_shift_start(schedule, options->first_step, options->start_shift);
    if (options->sampler == RV_SAMPLER_RESTART)
        rv_schedule_restart(schedule, options->first_step);
    RvSampler *sampler = g_new0(RvSampler, 1);
    sampler->options = *options;
    sampler->schedule = schedule;
    sampler->stepper = steppers[options->sampler];
    sampler->noises = noises;
    sampler->images = images;
    sampler->count = count;
    sampler->total = (gsize)images * count;
    float **buffers[] = { &sampler->x,    &sampler->input,       &sampler->denoised,
                          &sampler->draw, &sampler->start_noise, &sampler->base };
    for (gsize i = 0; i < G_N_ELEMENTS(buffers); i++)
        *buffers[i] = g_new0(float, sampler->total);
    for (int i = 0; i < RV_HISTORY; i++)
        sampler->history[i] = g_new0(float, sampler->total);
    if (options->dialect == RV_DIALECT_A1111 && rv_sampler_info(options->sampler)->brownian)
        plant_trees(sampler);
    sampler->done = true;
    return sampler;
}

void
rv_sampler_free(RvSampler *sampler)
{
    if (sampler == NULL)
        return;
    for (int i = 0; sampler->trees != NULL && i < sampler->images; i++)
        rv_brownian_free(sampler->trees[i]);
    g_free(sampler->trees);
    float *buffers[] = { sampler->x,    sampler->input,       sampler->denoised,
                         sampler->draw, sampler->start_noise, sampler->base };
    for (gsize i = 0; i < G_N_ELEMENTS(buffers); i++)
        g_free(buffers[i]);
    for (int i = 0; i < RV_HISTORY; i++)
        g_free(sampler->history[i]);
    rv_schedule_free(sampler->schedule);
    g_free(sampler);
}

/* The level of a step of the schedule; past the last one, a clean latent. */
static void
step_level(const RvSampler *sampler, int index, double *signal, double *noise)
{
    const RvSchedule *schedule = sampler->schedule;
    if (schedule->sigmas != NULL) {
        rv_sampler_split_sigma(sampler, (double)schedule->sigmas[MIN(index, schedule->count)], signal, noise);
        return;
    }
    double alpha = index < schedule->count ? schedule->alphas[index] : 1;
    *signal = sqrt(alpha);
    *noise = sqrt(1 - alpha);
}

void
rv_sampler_start_level(const RvSampler *sampler, bool has_x0, double *signal, double *noise)
{
    step_level(sampler, sampler->options.first_step, signal, noise);
    if (!has_x0) {
        *signal = 0;
        *noise = sampler->schedule->init_noise_sigma;
    }
}

int
rv_sampler_first_evaluated(const RvSampler *sampler)
{
    int first = sampler->options.first_step;
    return first > 0 ? first + sampler->schedule->begin_shift : 0;
}

void
rv_sampler_begin(RvSampler *sampler, const float *x0, const float *noise)
{
    if (noise != NULL)
        memcpy(sampler->start_noise, noise, sampler->total * sizeof(float));
    for (int i = 0; noise == NULL && i < sampler->images; i++)
        rv_noise_draw(sampler->noises[i], sampler->start_noise + (gsize)i * sampler->count, sampler->count);
    double signal, level;
    rv_sampler_start_level(sampler, x0 != NULL, &signal, &level);
    RvTerm terms[] = { { level, sampler->start_noise }, { signal, x0 } };
    rv_combine(sampler->x, sampler->total, terms, x0 != NULL ? 2 : 1);
    sampler->known = sampler->stage = sampler->last_order = sampler->calls = 0;
    sampler->done = sampler->has_denoised = false;
    sampler->index = rv_sampler_first_evaluated(sampler);
    sampler->stepper->begin(sampler);
}

bool
rv_sampler_next(RvSampler *sampler, RvEvaluation *evaluation)
{
    if (sampler->done)
        return false;
    float scale = (float)hypot(sampler->signal, sampler->noise);
    bool scaled = !sampler->schedule->variance_preserving;
    for (gsize i = 0; i < sampler->total; i++)
        sampler->input[i] = scaled ? sampler->x[i] / scale : sampler->x[i];
    int steps = sampler->schedule->count - rv_sampler_first_evaluated(sampler);
    *evaluation = (RvEvaluation) {
        .input = sampler->input,
        .timestep = sampler->timestep,
        .sigma = sampler->sigma,
        .index = sampler->calls,
        .total = sampler->stepper->calls(sampler, steps),
        .step = sampler->index,
    };
    return true;
}

void
rv_sampler_give(RvSampler *sampler, const float *output)
{
    g_assert(!sampler->done);
    rv_sampler_predict_x0(sampler, output);
    sampler->has_denoised = true;
    sampler->calls++;
    sampler->stepper->give(sampler, output);
}

float *
rv_sampler_latent(RvSampler *sampler)
{
    return sampler->x;
}

const float *
rv_sampler_denoised(const RvSampler *sampler)
{
    return sampler->has_denoised ? sampler->denoised : NULL;
}

const float *
rv_sampler_start_noise(const RvSampler *sampler)
{
    return sampler->start_noise;
}

const RvSchedule *
rv_sampler_schedule(const RvSampler *sampler)
{
    return sampler->schedule;
}

void
rv_sampler_noise_level(const RvSampler *sampler, double *signal, double *noise)
{
    *signal = sampler->done ? 1 : sampler->signal;
    *noise = sampler->done ? 0 : sampler->noise;
}

void
rv_sampler_add_noise(const RvSampler *sampler, const float *x0, const float *noise, float *out)
{
    double signal, level;
    rv_sampler_noise_level(sampler, &signal, &level);
    rv_combine(out, sampler->total, (RvTerm[]) { { signal, x0 }, { level, noise } }, 2);
}
