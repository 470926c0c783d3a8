/* test_live.c - the mailbox, order, tombstones and counters of live sessions. */
#include "test_live_world.h"

static void
test_one_frame_comes_back(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    g_assert_null(rv_live_session_last(client->session));
    world_add_machine(world, 40 * MS, NULL);
    client_push(client);
    world_run(world, 39 * MS);
    g_assert_cmpuint(client->shown->len, ==, 0);
    g_assert_cmpint(client_stats(client).in_work, ==, 1);
    world_run(world, 1 * MS);
    g_assert_cmpuint(client->shown->len, ==, 1);
    g_assert_cmpint(client_shown(client, 0)->age_us, ==, 40 * MS);
    g_assert_cmpint(client_shown(client, 0)->hold_us, ==, 0);
    g_assert_nonnull(rv_live_session_last(client->session));
    client_check(client);
    world_free(world);
}

static void
test_newest_wins(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 40 * MS, NULL);
    for (int i = 0; i < 5; i++)
        client_push(client); /* 0 starts; 1, 2, 3 are replaced */
    world_run(world, 100 * MS);
    g_assert_cmpuint(client->shown->len, ==, 2);
    g_assert_cmpuint(client_shown(client, 0)->sequence, ==, 0);
    g_assert_cmpuint(client_shown(client, 1)->sequence, ==, 4);
    g_assert_cmpuint(client_stats(client).counters.dropped, ==, 3);
    g_assert_cmpuint(client->lost->len, ==, 0); /* on_lost is for dispatched frames */
    client_check(client);
    world_free(world);
}

static void
test_no_device_keeps_only_the_newest(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    client_camera(client, 1000);
    world_run(world, 3 * G_USEC_PER_SEC);
    client_camera(client, 0);
    g_assert_cmpint(world->frames_alive, ==, 1);
    world_add_machine(world, 10 * MS, NULL);
    world_run(world, 10 * MS);
    g_assert_cmpuint(client->shown->len, ==, 1);
    g_assert_cmpuint(client_shown(client, 0)->sequence, ==, client->pushed - 1);
    client_check(client);
    world_free(world);
}

/* Answers that change places by a few milliseconds are put in order and none is lost for it. */
static void
test_order_over_eight_devices(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    for (int i = 0; i < 8; i++)
        world_add_machine(world, 200 * MS, NULL)->jitter = 0.1;
    client_camera(client, 30);
    world_run(world, 30 * G_USEC_PER_SEC);
    guint waited = 0;
    for (guint i = 0; i < client->shown->len; i++)
        waited += client_shown(client, i)->hold_us > 0;
    g_assert_cmpuint(waited, >, 10);
    g_assert_cmpuint(client->lost->len, <=, client->shown->len / 100);
    client_check(client);
    world_free(world);
}

/* A frame that was overtaken by half an interval is given up, and its answer is dropped. */
static void
test_late_frame_is_given_up(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *first = world_add_machine(world, 40 * MS, NULL);
    Machine *second = world_add_machine(world, 40 * MS, NULL);
    client_camera(client, 30);
    world_run(world, G_USEC_PER_SEC - 1);
    guint64 slow = client->pushed;
    for (int i = 0; i < 2; i++)
        machine_special(i == 0 ? first : second, slow, (RvSimulatedService) { .service_us = 300 * MS });
    world_run(world, G_USEC_PER_SEC);
    g_assert_cmpuint(client_stats(client).counters.late, ==, 1);
    g_assert_cmpuint(g_array_index(client->lost, guint64, 0), ==, slow);
    for (guint i = 1; i < client->shown->len; i++) {
        gint64 gap = client_shown(client, i)->time_us - client_shown(client, i - 1)->time_us;
        g_assert_cmpint(gap, <=, 2 * 34 * MS + 17 * MS); /* the missing one, and at most half an interval */
    }
    client_check(client);
    g_assert_cmpint(machine_stats(first).state, ==, RV_LIVE_DEVICE_WORKING);
    g_assert_cmpint(machine_stats(second).state, ==, RV_LIVE_DEVICE_WORKING);
    world_free(world);
}

