/* The training table: betas to cumulative alphas to sigmas, in the precision of each dialect. */
#include "sampling/schedule_internal.h"
#include <math.h>

/* diffusers: float32 throughout, as torch.linspace counts (from both ends towards the middle). */
static float
linspace_float(double start, double end, int count, int i)
{
    float from = (float)start, to = (float)end, step = (to - from) / (float)(count - 1);
    return i < count / 2 ? from + step * (float)i : to - step * (float)(count - 1 - i);
}

/* Nichol and Dhariwal 2021, equation 17. */
static double
cosine_beta(int i, int count)
{
    double here = cos(((double)i / count + 0.008) / 1.008 * G_PI / 2);
    double next = cos(((double)(i + 1) / count + 0.008) / 1.008 * G_PI / 2);
    return MIN(1 - next * next / (here * here), 0.999);
}

static float
beta_float(const RvSchedulerConfig *config, int i)
{
    int count = config->num_train_timesteps;
    switch (config->beta_schedule) {
    case RV_BETAS_LINEAR:
        return linspace_float(config->beta_start, config->beta_end, count, i);
    case RV_BETAS_SQUARED_COSINE:
        return (float)cosine_beta(i, count);
    case RV_BETAS_SCALED_LINEAR:
        break;
    }
    float root = linspace_float(sqrt(config->beta_start), sqrt(config->beta_end), count, i);
    return root * root;
}

static double
beta_double(const RvSchedulerConfig *config, int i)
{
    int count = config->num_train_timesteps;
    double at = (double)i / (count - 1);
    switch (config->beta_schedule) {
    case RV_BETAS_LINEAR:
        return config->beta_start + at * (config->beta_end - config->beta_start);
    case RV_BETAS_SQUARED_COSINE:
        return cosine_beta(i, count);
    case RV_BETAS_SCALED_LINEAR:
        break;
    }
    double root = sqrt(config->beta_start) + at * (sqrt(config->beta_end) - sqrt(config->beta_start));
    return root * root;
}

/* Lin et al. 2023, algorithm 1: shift and scale sqrt(alpha) so that the last step is pure noise.
 * diffusers goes back to betas and multiplies up again; `through_betas` keeps those roundings. */
static void
rescale_zero_snr(float *alphas, int count, bool through_betas)
{
    float first = sqrtf(alphas[0]), last = sqrtf(alphas[count - 1]);
    float scale = first / (first - last);
    for (int i = 0; i < count; i++) {
        float root = (sqrtf(alphas[i]) - last) * scale;
        alphas[i] = root * root;
    }
    if (!through_betas)
        return;
    double product = 1;
    float before = 1;
    for (int i = 0; i < count; i++) {
        float bar = alphas[i], beta = 1.0f - (i == 0 ? bar : bar / before);
        before = bar;
        product *= (double)(1.0f - beta);
        alphas[i] = (float)product;
    }
}

void
rv_schedule_train(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                  RvDialect dialect)
{
    int count = config->num_train_timesteps;
    bool diffusers = dialect == RV_DIALECT_DIFFUSERS;
    schedule->train = count;
    schedule->train_alphas = g_new(float, count);
    schedule->train_sigmas = g_new(float, count);
    schedule->train_log_sigmas = g_new(float, count);
    float *alphas = schedule->train_alphas;
    double product = 1;
    for (int i = 0; i < count; i++) {
        product *= diffusers ? (double)(1.0f - beta_float(config, i)) : 1 - beta_double(config, i);
        alphas[i] = (float)product;
    }
    if (config->rescale_betas_zero_snr) {
        rescale_zero_snr(alphas, count, diffusers);
        /* A ratio of noise to no signal is infinite: the smallest half-precision number stands in,
         * except where only alphas are used. */
        if (!diffusers)
            alphas[count - 1] = 4.8973451890853435e-08f;
        else if (!rv_sampler_is_alpha(sampler))
            alphas[count - 1] = 0x1p-24f;
    }
    for (int i = 0; i < count; i++) {
        schedule->train_sigmas[i] = sqrtf((1.0f - alphas[i]) / alphas[i]);
        schedule->train_log_sigmas[i] = logf(schedule->train_sigmas[i]);
    }
}
