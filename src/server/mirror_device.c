#include "server/mirror_device.h"

#include <malloc.h>

#include "server/log.h"

/* While the device works on one frame its thread looks out for the next until this share of the time that
 * frames take has passed; then it waits for the device alone. */
#define LOOK_OUT 0.75

#define LOOK_US G_USEC_PER_SEC /* an idle thread looks after its device */

/* A frame of so few samples is inverted in a fifth of a millisecond. */
#define QUICK_SAMPLES (2u << 20)

/* What the thread is asked to do; without a job: to park, or else to end. */
typedef struct {
    void (*parked)(void *user);
    void *user;
    RvLiveJob *job;
    RvParameters *parameters;
    RvDrawing drawing; /* once started */
    gint64 started_us;
} Order;

/* Shared by the loop and the thread, so that either may be the last one left. */
typedef struct {
    gatomicrefcount count;
    RvDrawer *drawer;
    RvTurns *turns;
    GAsyncQueue *orders;
    GMutex mutex;
    GCond ended;
    bool has_ended;           /* under the mutex */
    RvMirrorDevice *device;   /* the loop's: NULL once closed */
    GError *open_error;       /* written before on_opened() is asked for */
    RvParameters *parameters; /* to open with */
    /* The thread's: */
    bool is_open, is_broken, is_parked; /* broken, parked: open again before the next frame */
    bool is_asleep;                     /* the drawer is: wake it before */
    GQueue under_way;                   /* Order, the oldest first */
    gint64 finished_us;                 /* when the last one was */
    gint64 usual_us;                    /* what frames take */
} Worker;

struct RvMirrorDevice {
    Worker *worker;
    RvMirrorDeviceOptions options;
    RvLiveDevice *live_device; /* NULL until open */
};

static void
worker_unref(Worker *worker)
{
    if (!g_atomic_ref_count_dec(&worker->count))
        return;
    worker->drawer->class->free(worker->drawer);
    rv_turns_unref(worker->turns);
    g_async_queue_unref(worker->orders);
    g_mutex_clear(&worker->mutex);
    g_cond_clear(&worker->ended);
    g_clear_error(&worker->open_error);
    rv_parameters_unref(worker->parameters);
    g_free(worker);
}

static void
drawn_free(gpointer data)
{
    RvDrawn *drawn = data;
    rv_raster_free(drawn->raster);
    g_free(drawn);
}

/* ---- in the thread ---- */

static void
order_free(Order *order)
{
    rv_parameters_unref(order->parameters);
    g_free(order);
}

static void
fail(Worker *worker, Order *order, GError *error)
{
    worker->is_broken |= g_error_matches(error, RV_ERROR, RV_ERROR_DEVICE) ||
                         g_error_matches(error, RV_ERROR, RV_ERROR_NO_MEMORY);
    rv_log(RV_LOG_WARNING, "frame-failed", "device", worker->drawer->name, "error", error->message, NULL);
    rv_live_device_done(order->job, NULL, error);
    order_free(order);
}

/* Takes both. */
static void
answer(Order *order, RvRaster *raster, gint64 now_us)
{
    RvFrame *source = rv_live_job_frame(order->job);
    RvDrawn *drawn = g_new(RvDrawn, 1);
    *drawn = (RvDrawn) { raster, order->parameters->passthrough };
    gsize bytes;
    rv_raster_samples(raster, &bytes);
    RvFrame *result = rv_frame_new_result(source, drawn, bytes, drawn_free);
    result->revision = order->parameters->revision;
    result->stage_us[RV_STAGE_DECODE] = source->stage_us[RV_STAGE_DECODE];
    result->stage_us[RV_STAGE_RENDER] = now_us - order->started_us;
    rv_live_device_done(order->job, result, NULL);
    order_free(order);
}

static void
succeed(Worker *worker, Order *order, RvRaster *raster)
{
    gint64 now_us = g_get_monotonic_time();
    gint64 service_us = now_us - MAX(order->started_us, worker->finished_us);
    worker->usual_us = worker->usual_us == 0 ? service_us : (7 * worker->usual_us + service_us) / 8;
    worker->finished_us = now_us;
    answer(order, raster, now_us);
}

