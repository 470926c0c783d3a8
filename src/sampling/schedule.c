#include "sampling/schedule.h"
#include "base/error.h"
#include "sampling/schedule_internal.h"
#include <math.h>

bool
rv_sampler_is_alpha(RvSamplerKind sampler)
{
    return sampler == RV_SAMPLER_DDIM || sampler == RV_SAMPLER_DDPM || sampler == RV_SAMPLER_LCM ||
           sampler == RV_SAMPLER_PNDM;
}

void
rv_schedule_reserve(RvSchedule *schedule, int count, bool alphas)
{
    schedule->count = count;
    schedule->timesteps = g_new0(double, count + 1);
    if (alphas) {
        schedule->alphas = g_new0(double, count);
        schedule->next_alphas = g_new0(double, count);
    } else {
        schedule->sigmas = g_new0(float, count + 1);
    }
}

/* Noise must grow with every training step. Zero-terminal-SNR tables end in no signal at all or in the number
 * that stands in for it, which may be more than the step before has. */
static bool
is_usable(const RvSchedule *schedule, bool zero_snr)
{
    const float *alphas = schedule->train_alphas;
    for (int i = 0; i < schedule->train; i++) {
        if (zero_snr && i == schedule->train - 1)
            return alphas[i] >= 0 && alphas[i] < 1;
        if (!(alphas[i] < (i == 0 ? 1.0f : alphas[i - 1])) || alphas[i] <= 0)
            return false;
    }
    return true;
}

RvSchedule *
rv_schedule_new(const RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind,
                RvDialect dialect, int steps, GError **error)
{
    if (steps < 1 || steps > config->num_train_timesteps) {
        rv_error_set(error, RV_ERROR_USAGE, "steps", "choose fewer, at least 1",
                     "%d steps do not fit a model trained on %d", steps, config->num_train_timesteps);
        return NULL;
    }
    RvSchedule *schedule = g_new0(RvSchedule, 1);
    schedule->init_noise_sigma = 1;
    schedule->stride = config->num_train_timesteps / steps;
    rv_schedule_train(schedule, config, sampler, dialect);
    if (!is_usable(schedule, config->rescale_betas_zero_snr)) {
        rv_error_set(error, RV_ERROR_INVALID, "scheduler_config.json", "repair beta_start and beta_end",
                     "the betas from %g to %g make no noise schedule", config->beta_start, config->beta_end);
        rv_schedule_free(schedule);
        return NULL;
    }
    bool ok = dialect == RV_DIALECT_A1111
                  ? rv_schedule_a1111(schedule, config, sampler, kind, steps, error)
                  : rv_schedule_diffusers(schedule, config, sampler, kind, steps, error);
    if (!ok)
        g_clear_pointer(&schedule, rv_schedule_free);
    return schedule;
}

/* In training steps, counted from 1: 0 is no noise. */
static double
shifted_start(const RvSchedule *schedule, int first, double shift)
{
    const double *timesteps = schedule->timesteps;
    double here = timesteps[first] + 1, before = first > 0 ? timesteps[first - 1] + 1 : here,
           after = first + 1 < schedule->count ? timesteps[first + 1] + 1 : 0;
    return MAX(shift > 0 ? here + shift * (before - here) : here + shift * (here - after), 1);
}

void
rv_schedule_shift_start(RvSchedule *schedule, int first, double shift)
{
    if (shift == 0)
        return;
    double scale = shifted_start(schedule, first, shift) / (schedule->timesteps[first] + 1);
    for (int i = first; i < schedule->count; i++) {
        double timestep = CLAMP((schedule->timesteps[i] + 1) * scale - 1, 0, schedule->train - 1);
        double sigma = rv_schedule_sigma(schedule, timestep);
        schedule->timesteps[i] = timestep;
        if (schedule->sigmas != NULL)
            schedule->sigmas[i] = (float)sigma;
        else
            schedule->alphas[i] = 1 / (1 + sigma * sigma);
    }
    for (int i = first; schedule->alphas != NULL && i + 1 < schedule->count; i++)
        schedule->next_alphas[i] = schedule->alphas[i + 1];
}

void
rv_schedule_free(RvSchedule *schedule)
{
    if (schedule == NULL)
        return;
    g_free(schedule->timesteps);
    g_free(schedule->sigmas);
    g_free(schedule->alphas);
    g_free(schedule->next_alphas);
    g_free(schedule->train_alphas);
    g_free(schedule->train_sigmas);
    g_free(schedule->train_log_sigmas);
    g_free(schedule);
}

double
rv_schedule_timestep(const RvSchedule *schedule, double sigma)
{
    const float *table = schedule->train_log_sigmas;
    double wanted = log(MAX(sigma, 1e-10));
    int low = schedule->train - 1; /* the last one below: a zero-terminal-SNR table may fall at its end */
    while (low > 0 && !((double)table[low] <= wanted))
        low--;
    low = MIN(low, schedule->train - 2);
    double weight = ((double)table[low] - wanted) / ((double)table[low] - (double)table[low + 1]);
    return low + CLAMP(weight, 0, 1);
}

double
rv_schedule_sigma(const RvSchedule *schedule, double timestep)
{
    double position = CLAMP(timestep, 0, schedule->train - 1);
    int low = (int)floor(position), high = (int)ceil(position);
    double weight = position - low;
    return exp((1 - weight) * (double)schedule->train_log_sigmas[low] +
               weight * (double)schedule->train_log_sigmas[high]);
}
