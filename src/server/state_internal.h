/* state_internal.h - what state.c and state_json.c share. */
#pragma once
#include "server/seed_travel.h"
#include "server/state.h"

/* What can be set. Copied, changed and put back as a whole. */
typedef struct {
    GArray *prompts; /* RvWeightedPrompt as they were set */
    double crossfade, strength, opacity, ramp_ms;
    guint64 seed;
    int steps;
    bool fixed_seed, smooth_strength, passthrough, mirror, paused, compel;
    char *pace;
} RvSettings;

struct RvState {
    RvSettings settings;
    guint32 revision;
    GArray *ramp; /* Ramp: every prompt on its way */
    gint64 ramp_start_us, ramp_us;
    RvSeedTravel seed; /* to settings.seed */
    void (*on_change)(RvState *state, void *user);
    void *user;
};

RvSettings rv_settings_copy(const RvSettings *settings);
void rv_settings_clear(RvSettings *settings);
bool rv_settings_set(RvSettings *settings, const char *name, const RvValue *value, GError **error);
bool rv_settings_set_prompts(RvSettings *settings, const RvWeightedPrompt *prompts, gsize n, GError **error);
/* Takes `draft`; starts the ramp of prompts and tells the listener. */
void rv_state_commit(RvState *state, RvSettings *draft);
