/* job.c - jobs and the inbox through which their answers reach the loop. */
#include "live/internal.h"

/* Shared by the scheduler and all jobs, so that an answer may come after the scheduler is gone. */
struct RvInbox {
    gatomicrefcount references;
    GMutex mutex;
    GQueue answered; /* RvLiveJob */
    RvClock *clock;  /* NULL: closed */
    RvAlarm *alarm;
};

static void
inbox_unref(RvInbox *inbox)
{
    if (!g_atomic_ref_count_dec(&inbox->references))
        return;
    g_mutex_clear(&inbox->mutex);
    g_free(inbox);
}

RvInbox *
rv_inbox_new(RvClock *clock, RvAlarm *alarm)
{
    RvInbox *inbox = g_new0(RvInbox, 1);
    g_atomic_ref_count_init(&inbox->references);
    g_mutex_init(&inbox->mutex);
    g_queue_init(&inbox->answered);
    inbox->clock = clock;
    inbox->alarm = alarm;
    return inbox;
}

void
rv_inbox_close_and_unref(RvInbox *inbox)
{
    g_mutex_lock(&inbox->mutex);
    inbox->clock = NULL;
    inbox->alarm = NULL;
    g_mutex_unlock(&inbox->mutex);
    for (RvLiveJob *job; (job = rv_inbox_take(inbox)) != NULL;)
        rv_job_unref(job);
    inbox_unref(inbox);
}

RvLiveJob *
rv_inbox_take(RvInbox *inbox)
{
    g_mutex_lock(&inbox->mutex);
    RvLiveJob *job = g_queue_pop_head(&inbox->answered);
    g_mutex_unlock(&inbox->mutex);
    return job;
}

RvLiveJob *
rv_job_new(RvInbox *inbox, RvFrame *frame, void *user_data)
{
    RvLiveJob *job = g_new0(RvLiveJob, 1);
    g_atomic_ref_count_init(&job->references);
    g_atomic_ref_count_inc(&job->references);
    g_atomic_ref_count_inc(&inbox->references);
    job->inbox = inbox;
    job->frame = frame != NULL ? rv_frame_ref(frame) : NULL;
    job->user_data = user_data;
    return job;
}

void
rv_job_unref(RvLiveJob *job)
{
    if (!g_atomic_ref_count_dec(&job->references))
        return;
    rv_frame_unref(job->frame);
    rv_frame_unref(job->result);
    g_clear_error(&job->error);
    inbox_unref(job->inbox);
    g_free(job);
}

void
rv_job_give_up(RvLiveJob *job)
{
    g_atomic_int_set(&job->given_up, 1);
}

/* With the inbox locked. */
static void
end_waiting(RvLiveJob *job, gint64 now)
{
    if (job->waits_since_us != 0)
        job->waited_us += now - job->waits_since_us;
    job->waits_since_us = 0;
}

void
rv_live_job_set_waiting(RvLiveJob *job, bool is_waiting)
{
    RvInbox *inbox = job->inbox;
    g_mutex_lock(&inbox->mutex);
    if (inbox->clock != NULL) {
        gint64 now = rv_clock_now(inbox->clock);
        end_waiting(job, now);
        job->waits_since_us = is_waiting ? now : 0;
    }
    g_mutex_unlock(&inbox->mutex);
}

gint64
rv_job_waited(RvLiveJob *job, bool *is_waiting)
{
    RvInbox *inbox = job->inbox;
    g_mutex_lock(&inbox->mutex);
    gint64 waited_us = job->waited_us;
    bool waits = job->waits_since_us != 0;
    if (waits)
        waited_us += rv_clock_now(inbox->clock) - job->waits_since_us;
    g_mutex_unlock(&inbox->mutex);
    if (is_waiting != NULL)
        *is_waiting = waits;
    return waited_us;
}

void
rv_live_device_done(RvLiveJob *job, RvFrame *result, GError *error)
{
    bool is_first = g_atomic_int_compare_and_exchange(&job->answered, 0, 1);
    g_assert(is_first);
    g_assert(result == NULL || error == NULL);
    g_assert(job->frame == NULL || result != NULL || error != NULL);
    RvInbox *inbox = job->inbox;
    job->result = result;
    job->error = error;
    g_mutex_lock(&inbox->mutex);
    bool is_open = inbox->clock != NULL;
    if (is_open) {
        job->answered_us = rv_clock_now(inbox->clock);
        end_waiting(job, job->answered_us);
        g_queue_push_tail(&inbox->answered, job);
        rv_alarm_wake(inbox->alarm);
    }
    g_mutex_unlock(&inbox->mutex);
    if (!is_open)
        rv_job_unref(job);
}

RvFrame *
rv_live_job_frame(const RvLiveJob *job)
{
    return job->frame;
}

bool
rv_live_job_is_given_up(const RvLiveJob *job)
{
    return g_atomic_int_get(&job->given_up) != 0;
}

void *
rv_live_job_user_data(const RvLiveJob *job)
{
    return job->user_data;
}
