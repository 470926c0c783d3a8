#include "server/sdapi/controlnet_units.h"

#include <string.h>

#include "media/annotate.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/schemas.h"

#define MAX_UNITS 8

/* ---- names of old versions ---- */

static const struct {
    const char *old, *now;
} aliases[] = {
    { "input_image", "image" },
    { "mask_image", "mask" },
    { "guidance", "guidance_end" },
    { "lowvram", "low_vram" },
};

static JsonObject *
renamed(JsonObject *unit)
{
    JsonObject *copy = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init(&iter, unit);
    while (json_object_iter_next(&iter, &name, &value))
        json_object_set_member(copy, name, json_node_copy(value));
    for (gsize i = 0; i < G_N_ELEMENTS(aliases); i++)
        if (!rv_fields_has(copy, aliases[i].now) && rv_fields_has(copy, aliases[i].old))
            json_object_set_member(copy, aliases[i].now,
                                   json_node_copy(json_object_get_member(copy, aliases[i].old)));
    return copy;
}

/* A number, its text, or a list of one of them; -1 when it is none of the names. */
static int
choice_of(JsonNode *node, const char *const *names, int count)
{
    if (node != NULL && JSON_NODE_HOLDS_ARRAY(node) && json_array_get_length(json_node_get_array(node)) == 1)
        node = json_array_get_element(json_node_get_array(node), 0);
    if (node == NULL || !JSON_NODE_HOLDS_VALUE(node))
        return -1;
    if (json_node_get_value_type(node) == G_TYPE_INT64) {
        gint64 value = json_node_get_int(node);
        return value >= 0 && value < count ? (int)value : -1;
    }
    const char *text = json_node_get_string(node);
    for (int i = 0; text != NULL && i < count; i++)
        if (g_ascii_strcasecmp(text, names[i]) == 0)
            return i;
    return -1;
}

static bool
set_choices(RvStudioControl *control, JsonObject *fields, RvRefusal *refusal)
{
    static const char *const modes[] = { "Balanced", "My prompt is more important",
                                         "ControlNet is more important" };
    static const char *const resizes[] = { "Just Resize",
                                           "Crop and Resize",
                                           "Resize and Fill",
                                           "Just Resize (Latent upscale)",
                                           "Scale to Fit (Inner Fit)",
                                           "Inner Fit (Scale to Fit)",
                                           "Envelope (Outer Fit)",
                                           "Outer Fit (Shrink to Fit)" };
    static const int resize_modes[] = { 0, 1, 2, 0, 1, 1, 2, 2 };
    int mode = choice_of(json_object_get_member(fields, "control_mode"), modes, G_N_ELEMENTS(modes));
    int resize = choice_of(json_object_get_member(fields, "resize_mode"), resizes, G_N_ELEMENTS(resizes));
    const char *hires = rv_fields_text(fields, "hr_option");
    if (mode < 0 || resize < 0) {
        rv_refusal_set(refusal, 422, "ControlNet: %s is not known",
                       mode < 0 ? "control_mode" : "resize_mode");
        return false;
    }
    control->control_mode = mode;
    control->resize_mode = resize_modes[resize];
    control->skip_first_pass = g_ascii_strcasecmp(hires, "High res only") == 0;
    control->skip_hires = g_ascii_strcasecmp(hires, "Low res only") == 0;
    return true;
}

/* ---- the picture: text, {image, mask}, [image, mask], or a list of these ---- */

static const char *
picture_of(JsonNode *node, const char **mask)
{
    if (node == NULL || JSON_NODE_HOLDS_NULL(node))
        return NULL;
    if (JSON_NODE_HOLDS_VALUE(node))
        return json_node_get_string(node);
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        const char *own = rv_fields_text(json_node_get_object(node), "mask");
        *mask = own != NULL ? own : *mask;
        return rv_fields_text(json_node_get_object(node), "image");
    }
    JsonArray *list = json_node_get_array(node);
    if (json_array_get_length(list) == 0)
        return NULL;
    JsonNode *first = json_array_get_element(list, 0);
    if (json_array_get_length(list) > 1 && JSON_NODE_HOLDS_VALUE(first) &&
        JSON_NODE_HOLDS_VALUE(json_array_get_element(list, 1)))
        *mask = json_node_get_string(json_array_get_element(list, 1));
    return JSON_NODE_HOLDS_ARRAY(first) ? NULL : picture_of(first, mask);
}

