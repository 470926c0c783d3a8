#include "server/sdapi/plan.h"

#include <math.h>
#include <string.h>

#include "sampling/names.h"
#include "server/sdapi/always_on.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/schemas.h"
#include "text/prompt.h"

/* ---- refusals ---- */

void
rv_refusal_set(RvRefusal *refusal, guint status, const char *format, ...)
{
    va_list args;
    rv_refusal_clear(refusal);
    refusal->status = status;
    refusal->kind = g_strdup("HTTPException");
    va_start(args, format);
    refusal->detail = g_strdup_vprintf(format, args);
    va_end(args);
}

void
rv_refusal_set_picture(RvRefusal *refusal, const GError *error)
{
    const char *reason = strchr(error->message, ':');
    bool is_bad = g_error_matches(error, RV_ERROR, RV_ERROR_INVALID) ||
                  g_error_matches(error, RV_ERROR, RV_ERROR_USAGE);
    int length = is_bad && reason != NULL ? (int)(reason - error->message) : (int)strlen(error->message);
    rv_refusal_set(refusal, is_bad ? 500 : 503, "%.*s", length, error->message);
    refusal->errors = is_bad && reason != NULL ? g_strdup(error->message) : NULL;
}

void
rv_refusal_clear(RvRefusal *refusal)
{
    g_clear_pointer(&refusal->errors, g_free);
    g_clear_pointer(&refusal->kind, g_free);
    g_clear_pointer(&refusal->detail, g_free);
}

/* ---- prompts ---- */

char *
rv_plan_strip_comments(const char *prompt)
{
    GString *text = g_string_new(NULL);
    for (const char *c = prompt; *c != '\0'; c++) {
        if (*c != '#') {
            g_string_append_c(text, *c);
            continue;
        }
        c += strcspn(c, "\n");
        if (*c == '\0')
            break;
        g_string_append_c(text, '\n');
    }
    return g_string_free(text, FALSE);
}

char *
rv_plan_apply_style(const char *style, const char *prompt)
{
    const char *place = strstr(style, "{prompt}");
    if (place != NULL) {
        g_auto(GStrv) parts = g_strsplit(style, "{prompt}", -1);
        return g_strjoinv(prompt, parts);
    }
    g_autofree char *added = g_strstrip(g_strdup(style)), *own = g_strstrip(g_strdup(prompt));
    if (*added == '\0')
        return g_strdup(prompt);
    return *own == '\0' ? g_strdup(added) : g_strconcat(own, ", ", added, NULL);
}

/* The style's member, "" without one; NULL when there is no such style. */
static const char *
find_style(JsonArray *styles, const char *name, const char *member)
{
    for (guint i = 0; styles != NULL && i < json_array_get_length(styles); i++) {
        JsonNode *node = json_array_get_element(styles, i);
        JsonObject *style = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
        if (style != NULL && g_strcmp0(rv_fields_text(style, "name"), name) == 0) {
            const char *text = rv_fields_text(style, member);
            return text != NULL ? text : "";
        }
    }
    return NULL;
}

/* The prompt as it will be drawn, and as infotexts show it. */
static char *
finish_prompt(JsonObject *fields, const char *name, const char *style_member, JsonObject *options,
              JsonArray *styles, RvRefusal *refusal)
{
    const char *given = rv_fields_text(fields, name);
    g_autofree char *prompt =
        rv_fields_bool(options, "enable_prompt_comments") ? rv_plan_strip_comments(given) : g_strdup(given);
    JsonArray *names =
        rv_fields_has(fields, "styles") ? json_object_get_array_member(fields, "styles") : NULL;
    for (guint i = 0; names != NULL && i < json_array_get_length(names); i++) {
        const char *style = json_array_get_string_element(names, i);
        if (*style == '\0' || g_ascii_strcasecmp(style, "None") == 0)
            continue;
        const char *text = find_style(styles, style, style_member);
        if (text == NULL) {
            rv_refusal_set(refusal, 404, "Style '%s' not found", style);
            return NULL;
        }
        char *styled = rv_plan_apply_style(text, prompt);
        g_free(prompt);
        prompt = styled;
    }
    if (!rv_fields_bool(fields, "disable_extra_networks"))
        return g_steal_pointer(&prompt);
    g_autoptr(GPtrArray) networks = g_ptr_array_new_with_free_func(rv_prompt_network_free);
    return rv_prompt_extract_networks(prompt, networks);
}

