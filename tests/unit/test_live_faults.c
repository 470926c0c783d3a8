/* test_live_faults.c - devices that hang, fail, come back or go away. */
#include "test_live_world.h"

#define SECOND G_USEC_PER_SEC

static RvSimulatedService
failure(RvError code)
{
    return (RvSimulatedService) { 10 * MS, true, code };
}

/* Two devices, one stalls: its frame becomes a tombstone after 1 s, the other goes on meanwhile. */
static void
test_hung_device_is_taken_out_and_comes_back(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *bad = world_add_machine(world, 40 * MS, NULL);
    Machine *good = world_add_machine(world, 40 * MS, NULL);
    client_camera(client, 30);
    world_run(world, 5 * SECOND);
    guint before = client->shown->len;
    gint64 since = rv_clock_now(world->clock);
    rv_simulated_device_hang(bad->simulated, since + 30 * SECOND);
    world_run(world, 2 * SECOND);
    g_assert_cmpint(machine_stats(bad).state, !=, RV_LIVE_DEVICE_WORKING);
    g_assert_cmpstr(machine_stats(bad).last_error, ==, "no answer in 1000 ms");
    g_assert_cmpint(rv_live_working_devices(world->live), ==, 1);
    g_assert_cmpuint(client->shown->len, >, before + 45); /* 25 a second */
    g_assert_cmpuint(client->lost->len, ==, 1);
    for (guint i = before + 1; i < client->shown->len; i++) {
        gint64 gap = client_shown(client, i)->time_us - client_shown(client, i - 1)->time_us;
        g_assert_cmpint(gap, <=, 2 * 34 * MS + 17 * MS); /* also across the frame that never comes */
    }
    world_run(world, 26 * SECOND);
    g_assert_cmpint(machine_stats(bad).state, !=, RV_LIVE_DEVICE_WORKING);
    g_assert_cmpint(rv_simulated_device_in_hand(bad->simulated), ==, 2); /* the frame and a probe */
    world_run(world, 3 * SECOND);
    g_assert_cmpint(machine_stats(bad).state, ==, RV_LIVE_DEVICE_WORKING);
    g_assert_cmpuint(machine_stats(bad).taken_out, ==, 1);
    g_assert_cmpuint(machine_stats(bad).brought_back, ==, 1);
    g_assert_cmpuint(machine_stats(bad).late_answers, ==, 2);
    g_assert_cmpuint(machine_stats(good).taken_out, ==, 0);
    guint64 served = machine_stats(bad).served;
    world_run(world, 2 * SECOND);
    g_assert_cmpuint(machine_stats(bad).served, >, served + 20);
    client_check(client);
    world_free(world);
}

/* With the only device gone the last picture stays; its late answer is not shown. */
static void
test_only_device_stalls(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 10 * MS, NULL);
    client_camera(client, 30);
    world_run(world, 3 * SECOND + 5 * MS);
    guint before = client->shown->len;
    RvFrame *last = rv_live_session_last(client->session);
    gint64 stall = rv_clock_now(world->clock);
    rv_simulated_device_hang(machine->simulated, stall + 30 * SECOND);
    world_run(world, 29 * SECOND);
    g_assert_cmpuint(client->shown->len, <=, before + 1);
    if (client->shown->len == before)
        g_assert_true(rv_live_session_last(client->session) == last);
    guint held = client->shown->len;
    world_run(world, 2 * SECOND);
    /* Back at once, with the newest frame. */
    const Shown *first = client_shown(client, held);
    g_assert_cmpint(first->time_us, <, stall + 30 * SECOND + 50 * MS);
    g_assert_cmpint(first->age_us, <, 50 * MS);
    g_assert_cmpuint(client_stats(client).counters.failed, ==, 1);
    g_assert_cmpuint(client_stats(client).counters.held, ==, 1);
    g_assert_cmpint(world->most_alive, <=, 4);
    client_check(client);
    world_free(world);
}

/* The patience is four times the p99, and the time of stalls does not stretch it. */
static void
test_slow_devices_get_more_patience(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 600 * MS, NULL);
    client_camera(client, 10);
    world_run(world, 60 * SECOND);
    g_assert_cmpuint(machine_stats(machine).taken_out, ==, 0);
    guint64 slow = client->pushed;
    for (guint64 i = slow; i < slow + 8; i++)
        machine_special(machine, i, (RvSimulatedService) { .service_us = 2300 * MS });
    world_run(world, 5 * SECOND);
    g_assert_cmpuint(machine_stats(machine).taken_out, ==, 0);
    rv_simulated_device_hang(machine->simulated, rv_clock_now(world->clock) + 60 * SECOND);
    world_run(world, 12 * SECOND);
    g_assert_cmpuint(machine_stats(machine).taken_out, ==, 1);
    world_free(world);
}

