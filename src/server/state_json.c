/* state_json.c - the live parameters as JSON, for pages and for the file that keeps them. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <glib/gstdio.h>

#include "base/json_build.h"
#include "server/json_text.h"
#include "server/state_internal.h"

static bool
value_of(JsonNode *node, RvValue *value)
{
    if (!JSON_NODE_HOLDS_VALUE(node))
        return false;
    GType type = json_node_get_value_type(node);
    *value = (RvValue) { .kind = RV_VALUE_TEXT };
    if (type == G_TYPE_STRING)
        value->text = json_node_get_string(node);
    else if (type == G_TYPE_BOOLEAN)
        *value = (RvValue) { .kind = RV_VALUE_BOOL, .integer = json_node_get_boolean(node) };
    else if (type == G_TYPE_INT64)
        *value = (RvValue) { .kind = RV_VALUE_INTEGER, .integer = json_node_get_int(node) };
    else
        *value = (RvValue) { .kind = RV_VALUE_NUMBER, .number = json_node_get_double(node) };
    return true;
}

/* [{"text","weight"}], ["text"] or both mixed. */
static bool
set_prompts(RvSettings *draft, JsonNode *node, GError **error)
{
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return rv_error_set(error, RV_ERROR_USAGE, "prompts", "send [{\"text\":\"...\",\"weight\":1}]",
                            "not a list");
    JsonArray *array = json_node_get_array(node);
    guint n = json_array_get_length(array);
    RvWeightedPrompt prompts[RV_MAX_PROMPTS];
    for (guint i = 0; i < n && i < RV_MAX_PROMPTS; i++) {
        JsonNode *element = json_array_get_element(array, i);
        JsonNode *text = element, *weight = NULL;
        if (JSON_NODE_HOLDS_OBJECT(element)) {
            text = json_object_get_member(json_node_get_object(element), "text");
            weight = json_object_get_member(json_node_get_object(element), "weight");
        }
        RvValue words = { 0 }, number;
        prompts[i].weight = 1.0;
        if (text == NULL || !value_of(text, &words) || words.kind != RV_VALUE_TEXT ||
            (weight != NULL &&
             (!value_of(weight, &number) || !rv_value_as_number(&number, &prompts[i].weight))))
            return rv_error_set(error, RV_ERROR_USAGE, "prompts", "send [{\"text\":\"...\",\"weight\":1}]",
                                "number %u is no prompt", i);
        prompts[i].text = (char *)words.text;
    }
    return rv_settings_set_prompts(draft, prompts, n, error);
}

/* fast-trt has two names for some choices; ours always takes the newest frame, so these say nothing. */
static bool
is_known(const char *name)
{
    static const char *const names[] = { "prompt",
                                         "mode",
                                         "pace",
                                         "crossfade",
                                         "opacity",
                                         "blend",
                                         "strength",
                                         "ramp_ms",
                                         "seed",
                                         "steps",
                                         "fixed_seed",
                                         "passthrough",
                                         "mirror",
                                         "left_right_flip",
                                         "paused",
                                         "compel",
                                         "smooth_strength",
                                         NULL };
    return g_strv_contains(names, name);
}

static bool
set_member(RvSettings *draft, const char *name, JsonNode *node, GError **error)
{
    RvValue value;
    if (strcmp(name, "prompts") == 0)
        return set_prompts(draft, node, error);
    if (!is_known(name))
        return true;
    if (!value_of(node, &value))
        return rv_error_set(error, RV_ERROR_USAGE, name, "send a number, a text, true or false",
                            "not a value");
    return rv_settings_set(draft, name, &value, error);
}

