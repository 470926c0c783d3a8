/* test_live_pace.c - evenness, latency budgets, just-in-time grabs, staggering, shares. */
#include "test_live_world.h"

#include <math.h>
#include <stdlib.h>

#define SECOND G_USEC_PER_SEC

static void
test_parse(void)
{
    static const struct {
        const char *text;
        RvPace pace;
        gint64 budget_us;
    } good[] = { { "off", RV_PACE_OFF, 0 },
                 { "smooth", RV_PACE_SMOOTH, 0 },
                 { "latency-budget 80", RV_PACE_BUDGET, 80000 },
                 { "latency-budget=33.5", RV_PACE_BUDGET, 33500 } };
    static const char *bad[] = { "",
                                 "Off",
                                 "smooth ",
                                 "latency-budget",
                                 "latency-budget ",
                                 "latency-budget x",
                                 "latency-budget 0",
                                 "latency-budget -5",
                                 "latency-budget 60001",
                                 "latency-budget 80 ms",
                                 "latency-budget nan",
                                 "latency-budgets 8" };
    RvPace pace;
    gint64 budget;
    for (guint i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(rv_pace_parse(good[i].text, &pace, &budget, &error));
        g_assert_no_error(error);
        g_assert_cmpint(pace, ==, good[i].pace);
        g_assert_cmpint(budget, ==, good[i].budget_us);
    }
    for (guint i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(rv_pace_parse(bad[i], &pace, &budget, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    }
}

typedef struct {
    double age, interval, deviation; /* means and the interval's standard deviation, in ms */
    gint64 oldest;
} Figures;

/* Of what was shown after the first `skip` frames. */
static Figures
measure(const Client *client, guint skip)
{
    Figures f = { 0 };
    double squares = 0, count = client->shown->len - skip;
    for (guint i = skip; i < client->shown->len; i++) {
        const Shown *shown = client_shown(client, i), *before = client_shown(client, i - 1);
        double interval = (double)(shown->time_us - before->time_us) / MS;
        f.interval += interval / count;
        squares += interval * interval / count;
        f.age += (double)shown->age_us / MS / count;
        f.oldest = MAX(f.oldest, shown->age_us);
    }
    f.deviation = sqrt(MAX(squares - f.interval * f.interval, 0));
    return f;
}

static Figures
run_paced(RvPace pace, gint64 budget_us, int devices, gint64 service_us, double jitter, double fps)
{
    World *world = world_new(NULL);
    Client *client =
        world_add_client(world, &(RvLiveSessionOptions) { .pace = pace, .budget_us = budget_us });
    for (int i = 0; i < devices; i++)
        world_add_machine(world, service_us, NULL)->jitter = jitter;
    client_camera(client, fps);
    world_run(world, 60 * SECOND);
    client_check(client);
    Figures figures = measure(client, 300);
    world_free(world);
    return figures;
}

/* The promise of docs/latency.md: 30 frames a second in, one and two devices of 40 ms. */
static void
test_age_is_as_promised(void)
{
    for (int paced = 0; paced < 2; paced++) {
        for (int devices = 1; devices <= 2; devices++) {
            World *world = world_new(NULL);
            Client *client = world_add_client(
                world, &(RvLiveSessionOptions) { .pace = paced ? RV_PACE_SMOOTH : RV_PACE_OFF });
            for (int i = 0; i < devices; i++)
                world_add_machine(world, 40 * MS, NULL)->jitter = 0.05;
            client_camera(client, 30);
            world_run(world, 60 * SECOND);
            RvLiveQuantiles age = client_stats(client).age;
            g_assert_cmpuint(age.count, >, devices == 1 ? 1450 : 1790);
            g_assert_cmpint(age.p50, <=, devices == 1 ? 65 * MS : 42 * MS);
            g_assert_cmpint(age.p99, <=, devices == 1 ? 85 * MS : 45 * MS);
            world_free(world);
        }
    }
}

static void
test_smooth_is_even(void)
{
    static const struct {
        int devices;
        gint64 service_us;
        double fps;
    } cases[] = {
        { 1, 20 * MS, 30 }, { 1, 40 * MS, 30 }, { 2, 50 * MS, 30 }, { 4, 100 * MS, 30 }, { 8, 160 * MS, 60 }
    };
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        Figures off = run_paced(RV_PACE_OFF, 0, cases[i].devices, cases[i].service_us, 0.1, cases[i].fps);
        Figures smooth =
            run_paced(RV_PACE_SMOOTH, 0, cases[i].devices, cases[i].service_us, 0.1, cases[i].fps);
        g_test_message("%d x %d ms: interval %.2f +- %.2f off, %.2f +- %.2f smooth; age %.1f, %.1f",
                       cases[i].devices, (int)cases[i].service_us / MS, off.interval, off.deviation,
                       smooth.interval, smooth.deviation, off.age, smooth.age);
        g_assert_cmpfloat(smooth.deviation, <, 0.5 * off.deviation);
        g_assert_cmpfloat(smooth.interval, <, 1.05 * off.interval); /* no frames lost for it */
        g_assert_cmpfloat(smooth.age, <, off.age + 0.2 * (double)cases[i].service_us / MS);
    }
}

/* A slow device whose first frame took long, as models' do: evenness must not cost what a frame takes. */
static void
test_slow_device_is_not_held(void)
{
    for (int jitter = 0; jitter < 2; jitter++) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, &(RvLiveSessionOptions) { .pace = RV_PACE_SMOOTH });
        Machine *machine = world_add_machine(world, 450 * MS, NULL);
        machine->jitter = jitter * 0.2;
        machine_special(machine, 1, (RvSimulatedService) { .service_us = 900 * MS });
        client_camera(client, 30);
        world_run(world, 60 * SECOND);
        RvLiveQuantiles hold = client_stats(client).stage[RV_STAGE_HOLD];
        g_assert_cmpuint(hold.count, >, 100);
        g_assert_cmpint(hold.p50, <=, 50 * MS + jitter * 25 * MS);
        g_assert_cmpint(hold.max, <=, 50 * MS + jitter * 180 * MS + 50 * MS);
        world_free(world);
    }
}