/* ---- names ---- */

/* A sampler's name may end in a schedule's; `schedule` is A1111's label, or NULL for automatic. */
static bool
find_sampler(const char *name, const char *schedule, char **sampler_out, char **schedule_out,
             RvRefusal *refusal)
{
    RvSamplerKind sampler;
    RvScheduleKind kind = RV_SCHEDULE_COUNT;
    if (schedule != NULL && *schedule != '\0' && !rv_schedule_parse_name(schedule, &kind)) {
        rv_refusal_set(refusal, 404, "Scheduler '%s' not found", schedule);
        return false;
    }
    if (!rv_sampler_parse_name(name, &sampler, &kind)) {
        rv_refusal_set(refusal, 404, "Sampler '%s' not found", name);
        return false;
    }
    rv_studio_set_text(sampler_out, rv_sampler_info(sampler)->label);
    bool is_named = kind != RV_SCHEDULE_COUNT && kind != RV_SCHEDULE_AUTOMATIC;
    rv_studio_set_text(schedule_out, is_named ? rv_schedule_info(kind)->label : NULL);
    return true;
}

static bool
is_nothing(const char *name)
{
    return name == NULL || *name == '\0' || g_ascii_strcasecmp(name, "None") == 0;
}

/* ---- what this server cannot do ---- */

static bool
refuse_fields(JsonObject *f, RvRefusal *refusal)
{
    bool has_first = !is_nothing(rv_fields_text(f, "firstpass_image"));
    if (rv_fields_bool(f, "restore_faces"))
        rv_refusal_set(refusal, 422, "restore_faces: this server has no model that restores faces");
    else if (has_first && !rv_fields_bool(f, "enable_hr"))
        rv_refusal_set(refusal, 422, "firstpass_image stands for hires fix's first pass: set enable_hr");
    else if (!is_nothing(rv_fields_text(f, "latent_mask")) && is_nothing(rv_fields_text(f, "mask")))
        rv_refusal_set(refusal, 422, "latent_mask needs a mask");
    else if (rv_fields_number(f, "s_min_uncond", 0.0) != 0.0)
        rv_refusal_set(refusal, 422, "s_min_uncond can only be 0");
    else
        return true;
    return false;
}

/* ---- the job ---- */

static bool
set_prompts(RvStudioJob *job, JsonObject *fields, JsonObject *options, JsonArray *styles, RvRefusal *refusal)
{
    g_free(job->prompt);
    g_free(job->negative_prompt);
    job->prompt = finish_prompt(fields, "prompt", "prompt", options, styles, refusal);
    job->negative_prompt = job->prompt != NULL ? finish_prompt(fields, "negative_prompt", "negative_prompt",
                                                               options, styles, refusal)
                                               : NULL;
    return job->negative_prompt != NULL;
}

static void
set_model(RvStudioJob *job, JsonObject *options)
{
    const char *vae = rv_fields_text(options, "sd_vae");
    bool is_usual = vae == NULL || *vae == '\0' || g_ascii_strcasecmp(vae, "Automatic") == 0;
    rv_studio_set_text(&job->model, rv_fields_text(options, "sd_model_checkpoint"));
    rv_studio_set_text(&job->vae, is_usual ? NULL : vae);
    job->clip_skip = (int)rv_fields_integer(options, "CLIP_stop_at_last_layers");
}

static void
set_refiner(RvStudioJob *job, JsonObject *fields, JsonObject *options)
{
    const char *checkpoint = rv_fields_text(fields, "refiner_checkpoint");
    if (is_nothing(checkpoint))
        return;
    rv_studio_set_text(&job->refiner_checkpoint, checkpoint);
    job->refiner_switch_at = rv_fields_number(fields, "refiner_switch_at", 0.0);
    job->refiner_switch_by_sample_steps = rv_fields_bool(options, "refiner_switch_by_sample_steps");
}

