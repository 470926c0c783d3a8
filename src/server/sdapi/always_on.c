#include "server/sdapi/always_on.h"

#include <string.h>

#include "server/sdapi/controlnet_units.h"
#include "server/sdapi/schemas.h"

#define SOFT_INPAINTING "Soft Inpainting"
#define IN_INFOTEXT "Soft inpainting "

/* ---- Soft Inpainting: [enabled, six numbers], or [{label: value, ...}] ---- */

static JsonObject *
by_label(JsonObject *given)
{
    JsonObject *labelled = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init(&iter, given);
    while (json_object_iter_next(&iter, &name, &value)) {
        const RvField *field;
        if (g_ascii_strcasecmp(name, "enabled") == 0)
            name = rv_field_at(&rv_schema_soft_inpainting, 0)->name;
        for (guint i = 0; (field = rv_field_at(&rv_schema_soft_inpainting, i)) != NULL; i++)
            if (g_ascii_strcasecmp(name, field->name) == 0)
                json_object_set_member(labelled, field->name, json_node_copy(value));
    }
    return labelled;
}

static JsonObject *
by_place(JsonArray *args)
{
    JsonObject *labelled = json_object_new();
    const RvField *field;
    for (guint i = 0; i < json_array_get_length(args); i++)
        if ((field = rv_field_at(&rv_schema_soft_inpainting, i)) != NULL)
            json_object_set_member(labelled, field->name, json_array_dup_element(args, i));
    return labelled;
}

static bool
add_soft_inpainting(RvStudioJob *job, JsonArray *args, RvRefusal *refusal)
{
    const RvFieldSet *set = &rv_schema_soft_inpainting;
    g_autoptr(JsonArray) problems = json_array_new();
    bool has_labels =
        json_array_get_length(args) > 0 && JSON_NODE_HOLDS_OBJECT(json_array_get_element(args, 0));
    g_autoptr(JsonObject) given =
        has_labels ? by_label(json_array_get_object_element(args, 0)) : by_place(args);
    g_autoptr(JsonObject) fields = rv_fields_read(set, given, "body", problems);
    if (fields == NULL) {
        JsonObject *first = json_array_get_object_element(problems, 0);
        JsonArray *loc = json_object_get_array_member(first, "loc");
        rv_refusal_set(refusal, 422, SOFT_INPAINTING ": %s: %s", json_array_get_string_element(loc, 1),
                       json_object_get_string_member(first, "msg"));
        return false;
    }
    double *const numbers[] = {
        &job->soft_schedule_bias,  &job->soft_preservation_strength, &job->soft_transition_contrast_boost,
        &job->soft_mask_influence, &job->soft_difference_threshold,  &job->soft_difference_contrast
    };
    job->soft_inpainting = rv_fields_bool(fields, rv_field_at(set, 0)->name);
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++)
        *numbers[i] = rv_fields_number(fields, rv_field_at(set, i + 1)->name, *numbers[i]);
    return true;
}

void
rv_always_on_from_infotext(const RvInfotext *info, JsonObject *fields)
{
    if (g_strcmp0(rv_infotext_get(info, IN_INFOTEXT "enabled"), "True") != 0)
        return;
    JsonObject *settings = json_object_new(), *script = json_object_new(), *scripts = json_object_new();
    JsonArray *args = json_array_new();
    const RvField *field = rv_field_at(&rv_schema_soft_inpainting, 0);
    json_object_set_boolean_member(settings, field->name, TRUE);
    for (guint i = 1; (field = rv_field_at(&rv_schema_soft_inpainting, i)) != NULL; i++) {
        g_autofree char *label = g_strconcat(IN_INFOTEXT, field->name, NULL);
        for (char *c = label + strlen(IN_INFOTEXT); *c != '\0'; c++)
            *c = g_ascii_tolower(*c);
        const char *value = rv_infotext_get(info, label);
        if (value != NULL)
            json_object_set_string_member(settings, field->name, value);
    }
    json_array_add_object_element(args, settings);
    json_object_set_array_member(script, "args", args);
    json_object_set_object_member(scripts, SOFT_INPAINTING, script);
    json_object_set_object_member(fields, "alwayson_scripts", scripts);
}

/* ---- all of them ---- */

/* A1111's own, whose arguments are those of its page: a request says the same by fields. */
static bool
is_page_only(const char *name)
{
    static const char *const names[] = { "refiner", "sampler", "seed", "extra options", "comments" };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_ascii_strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

/* A script that is not here may be named as long as it is said that it is not to do anything. */
static bool
is_off(JsonArray *args)
{
    if (args == NULL)
        return false;
    if (json_array_get_length(args) == 0)
        return true;
    JsonNode *first = json_array_get_element(args, 0);
    return json_node_get_value_type(first) == G_TYPE_BOOLEAN && !json_node_get_boolean(first);
}

static bool
add_script(RvStudioJob *job, const char *name, JsonNode *node, RvRefusal *refusal)
{
    JsonObject *script = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *member = script != NULL ? json_object_get_member(script, "args") : NULL;
    JsonArray *args = member != NULL && JSON_NODE_HOLDS_ARRAY(member) ? json_node_get_array(member) : NULL;
    if (g_ascii_strcasecmp(name, "controlnet") == 0)
        return args == NULL || rv_controlnet_add_units(job, args, refusal);
    if (is_page_only(name) || is_off(args))
        return true;
    if (g_ascii_strcasecmp(name, SOFT_INPAINTING) == 0 && args == NULL)
        return true;
    if (job->kind == RV_STUDIO_IMG2IMG && g_ascii_strcasecmp(name, SOFT_INPAINTING) == 0)
        return add_soft_inpainting(job, args, refusal);
    rv_refusal_set(refusal, 422, "always on script %s not found", name);
    return false;
}

bool
rv_always_on_apply(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal)
{
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;
    if (rv_fields_has(fields, "controlnet_units") &&
        !rv_controlnet_add_units(job, json_object_get_array_member(fields, "controlnet_units"), refusal))
        return false;
    if (!rv_fields_has(fields, "alwayson_scripts"))
        return true;
    json_object_iter_init(&iter, json_object_get_object_member(fields, "alwayson_scripts"));
    while (json_object_iter_next(&iter, &name, &node))
        if (!add_script(job, name, node, refusal))
            return false;
    return true;
}