/* What evenness costs is the way from the median to the p99 of the service, and little more. */
static void
test_hold_costs_what_it_must(void)
{
    static const int services[] = { 5, 15, 31, 40, 80, 150, 450 };
    static const double jitters[] = { 0, 0.03, 0.2 };
    for (guint i = 0; i < G_N_ELEMENTS(services) * G_N_ELEMENTS(jitters); i++) {
        gint64 service = services[i / G_N_ELEMENTS(jitters)] * MS, spread = 0, age[2];
        for (int paced = 0; paced < 2; paced++) {
            World *world = world_new(NULL);
            Client *client = world_add_client(
                world, &(RvLiveSessionOptions) { .pace = paced ? RV_PACE_SMOOTH : RV_PACE_OFF });
            world_add_machine(world, service, NULL)->jitter = jitters[i % G_N_ELEMENTS(jitters)];
            client_camera(client, 29.7);
            world_run(world, 60 * SECOND);
            RvLiveSessionStats stats = client_stats(client);
            spread = stats.service.p99 - stats.service.p50;
            age[paced] = stats.age.p50;
            world_free(world);
        }
        g_assert_cmpint(age[1], <=, age[0] + spread + service / 50 + MS / 2);
    }
}

static void
test_budget_bounds_the_hold(void)
{
    Figures smooth = run_paced(RV_PACE_SMOOTH, 0, 2, 50 * MS, 0.2, 30);
    Figures budget = run_paced(RV_PACE_BUDGET, 55 * MS, 2, 50 * MS, 0.2, 30);
    Figures off = run_paced(RV_PACE_OFF, 0, 2, 50 * MS, 0.2, 30);
    g_assert_cmpfloat(smooth.age, >, 57);
    g_assert_cmpfloat(budget.age, <, smooth.age);
    g_assert_cmpfloat(budget.age, >, off.age);
    g_assert_cmpfloat(off.deviation, >, budget.deviation);
    g_assert_cmpint(budget.oldest, <=, 61 * MS); /* the slowest answers, not held */
}

