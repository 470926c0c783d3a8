#include "server/mirror_device.h"

#include "server/log.h"

/* What the thread is asked to do; without a job: to end. */
typedef struct {
    RvLiveJob *job;
    RvParameters *parameters;
} Order;

/* Shared by the loop and the thread, so that either may be the last one left. */
typedef struct {
    gatomicrefcount count;
    RvDrawer *drawer;
    GAsyncQueue *orders;
    GMutex mutex;
    GCond ended;
    bool has_ended;         /* under the mutex */
    RvMirrorDevice *device; /* the loop's: NULL once closed */
    GError *open_error;     /* written before on_opened() is asked for */
    bool is_broken;         /* the thread's: open again before the next frame */
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
    g_async_queue_unref(worker->orders);
    g_mutex_clear(&worker->mutex);
    g_cond_clear(&worker->ended);
    g_clear_error(&worker->open_error);
    g_free(worker);
}

static void
drawn_free(gpointer data)
{
    RvDrawn *drawn = data;
    rv_picture_free(drawn->picture);
    g_free(drawn);
}

/* ---- in the thread ---- */

/* The camera's picture is the device's to change or to pass on: nobody else looks at it, nor does another
 * device get it. */
static RvPicture *
draw(Worker *worker, RvFrame *source, const RvParameters *parameters, GError **error)
{
    RvDrawer *drawer = worker->drawer;
    g_autoptr(RvPicture) camera = g_steal_pointer(&source->data);
    if (camera->width != drawer->width || camera->height != drawer->height) {
        RvPicture *fitted =
            rv_picture_cover(camera, drawer->width, drawer->height, RV_FILTER_BILINEAR, error);
        rv_picture_free(camera);
        camera = fitted;
    }
    return camera != NULL ? rv_drawer_draw(drawer, g_steal_pointer(&camera), parameters, error) : NULL;
}

static bool
reopen(Worker *worker, GError **error)
{
    if (!worker->is_broken)
        return true;
    worker->drawer->class->close(worker->drawer);
    worker->is_broken = !worker->drawer->class->open(worker->drawer, error);
    rv_log(worker->is_broken ? RV_LOG_WARNING : RV_LOG_INFO, "device-reopen", "device", worker->drawer->name,
           "outcome", worker->is_broken ? "failed" : "works", NULL);
    return !worker->is_broken;
}

static void
answer(Worker *worker, const Order *order)
{
    RvFrame *source = rv_live_job_frame(order->job);
    GError *error = NULL;
    if (rv_live_job_is_given_up(order->job)) {
        rv_error_set(&error, RV_ERROR_CANCELLED, NULL, NULL, "nobody waits for it");
        rv_live_device_done(order->job, NULL, error);
        return;
    }
    if (!reopen(worker, &error) || source == NULL) {
        rv_live_device_done(order->job, NULL, error);
        return;
    }
    gint64 start = g_get_monotonic_time();
    RvPicture *picture = draw(worker, source, order->parameters, &error);
    if (picture == NULL) {
        worker->is_broken = g_error_matches(error, RV_ERROR, RV_ERROR_DEVICE) ||
                            g_error_matches(error, RV_ERROR, RV_ERROR_NO_MEMORY);
        rv_log(RV_LOG_WARNING, "frame-failed", "device", worker->drawer->name, "error", error->message, NULL);
        rv_live_device_done(order->job, NULL, error);
        return;
    }
    RvDrawn *drawn = g_new(RvDrawn, 1);
    *drawn = (RvDrawn) { picture, order->parameters->passthrough };
    RvFrame *result =
        rv_frame_new_result(source, drawn, (gsize)picture->width * (gsize)picture->height * 3, drawn_free);
    result->revision = order->parameters->revision;
    result->stage_us[RV_STAGE_RENDER] = g_get_monotonic_time() - start;
    rv_live_device_done(order->job, result, NULL);
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
    bool is_open = worker->drawer->class->open(worker->drawer, &worker->open_error);
    g_atomic_ref_count_inc(&worker->count);
    /* Not g_main_context_invoke(): before the loop runs that would call in this thread. */
    g_idle_add_full(G_PRIORITY_DEFAULT, on_opened, worker, (GDestroyNotify)worker_unref);
    for (;;) {
        Order *order = g_async_queue_pop(worker->orders);
        bool is_last = order->job == NULL;
        if (!is_last && is_open)
            answer(worker, order);
        rv_parameters_unref(order->parameters);
        g_free(order);
        if (is_last)
            break;
    }
    worker->drawer->class->close(worker->drawer);
    end(worker);
    return NULL;
}

/* ---- on the loop ---- */

static void
order(Worker *worker, RvLiveJob *job, RvParameters *parameters)
{
    Order *next = g_new(Order, 1);
    *next = (Order) { job, parameters };
    g_async_queue_push(worker->orders, next);
}

static void
start(void *data, RvLiveJob *job)
{
    RvMirrorDevice *device = data;
    order(device->worker, job, rv_state_snapshot(device->options.state, g_get_monotonic_time()));
}

static gboolean
on_opened(gpointer data)
{
    static const RvLiveDeviceClass class = { .start = start };
    Worker *worker = data;
    RvMirrorDevice *device = worker->device;
    if (device == NULL)
        return G_SOURCE_REMOVE;
    if (worker->open_error == NULL)
        device->live_device = rv_live_add_device(device->options.live, &class, device,
                                                 &(RvLiveDeviceOptions) { .name = worker->drawer->name });
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
    worker->orders = g_async_queue_new();
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
rv_mirror_device_close(RvMirrorDevice *device, gint64 deadline_us)
{
    if (device == NULL)
        return;
    Worker *worker = device->worker;
    if (device->live_device != NULL)
        rv_live_remove_device(device->live_device);
    worker->device = NULL;
    order(worker, NULL, NULL);
    g_mutex_lock(&worker->mutex);
    while (!worker->has_ended && g_cond_wait_until(&worker->ended, &worker->mutex, deadline_us))
        continue;
    if (!worker->has_ended)
        rv_log(RV_LOG_WARNING, "device-hangs", "device", worker->drawer->name, NULL);
    g_mutex_unlock(&worker->mutex);
    worker_unref(worker);
    g_free(device);
}
