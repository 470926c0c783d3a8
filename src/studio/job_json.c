/* job_json.c - jobs as JSON: A1111's names, pictures as text. */
#include <math.h>
#include <string.h>

#include "studio/job_fields.h"

#include "base/json_build.h"

#define MAX_TEXT (64 * 1024) /* bytes of one prompt */
#define MAX_INITS 64
#define MAX_CONTROLS 8
#define MAX_PARTS 1024
#define MAX_SEED 9007199254740992.0 /* 2^53: what JSON's numbers carry exactly */

#define JOB(field, kind, ...)                                          \
    {                                                                  \
#field, kind, G_STRUCT_OFFSET(RvStudioJob, field), __VA_ARGS__ \
    }
#define UNIT(field, kind, ...)                                             \
    {                                                                      \
#field, kind, G_STRUCT_OFFSET(RvStudioControl, field), __VA_ARGS__ \
    }

const RvJobField rv_job_fields[] = {
    JOB(name, RV_JOB_TEXT, 0, 0),
    JOB(model, RV_JOB_TEXT, 0, 0),
    JOB(vae, RV_JOB_TEXT, 0, 0),
    JOB(prompt, RV_JOB_TEXT, 0, 0),
    JOB(negative_prompt, RV_JOB_TEXT, 0, 0),
    JOB(sampler_name, RV_JOB_TEXT, 0, 0),
    JOB(scheduler, RV_JOB_TEXT, 0, 0),
    JOB(width, RV_JOB_INT, 0, 65536),
    JOB(height, RV_JOB_INT, 0, 65536),
    JOB(steps, RV_JOB_INT, 0, 10000),
    JOB(batch_size, RV_JOB_INT, 1, 1024),
    JOB(n_iter, RV_JOB_INT, 1, 1000000),
    JOB(cfg_scale, RV_JOB_NUMBER, -1, 1000),
    JOB(seed, RV_JOB_LONG, -1, MAX_SEED),
    JOB(subseed, RV_JOB_LONG, -1, MAX_SEED),
    JOB(subseed_strength, RV_JOB_NUMBER, 0, 1),
    JOB(seed_resize_from_w, RV_JOB_INT, -1, 65536),
    JOB(seed_resize_from_h, RV_JOB_INT, -1, 65536),
    JOB(randn_source, RV_JOB_TEXT, 0, 0),
    JOB(clip_skip, RV_JOB_INT, 0, 12),
    JOB(eta, RV_JOB_NUMBER, -1, 10),
    JOB(s_churn, RV_JOB_NUMBER, 0, 100),
    JOB(s_tmin, RV_JOB_NUMBER, 0, 1000),
    JOB(s_tmax, RV_JOB_NUMBER, 0, 1000),
    JOB(s_noise, RV_JOB_NUMBER, 0, 10),
    JOB(eta_noise_seed_delta, RV_JOB_INT, -1000000000, 1000000000),
    JOB(tiling, RV_JOB_BOOL, 0, 0),
    JOB(refiner_checkpoint, RV_JOB_TEXT, 0, 0),
    JOB(refiner_switch_at, RV_JOB_NUMBER, 0, 1),
    JOB(refiner_switch_by_sample_steps, RV_JOB_BOOL, 0, 0),
    JOB(syntax, RV_JOB_TEXT, 0, 0),
    JOB(mask, RV_JOB_INPUT, 0, 0),
    JOB(latent_mask, RV_JOB_INPUT, 0, 0),
    JOB(denoising_strength, RV_JOB_NUMBER, -1, 1),
    JOB(initial_noise_multiplier, RV_JOB_NUMBER, 0, 10),
    JOB(resize_mode, RV_JOB_INT, 0, 3),
    JOB(mask_blur_x, RV_JOB_NUMBER, 0, 1024),
    JOB(mask_blur_y, RV_JOB_NUMBER, 0, 1024),
    JOB(mask_round, RV_JOB_BOOL, 0, 0),
    JOB(inpainting_fill, RV_JOB_INT, 0, 3),
    JOB(inpaint_full_res, RV_JOB_BOOL, 0, 0),
    JOB(inpaint_full_res_padding, RV_JOB_INT, 0, 65536),
    JOB(inpainting_mask_invert, RV_JOB_BOOL, 0, 0),
    JOB(soft_inpainting, RV_JOB_BOOL, 0, 0),
    JOB(soft_schedule_bias, RV_JOB_NUMBER, 0, 8),
    JOB(soft_preservation_strength, RV_JOB_NUMBER, 0, 8),
    JOB(soft_transition_contrast_boost, RV_JOB_NUMBER, 1, 32),
    JOB(soft_mask_influence, RV_JOB_NUMBER, 0, 1),
    JOB(soft_difference_threshold, RV_JOB_NUMBER, 0, 8),
    JOB(soft_difference_contrast, RV_JOB_NUMBER, 0, 8),
    JOB(enable_hr, RV_JOB_BOOL, 0, 0),
    JOB(hr_scale, RV_JOB_NUMBER, 0.125, 16),
    JOB(hr_resize_x, RV_JOB_INT, 0, 65536),
    JOB(hr_resize_y, RV_JOB_INT, 0, 65536),
    JOB(hr_second_pass_steps, RV_JOB_INT, 0, 10000),
    JOB(hr_upscaler, RV_JOB_TEXT, 0, 0),
    JOB(hr_sampler_name, RV_JOB_TEXT, 0, 0),
    JOB(hr_scheduler, RV_JOB_TEXT, 0, 0),
    JOB(hr_prompt, RV_JOB_TEXT, 0, 0),
    JOB(hr_negative_prompt, RV_JOB_TEXT, 0, 0),
    JOB(hr_cfg, RV_JOB_NUMBER, 0, 1000),
    JOB(hr_checkpoint_name, RV_JOB_TEXT, 0, 0),
    JOB(firstpass_image, RV_JOB_INPUT, 0, 0),
    JOB(upscaler_1, RV_JOB_TEXT, 0, 0),
    JOB(upscaler_2, RV_JOB_TEXT, 0, 0),
    JOB(upscaler_2_visibility, RV_JOB_NUMBER, 0, 1),
    JOB(upscaling_resize, RV_JOB_NUMBER, 0.0625, 16),
    JOB(upscaling_resize_w, RV_JOB_INT, 0, 65536),
    JOB(upscaling_resize_h, RV_JOB_INT, 0, 65536),
    JOB(extras_resize_mode, RV_JOB_INT, 0, 1),
    JOB(upscaling_crop, RV_JOB_BOOL, 0, 0),
    JOB(save_images, RV_JOB_BOOL, 0, 0),
    JOB(samples_format, RV_JOB_TEXT, 0, 0),
    JOB(quality, RV_JOB_INT, 0, 100),
    JOB(webp_lossless, RV_JOB_BOOL, 0, 0),
    JOB(folder_pattern, RV_JOB_TEXT, 0, 0),
    JOB(name_pattern, RV_JOB_TEXT, 0, 0),
    JOB(no_number, RV_JOB_BOOL, 0, 0),
    JOB(prompt_words, RV_JOB_INT, 0, 100),
    JOB(styles, RV_JOB_TEXT, 0, 0),
    JOB(no_infotext, RV_JOB_BOOL, 0, 0),
    JOB(infotext_extra, RV_JOB_TEXT, 0, 0),
    { 0 },
};

