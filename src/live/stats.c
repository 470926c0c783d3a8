/* stats.c - what is told about sessions and devices. */
#include "live/internal.h"

#include <string.h>

void
rv_counters_add(RvLiveCounters *sum, const RvLiveCounters *counters)
{
    sum->pushed += counters->pushed;
    sum->shown += counters->shown;
    sum->dropped += counters->dropped;
    sum->late += counters->late;
    sum->failed += counters->failed;
    sum->held += counters->held;
}

static double
pushes_per_second(const RvLiveSession *session, gint64 now)
{
    gint64 into = now - session->second_us;
    if (into >= 2 * G_USEC_PER_SEC)
        return 0;
    if (into >= G_USEC_PER_SEC)
        return session->pushes_now * (2.0 - (double)into / G_USEC_PER_SEC);
    return session->pushes_now + session->pushes_before * (1.0 - (double)into / G_USEC_PER_SEC);
}

static void
count_entries(const RvLiveSession *session, RvLiveSessionStats *stats)
{
    for (int i = 0; i < session->count; i++) {
        RvEntryState state = session->entries[(session->first + i) % RV_LIVE_WINDOW].state;
        if (state == RV_ENTRY_WORKING)
            stats->in_work++;
        else
            stats->waiting++;
    }
}

void
rv_live_session_stats(const RvLiveSession *session, RvLiveSessionStats *stats)
{
    gint64 now = rv_clock_now(session->live->clock), since = now - RV_STATS_SPAN_US;
    memset(stats, 0, sizeof *stats);
    stats->name = session->name;
    stats->counters = session->counters;
    rv_samples_quantiles(&session->samples, RV_COLUMN_AGE, since, &stats->age);
    rv_samples_quantiles(&session->samples, RV_COLUMN_INTERVAL, since, &stats->interval);
    for (int i = 0; i < RV_STAGE_COUNT; i++)
        rv_samples_quantiles(&session->samples, RV_COLUMN_STAGE + i, since, &stats->stage[i]);
    stats->service = stats->stage[RV_STAGE_SERVICE];
    stats->fps_in = pushes_per_second(session, now);
    stats->fps_shown = rv_samples_count_since(&session->samples, now - G_USEC_PER_SEC + 1);
    stats->device_us = session->device_us;
    count_entries(session, stats);
}

void
rv_live_device_stats(const RvLiveDevice *device, RvLiveDeviceStats *stats)
{
    gint64 since = rv_clock_now(device->live->clock) - RV_STATS_SPAN_US;
    memset(stats, 0, sizeof *stats);
    stats->name = device->name;
    stats->state = device->state;
    rv_samples_quantiles(&device->samples, 0, since, &stats->service);
    stats->served = device->served;
    stats->failed = device->failed;
    stats->late_answers = device->late_answers;
    stats->taken_out = device->taken_out;
    stats->brought_back = device->brought_back;
    stats->busy_us = device->busy_us;
    stats->in_work = (int)device->jobs.length;
    stats->last_error = device->last_error;
}

void
rv_live_counters(const RvLive *live, RvLiveCounters *counters)
{
    *counters = live->closed;
    for (guint i = 0; i < live->sessions->len; i++)
        rv_counters_add(counters, &((const RvLiveSession *)live->sessions->pdata[i])->counters);
}

int
rv_live_working_devices(const RvLive *live)
{
    int working = 0;
    for (guint i = 0; i < live->devices->len; i++) {
        const RvLiveDevice *device = live->devices->pdata[i];
        working += !device->is_removed && device->state == RV_LIVE_DEVICE_WORKING;
    }
    return working;
}

void
rv_live_foreach_session(RvLive *live, void (*func)(RvLiveSession *session, void *data), void *data)
{
    for (guint i = 0; i < live->sessions->len; i++) {
        RvLiveSession *session = live->sessions->pdata[i];
        if (!session->is_closed)
            func(session, data);
    }
}

void
rv_live_foreach_device(RvLive *live, void (*func)(RvLiveDevice *device, void *data), void *data)
{
    for (guint i = 0; i < live->devices->len; i++) {
        RvLiveDevice *device = live->devices->pdata[i];
        if (!device->is_removed)
            func(device, data);
    }
}
