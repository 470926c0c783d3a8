/* device.c - one device: credit, hangs and failures, probes. */
#include "live/internal.h"

#include <string.h>

#define SAMPLES_OF_DEVICE 4096
#define MAX_CREDIT 4
#define ERRORS_TO_TAKE_OUT 3
#define MOST_WAIT_US \
    (120 * G_TIME_SPAN_SECOND) /* what waits longer for its device keeps nobody waiting any more */
#define GOOD_TO_FORGIVE 16     /* answers in a row after which pauses start short again */

RvLiveDevice *
rv_live_add_device(RvLive *live, const RvLiveDeviceClass *class, void *device,
                   const RvLiveDeviceOptions *options)
{
    static const RvLiveDeviceOptions defaults = { 0 };
    if (options == NULL)
        options = &defaults;
    RvLiveDevice *added = g_new0(RvLiveDevice, 1);
    added->live = live;
    added->class = class;
    added->device = device;
    added->name = g_strdup(options->name != NULL ? options->name : "device");
    added->credit = CLAMP(options->credit, 1, MAX_CREDIT);
    added->expected_us = MAX(options->expected_us, 0);
    added->pause_us = live->options.probe_first_us;
    g_queue_init(&added->jobs);
    rv_samples_init(&added->samples, 1, SAMPLES_OF_DEVICE);
    g_ptr_array_add(live->devices, added);
    rv_live_pump(live);
    return added;
}

void
rv_device_free(RvLiveDevice *device)
{
    rv_samples_finish(&device->samples);
    g_free(device->name);
    g_free(device->last_error);
    g_free(device);
}

bool
rv_device_has_credit(const RvLiveDevice *device)
{
    return !device->is_removed && device->state == RV_LIVE_DEVICE_WORKING &&
           (int)device->jobs.length < device->credit;
}

/* Since when the device has worked on `job`: jobs are answered in order. */
static gint64
working_since(const RvLiveDevice *device, const RvLiveJob *job)
{
    return MAX(job->started_us, device->last_answer_us);
}

static gint64
hang_limit(const RvLiveDevice *device)
{
    gint64 usual = MAX(rv_recent_p99(&device->recent), device->expected_us);
    return MAX(device->live->options.hang_us, 4 * usual);
}

void
rv_device_start(RvLiveDevice *device, RvLiveJob *job)
{
    job->device = device;
    job->started_us = rv_clock_now(device->live->clock);
    device->last_start_us = job->started_us;
    g_queue_push_tail(&device->jobs, job);
    if (job->frame == NULL)
        device->probe = job;
    rv_live_wake_at(device->live, job->started_us + hang_limit(device));
    device->class->start(device->device, job);
}

static void
give_up(RvLiveDevice *device, RvLiveJob *job)
{
    if (job->session != NULL)
        rv_order_settle(job, NULL);
    rv_job_give_up(job);
    job->is_overdue = true;
    if (device->class->cancel != NULL)
        device->class->cancel(device->device, job);
}

/* No frames until a probe is answered; the next is sent after a pause. */
static void
take_out(RvLiveDevice *device, const char *reason)
{
    g_free(device->last_error);
    device->last_error = g_strdup(reason);
    if (device->state == RV_LIVE_DEVICE_WORKING) {
        device->taken_out++;
        g_warning("%s is taken out (%s): it will be probed", device->name, reason);
    }
    device->state = RV_LIVE_DEVICE_OUT;
    device->good_in_a_row = 0;
    device->probe_us = rv_clock_now(device->live->clock) + device->pause_us;
    device->pause_us = MIN(2 * device->pause_us, device->live->options.probe_most_us);
    for (GList *link = device->jobs.head; link != NULL;) {
        RvLiveJob *job = link->data;
        link = link->next;
        if (!job->is_overdue)
            give_up(device, job);
    }
}

static void
bring_back(RvLiveDevice *device)
{
    device->state = RV_LIVE_DEVICE_WORKING;
    device->brought_back++;
    device->errors_in_a_row = 0;
    g_message("%s works again", device->name);
}

static bool
blames_frame(const GError *error)
{
    return g_error_matches(error, RV_ERROR, RV_ERROR_INVALID) ||
           g_error_matches(error, RV_ERROR, RV_ERROR_UNSUPPORTED) ||
           g_error_matches(error, RV_ERROR, RV_ERROR_CANCELLED);
}

static bool
blames_device(const GError *error)
{
    return g_error_matches(error, RV_ERROR, RV_ERROR_DEVICE) ||
           g_error_matches(error, RV_ERROR, RV_ERROR_NO_MEMORY);
}