const RvJobField rv_control_fields[] = {
    UNIT(module, RV_JOB_TEXT, 0, 0),
    UNIT(model, RV_JOB_TEXT, 0, 0),
    UNIT(image, RV_JOB_INPUT, 0, 0),
    UNIT(processor_res, RV_JOB_INT, -1, 8192),
    UNIT(threshold_a, RV_JOB_NUMBER, -1e6, 1e6),
    UNIT(threshold_b, RV_JOB_NUMBER, -1e6, 1e6),
    UNIT(weight, RV_JOB_NUMBER, 0, 10),
    UNIT(guidance_start, RV_JOB_NUMBER, 0, 1),
    UNIT(guidance_end, RV_JOB_NUMBER, 0, 1),
    UNIT(control_mode, RV_JOB_INT, 0, 2),
    UNIT(resize_mode, RV_JOB_INT, 0, 2),
    UNIT(skip_first_pass, RV_JOB_BOOL, 0, 0),
    UNIT(skip_hires, RV_JOB_BOOL, 0, 0),
    { 0 },
};

/* ---- writing ---- */

static void
add_input(JsonBuilder *json, const char *name, const RvStudioInput *input, RvStudioWriteInput write,
          void *user)
{
    if (input->bytes == NULL && input->path == NULL)
        return;
    g_autofree char *text = write(input, user);
    if (name != NULL)
        rv_json_add_text(json, name, text);
    else
        json_builder_add_string_value(json, text);
}

