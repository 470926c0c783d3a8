#include "server/sdapi/script_private.h"

#include <string.h>

#define MAX_VARIANTS 256

static const RvScriptClass *const classes[] = {
    &rv_script_matrix,   &rv_script_file,    &rv_script_xyz,
    &rv_script_loopback, &rv_script_upscale, &rv_script_outpaint
};

/* ---- variants ---- */

static void
variant_free(gpointer data)
{
    RvScriptVariant *variant = data;
    json_object_unref(variant->fields);
    json_object_unref(variant->options);
    g_free(variant);
}

JsonObject *
rv_script_copy(JsonObject *object)
{
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init(&iter, object);
    while (json_object_iter_next(&iter, &name, &value))
        json_object_set_member(copy, name, json_node_copy(value));
    return copy;
}

RvScriptVariant *
rv_script_add_variant(RvScript *script)
{
    RvScriptVariant *variant = g_new0(RvScriptVariant, 1);
    variant->fields = rv_script_copy(script->input.fields);
    variant->options = rv_script_copy(script->input.options);
    g_ptr_array_add(script->variants, variant);
    return variant;
}

void
rv_script_fix_seeds(JsonObject *fields)
{
    static const char *const names[] = { "seed", "subseed" };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (rv_fields_integer(fields, names[i]) < 0)
            json_object_set_int_member(fields, names[i], g_random_int_range(0, G_MAXINT32));
}

RvStudioJob *
rv_script_job(RvScript *script, RvRefusal *refusal)
{
    g_autoptr(RvStudioJob) whole = NULL;
    if (script->variants->len > MAX_VARIANTS) {
        rv_refusal_set(refusal, 422, "%u runs are too many, %d at the most", script->variants->len,
                       MAX_VARIANTS);
        return NULL;
    }
    for (guint i = 0; i < script->variants->len; i++) {
        const RvScriptVariant *variant = g_ptr_array_index(script->variants, i);
        RvStudioJob *job = rv_plan_job(variant->fields, script->input.is_img2img, variant->options,
                                       script->input.styles, refusal);
        if (job == NULL)
            return NULL;
        if (whole == NULL)
            whole = rv_studio_job_copy(job);
        rv_studio_set_text(&job->name, NULL);
        g_ptr_array_add(whole->parts, job);
    }
    return g_steal_pointer(&whole);
}

/* ---- arguments ---- */

JsonNode *
rv_script_argument(const RvScript *script, guint index)
{
    JsonArray *args = rv_fields_has(script->input.fields, "script_args")
                          ? json_object_get_array_member(script->input.fields, "script_args")
                          : NULL;
    if (args == NULL || index >= json_array_get_length(args))
        return NULL;
    JsonNode *node = json_array_get_element(args, index);
    return JSON_NODE_HOLDS_NULL(node) ? NULL : node;
}

/* The argument as a value of its own, or its default. */
static JsonNode *
value_of(const RvScript *script, guint index)
{
    JsonNode *given = rv_script_argument(script, index);
    if (given != NULL)
        return json_node_copy(given);
    return json_from_string(script->class->info->arguments[index].initial, NULL);
}

char *
rv_script_text(const RvScript *script, guint index)
{
    g_autoptr(JsonNode) node = value_of(script, index);
    if (JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING)
        return g_strdup(json_node_get_string(node));
    return JSON_NODE_HOLDS_VALUE(node) ? json_to_string(node, FALSE) : g_strdup("");
}

bool
rv_script_flag(const RvScript *script, guint index)
{
    g_autofree char *text = rv_script_text(script, index);
    return g_ascii_strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0;
}

double
rv_script_number(const RvScript *script, guint index)
{
    const RvScriptArgument *argument = &script->class->info->arguments[index];
    g_autofree char *text = rv_script_text(script, index);
    double value = g_ascii_strtod(text, NULL);
    return argument->most > argument->least ? CLAMP(value, argument->least, argument->most) : value;
}

int
rv_script_choice(const RvScript *script, guint index, RvRefusal *refusal)
{
    const RvScriptArgument *argument = &script->class->info->arguments[index];
    g_autofree char *text = rv_script_text(script, index);
    int count = 0;
    for (; argument->choices[count] != NULL; count++)
        if (g_ascii_strcasecmp(argument->choices[count], text) == 0)
            return count;
    char *end;
    gint64 number = g_ascii_strtoll(text, &end, 10);
    if (end != text && *end == '\0' && number >= 0 && number < count)
        return (int)number;
    rv_refusal_set(refusal, 422, "%s: '%s' is not known", argument->label, text);
    return -1;
}

/* ---- the way of a script ---- */

static const RvScriptClass *
find_class(const char *name, bool is_img2img)
{
    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        const RvScriptInfo *info = classes[i]->info;
        if (g_ascii_strcasecmp(info->title, name) == 0 && (is_img2img ? info->is_img2img : info->is_txt2img))
            return classes[i];
    }
    return NULL;
}

RvScript *
rv_script_new(const RvScriptInput *input, RvRefusal *refusal)
{
    const char *name = rv_fields_text(input->fields, "script_name");
    if (name == NULL || *name == '\0' || g_ascii_strcasecmp(name, "None") == 0)
        return NULL;
    const RvScriptClass *class = find_class(name, input->is_img2img);
    if (class == NULL) {
        rv_refusal_set(refusal, 422, "Script '%s' not found", name);
        return NULL;
    }
    g_autoptr(RvScript) script = g_new0(RvScript, 1);
    script->class = class;
    script->input = *input;
    script->variants = g_ptr_array_new_with_free_func(variant_free);
    script->pictures = g_ptr_array_new_with_free_func(rv_script_picture_free);
    return class->begin(script, refusal) ? g_steal_pointer(&script) : NULL;
}

void
rv_script_free(RvScript *script)
{
    if (script == NULL)
        return;
    g_ptr_array_unref(script->variants);
    g_ptr_array_unref(script->pictures);
    if (script->data != NULL && script->class->free_data != NULL)
        script->class->free_data(script->data);
    g_free(script);
}

static void
collect(RvScript *script, RvStudioResult *result)
{
    for (guint i = 0; i < result->pictures->len; i++) {
        const RvStudioPicture *from = g_ptr_array_index(result->pictures, i);
        if (from->role != RV_STUDIO_SAMPLE)
            continue;
        RvScriptPicture *picture = g_new0(RvScriptPicture, 1);
        *picture = (RvScriptPicture) { from->bytes != NULL ? g_bytes_ref(from->bytes) : NULL,
                                       g_strdup(from->infotext),
                                       from->seed,
                                       from->subseed,
                                       false,
                                       NULL };
        g_ptr_array_add(script->pictures, picture);
    }
}

RvStudioJob *
rv_script_next(RvScript *script, RvStudioResult *last, RvRefusal *refusal)
{
    if (last == NULL && script->class->first != NULL)
        return script->class->first(script, refusal);
    if (last == NULL)
        return rv_script_job(script, refusal);
    collect(script, last);
    bool is_over = last->was_interrupted || script->class->follow == NULL;
    return is_over ? NULL : script->class->follow(script, last, refusal);
}

bool
rv_script_has_one_job(const RvScript *script)
{
    return script->class->first == NULL && script->class->follow == NULL;
}

GPtrArray *
rv_script_pictures(RvScript *script, GError **error)
{
    bool ok = script->class->compose == NULL || script->pictures->len == 0 ||
              script->class->compose(script, script->pictures, error);
    return ok ? g_ptr_array_ref(script->pictures) : NULL;
}
