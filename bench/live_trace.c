/* live_trace.c - random traces. */
#include "live_trace.h"

#include <math.h>

static double
normal(GRand *random)
{
    double u = 1 - g_rand_double(random), v = g_rand_double(random);
    return sqrt(-2 * log(u)) * cos(2 * G_PI * v);
}

/* Jitter: 3 % (standard deviation). Heavy tail: log-normal of 10 %, and one frame in fifty takes 2 to 5 times
 * as long. Stalls: jitter, and one frame in five hundred takes 0.5 s more. */
static gint64
service_time(const LiveScenario *scenario, GRand *random)
{
    double milliseconds = scenario->service_ms * MAX(0.85, 1 + 0.03 * normal(random));
    double chance = g_rand_double(random), size = g_rand_double(random);
    if (scenario->kind == SERVICE_HEAVY_TAIL) {
        milliseconds = scenario->service_ms * exp(0.1 * normal(random));
        if (chance < 0.02)
            milliseconds *= 2 + 3 * size;
    } else if (scenario->kind == SERVICE_STALLS && chance < 0.002) {
        milliseconds += 500;
    }
    return (gint64)(milliseconds * 1000);
}

LiveTrace *
live_trace_new(const LiveScenario *scenario, int frames, guint32 seed)
{
    LiveTrace *trace = g_new0(LiveTrace, 1);
    GRand *random = g_rand_new_with_seed(seed);
    trace->frames = frames;
    trace->arrival_us = g_new(gint64, frames);
    trace->service_us = g_new(gint64, frames);
    trace->is_lost = g_new(bool, frames);
    gint64 previous = 0;
    for (int i = 0; i < frames; i++) {
        double milliseconds =
            1000 + 1000.0 / scenario->fps * i + scenario->arrival_jitter_ms * normal(random);
        trace->arrival_us[i] = MAX((gint64)(milliseconds * 1000), previous + 1);
        previous = trace->arrival_us[i];
        trace->service_us[i] = service_time(scenario, random);
        trace->is_lost[i] = g_rand_double(random) < scenario->lost;
    }
    g_rand_free(random);
    return trace;
}

void
live_trace_free(LiveTrace *trace)
{
    g_free(trace->arrival_us);
    g_free(trace->service_us);
    g_free(trace->is_lost);
    g_free(trace);
}

void
live_show_add(GArray *shows, int frame, gint64 time_us)
{
    LiveShow show = { frame, time_us };
    g_array_append_val(shows, show);
}