static void
set_noise(RvStudioJob *job, JsonObject *fields, JsonObject *options)
{
    g_autofree char *source = g_ascii_strdown(rv_fields_text(options, "randn_source"), -1);
    bool is_ddim = g_strcmp0(job->sampler_name, "DDIM") == 0;
    double usual = rv_fields_number(options, is_ddim ? "eta_ddim" : "eta_ancestral", is_ddim ? 0.0 : 1.0);
    rv_studio_set_text(&job->randn_source, source);
    job->seed = MAX(rv_fields_integer(fields, "seed"), -1);
    job->subseed = MAX(rv_fields_integer(fields, "subseed"), -1);
    job->subseed_strength = rv_fields_number(fields, "subseed_strength", 0.0);
    int width = (int)rv_fields_integer(fields, "seed_resize_from_w"),
        height = (int)rv_fields_integer(fields, "seed_resize_from_h");
    job->seed_resize_from_w = width > 0 && height > 0 ? width : 0;
    job->seed_resize_from_h = width > 0 && height > 0 ? height : 0;
    job->s_churn = rv_fields_number(fields, "s_churn", rv_fields_number(options, "s_churn", 0.0));
    job->s_tmin = rv_fields_number(fields, "s_tmin", rv_fields_number(options, "s_tmin", 0.0));
    job->s_tmax = rv_fields_number(fields, "s_tmax", rv_fields_number(options, "s_tmax", 0.0));
    job->s_noise = rv_fields_number(fields, "s_noise", rv_fields_number(options, "s_noise", 1.0));
    job->eta_noise_seed_delta = (int)rv_fields_integer(options, "eta_noise_seed_delta");
    /* The sampler's own value stays unset, so that infotexts do not mention it. */
    double eta = rv_fields_number(fields, "eta", usual);
    job->eta = eta == (is_ddim ? 0.0 : 1.0) ? -1.0 : eta;
}

/* A1111's rules: without folders the prompt is in the name. */
void
rv_plan_set_names(RvStudioJob *job, JsonObject *fields, JsonObject *options)
{
    bool has_folders = rv_fields_bool(options, "save_to_dirs");
    const char *name = rv_fields_text(options, "samples_filename_pattern"),
               *folder = rv_fields_text(options, "directories_filename_pattern");
    if (*name == '\0')
        name = has_folders ? "[seed]" : "[seed]-[prompt_spaces]";
    rv_studio_set_text(&job->name_pattern, name);
    rv_studio_set_text(&job->folder_pattern, !has_folders ? "" : *folder != '\0' ? folder : "[date]");
    job->no_number = !rv_fields_bool(options, "save_images_add_number");
    job->prompt_words = (int)rv_fields_integer(options, "directories_max_prompt_words");
    JsonArray *styles =
        rv_fields_has(fields, "styles") ? json_object_get_array_member(fields, "styles") : NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; styles != NULL && i < json_array_get_length(styles); i++)
        if (g_ascii_strcasecmp(json_array_get_string_element(styles, i), "None") != 0)
            g_string_append_printf(text, "%s%s", text->len > 0 ? ", " : "",
                                   json_array_get_string_element(styles, i));
    rv_studio_set_text(&job->styles, text->len > 0 ? text->str : NULL);
}

static void
set_output(RvStudioJob *job, JsonObject *fields, JsonObject *options)
{
    job->save_images = rv_fields_bool(fields, "save_images") && rv_fields_bool(options, "samples_save") &&
                       !rv_fields_bool(fields, "do_not_save_samples");
    job->no_infotext = !rv_fields_bool(options, "enable_pnginfo");
    rv_plan_set_names(job, fields, options);
    rv_studio_set_text(&job->samples_format, rv_fields_text(options, "samples_format"));
    job->quality = (int)rv_fields_integer(options, "jpeg_quality");
    job->webp_lossless = rv_fields_bool(options, "webp_lossless");
    rv_studio_set_text(&job->name, is_nothing(rv_fields_text(fields, "force_task_id"))
                                       ? NULL
                                       : rv_fields_text(fields, "force_task_id"));
}

