/* simulated_device.c - a device that only takes its time. */
#include "live/simulated_device.h"

typedef struct {
    RvLiveJob *job;
    RvSimulatedService service;
} Work;

struct RvSimulatedDevice {
    RvClock *clock;
    RvAlarm *alarm;
    RvSimulatedFunc func;
    void *data;
    GQueue works; /* the head is being worked on */
    gint64 done_us;
    gint64 hang_until_us;
    bool heeds_cancel;
};

static void
answer(Work *work)
{
    RvFrame *source = rv_live_job_frame(work->job);
    if (work->service.is_error)
        rv_live_device_done(work->job, NULL,
                            g_error_new(RV_ERROR, (gint)work->service.error, "simulated failure"));
    else if (source == NULL)
        rv_live_device_done(work->job, NULL, NULL);
    else
        rv_live_device_done(work->job, rv_frame_new_result(source, NULL, 0, NULL), NULL);
    g_free(work);
}

static void
set_alarm(RvSimulatedDevice *device)
{
    bool is_busy = device->works.length > 0;
    rv_alarm_set(device->alarm, is_busy ? MAX(device->done_us, device->hang_until_us) : RV_NEVER);
}

static void
begin_head(RvSimulatedDevice *device)
{
    Work *head = g_queue_peek_head(&device->works);
    if (head != NULL)
        device->done_us = rv_clock_now(device->clock) + head->service.service_us;
    set_alarm(device);
}

static void
on_alarm(void *data)
{
    RvSimulatedDevice *device = data;
    gint64 now = rv_clock_now(device->clock);
    if (device->works.length == 0 || now < device->done_us || now < device->hang_until_us)
        return;
    answer(g_queue_pop_head(&device->works));
    begin_head(device);
}

RvSimulatedDevice *
rv_simulated_device_new(RvClock *clock, RvSimulatedFunc func, void *data)
{
    RvSimulatedDevice *device = g_new0(RvSimulatedDevice, 1);
    device->clock = clock;
    device->func = func;
    device->data = data;
    device->alarm = rv_alarm_new(clock, on_alarm, device);
    g_queue_init(&device->works);
    return device;
}

static void
simulated_start(void *self, RvLiveJob *job)
{
    RvSimulatedDevice *device = self;
    Work *work = g_new0(Work, 1);
    work->job = job;
    work->service = device->func(rv_live_job_frame(job), device->data);
    g_queue_push_tail(&device->works, work);
    if (device->works.length == 1)
        begin_head(device);
}

static void
simulated_cancel(void *self, RvLiveJob *job)
{
    RvSimulatedDevice *device = self;
    if (!device->heeds_cancel)
        return;
    for (GList *link = device->works.head; link != NULL; link = link->next) {
        Work *work = link->data;
        if (work->job != job)
            continue;
        bool is_head = link == device->works.head;
        g_queue_delete_link(&device->works, link);
        work->service = (RvSimulatedService) { .is_error = true, .error = RV_ERROR_CANCELLED };
        answer(work);
        if (is_head)
            begin_head(device);
        return;
    }
}

static void
simulated_free(void *self)
{
    RvSimulatedDevice *device = self;
    for (Work *work; (work = g_queue_pop_head(&device->works)) != NULL;) {
        work->service = (RvSimulatedService) { .is_error = true, .error = RV_ERROR_CANCELLED };
        answer(work);
    }
    rv_alarm_free(device->alarm);
    g_free(device);
}

const RvLiveDeviceClass rv_simulated_device_class = { simulated_start, simulated_cancel, simulated_free };

void
rv_simulated_device_hang(RvSimulatedDevice *device, gint64 until_us)
{
    device->hang_until_us = until_us;
    set_alarm(device);
}

void
rv_simulated_device_set_heeds_cancel(RvSimulatedDevice *device, bool heeds_cancel)
{
    device->heeds_cancel = heeds_cancel;
}

int
rv_simulated_device_in_hand(const RvSimulatedDevice *device)
{
    return (int)device->works.length;
}
