/* dispatch.c - which session's frame goes to which device, and when.
 *
 * Start-time fair queueing over device time: a session's start tag is its virtual time, which advances by the
 * time served divided by its weight; the smallest tag goes first. The time is charged as the device's median
 * when a frame starts and put right when it is answered. */
#include "live/internal.h"

#define RETRY_SLOW_US (2 * G_USEC_PER_SEC) /* a device too slow to be of use is tried again after this */

void
rv_dispatch_activate(RvLiveSession *session)
{
    session->virtual_time = MAX(session->virtual_time, session->live->virtual_time);
}

static void
charge(RvLiveSession *session, gint64 service_us)
{
    session->virtual_time += (double)service_us / session->options.weight;
    session->device_us += service_us;
}

void
rv_dispatch_settle(RvLiveSession *session, const RvLiveJob *job, gint64 service_us)
{
    charge(session, service_us - job->charged_us);
}

static gint64
fastest_median(const RvLive *live)
{
    gint64 fastest = 0;
    for (guint i = 0; i < live->devices->len; i++) {
        const RvLiveDevice *device = live->devices->pdata[i];
        gint64 median = rv_recent_p50(&device->recent);
        if (device->is_removed || device->state != RV_LIVE_DEVICE_WORKING || median == 0)
            continue;
        fastest = fastest == 0 ? median : MIN(fastest, median);
    }
    return fastest;
}

/* A frame on a device that takes two intervals longer than the fastest would be overtaken by the next frame
 * and given up; such a device is only asked now and then whether that is still so. */
static bool
is_too_slow(const RvLiveSession *session, const RvLiveDevice *device, gint64 fastest, gint64 now)
{
    gint64 median = rv_recent_p50(&device->recent);
    gint64 interval = MAX(rv_pace_interval(session), session->push_interval_us);
    return fastest > 0 && interval > 0 && median > fastest + 2 * interval &&
           now - MAX(device->last_sample_us, device->last_start_us) < RETRY_SLOW_US;
}

/* A further frame on a busy device is there to hide uploads and decoding: before half the time of the one in
 * work it would only age. */
static gint64
device_grab_time(const RvLiveDevice *device)
{
    const RvLiveJob *head = device->jobs.head != NULL ? device->jobs.head->data : NULL;
    return head == NULL ? G_MININT64
                        : MAX(head->started_us, device->last_answer_us) + rv_recent_p50(&device->recent) / 2;
}

/* The device that will have a frame done first; of equals the one idle for longest. */
static RvLiveDevice *
next_device(const RvLiveSession *session, gint64 now)
{
    RvLive *live = session->live;
    gint64 fastest = fastest_median(live), best_done = 0;
    RvLiveDevice *best = NULL;
    for (guint i = 0; i < live->devices->len; i++) {
        RvLiveDevice *device = live->devices->pdata[i];
        if (!rv_device_has_credit(device) || is_too_slow(session, device, fastest, now))
            continue;
        gint64 grab = device_grab_time(device);
        if (grab > now) {
            rv_live_wake_at(live, grab);
            continue;
        }
        /* In eighths of the fastest: smaller differences are chance. */
        gint64 step = MAX(fastest / 8, 1);
        gint64 done = rv_recent_p50(&device->recent) * (device->jobs.length + 1) / step;
        if (best == NULL || done < best_done ||
            (done == best_done && device->last_start_us < best->last_start_us)) {
            best = device;
            best_done = done;
        }
    }
    return best;
}

static void
start(RvLiveSession *session, RvLiveDevice *device)
{
    RvLive *live = session->live;
    gint64 now = rv_clock_now(live->clock);
    g_autoptr(RvFrame) frame = g_steal_pointer(&session->mailbox);
    RvLiveJob *job = rv_job_new(live->inbox, frame, session->options.user_data);
    job->session = session;
    job->started_us = now;
    job->charged_us = rv_recent_p50(&device->recent);
    live->virtual_time = MAX(live->virtual_time, session->virtual_time);
    charge(session, job->charged_us);
    rv_order_append(session, frame, session->mailbox_us, job);
    rv_device_start(device, job);
}

/* Whether the session has a frame to start now. */
static bool
is_eager(const RvLiveSession *session, gint64 now)
{
    if (session->is_closed || session->is_blocked || session->mailbox == NULL ||
        session->count == RV_LIVE_WINDOW)
        return false;
    gint64 grab = rv_pace_grab_time(session);
    if (grab > now)
        rv_live_wake_at(session->live, grab);
    return grab <= now;
}

static bool
start_one(RvLive *live, gint64 now)
{
    RvLiveSession *best = NULL;
    RvLiveDevice *best_device = NULL;
    for (guint i = 0; i < live->sessions->len; i++) {
        RvLiveSession *session = live->sessions->pdata[i];
        if ((best != NULL && session->virtual_time >= best->virtual_time) || !is_eager(session, now))
            continue;
        RvLiveDevice *device = next_device(session, now);
        if (device == NULL)
            continue;
        best = session;
        best_device = device;
    }
    if (best != NULL)
        start(best, best_device);
    return best != NULL;
}

void
rv_dispatch(RvLive *live)
{
    gint64 now = rv_clock_now(live->clock);
    while (start_one(live, now)) {
    }
}