/* 60 frames a second come in, 20 are wanted: the newest is taken as late as the slot allows. */
static void
test_just_in_time_grab(void)
{
    for (int paced = 0; paced < 2; paced++) {
        World *world = world_new(NULL);
        Client *client =
            world_add_client(world, &(RvLiveSessionOptions) { .pace = paced ? RV_PACE_SMOOTH : RV_PACE_OFF,
                                                              .interval_us = 50 * MS });
        Machine *machine = world_add_machine(world, 10 * MS, NULL);
        machine->jitter = 0.1;
        client_camera(client, 60);
        world_run(world, 20 * SECOND);
        Figures figures = measure(client, 100);
        g_assert_cmpfloat_with_epsilon(figures.interval, 50, 0.3);
        g_assert_cmpfloat(figures.deviation, <, 1.5);
        g_assert_cmpint(figures.oldest, <=, 11 * MS + 17 * MS + 1 * MS); /* service, camera's interval */
        client_check(client);
        world_free(world);
    }
}

/* Two devices, more frames than they can do: their starts settle half a service time apart. */
static void
test_starts_are_staggered(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 40 * MS, NULL);
    world_add_machine(world, 40 * MS, NULL);
    client_camera(client, 500);
    world_run(world, 10 * SECOND);
    for (guint i = 20; i < client->shown->len; i++) {
        gint64 gap = client_shown(client, i)->time_us - client_shown(client, i - 1)->time_us;
        g_assert_cmpint(gap, >=, 17 * MS);
        g_assert_cmpint(gap, <=, 23 * MS);
    }
    g_assert_cmpuint(client->shown->len, >, 480); /* of 500 possible */
    client_check(client);
    world_free(world);
}

/* Twice as slow is of use, ten times as slow is not: its frames would all be overtaken. */
static void
test_unequal_devices(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    world_add_machine(world, 40 * MS, NULL);
    Machine *slow = world_add_machine(world, 400 * MS, NULL);
    client_camera(client, 30);
    world_run(world, 60 * SECOND);
    g_assert_cmpuint(machine_stats(slow).served, <, 60); /* tried now and then */
    g_assert_cmpuint(machine_stats(slow).served, >, 10);
    g_assert_cmpuint(client->shown->len, >, 24 * 60);
    client_check(client);
    world_free(world);
}

/* Credit 2: the next frame is handed over while the last is in work, but not before half of it. */
static void
test_credit_of_two(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    Machine *machine = world_add_machine(world, 40 * MS, &(RvLiveDeviceOptions) { .credit = 2 });
    client_camera(client, 100);
    world_run(world, 10 * SECOND);
    g_assert_cmpint(machine_stats(machine).in_work, <=, 2);
    g_assert_cmpuint(client->shown->len, >=, 249);
    Figures figures = measure(client, 50);
    g_assert_cmpfloat(figures.age, >, 55);                            /* it waited on the device, */
    g_assert_cmpint(figures.oldest, <=, 20 * MS + 40 * MS + 10 * MS); /* for half a service time */
    g_assert_cmpint(machine_stats(machine).service.p50, ==, 40 * MS); /* which is not counted */
    g_assert_cmpint(machine_stats(machine).busy_us, <=, 10 * SECOND);
    client_check(client);
    world_free(world);
}

static void
test_sessions_share_by_weight(void)
{
    static const double weights[] = { 1, 1, 2, 4 };
    World *world = world_new(NULL);
    Client *clients[4];
    gint64 sum = 0;
    for (int i = 0; i < 4; i++)
        clients[i] = world_add_client(world, &(RvLiveSessionOptions) { .weight = weights[i] });
    world_add_machine(world, 40 * MS, NULL)->jitter = 0.1;
    world_add_machine(world, 40 * MS, NULL)->jitter = 0.1;
    for (int i = 0; i < 4; i++)
        client_camera(clients[i], 40 + i);
    world_run(world, 60 * SECOND);
    for (int i = 0; i < 4; i++)
        sum += client_stats(clients[i]).device_us;
    for (int i = 0; i < 4; i++) {
        double share = (double)client_stats(clients[i]).device_us / (double)sum;
        g_assert_cmpfloat_with_epsilon(share, weights[i] / 8, 0.015);
        client_check(clients[i]);
    }
    world_free(world);
}

/* Who asks for less than its share gets all of it, at once; what it leaves goes to the others; a client that
 * floods gains nothing; a pause is not saved up. */