bool
rv_state_set_json(RvState *state, JsonObject *object, GError **error)
{
    RvSettings draft = rv_settings_copy(&state->settings);
    bool ok = true;
    /* A preset first, so that numbers beside it refine it; prompts last, so that their weights win over the
     * fader's and they over `prompt`. */
    static const char *const first[] = { "mode", "crossfade", "prompt", "prompts", NULL };
    for (gsize i = 0; ok && first[i] != NULL; i++) {
        JsonNode *node = json_object_get_member(object, first[i]);
        ok = node == NULL || set_member(&draft, first[i], node, error);
    }
    g_autoptr(GList) names = json_object_get_members(object);
    for (GList *name = names; ok && name != NULL; name = name->next)
        if (!g_strv_contains(first, name->data))
            ok = set_member(&draft, name->data, json_object_get_member(object, name->data), error);
    if (ok)
        rv_state_commit(state, &draft);
    rv_settings_clear(&draft);
    return ok;
}

void
rv_state_add_json(const RvState *state, JsonBuilder *json)
{
    const RvSettings *s = &state->settings;
    rv_json_add_text(json, "prompt", g_array_index(s->prompts, RvWeightedPrompt, 0).text);
    rv_json_begin_array(json, "prompts");
    for (guint i = 0; i < s->prompts->len; i++) {
        const RvWeightedPrompt *prompt = &g_array_index(s->prompts, RvWeightedPrompt, i);
        json_builder_begin_object(json);
        rv_json_add_text(json, "text", prompt->text);
        rv_json_add_number(json, "weight", prompt->weight);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    json_builder_set_member_name(json, "seed");
    if (s->seed <= G_MAXINT64) {
        json_builder_add_int_value(json, (gint64)s->seed);
    } else { /* JSON numbers end there */
        g_autofree char *digits = g_strdup_printf("%" G_GUINT64_FORMAT, s->seed);
        json_builder_add_string_value(json, digits);
    }
    rv_json_add_int(json, "steps", s->steps);
    rv_json_add_number(json, "strength", s->strength);
    rv_json_add_number(json, "blend", s->opacity);
    rv_json_add_number(json, "opacity", s->opacity);
    rv_json_add_number(json, "crossfade", s->crossfade);
    rv_json_add_number(json, "ramp_ms", s->ramp_ms);
    rv_json_add_flag(json, "fixed_seed", s->fixed_seed);
    rv_json_add_flag(json, "passthrough", s->passthrough);
    rv_json_add_flag(json, "mirror", s->mirror);
    rv_json_add_flag(json, "left_right_flip", s->mirror);
    rv_json_add_flag(json, "paused", s->paused);
    rv_json_add_flag(json, "compel", s->compel);
    rv_json_add_flag(json, "smooth_strength", s->smooth_strength);
    rv_json_add_text(json, "pace", s->pace);
}

/* ---- the file ---- */

static bool
load_text(RvState *state, const char *text, GError **error)
{
    g_autoptr(JsonObject) object = rv_json_parse_object(text, strlen(text), error);
    if (object == NULL)
        return false;
    if (json_object_has_member(object, "prompts")) /* `prompt` repeats the first of them */
        json_object_remove_member(object, "prompt");
    return rv_state_set_json(state, object, error);
}

bool
rv_state_load(RvState *state, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) wrong = NULL;
    if (!g_file_get_contents(path, &text, NULL, &wrong))
        return g_error_matches(wrong, G_FILE_ERROR, G_FILE_ERROR_NOENT) ||
               rv_error_set(error, RV_ERROR_IO, path, "check its rights", "cannot read the settings: %s",
                            wrong->message);
    if (load_text(state, text, &wrong))
        return true;
    g_autofree char *aside = g_strconcat(path, ".bad", NULL);
    g_rename(path, aside);
    return rv_error_set(error, RV_ERROR_INVALID, path,
                        "it was put aside as .bad, and the settings begin anew",
                        "the settings are damaged: %s", wrong->message);
}

char *
rv_state_text(const RvState *state)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_state_add_json(state, json);
    json_builder_end_object(json);
    g_autoptr(JsonNode) root = json_builder_get_root(json);
    return json_to_string(root, TRUE);
}

bool
rv_state_write(const char *text, const char *path, GError **error)
{
    g_autoptr(GError) wrong = NULL;
    if (!g_file_set_contents_full(path, text, -1,
                                  G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600, &wrong))
        return rv_error_set(error, RV_ERROR_IO, path, "check the disk", "cannot keep the settings: %s",
                            wrong->message);
    return true;
}
