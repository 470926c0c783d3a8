#include "studio/worker.h"

#include <malloc.h>

#include <sys/resource.h>
#include <unistd.h>

#include "studio/residents.h"

#define LOOK_US G_USEC_PER_SEC /* an idle worker looks after its device */
#define NICE 5 /* more than the main loop: a core that draws must not keep it from answering */

typedef enum { DRAW, SAVE, UNLOAD, LOAD, QUIT } TaskKind;

typedef struct {
    TaskKind kind;
    bool ok; /* of DRAW */
    RvUnit *unit;
    char *model, *vae;
    void (*done)(const GError *error, void *user_data);
    void *user_data;
    GError *error;
    RvWorker *worker; /* of a task on its way back */
} Task;

struct RvWorker {
    gatomicrefcount count; /* the owner and both threads */
    RvWorkerOptions options;
    char *device, *precision, *models_dir;
    char **folders;
    GMainContext *context;
    GThread *threads[2];
    GAsyncQueue *tasks, *saves;
    int cancel;                     /* atomic; the engine's flag */
    gint is_closed, loading, ended; /* atomic */
    RvUnit *unit;                   /* main loop: on the device */
    GQueue saving;                  /* main loop: RvUnit */
    GMutex mutex;                   /* residents' pointer, and memory */
    RvResidents *residents;
    bool has_memory;
    RvStudioMemory memory;
    gpointer painter; /* of the device's thread */
    bool is_asleep;   /* likewise: the painter is */
};

static void
task_free(Task *task)
{
    rv_unit_unref(task->unit);
    g_free(task->model);
    g_free(task->vae);
    g_clear_error(&task->error);
    g_free(task);
}

static void
worker_unref(RvWorker *worker)
{
    if (!g_atomic_ref_count_dec(&worker->count))
        return;
    g_async_queue_unref(worker->tasks);
    g_async_queue_unref(worker->saves);
    g_main_context_unref(worker->context);
    g_mutex_clear(&worker->mutex);
    rv_turns_unref(worker->options.options.turns);
    g_free(worker->device);
    g_free(worker->precision);
    g_free(worker->models_dir);
    g_strfreev(worker->folders);
    g_free(worker);
}

/* ---- back to the main loop ---- */

static void
on_drawn(RvWorker *worker, RvUnit *unit, bool ok)
{
    g_clear_pointer(&worker->unit, rv_unit_unref);
    g_queue_push_tail(&worker->saving, unit);
    worker->options.on_drawn(worker, unit, ok, worker->options.user);
}

static void
on_saved(RvWorker *worker, RvUnit *unit)
{
    g_queue_remove(&worker->saving, unit);
    worker->options.on_end(worker, unit, worker->options.user);
}

static gboolean
on_back(gpointer data)
{
    Task *task = data;
    RvWorker *worker = task->worker;
    if (!g_atomic_int_get(&worker->is_closed)) {
        if (task->kind == DRAW)
            on_drawn(worker, task->unit, task->ok);
        else if (task->kind == SAVE)
            on_saved(worker, task->unit);
        else if (task->done != NULL)
            task->done(task->error, task->user_data);
    }
    task_free(task);
    worker_unref(worker);
    return G_SOURCE_REMOVE;
}

static void
send_back(RvWorker *worker, Task *task)
{
    g_autoptr(GSource) source = g_idle_source_new();
    task->worker = worker;
    g_atomic_ref_count_inc(&worker->count);
    g_source_set_priority(source, G_PRIORITY_DEFAULT);
    g_source_set_callback(source, on_back, task, NULL);
    g_source_attach(source, worker->context);
}

/* ---- the thread that writes ---- */

static gpointer
run_saves(gpointer data)
{
    RvWorker *worker = data;
    for (;;) {
        Task *task = g_async_queue_pop(worker->saves);
        if (task->kind == QUIT) {
            task_free(task);
            break;
        }
        rv_unit_set_phase(task->unit, RV_UNIT_SAVE, 0, 0);
        rv_unit_save(task->unit, &task->unit->error);
        send_back(worker, task);
    }
    g_atomic_int_inc(&worker->ended);
    worker_unref(worker);
    return NULL;
}

/* ---- the thread that draws ---- */

