/* test_live_world.h - a scheduler on a virtual clock with simulated devices and one camera, for its tests. */
#pragma once
#include "live/live.h"
#include "live/simulated_device.h"

#define MS 1000 /* microseconds */
#define START_US (100 * G_USEC_PER_SEC)

typedef struct {
    guint64 sequence;
    gint64 time_us;
    gint64 age_us;
    gint64 hold_us;
} Shown;

typedef struct World World;

/* A session with what it told us. */
typedef struct {
    World *world;
    RvLiveSession *session;
    GArray *shown; /* Shown */
    GArray *lost;  /* guint64: sequence numbers */
    guint64 pushed;
    gint64 next_push_us, push_interval_us; /* its camera; 0: off */
} Client;

/* A device; frames not in `special` take `service_us`. */
typedef struct {
    RvSimulatedDevice *simulated;
    RvLiveDevice *device;
    RvSimulatedService usual, probe;
    double jitter;       /* share of the service time, uniform to both sides */
    GHashTable *special; /* sequence + 1 -> RvSimulatedService, owned */
    GRand *random;
} Machine;

struct World {
    RvClock *clock;
    RvLive *live;
    GPtrArray *clients, *machines;
    int frames_alive; /* payloads not yet freed */
    int most_alive;
};

World *world_new(const RvLiveOptions *options);
void world_free(World *world); /* also checks that no payload is left */
Client *world_add_client(World *world,
                         const RvLiveSessionOptions *options); /* callbacks are set by the world */
Machine *world_add_machine(World *world, gint64 service_us, const RvLiveDeviceOptions *options);
void machine_special(Machine *machine, guint64 sequence, RvSimulatedService service);

void client_push(Client *client);
void client_close(Client *client);
void client_camera(Client *client, double fps); /* from now on; 0: off */
/* Lets time pass, the cameras pushing. */
void world_run(World *world, gint64 duration_us);

const Shown *client_shown(const Client *client, guint index);
RvLiveSessionStats client_stats(const Client *client);
RvLiveDeviceStats machine_stats(const Machine *machine);
/* Strict order, each once, nothing both shown and lost, counters add up. */
void client_check(const Client *client);
/* Lets warnings pass (they end tests otherwise) and keeps them off the output. */
void allow_warnings(void);
