#include "sampling/sampler_internal.h"
#include <math.h>
#include <string.h>

void
rv_combine(float *out, gsize count, const RvTerm *terms, int terms_count)
{
    float weights[2 + RV_HISTORY + 1];
    g_assert(terms_count > 0 && terms_count <= (int)G_N_ELEMENTS(weights));
    for (int t = 0; t < terms_count; t++)
        weights[t] = (float)terms[t].weight;
    for (gsize i = 0; i < count; i++) {
        float sum = weights[0] * terms[0].values[i];
        for (int t = 1; t < terms_count; t++)
            sum += weights[t] * terms[t].values[i];
        out[i] = sum;
    }
}

void
rv_sampler_split_sigma(const RvSampler *sampler, double sigma, double *signal, double *noise)
{
    *signal = sampler->schedule->variance_preserving ? 1 / sqrt(sigma * sigma + 1) : 1;
    *noise = sigma * *signal;
}

void
rv_sampler_ask_sigma(RvSampler *sampler, double sigma, double timestep)
{
    sampler->sigma = sigma;
    sampler->timestep = timestep;
    rv_sampler_split_sigma(sampler, sigma, &sampler->signal, &sampler->noise);
}

void
rv_sampler_ask_step(RvSampler *sampler, int index)
{
    const RvSchedule *schedule = sampler->schedule;
    sampler->index = index;
    sampler->stage = 0;
    sampler->done = index >= schedule->count;
    if (sampler->done)
        return;
    if (schedule->sigmas != NULL) {
        rv_sampler_ask_sigma(sampler, (double)schedule->sigmas[index], schedule->timesteps[index]);
        return;
    }
    sampler->signal = sqrt(schedule->alphas[index]);
    sampler->noise = sqrt(1 - schedule->alphas[index]);
    sampler->sigma = sampler->noise / sampler->signal;
    sampler->timestep = schedule->timesteps[index];
}

/* Epsilon; "v" of Salimans and Ho 2022, which sees the latent scaled to unit variance; or x0 itself. */
RvPredicted
rv_predicted(RvPrediction prediction, double signal, double noise)
{
    double scale = hypot(signal, noise);
    switch (prediction) {
    case RV_PREDICTION_V:
        return (RvPredicted) { .x0 = { signal / (scale * scale), -noise / scale },
                               .eps = { noise / (scale * scale), signal / scale } };
    case RV_PREDICTION_SAMPLE:
        return (RvPredicted) { .x0 = { 0, 1 }, .eps = { 1 / noise, -signal / noise } };
    case RV_PREDICTION_EPSILON:
        break;
    }
    return (RvPredicted) { .x0 = { 1 / signal, -noise / signal }, .eps = { 0, 1 } };
}

/* Only the schedulers that say so, and only when the config is theirs: latents are not pictures, and
 * clipping them by another class's default would spoil them. */
bool
rv_sampler_clips(const RvSampler *sampler)
{
    RvSamplerKind kind = sampler->options.sampler;
    const RvSchedulerConfig *config = &sampler->options.config;
    bool can = kind == RV_SAMPLER_DDIM || kind == RV_SAMPLER_DDPM || kind == RV_SAMPLER_LCM ||
               kind == RV_SAMPLER_HEUN;
    if (!can || sampler->options.dialect == RV_DIALECT_A1111)
        return false;
    if (config->clip_sample < 0)
        return config->sampler == kind && (kind == RV_SAMPLER_DDIM || kind == RV_SAMPLER_DDPM);
    return config->clip_sample != 0;
}

void
rv_sampler_predict_x0(RvSampler *sampler, const float *output)
{
    RvPredicted predicted =
        rv_predicted(sampler->options.config.prediction_type, sampler->signal, sampler->noise);
    RvTerm terms[] = { { predicted.x0[0], sampler->x }, { predicted.x0[1], output } };
    if (predicted.x0[0] == 0) /* the latent may be anything there */
        rv_combine(sampler->denoised, sampler->total, terms + 1, 1);
    else
        rv_combine(sampler->denoised, sampler->total, terms, 2);
    if (!rv_sampler_clips(sampler))
        return;
    float range = (float)sampler->options.config.clip_sample_range;
    for (gsize i = 0; i < sampler->total; i++)
        sampler->denoised[i] = CLAMP(sampler->denoised[i], -range, range);
}

void
rv_sampler_draw(RvSampler *sampler, double sigma, double sigma_next)
{
    for (int i = 0; i < sampler->images; i++) {
        float *out = sampler->draw + (gsize)i * sampler->count;
        if (sampler->is_silent)
            memset(out, 0, sampler->count * sizeof *out);
        else if (sampler->trees != NULL)
            rv_brownian_draw(sampler->trees[i], sigma, sigma_next, out);
        else
            rv_noise_draw(sampler->noises[i], out, sampler->count);
    }
}

void
rv_sampler_add_draw(RvSampler *sampler, double scale, double sigma, double sigma_next)
{
    if (scale == 0)
        return;
    rv_sampler_draw(sampler, sigma, sigma_next);
    rv_combine(sampler->x, sampler->total, (RvTerm[]) { { 1, sampler->x }, { scale, sampler->draw } }, 2);
}

float *
rv_sampler_push(RvSampler *sampler)
{
    float *oldest = sampler->history[RV_HISTORY - 1];
    memmove(sampler->history + 1, sampler->history, (RV_HISTORY - 1) * sizeof(float *));
    memmove(sampler->widths + 1, sampler->widths, (RV_HISTORY - 1) * sizeof(double));
    sampler->history[0] = oldest;
    sampler->known = MIN(sampler->known + 1, RV_HISTORY);
    return oldest;
}

double
rv_sampler_eta(const RvSampler *sampler)
{
    RvSamplerKind kind = sampler->options.sampler;
    if (kind == RV_SAMPLER_DPMPP_2M || kind == RV_SAMPLER_EULER)
        return 0;
    if (sampler->options.eta >= 0)
        return sampler->options.eta;
    return kind == RV_SAMPLER_DDIM || kind == RV_SAMPLER_DPM2 ? 0 : 1;
}

void
rv_ancestral(double sigma, double sigma_next, double eta, double *down, double *up)
{
    double next = sigma_next * sigma_next, here = sigma * sigma;
    *up = MIN(sigma_next, eta * sqrt(next * MAX(here - next, 0) / here));
    *down = sqrt(next - *up * *up);
}

double
rv_sampler_churn(RvSampler *sampler, double sigma)
{
    const RvSamplerOptions *options = &sampler->options;
    double limit = options->s_tmax > 0 ? options->s_tmax : INFINITY;
    if (options->dialect != RV_DIALECT_A1111 || options->s_churn <= 0 || sigma < options->s_tmin ||
        sigma > limit)
        return sigma;
    double gamma = MIN(options->s_churn / sampler->schedule->count, sqrt(2) - 1),
           raised = sigma * (gamma + 1);
    rv_sampler_add_draw(sampler, options->s_noise * sqrt(raised * raised - sigma * sigma), raised, sigma);
    rv_sampler_ask_sigma(sampler, raised, rv_schedule_timestep(sampler->schedule, raised));
    return raised;
}
