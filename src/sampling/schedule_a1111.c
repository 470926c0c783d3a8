/* The A1111 web UI's choice of sigmas and timesteps for each sampler. */
#include "base/error.h"
#include "sampling/schedule_internal.h"
#include <math.h>

/* DDIM and PLMS step through range(0, 1000, 1000 / steps) + 1, downwards; the lowest entry is only
 * arrived at, never evaluated. */
static void
timestep_list(RvSchedule *schedule, int steps)
{
    int train = schedule->train, stride = train / steps, entries = (train + stride - 1) / stride;
    int count = MAX(entries - 1, 1);
    rv_schedule_reserve(schedule, count, true);
    for (int i = 0; i < count; i++) {
        int here = MIN((entries - 1 - i) * stride + 1, train - 1);
        int next = MIN((entries - 2 - i) * stride + 1, train - 1);
        schedule->timesteps[i] = here;
        schedule->alphas[i] = (double)schedule->train_alphas[here];
        schedule->next_alphas[i] = (double)schedule->train_alphas[MAX(next, 0)];
        schedule->timesteps[i + 1] = MAX(next, 0);
    }
    schedule->variance_preserving = true;
    schedule->begin_shift = 1;
}

/* UniPC runs from the last training step to the first in equal times, and stops there. */
static void
unipc_list(RvSchedule *schedule, int steps)
{
    int stride = schedule->train / steps, count = (schedule->train + stride - 1) / stride;
    rv_schedule_reserve(schedule, count, false);
    for (int i = 0; i <= count; i++) {
        double at = (schedule->train - 1) * (1 - (double)i / count);
        int low = MIN((int)at, schedule->train - 2);
        double weight = at - low;
        double log_alpha = (1 - weight) * log((double)schedule->train_alphas[low]) +
                           weight * log((double)schedule->train_alphas[low + 1]);
        schedule->sigmas[i] = (float)sqrt(expm1(-log_alpha));
        if (i < count)
            schedule->timesteps[i] = at;
    }
    schedule->variance_preserving = true;
}

/* LCM knows 50 of the 1000 steps. */
static double
lcm_sigma(const RvSchedule *schedule, const RvSchedulerConfig *config, double position)
{
    int known = MIN(config->original_inference_steps, schedule->train), stride = schedule->train / known;
    int low = (int)floor(position), high = MIN(low + 1, known - 1);
    double weight = position - low;
    const float *table = schedule->train_log_sigmas;
    int offset = schedule->train - 1 - (known - 1) * stride;
    return exp((1 - weight) * (double)table[offset + low * stride] +
               weight * (double)table[offset + high * stride]);
}

static int
lcm_nearest(const RvSchedule *schedule, const RvSchedulerConfig *config, double sigma)
{
    int known = MIN(config->original_inference_steps, schedule->train), stride = schedule->train / known,
        best = 0;
    int offset = schedule->train - 1 - (known - 1) * stride;
    double nearest = INFINITY;
    for (int i = 0; i < known; i++) {
        double distance = fabs(log(sigma) - (double)schedule->train_log_sigmas[offset + i * stride]);
        if (distance < nearest)
            nearest = distance, best = i;
    }
    return offset + best * stride;
}

static void
lcm_list(RvSchedule *schedule, const RvSchedulerConfig *config, int steps)
{
    int known = MIN(config->original_inference_steps, schedule->train), stride = schedule->train / known;
    rv_schedule_reserve(schedule, steps, false);
    for (int i = 0; i < steps; i++) {
        double first = schedule->train - 1, last = stride - 1;
        double step = steps == 1 ? first : first + (last - first) * i / (steps - 1);
        double position = CLAMP((step - (stride - 1)) / stride, 0, known - 1);
        schedule->sigmas[i] = (float)lcm_sigma(schedule, config, position);
        schedule->timesteps[i] = lcm_nearest(schedule, config, (double)schedule->sigmas[i]);
    }
    schedule->init_noise_sigma = (double)schedule->sigmas[0];
}

static void
sigma_list(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind,
           int steps)
{
    bool discard = rv_sampler_info(sampler)->discards_penultimate_sigma;
    g_autofree double *sigmas = g_new(double, schedule->train + 2);
    double low = config->sigma_min > 0 ? config->sigma_min : (double)schedule->train_sigmas[0];
    double high =
        config->sigma_max > 0 ? config->sigma_max : (double)schedule->train_sigmas[schedule->train - 1];
    int count = rv_schedule_formula(schedule, config, kind, steps + discard, low, high, sigmas);
    if (kind == RV_SCHEDULE_KL_OPTIMAL && count > 0) /* ends at sigma_min instead of zero */
        sigmas[count] = low;
    else
        sigmas[count] = 0;
    if (discard && count > 1) {
        sigmas[count - 1] = sigmas[count];
        count--;
    }
    rv_schedule_reserve(schedule, count, false);
    for (int i = 0; i <= count; i++)
        schedule->sigmas[i] = (float)sigmas[i];
    for (int i = 0; i < count; i++)
        schedule->timesteps[i] = rv_schedule_timestep(schedule, (double)schedule->sigmas[i]);
    schedule->init_noise_sigma = (double)schedule->sigmas[0];
}

bool
rv_schedule_a1111(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                  RvScheduleKind kind, int steps, GError **error)
{
    if (kind == RV_SCHEDULE_AUTOMATIC)
        kind = rv_sampler_info(sampler)->schedule;
    if (kind == RV_SCHEDULE_LEADING || kind == RV_SCHEDULE_TRAILING || kind == RV_SCHEDULE_LINSPACE)
        return rv_error_set(error, RV_ERROR_USAGE, rv_schedule_info(kind)->name,
                            "use uniform, sgm_uniform or simple", "A1111's samplers have no such schedule");
    if (sampler == RV_SAMPLER_DDIM || sampler == RV_SAMPLER_DDPM || sampler == RV_SAMPLER_PNDM)
        timestep_list(schedule, steps);
    else if (sampler == RV_SAMPLER_UNIPC)
        unipc_list(schedule, steps);
    else if (sampler == RV_SAMPLER_LCM)
        lcm_list(schedule, config, steps);
    else
        sigma_list(schedule, config, sampler, kind, steps);
    return true;
}
