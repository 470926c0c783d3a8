/* The schedules of k-diffusion and the A1111 web UI, as formulas over [sigma_min, sigma_max] or over the
 * training table. */
#include "sampling/schedule_internal.h"
#include <math.h>

/* Continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method. */
static double
beta_fraction(double x, double a, double b)
{
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < 1e-300 ? 1e-300 : d);
    double product = d;
    for (int m = 1; m < 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 / (1 + even * d), c = 1 + even / c;
        product *= d * c;
        d = 1 / (1 + odd * d), c = 1 + odd / c;
        product *= d * c;
        if (fabs(d * c - 1) < 1e-15)
            break;
    }
    return product;
}

static double
beta_distribution(double x, double a, double b)
{
    if (x <= 0 || x >= 1)
        return x <= 0 ? 0 : 1;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(x, a, b) / a
                                     : 1 - front * beta_fraction(1 - x, b, a) / b;
}

static double
beta_quantile(double probability, double a, double b)
{
    double low = 0, high = 1;
    for (int i = 0; i < 100; i++) {
        double middle = (low + high) / 2;
        if (beta_distribution(middle, a, b) < probability)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* Sabour et al. 2024, resampled to `steps` by straight lines in log sigma. */
static void
align_your_steps(bool is_sdxl, int steps, double *sigmas)
{
    static const double sd[] = {
        14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029
    };
    static const double xl[] = {
        14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029
    };
    const double *table = is_sdxl ? xl : sd;
    const int last = (int)G_N_ELEMENTS(sd) - 1;
    for (int i = 0; i < steps; i++) {
        double at = steps == 1 ? last : (double)i / (steps - 1) * last;
        int low = MIN((int)at, last - 1);
        double weight = at - low;
        sigmas[i] = exp((1 - weight) * log(table[low]) + weight * log(table[low + 1]));
    }
}

static double
ramp(int i, int steps)
{
    return steps == 1 ? 0 : (double)i / (steps - 1);
}

static double
one_sigma(const RvSchedule *schedule, RvScheduleKind kind, int i, int steps, double low, double high)
{
    double at = ramp(i, steps), train = schedule->train;
    double first = rv_schedule_timestep(schedule, high), last = rv_schedule_timestep(schedule, low);
    switch (kind) {
    case RV_SCHEDULE_KARRAS:
        return pow(pow(high, 1 / 7.0) + at * (pow(low, 1 / 7.0) - pow(high, 1 / 7.0)), 7);
    case RV_SCHEDULE_EXPONENTIAL:
    case RV_SCHEDULE_POLYEXPONENTIAL: /* with its default exponent of 1 */
        return exp(log(high) + at * (log(low) - log(high)));
    case RV_SCHEDULE_SGM_UNIFORM:
        return rv_schedule_sigma(schedule, first + (last - first) * i / steps);
    case RV_SCHEDULE_KL_OPTIMAL:
        return tan((double)i / steps * atan(low) + (1 - (double)i / steps) * atan(high));
    case RV_SCHEDULE_SIMPLE:
        return (double)schedule->train_sigmas[schedule->train - 1 - (int)(i * (train / steps))];
    case RV_SCHEDULE_BETA:
        return low + (high - low) * beta_quantile(1 - at, 0.6, 0.6);
    case RV_SCHEDULE_TURBO:
        return (double)schedule
            ->train_sigmas[CLAMP((int)nearbyint((steps - i) * train / steps - 1), 0, schedule->train - 1)];
    case RV_SCHEDULE_NORMAL:
        return rv_schedule_sigma(schedule, first + (last - first) * at);
    default: /* uniform */
        return rv_schedule_sigma(schedule, (train - 1) * (1 - at));
    }
}

int
rv_schedule_formula(const RvSchedule *schedule, const RvSchedulerConfig *config, RvScheduleKind kind,
                    int steps, double sigma_min, double sigma_max, double *sigmas)
{
    if (kind == RV_SCHEDULE_ALIGN_YOUR_STEPS) {
        align_your_steps(config->is_sdxl, steps, sigmas);
        return steps;
    }
    if (kind ==
        RV_SCHEDULE_DDIM) { /* every (train / steps)-th entry from the second on, which may be one more */
        int stride = MAX(schedule->train / steps, 1), count = 0;
        for (int i = 1; i < schedule->train; i += stride)
            count++;
        for (int i = 0; i < count; i++)
            sigmas[i] = (double)schedule->train_sigmas[1 + (count - 1 - i) * stride];
        return count;
    }
    for (int i = 0; i < steps; i++)
        sigmas[i] = one_sigma(schedule, kind, i, steps, sigma_min, sigma_max);
    return steps;
}
