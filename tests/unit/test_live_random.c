/* test_live_random.c - random worlds: devices of every temper, clients that come and go, and what must always
 * hold.
 *
 * Invariants, checked after every step: order, each frame shown or lost at most once, counters that add up,
 * memory within its bound, no more jobs on a device than its credit and one probe. At the end all faults
 * stop: then every device works again and every session is shown fresh frames. Seeds: the test prints the one
 * that failed; run it again with RV_TEST_SEED=N. */
#include "test_live_world.h"

#include <stdlib.h>

#define SECOND G_USEC_PER_SEC
#define DEVICES 8
#define SESSIONS 6

typedef struct {
    World *world;
    GRand *random;
    Machine *machines[DEVICES];
    int credits[DEVICES];
    int device_count;
    Client *clients[SESSIONS];
    guint64 pushed; /* by clients that are gone too */
} Chaos;

static RvLiveSessionOptions
random_session(GRand *random)
{
    return (RvLiveSessionOptions) {
        .weight = g_rand_double_range(random, 0, 4),
        .pace = (RvPace)g_rand_int_range(random, 0, 3),
        .budget_us = g_rand_int_range(random, 1, 300) * MS,
        .interval_us = g_rand_boolean(random) ? 0 : g_rand_int_range(random, 0, 60) * MS,
    };
}

static RvSimulatedService
random_service(GRand *random)
{
    static const RvError codes[] = { RV_ERROR_FAILED, RV_ERROR_INVALID, RV_ERROR_DEVICE, RV_ERROR_CANCELLED };
    RvSimulatedService service = { .service_us = g_rand_int_range(random, 0, 200) * MS };
    int kind = g_rand_int_range(random, 0, 20);
    if (kind == 0)
        service.service_us = g_rand_int_range(random, 500, 20000) * MS;
    service.is_error = kind == 1 || kind == 2;
    service.error = codes[g_rand_int_range(random, 0, G_N_ELEMENTS(codes))];
    return service;
}

static Chaos *
chaos_new(guint32 seed)
{
    Chaos *chaos = g_new0(Chaos, 1);
    chaos->random = g_rand_new_with_seed(seed);
    chaos->world = world_new(NULL);
    chaos->device_count = g_rand_int_range(chaos->random, 1, DEVICES + 1);
    for (int i = 0; i < chaos->device_count; i++) {
        chaos->credits[i] = g_rand_int_range(chaos->random, 1, 5);
        RvLiveDeviceOptions options = { .credit = chaos->credits[i] };
        chaos->machines[i] =
            world_add_machine(chaos->world, g_rand_int_range(chaos->random, 1, 150) * MS, &options);
        chaos->machines[i]->jitter = g_rand_double_range(chaos->random, 0, 0.9);
        rv_simulated_device_set_heeds_cancel(chaos->machines[i]->simulated, g_rand_boolean(chaos->random));
    }
    return chaos;
}

static void
change_a_client(Chaos *chaos)
{
    Client **client = &chaos->clients[g_rand_int_range(chaos->random, 0, SESSIONS)];
    if (*client == NULL) {
        RvLiveSessionOptions options = random_session(chaos->random);
        *client = world_add_client(chaos->world, &options);
        client_camera(*client, g_rand_double_range(chaos->random, 1, 120));
        return;
    }
    switch (g_rand_int_range(chaos->random, 0, 6)) {
    case 0:
        client_check(*client);
        client_close(*client);
        *client = NULL;
        break;
    case 1:
        rv_live_session_set_blocked((*client)->session, true);
        break;
    case 2:
        client_camera(*client, g_rand_double_range(chaos->random, 0, 1000));
        break;
    case 3:
        rv_live_session_set_pace((*client)->session, (RvPace)g_rand_int_range(chaos->random, 0, 3), 50 * MS);
        break;
    default:
        rv_live_session_set_blocked((*client)->session, false);
        client_camera(*client, 30);
    }
}

static void
change_a_device(Chaos *chaos)
{
    Machine *machine = chaos->machines[g_rand_int_range(chaos->random, 0, chaos->device_count)];
    gint64 now = rv_clock_now(chaos->world->clock);
    switch (g_rand_int_range(chaos->random, 0, 6)) {
    case 0:
        rv_simulated_device_hang(machine->simulated, now + g_rand_int_range(chaos->random, 1, 30000) * MS);
        break;
    case 1:
        machine->usual = random_service(chaos->random);
        break;
    case 2:
        machine->probe = random_service(chaos->random);
        break;
    default: /* well again */
        rv_simulated_device_hang(machine->simulated, 0);
        machine->probe = (RvSimulatedService) { .service_us = 1 * MS };
        machine->usual = (RvSimulatedService) { .service_us = g_rand_int_range(chaos->random, 1, 150) * MS };
    }
}

