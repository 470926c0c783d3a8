#include <string.h>

#include "server/state_internal.h"

#define DEFAULT_PROMPT "a psychedelic landscape" /* transformirror-web's */
#define MIN_WEIGHT 1e-4

typedef struct {
    char *text;
    double from, to;
} Ramp;

/* ---- lists of prompts ---- */

static void
prompt_clear(gpointer data)
{
    g_free(((RvWeightedPrompt *)data)->text);
}

static GArray *
prompts_new(void)
{
    GArray *prompts = g_array_new(FALSE, TRUE, sizeof(RvWeightedPrompt));
    g_array_set_clear_func(prompts, prompt_clear);
    return prompts;
}

static void
prompts_add(GArray *prompts, const char *text, double weight)
{
    RvWeightedPrompt prompt = { g_strdup(text), weight };
    g_array_append_val(prompts, prompt);
}

static void
ramp_clear(gpointer data)
{
    g_free(((Ramp *)data)->text);
}

/* ---- snapshots ---- */

RvParameters *
rv_parameters_ref(RvParameters *parameters)
{
    g_atomic_ref_count_inc(&parameters->count);
    return parameters;
}

void
rv_parameters_unref(RvParameters *parameters)
{
    if (parameters == NULL || !g_atomic_ref_count_dec(&parameters->count))
        return;
    g_array_unref(parameters->prompts);
    g_free(parameters);
}

/* The grammar knows no escape for a backslash before the closing quote: a space keeps them apart. */
static void
append_quoted(GString *to, const char *text)
{
    g_string_append_c(to, '"');
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"')
            g_string_append_c(to, '\\');
        g_string_append_c(to, *c);
    }
    g_string_append(to, g_str_has_suffix(text, "\\") ? " \"" : "\"");
}

char *
rv_parameters_prompt(const RvParameters *parameters)
{
    const GArray *prompts = parameters->prompts;
    if (prompts->len == 1)
        return g_strdup(g_array_index(prompts, RvWeightedPrompt, 0).text);
    GString *text = g_string_new("("), *weights = g_string_new(").blend(");
    for (guint i = 0; i < prompts->len; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(prompts, RvWeightedPrompt, i);
        char number[G_ASCII_DTOSTR_BUF_SIZE];
        g_string_append(text, i > 0 ? ", " : "");
        append_quoted(text, prompt->text);
        g_string_append(weights, i > 0 ? ", " : "");
        g_string_append(weights, g_ascii_formatd(number, sizeof number, "%.5f", prompt->weight));
    }
    g_string_append(weights, ")");
    g_string_append(text, weights->str);
    g_string_free(weights, TRUE);
    return g_string_free(text, FALSE);
}

/* How much of the time from `start_us` on has passed, 0 to 1. */
static double
progress(gint64 start_us, gint64 duration_us, gint64 now_us)
{
    return duration_us <= 0 ? 1.0 : CLAMP((double)(now_us - start_us) / (double)duration_us, 0.0, 1.0);
}

static double
ramp_weight(const RvState *state, const Ramp *ramp, gint64 now_us)
{
    double done = progress(state->ramp_start_us, state->ramp_us, now_us);
    return ramp->from + (ramp->to - ramp->from) * done;
}

/* Weights add up to 1; what cannot be seen is left out, as it would cost the text encoder's time. */
static GArray *
prompts_at(const RvState *state, gint64 now_us)
{
    GArray *prompts = prompts_new();
    double sum = 0.0, kept = 0.0;
    for (guint i = 0; i < state->ramp->len; i++)
        sum += ramp_weight(state, &g_array_index(state->ramp, Ramp, i), now_us);
    for (guint i = 0; i < state->ramp->len; i++) {
        const Ramp *ramp = &g_array_index(state->ramp, Ramp, i);
        double weight = ramp_weight(state, ramp, now_us);
        if (weight <= MIN_WEIGHT * sum)
            continue;
        prompts_add(prompts, ramp->text, weight);
        kept += weight;
    }
    for (guint i = 0; i < prompts->len; i++)
        g_array_index(prompts, RvWeightedPrompt, i).weight /= kept;
    return prompts;
}

RvParameters *
rv_state_snapshot(RvState *state, gint64 now_us)
{
    const RvSettings *s = &state->settings;
    RvParameters *parameters = g_new(RvParameters, 1);
    *parameters = (RvParameters) {
        .revision = state->revision,
        .prompts = prompts_at(state, now_us),
        .seed = s->fixed_seed ? s->seed : ((guint64)g_random_int() << 32 | g_random_int()),
        .steps = s->steps,
        .strength = s->strength,
        .opacity = s->opacity,
        .passthrough = s->passthrough,
        .mirror = s->mirror,
        .paused = s->paused,
        .smooth_strength = s->smooth_strength,
        .compel = s->compel,
    };
    RvSeedPoint point = rv_seed_travel_at(&state->seed, now_us);
    if (s->fixed_seed && point.strength > 0.0) {
        parameters->seed = point.seed;
        parameters->subseed = point.subseed;
        parameters->subseed_strength = point.strength;
    } else if (s->fixed_seed) {
        parameters->seed = point.seed;
    }
    g_atomic_ref_count_init(&parameters->count);
    return parameters;
}

guint32
rv_state_revision(const RvState *state)
{
    return state->revision;
}

bool
rv_state_is_paused(const RvState *state)
{
    return state->settings.paused;
}

bool
rv_state_has_pair(const RvState *state)
{
    return state->settings.prompts->len > 1;
}

const char *
rv_state_pace(const RvState *state)
{
    return state->settings.pace;
}

