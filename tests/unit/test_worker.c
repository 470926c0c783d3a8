/* The thread of a device that the studio draws on, with a painter that pretends one: models that do not fit
 * beside each other, memory that is lent to others, a device that is lost. */
#include <string.h>

#include "studio/worker.h"

#define PATIENCE_US (60 * G_USEC_PER_SEC)

/* The device. Calls come from the worker's thread, one at a time. */
typedef struct {
    gint opened, closed, loaded, draws, slept, woken, is_lost; /* atomic */
    int fits;                                                  /* models that leave room to draw */
    bool sleeps, is_asleep, fails_to_wake;
} Device;

static gpointer
fake_open(const RvPainterOptions *options, GError **error)
{
    Device *d = options->user;
    g_atomic_int_inc(&d->opened);
    return d;
}

static void
fake_close(gpointer painter)
{
    Device *d = painter;
    g_assert_cmpint(d->loaded, ==, 0);
    d->is_asleep = false;
    g_atomic_int_inc(&d->closed);
}

static gpointer
fake_load(gpointer painter, const char *model, const char *vae, GError **error)
{
    g_atomic_int_inc(&((Device *)painter)->loaded);
    return g_strdup(model);
}

static void
fake_unload(gpointer painter, gpointer model)
{
    if (model != NULL)
        g_atomic_int_add(&((Device *)painter)->loaded, -1);
    g_free(model);
}

static gsize
fake_estimate(gpointer painter, const char *model, const char *vae)
{
    return 1;
}

static gsize
fake_bytes(gpointer painter, gpointer model)
{
    return ((const Device *)painter)->is_asleep ? 0 : 100;
}

static bool
fake_sleep(gpointer painter)
{
    Device *d = painter;
    g_assert_false(d->is_asleep);
    g_atomic_int_add(&d->slept, d->sleeps);
    return d->is_asleep = d->sleeps;
}

static bool
fake_wake(gpointer painter, GError **error)
{
    Device *d = painter;
    g_assert_true(d->is_asleep);
    if (d->fails_to_wake)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "fake", NULL, "others have it");
    d->is_asleep = false;
    g_atomic_int_inc(&d->woken);
    return true;
}

static bool
fake_is_lost(gpointer painter)
{
    return g_atomic_int_get(&((Device *)painter)->is_lost) != 0;
}

/* What a first try has drawn when memory fails does not count. */
static bool
fake_draw(gpointer painter, const RvPainterModels *models, RvUnit *unit, GError **error)
{
    Device *d = painter;
    g_assert_false(d->is_asleep);
    g_assert_cmpstr(models->model, ==, unit->model);
    g_assert_cmpuint(unit->notes->len, ==, 0);
    g_atomic_int_inc(&d->draws);
    g_ptr_array_add(unit->notes, g_strdup("drawn"));
    return d->loaded <= d->fits ||
           rv_error_set(error, RV_ERROR_NO_MEMORY, "fake", NULL, "%d models are too many", d->loaded);
}

typedef struct {
    Device device;
    RvWorker *worker;
    int ended;
    bool is_done;
} World;

static void
on_drawn(RvWorker *worker, RvUnit *unit, bool ok, void *user)
{
    g_assert_true(ok == (unit->error == NULL));
}

static void
on_end(RvWorker *worker, RvUnit *unit, void *user)
{
    ((World *)user)->ended++;
}

