/* settings.c - what each parameter takes: one table, whoever asks (JSON, HTTP routes, OSC). */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "live/live.h"
#include "server/state_internal.h"

#define MAX_STEPS 50
#define MAX_RAMP_MS 600000.0

typedef enum { FLAG, INTEGER, SEED, NUMBER, SPECIAL } Kind;

typedef struct {
    const char *name;
    Kind kind;
    gsize offset; /* in RvSettings */
    double min, max;
    bool clamps; /* a fader that overshoots is no mistake */
    bool (*set)(RvSettings *settings, const char *text, GError **error); /* of SPECIAL */
} Row;

static void
prompt_set(RvWeightedPrompt *prompt, const char *text)
{
    g_free(prompt->text);
    prompt->text = g_strdup(text);
}

/* Control characters become spaces: they would break lines of logs and mean nothing to the model. */
static char *
clean_prompt(const char *text, GError **error)
{
    if (!g_utf8_validate(text, -1, NULL) || strlen(text) > RV_MAX_PROMPT_BYTES) {
        rv_error_set(error, RV_ERROR_USAGE, "prompt", "shorten it",
                     "a prompt is UTF-8 text of at most %d bytes", RV_MAX_PROMPT_BYTES);
        return NULL;
    }
    char *clean = g_strdup(text);
    for (char *c = clean; *c != '\0'; c++)
        if (g_ascii_iscntrl(*c))
            *c = ' ';
    return g_strstrip(clean);
}

bool
rv_settings_set_prompts(RvSettings *settings, const RvWeightedPrompt *prompts, gsize n, GError **error)
{
    if (n < 1 || n > RV_MAX_PROMPTS)
        return rv_error_set(error, RV_ERROR_USAGE, "prompts", "give 1 to 16", "%zu prompts", n);
    double sum = 0.0;
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    for (gsize i = 0; i < n; i++) {
        char *text = clean_prompt(prompts[i].text, error);
        if (text == NULL)
            return false;
        g_ptr_array_add(texts, text);
        if (!isfinite(prompts[i].weight) || prompts[i].weight < 0.0 || prompts[i].weight > 1e6)
            return rv_error_set(error, RV_ERROR_USAGE, "prompts", "use weights of 0 or more",
                                "%g is no weight", prompts[i].weight);
        sum += prompts[i].weight;
    }
    if (sum < 1e-6)
        return rv_error_set(error, RV_ERROR_USAGE, "prompts", "give one a weight above 0",
                            "all prompts weigh nothing");
    g_array_set_size(settings->prompts, 0);
    for (gsize i = 0; i < n; i++) {
        RvWeightedPrompt prompt = { g_strdup(g_ptr_array_index(texts, i)), prompts[i].weight };
        g_array_append_val(settings->prompts, prompt);
    }
    settings->crossfade = n == 2 ? prompts[1].weight / sum : 0.0;
    return true;
}

static bool
set_prompt(RvSettings *settings, const char *text, GError **error)
{
    return rv_settings_set_prompts(settings, &(RvWeightedPrompt) { (char *)text, 1.0 }, 1, error);
}

/* GenDJ's pair: prompts 0 and 1, of which the fader shows more or less. */
static void
weigh_pair(RvSettings *settings)
{
    g_array_set_size(settings->prompts, MIN(settings->prompts->len, 2));
    if (settings->prompts->len < 2)
        return;
    g_array_index(settings->prompts, RvWeightedPrompt, 0).weight = 1.0 - settings->crossfade;
    g_array_index(settings->prompts, RvWeightedPrompt, 1).weight = settings->crossfade;
}

static bool
set_prompt_of_pair(RvSettings *settings, guint which, const char *text, GError **error)
{
    g_autofree char *clean = clean_prompt(text, error);
    if (clean == NULL)
        return false;
    if (settings->prompts->len <= which) {
        RvWeightedPrompt second = { NULL, 0.0 };
        g_array_append_val(settings->prompts, second);
    }
    prompt_set(&g_array_index(settings->prompts, RvWeightedPrompt, which), clean);
    weigh_pair(settings);
    if (settings->prompts->len == 1)
        g_array_index(settings->prompts, RvWeightedPrompt, 0).weight = 1.0;
    return true;
}

static bool
set_first(RvSettings *settings, const char *text, GError **error)
{
    return set_prompt_of_pair(settings, 0, text, error);
}

static bool
set_second(RvSettings *settings, const char *text, GError **error)
{
    return set_prompt_of_pair(settings, 1, text, error);
}

static bool
set_mode(RvSettings *settings, const char *text, GError **error)
{
    bool is_hard = g_ascii_strcasecmp(text, "hard") == 0;
    if (!is_hard && g_ascii_strcasecmp(text, "soft") != 0)
        return rv_error_set(error, RV_ERROR_USAGE, "mode", "use hard or soft", "\"%s\" is no mode", text);
    settings->steps = is_hard ? 2 : 3;
    settings->strength = is_hard ? 0.7 : 0.5;
    return true;
}

static bool
set_pace(RvSettings *settings, const char *text, GError **error)
{
    RvPace pace;
    gint64 budget_us;
    if (!rv_pace_parse(text, &pace, &budget_us, error))
        return false;
    g_free(settings->pace);
    settings->pace = g_strdup(text);
    return true;
}