static void
finish_oldest(Worker *worker)
{
    Order *order = g_queue_pop_head(&worker->under_way);
    GError *error = NULL;
    RvRaster *raster = rv_drawer_finish(worker->drawer, &order->drawing, &error);
    rv_turns_end_frame(worker->turns);
    if (raster != NULL)
        succeed(worker, order, raster);
    else
        fail(worker, order, error);
}

static void
finish_all(Worker *worker)
{
    while (worker->under_way.length > 0)
        finish_oldest(worker);
}

/* The camera's picture is the device's to change or to pass on: nobody else looks at it, nor does another
 * device get it. */
static bool
start_drawing(Worker *worker, Order *order, GError **error)
{
    RvRaster *camera = g_steal_pointer(&rv_live_job_frame(order->job)->data);
    order->started_us = g_get_monotonic_time();
    if (!rv_turns_try_frame(worker->turns)) {
        finish_all(worker); /* the studio's step begins when they are done */
        rv_live_job_set_waiting(order->job, true);
        rv_turns_begin_frame(worker->turns);
        rv_live_job_set_waiting(order->job, false);
    }
    if (rv_drawer_start(worker->drawer, camera, order->parameters, &order->drawing, error))
        return true;
    rv_turns_end_frame(worker->turns);
    return false;
}

static void
close_drawer(Worker *worker)
{
    finish_all(worker);
    if (!worker->is_parked)
        worker->drawer->class->close(worker->drawer);
    worker->is_parked = true;
    worker->is_asleep = false;
}

/* One that cannot be woken is opened anew. */
static void
wake_up(Worker *worker)
{
    g_autoptr(GError) error = NULL;
    if (!worker->is_asleep)
        return;
    worker->is_asleep = false;
    if (worker->drawer->class->wake(worker->drawer, &error)) {
        rv_log(RV_LOG_INFO, "device-awake", "device", worker->drawer->name, NULL);
        return;
    }
    rv_log(RV_LOG_WARNING, "device-awake", "device", worker->drawer->name, "error", error->message, NULL);
    close_drawer(worker);
}

static bool
open_anew(Worker *worker, const Order *order, GError **error)
{
    close_drawer(worker);
    worker->is_parked = false;
    GError *wrong = NULL;
    worker->is_broken = !worker->drawer->class->open(worker->drawer, order->parameters, &wrong);
    worker->usual_us = worker->drawer->expected_us;
    if (!worker->is_broken) {
        rv_log(RV_LOG_INFO, "device-reopen", "device", worker->drawer->name, "outcome", "works", NULL);
        return true;
    }
    rv_log(RV_LOG_WARNING, "device-reopen", "device", worker->drawer->name, "outcome", "failed", "error",
           wrong->message, NULL);
    g_propagate_error(error, wrong);
    return false;
}

/* What a model needs to be there again says nothing of how long a frame may take. */
static bool
make_ready(Worker *worker, const Order *order, GError **error)
{
    if (!worker->is_broken && !worker->is_parked && !worker->is_asleep)
        return true;
    rv_live_job_set_waiting(order->job, true);
    wake_up(worker);
    bool is_ready = (!worker->is_broken && !worker->is_parked) || open_anew(worker, order, error);
    rv_live_job_set_waiting(order->job, false);
    return is_ready;
}

/* Takes the order. Jobs are answered in their order: whatever is answered at once waits for those before it.
 */
static void
take(Worker *worker, Order *order)
{
    GError *error = NULL;
    bool is_frame = rv_live_job_frame(order->job) != NULL;
    if (rv_live_job_is_given_up(order->job))
        rv_error_set(&error, RV_ERROR_CANCELLED, NULL, NULL, "nobody waits for it");
    if (error == NULL && make_ready(worker, order, &error) && is_frame) {
        if (start_drawing(worker, order, &error)) {
            g_queue_push_tail(&worker->under_way, order);
            return;
        }
        finish_all(worker);
        fail(worker, order, error);
        return;
    }
    finish_all(worker);
    rv_live_device_done(order->job, NULL, error);
    order_free(order);
}