static void
check(const Chaos *chaos)
{
    int bound = 1; /* just pushed */
    for (int i = 0; i < chaos->device_count; i++) {
        RvLiveDeviceStats stats = machine_stats(chaos->machines[i]);
        int credit = chaos->credits[i];
        g_assert_cmpint(rv_simulated_device_in_hand(chaos->machines[i]->simulated), <=, credit + 1);
        g_assert_cmpint(stats.in_work, <=, credit + 1);
        g_assert_cmpuint(stats.brought_back, <=, stats.taken_out);
        bound += credit;
    }
    for (int i = 0; i < SESSIONS; i++) {
        if (chaos->clients[i] == NULL)
            continue;
        RvLiveSessionStats stats = client_stats(chaos->clients[i]);
        g_assert_cmpint(stats.in_work + stats.waiting, <=, RV_LIVE_WINDOW);
        bound += 1 + stats.waiting;
    }
    g_assert_cmpint(chaos->world->frames_alive, <=, bound);
    RvLiveCounters sum;
    rv_live_counters(chaos->world->live, &sum);
    g_assert_cmpuint(sum.pushed, >=, sum.shown + sum.dropped + sum.late + sum.failed);
    g_assert_cmpuint(sum.pushed, <=,
                     sum.shown + sum.dropped + sum.late + sum.failed + SESSIONS * (RV_LIVE_WINDOW + 1));
}

/* Faults end; within a minute and a half (probes come every 30 s, old works take up to 20 s) all is well. */
static void
heal(Chaos *chaos)
{
    for (int i = 0; i < chaos->device_count; i++) {
        Machine *machine = chaos->machines[i];
        rv_simulated_device_hang(machine->simulated, 0);
        machine->usual = (RvSimulatedService) { .service_us = 20 * MS };
        machine->probe = (RvSimulatedService) { .service_us = 1 * MS };
        machine->jitter = 0;
    }
    for (int i = 0; i < SESSIONS; i++) {
        if (chaos->clients[i] == NULL)
            continue;
        rv_live_session_set_blocked(chaos->clients[i]->session, false);
        rv_live_session_set_interval(chaos->clients[i]->session, 0);
        rv_live_session_set_weight(chaos->clients[i]->session, 1);
        client_camera(chaos->clients[i], 5);
    }
    world_run(chaos->world, 150 * SECOND);
    g_assert_cmpint(rv_live_working_devices(chaos->world->live), ==, chaos->device_count);
    for (int i = 0; i < SESSIONS; i++) {
        const Client *client = chaos->clients[i];
        if (client == NULL)
            continue;
        const Shown *last = client_shown(client, client->shown->len - 1);
        g_assert_cmpint(last->time_us, >, rv_clock_now(chaos->world->clock) - SECOND);
        g_assert_cmpint(last->age_us, <, 400 * MS);
        client_check(client);
    }
}

static guint64
run_chaos(guint32 seed, int steps)
{
    Chaos *chaos = chaos_new(seed);
    for (int step = 0; step < steps; step++) {
        if (g_rand_int_range(chaos->random, 0, 3) > 0)
            change_a_client(chaos);
        else
            change_a_device(chaos);
        world_run(chaos->world, g_rand_int_range(chaos->random, 0, 1500) * MS);
        check(chaos);
    }
    for (int i = 0; i < SESSIONS; i++) {
        if (chaos->clients[i] != NULL)
            client_check(chaos->clients[i]);
    }
    heal(chaos);
    RvLiveCounters sum;
    rv_live_counters(chaos->world->live, &sum);
    world_free(chaos->world);
    g_rand_free(chaos->random);
    g_free(chaos);
    return sum.pushed;
}

static void
test_chaos(void)
{
    const char *only = g_getenv("RV_TEST_SEED");
    guint64 frames = 0;
    if (only != NULL) {
        run_chaos((guint32)atoi(only), 150);
        return;
    }
    for (guint32 seed = 1; seed <= 15; seed++) {
        g_test_message("seed %u", seed);
        frames += run_chaos(seed, 150);
    }
    g_test_message("%" G_GUINT64_FORMAT " frames", frames);
    g_assert_cmpuint(frames, >, 100000);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    allow_warnings();
    g_test_add_func("/live/random/chaos", test_chaos);
    return g_test_run();
}