static gboolean
wake(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

static World *
open_world(int fits)
{
    static const RvPainterClass painter = {
        .open = fake_open,
        .close = fake_close,
        .load = fake_load,
        .unload = fake_unload,
        .estimate = fake_estimate,
        .bytes = fake_bytes,
        .sleep = fake_sleep,
        .wake = fake_wake,
        .is_lost = fake_is_lost,
        .draw = fake_draw,
    };
    World *w = g_new0(World, 1);
    w->device.fits = fits;
    w->worker = rv_worker_new(&(RvWorkerOptions) { .painter = &painter,
                                                   .options = { .device = "fake", .user = &w->device },
                                                   .on_drawn = on_drawn,
                                                   .on_end = on_end,
                                                   .user = w });
    return w;
}

static void
close_world(World *w)
{
    rv_worker_free(w->worker, g_get_monotonic_time() + PATIENCE_US);
    g_assert_cmpint(w->device.opened, ==, w->device.closed);
    g_free(w);
}

/* Turns the loop until *value reaches `wanted`. */
static void
wait_for(const int *value, int wanted)
{
    guint source = g_timeout_add(1, wake, NULL);
    for (gint64 until = g_get_monotonic_time() + PATIENCE_US;
         g_atomic_int_get(value) < wanted && g_get_monotonic_time() < until;)
        g_main_context_iteration(NULL, TRUE);
    g_source_remove(source);
    g_assert_cmpint(g_atomic_int_get(value), >=, wanted);
}

/* The error's code, or -1. */
static int
draw(World *w, const char *model)
{
    g_autoptr(RvUnit) unit = rv_unit_new();
    int before = w->ended;
    unit->model = g_strdup(model);
    unit->spec = rv_studio_job_new(RV_STUDIO_TXT2IMG);
    rv_worker_draw(w->worker, unit);
    wait_for(&w->ended, before + 1);
    if (unit->error == NULL)
        g_assert_cmpuint(unit->notes->len, ==, 1);
    return unit->error != NULL ? unit->error->code : -1;
}

static void
on_unloaded(const GError *error, void *user)
{
    g_assert_no_error(error);
    ((World *)user)->is_done = true;
}

static void
unload(World *w)
{
    w->is_done = false;
    rv_worker_unload(w->worker, on_unloaded, w);
    while (!w->is_done)
        g_main_context_iteration(NULL, TRUE);
}

/* Models that are not needed go when there is no room to draw, and it is tried once more; but only once. */
static void
test_room_is_made(void)
{
    World *w = open_world(2);
    g_assert_cmpint(draw(w, "a"), ==, -1);
    g_assert_cmpint(draw(w, "b"), ==, -1);
    g_assert_cmpint(w->device.draws, ==, 2);
    g_assert_cmpint(draw(w, "c"), ==, -1);
    g_assert_cmpint(w->device.draws, ==, 4);
    g_assert_cmpint(w->device.loaded, ==, 1);
    g_assert_false(rv_worker_has_model(w->worker, "a", NULL));
    g_assert_true(rv_worker_has_model(w->worker, "c", NULL));
    w->device.fits = 0;
    g_assert_cmpint(draw(w, "d"), ==, RV_ERROR_NO_MEMORY); /* c goes, and still */
    g_assert_cmpint(w->device.draws, ==, 6);
    g_assert_cmpint(draw(w, "d"), ==, RV_ERROR_NO_MEMORY); /* nothing is left to go */
    g_assert_cmpint(w->device.draws, ==, 7);
    w->device.fits = 1;
    g_assert_cmpint(draw(w, "d"), ==, -1);
    close_world(w);
}

/* Lent memory: models stay loaded the first time, go the second, and go when the device does not wake. */
static void
test_unloading(void)
{
    World *w = open_world(9);
    w->device.sleeps = true;
    draw(w, "a");
    g_assert_cmpuint(rv_worker_bytes(w->worker), ==, 100);
    unload(w);
    g_assert_cmpuint(rv_worker_bytes(w->worker), ==, 0);
    g_assert_cmpint(w->device.loaded, ==, 1);
    g_assert_cmpint(draw(w, "a"), ==, -1);
    g_assert_cmpint(w->device.woken, ==, 1);
    g_assert_cmpuint(rv_worker_bytes(w->worker), ==, 100);
    unload(w);
    unload(w);
    unload(w);
    g_assert_cmpint(w->device.closed, ==, 1);
    g_assert_cmpint(draw(w, "a"), ==, -1);
    g_assert_cmpint(w->device.opened, ==, 2);
    unload(w);
    w->device.fails_to_wake = true;
    g_assert_cmpint(draw(w, "a"), ==, -1);
    g_assert_cmpint(w->device.opened, ==, 3);
    w->device.sleeps = false;
    unload(w);
    g_assert_cmpint(w->device.closed, ==, 3);
    close_world(w);
}

/* An idle worker closes a device that others lost. */
static void
test_lost_device_is_let_go(void)
{
    World *w = open_world(9);
    draw(w, "a");
    g_atomic_int_set(&w->device.is_lost, 1);
    wait_for(&w->device.closed, 1);
    g_atomic_int_set(&w->device.is_lost, 0);
    g_assert_cmpint(draw(w, "a"), ==, -1);
    g_assert_cmpint(w->device.opened, ==, 2);
    close_world(w);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/worker/room-is-made", test_room_is_made);
    g_test_add_func("/worker/unloading", test_unloading);
    g_test_add_func("/worker/lost-device-is-let-go", test_lost_device_is_let_go);
    return g_test_run();
}
