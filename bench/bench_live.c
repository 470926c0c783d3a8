/* bench_live.c - the frame scheduler on simulated devices and a virtual clock, beside the queue rules of
 * other projects on the same traces. Prints Markdown tables; nothing depends on the machine's speed. */
#include "live/live.h"
#include "live/simulated_device.h"
#include "live_trace.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct {
    const LiveTrace *trace;
    GArray *shows; /* LiveShow */
    RvClock *clock;
} Run;

static RvSimulatedService
service_of(const RvFrame *frame, void *data)
{
    const LiveTrace *trace = data;
    if (frame == NULL)
        return (RvSimulatedService) { .service_us = 1000 };
    return (RvSimulatedService) { .service_us = trace->service_us[frame->sequence],
                                  .is_error = trace->is_lost[frame->sequence],
                                  .error = RV_ERROR_INVALID };
}

static void
on_show(RvLiveSession *session, RvFrame *result, void *user_data)
{
    Run *run = user_data;
    live_show_add(run->shows, (int)result->sequence, rv_clock_now(run->clock));
}

static RvLive *
new_live(RvClock *clock, const LiveTrace *trace, int devices)
{
    RvLive *live = rv_live_new(clock, NULL);
    for (int i = 0; i < devices; i++) {
        RvSimulatedDevice *device = rv_simulated_device_new(clock, service_of, (void *)trace);
        rv_live_add_device(live, &rv_simulated_device_class, device, NULL);
    }
    return live;
}

static void
run_reverie(const LiveTrace *trace, int devices, RvPace pace, gint64 budget_us, GArray *shows)
{
    RvClock *clock = rv_clock_new_virtual(0);
    RvLive *live = new_live(clock, trace, devices);
    Run run = { trace, shows, clock };
    RvLiveSessionOptions options = {
        .pace = pace, .budget_us = budget_us, .on_show = on_show, .user_data = &run
    };
    RvLiveSession *session = rv_live_session_new(live, &options, NULL);
    for (int i = 0; i < trace->frames; i++) {
        rv_clock_virtual_run(clock, trace->arrival_us[i]);
        RvFrame *frame = rv_frame_new(NULL, 0, NULL);
        frame->sequence = (guint64)i;
        rv_live_session_push(session, frame);
    }
    rv_clock_virtual_run(clock, trace->arrival_us[trace->frames - 1] + 5 * G_USEC_PER_SEC);
    rv_live_free(live);
    rv_clock_free(clock);
}