static gboolean
on_parked(gpointer data)
{
    Order *order = data;
    order->parked(order->user);
    g_free(order);
    return G_SOURCE_REMOVE;
}

/* The first time the model waits in the host's memory, where that pays; parked again, it goes. */
static void
park(Worker *worker, Order *order)
{
    if (worker->is_open) {
        const RvDrawerClass *class = worker->drawer->class;
        finish_all(worker);
        bool could_sleep = !worker->is_parked && !worker->is_broken && !worker->is_asleep;
        if (could_sleep && class->sleep != NULL && class->sleep(worker->drawer))
            worker->is_asleep = true;
        else
            close_drawer(worker);
        malloc_trim(0);
    }
    g_idle_add_full(G_PRIORITY_DEFAULT, on_parked, order, NULL);
}

/* While it waits it lets a device go that others lost. */
static Order *
wait_for_order(Worker *worker)
{
    bool (*is_lost)(RvDrawer *) = worker->drawer->class->is_lost;
    for (;;) {
        bool looks = is_lost != NULL && worker->is_open && !worker->is_parked;
        Order *order =
            looks ? g_async_queue_timeout_pop(worker->orders, LOOK_US) : g_async_queue_pop(worker->orders);
        if (order != NULL)
            return order;
        if (is_lost(worker->drawer))
            close_drawer(worker);
    }
}

/* The next order; NULL when the oldest frame under way is to be waited for instead. */
static Order *
next_order(Worker *worker)
{
    const Order *oldest = g_queue_peek_head(&worker->under_way);
    if (oldest == NULL)
        return wait_for_order(worker);
    if ((int)worker->under_way.length >= worker->drawer->depth)
        return NULL;
    gint64 since = MAX(oldest->started_us, worker->finished_us);
    gint64 until = since + (gint64)((double)worker->usual_us * LOOK_OUT), now = g_get_monotonic_time();
    return until > now ? g_async_queue_timeout_pop(worker->orders, (guint64)(until - now))
                       : g_async_queue_try_pop(worker->orders);
}

static void
end(Worker *worker)
{
    g_mutex_lock(&worker->mutex);
    worker->has_ended = true;
    g_cond_broadcast(&worker->ended);
    g_mutex_unlock(&worker->mutex);
    worker_unref(worker);
}

static gboolean on_opened(gpointer data);

static gpointer
run(gpointer data)
{
    Worker *worker = data;
    worker->is_open = worker->drawer->class->open(worker->drawer, worker->parameters, &worker->open_error);
    worker->usual_us = worker->drawer->expected_us;
    g_atomic_ref_count_inc(&worker->count);
    /* Not g_main_context_invoke(): before the loop runs that would call in this thread. */
    g_idle_add_full(G_PRIORITY_DEFAULT, on_opened, worker, (GDestroyNotify)worker_unref);
    for (bool is_last = false; !is_last;) {
        Order *order = next_order(worker);
        is_last = order != NULL && order->job == NULL && order->parked == NULL;
        if (order == NULL)
            finish_oldest(worker);
        else if (order->parked != NULL)
            park(worker, order);
        else if (is_last || !worker->is_open)
            order_free(order);
        else
            take(worker, order);
    }
    close_drawer(worker);
    end(worker);
    return NULL;
}

/* ---- on the loop ---- */

static Order *
order_new(RvLiveJob *job, RvParameters *parameters)
{
    Order *order = g_new0(Order, 1);
    order->job = job;
    order->parameters = parameters;
    return order;
}

/* Whether drawing takes less time than waking a thread and being woken by it. The thread is idle then: such a
 * drawer has one frame at a time. */
static bool
is_quick(const RvDrawer *drawer, RvLiveJob *job, const RvParameters *parameters)
{
    const RvFrame *frame = rv_live_job_frame(job);
    if (frame == NULL || !rv_drawer_takes_planes(drawer) || parameters->opacity < 1.0 || parameters->mirror)
        return false;
    const RvRaster *raster = frame->data;
    gsize samples;
    rv_raster_samples(raster, &samples);
    return raster->width == drawer->width && raster->height == drawer->height && samples <= QUICK_SAMPLES;
}

