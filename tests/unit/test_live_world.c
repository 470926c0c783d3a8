/* test_live_world.c - a scheduler on a virtual clock, with simulated devices. */
#include "test_live_world.h"

static void
free_payload(void *data)
{
    ((World *)data)->frames_alive--;
}

static void
on_show(RvLiveSession *session, RvFrame *result, void *user_data)
{
    Client *client = user_data;
    gint64 now = rv_clock_now(client->world->clock);
    g_assert_true(session == client->session);
    g_assert_true(rv_live_session_last(session) == result);
    g_assert_cmpint(result->stage_us[RV_STAGE_HOLD], >=, 0);
    g_assert_cmpint(result->stage_us[RV_STAGE_WAIT] + result->stage_us[RV_STAGE_SERVICE] +
                        result->stage_us[RV_STAGE_HOLD],
                    ==, now - result->born_us);
    Shown shown = { result->sequence, now, now - result->born_us, result->stage_us[RV_STAGE_HOLD] };
    g_array_append_val(client->shown, shown);
}

static void
on_lost(RvLiveSession *session, RvFrame *source, void *user_data)
{
    Client *client = user_data;
    g_assert_true(session == client->session);
    g_array_append_val(client->lost, source->sequence);
}

static RvSimulatedService
service_of(const RvFrame *frame, void *data)
{
    Machine *machine = data;
    if (frame == NULL)
        return machine->probe;
    RvSimulatedService *special =
        g_hash_table_lookup(machine->special, GSIZE_TO_POINTER(frame->sequence + 1));
    RvSimulatedService service = special != NULL ? *special : machine->usual;
    double deviation = machine->jitter * g_rand_double_range(machine->random, -1, 1);
    service.service_us += (gint64)((double)service.service_us * deviation);
    return service;
}

World *
world_new(const RvLiveOptions *options)
{
    World *world = g_new0(World, 1);
    world->clock = rv_clock_new_virtual(START_US);
    world->live = rv_live_new(world->clock, options);
    world->clients = g_ptr_array_new();
    world->machines = g_ptr_array_new();
    return world;
}

static void
client_free(Client *client)
{
    g_array_unref(client->shown);
    g_array_unref(client->lost);
    g_free(client);
}

static void
machine_free(Machine *machine)
{
    g_hash_table_unref(machine->special);
    g_rand_free(machine->random);
    g_free(machine);
}

void
world_free(World *world)
{
    rv_live_free(world->live);
    rv_clock_free(world->clock);
    g_assert_cmpint(world->frames_alive, ==, 0);
    g_ptr_array_foreach(world->clients, (GFunc)(void (*)(void))client_free, NULL);
    g_ptr_array_foreach(world->machines, (GFunc)(void (*)(void))machine_free, NULL);
    g_ptr_array_unref(world->clients);
    g_ptr_array_unref(world->machines);
    g_free(world);
}

Client *
world_add_client(World *world, const RvLiveSessionOptions *options)
{
    Client *client = g_new0(Client, 1);
    RvLiveSessionOptions all = { 0 };
    if (options != NULL)
        all = *options;
    all.on_show = on_show;
    all.on_lost = on_lost;
    all.user_data = client;
    client->world = world;
    client->shown = g_array_new(FALSE, FALSE, sizeof(Shown));
    client->lost = g_array_new(FALSE, FALSE, sizeof(guint64));
    g_autoptr(GError) error = NULL;
    client->session = rv_live_session_new(world->live, &all, &error);
    g_assert_no_error(error);
    g_ptr_array_add(world->clients, client);
    return client;
}

Machine *
world_add_machine(World *world, gint64 service_us, const RvLiveDeviceOptions *options)
{
    Machine *machine = g_new0(Machine, 1);
    machine->usual.service_us = service_us;
    machine->probe.service_us = 1 * MS;
    machine->special = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    machine->random = g_rand_new_with_seed(world->machines->len + 1);
    machine->simulated = rv_simulated_device_new(world->clock, service_of, machine);
    machine->device =
        rv_live_add_device(world->live, &rv_simulated_device_class, machine->simulated, options);
    g_ptr_array_add(world->machines, machine);
    return machine;
}

