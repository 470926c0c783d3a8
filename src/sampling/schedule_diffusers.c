/* diffusers' set_timesteps, class by class: which rounding, which end of the table, which interpolation. */
#include "base/error.h"
#include "sampling/schedule_internal.h"
#include <math.h>

/* DPM-Solver++ and UniPC: one more point than steps, whole timesteps, a variance-preserving latent. */
static bool
is_solver(RvSamplerKind sampler)
{
    return sampler == RV_SAMPLER_DPMPP_2M || sampler == RV_SAMPLER_DPMPP_2M_SDE ||
           sampler == RV_SAMPLER_DPMPP_2M_SDE_HEUN || sampler == RV_SAMPLER_DPMPP_3M_SDE ||
           sampler == RV_SAMPLER_DPMPP_2S || sampler == RV_SAMPLER_UNIPC;
}

static RvSpacing
spacing_of(const RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind)
{
    if (kind == RV_SCHEDULE_LEADING)
        return RV_SPACING_LEADING;
    if (kind == RV_SCHEDULE_TRAILING)
        return RV_SPACING_TRAILING;
    if (kind == RV_SCHEDULE_LINSPACE)
        return RV_SPACING_LINSPACE;
    if (config->timestep_spacing != RV_SPACING_DEFAULT && sampler != RV_SAMPLER_DPMPP_2S)
        return config->timestep_spacing; /* the single-step solver's config has no spacing */
    return rv_sampler_is_alpha(sampler) ? RV_SPACING_LEADING : RV_SPACING_LINSPACE;
}

/* Timestep `i` of a spacing; `points` is how many divide the training steps (solvers: one more). In numpy's
 * order of operations: halves are rounded here (30 steps of linspace, 48 of trailing), and which way depends
 * on it. One thing is not diffusers': where T / (T / steps) comes out above `steps` (61 of 1000, 13 of 999),
 * its arange has one timestep too many, -1, which DDIM takes for the noisiest. */
static double
spaced(RvSpacing spacing, int train, int steps, int points, int offset, int i)
{
    switch (spacing) {
    case RV_SPACING_LEADING:
        return (double)MIN((points - 1 - i) * (train / points) + offset, train - 1);
    case RV_SPACING_TRAILING:
        return nearbyint(train + i * ((train - (double)train / steps) - train)) - 1;
    default:
        return i == 0 && points > 1 ? train - 1 : (points - 1 - i) * ((train - 1.0) / MAX(points - 1, 1));
    }
}

static double
interpolated_sigma(const RvSchedule *schedule, double timestep)
{
    double at = CLAMP(timestep, 0, schedule->train - 1);
    int low = MIN((int)at, schedule->train - 2);
    double from = (double)schedule->train_sigmas[low], to = (double)schedule->train_sigmas[low + 1];
    return (to - from) * (at - low) + from;
}

static RvScheduleKind
kind_of(const RvSchedulerConfig *config, RvScheduleKind kind)
{
    if (kind != RV_SCHEDULE_AUTOMATIC)
        return kind;
    if (config->use_karras_sigmas)
        return RV_SCHEDULE_KARRAS;
    if (config->use_exponential_sigmas || config->use_lu_lambdas)
        return RV_SCHEDULE_EXPONENTIAL;
    return config->use_beta_sigmas ? RV_SCHEDULE_BETA : RV_SCHEDULE_AUTOMATIC;
}

static bool
is_spacing(RvScheduleKind kind)
{
    return kind == RV_SCHEDULE_AUTOMATIC || kind == RV_SCHEDULE_LEADING || kind == RV_SCHEDULE_TRAILING ||
           kind == RV_SCHEDULE_LINSPACE;
}

/* How a scheduler class turns the timestep of a computed sigma into what the model is told. */
static double
told_timestep(const RvSchedulerConfig *config, RvSamplerKind sampler, RvScheduleKind kind, double timestep)
{
    bool dpm2 = sampler == RV_SAMPLER_DPM2 || sampler == RV_SAMPLER_DPM2_A;
    if (dpm2 && kind == RV_SCHEDULE_KARRAS)
        return nearbyint(timestep);
    if (!is_solver(sampler))
        return (double)(float)timestep;
    bool cut = (kind == RV_SCHEDULE_EXPONENTIAL && !config->use_lu_lambdas) || kind == RV_SCHEDULE_BETA ||
               (kind == RV_SCHEDULE_KARRAS && config->beta_schedule == RV_BETAS_SQUARED_COSINE);
    return cut ? trunc(timestep) : nearbyint(timestep);
}

