/* The thread around a drawer, with one that works beside it as a GPU does: frames overlap and stay in order,
 * failures take the drawer down to be opened anew. */
#include <stdlib.h>
#include <string.h>

#include "server/mirror_device.h"

#define FRAME_US 30000
#define PATIENCE_US (G_USEC_PER_SEC / 2)
#define STALL_US (3 * G_USEC_PER_SEC)

/* Pretends a device: each frame is ready FRAME_US after the one before it. */
typedef struct {
    RvDrawer base;
    GQueue ready_us; /* gint64 *, of frames under way */
    gint64 last_us;
    int most_under_way, started, opened, slept, woken;
    gint closed, is_lost; /* atomic */
    bool sleeps, is_asleep, fails_to_wake;
    gulong opening_us;           /* what opening and waking take */
    int fail_start, fail_finish; /* the number of the frame that fails; 0: none */
    int finished;
    int stall_start; /* the number of the frame that takes STALL_US to start; 0: none */
    char *prompt;    /* that it was opened with */
} FakeDrawer;

static bool
fake_open(RvDrawer *drawer, const RvParameters *parameters, GError **error)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_free(d->prompt);
    d->prompt = rv_parameters_prompt(parameters);
    d->opened++;
    g_usleep(d->opening_us);
    d->last_us = 0;
    return true;
}

static bool
fake_start(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_assert_false(d->is_asleep);
    if (++d->started == d->fail_start)
        return rv_error_set(error, RV_ERROR_DEVICE, "fake", NULL, "lost");
    if (d->started == d->stall_start)
        g_usleep(STALL_US);
    gint64 *ready = g_new(gint64, 1);
    *ready = d->last_us = MAX(g_get_monotonic_time(), d->last_us) + FRAME_US;
    g_queue_push_tail(&d->ready_us, ready);
    d->most_under_way = MAX(d->most_under_way, (int)d->ready_us.length);
    g_assert_cmpint((int)d->ready_us.length, <=, d->base.depth);
    return true;
}

static RvPicture *
fake_finish(RvDrawer *drawer, GError **error)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_autofree gint64 *ready = g_queue_pop_head(&d->ready_us);
    gint64 now = g_get_monotonic_time();
    if (*ready > now)
        g_usleep((gulong)(*ready - now));
    if (++d->finished == d->fail_finish) {
        rv_error_set(error, RV_ERROR_DEVICE, "fake", NULL, "lost");
        return NULL;
    }
    return rv_picture_new(d->base.width, d->base.height, false, error);
}

static bool
fake_sleep(RvDrawer *drawer)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_assert_cmpint((int)d->ready_us.length, ==, 0);
    g_assert_false(d->is_asleep);
    d->slept += d->sleeps;
    return d->is_asleep = d->sleeps;
}

static bool
fake_wake(RvDrawer *drawer, GError **error)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_assert_true(d->is_asleep);
    if (d->fails_to_wake)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "fake", NULL, "others have it");
    d->woken++;
    g_usleep(d->opening_us);
    d->is_asleep = false;
    return true;
}

static bool
fake_is_lost(RvDrawer *drawer)
{
    return g_atomic_int_get(&((FakeDrawer *)drawer)->is_lost) != 0;
}

static void
fake_close(RvDrawer *drawer)
{
    FakeDrawer *d = (FakeDrawer *)drawer;
    g_assert_cmpint((int)d->ready_us.length, ==, 0);
    d->is_asleep = false;
    g_atomic_int_inc(&d->closed);
}

static void
fake_free(RvDrawer *drawer)
{
    g_free(((FakeDrawer *)drawer)->prompt);
    g_free(drawer);
}

static FakeDrawer *
fake_new(int depth)
{
    static const RvDrawerClass class = {
        .open = fake_open,
        .start = fake_start,
        .finish = fake_finish,
        .sleep = fake_sleep,
        .wake = fake_wake,
        .is_lost = fake_is_lost,
        .close = fake_close,
        .free = fake_free,
    };
    FakeDrawer *d = g_new0(FakeDrawer, 1);
    d->base = (RvDrawer) {
        .class = &class, .name = "fake", .width = 8, .height = 8, .depth = depth, .expected_us = FRAME_US
    };
    return d;
}

typedef struct {
    RvClock *clock;
    RvLive *live;
    RvState *state;
    FakeDrawer *drawer;
    RvMirrorDevice *device;
    RvLiveSession *session;
    guint32 last_shown;
    int shown;
    gint64 least_us, most_us; /* ages */
} World;

