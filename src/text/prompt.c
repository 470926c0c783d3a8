#include "text/prompt.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "text/clean.h"
#include "text/prompt_internal.h"

#define ENTRIES_MAX_BYTES (8u << 20) /* of the texts of all entries of a prompt together */

RvPromptEntry *
rv_prompt_entry_new(int end_step, char *text)
{
    RvPromptEntry *entry = g_new(RvPromptEntry, 1);
    *entry = (RvPromptEntry) { end_step, text, NULL };
    return entry;
}

static void
free_entry(gpointer data)
{
    RvPromptEntry *entry = data;
    g_free(entry->text);
    g_clear_pointer(&entry->members, g_ptr_array_unref);
    g_free(entry);
}

GPtrArray *
rv_prompt_entries_new(void)
{
    return g_ptr_array_new_with_free_func(free_entry);
}

static void
free_part(gpointer data)
{
    RvPromptPart *part = data;
    g_ptr_array_unref(part->entries);
    g_free(part);
}

void
rv_prompt_network_free(gpointer data)
{
    RvPromptNetwork *network = data;
    g_free(network->kind);
    g_free(network->name);
    g_strfreev(network->arguments);
    g_free(network);
}

void
rv_prompt_free(RvPrompt *prompt)
{
    if (prompt == NULL)
        return;
    g_ptr_array_unref(prompt->parts);
    g_ptr_array_unref(prompt->networks);
    g_free(prompt);
}

/* Reads "NAME=number" or a bare number; the first bare ones set the weights in turn. */
static void
set_network_weights(RvPromptNetwork *network)
{
    const char *text = NULL, *unet = NULL;
    guint position = 0;
    for (char **argument = network->arguments + 1; *argument != NULL; argument++) {
        if (g_str_has_prefix(*argument, "te="))
            text = *argument + 3;
        else if (g_str_has_prefix(*argument, "unet="))
            unet = *argument + 5;
        else if (strchr(*argument, '=') == NULL) {
            if (position == 0 && text == NULL)
                text = *argument;
            else if (position == 1 && unet == NULL)
                unet = *argument;
            position++;
        }
    }
    network->text_weight = network->unet_weight = 1;
    if (text != NULL && rv_prompt_number_length(text) > 0)
        network->text_weight = network->unet_weight = (float)g_ascii_strtod(text, NULL);
    if (unet != NULL && rv_prompt_number_length(unet) > 0)
        network->unet_weight = (float)g_ascii_strtod(unet, NULL);
}

/* The end of a tag <word:anything> that begins at `c`, NULL when there is none. */
static const char *
network_end(const char *c, const char **colon)
{
    const char *name = ++c;
    while (*c != '\0' && rv_prompt_is_word(g_utf8_get_char(c)))
        c = g_utf8_next_char(c);
    if (c == name || c[0] != ':' || c[1] == '>')
        return NULL;
    *colon = c;
    return strchr(c, '>');
}

char *
rv_prompt_extract_networks(const char *text, GPtrArray *networks)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *rest = g_string_new(NULL);
    const char *last = strrchr(valid, '>'), *colon, *end;
    for (const char *c = valid; *c != '\0'; c++) {
        if (*c != '<' || last == NULL || c > last || (end = network_end(c, &colon)) == NULL) {
            g_string_append_c(rest, *c);
            continue;
        }
        RvPromptNetwork *network = g_new0(RvPromptNetwork, 1);
        g_autofree char *arguments = g_strndup(colon + 1, (gsize)(end - colon - 1));
        network->kind = g_strndup(c + 1, (gsize)(colon - c - 1));
        network->arguments = g_strsplit(arguments, ":", -1);
        network->name = g_strdup(network->arguments[0]);
        set_network_weights(network);
        g_ptr_array_add(networks, network);
        c = end;
    }
    return g_string_free(rest, FALSE);
}

/* Each comment becomes the line break that ends it; a line of nothing else disappears. */
static char *
strip_comments(const char *text)
{
    GString *rest = g_string_new(NULL);
    while (*text != '\0') {
        gsize length = strcspn(text, "#");
        g_string_append_len(rest, text, (gssize)length);
        text += length;
        text += strcspn(text, "\n");
        if (*text == '\n' && (rest->len == 0 || rest->str[rest->len - 1] == '\n'))
            text++;
    }
    return g_string_free(rest, FALSE);
}