static void
test_lost_frame_delays_nothing(void)
{
    static const int devices[] = { 1, 2, 4 };
    for (guint d = 0; d < G_N_ELEMENTS(devices); d++) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, NULL);
        for (int i = 0; i < devices[d]; i++) {
            Machine *machine = world_add_machine(world, devices[d] * 25 * MS, NULL);
            for (guint64 frame = 5; frame < 300; frame += 7)
                machine_special(machine, frame,
                                (RvSimulatedService) { devices[d] * 25 * MS, true, RV_ERROR_INVALID });
        }
        client_camera(client, 30);
        world_run(world, 10 * G_USEC_PER_SEC);
        client_camera(client, 0);
        world_run(world, G_USEC_PER_SEC);
        g_assert_cmpuint(client_stats(client).counters.failed, ==, 43);
        for (guint i = 0; i < client->shown->len; i++)
            g_assert_cmpint(client_shown(client, i)->age_us, ==, devices[d] * 25 * MS);
        client_check(client);
        world_free(world);
    }
}

static void
test_blocked_session_starts_nothing(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 10 * MS, NULL);
    client_push(client);
    rv_live_session_set_blocked(client->session, true);
    for (int i = 0; i < 3; i++)
        client_push(client);
    world_run(world, 100 * MS);
    g_assert_cmpuint(client->shown->len, ==, 1); /* what was in work */
    rv_live_session_set_blocked(client->session, false);
    world_run(world, 100 * MS);
    g_assert_cmpuint(client->shown->len, ==, 2);
    g_assert_cmpuint(client_shown(client, 1)->sequence, ==, 3);
    client_check(client);
    world_free(world);
}

static void
test_close_with_frames_everywhere(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Client *other = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 40 * MS, NULL);
    for (int i = 0; i < 3; i++)
        client_push(client);
    client_push(other);
    client_close(client);
    world_run(world, 200 * MS);
    g_assert_cmpuint(client->shown->len, ==, 0);
    g_assert_cmpuint(other->shown->len, ==, 1); /* the device was not harmed */
    g_assert_cmpint(machine_stats(machine).state, ==, RV_LIVE_DEVICE_WORKING);
    RvLiveCounters sum;
    rv_live_counters(world->live, &sum);
    g_assert_cmpuint(sum.pushed, ==, 4);
    g_assert_cmpuint(sum.shown, ==, 1);
    g_assert_cmpuint(sum.dropped, ==, 3);
    rv_live_session_close(NULL);
    world_free(world);
}

static void
close_self(RvLiveSession *session, RvFrame *result, void *user_data)
{
    (*(int *)user_data)++;
    rv_live_session_close(session);
}

static void
push_again(RvLiveSession *session, RvFrame *result, void *user_data)
{
    (*(int *)user_data)++;
    rv_live_session_push(session, rv_frame_new(NULL, 0, NULL));
}

static void
test_callbacks_may_call_back(void)
{
    World *world = world_new(NULL);
    world_add_machine(world, 10 * MS, NULL);
    int closed = 0, again = 0;
    RvLiveSessionOptions closing = { .on_show = close_self, .user_data = &closed };
    RvLiveSessionOptions pushing = { .on_show = push_again, .user_data = &again };
    RvLiveSession *one = rv_live_session_new(world->live, &closing, NULL);
    RvLiveSession *two = rv_live_session_new(world->live, &pushing, NULL);
    g_assert_true(rv_live_session_user_data(two) == &again);
    rv_live_session_push(one, rv_frame_new(NULL, 0, NULL));
    rv_live_session_push(two, rv_frame_new(NULL, 0, NULL));
    world_run(world, 1000 * MS);
    g_assert_cmpint(closed, ==, 1);
    g_assert_cmpint(again, ==, 99);
    world_free(world);
}

