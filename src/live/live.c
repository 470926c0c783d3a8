/* live.c - the scheduler's life and its pump. */
#include "live/internal.h"

static void
on_alarm(void *data)
{
    rv_live_pump(data);
}

RvLive *
rv_live_new(RvClock *clock, const RvLiveOptions *options)
{
    RvLive *live = g_new0(RvLive, 1);
    live->clock = clock;
    if (options != NULL)
        live->options = *options;
    RvLiveOptions *o = &live->options;
    o->max_sessions = o->max_sessions > 0 ? o->max_sessions : 64;
    o->hang_us = o->hang_us > 0 ? o->hang_us : G_USEC_PER_SEC;
    o->probe_first_us = o->probe_first_us > 0 ? o->probe_first_us : G_USEC_PER_SEC / 4;
    o->probe_most_us = o->probe_most_us > 0 ? o->probe_most_us : 30 * G_USEC_PER_SEC;
    live->sessions = g_ptr_array_new_with_free_func((GDestroyNotify)rv_session_free);
    live->devices = g_ptr_array_new_with_free_func((GDestroyNotify)rv_device_free);
    live->alarm = rv_alarm_new(clock, on_alarm, live);
    live->inbox = rv_inbox_new(clock, live->alarm);
    return live;
}

void
rv_live_free(RvLive *live)
{
    if (live == NULL)
        return;
    g_assert(!live->is_pumping);
    while (live->sessions->len > 0)
        rv_live_session_close(live->sessions->pdata[0]);
    while (live->devices->len > 0)
        rv_live_remove_device(live->devices->pdata[0]);
    rv_inbox_close_and_unref(live->inbox);
    rv_alarm_free(live->alarm);
    g_ptr_array_unref(live->sessions);
    g_ptr_array_unref(live->devices);
    g_free(live);
}

void
rv_live_wake_at(RvLive *live, gint64 time_us)
{
    live->wake_us = MIN(live->wake_us, time_us);
}

static void
take_answers(RvLive *live)
{
    for (RvLiveJob *job; (job = rv_inbox_take(live->inbox)) != NULL; rv_job_unref(job)) {
        if (job->device == NULL)
            continue;
        gint64 service_us = rv_device_answered(job->device, job);
        if (job->session == NULL)
            continue;
        rv_dispatch_settle(job->session, job, service_us);
        rv_order_settle(job, g_steal_pointer(&job->result));
    }
}

static void
purge(RvLive *live)
{
    for (guint i = live->sessions->len; i-- > 0;) {
        RvLiveSession *session = live->sessions->pdata[i];
        if (!session->is_closed)
            continue;
        rv_counters_add(&live->closed, &session->counters);
        g_ptr_array_remove_index(live->sessions, i);
    }
    for (guint i = live->devices->len; i-- > 0;) {
        if (((const RvLiveDevice *)live->devices->pdata[i])->is_removed)
            g_ptr_array_remove_index(live->devices, i);
    }
}

/* Callbacks that change something while it runs make it run again. */
void
rv_live_pump(RvLive *live)
{
    live->pump_again = true;
    if (live->is_pumping)
        return;
    live->is_pumping = true;
    while (live->pump_again) {
        live->pump_again = false;
        live->wake_us = RV_NEVER;
        take_answers(live);
        for (guint i = 0; i < live->devices->len; i++)
            rv_device_check(live->devices->pdata[i]);
        for (guint i = 0; i < live->sessions->len; i++)
            rv_order_release(live->sessions->pdata[i]);
        rv_dispatch(live);
    }
    live->is_pumping = false;
    purge(live);
    rv_alarm_set(live->alarm, live->wake_us);
}