static void
note_error(RvLiveDevice *device, const RvLiveJob *job)
{
    device->failed++;
    device->good_in_a_row = 0;
    if (blames_frame(job->error))
        return;
    device->errors_in_a_row++;
    bool is_bad = blames_device(job->error) || device->errors_in_a_row >= ERRORS_TO_TAKE_OUT;
    if (device->state == RV_LIVE_DEVICE_WORKING && is_bad) {
        take_out(device, job->error->message);
    } else {
        g_free(device->last_error);
        device->last_error = g_strdup(job->error->message);
    }
}

static void
note_result(RvLiveDevice *device, const RvLiveJob *job, gint64 service_us)
{
    /* The time of a job that was overdue counts, so that a device which became slow for good is understood,
     * but no more than what was patience with it: one stall must not buy long patience. */
    gint64 sample = job->is_overdue ? MIN(service_us, hang_limit(device)) : service_us;
    gint64 now = rv_clock_now(device->live->clock);
    rv_recent_add(&device->recent, sample);
    rv_samples_add(&device->samples, now, &service_us);
    device->last_sample_us = now;
    device->errors_in_a_row = 0;
    if (++device->good_in_a_row >= GOOD_TO_FORGIVE)
        device->pause_us = device->live->options.probe_first_us;
    if (!job->is_overdue)
        device->served++;
}

/* A device that is out has answered something. */
static void
note_sign_of_life(RvLiveDevice *device, const RvLiveJob *job)
{
    bool is_probe = job->frame == NULL;
    if (job->error == NULL && is_probe)
        bring_back(device);
    else if (job->error == NULL)
        device->probe_us = rv_clock_now(device->live->clock);
    else if (is_probe && device->state == RV_LIVE_DEVICE_PROBING)
        take_out(device, job->error->message);
}

gint64
rv_device_answered(RvLiveDevice *device, RvLiveJob *job)
{
    gint64 service_us = MAX(job->answered_us - working_since(device, job) - rv_job_waited(job, NULL), 0);
    bool is_probe = job->frame == NULL;
    bool was_working = device->state == RV_LIVE_DEVICE_WORKING;
    g_queue_remove(&device->jobs, job);
    if (device->probe == job)
        device->probe = NULL;
    device->last_answer_us = MAX(device->last_answer_us, job->answered_us);
    if (job->is_overdue)
        device->late_answers++;
    if (!is_probe) {
        device->busy_us += service_us;
        if (job->error == NULL)
            note_result(device, job, service_us);
        else if (!job->is_overdue)
            note_error(device, job);
    }
    if (!was_working)
        note_sign_of_life(device, job);
    rv_job_unref(job); /* the queue's; the caller has the adapter's */
    return service_us;
}

static void
check_hang(RvLiveDevice *device, gint64 now)
{
    RvLiveJob *oldest =
        device->state == RV_LIVE_DEVICE_PROBING ? device->probe : g_queue_peek_head(&device->jobs);
    if (oldest == NULL)
        return;
    bool waits;
    gint64 waited_us = rv_job_waited(oldest, &waits);
    gint64 since = working_since(device, oldest) + waited_us;
    gint64 limit = hang_limit(device);
    bool is_patient = waits ? waited_us < MOST_WAIT_US : now < since + limit;
    if (is_patient) {
        rv_live_wake_at(device->live, waits ? now + limit : since + limit);
        return;
    }
    g_autofree char *reason =
        g_strdup_printf("%s %" G_GINT64_FORMAT " ms", waits ? "not free for" : "no answer in",
                        (waits ? waited_us : now - since) / 1000);
    take_out(device, reason);
}

void
rv_device_check(RvLiveDevice *device)
{
    gint64 now = rv_clock_now(device->live->clock);
    if (device->is_removed)
        return;
    if (device->state != RV_LIVE_DEVICE_OUT)
        check_hang(device, now);
    /* With a probe unanswered no other is sent: what a dead device holds is bounded by credit + 1. */
    if (device->state != RV_LIVE_DEVICE_OUT || device->probe != NULL)
        return;
    if (now < device->probe_us) {
        rv_live_wake_at(device->live, device->probe_us);
        return;
    }
    device->state = RV_LIVE_DEVICE_PROBING;
    rv_device_start(device, rv_job_new(device->live->inbox, NULL, NULL));
}

void
rv_live_remove_device(RvLiveDevice *device)
{
    RvLive *live = device->live;
    g_assert(!device->is_removed);
    device->is_removed = true;
    for (RvLiveJob *job; (job = g_queue_pop_head(&device->jobs)) != NULL;) {
        if (!job->is_overdue)
            give_up(device, job);
        job->device = NULL;
        rv_job_unref(job);
    }
    device->probe = NULL;
    if (device->class->free != NULL)
        device->class->free(device->device);
    rv_live_pump(live);
}
