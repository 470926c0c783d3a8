/* script_file.c - "Prompts from file or textbox": a run for each line, with options such as --steps 30. */
#include <string.h>

#include "server/sdapi/script_private.h"

enum { NEXT_SEED, SAME_SEED, PLACE, LINES };

/* The options that A1111 knows, by kind. */
static const struct {
    const char *option, *field;
    RvFieldKind kind;
} options[] = {
    { "prompt", "prompt", RV_FIELD_TEXT },
    { "negative_prompt", "negative_prompt", RV_FIELD_TEXT },
    { "seed", "seed", RV_FIELD_INTEGER },
    { "subseed", "subseed", RV_FIELD_INTEGER },
    { "subseed_strength", "subseed_strength", RV_FIELD_NUMBER },
    { "seed_resize_from_h", "seed_resize_from_h", RV_FIELD_INTEGER },
    { "seed_resize_from_w", "seed_resize_from_w", RV_FIELD_INTEGER },
    { "sampler_name", "sampler_name", RV_FIELD_TEXT },
    { "scheduler", "scheduler", RV_FIELD_TEXT },
    { "sampler_index", "sampler_index", RV_FIELD_TEXT },
    { "batch_size", "batch_size", RV_FIELD_INTEGER },
    { "n_iter", "n_iter", RV_FIELD_INTEGER },
    { "steps", "steps", RV_FIELD_INTEGER },
    { "cfg_scale", "cfg_scale", RV_FIELD_NUMBER },
    { "width", "width", RV_FIELD_INTEGER },
    { "height", "height", RV_FIELD_INTEGER },
    { "restore_faces", "restore_faces", RV_FIELD_BOOL },
    { "tiling", "tiling", RV_FIELD_BOOL },
    { "do_not_save_samples", "do_not_save_samples", RV_FIELD_BOOL },
    { "do_not_save_grid", "do_not_save_grid", RV_FIELD_BOOL },
    { "sd_model", "sd_model_checkpoint", RV_FIELD_TEXT }, /* an option, not a field */
};

/* Reads `text` as the field would be read from JSON, with the request's own bounds. */
static bool
set_option(RvScript *script, RvScriptVariant *variant, gsize index, const char *text, RvRefusal *refusal)
{
    const char *name = options[index].field;
    bool is_option = strcmp(name, "sd_model_checkpoint") == 0;
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) body = json_object_new();
    json_object_set_string_member(body, name, text);
    JsonObject *target = is_option ? variant->options : variant->fields;
    g_autoptr(JsonObject) read = NULL;
    if (is_option) {
        read = rv_settings_merge(variant->options, body, problems);
    } else {
        const RvFieldSet *set = rv_plan_schema(script->input.is_img2img);
        RvField row[] = { *rv_field_find(set, name), { 0 } };
        RvFieldSet one = { set->name, { row } };
        read = rv_fields_read(&one, body, "body", problems);
    }
    if (read == NULL) {
        rv_refusal_set(refusal, 422, "Prompts from file: --%s %s", options[index].option,
                       json_object_get_string_member(json_array_get_object_element(problems, 0), "msg"));
        return false;
    }
    json_object_set_member(target, name, json_node_copy(json_object_get_member(read, name)));
    return true;
}

static bool
read_options(RvScript *script, RvScriptVariant *variant, const char *line, RvRefusal *refusal)
{
    g_auto(GStrv) words = NULL;
    g_autoptr(GError) error = NULL;
    if (!g_shell_parse_argv(line, NULL, &words, &error)) {
        rv_refusal_set(refusal, 422, "Prompts from file: %s", error->message);
        return false;
    }
    for (char **word = words; *word != NULL; word++) {
        gsize index = 0;
        for (; g_str_has_prefix(*word, "--") && index < G_N_ELEMENTS(options); index++)
            if (strcmp(*word + 2, options[index].option) == 0)
                break;
        if (!g_str_has_prefix(*word, "--") || index == G_N_ELEMENTS(options) || word[1] == NULL) {
            rv_refusal_set(refusal, 422, "Prompts from file: '%s' is not known or lacks its value", *word);
            return false;
        }
        if (!set_option(script, variant, index, *++word, refusal))
            return false;
    }
    return true;
}

/* The request's own prompt goes before or behind the line's. */
static void
join_prompt(RvScript *script, RvScriptVariant *variant, const char *line, int place)
{
    const char *own = rv_fields_text(script->input.fields, "prompt");
    g_autofree char *joined = *own == '\0' ? g_strdup(line)
                              : place == 0 ? g_strconcat(own, " ", line, NULL)
                                           : g_strconcat(line, " ", own, NULL);
    json_object_set_string_member(variant->fields, "prompt", joined);
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    g_autofree char *text = rv_script_text(script, LINES);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    int place = rv_script_choice(script, PLACE, refusal);
    if (place < 0)
        return false;
    if (rv_script_flag(script, NEXT_SEED) || rv_script_flag(script, SAME_SEED))
        rv_script_fix_seeds(script->input.fields);
    gint64 seed = rv_fields_integer(script->input.fields, "seed");
    for (char **line = lines; *line != NULL; line++) {
        g_strstrip(*line);
        if (**line == '\0' || **line == '#')
            continue;
        RvScriptVariant *variant = rv_script_add_variant(script);
        json_object_set_int_member(variant->fields, "seed", seed);
        if (!g_str_has_prefix(*line, "--"))
            join_prompt(script, variant, *line, place);
        else if (!read_options(script, variant, *line, refusal))
            return false;
        if (rv_script_flag(script, NEXT_SEED))
            seed += rv_fields_integer(variant->fields, "batch_size") *
                    rv_fields_integer(variant->fields, "n_iter");
    }
    if (script->variants->len == 0)
        rv_refusal_set(refusal, 422, "Prompts from file: there is no line");
    return script->variants->len > 0;
}

static const char *const places[] = { "start", "end", NULL };
static const RvScriptArgument arguments[] = {
    { "Iterate seed every line", "false", NULL },
    { "Use same random seed for all lines", "false", NULL },
    { "Insert prompts at the", "\"start\"", places },
    { "List of prompt inputs", "\"\"", NULL },
    { 0 },
};
static const RvScriptInfo info = { "Prompts from file or textbox", true, true, arguments };
const RvScriptClass rv_script_file = { &info, begin, NULL, NULL, NULL, NULL };