/* One stall of a device of which little is known does not buy it long patience. */
static void
test_stall_does_not_stretch_patience(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 40 * MS, NULL);
    client_camera(client, 30);
    for (guint64 stall = 1; stall <= 2; stall++) {
        world_run(world, SECOND);
        rv_simulated_device_hang(machine->simulated, rv_clock_now(world->clock) + 20 * SECOND);
        world_run(world, 5 * SECOND);
        g_assert_cmpuint(machine_stats(machine).taken_out, ==, stall);
        world_run(world, 16 * SECOND);
        g_assert_cmpuint(machine_stats(machine).brought_back, ==, stall);
    }
    world_free(world);
}

/* ---- devices that are shared ---- */

/* Answers probes only. */
static void
keep_job(void *device, RvLiveJob *job)
{
    if (rv_live_job_frame(job) != NULL)
        *(RvLiveJob **)device = job;
    else
        rv_live_device_done(job, NULL, g_error_new_literal(RV_ERROR, RV_ERROR_DEVICE, "silent"));
}

static RvLiveDeviceStats
stats_of(const RvLiveDevice *device)
{
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    return stats;
}

/* Time in which the device belongs to others is no silence: neither while it lasts nor after it. What follows
 * is, and none of it is service. */
static void
test_waiting_for_others_is_no_hang(void)
{
    static const RvLiveDeviceClass class = { .start = keep_job };
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    RvLiveJob *job = NULL;
    RvLiveDevice *device = rv_live_add_device(world->live, &class, &job, NULL);
    client_push(client);
    g_assert_nonnull(job);
    for (int i = 0; i < 2; i++) {
        world_run(world, 300 * MS);
        rv_live_job_set_waiting(job, true);
        world_run(world, 30 * SECOND);
        rv_live_job_set_waiting(job, false);
    }
    world_run(world, 300 * MS);
    g_assert_cmpuint(stats_of(device).taken_out, ==, 0);
    rv_live_device_done(job, rv_frame_new_result(rv_live_job_frame(job), NULL, 0, NULL), NULL);
    world_run(world, MS);
    g_assert_cmpuint(stats_of(device).served, ==, 1);
    g_assert_cmpint(stats_of(device).service.max, ==, 900 * MS);
    job = NULL;
    client_push(client);
    world_run(world, 100 * MS);
    g_assert_nonnull(job);
    rv_live_job_set_waiting(job, true);
    world_run(world, 30 * SECOND);
    rv_live_job_set_waiting(job, false);
    world_run(world, 8 * SECOND); /* four times what the first took is more than a second */
    g_assert_cmpuint(stats_of(device).taken_out, ==, 1);
    g_assert_true(rv_live_job_is_given_up(job));
    rv_live_device_done(job, NULL, g_error_new_literal(RV_ERROR, RV_ERROR_CANCELLED, "given up"));
    rv_live_remove_device(device);
    client_check(client);
    world_free(world);
}

/* Nobody waits for ever: what comes to nothing is taken out, and its frame is a tombstone. */
static void
test_waiting_has_an_end(void)
{
    static const RvLiveDeviceClass class = { .start = keep_job };
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    RvLiveJob *job = NULL;
    RvLiveDevice *device = rv_live_add_device(world->live, &class, &job, NULL);
    client_push(client);
    rv_live_job_set_waiting(job, true);
    world_run(world, 119 * SECOND);
    g_assert_cmpuint(stats_of(device).taken_out, ==, 0);
    world_run(world, 3 * SECOND);
    g_assert_cmpuint(stats_of(device).taken_out, ==, 1);
    g_assert_true(rv_live_job_is_given_up(job));
    rv_live_device_done(job, NULL, g_error_new_literal(RV_ERROR, RV_ERROR_CANCELLED, "given up"));
    rv_live_remove_device(device);
    client_check(client);
    world_free(world);
}

/* A late answer is a sign of life: the probe does not wait for its pause. */
static void
test_late_answer_brings_the_device_back(void)
{
    World *world = world_new(&(RvLiveOptions) { .probe_first_us = 20 * SECOND });
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 10 * MS, NULL);
    client_camera(client, 30);
    world_run(world, SECOND);
    rv_simulated_device_hang(machine->simulated, rv_clock_now(world->clock) + 1500 * MS);
    world_run(world, 1400 * MS);
    g_assert_cmpint(machine_stats(machine).state, ==, RV_LIVE_DEVICE_OUT);
    world_run(world, 200 * MS);
    g_assert_cmpint(machine_stats(machine).state, ==, RV_LIVE_DEVICE_WORKING);
    client_check(client);
    world_free(world);
}