static void
test_options_are_checked(void)
{
    World *world = world_new(&(RvLiveOptions) { .max_sessions = 2 });
    const RvLiveSessionOptions wrong[] = {
        { .pace = (RvPace)7 }, { .pace = RV_PACE_BUDGET }, { .pace = RV_PACE_BUDGET, .budget_us = -1 },
        { .weight = -1 },      { .weight = 1e300 },        { .weight = __builtin_nan("") },
        { .interval_us = -1 },
    };
    for (guint i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_live_session_new(world->live, &wrong[i], &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    }
    Client *first = world_add_client(world, NULL);
    world_add_client(world, NULL);
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_live_session_new(world->live, &(RvLiveSessionOptions) { 0 }, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_BUSY);
    client_close(first);
    world_add_client(world, NULL);
    world_free(world);
}

static void
test_statistics(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, &(RvLiveSessionOptions) { .name = "venue" });
    Machine *machine = world_add_machine(world, 20 * MS, &(RvLiveDeviceOptions) { .name = "cuda:3" });
    RvLiveSessionStats empty = client_stats(client);
    g_assert_cmpuint(empty.age.count, ==, 0);
    g_assert_cmpint(empty.age.max, ==, 0);
    client_camera(client, 25);
    world_run(world, 10 * G_USEC_PER_SEC);
    RvLiveSessionStats stats = client_stats(client);
    g_assert_cmpstr(stats.name, ==, "venue");
    g_assert_cmpint(stats.age.p50, ==, 20 * MS);
    g_assert_cmpint(stats.age.max, ==, 20 * MS);
    g_assert_cmpint(stats.interval.p50, ==, 40 * MS);
    g_assert_cmpuint(stats.interval.count, ==, stats.age.count - 1);
    g_assert_cmpint(stats.service.p99, ==, 20 * MS);
    g_assert_cmpint(stats.stage[RV_STAGE_WAIT].max, ==, 0);
    g_assert_cmpfloat(stats.fps_in, >, 24);
    g_assert_cmpfloat(stats.fps_in, <, 26.5);
    g_assert_cmpfloat_with_epsilon(stats.fps_shown, 25, 1);
    RvLiveDeviceStats device = machine_stats(machine);
    g_assert_cmpstr(device.name, ==, "cuda:3");
    g_assert_cmpuint(device.served, ==, stats.counters.shown);
    g_assert_cmpint(device.busy_us, ==, stats.device_us - 20 * MS * stats.in_work);
    /* Only the last minute counts. */
    machine->usual.service_us = 5 * MS;
    world_run(world, 70 * G_USEC_PER_SEC);
    g_assert_cmpint(client_stats(client).age.max, ==, 5 * MS);
    g_assert_cmpuint(client_stats(client).age.count, <=, 1501);
    client_camera(client, 0);
    world_run(world, 3 * G_USEC_PER_SEC);
    g_assert_cmpfloat_with_epsilon(client_stats(client).fps_in, 0, 1e-9);
    g_assert_cmpfloat_with_epsilon(client_stats(client).fps_shown, 0, 1e-9);
    world_free(world);
}

/* The age starts at the capture if the transport knows it, but never in the future. */
static void
test_age_starts_at_birth(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 10 * MS, NULL);
    RvFrame *frame = rv_frame_new(NULL, 0, NULL);
    frame->born_us = START_US - 50 * MS;
    rv_live_session_push(client->session, frame);
    g_assert_cmpint(client_stats(client).in_work, ==, 1);
    rv_live_session_close(client->session);
    RvLiveSession *session = rv_live_session_new(world->live, &(RvLiveSessionOptions) { 0 }, NULL);
    world_run(world, 100 * MS);
    for (int i = 0; i < 2; i++) {
        frame = rv_frame_new(NULL, 0, NULL);
        frame->born_us = rv_clock_now(world->clock) + (i == 0 ? -50 * MS : G_USEC_PER_SEC);
        frame->capture_us = 77;
        rv_live_session_push(session, frame);
        world_run(world, 10 * MS);
        g_assert_cmpint(rv_live_session_last(session)->capture_us, ==, 77);
    }
    RvLiveSessionStats stats;
    rv_live_session_stats(session, &stats);
    g_assert_cmpint(stats.age.max, ==, 60 * MS);
    g_assert_cmpint(stats.age.p50, ==, 10 * MS);
    world_free(world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/live/one_frame_comes_back", test_one_frame_comes_back);
    g_test_add_func("/live/newest_wins", test_newest_wins);
    g_test_add_func("/live/no_device_keeps_only_the_newest", test_no_device_keeps_only_the_newest);
    g_test_add_func("/live/order_over_eight_devices", test_order_over_eight_devices);
    g_test_add_func("/live/late_frame_is_given_up", test_late_frame_is_given_up);
    g_test_add_func("/live/lost_frame_delays_nothing", test_lost_frame_delays_nothing);
    g_test_add_func("/live/blocked_session_starts_nothing", test_blocked_session_starts_nothing);
    g_test_add_func("/live/close_with_frames_everywhere", test_close_with_frames_everywhere);
    g_test_add_func("/live/callbacks_may_call_back", test_callbacks_may_call_back);
    g_test_add_func("/live/options_are_checked", test_options_are_checked);
    g_test_add_func("/live/statistics", test_statistics);
    g_test_add_func("/live/age_starts_at_birth", test_age_starts_at_birth);
    return g_test_run();
}