static void
close_painter(RvWorker *worker)
{
    g_mutex_lock(&worker->mutex);
    RvResidents *residents = g_steal_pointer(&worker->residents);
    g_mutex_unlock(&worker->mutex);
    rv_residents_free(residents);
    worker->options.painter->close(worker->painter);
    worker->painter = NULL;
    worker->is_asleep = false;
}

/* The device's memory goes to others. The first time the models wait in the host's memory, where that pays;
 * asked again, they go. */
static void
yield(RvWorker *worker)
{
    const RvPainterClass *class = worker->options.painter;
    if (worker->is_asleep || class->sleep == NULL || !class->sleep(worker->painter)) {
        close_painter(worker);
        return;
    }
    worker->is_asleep = true;
    rv_residents_trim(worker->residents);
}

/* One that cannot be woken is opened anew, with room for what it needs or without. */
static void
wake_up(RvWorker *worker)
{
    g_autoptr(GError) error = NULL;
    if (!worker->is_asleep)
        return;
    worker->is_asleep = false;
    if (worker->options.painter->wake(worker->painter, &error)) {
        rv_residents_trim(worker->residents);
        return;
    }
    g_message("%s does not wake up (%s): its models are loaded again", worker->device, error->message);
    close_painter(worker);
}

static bool
open_painter(RvWorker *worker, GError **error)
{
    wake_up(worker);
    if (worker->painter != NULL)
        return true;
    RvPainterOptions options = worker->options.options;
    options.device = worker->device;
    options.precision = worker->precision;
    options.models_dir = worker->models_dir;
    options.folders = (const char *const *)worker->folders;
    options.cancel = &worker->cancel;
    worker->painter = worker->options.painter->open(&options, error);
    if (worker->painter == NULL)
        return false;
    RvResidents *residents =
        rv_residents_new(worker->options.painter, worker->painter, worker->options.budget);
    g_mutex_lock(&worker->mutex);
    worker->residents = residents;
    g_mutex_unlock(&worker->mutex);
    return true;
}

static bool
load(RvWorker *worker, const char *model, const char *vae, gpointer *loaded, GError **error)
{
    *loaded = NULL;
    if (!open_painter(worker, error))
        return false;
    if (model == NULL)
        return true;
    g_atomic_int_set(&worker->loading, 1);
    *loaded = rv_residents_get(worker->residents, model, vae, error);
    g_atomic_int_set(&worker->loading, 0);
    return *loaded != NULL;
}

/* All that the unit needs at a time: none is given up for the other. */
static bool
load_all(RvWorker *worker, const RvUnit *unit, RvPainterModels *models, GError **error)
{
    *models = (RvPainterModels) { 0 };
    if (!load(worker, unit->model, unit->vae, &models->model, error))
        return false;
    rv_residents_hold(worker->residents, models->model);
    if (!load(worker, unit->hires_model, unit->hires_vae, &models->hires, error))
        return false;
    rv_residents_hold(worker->residents, models->hires);
    if (!load(worker, unit->refiner, NULL, &models->refiner, error))
        return false;
    rv_residents_hold(worker->residents, models->refiner);
    return true;
}

/* When memory does not suffice, once more without the models that it does not need. */
static bool
draw_with(RvWorker *worker, const RvPainterModels *models, RvUnit *unit, GError **error)
{
    const RvPainterClass *class = worker->options.painter;
    g_autoptr(GError) wrong = NULL;
    bool ok = class->draw(worker->painter, models, unit, &wrong);
    if (!ok && g_error_matches(wrong, RV_ERROR, RV_ERROR_NO_MEMORY) &&
        rv_residents_make_room(worker->residents)) {
        g_clear_error(&wrong);
        rv_unit_forget_drawn(unit);
        ok = class->draw(worker->painter, models, unit, &wrong);
    }
    if (!ok)
        g_propagate_error(error, g_steal_pointer(&wrong));
    return ok;
}