#define AT(field) G_STRUCT_OFFSET(RvSettings, field)
static const Row rows[] = {
    { "prompt", SPECIAL, .set = set_prompt },
    { "prompt/0", SPECIAL, .set = set_first },
    { "prompt/1", SPECIAL, .set = set_second },
    { "mode", SPECIAL, .set = set_mode },
    { "pace", SPECIAL, .set = set_pace },
    { "crossfade", NUMBER, AT(crossfade), 0.0, 1.0, true },
    { "opacity", NUMBER, AT(opacity), 0.0, 1.0, true },
    { "blend", NUMBER, AT(opacity), 0.0, 1.0, true }, /* fast-trt's name */
    { "strength", NUMBER, AT(strength), 0.0, 1.0 },
    { "ramp_ms", NUMBER, AT(ramp_ms), 0.0, MAX_RAMP_MS },
    { "seed", SEED, AT(seed) },
    { "steps", INTEGER, AT(steps), 1, MAX_STEPS },
    { "fixed_seed", FLAG, AT(fixed_seed) },
    { "passthrough", FLAG, AT(passthrough) },
    { "mirror", FLAG, AT(mirror) },
    { "left_right_flip", FLAG, AT(mirror) }, /* fast-trt's name */
    { "paused", FLAG, AT(paused) },
    { "compel", FLAG, AT(compel) },
    { "smooth_strength", FLAG, AT(smooth_strength) },
};

bool
rv_value_as_number(const RvValue *value, double *number)
{
    char *end = NULL;
    switch (value->kind) {
    case RV_VALUE_TEXT:
        *number = g_ascii_strtod(value->text, &end);
        return end != value->text && *end == '\0' && isfinite(*number);
    case RV_VALUE_NUMBER:
        *number = value->number;
        return isfinite(*number);
    default:
        *number = (double)value->integer;
        return true;
    }
}

bool
rv_value_as_flag(const RvValue *value, bool *flag)
{
    static const char *const yes[] = { "1", "true", "on", "yes", "t", "y", NULL };
    static const char *const no[] = { "0", "false", "off", "no", "f", "n", NULL };
    if (value->kind == RV_VALUE_TEXT) {
        g_autofree char *lower = g_ascii_strdown(value->text, -1);
        *flag = g_strv_contains(yes, lower);
        return *flag || g_strv_contains(no, lower);
    }
    double number;
    bool ok = rv_value_as_number(value, &number);
    *flag = ok && number != 0.0;
    return ok;
}

static bool
as_seed(const RvValue *value, guint64 *seed)
{
    if (value->kind == RV_VALUE_TEXT) {
        char *end = NULL;
        const char *digits = value->text + strspn(value->text, " ");
        errno = 0;
        *seed = g_ascii_strtoull(digits, &end, 10);
        return g_ascii_isdigit(*digits) && *end == '\0' && errno == 0;
    }
    if (value->kind != RV_VALUE_NUMBER) {
        *seed = (guint64)MAX(value->integer, 0);
        return value->integer >= 0;
    }
    if (!(value->number >= 0.0 &&
          value->number < 9007199254740992.0)) /* whole numbers are exact up to there */
        return false;
    *seed = (guint64)value->number;
    return true;
}

static bool
set_number(RvSettings *settings, const Row *row, const RvValue *value, GError **error)
{
    double number;
    bool is_number = rv_value_as_number(value, &number);
    if (is_number && row->clamps)
        number = CLAMP(number, row->min, row->max);
    if (!is_number || number < row->min - 1e-9 || number > row->max + 1e-9)
        return rv_error_set(error, RV_ERROR_USAGE, row->name, "correct it", "not a number from %g to %g",
                            row->min, row->max);
    void *at = (char *)settings + row->offset;
    if (row->kind == INTEGER)
        *(int *)at = (int)lround(number);
    else
        *(double *)at = CLAMP(number, row->min, row->max);
    if (row->offset == AT(crossfade) && settings->prompts->len >= 2)
        weigh_pair(settings);
    return true;
}

bool
rv_settings_set(RvSettings *settings, const char *name, const RvValue *value, GError **error)
{
    const Row *row = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(rows) && row == NULL; i++)
        row = strcmp(rows[i].name, name) == 0 ? &rows[i] : NULL;
    if (row == NULL)
        return rv_error_set(error, RV_ERROR_NOT_FOUND, name, "see GET /api/state",
                            "there is no such parameter");
    if (row->kind == NUMBER || row->kind == INTEGER)
        return set_number(settings, row, value, error);
    if (row->kind == FLAG) {
        bool flag;
        if (!rv_value_as_flag(value, &flag))
            return rv_error_set(error, RV_ERROR_USAGE, name, "use true or false", "neither yes nor no");
        *(bool *)(void *)((char *)settings + row->offset) = flag;
        return true;
    }
    if (row->kind == SEED)
        return as_seed(value, &settings->seed) ||
               rv_error_set(error, RV_ERROR_USAGE, name, "use a whole number of 0 or more", "not a seed");
    if (value->kind != RV_VALUE_TEXT)
        return rv_error_set(error, RV_ERROR_USAGE, name, "send text", "not a text");
    return row->set(settings, value->text, error);
}