static void
sigma_schedule(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
               RvScheduleKind kind, int steps)
{
    bool solver = is_solver(sampler);
    RvSpacing spacing = spacing_of(config, sampler, kind);
    kind = kind_of(config, kind);
    g_autofree double *sigmas = g_new(double, schedule->train + 2);
    g_autofree double *timesteps = g_new(double, schedule->train + 2);
    int points = solver && spacing != RV_SPACING_TRAILING ? steps + 1 : steps, count = steps;
    for (int i = 0; i < steps; i++) {
        double t = spaced(spacing, schedule->train, steps, points, config->steps_offset, i);
        timesteps[i] = solver ? nearbyint(t) : (double)(float)t;
        sigmas[i] = interpolated_sigma(schedule, timesteps[i]);
    }
    if (config->log_linear && !solver) {
        double high = log((double)schedule->train_sigmas[schedule->train - 1]);
        double low = log((double)schedule->train_sigmas[0]);
        for (int i = 0; i < steps; i++)
            sigmas[i] = exp(high + (low - high) * i / steps);
    }
    double final = config->final_sigma_min ? (double)schedule->train_sigmas[0] : 0;
    if (!is_spacing(kind)) {
        /* Euler and its kin span the sigmas of the spaced timesteps, solvers the whole table. */
        double low = solver ? (double)schedule->train_sigmas[0] : sigmas[steps - 1];
        double high = solver ? (double)schedule->train_sigmas[schedule->train - 1] : sigmas[0];
        low = config->sigma_min > 0 ? config->sigma_min : low;
        high = config->sigma_max > 0 ? config->sigma_max : high;
        count = rv_schedule_formula(schedule, config, kind, steps, low, high, sigmas);
        for (int i = 0; i < count; i++)
            timesteps[i] = told_timestep(config, sampler, kind, rv_schedule_timestep(schedule, sigmas[i]));
    }
    rv_schedule_reserve(schedule, count, false);
    for (int i = 0; i < count; i++) {
        schedule->timesteps[i] = timesteps[i];
        schedule->sigmas[i] = (float)sigmas[i];
    }
    schedule->sigmas[count] = (float) final;
    schedule->variance_preserving = solver;
    double most = 0;
    for (int i = 0; i < count; i++)
        most = MAX(most, (double)schedule->sigmas[i]);
    if (!solver)
        schedule->init_noise_sigma = spacing == RV_SPACING_LEADING ? sqrt(most * most + 1) : most;
}

/* LCM takes `steps` of the distilled model's own 50. */
static bool
lcm_timesteps(RvSchedule *schedule, const RvSchedulerConfig *config, int steps, GError **error)
{
    int known = config->original_inference_steps;
    if (known < 1 || known > schedule->train || steps > known)
        return rv_error_set(error, RV_ERROR_USAGE, "steps", "choose fewer", "LCM takes at most %d steps",
                            known);
    int stride = schedule->train / known;
    rv_schedule_reserve(schedule, steps, true);
    for (int i = 0; i < steps; i++) {
        int skipped = (int)floor((double)i * ((double)known / steps));
        schedule->timesteps[i] = (known - skipped) * stride - 1;
    }
    return true;
}

/* PNDM without its Runge-Kutta start evaluates its second timestep twice. */
static void
pndm_timesteps(RvSchedule *schedule, const RvSchedulerConfig *config, RvSpacing spacing, int steps)
{
    int train = schedule->train;
    rv_schedule_reserve(schedule, steps == 1 ? 1 : steps + 1, true);
    for (int i = 0; i < schedule->count; i++) {
        int place = i < 2 ? i : i - 1;
        schedule->timesteps[i] = nearbyint(spaced(spacing, train, steps, steps, config->steps_offset, place));
    }
}

static bool
alpha_schedule(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
               RvScheduleKind kind, int steps, GError **error)
{
    if (!is_spacing(kind_of(config, kind)))
        return rv_error_set(error, RV_ERROR_USAGE, rv_sampler_info(sampler)->name,
                            "use automatic, leading, trailing or linspace",
                            "this sampler cannot follow the schedule %s", rv_schedule_info(kind)->name);
    RvSpacing spacing = spacing_of(config, sampler, kind);
    int train = schedule->train;
    if (sampler == RV_SAMPLER_LCM) {
        if (!lcm_timesteps(schedule, config, steps, error))
            return false;
    } else if (sampler == RV_SAMPLER_PNDM) {
        pndm_timesteps(schedule, config, spacing, steps);
    } else {
        rv_schedule_reserve(schedule, steps, true);
        for (int i = 0; i < steps; i++)
            schedule->timesteps[i] = nearbyint(spaced(spacing, train, steps, steps, config->steps_offset, i));
    }
    bool to_one = config->set_alpha_to_one < 0 ? sampler != RV_SAMPLER_PNDM : config->set_alpha_to_one != 0;
    double final = to_one || sampler == RV_SAMPLER_DDPM ? 1 : (double)schedule->train_alphas[0];
    for (int i = 0; i < schedule->count; i++) {
        int here = CLAMP((int)schedule->timesteps[i], 0, train - 1), next = here - train / steps;
        if (sampler == RV_SAMPLER_LCM)
            next = i + 1 < steps ? (int)schedule->timesteps[i + 1] : here;
        schedule->timesteps[i] = here;
        schedule->alphas[i] = (double)schedule->train_alphas[here];
        schedule->next_alphas[i] = next >= 0 ? (double)schedule->train_alphas[next] : final;
    }
    schedule->variance_preserving = true;
    return true;
}

bool
rv_schedule_diffusers(RvSchedule *schedule, const RvSchedulerConfig *config, RvSamplerKind sampler,
                      RvScheduleKind kind, int steps, GError **error)
{
    if (rv_sampler_is_alpha(sampler))
        return alpha_schedule(schedule, config, sampler, kind, steps, error);
    sigma_schedule(schedule, config, sampler, kind, steps);
    return true;
}
