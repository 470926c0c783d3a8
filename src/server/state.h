/* state.h - the live parameters: what the pictures are made with, changed while they run by pages, HTTP
 * routes and OSC, and kept over restarts.
 *
 * A change is whole or not at all: a wrong value anywhere leaves everything as it was. Prompt weights move
 * to their new values over `ramp_ms`, and so does the noise to that of a new seed. Main loop only; snapshots
 * may be read and released by any thread. */
#pragma once
#include <json-glib/json-glib.h>

#include "base/error.h"

#define RV_MAX_PROMPTS 16
#define RV_MAX_PROMPT_BYTES 4000

typedef struct {
    char *text;
    double weight; /* 0 to 1 in snapshots, where they add up to 1 */
} RvWeightedPrompt;

/* The parameters at one moment; not changed after it was made. */
typedef struct {
    gatomicrefcount count;
    guint32 revision;
    GArray *prompts; /* RvWeightedPrompt, at least one, weights above 0 */
    guint64 seed;
    guint64 subseed;         /* on the way to another seed: the noise of `seed` becomes that of `subseed` */
    double subseed_strength; /* how far: 0 to 1 */
    int steps;
    double strength;      /* 0 to 1 */
    double opacity;       /* of the drawn picture over the camera's: 1 is only the drawn one */
    bool smooth_strength; /* in place of whole steps */
    bool passthrough, mirror, paused, compel;
} RvParameters;

RvParameters *rv_parameters_ref(RvParameters *parameters);
void rv_parameters_unref(RvParameters *parameters); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvParameters, rv_parameters_unref)
/* The prompts as one text that the engine understands: the text itself, or compel's blend of several. */
char *rv_parameters_prompt(const RvParameters *parameters);

typedef struct RvState RvState;

/* `on_change` is called after every change; may be NULL. */
RvState *rv_state_new(void (*on_change)(RvState *state, void *user), void *user);
void rv_state_free(RvState *state); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvState, rv_state_free)

/* `now_us`: g_get_monotonic_time(); a ramp under way is taken at that time. With `fixed_seed` off every
 * snapshot has another seed. */
RvParameters *rv_state_snapshot(RvState *state, gint64 now_us);
guint32 rv_state_revision(const RvState *state);
bool rv_state_is_paused(const RvState *state);
bool rv_state_has_pair(const RvState *state); /* a second prompt was set */
/* "off", "smooth" or "latency-budget=MS"; borrowed. */
const char *rv_state_pace(const RvState *state);

/* A value as it came: numbers for flags, text for numbers and so on are taken if they make sense. */
typedef enum { RV_VALUE_TEXT, RV_VALUE_INTEGER, RV_VALUE_NUMBER, RV_VALUE_BOOL } RvValueKind;
typedef struct {
    RvValueKind kind;
    const char *text; /* UTF-8, when kind is text */
    gint64 integer;   /* also of BOOL */
    double number;
} RvValue;

/* False when it makes no sense as a finite number, or as yes or no ("on", "F", 0 ...). */
bool rv_value_as_number(const RvValue *value, double *number);
bool rv_value_as_flag(const RvValue *value, bool *flag);

/* Names: prompt (all prompts become this one), prompt/0, prompt/1 (one of two), crossfade (between these, 0
 * to 1), seed, fixed_seed, steps, strength, opacity (also blend), passthrough, mirror (also
 * left_right_flip), paused, compel, smooth_strength, ramp_ms, pace, mode (hard: 2 steps, 0.7; soft: 3 steps,
 * 0.5). RV_ERROR_NOT_FOUND: no such parameter; RV_ERROR_USAGE: not such a value. */
bool rv_state_set(RvState *state, const char *name, const RvValue *value, GError **error);
bool rv_state_set_text(RvState *state, const char *name, const char *text, GError **error);
/* Several prompts at once; weights of any sum above 0. `n` is 1 to RV_MAX_PROMPTS. */
bool rv_state_set_prompts(RvState *state, const RvWeightedPrompt *prompts, gsize n, GError **error);

/* The members of a JSON object; unknown ones are ignored, as in fast-trt. */
bool rv_state_set_json(RvState *state, JsonObject *object, GError **error);
/* All parameters as members of the object that `json` is in. */
void rv_state_add_json(const RvState *state, JsonBuilder *json);

/* Reads the file if there is one. A damaged file is renamed to PATH.bad and reported, the defaults stay. */
bool rv_state_load(RvState *state, const char *path, GError **error);
/* What the file holds; freed by the caller. */
char *rv_state_text(const RvState *state);
/* Writes it beside `path` and renames, so that the file is whole whenever the power fails: waits for the
 * disk. Any thread. */
bool rv_state_write(const char *text, const char *path, GError **error);