/* ---- the whole ---- */

RvSettings
rv_settings_copy(const RvSettings *settings)
{
    RvSettings copy = *settings;
    copy.prompts = prompts_new();
    for (guint i = 0; i < settings->prompts->len; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(settings->prompts, RvWeightedPrompt, i);
        prompts_add(copy.prompts, prompt->text, prompt->weight);
    }
    copy.pace = g_strdup(settings->pace);
    return copy;
}

void
rv_settings_clear(RvSettings *settings)
{
    g_clear_pointer(&settings->prompts, g_array_unref);
    g_clear_pointer(&settings->pace, g_free);
}

RvState *
rv_state_new(void (*on_change)(RvState *state, void *user), void *user)
{
    RvState *state = g_new0(RvState, 1);
    state->settings = (RvSettings) {
        .prompts = prompts_new(),
        .strength = 0.7,
        .opacity = 1.0,
        .steps = 2,
        .fixed_seed = true,
        .smooth_strength = true,
        .compel = true,
        .pace = g_strdup("smooth"),
    };
    prompts_add(state->settings.prompts, DEFAULT_PROMPT, 1.0);
    rv_seed_travel_init(&state->seed, state->settings.seed);
    state->ramp = g_array_new(FALSE, TRUE, sizeof(Ramp));
    g_array_set_clear_func(state->ramp, ramp_clear);
    Ramp only = { g_strdup(DEFAULT_PROMPT), 1.0, 1.0 };
    g_array_append_val(state->ramp, only);
    state->on_change = on_change;
    state->user = user;
    return state;
}

void
rv_state_free(RvState *state)
{
    if (state == NULL)
        return;
    rv_settings_clear(&state->settings);
    g_array_unref(state->ramp);
    g_free(state);
}

static Ramp *
find_ramp(GArray *ramps, const char *text)
{
    for (guint i = 0; i < ramps->len; i++)
        if (strcmp(g_array_index(ramps, Ramp, i).text, text) == 0)
            return &g_array_index(ramps, Ramp, i);
    return NULL;
}

/* Every prompt that is seen now leaves from its weight of this moment. At most RV_MAX_PROMPTS leaving ones
 * are kept, so that a fader cannot pile them up. */
static void
start_ramp(RvState *state, gint64 now_us)
{
    g_autoptr(GArray) before = prompts_at(state, now_us);
    const GArray *target = state->settings.prompts;
    double sum = 0.0;
    g_array_set_size(state->ramp, 0);
    for (guint i = 0; i < target->len; i++)
        sum += g_array_index(target, RvWeightedPrompt, i).weight;
    for (guint i = 0; i < target->len; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(target, RvWeightedPrompt, i);
        Ramp *same = find_ramp(state->ramp, prompt->text);
        if (same != NULL) {
            same->to += prompt->weight / sum;
            continue;
        }
        Ramp next = { g_strdup(prompt->text), 0.0, prompt->weight / sum };
        g_array_append_val(state->ramp, next);
    }
    for (guint i = 0, leaving = 0; i < before->len; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(before, RvWeightedPrompt, i);
        Ramp *next = find_ramp(state->ramp, prompt->text);
        if (next != NULL) {
            next->from = prompt->weight;
        } else if (leaving++ < RV_MAX_PROMPTS) {
            Ramp old = { g_strdup(prompt->text), prompt->weight, 0.0 };
            g_array_append_val(state->ramp, old);
        }
    }
    state->ramp_start_us = now_us;
    state->ramp_us = (gint64)(state->settings.ramp_ms * 1000.0);
}

static bool
prompts_equal(const GArray *a, const GArray *b)
{
    bool same = a->len == b->len;
    for (guint i = 0; same && i < a->len; i++) {
        const RvWeightedPrompt *x = &g_array_index(a, RvWeightedPrompt, i),
                               *y = &g_array_index(b, RvWeightedPrompt, i);
        same = x->weight == y->weight && strcmp(x->text, y->text) == 0;
    }
    return same;
}

void
rv_state_commit(RvState *state, RvSettings *draft)
{
    bool prompts_changed = !prompts_equal(state->settings.prompts, draft->prompts);
    guint64 seed = state->settings.seed;
    gint64 now_us = g_get_monotonic_time();
    rv_settings_clear(&state->settings);
    state->settings = *draft;
    *draft = (RvSettings) { 0 };
    state->revision++;
    if (prompts_changed)
        start_ramp(state, now_us);
    if (seed != state->settings.seed)
        rv_seed_travel_to(&state->seed, state->settings.seed, (gint64)(state->settings.ramp_ms * 1000.0),
                          now_us);
    if (state->on_change != NULL)
        state->on_change(state, state->user);
}

bool
rv_state_set(RvState *state, const char *name, const RvValue *value, GError **error)
{
    RvSettings draft = rv_settings_copy(&state->settings);
    bool ok = rv_settings_set(&draft, name, value, error);
    if (ok)
        rv_state_commit(state, &draft);
    rv_settings_clear(&draft);
    return ok;
}

bool
rv_state_set_text(RvState *state, const char *name, const char *text, GError **error)
{
    return rv_state_set(state, name, &(RvValue) { .kind = RV_VALUE_TEXT, .text = text }, error);
}

bool
rv_state_set_prompts(RvState *state, const RvWeightedPrompt *prompts, gsize n, GError **error)
{
    RvSettings draft = rv_settings_copy(&state->settings);
    bool ok = rv_settings_set_prompts(&draft, prompts, n, error);
    if (ok)
        rv_state_commit(state, &draft);
    rv_settings_clear(&draft);
    return ok;
}
