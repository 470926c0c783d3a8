/* blend.c - compel's ("one text", "another").blend(0.3, 0.7) and .and(). */
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "text/prompt_internal.h"

#define NO_NORMALIZE "\"no_normalize\""

typedef struct {
    GPtrArray *texts; /* char * */
    GArray *weights;  /* double */
    bool is_and, is_raw;
} Mix;

static const char *
skip_space(const char *c)
{
    while (g_ascii_isspace(*c))
        c++;
    return c;
}

/* Each of these reads one thing at *c and moves behind it and the white space that follows. */
static bool
take(const char **c, const char *word)
{
    if (!g_str_has_prefix(*c, word))
        return false;
    *c = skip_space(*c + strlen(word));
    return true;
}

static bool
take_string(const char **c, GPtrArray *texts)
{
    if (**c != '"')
        return false;
    GString *text = g_string_new(NULL);
    const char *from = *c + 1;
    for (; *from != '"' && *from != '\0'; from++) {
        if (from[0] == '\\' && from[1] == '"')
            from++;
        g_string_append_c(text, *from);
    }
    g_ptr_array_add(texts, g_string_free(text, FALSE));
    *c = *from == '"' ? skip_space(from + 1) : from;
    return *from == '"';
}

static bool
take_number(const char **c, GArray *numbers)
{
    gsize length = rv_prompt_number_length(*c);
    if (length == 0)
        return false;
    double number = g_ascii_strtod(*c, NULL);
    g_array_append_val(numbers, number);
    *c = skip_space(*c + length);
    return true;
}

/* False when the text has another form: then it is an ordinary prompt. */
static bool
parse_mix(const char *c, Mix *mix)
{
    c = skip_space(c);
    if (!take(&c, "("))
        return false;
    do {
        if (!take_string(&c, mix->texts))
            return false;
    } while (take(&c, ","));
    if (!take(&c, ")") || !take(&c, "."))
        return false;
    mix->is_and = take(&c, "and");
    if ((!mix->is_and && !take(&c, "blend")) || !take(&c, "("))
        return false;
    if (take(&c, ")"))
        return *c == '\0';
    do {
        mix->is_raw = take(&c, NO_NORMALIZE);
        if (!mix->is_raw && !take_number(&c, mix->weights))
            return false;
    } while (!mix->is_raw && take(&c, ","));
    return take(&c, ")") && *c == '\0';
}

static bool
check_weights(Mix *mix, GError **error)
{
    if (mix->weights->len == 0) {
        const double one = 1;
        for (guint i = 0; i < mix->texts->len; i++)
            g_array_append_val(mix->weights, one);
    }
    if (mix->weights->len != mix->texts->len)
        return rv_error_set(error, RV_ERROR_USAGE, "prompt", "give one weight for each text",
                            "%u texts with %u weights", mix->texts->len, mix->weights->len);
    double sum = 0;
    for (guint i = 0; i < mix->weights->len; i++)
        sum += g_array_index(mix->weights, double, i);
    if (mix->is_and || mix->is_raw)
        sum = 1;
    for (guint i = 0; i < mix->weights->len; i++) {
        double *weight = &g_array_index(mix->weights, double, i);
        *weight /= sum;
        if (!isfinite((float)*weight))
            return rv_error_set(error, RV_ERROR_USAGE, "prompt", "use weights that add up to 1",
                                "weights that add up to %g cannot be blended", sum);
    }
    return true;
}

static void
clear_run(gpointer data)
{
    g_free(((RvPromptRun *)data)->text);
}

static void
free_member(gpointer data)
{
    RvPromptMember *member = data;
    g_array_unref(member->runs);
    g_free(member);
}

GArray *
rv_prompt_runs_new(void)
{
    GArray *runs = g_array_new(FALSE, FALSE, sizeof(RvPromptRun));
    g_array_set_clear_func(runs, clear_run);
    return runs;
}

void
rv_prompt_runs_take(GArray *runs, char *text, double weight, bool is_break)
{
    RvPromptRun run = { text, (float)weight, is_break };
    g_array_append_val(runs, run);
}

static GArray *
parse_runs(const char *text, RvPromptSyntax syntax, GError **error)
{
    if (syntax != RV_PROMPT_PLAIN)
        return rv_prompt_parse_emphasis(text, syntax == RV_PROMPT_EXPLICIT, error);
    GArray *runs = rv_prompt_runs_new();
    rv_prompt_runs_take(runs, g_strdup(text), 1.0, false);
    return runs;
}

static bool
add_member(GPtrArray *members, const char *text, double weight, RvPromptSyntax syntax, GError **error)
{
    GArray *runs = parse_runs(text, syntax, error);
    if (runs == NULL)
        return false;
    RvPromptMember *member = g_new(RvPromptMember, 1);
    *member = (RvPromptMember) { (float)weight, runs };
    g_ptr_array_add(members, member);
    return true;
}

/* .and(): each text in chunks of its own, its weights multiplied by the text's. */
static void
chain_members(GPtrArray *members, const Mix *mix)
{
    GArray *chain = rv_prompt_runs_new();
    for (guint i = 0; i < members->len; i++) {
        const RvPromptMember *member = g_ptr_array_index(members, i);
        if (i > 0)
            rv_prompt_runs_take(chain, g_strdup(""), 1.0, true);
        for (guint j = 0; j < member->runs->len; j++) {
            const RvPromptRun *run = &g_array_index(member->runs, RvPromptRun, j);
            double weight = run->is_break ? 1 : run->weight * g_array_index(mix->weights, double, i);
            rv_prompt_runs_take(chain, g_strdup(run->text), weight, run->is_break);
        }
    }
    RvPromptMember *member = g_new(RvPromptMember, 1);
    *member = (RvPromptMember) { 1, chain };
    g_ptr_array_set_size(members, 0);
    g_ptr_array_add(members, member);
}

GPtrArray *
rv_prompt_parse_members(const char *text, RvPromptSyntax syntax, GError **error)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) weights = g_array_new(FALSE, FALSE, sizeof(double));
    Mix mix = { texts, weights, false, false };
    GPtrArray *members = g_ptr_array_new_with_free_func(free_member);
    bool ok = true;
    if (syntax == RV_PROMPT_PLAIN || !parse_mix(text, &mix)) {
        ok = add_member(members, text, 1, syntax, error);
    } else {
        ok = check_weights(&mix, error);
        for (guint i = 0; ok && i < texts->len; i++)
            ok = add_member(members, g_ptr_array_index(texts, i), g_array_index(weights, double, i), syntax,
                            error);
        if (ok && mix.is_and)
            chain_members(members, &mix);
    }
    if (!ok)
        g_clear_pointer(&members, g_ptr_array_unref);
    return members;
}