/* A lost device is opened anew with the next unit. */
static void
draw(RvWorker *worker, RvUnit *unit)
{
    RvPainterModels models;
    rv_unit_set_phase(unit, RV_UNIT_LOADING, 0, 0);
    bool ok = load_all(worker, unit, &models, &unit->error);
    gint64 begin_us = g_get_monotonic_time();
    if (ok && rv_unit_stopped(unit) == RV_UNIT_ABANDON)
        rv_error_set(&unit->error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
    else if (ok)
        draw_with(worker, &models, unit, &unit->error);
    if (worker->residents != NULL)
        rv_residents_let_go(worker->residents);
    unit->seconds = (double)(g_get_monotonic_time() - begin_us) * 1e-6;
    if (g_error_matches(unit->error, RV_ERROR, RV_ERROR_DEVICE) && worker->painter != NULL)
        close_painter(worker);
    else if (worker->residents != NULL)
        rv_residents_trim(worker->residents);
}

/* Looked at between batches, by the thread that the device belongs to. */
static void
note_memory(RvWorker *worker, const GError *error)
{
    RvStudioMemory now = worker->memory;
    if (worker->painter == NULL || worker->options.painter->memory == NULL ||
        !worker->options.painter->memory(worker->painter, &now.free_bytes, &now.total_bytes))
        return;
    now.models = rv_worker_bytes(worker);
    now.peak = MAX(now.peak, now.models);
    now.failures += g_error_matches(error, RV_ERROR, RV_ERROR_NO_MEMORY);
    g_mutex_lock(&worker->mutex);
    worker->memory = now;
    worker->has_memory = true;
    g_mutex_unlock(&worker->mutex);
}

static void
run_task(RvWorker *worker, Task *task)
{
    gpointer loaded;
    if (task->kind == DRAW) {
        Task *save = g_new0(Task, 1);
        *save = (Task) { .kind = SAVE, .unit = rv_unit_ref(task->unit) };
        draw(worker, task->unit);
        note_memory(worker, task->unit->error);
        bool ok = task->ok = task->unit->error == NULL;
        send_back(worker, task);
        if (ok)
            g_async_queue_push(worker->saves, save);
        else
            send_back(worker, save);
        return;
    }
    if (task->kind == UNLOAD && worker->painter != NULL) {
        yield(worker);
        malloc_trim(0); /* what the device freed goes back to the system */
    }
    if (task->kind == LOAD)
        load(worker, task->model, task->vae, &loaded, &task->error);
    note_memory(worker, task->error);
    send_back(worker, task);
}

/* Of this thread and of those that compute for it, which it makes. */
static void
be_nice(void)
{
    id_t thread = (id_t)gettid();
    setpriority(PRIO_PROCESS, thread, getpriority(PRIO_PROCESS, thread) + NICE);
}

/* While it waits it lets a device go that others lost. */
static Task *
next_task(RvWorker *worker)
{
    bool (*is_lost)(gpointer) = worker->options.painter->is_lost;
    for (;;) {
        Task *task = is_lost != NULL && worker->painter != NULL
                         ? g_async_queue_timeout_pop(worker->tasks, LOOK_US)
                         : g_async_queue_pop(worker->tasks);
        if (task != NULL)
            return task;
        if (is_lost(worker->painter))
            close_painter(worker);
    }
}

static gpointer
run_tasks(gpointer data)
{
    RvWorker *worker = data;
    be_nice();
    for (;;) {
        Task *task = next_task(worker);
        if (task->kind == QUIT) {
            g_async_queue_push(worker->saves, task);
            break;
        }
        run_task(worker, task);
    }
    if (worker->painter != NULL)
        close_painter(worker);
    g_atomic_int_inc(&worker->ended);
    worker_unref(worker);
    return NULL;
}

/* ---- for the main loop ---- */

RvWorker *
rv_worker_new(const RvWorkerOptions *options)
{
    RvWorker *worker = g_new0(RvWorker, 1);
    g_atomic_ref_count_init(&worker->count);
    worker->options = *options;
    rv_turns_ref(options->options.turns);
    worker->device = g_strdup(options->options.device);
    worker->precision = g_strdup(options->options.precision);
    worker->models_dir = g_strdup(options->options.models_dir);
    worker->folders = g_strdupv((char **)options->options.folders);
    worker->context = g_main_context_ref_thread_default();
    worker->tasks = g_async_queue_new();
    worker->saves = g_async_queue_new();
    g_mutex_init(&worker->mutex);
    g_queue_init(&worker->saving);
    g_atomic_ref_count_inc(&worker->count);
    worker->threads[0] = g_thread_new("studio", run_tasks, worker);
    g_atomic_ref_count_inc(&worker->count);
    worker->threads[1] = g_thread_new("studio-save", run_saves, worker);
    return worker;
}

void
rv_worker_free(RvWorker *worker, gint64 deadline_us)
{
    if (worker == NULL)
        return;
    Task *quit = g_new0(Task, 1);
    quit->kind = QUIT;
    g_atomic_int_set(&worker->is_closed, 1);
    if (worker->unit != NULL)
        rv_worker_stop(worker, worker->unit, RV_UNIT_ABANDON);
    for (GList *link = worker->saving.head; link != NULL; link = link->next)
        rv_worker_stop(worker, link->data, RV_UNIT_ABANDON);
    g_async_queue_push(worker->tasks, quit);
    while (g_atomic_int_get(&worker->ended) < 2 && g_get_monotonic_time() < deadline_us)
        g_usleep(1000);
    bool have_ended = g_atomic_int_get(&worker->ended) == 2;
    for (gsize i = 0; i < G_N_ELEMENTS(worker->threads); i++)
        if (have_ended)
            g_thread_join(worker->threads[i]);
        else
            g_thread_unref(worker->threads[i]);
    g_clear_pointer(&worker->unit, rv_unit_unref);
    g_queue_clear(&worker->saving);
    worker_unref(worker);
}

void
rv_worker_draw(RvWorker *worker, RvUnit *unit)
{
    Task *task = g_new0(Task, 1);
    *task = (Task) { .kind = DRAW, .unit = rv_unit_ref(unit) };
    worker->unit = rv_unit_ref(unit);
    __atomic_store_n(&worker->cancel, 0, __ATOMIC_RELAXED);
    g_async_queue_push(worker->tasks, task);
}

bool
rv_worker_is_idle(const RvWorker *worker)
{
    return worker->unit == NULL && worker->saving.length < RV_WORKER_SAVING;
}

int
rv_worker_in_work(const RvWorker *worker)
{
    return (worker->unit != NULL) + (int)worker->saving.length;
}

RvUnit *
rv_worker_unit(const RvWorker *worker)
{
    return worker->unit;
}

void
rv_worker_stop(RvWorker *worker, RvUnit *unit, RvUnitStop how)
{
    g_atomic_int_set(&unit->stop, (gint)how);
    if (how == RV_UNIT_ABANDON && unit == worker->unit)
        __atomic_store_n(&worker->cancel, 1, __ATOMIC_RELAXED);
}

bool
rv_worker_has_model(RvWorker *worker, const char *model, const char *vae)
{
    g_mutex_lock(&worker->mutex);
    bool has = worker->residents != NULL && rv_residents_has(worker->residents, model, vae);
    g_mutex_unlock(&worker->mutex);
    return has;
}

gsize
rv_worker_bytes(RvWorker *worker)
{
    g_mutex_lock(&worker->mutex);
    gsize bytes = worker->residents != NULL ? rv_residents_bytes(worker->residents) : 0;
    g_mutex_unlock(&worker->mutex);
    return bytes;
}

bool
rv_worker_memory(RvWorker *worker, RvStudioMemory *memory)
{
    g_mutex_lock(&worker->mutex);
    bool has = worker->has_memory;
    *memory = worker->memory;
    g_mutex_unlock(&worker->mutex);
    return has;
}

bool
rv_worker_is_loading(RvWorker *worker)
{
    return g_atomic_int_get(&worker->loading) != 0;
}

bool
rv_worker_is_held_up(RvWorker *worker)
{
    return rv_turns_is_held_up(worker->options.options.turns);
}

const char *
rv_worker_device(const RvWorker *worker)
{
    return worker->device;
}

void
rv_worker_unload(RvWorker *worker, void (*done)(const GError *error, void *user_data), void *user_data)
{
    Task *task = g_new0(Task, 1);
    *task = (Task) { .kind = UNLOAD, .done = done, .user_data = user_data };
    g_async_queue_push(worker->tasks, task);
}

void
rv_worker_load(RvWorker *worker, const char *model, const char *vae,
               void (*done)(const GError *error, void *user_data), void *user_data)
{
    Task *task = g_new0(Task, 1);
    *task = (Task) {
        .kind = LOAD, .model = g_strdup(model), .vae = g_strdup(vae), .done = done, .user_data = user_data
    };
    if (worker->unit == NULL)
        __atomic_store_n(&worker->cancel, 0, __ATOMIC_RELAXED);
    g_async_queue_push(worker->tasks, task);
}