/* Cuts ":number" and white space off the end of a part; returns the number, 1 if there is none. */
static double
take_part_weight(char *text)
{
    g_strchomp(text);
    char *colon = strrchr(text, ':');
    if (colon == NULL)
        return 1;
    const char *number = colon + 1;
    while (g_ascii_isspace(*number))
        number++;
    gsize length = rv_prompt_number_length(number);
    if (length == 0 || number[length] != '\0')
        return 1;
    double weight = g_ascii_strtod(number, NULL);
    *colon = '\0';
    g_strchomp(text);
    return weight;
}

static bool
add_part(RvPrompt *prompt, const char *text, double weight, const RvPromptOptions *options, gsize *budget,
         GError **error)
{
    GPtrArray *entries;
    if (!isfinite((float)weight))
        return rv_error_set(error, RV_ERROR_USAGE, "prompt", "use weights near 1",
                            "the weight of a part is too large");
    if (options->syntax == RV_PROMPT_A1111) {
        entries = rv_prompt_parse_schedule(text, options, budget, error);
        if (entries == NULL)
            return false;
    } else {
        entries = rv_prompt_entries_new();
        int last = options->hires_steps > 0 ? options->hires_steps : options->steps;
        g_ptr_array_add(entries, rv_prompt_entry_new(last, g_strdup(text)));
    }
    RvPromptPart *part = g_new(RvPromptPart, 1);
    *part = (RvPromptPart) { (float)weight, entries };
    g_ptr_array_add(prompt->parts, part);
    for (guint i = 0; i < entries->len; i++) {
        RvPromptEntry *entry = g_ptr_array_index(entries, i);
        entry->members = rv_prompt_parse_members(entry->text, options->syntax, error);
        if (entry->members == NULL)
            return false;
    }
    return true;
}

static bool
add_parts(RvPrompt *prompt, const char *text, const RvPromptOptions *options, GError **error)
{
    const char *start = text, *end = text + strlen(text), *found;
    bool is_split = options->syntax == RV_PROMPT_A1111 && !options->is_negative;
    gsize budget = ENTRIES_MAX_BYTES;
    do {
        found = is_split ? rv_prompt_find_word(text, start, end, "AND") : NULL;
        g_autofree char *part = g_strndup(start, (gsize)((found != NULL ? found : end) - start));
        bool is_only = found == NULL && start == text;
        double weight = is_only ? 1 : take_part_weight(part);
        if (!add_part(prompt, part, weight, options, &budget, error))
            return false;
        start = found != NULL ? found + strlen("AND") : end;
    } while (found != NULL);
    return true;
}

static bool
check_options(const char *text, const RvPromptOptions *options, GError **error)
{
    gsize length = strlen(text);
    if (length > RV_PROMPT_MAX_BYTES)
        return rv_error_set(error, RV_ERROR_USAGE, "prompt", "shorten it",
                            "%" G_GSIZE_FORMAT " bytes are more than %d", length, RV_PROMPT_MAX_BYTES);
    if (options->steps < 1 || options->steps > RV_PROMPT_MAX_STEPS || options->hires_steps < 0 ||
        options->hires_steps > RV_PROMPT_MAX_STEPS)
        return rv_error_set(error, RV_ERROR_USAGE, "steps", "use 1 to 10000", "%d and %d steps",
                            options->steps, options->hires_steps);
    return true;
}

RvPrompt *
rv_prompt_parse(const char *text, const RvPromptOptions *options, GError **error)
{
    if (!check_options(text, options, error))
        return NULL;
    RvPrompt *prompt = g_new0(RvPrompt, 1);
    prompt->parts = g_ptr_array_new_with_free_func(free_part);
    prompt->networks = g_ptr_array_new_with_free_func(rv_prompt_network_free);
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    bool is_full = options->syntax == RV_PROMPT_A1111;
    g_autofree char *uncommented =
        is_full && options->strip_comments ? strip_comments(valid) : g_strdup(valid);
    g_autofree char *plain =
        is_full ? rv_prompt_extract_networks(uncommented, prompt->networks) : g_strdup(uncommented);
    bool ok = add_parts(prompt, plain, options, error);
    if (!ok)
        g_clear_pointer(&prompt, rv_prompt_free);
    return prompt;
}

const RvPromptEntry *
rv_prompt_part_at(const RvPromptPart *part, int step)
{
    guint i = 0;
    while (i + 1 < part->entries->len &&
           step > ((const RvPromptEntry *)g_ptr_array_index(part->entries, i))->end_step)
        i++;
    return g_ptr_array_index(part->entries, i);
}