void
machine_special(Machine *machine, guint64 sequence, RvSimulatedService service)
{
    RvSimulatedService *copy = g_memdup2(&service, sizeof service);
    g_hash_table_insert(machine->special, GSIZE_TO_POINTER(sequence + 1), copy);
}

void
client_push(Client *client)
{
    World *world = client->world;
    RvFrame *frame = rv_frame_new(world, 1, free_payload);
    frame->sequence = client->pushed++;
    world->frames_alive++;
    world->most_alive = MAX(world->most_alive, world->frames_alive);
    rv_live_session_push(client->session, frame);
}

void
client_close(Client *client)
{
    rv_live_session_close(client->session);
    client->session = NULL;
    client->push_interval_us = 0;
}

void
client_camera(Client *client, double fps)
{
    client->push_interval_us = fps > 0 ? (gint64)(G_USEC_PER_SEC / fps) : 0;
    client->next_push_us = rv_clock_now(client->world->clock);
}

void
world_run(World *world, gint64 duration_us)
{
    gint64 until = rv_clock_now(world->clock) + duration_us;
    for (;;) {
        Client *next = NULL;
        for (guint i = 0; i < world->clients->len; i++) {
            Client *client = world->clients->pdata[i];
            if (client->push_interval_us > 0 && (next == NULL || client->next_push_us < next->next_push_us))
                next = client;
        }
        if (next == NULL || next->next_push_us > until)
            break;
        rv_clock_virtual_run(world->clock, next->next_push_us);
        next->next_push_us += next->push_interval_us;
        client_push(next);
    }
    rv_clock_virtual_run(world->clock, until);
}

const Shown *
client_shown(const Client *client, guint index)
{
    g_assert_cmpuint(index, <, client->shown->len);
    return &g_array_index(client->shown, Shown, index);
}

RvLiveSessionStats
client_stats(const Client *client)
{
    RvLiveSessionStats stats;
    rv_live_session_stats(client->session, &stats);
    return stats;
}

RvLiveDeviceStats
machine_stats(const Machine *machine)
{
    RvLiveDeviceStats stats;
    rv_live_device_stats(machine->device, &stats);
    return stats;
}

void
client_check(const Client *client)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (guint i = 0; i < client->shown->len; i++) {
        if (i > 0) {
            g_assert_cmpuint(client_shown(client, i)->sequence, >, client_shown(client, i - 1)->sequence);
            g_assert_cmpint(client_shown(client, i)->time_us, >=, client_shown(client, i - 1)->time_us);
        }
        g_hash_table_add(seen, GSIZE_TO_POINTER(client_shown(client, i)->sequence + 1));
    }
    for (guint i = 0; i < client->lost->len; i++) {
        guint64 sequence = g_array_index(client->lost, guint64, i);
        g_assert_true(g_hash_table_add(seen, GSIZE_TO_POINTER(sequence + 1)));
    }
    if (client->session == NULL)
        return;
    RvLiveSessionStats stats = client_stats(client);
    const RvLiveCounters *c = &stats.counters;
    g_assert_cmpuint(c->pushed, ==, client->pushed);
    g_assert_cmpuint(c->shown, ==, client->shown->len);
    g_assert_cmpuint(c->late + c->failed, ==, client->lost->len);
    guint64 settled = c->shown + c->dropped + c->late + c->failed;
    guint64 open = (guint64)stats.in_work + (guint64)stats.waiting;
    g_assert_cmpuint(c->pushed, >=, settled + open);
    g_assert_cmpuint(c->pushed, <=, settled + open + 1); /* one in the mailbox */
}

static GLogWriterOutput
drop_log(GLogLevelFlags level, const GLogField *fields, gsize count, gpointer data)
{
    return level & (G_LOG_FLAG_FATAL | G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL)
               ? g_log_writer_default(level, fields, count, data)
               : G_LOG_WRITER_HANDLED;
}

static void
ignore_message(const char *domain, GLogLevelFlags level, const char *message, gpointer data)
{
}

void
allow_warnings(void)
{
    g_log_set_always_fatal(G_LOG_FATAL_MASK | G_LOG_LEVEL_CRITICAL);
    g_log_set_writer_func(drop_log, NULL, NULL);
    g_log_set_handler("reverie", G_LOG_LEVEL_WARNING | G_LOG_LEVEL_MESSAGE, ignore_message, NULL);
}