/* A device that takes 5 s a frame and nobody said so is learnt, not lost for ever. */
static void
test_patience_is_learnt(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 5 * SECOND, NULL);
    client_camera(client, 5);
    world_run(world, 120 * SECOND);
    g_assert_cmpuint(client->shown->len, >=, 18);
    client_check(client);
    world_free(world);

    world = world_new(NULL);
    client = world_add_client(world, NULL);
    RvLiveDeviceOptions options = { .expected_us = 5 * SECOND };
    Machine *told = world_add_machine(world, 5 * SECOND, &options);
    client_camera(client, 5);
    world_run(world, 120 * SECOND + 1);
    g_assert_cmpuint(client->shown->len, ==, 24);
    g_assert_cmpuint(machine_stats(told).taken_out, ==, 0);
    world_free(world);
}

static void
test_errors_of_frames_do_not_harm_the_device(void)
{
    static const RvError codes[] = { RV_ERROR_INVALID, RV_ERROR_UNSUPPORTED, RV_ERROR_CANCELLED };
    for (guint c = 0; c < G_N_ELEMENTS(codes); c++) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, NULL);
        Machine *machine = world_add_machine(world, 10 * MS, NULL);
        for (guint64 i = 0; i < 10; i++)
            machine_special(machine, i, failure(codes[c]));
        client_camera(client, 30);
        world_run(world, SECOND);
        g_assert_cmpuint(machine_stats(machine).taken_out, ==, 0);
        g_assert_cmpuint(machine_stats(machine).failed, ==, 10);
        g_assert_cmpuint(client_stats(client).counters.failed, ==, 10);
        g_assert_cmpuint(client->shown->len, ==, client->pushed - 10 - (guint)client_stats(client).in_work);
        client_check(client);
        world_free(world);
    }
}

static void
test_errors_of_the_device_take_it_out(void)
{
    static const struct {
        RvError code;
        guint64 frames; /* that fail before it is out */
    } cases[] = { { RV_ERROR_DEVICE, 1 }, { RV_ERROR_NO_MEMORY, 1 }, { RV_ERROR_FAILED, 3 } };
    for (guint c = 0; c < G_N_ELEMENTS(cases); c++) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, NULL);
        Machine *machine = world_add_machine(world, 10 * MS, NULL);
        machine->usual = failure(cases[c].code);
        machine->probe = failure(cases[c].code);
        client_camera(client, 30);
        world_run(world, SECOND);
        g_assert_cmpint(machine_stats(machine).state, !=, RV_LIVE_DEVICE_WORKING);
        g_assert_cmpuint(client_stats(client).counters.failed, ==, cases[c].frames);
        g_assert_cmpstr(machine_stats(machine).last_error, ==, "simulated failure");
        machine->usual = machine->probe = (RvSimulatedService) { .service_us = 10 * MS };
        world_run(world, 2 * SECOND);
        g_assert_cmpint(machine_stats(machine).state, ==, RV_LIVE_DEVICE_WORKING);
        g_assert_cmpuint(client->shown->len, >, 10);
        client_check(client);
        world_free(world);
    }
}

static int probes;

static void
failing_start(void *device, RvLiveJob *job)
{
    probes += rv_live_job_frame(job) == NULL;
    rv_live_device_done(job, NULL, g_error_new(RV_ERROR, RV_ERROR_DEVICE, "gone"));
}

/* 0.25 + 0.5 + 1 + ... + 16 s, then every 30 s. */
static void
test_probes_back_off(void)
{
    static const RvLiveDeviceClass class = { .start = failing_start };
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    RvLiveDevice *device = rv_live_add_device(world->live, &class, NULL, NULL);
    probes = 0;
    client_push(client);
    world_run(world, 32 * SECOND);
    g_assert_cmpint(probes, ==, 7);
    world_run(world, 300 * SECOND);
    g_assert_cmpint(probes, ==, 17);
    RvLiveDeviceStats stats;
    rv_live_device_stats(device, &stats);
    g_assert_cmpuint(stats.taken_out, ==, 1);
    g_assert_cmpuint(client->lost->len, ==, 1);
    world_free(world);
}

/* A device that fails at once, or at every fifth frame, after every revival is not tried all the time. */
static void
test_flapping_device_is_tried_less_and_less(void)
{
    for (guint64 every = 1; every <= 5; every += 4) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, NULL);
        Machine *machine = world_add_machine(world, 10 * MS, NULL); /* probes succeed */
        for (guint64 frame = 0; frame < 10000; frame += every)
            machine_special(machine, frame, failure(RV_ERROR_DEVICE));
        client_camera(client, 30);
        world_run(world, 300 * SECOND);
        g_assert_cmpuint(machine_stats(machine).taken_out, >, 5);
        g_assert_cmpuint(machine_stats(machine).taken_out, <, 20);
        g_assert_cmpuint(client->lost->len, ==, machine_stats(machine).taken_out);
        client_check(client);
        world_free(world);
    }
}