static int
compare_times(const void *a, const void *b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank, in milliseconds; sorts. */
static double
quantile(GArray *values, double share)
{
    if (values->len == 0)
        return 0;
    g_array_sort(values, compare_times);
    guint rank = (guint)(share * values->len + 0.999999);
    return (double)g_array_index(values, gint64, CLAMP(rank, 1, values->len) - 1) / 1000;
}

/* How much older than the median the first frame after a lost one is. */
static double
delay_after_loss(const LiveTrace *trace, const GArray *shows, double median_ms)
{
    double most = 0;
    for (guint i = 1; i < shows->len; i++) {
        LiveShow show = g_array_index(shows, LiveShow, i), before = g_array_index(shows, LiveShow, i - 1);
        bool is_after_loss = false;
        for (int frame = before.frame + 1; frame < show.frame; frame++)
            is_after_loss |= trace->is_lost[frame];
        if (is_after_loss)
            most = MAX(most, (double)(show.time_us - trace->arrival_us[show.frame]) / 1000 - median_ms);
    }
    return most;
}

static void
print_row(const LiveScenario *scenario, const char *policy, const LiveTrace *trace, const GArray *shows)
{
    g_autoptr(GArray) ages = g_array_new(FALSE, FALSE, sizeof(gint64));
    g_autoptr(GArray) intervals = g_array_new(FALSE, FALSE, sizeof(gint64));
    int out_of_order = 0, newest = -1;
    for (guint i = 0; i < shows->len; i++) {
        LiveShow show = g_array_index(shows, LiveShow, i);
        gint64 age = show.time_us - trace->arrival_us[show.frame];
        g_array_append_val(ages, age);
        out_of_order += show.frame <= newest;
        newest = MAX(newest, show.frame);
        if (i > 0) {
            gint64 interval = show.time_us - g_array_index(shows, LiveShow, i - 1).time_us;
            g_array_append_val(intervals, interval);
        }
    }
    gint64 span = trace->arrival_us[trace->frames - 1] - trace->arrival_us[0];
    double median = quantile(ages, 0.5);
    printf("| %s | %s | %.0f | %.0f | %.0f | %.0f | %.1f | %.0f | %.0f | %.0f | %d | ", scenario->name,
           policy, median, quantile(ages, 0.95), quantile(ages, 0.99), quantile(ages, 1),
           shows->len * 1e6 / (double)span, quantile(intervals, 0.05), quantile(intervals, 0.5),
           quantile(intervals, 0.99), out_of_order);
    if (scenario->lost > 0)
        printf("%.0f |\n", delay_after_loss(trace, shows, median));
    else
        printf("- |\n");
}

static void
print_scenario(const LiveScenario *scenario, int frames, guint32 seed)
{
    static const struct {
        const char *name;
        RvPace pace;
        gint64 budget_us;
    } paces[] = { { "reverie off", RV_PACE_OFF, 0 },
                  { "reverie smooth", RV_PACE_SMOOTH, 0 },
                  { "reverie latency-budget 60", RV_PACE_BUDGET, 60000 } };
    LiveTrace *trace = live_trace_new(scenario, frames, seed);
    GArray *shows = g_array_new(FALSE, FALSE, sizeof(LiveShow));
    for (guint i = 0; i < G_N_ELEMENTS(paces); i++) {
        g_array_set_size(shows, 0);
        run_reverie(trace, scenario->devices, paces[i].pace, paces[i].budget_us, shows);
        print_row(scenario, paces[i].name, trace, shows);
    }
    g_array_set_size(shows, 0);
    live_reference_heap(trace, scenario->devices, shows);
    print_row(scenario, "heap of two", trace, shows);
    g_array_set_size(shows, 0);
    live_reference_cursor(trace, scenario->devices, shows);
    print_row(scenario, "batch of four, cursor", trace, shows);
    g_array_unref(shows);
    live_trace_free(trace);
}

/* Sessions that all push 30 frames a second at two devices of 40 ms (50 frames a second). */
static void
print_fairness(int frames, guint32 seed)
{
    static const double weights[] = { 1, 1, 2, 4 };
    LiveScenario scenario = { .fps = 30, .devices = 2, .service_ms = 40 };
    LiveTrace *trace = live_trace_new(&scenario, frames, seed);
    RvClock *clock = rv_clock_new_virtual(0);
    RvLive *live = new_live(clock, trace, scenario.devices);
    RvLiveSession *sessions[G_N_ELEMENTS(weights)];
    for (guint i = 0; i < G_N_ELEMENTS(weights); i++) {
        RvLiveSessionOptions options = { .weight = weights[i] };
        sessions[i] = rv_live_session_new(live, &options, NULL);
    }
    for (int i = 0; i < frames; i++) {
        for (guint s = 0; s < G_N_ELEMENTS(weights); s++) {
            rv_clock_virtual_run(clock, trace->arrival_us[i] + 7000 * (gint64)s);
            RvFrame *frame = rv_frame_new(NULL, 0, NULL);
            frame->sequence = (guint64)i;
            rv_live_session_push(sessions[s], frame);
        }
    }
    double seconds = frames / scenario.fps;
    printf(
        "\n| weight | frames/s | share of device time | age p50 | p99 | max |\n|---|---|---|---|---|---|\n");
    for (guint i = 0; i < G_N_ELEMENTS(weights); i++) {
        RvLiveSessionStats stats;
        rv_live_session_stats(sessions[i], &stats);
        printf("| %.0f | %.1f | %.1f %% | %.0f | %.0f | %.0f |\n", weights[i],
               (double)stats.counters.shown / seconds, (double)stats.device_us / (seconds * 2e4),
               (double)stats.age.p50 / 1000, (double)stats.age.p99 / 1000, (double)stats.age.max / 1000);
    }
    rv_live_free(live);
    rv_clock_free(clock);
    live_trace_free(trace);
}

int
main(int argc, char **argv)
{
    static const LiveScenario scenarios[] = {
        { "30 fps, 1 x 31 ms", 30, 0, 1, 31, SERVICE_JITTER, 0 },
        { "30 fps, 1 x 40 ms", 30, 0, 1, 40, SERVICE_JITTER, 0 },
        { "30 fps, 2 x 40 ms", 30, 0, 2, 40, SERVICE_JITTER, 0 },
        { "30 fps, 4 x 80 ms", 30, 0, 4, 80, SERVICE_JITTER, 0 },
        { "30 fps, 8 x 160 ms", 30, 0, 8, 160, SERVICE_JITTER, 0 },
        { "60 fps, 2 x 40 ms", 60, 0, 2, 40, SERVICE_JITTER, 0 },
        { "30 fps +- 5 ms, 2 x 40 ms", 30, 5, 2, 40, SERVICE_JITTER, 0 },
        { "30 fps, 2 x 40 ms, heavy tail", 30, 0, 2, 40, SERVICE_HEAVY_TAIL, 0 },
        { "30 fps, 2 x 40 ms, stalls", 30, 0, 2, 40, SERVICE_STALLS, 0 },
        { "30 fps, 2 x 40 ms, 2 % lost", 30, 0, 2, 40, SERVICE_JITTER, 0.02 },
        { "30 fps, 4 x 80 ms, 2 % lost", 30, 0, 4, 80, SERVICE_JITTER, 0.02 },
    };
    int frames = 20000, seed = 1;
    GOptionEntry entries[] = {
        { "frames", 0, 0, G_OPTION_ARG_INT, &frames, "frames of every scenario (20000)", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "of the traces (1)", "N" },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- frame scheduling, simulated");
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) error = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &error) || frames < 100 || argc > 1) {
        fprintf(stderr, "bench-live: %s\n", error != NULL ? error->message : "use --frames 100 or more");
        return 2;
    }
    printf(
        "| trace | policy | age p50 | p95 | p99 | max | shown/s | interval p5 | p50 | p99 | out of order | "
        "after a loss |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
    for (guint i = 0; i < G_N_ELEMENTS(scenarios); i++)
        print_scenario(&scenarios[i], frames, (guint32)seed);
    print_fairness(frames, (guint32)seed);
    return 0;
}
