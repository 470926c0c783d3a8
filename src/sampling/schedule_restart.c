/* Restart sampling (Xu et al. 2023), with the A1111 web UI's choice of where to go back and how often. */
#include "sampling/schedule_internal.h"
#include <math.h>

static void
append_karras(GArray *levels, int count, double low, double high)
{
    for (int i = 0; i < count; i++) {
        double at = count == 1 ? 0 : (double)i / (count - 1);
        float sigma = (float)pow(pow(high, 1 / 7.0) + at * (pow(low, 1 / 7.0) - pow(high, 1 / 7.0)), 7);
        g_array_append_val(levels, sigma);
    }
}

static guint
nearest(const GArray *levels, double wanted)
{
    guint best = 0;
    for (guint i = 1; i < levels->len; i++)
        if (fabs((double)g_array_index(levels, float, i) - wanted) <
            fabs((double)g_array_index(levels, float, best) - wanted))
            best = i;
    return best;
}

static void
replace_levels(RvSchedule *schedule, int first, const GArray *levels)
{
    int count = first + (int)levels->len - 1;
    float *sigmas = g_new(float, count + 1);
    double *timesteps = g_new0(double, count + 1);
    for (int i = 0; i <= count; i++)
        sigmas[i] = i < first ? schedule->sigmas[i] : g_array_index(levels, float, i - first);
    for (int i = 0; i < count; i++)
        timesteps[i] = rv_schedule_timestep(schedule, (double)sigmas[i]);
    g_free(schedule->sigmas);
    g_free(schedule->timesteps);
    schedule->sigmas = sigmas;
    schedule->timesteps = timesteps;
    schedule->count = count;
}

void
rv_schedule_restart(RvSchedule *schedule, int first)
{
    int steps = schedule->count - first;
    if (steps < 20)
        return;
    int back = steps >= 36 ? steps / 4 : 9, times = steps >= 36 ? 2 : 1;
    const float *old = schedule->sigmas + first;
    g_autoptr(GArray) plain = g_array_new(FALSE, FALSE, sizeof(float));
    g_autoptr(GArray) levels = g_array_new(FALSE, FALSE, sizeof(float));
    append_karras(plain, steps - back * times, (double)old[steps - 1], (double)old[0]);
    float zero = 0;
    g_array_append_val(plain, zero);
    guint low = nearest(plain, 0.1), high = nearest(plain, 2);
    for (guint i = 0; i < plain->len; i++) {
        g_array_append_val(levels, g_array_index(plain, float, i));
        for (int t = 0; i == low && high < low && t < times; t++)
            append_karras(levels, back + 1, (double)g_array_index(plain, float, low),
                          (double)g_array_index(plain, float, high));
    }
    replace_levels(schedule, first, levels);
}