static void
start(void *data, RvLiveJob *job)
{
    RvMirrorDevice *device = data;
    Worker *worker = device->worker;
    Order *next = order_new(job, rv_state_snapshot(device->options.state, g_get_monotonic_time()));
    if (!is_quick(worker->drawer, job, next->parameters)) {
        g_async_queue_push(worker->orders, next);
        return;
    }
    next->started_us = g_get_monotonic_time();
    RvRaster *camera = g_steal_pointer(&rv_live_job_frame(job)->data);
    bool is_drawn = rv_drawer_start(worker->drawer, camera, next->parameters, &next->drawing, NULL);
    g_assert(is_drawn); /* nothing that could fail, nor takes turns: it is drawn in place as it is */
    answer(next, rv_drawer_finish(worker->drawer, &next->drawing, NULL), g_get_monotonic_time());
}

static gboolean
on_opened(gpointer data)
{
    static const RvLiveDeviceClass class = { .start = start };
    Worker *worker = data;
    RvMirrorDevice *device = worker->device;
    if (device == NULL)
        return G_SOURCE_REMOVE;
    RvLiveDeviceOptions options = { .name = worker->drawer->name,
                                    .credit = worker->drawer->depth,
                                    .expected_us = worker->drawer->expected_us };
    if (worker->open_error == NULL)
        device->live_device = rv_live_add_device(device->options.live, &class, device, &options);
    device->options.on_open(device, worker->open_error, device->options.user);
    return G_SOURCE_REMOVE;
}

RvMirrorDevice *
rv_mirror_device_new(RvDrawer *drawer, const RvMirrorDeviceOptions *options)
{
    RvMirrorDevice *device = g_new0(RvMirrorDevice, 1);
    Worker *worker = g_new0(Worker, 1);
    g_atomic_ref_count_init(&worker->count);
    g_atomic_ref_count_inc(&worker->count); /* the thread's */
    worker->drawer = drawer;
    worker->turns = rv_turns_ref(options->turns);
    worker->orders = g_async_queue_new();
    worker->parameters = rv_state_snapshot(options->state, g_get_monotonic_time());
    g_mutex_init(&worker->mutex);
    g_cond_init(&worker->ended);
    worker->device = device;
    device->worker = worker;
    device->options = *options;
    g_thread_unref(g_thread_new(drawer->name, run, worker));
    return device;
}

const RvDrawer *
rv_mirror_device_drawer(const RvMirrorDevice *device)
{
    return device->worker->drawer;
}

bool
rv_mirror_device_is_open(const RvMirrorDevice *device)
{
    return device->live_device != NULL;
}

void
rv_mirror_device_park(RvMirrorDevice *device, void (*done)(void *user), void *user)
{
    Order *next = g_new0(Order, 1);
    next->parked = done;
    next->user = user;
    g_async_queue_push(device->worker->orders, next);
}

void
rv_mirror_device_end(RvMirrorDevice *device)
{
    Worker *worker = device != NULL ? device->worker : NULL;
    if (worker == NULL || worker->device == NULL)
        return;
    if (device->live_device != NULL)
        rv_live_remove_device(device->live_device);
    worker->device = NULL;
    g_async_queue_push(worker->orders, order_new(NULL, NULL));
}

void
rv_mirror_device_close(RvMirrorDevice *device, gint64 deadline_us)
{
    if (device == NULL)
        return;
    Worker *worker = device->worker;
    rv_mirror_device_end(device);
    g_mutex_lock(&worker->mutex);
    while (!worker->has_ended && g_cond_wait_until(&worker->ended, &worker->mutex, deadline_us))
        continue;
    if (!worker->has_ended)
        rv_log(RV_LOG_WARNING, "device-hangs", "device", worker->drawer->name, NULL);
    g_mutex_unlock(&worker->mutex);
    worker_unref(worker);
    g_free(device);
}