static void
test_modest_and_greedy_sessions(void)
{
    World *world = world_new(NULL);
    Client *modest = world_add_client(world, NULL);
    Client *greedy = world_add_client(world, NULL);
    Client *flood = world_add_client(world, NULL);
    world_add_machine(world, 20 * MS, NULL);
    client_camera(modest, 5);
    client_camera(greedy, 60);
    client_camera(flood, 1000);
    world_run(world, 30 * SECOND);
    g_assert_cmpuint(modest->shown->len, >=, 149);
    g_assert_cmpint(client_stats(modest).age.max, <=, 40 * MS);
    g_assert_cmpfloat_with_epsilon(greedy->shown->len, flood->shown->len, 0.03 * flood->shown->len);
    g_assert_cmpuint(greedy->shown->len + flood->shown->len, >, 1330);
    client_camera(greedy, 0);
    world_run(world, 20 * SECOND);
    client_camera(greedy, 60);
    guint before = flood->shown->len;
    world_run(world, 2 * SECOND);
    g_assert_cmpuint(flood->shown->len - before, >, 40);
    g_assert_cmpint(world->most_alive, <=, 3 * 2 + 1 + 1); /* mailboxes, one in work, one just pushed */
    world_free(world);
}

/* The loop that spaces the slots has followed a slow camera; a faster one is not held back by it. */
static void
test_faster_camera_is_followed(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, &(RvLiveSessionOptions) { .pace = RV_PACE_SMOOTH });
    world_add_machine(world, 20 * MS, NULL);
    client_camera(client, 2);
    world_run(world, 20 * SECOND);
    client_camera(client, 30);
    world_run(world, 3 * SECOND);
    guint before = client->shown->len;
    world_run(world, SECOND);
    g_assert_cmpuint(client->shown->len - before, >=, 29);
    for (guint i = before; i < client->shown->len; i++)
        g_assert_cmpint(client_shown(client, i)->age_us, <=, 45 * MS);
    world_free(world);
}

/* A camera that is away for long after its first frame, and clients that send the next frame when they have
 * the last: nobody waits for an interval that was a pause. */
static void
test_pauses_are_no_interval(void)
{
    static const int pauses_ms[] = { 50, 1000, 6000, 60000 };
    for (guint i = 0; i < G_N_ELEMENTS(pauses_ms); i++) {
        World *world = world_new(NULL);
        Client *client = world_add_client(world, &(RvLiveSessionOptions) { .pace = RV_PACE_SMOOTH });
        world_add_machine(world, 5 * MS, NULL);
        client_push(client);
        world_run(world, pauses_ms[i] * MS);
        for (int frame = 0; frame < 4; frame++) { /* one after the other */
            guint before = client->shown->len;
            client_push(client);
            for (int waited_ms = 0; client->shown->len == before && waited_ms < 200; waited_ms++)
                world_run(world, MS);
            g_assert_cmpuint(client->shown->len, ==, before + 1);
        }
        guint before = client->shown->len;
        client_camera(client, 30);
        world_run(world, SECOND);
        g_assert_cmpuint(client->shown->len - before, >=, 15);
        for (guint j = before; j < client->shown->len; j++)
            g_assert_cmpint(client_shown(client, j)->age_us, <=, 100 * MS);
        world_free(world);
    }
}

/* A client that sends the next frame when it has the last is soon as fast as the device, after a pause too.
 */
static void
test_one_after_the_other(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, &(RvLiveSessionOptions) { .pace = RV_PACE_SMOOTH });
    world_add_machine(world, 20 * MS, NULL);
    client_push(client);
    world_run(world, SECOND);
    for (int waited_ms = 0; client->shown->len < 100 && waited_ms < 20000; waited_ms++) {
        if (client->shown->len == client->pushed)
            client_push(client);
        world_run(world, MS);
    }
    g_assert_cmpuint(client->shown->len, ==, 100);
    for (guint i = 60; i < client->shown->len; i++)
        g_assert_cmpint(client_shown(client, i)->age_us, <=, 32 * MS);
    world_free(world);
}

/* One frame in forty takes long: the others are not held back for it by more than two intervals. */
static void
test_heavy_tail_is_not_waited_for(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, &(RvLiveSessionOptions) { .pace = RV_PACE_SMOOTH });
    Machine *machine = world_add_machine(world, 20 * MS, NULL);
    for (guint64 frame = 0; frame < 2000; frame++) {
        if (frame % 20 < 3) /* one of them is in the mailbox when the device is free */
            machine_special(machine, frame, (RvSimulatedService) { .service_us = 200 * MS });
    }
    client_camera(client, 30);
    world_run(world, 60 * SECOND);
    g_assert_cmpint(client_stats(client).age.p50, >=, 80 * MS);
    g_assert_cmpint(client_stats(client).age.p50, <=, 130 * MS); /* not 200 */
    client_check(client);
    world_free(world);
}