static bool
set_common(RvStudioJob *job, JsonObject *fields, JsonObject *options, RvRefusal *refusal)
{
    const char *sampler = rv_fields_text(fields, "sampler_name");
    if (sampler == NULL || *sampler == '\0')
        sampler = rv_fields_text(fields, "sampler_index");
    if (!find_sampler(sampler, rv_fields_text(fields, "scheduler"), &job->sampler_name, &job->scheduler,
                      refusal))
        return false;
    job->width = (int)rv_fields_integer(fields, "width") / 8 * 8;
    job->height = (int)rv_fields_integer(fields, "height") / 8 * 8;
    job->steps = (int)rv_fields_integer(fields, "steps");
    job->batch_size = (int)rv_fields_integer(fields, "batch_size");
    job->n_iter = (int)rv_fields_integer(fields, "n_iter");
    job->cfg_scale = rv_fields_number(fields, "cfg_scale", 7.0);
    job->tiling = rv_fields_has(fields, "tiling") ? rv_fields_bool(fields, "tiling")
                                                  : rv_fields_bool(options, "tiling");
    if (job->batch_size * job->n_iter > RV_API_MAX_PICTURES) {
        rv_refusal_set(refusal, 422, "batch_size * n_iter: at most %d pictures", RV_API_MAX_PICTURES);
        return false;
    }
    set_model(job, options);
    set_refiner(job, fields, options);
    set_noise(job, fields, options);
    set_output(job, fields, options);
    return true;
}

/* With a first phase's size, width and height are the target. */
static void
set_hires_size(RvStudioJob *job, JsonObject *fields)
{
    int first_width = (int)rv_fields_integer(fields, "firstphase_width"),
        first_height = (int)rv_fields_integer(fields, "firstphase_height");
    job->hr_scale = rv_fields_number(fields, "hr_scale", 2.0);
    job->hr_resize_x = (int)rv_fields_integer(fields, "hr_resize_x");
    job->hr_resize_y = (int)rv_fields_integer(fields, "hr_resize_y");
    if (first_width == 0 && first_height == 0)
        return;
    job->hr_resize_x = job->width;
    job->hr_resize_y = job->height;
    job->width = (first_width > 0 ? first_width : job->width) / 8 * 8;
    job->height = (first_height > 0 ? first_height : job->height) / 8 * 8;
}

/* Decodes once, so that what is no picture is refused before anything waits for the device. */
static GBytes *
check_picture(const char *text, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_text_load(text, &error);
    if (picture != NULL)
        return rv_picture_text_decode(text, NULL);
    rv_refusal_set_picture(refusal, error);
    return NULL;
}

/* A field's picture; nothing without one. */
static bool
set_picture(RvStudioInput *input, JsonObject *fields, const char *name, RvRefusal *refusal)
{
    const char *text = rv_fields_text(fields, name);
    if (is_nothing(text))
        return true;
    g_autoptr(GBytes) bytes = check_picture(text, refusal);
    rv_studio_input_set(input, bytes);
    return bytes != NULL;
}

static bool
set_hires(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal)
{
    static const char same_sampler[] = "Use same sampler", same_scheduler[] = "Use same scheduler",
                      same_model[] = "Use same checkpoint";
    job->enable_hr = rv_fields_bool(fields, "enable_hr");
    if (!job->enable_hr)
        return true;
    const char *sampler = rv_fields_text(fields, "hr_sampler_name"),
               *scheduler = rv_fields_text(fields, "hr_scheduler"),
               *upscaler = rv_fields_text(fields, "hr_upscaler"),
               *checkpoint = rv_fields_text(fields, "hr_checkpoint_name");
    if (!is_nothing(checkpoint) && strcmp(checkpoint, same_model) != 0)
        rv_studio_set_text(&job->hr_checkpoint_name, checkpoint);
    if (is_nothing(sampler) || strcmp(sampler, same_sampler) == 0)
        sampler = job->sampler_name;
    if (is_nothing(scheduler) || strcmp(scheduler, same_scheduler) == 0)
        scheduler = job->scheduler;
    if (!find_sampler(sampler, scheduler, &job->hr_sampler_name, &job->hr_scheduler, refusal))
        return false;
    if (g_strcmp0(job->hr_sampler_name, job->sampler_name) == 0 &&
        g_strcmp0(job->hr_scheduler, job->scheduler) == 0) {
        rv_studio_set_text(&job->hr_sampler_name, NULL);
        rv_studio_set_text(&job->hr_scheduler, NULL);
    }
    set_hires_size(job, fields);
    rv_studio_set_text(&job->hr_upscaler, is_nothing(upscaler) ? "Latent" : upscaler);
    rv_studio_set_text(&job->hr_prompt, rv_fields_text(fields, "hr_prompt"));
    rv_studio_set_text(&job->hr_negative_prompt, rv_fields_text(fields, "hr_negative_prompt"));
    job->hr_second_pass_steps = (int)rv_fields_integer(fields, "hr_second_pass_steps");
    job->denoising_strength = rv_fields_number(fields, "denoising_strength", 0.75);
    if (job->hr_resize_x == 0 && job->hr_resize_y == 0 && job->hr_scale < 1.0) {
        rv_refusal_set(refusal, 422, "hr_scale: at least 1");
        return false;
    }
    return set_picture(&job->firstpass_image, fields, "firstpass_image", refusal);
}