/* One that answers cancelled jobs early is probed again and again, and holds no more than one probe. */
static void
test_cancelled_jobs(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 10 * MS, &(RvLiveDeviceOptions) { .credit = 4 });
    rv_simulated_device_set_heeds_cancel(machine->simulated, true);
    client_camera(client, 30);
    world_run(world, SECOND);
    rv_simulated_device_hang(machine->simulated, RV_NEVER);
    world_run(world, 100 * SECOND);
    g_assert_cmpint(rv_simulated_device_in_hand(machine->simulated), <=, 1);
    g_assert_cmpuint(machine_stats(machine).late_answers, >=, 8);
    g_assert_cmpuint(machine_stats(machine).taken_out, ==, 1);
    rv_simulated_device_hang(machine->simulated, 0);
    world_run(world, 31 * SECOND);
    g_assert_cmpint(machine_stats(machine).state, ==, RV_LIVE_DEVICE_WORKING);
    client_check(client);
    world_free(world);
}

static void
test_device_goes_away(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *first = world_add_machine(world, 40 * MS, NULL);
    world_add_machine(world, 40 * MS, NULL);
    client_camera(client, 60);
    world_run(world, SECOND);
    guint before = client->shown->len;
    rv_live_remove_device(first->device);
    g_assert_cmpint(rv_live_working_devices(world->live), ==, 1);
    world_run(world, SECOND);
    g_assert_cmpuint(client->shown->len, >=, before + 24);
    g_assert_cmpuint(client->lost->len, <=, 1);
    client_check(client);
    world_free(world);
}

static int cancelled;
static RvLiveJob *kept;

static void
keeping_start(void *device, RvLiveJob *job)
{
    kept = job;
}

static void
keeping_cancel(void *device, RvLiveJob *job)
{
    g_assert_true(job == kept);
    g_assert_true(rv_live_job_is_given_up(job));
    cancelled++;
}

/* Answers may come after the device, the session and the scheduler are gone. */
static void
test_answer_after_the_end(void)
{
    static const RvLiveDeviceClass class = { keeping_start, keeping_cancel, NULL };
    for (int with_result = 0; with_result < 2; with_result++) {
        RvClock *clock = rv_clock_new_virtual(0);
        RvLive *live = rv_live_new(clock, NULL);
        int user_data = 0;
        cancelled = 0;
        RvLiveSession *session =
            rv_live_session_new(live, &(RvLiveSessionOptions) { .user_data = &user_data }, NULL);
        rv_live_add_device(live, &class, NULL, NULL);
        rv_live_session_push(session, rv_frame_new(g_malloc(10), 10, g_free));
        g_assert_nonnull(rv_live_job_frame(kept));
        g_assert_true(rv_live_job_user_data(kept) == &user_data);
        g_assert_false(rv_live_job_is_given_up(kept));
        rv_live_free(live);
        rv_clock_free(clock);
        g_assert_cmpint(cancelled, >=, 1);
        RvFrame *result = rv_frame_new_result(rv_live_job_frame(kept), g_malloc(5), 5, g_free);
        if (with_result) {
            rv_live_device_done(kept, result, NULL);
        } else {
            rv_frame_unref(result);
            rv_live_device_done(kept, NULL, g_error_new(RV_ERROR, RV_ERROR_CANCELLED, "gone"));
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    allow_warnings();
    g_test_add_func("/live/faults/hung_device", test_hung_device_is_taken_out_and_comes_back);
    g_test_add_func("/live/faults/only_device_stalls", test_only_device_stalls);
    g_test_add_func("/live/faults/more_patience", test_slow_devices_get_more_patience);
    g_test_add_func("/live/faults/stall_does_not_stretch_patience", test_stall_does_not_stretch_patience);
    g_test_add_func("/live/faults/waiting_for_others", test_waiting_for_others_is_no_hang);
    g_test_add_func("/live/faults/waiting_has_an_end", test_waiting_has_an_end);
    g_test_add_func("/live/faults/late_answer_brings_back", test_late_answer_brings_the_device_back);
    g_test_add_func("/live/faults/patience_is_learnt", test_patience_is_learnt);
    g_test_add_func("/live/faults/errors_of_frames", test_errors_of_frames_do_not_harm_the_device);
    g_test_add_func("/live/faults/errors_of_devices", test_errors_of_the_device_take_it_out);
    g_test_add_func("/live/faults/probes_back_off", test_probes_back_off);
    g_test_add_func("/live/faults/flapping", test_flapping_device_is_tried_less_and_less);
    g_test_add_func("/live/faults/cancelled_jobs", test_cancelled_jobs);
    g_test_add_func("/live/faults/device_goes_away", test_device_goes_away);
    g_test_add_func("/live/faults/answer_after_the_end", test_answer_after_the_end);
    return g_test_run();
}
