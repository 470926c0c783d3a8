/* mirror_internal.h - what mirror.c, client.c and mirror_stats.c share. */
#pragma once
#include "live/live.h"
#include "server/metrics.h"
#include "server/mirror.h"
#include "server/mirror_device.h"
#include "server/recording.h"

/* One scheduler for what the server runs, one for clients that ask for the effect. */
typedef enum { RV_MIRROR_MAIN, RV_MIRROR_EFFECT, RV_MIRROR_N } RvMirrorPart;

struct RvMirror {
    const RvServeOptions *options;
    RvState *state;
    RvTurnsTable *turns;
    void (*on_change)(const GError *error, void *user);
    void *user;
    RvClock *clock;
    RvLive *lives[RV_MIRROR_N];
    GPtrArray *devices; /* RvMirrorDevice, of the main part */
    RvMirrorDevice *effect;
    RvPromptStore *prompts; /* NULL with an effect */
    int width, height;      /* of the main part's pictures; 0: not known yet */
    int failed_devices;
    int cancel; /* set when everything stops */
    bool refuses, was_ready;
    GPtrArray *clients; /* RvClient, oldest first */
    GPtrArray *watches; /* RvWatch */
    guint64 last_id;
    guint64 totals[RV_CLIENT_N_COUNTERS]; /* of all clients there were */
    RvHistogram stages[RV_STAGE_COUNT], ages, times[RV_CLIENT_N_TIMES];
};

#define RV_CLIENT_RECENT 256
struct RvClient {
    RvMirror *mirror;
    RvMirrorPart part;
    guint64 id;
    char *transport, *address;
    RvClientOptions options;
    RvLiveSession *session;
    RvTake *take; /* what is recorded of it */
    gint64 opened_us;
    guint64 counters[RV_CLIENT_N_COUNTERS];
    gint64 recent[RV_CLIENT_N_TIMES][RV_CLIENT_RECENT]; /* rings of what the transport measured */
    guint n_recent[RV_CLIENT_N_TIMES];
};

/* The scheduler that clients of `effect` (NULL: the server's own) belong to; starts the effect's device. */
bool rv_mirror_find_part(RvMirror *mirror, const char *effect, RvMirrorPart *part, GError **error);