static bool
set_init_images(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal)
{
    JsonArray *images =
        rv_fields_has(fields, "init_images") ? json_object_get_array_member(fields, "init_images") : NULL;
    guint count = images != NULL ? json_array_get_length(images) : 0;
    if (count == 0) {
        rv_refusal_set(refusal, 404, "Init image not found");
        return false;
    }
    if (count > (guint)job->batch_size && count > 1) {
        rv_refusal_set(refusal, 500, "bad number of images passed: %u; expecting %d or less", count,
                       job->batch_size);
        return false;
    }
    if (count > 1)
        job->batch_size = (int)count;
    for (guint i = 0; i < count; i++) {
        g_autoptr(GBytes) bytes = check_picture(json_array_get_string_element(images, i), refusal);
        if (bytes == NULL)
            return false;
        rv_studio_job_add_init(job, bytes);
    }
    return true;
}

static bool
set_mask(RvStudioJob *job, JsonObject *fields, RvRefusal *refusal)
{
    bool has_blur = rv_fields_has(fields, "mask_blur");
    if (is_nothing(rv_fields_text(fields, "mask")))
        return true;
    if (!set_picture(&job->mask, fields, "mask", refusal) ||
        !set_picture(&job->latent_mask, fields, "latent_mask", refusal))
        return false;
    job->mask_blur_x = (double)rv_fields_integer(fields, has_blur ? "mask_blur" : "mask_blur_x");
    job->mask_blur_y = (double)rv_fields_integer(fields, has_blur ? "mask_blur" : "mask_blur_y");
    job->mask_round = rv_fields_bool(fields, "mask_round");
    job->inpainting_fill = (int)rv_fields_integer(fields, "inpainting_fill");
    job->inpaint_full_res = rv_fields_bool(fields, "inpaint_full_res");
    job->inpaint_full_res_padding = (int)rv_fields_integer(fields, "inpaint_full_res_padding");
    job->inpainting_mask_invert = rv_fields_integer(fields, "inpainting_mask_invert") == 1;
    return true;
}

static bool
set_redraw(RvStudioJob *job, JsonObject *fields, JsonObject *options, RvRefusal *refusal)
{
    job->initial_noise_multiplier = rv_fields_number(
        fields, "initial_noise_multiplier", rv_fields_number(options, "initial_noise_multiplier", 1.0));
    job->denoising_strength = rv_fields_number(fields, "denoising_strength", 0.75);
    job->resize_mode = (int)rv_fields_integer(fields, "resize_mode");
    return set_init_images(job, fields, refusal) && set_mask(job, fields, refusal);
}

const RvFieldSet *
rv_plan_schema(bool is_img2img)
{
    return is_img2img ? &rv_schema_img2img : &rv_schema_txt2img;
}

RvStudioJob *
rv_plan_job(JsonObject *fields, bool is_img2img, JsonObject *options, JsonArray *styles, RvRefusal *refusal)
{
    g_autoptr(RvStudioJob) job = rv_studio_job_new(is_img2img ? RV_STUDIO_IMG2IMG : RV_STUDIO_TXT2IMG);
    bool ok = refuse_fields(fields, refusal) && set_prompts(job, fields, options, styles, refusal) &&
              set_common(job, fields, options, refusal) &&
              (is_img2img ? set_redraw(job, fields, options, refusal) : set_hires(job, fields, refusal)) &&
              rv_always_on_apply(job, fields, refusal);
    return ok ? g_steal_pointer(&job) : NULL;
}