/* A mask that is all black stands for none: some pages always send one. */
static bool
is_black(const RvPicture *picture)
{
    for (gsize i = 0; i < (gsize)picture->width * (gsize)picture->height * 3; i++)
        if (picture->rgb[i] != 0)
            return false;
    return true;
}

static bool
check_mask(const char *mask, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    if (mask == NULL || *mask == '\0')
        return true;
    g_autoptr(RvPicture) picture = rv_picture_text_load(mask, &error);
    if (picture == NULL)
        rv_refusal_set_picture(refusal, error);
    else if (!is_black(picture))
        rv_refusal_set(refusal, 422, "ControlNet: masks of units are not supported");
    else
        return true;
    return false;
}

static bool
set_picture(RvStudioControl *control, const RvStudioJob *job, JsonObject *fields, RvRefusal *refusal)
{
    const char *mask = rv_fields_text(fields, "mask");
    const char *text = picture_of(json_object_get_member(fields, "image"), &mask);
    g_autoptr(GError) error = NULL;
    if (!check_mask(mask, refusal))
        return false;
    if (text == NULL || *text == '\0') {
        if (job->init_images->len > 0) {
            rv_studio_input_set(&control->image, g_array_index(job->init_images, RvStudioInput, 0).bytes);
            return true;
        }
        rv_refusal_set(refusal, 422, "ControlNet: a unit has no picture");
        return false;
    }
    g_autoptr(RvPicture) picture = rv_picture_text_load(text, &error);
    g_autoptr(GBytes) bytes = picture != NULL ? rv_picture_text_decode(text, &error) : NULL;
    if (bytes == NULL) {
        rv_refusal_set_picture(refusal, error);
        return false;
    }
    rv_studio_input_set(&control->image, bytes);
    return true;
}

/* ---- units ---- */

static bool
add_unit(RvStudioJob *job, JsonObject *unit, RvRefusal *refusal)
{
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) spelled = renamed(unit);
    g_autoptr(JsonObject) fields = rv_fields_read(&rv_schema_controlnet_unit, spelled, "body", problems);
    if (fields == NULL) {
        JsonObject *first = json_array_get_object_element(problems, 0);
        JsonArray *loc = json_object_get_array_member(first, "loc");
        rv_refusal_set(refusal, 422, "ControlNet: %s: %s", json_array_get_string_element(loc, 1),
                       json_object_get_string_member(first, "msg"));
        return false;
    }
    const char *model = rv_fields_text(fields, "model");
    if (!rv_fields_bool(fields, "enabled"))
        return true;
    if (g_ascii_strcasecmp(model, "None") == 0 || *model == '\0') {
        rv_refusal_set(refusal, 422, "ControlNet: a unit has no model");
        return false;
    }
    if (!rv_annotate_knows(rv_fields_text(fields, "module"))) {
        rv_refusal_set(refusal, 422, "ControlNet: there is no module '%s'", rv_fields_text(fields, "module"));
        return false;
    }
    if (job->controls->len >= MAX_UNITS) {
        rv_refusal_set(refusal, 422, "ControlNet: at most %d units", MAX_UNITS);
        return false;
    }
    RvStudioControl *control = rv_studio_job_add_control(job);
    int resolution = (int)rv_fields_integer(fields, "processor_res");
    g_autofree char *stem = g_strndup(model, strcspn(model, "["));
    rv_studio_set_text(&control->model, g_strchomp(stem));
    rv_studio_set_text(&control->module, rv_fields_text(fields, "module"));
    control->processor_res = rv_fields_bool(fields, "pixel_perfect") ? 0 : resolution > 0 ? resolution : 512;
    control->threshold_a = rv_fields_number(fields, "threshold_a", -1.0);
    control->threshold_b = rv_fields_number(fields, "threshold_b", -1.0);
    control->weight = rv_fields_number(fields, "weight", 1.0);
    control->guidance_start = rv_fields_number(fields, "guidance_start", 0.0);
    control->guidance_end = rv_fields_number(fields, "guidance_end", 1.0);
    return set_choices(control, fields, refusal) && set_picture(control, job, fields, refusal);
}

bool
rv_controlnet_add_units(RvStudioJob *job, JsonArray *args, RvRefusal *refusal)
{
    for (guint i = 0; i < json_array_get_length(args); i++) {
        JsonNode *node = json_array_get_element(args, i);
        if (!JSON_NODE_HOLDS_OBJECT(node))
            continue; /* old clients begin with two flags */
        if (!add_unit(job, json_node_get_object(node), refusal))
            return false;
    }
    return true;
}