static void
on_open(RvMirrorDevice *device, const GError *error, void *user)
{
    g_assert_null(error);
}

static void
on_show(RvLiveSession *session, RvFrame *result, void *user)
{
    World *w = user;
    gint64 age = g_get_monotonic_time() - result->born_us;
    g_assert_cmpuint(result->sequence, >, w->last_shown);
    w->last_shown = (guint32)result->sequence;
    w->shown++;
    w->least_us = w->shown == 1 ? age : MIN(w->least_us, age);
    w->most_us = MAX(w->most_us, age);
}

static void
raster_free(gpointer data)
{
    rv_raster_free(data);
}

static gboolean
wake(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

/* Turns the loop until so many frames were shown (at most a minute), with a frame from the camera every
 * `interval_us`, which a busy machine may stretch. A camera that waits sends one only when nothing is under
 * way. Returns the time. */
static gint64
run_until_shown(World *w, int shown, gint64 interval_us, bool camera_waits)
{
    static guint32 sequence;
    gint64 start = g_get_monotonic_time(), next = start;
    guint source = g_timeout_add(1, wake, NULL);
    int sent = 0, wanted = w->shown + shown;
    for (gint64 now = start; w->shown < wanted && now < start + G_USEC_PER_SEC * 60;
         now = g_get_monotonic_time()) {
        if (now >= next && !(camera_waits && sent > w->shown)) {
            RvFrame *frame =
                rv_frame_new(rv_raster_new_picture(rv_picture_new(8, 8, false, NULL)), 192, raster_free);
            frame->sequence = ++sequence;
            frame->born_us = now;
            rv_live_session_push(w->session, frame);
            next = now + interval_us;
            sent++;
        }
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(source);
    g_assert_cmpint(w->shown, >=, wanted);
    return g_get_monotonic_time() - start;
}

/* On a device with `turns` (NULL: not shared), which is hung after `hang_us` (0: the usual). */
static World *
open_shared_world(FakeDrawer *drawer, RvTurns *turns, gint64 hang_us)
{
    World *w = g_new0(World, 1);
    w->clock = rv_clock_new_real(NULL);
    w->live = rv_live_new(w->clock, &(RvLiveOptions) { .probe_first_us = 20000, .hang_us = hang_us });
    w->state = rv_state_new(NULL, NULL);
    g_assert_true(rv_state_set_text(w->state, "prompt", "kept from before", NULL));
    w->drawer = drawer;
    w->device = rv_mirror_device_new(
        &drawer->base,
        &(RvMirrorDeviceOptions) {
            .live = w->live, .turns = turns, .state = w->state, .on_open = on_open, .user = w });
    while (!rv_mirror_device_is_open(w->device))
        g_main_context_iteration(NULL, TRUE);
    w->session =
        rv_live_session_new(w->live, &(RvLiveSessionOptions) { .on_show = on_show, .user_data = w }, NULL);
    return w;
}

static World *
open_world(FakeDrawer *drawer)
{
    return open_shared_world(drawer, NULL, 0);
}

static void
close_world(World *w)
{
    rv_live_session_close(w->session);
    rv_mirror_device_close(w->device, g_get_monotonic_time() + 10 * G_USEC_PER_SEC);
    rv_live_free(w->live);
    rv_clock_free(w->clock);
    rv_state_free(w->state);
    g_free(w);
}

/* More frames than it can draw: two are under way, and none comes sooner than the device can. */
static void
test_full_load_overlaps(void)
{
    FakeDrawer *drawer = fake_new(2);
    World *w = open_world(drawer);
    gint64 us = run_until_shown(w, 20, FRAME_US / 4, false);
    g_assert_cmpint(drawer->most_under_way, ==, 2);
    g_assert_cmpint(us, >=, 20 * FRAME_US);
    g_assert_cmpstr(drawer->prompt, ==, "kept from before");
    close_world(w);
}

/* Fewer frames than it can draw: each is alone, and shown when it is ready. */
static void
test_slow_camera_waits_for_nothing(void)
{
    FakeDrawer *drawer = fake_new(2);
    World *w = open_world(drawer);
    run_until_shown(w, 10, 2 * FRAME_US, true);
    g_assert_cmpint(drawer->most_under_way, ==, 1);
    g_assert_cmpint(w->least_us, <, 2 * FRAME_US);
    close_world(w);
}

static void
test_one_at_a_time(void)
{
    FakeDrawer *drawer = fake_new(1);
    World *w = open_world(drawer);
    run_until_shown(w, 10, FRAME_US / 4, false);
    g_assert_cmpint(drawer->most_under_way, ==, 1);
    close_world(w);
}

/* A lost device is closed, opened again and goes on, whichever call says that it was lost. */
static void
test_lost_device_comes_back(void)
{
    for (int in_finish = 0; in_finish < 2; in_finish++) {
        FakeDrawer *drawer = fake_new(2);
        drawer->fail_start = in_finish ? 0 : 5;
        drawer->fail_finish = in_finish ? 5 : 0;
        World *w = open_world(drawer);
        g_test_expect_message("reverie", G_LOG_LEVEL_WARNING, "*taken out*");
        run_until_shown(w, 12, FRAME_US / 4, false);
        g_test_assert_expected_messages();
        g_assert_cmpint(drawer->opened, ==, 2);
        g_assert_cmpint(rv_live_working_devices(w->live), ==, 1);
        close_world(w);
    }
}

static void
on_parked(void *user)
{
    *(bool *)user = true;
}

/* Frames beyond those that were waited for are shown, too: none comes after it was parked. */
static void
park(World *w)
{
    bool is_parked = false;
    RvLiveSessionStats stats;
    guint source = g_timeout_add(1, wake, NULL);
    do {
        g_main_context_iteration(NULL, TRUE);
        rv_live_session_stats(w->session, &stats);
    } while (stats.in_work + stats.waiting > 0);
    g_source_remove(source);
    rv_mirror_device_park(w->device, on_parked, &is_parked);
    while (!is_parked)
        g_main_context_iteration(NULL, TRUE);
}

/* A device that can sleep does so when it is parked, and is closed when it is parked again or does not wake.
 */
static void
test_parked_device_sleeps(void)
{
    FakeDrawer *drawer = fake_new(2);
    drawer->sleeps = true;
    World *w = open_world(drawer);
    for (int i = 1; i <= 3; i++) {
        park(w);
        g_assert_cmpint(drawer->slept, ==, i);
        run_until_shown(w, 3, FRAME_US / 4, false);
        g_assert_cmpint(drawer->woken, ==, i);
    }
    g_assert_cmpint(drawer->opened, ==, 1);
    park(w);
    park(w);
    park(w);
    g_assert_cmpint(g_atomic_int_get(&drawer->closed), ==, 1);
    run_until_shown(w, 3, FRAME_US / 4, false);
    g_assert_cmpint(drawer->opened, ==, 2);
    g_assert_cmpint(drawer->woken, ==, 3);
    drawer->fails_to_wake = true;
    park(w);
    run_until_shown(w, 3, FRAME_US / 4, false);
    g_assert_cmpint(drawer->opened, ==, 3);
    drawer->sleeps = false;
    park(w);
    g_assert_cmpint(g_atomic_int_get(&drawer->closed), ==, 3);
    run_until_shown(w, 3, FRAME_US / 4, false);
    g_assert_cmpint(drawer->opened, ==, 4);
    close_world(w);
}

/* A device that others lost is closed while nobody asks for frames. */
static void
test_idle_device_is_let_go(void)
{
    FakeDrawer *drawer = fake_new(2);
    World *w = open_world(drawer);
    run_until_shown(w, 3, FRAME_US / 4, false);
    g_atomic_int_set(&drawer->is_lost, 1);
    while (g_atomic_int_get(&drawer->closed) == 0)
        g_usleep(1000);
    g_atomic_int_set(&drawer->is_lost, 0);
    run_until_shown(w, 3, FRAME_US / 4, false);
    g_assert_cmpint(drawer->opened, ==, 2);
    close_world(w);
}

/* ---- drawings ---- */

/* One colour but for the left half, which is darker. */
static RvRaster *
two_halves(int width, int height, bool has_planes)
{
    RvRaster *raster = has_planes ? rv_raster_new_planes(width, height, NULL)
                                  : rv_raster_new_picture(rv_picture_new(width, height, false, NULL));
    gsize size;
    guint8 *samples = rv_raster_samples(raster, &size);
    memset(samples, 128, size); /* of chroma: none */
    for (int i = 0; i < width * height; i++) {
        guint8 value = i % width < width / 2 ? 40 : 200;
        memset(has_planes ? samples + i : samples + 3 * i, value, has_planes ? 1 : 3);
    }
    return raster;
}

static void
check_halves(const RvRaster *raster, int left, int right)
{
    g_autofree guint8 *converted = g_malloc(3 * (gsize)raster->width * (gsize)raster->height);
    const guint8 *rgb = raster->picture != NULL ? raster->picture->rgb : converted;
    if (raster->picture == NULL)
        g_assert_true(rv_raster_write_rgb(raster, converted, NULL));
    for (int i = 0; i < raster->width * raster->height; i++)
        for (int c = 0; c < 3; c++)
            g_assert_cmpint(abs(rgb[3 * i + c] - (i % raster->width < raster->width / 2 ? left : right)), <=,
                            1);
}

static RvRaster *
draw(RvDrawer *drawer, RvRaster *frame, const char *settings)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    g_auto(GStrv) words = g_strsplit(settings, " ", -1);
    for (char **word = words; word[0] != NULL && word[0][0] != 0; word += 2)
        g_assert_true(rv_state_set_text(state, word[0], word[1], NULL));
    g_autoptr(RvParameters) parameters = rv_state_snapshot(state, g_get_monotonic_time());
    RvDrawing drawing;
    g_assert_true(rv_drawer_start(drawer, frame, parameters, &drawing, &error));
    RvRaster *drawn = rv_drawer_finish(drawer, &drawing, &error);
    g_assert_no_error(error);
    return drawn;
}

/* Everything that a client can ask of the effect is the same on planes as on RGB, and a frame of another size
 * is cut. */
static void
test_invert_draws_both_kinds(void)
{
    static const struct {
        const char *settings;
        int left, right;
    } cases[] = {
        { "", 215, 55 },
        { "passthrough true", 40, 200 },
        { "mirror true", 55, 215 },
        { "passthrough true mirror true", 200, 40 },
        { "opacity 0.25", 84, 164 },
        { "opacity 0.25 mirror true", 164, 84 },
        { "opacity 0", 40, 200 },
    };
    RvDrawer *drawer = rv_drawer_invert_new(48, 32);
    g_assert_true(rv_drawer_takes_planes(drawer));
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        for (int has_planes = 0; has_planes < 2; has_planes++) {
            g_autoptr(RvRaster) drawn = draw(drawer, two_halves(48, 32, has_planes), cases[i].settings);
            g_assert_cmpint(drawn->picture == NULL, ==, has_planes);
            check_halves(drawn, cases[i].left, cases[i].right);
            g_autoptr(RvRaster) cut = draw(drawer, two_halves(48, 64, has_planes), cases[i].settings);
            g_assert_cmpint(cut->width, ==, 48);
            g_assert_cmpint(cut->height, ==, 32);
            check_halves(cut, cases[i].left, cases[i].right);
        }
    drawer->class->free(drawer);
}

/* Who cannot draw planes gets RGB. */
static void
test_planes_become_rgb(void)
{
    FakeDrawer *drawer = fake_new(1);
    g_assert_false(rv_drawer_takes_planes(&drawer->base));
    g_autoptr(RvRaster) passed = draw(&drawer->base, two_halves(8, 8, true), "passthrough true");
    g_assert_nonnull(passed->picture);
    check_halves(passed, 40, 200);
    g_autoptr(RvRaster) drawn = draw(&drawer->base, two_halves(16, 16, true), "opacity 0.5");
    g_assert_nonnull(drawn->picture);
    fake_free(&drawer->base);
}

static void
count_changes(RvLiveDevice *device, void *user)
{
    int *counts = user;
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    counts[0] += (int)stats.taken_out;
    counts[1] += (int)stats.brought_back;
}

/* The thread of one of two devices hangs: it is taken out, frames go on over the other one, and it comes
 * back. */
static void
test_stalled_device_disturbs_nobody(void)
{
    FakeDrawer *good = fake_new(1), *bad = fake_new(1);
    bad->base.name = "bad";
    bad->stall_start = 5;
    World *w = open_world(good);
    RvMirrorDevice *second = rv_mirror_device_new(
        &bad->base,
        &(RvMirrorDeviceOptions) { .live = w->live, .state = w->state, .on_open = on_open, .user = w });
    while (!rv_mirror_device_is_open(second))
        g_main_context_iteration(NULL, TRUE);
    run_until_shown(w, 10, FRAME_US / 2, false);
    g_test_expect_message("reverie", G_LOG_LEVEL_WARNING, "*bad*taken out*");
    gint64 start = g_get_monotonic_time();
    while (rv_live_working_devices(w->live) == 2 && g_get_monotonic_time() < start + 10 * STALL_US)
        run_until_shown(w, 1, FRAME_US / 2, false);
    g_assert_cmpint(rv_live_working_devices(w->live), ==, 1);
    run_until_shown(w, 5, FRAME_US, false);
    while (rv_live_working_devices(w->live) == 1 && g_get_monotonic_time() < start + 10 * STALL_US)
        run_until_shown(w, 1, FRAME_US, false);
    g_test_assert_expected_messages();
    g_assert_cmpint(rv_live_working_devices(w->live), ==, 2);
    int counts[2] = { 0 };
    rv_live_foreach_device(w->live, count_changes, counts);
    g_assert_cmpint(counts[0], ==, 1);
    g_assert_cmpint(counts[1], ==, 1);
    rv_mirror_device_close(second, g_get_monotonic_time() + 10 * G_USEC_PER_SEC);
    close_world(w);
}

static gpointer
take_a_long_step(gpointer turns)
{
    g_assert_true(rv_turns_begin_step(turns, NULL));
    g_usleep(3 * PATIENCE_US);
    rv_turns_end_step(turns);
    return NULL;
}

/* While the studio's step takes longer than any frame may, the mirror waits for its turn and is not hung. */
static void
test_waiting_for_a_turn_is_no_hang(void)
{
    RvTurnsTable *table = rv_turns_table_new(RV_SHARE_FAIR);
    RvTurns *turns = rv_turns_table_get(table, "fake");
    FakeDrawer *drawer = fake_new(2);
    World *w = open_shared_world(drawer, turns, PATIENCE_US);
    int counts[2] = { 0 };
    run_until_shown(w, 3, FRAME_US / 2, false);
    GThread *studio = g_thread_new("studio", take_a_long_step, turns);
    for (int i = 0; i < 1000 && w->most_us < 2 * PATIENCE_US; i++) /* until a frame has waited */
        run_until_shown(w, 1, FRAME_US / 2, false);
    g_thread_join(studio);
    g_assert_cmpint(w->most_us, >=, 2 * PATIENCE_US);
    rv_live_foreach_device(w->live, count_changes, counts);
    g_assert_cmpint(counts[0], ==, 0);
    close_world(w);
    rv_turns_table_free(table);
}

/* Nor while the model comes back, which takes longer than any frame may. */
static void
test_getting_ready_is_no_hang(void)
{
    FakeDrawer *drawer = fake_new(2);
    World *w = open_shared_world(drawer, NULL, PATIENCE_US);
    drawer->opening_us = 2 * PATIENCE_US;
    for (int sleeps = 0; sleeps < 2; sleeps++) {
        int counts[2] = { 0 };
        drawer->sleeps = sleeps != 0;
        park(w);
        w->most_us = 0;
        run_until_shown(w, 3, FRAME_US / 2, false);
        g_assert_cmpint(w->most_us, >=, 2 * PATIENCE_US);
        rv_live_foreach_device(w->live, count_changes, counts);
        g_assert_cmpint(counts[0], ==, 0);
    }
    g_assert_cmpint(drawer->opened, ==, 2);
    g_assert_cmpint(drawer->woken, ==, 1);
    close_world(w);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mirror-device/full-load", test_full_load_overlaps);
    g_test_add_func("/mirror-device/slow-camera", test_slow_camera_waits_for_nothing);
    g_test_add_func("/mirror-device/one-at-a-time", test_one_at_a_time);
    g_test_add_func("/mirror-device/lost", test_lost_device_comes_back);
    g_test_add_func("/mirror-device/parked", test_parked_device_sleeps);
    g_test_add_func("/mirror-device/let-go", test_idle_device_is_let_go);
    g_test_add_func("/mirror-device/kinds", test_invert_draws_both_kinds);
    g_test_add_func("/mirror-device/rgb-only", test_planes_become_rgb);
    g_test_add_func("/mirror-device/stalled", test_stalled_device_disturbs_nobody);
    g_test_add_func("/mirror-device/turns", test_waiting_for_a_turn_is_no_hang);
    g_test_add_func("/mirror-device/getting-ready", test_getting_ready_is_no_hang);
    return g_test_run();
}