/* Absent texts stay out. */
static void
add_fields(JsonBuilder *json, gconstpointer object, const RvJobField *fields, RvStudioWriteInput write,
           void *user)
{
    gpointer at = (gpointer)object;
    for (const RvJobField *field = fields; field->name != NULL; field++) {
        if (field->kind == RV_JOB_INPUT) {
            add_input(json, field->name, rv_job_input_at(at, field), write, user);
            continue;
        }
        if (field->kind == RV_JOB_TEXT && *rv_job_text_at(at, field) == NULL)
            continue;
        json_builder_set_member_name(json, field->name);
        if (field->kind == RV_JOB_TEXT)
            json_builder_add_string_value(json, *rv_job_text_at(at, field));
        else if (field->kind == RV_JOB_INT)
            json_builder_add_int_value(json, *rv_job_int_at(at, field));
        else if (field->kind == RV_JOB_LONG)
            json_builder_add_int_value(json, *rv_job_long_at(at, field));
        else if (field->kind == RV_JOB_NUMBER)
            json_builder_add_double_value(json, *rv_job_number_at(at, field));
        else
            json_builder_add_boolean_value(json, *rv_job_bool_at(at, field));
    }
}

static void
add_arrays(JsonBuilder *json, const RvStudioJob *job, RvStudioWriteInput write, void *user)
{
    rv_json_begin_array(json, "init_images");
    for (guint i = 0; i < job->init_images->len; i++)
        add_input(json, NULL, &g_array_index(job->init_images, RvStudioInput, i), write, user);
    json_builder_end_array(json);
    rv_json_begin_array(json, "controls");
    for (guint i = 0; i < job->controls->len; i++) {
        json_builder_begin_object(json);
        add_fields(json, &g_array_index(job->controls, RvStudioControl, i), rv_control_fields, write, user);
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    rv_json_begin_array(json, "parts");
    for (guint i = 0; i < job->parts->len; i++)
        json_builder_add_value(json, rv_studio_job_to_json(g_ptr_array_index(job->parts, i), write, user));
    json_builder_end_array(json);
}

JsonNode *
rv_studio_job_to_json(const RvStudioJob *job, RvStudioWriteInput write, void *user)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "kind", rv_studio_kind_name(job->kind));
    add_fields(json, job, rv_job_fields, write, user);
    add_arrays(json, job, write, user);
    if (job->extra != NULL) {
        rv_json_add_text(json, "extra", job->extra);
    }
    json_builder_end_object(json);
    return json_builder_get_root(json);
}

/* ---- reading ---- */

typedef struct {
    RvStudioReadInput read;
    void *user;
    GError **error;
} Reader;

static bool
refuse(const Reader *reader, const char *name, const char *need)
{
    return rv_error_set(reader->error, RV_ERROR_USAGE, name, need, "this field does not fit");
}

static bool
read_text(const Reader *reader, JsonNode *node, const RvJobField *field, gpointer object)
{
    const char *text = json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
    if (text == NULL || strlen(text) > MAX_TEXT)
        return refuse(reader, field->name, "give text of at most 64 KB");
    rv_studio_set_text(rv_job_text_at(object, field), text);
    return true;
}

static bool
read_number(const Reader *reader, JsonNode *node, const RvJobField *field, gpointer object)
{
    GType type = json_node_get_value_type(node);
    double value = type == G_TYPE_INT64 || type == G_TYPE_DOUBLE ? json_node_get_double(node) : NAN;
    bool is_whole = field->kind == RV_JOB_NUMBER || floor(value) == value;
    if (!(value >= field->least && value <= field->most) || !is_whole) {
        g_autofree char *need = g_strdup_printf("give a %s from %g to %g",
                                                field->kind == RV_JOB_NUMBER ? "number" : "whole number",
                                                field->least, field->most);
        return refuse(reader, field->name, need);
    }
    if (field->kind == RV_JOB_INT)
        *rv_job_int_at(object, field) = (int)value;
    else if (field->kind == RV_JOB_LONG)
        *rv_job_long_at(object, field) = (gint64)value;
    else
        *rv_job_number_at(object, field) = value;
    return true;
}

static bool
read_bool(const Reader *reader, JsonNode *node, const RvJobField *field, gpointer object)
{
    GType type = json_node_get_value_type(node);
    if (type != G_TYPE_BOOLEAN && type != G_TYPE_INT64)
        return refuse(reader, field->name, "give true or false");
    *rv_job_bool_at(object, field) =
        type == G_TYPE_BOOLEAN ? json_node_get_boolean(node) : json_node_get_int(node) != 0;
    return true;
}

/* A picture's text may be of any length. */
static bool
read_input(const Reader *reader, JsonNode *node, const RvJobField *field, gpointer object)
{
    const char *text = json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node) : NULL;
    if (text == NULL)
        return refuse(reader, field->name, "give a picture as text");
    return reader->read(text, rv_job_input_at(object, field), reader->user, reader->error);
}