static RvLiveJob *in_hand[2];
static int in_hand_count;

static void
holding_start(void *device, RvLiveJob *job)
{
    in_hand[in_hand_count++] = job;
}

/* Two overdue results at once: without pacing both are passed on, in order; with it the newer one is enough.
 */
static void
test_two_at_once(void)
{
    static const RvLiveDeviceClass class = { .start = holding_start };
    for (int paced = 0; paced < 2; paced++) {
        World *world = world_new(NULL);
        Client *client =
            world_add_client(world, &(RvLiveSessionOptions) { .pace = paced ? RV_PACE_SMOOTH : RV_PACE_OFF });
        rv_live_add_device(world->live, &class, NULL, NULL);
        rv_live_add_device(world->live, &class, NULL, NULL);
        in_hand_count = 0;
        client_push(client);
        world_run(world, 10 * MS);
        client_push(client);
        world_run(world, 40 * MS);
        g_assert_cmpint(in_hand_count, ==, 2);
        for (int i = 1; i >= 0; i--)
            rv_live_device_done(in_hand[i], rv_frame_new_result(rv_live_job_frame(in_hand[i]), NULL, 0, NULL),
                                NULL);
        world_run(world, 1 * MS);
        g_assert_cmpuint(client->shown->len, ==, paced ? 1 : 2);
        g_assert_cmpuint(client_stats(client).counters.late, ==, paced ? 1 : 0);
        g_assert_cmpuint(client_shown(client, client->shown->len - 1)->sequence, ==, 1);
        client_check(client);
        world_free(world);
    }
}

/* Settings change while frames are under way. */
static void
test_settings_change_in_flight(void)
{
    World *world = world_new(NULL);
    Client *client = world_add_client(world, NULL);
    for (int i = 0; i < 3; i++)
        world_add_machine(world, 70 * MS, NULL)->jitter = 0.3;
    client_camera(client, 60);
    for (int i = 0; i < 200; i++) {
        rv_live_session_set_pace(client->session, (RvPace)(i % 3), 60 * MS);
        rv_live_session_set_interval(client->session, i % 4 * 20 * MS);
        rv_live_session_set_weight(client->session, i);
        world_run(world, 130 * MS);
        client_check(client);
    }
    g_assert_cmpuint(client->shown->len, >, 400);
    world_free(world);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/live/pace/slow-device", test_slow_device_is_not_held);
    g_test_add_func("/live/pace/what-it-must", test_hold_costs_what_it_must);
    g_test_add_func("/live/pace/parse", test_parse);
    g_test_add_func("/live/pace/age_is_as_promised", test_age_is_as_promised);
    g_test_add_func("/live/pace/smooth_is_even", test_smooth_is_even);
    g_test_add_func("/live/pace/budget_bounds_the_hold", test_budget_bounds_the_hold);
    g_test_add_func("/live/pace/just_in_time_grab", test_just_in_time_grab);
    g_test_add_func("/live/pace/starts_are_staggered", test_starts_are_staggered);
    g_test_add_func("/live/pace/unequal_devices", test_unequal_devices);
    g_test_add_func("/live/pace/credit_of_two", test_credit_of_two);
    g_test_add_func("/live/pace/sessions_share_by_weight", test_sessions_share_by_weight);
    g_test_add_func("/live/pace/modest_and_greedy_sessions", test_modest_and_greedy_sessions);
    g_test_add_func("/live/pace/faster_camera_is_followed", test_faster_camera_is_followed);
    g_test_add_func("/live/pace/pauses_are_no_interval", test_pauses_are_no_interval);
    g_test_add_func("/live/pace/one_after_the_other", test_one_after_the_other);
    g_test_add_func("/live/pace/heavy_tail_is_not_waited_for", test_heavy_tail_is_not_waited_for);
    g_test_add_func("/live/pace/two_at_once", test_two_at_once);
    g_test_add_func("/live/pace/settings_change_in_flight", test_settings_change_in_flight);
    return g_test_run();
}