static bool
read_field(const Reader *reader, JsonNode *node, const RvJobField *field, gpointer object)
{
    if (!JSON_NODE_HOLDS_VALUE(node))
        return refuse(reader, field->name, "give one value");
    switch (field->kind) {
    case RV_JOB_TEXT:
        return read_text(reader, node, field, object);
    case RV_JOB_BOOL:
        return read_bool(reader, node, field, object);
    case RV_JOB_INPUT:
        return read_input(reader, node, field, object);
    default:
        return read_number(reader, node, field, object);
    }
}

static bool
read_fields(const Reader *reader, JsonObject *from, const RvJobField *fields, gpointer object)
{
    for (const RvJobField *field = fields; field->name != NULL; field++) {
        JsonNode *node = json_object_get_member(from, field->name);
        if (node == NULL || json_node_is_null(node))
            continue;
        if (!read_field(reader, node, field, object))
            return false;
    }
    return true;
}

/* The array of that name, or NULL when there is none; false when it is something else or too long. */
static bool
find_array(const Reader *reader, JsonObject *from, const char *name, guint most, JsonArray **array)
{
    JsonNode *node = json_object_get_member(from, name);
    *array = NULL;
    if (node == NULL || json_node_is_null(node))
        return true;
    if (!JSON_NODE_HOLDS_ARRAY(node) || json_array_get_length(json_node_get_array(node)) > most) {
        g_autofree char *need = g_strdup_printf("give an array of at most %u", most);
        return refuse(reader, name, need);
    }
    *array = json_node_get_array(node);
    return true;
}

static bool
read_inits(const Reader *reader, JsonObject *from, RvStudioJob *job)
{
    JsonArray *array;
    if (!find_array(reader, from, "init_images", MAX_INITS, &array))
        return false;
    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        RvStudioInput input = { 0 };
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
            return refuse(reader, "init_images", "give pictures as text");
        if (!reader->read(json_node_get_string(node), &input, reader->user, reader->error))
            return false;
        g_array_append_val(job->init_images, input);
    }
    return true;
}

static bool
read_controls(const Reader *reader, JsonObject *from, RvStudioJob *job)
{
    JsonArray *array;
    if (!find_array(reader, from, "controls", MAX_CONTROLS, &array))
        return false;
    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        if (!JSON_NODE_HOLDS_OBJECT(node))
            return refuse(reader, "controls", "give objects");
        if (!read_fields(reader, json_node_get_object(node), rv_control_fields,
                         rv_studio_job_add_control(job)))
            return false;
    }
    return true;
}

static bool
read_kind(const Reader *reader, JsonObject *from, RvStudioKind *kind)
{
    JsonNode *node = json_object_get_member(from, "kind");
    const char *name =
        node != NULL && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
            ? json_node_get_string(node)
            : NULL;
    for (int i = RV_STUDIO_TXT2IMG; i <= RV_STUDIO_EXTRAS; i++)
        if (g_strcmp0(name, rv_studio_kind_name((RvStudioKind)i)) == 0) {
            *kind = (RvStudioKind)i;
            return true;
        }
    return refuse(reader, "kind", "use txt2img, img2img or extras");
}

static bool read_parts(const Reader *reader, JsonObject *from, RvStudioJob *job);

static RvStudioJob *
read_job(const Reader *reader, JsonObject *from, bool is_part)
{
    RvStudioKind kind = RV_STUDIO_TXT2IMG;
    if (!read_kind(reader, from, &kind))
        return NULL;
    g_autoptr(RvStudioJob) job = rv_studio_job_new(kind);
    if (!read_fields(reader, from, rv_job_fields, job) || !read_inits(reader, from, job) ||
        !read_controls(reader, from, job) || (!is_part && !read_parts(reader, from, job)))
        return NULL;
    JsonNode *extra = json_object_get_member(from, "extra");
    if (extra != NULL && JSON_NODE_HOLDS_VALUE(extra) && json_node_get_value_type(extra) == G_TYPE_STRING)
        job->extra = g_strdup(json_node_get_string(extra));
    return g_steal_pointer(&job);
}

static bool
read_parts(const Reader *reader, JsonObject *from, RvStudioJob *job)
{
    JsonArray *array;
    if (!find_array(reader, from, "parts", MAX_PARTS, &array))
        return false;
    for (guint i = 0; array != NULL && i < json_array_get_length(array); i++) {
        JsonNode *node = json_array_get_element(array, i);
        if (!JSON_NODE_HOLDS_OBJECT(node))
            return refuse(reader, "parts", "give objects");
        RvStudioJob *part = read_job(reader, json_node_get_object(node), true);
        if (part == NULL)
            return false;
        g_ptr_array_add(job->parts, part);
    }
    return true;
}

RvStudioJob *
rv_studio_job_from_json(JsonObject *object, RvStudioReadInput read, void *user, GError **error)
{
    Reader reader = { read, user, error };
    return read_job(&reader, object, false);
}
