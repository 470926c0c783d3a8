/* painter_engine.c - the engine as a painter: a batch of a job becomes a request of engine/request.h. */
#include <glib/gstdio.h>
#include <string.h>

#include "engine/pipeline.h"
#include "media/infotext.h"
#include "studio/extras.h"
#include "studio/painter.h"
#include "studio/wildcards.h"
#include "weights/mapped.h"

#define PREVIEW_EVERY_US 250000
#define PREVIEW_QUALITY 80

typedef struct {
    RvEngine *engine;
    RvLibrary *library;
    RvUpscalers *upscalers;
    const RvPainterOptions *options;
    char *models_dir;
} Painter;

/* A batch being drawn: what its request borrows. */
typedef struct {
    RvUnit *unit;
    const Painter *painter;
    const RvPainterModels *models;
    RvRequest request;
    RvPicture *init;
    RvMask *mask, *latent_mask;
    RvPicture *firstpass;
    RvDrawnPrompts prompts;
    RvSoftInpaint soft;
    RvHires hires;
    RvControlUse controls[RV_MAX_CONTROLS];
    RvPicture *control_pictures[RV_MAX_CONTROLS];
    gint64 preview_us;
} Draw;

/* ---- devices and models ---- */

static gpointer
engine_open(const RvPainterOptions *options, GError **error)
{
    RvEngineOptions engine = { .device = options->device,
                               .precision = options->precision,
                               .threads = options->threads,
                               .cancel = options->cancel,
                               .turns = options->turns };
    Painter *painter = g_new0(Painter, 1);
    painter->engine = rv_engine_open(&engine, error);
    if (painter->engine == NULL) {
        g_free(painter);
        return NULL;
    }
    painter->library = rv_library_new(options->folders);
    painter->upscalers = rv_upscalers_new(painter->engine, painter->library);
    painter->models_dir = g_strdup(options->models_dir);
    return painter;
}

static void
engine_close(gpointer data)
{
    Painter *painter = data;
    if (painter == NULL)
        return;
    rv_upscalers_free(painter->upscalers);
    rv_engine_close(painter->engine);
    rv_library_free(painter->library);
    g_free(painter->models_dir);
    g_free(painter);
}

static gpointer
engine_load(gpointer data, const char *model, const char *vae, GError **error)
{
    Painter *painter = data;
    RvPipelineOptions options = {
        .vae = vae, .models_dir = painter->models_dir, .library = painter->library, .takes_refiner = true
    };
    return rv_pipeline_open(painter->engine, model, &options, error);
}

static void
engine_unload(gpointer data, gpointer model)
{
    rv_pipeline_free(model);
}

/* All files of weights there are; as they lie on disk, so too little when they are widened. */
static gsize
folder_bytes(const char *path, int depth)
{
    GStatBuf info;
    if (g_stat(path, &info) != 0)
        return 0;
    if (!S_ISDIR(info.st_mode))
        return g_str_has_suffix(path, ".safetensors") ? (gsize)info.st_size : 0;
    gsize bytes = 0;
    g_autoptr(GDir) dir = depth > 0 ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        bytes += folder_bytes(child, depth - 1);
    }
    return bytes;
}

static gsize
engine_estimate(gpointer data, const char *model, const char *vae)
{
    return folder_bytes(model, 2) + (vae != NULL && *vae == '/' ? folder_bytes(vae, 1) : 0);
}

static gsize
engine_bytes(gpointer data, gpointer model)
{
    return rv_pipeline_device_bytes(model);
}

static bool
engine_sleep(gpointer data)
{
    const Painter *painter = data;
    return rv_engine_can_sleep(painter->engine) && rv_engine_sleep(painter->engine, NULL);
}

static bool
engine_wake(gpointer data, GError **error)
{
    return rv_engine_wake(((const Painter *)data)->engine, error);
}

static bool
engine_is_lost(gpointer data)
{
    return rv_device_is_lost(rv_engine_device(((const Painter *)data)->engine));
}

static bool
engine_memory(gpointer data, gint64 *free_bytes, gint64 *total_bytes)
{
    RvDevice *device = rv_engine_device(((const Painter *)data)->engine);
    RvDeviceInfo info;
    if (strcmp(rv_device_backend(device), "cpu") == 0)
        return false;
    rv_device_describe(device, &info);
    *free_bytes = info.memory_free;
    *total_bytes = info.memory_total;
    return info.memory_total > 0;
}

/* ---- from a job to a request ---- */

static RvPicture *
load_input(const RvStudioInput *input, const char *what, GError **error)
{
    if (input->bytes == NULL)
        return rv_picture_load(input->path, NULL, error);
    gsize size;
    const void *data = g_bytes_get_data(input->bytes, &size);
    return rv_picture_load_bytes(data, size, what, NULL, error);
}

static bool
has_input(const RvStudioInput *input)
{
    return input->bytes != NULL || input->path != NULL;
}

static void
on_progress(const RvProgress *progress, void *user)
{
    static const RvUnitPhase phases[] = { [RV_PHASE_TEXT] = RV_UNIT_TEXT,
                                          [RV_PHASE_ENCODE] = RV_UNIT_ENCODE,
                                          [RV_PHASE_SAMPLE] = RV_UNIT_SAMPLE,
                                          [RV_PHASE_DECODE] = RV_UNIT_DECODE };
    Draw *draw = user;
    gint64 now_us = g_get_monotonic_time();
    rv_unit_set_phase(draw->unit, phases[progress->phase], progress->done, progress->total);
    if (progress->phase == RV_PHASE_SAMPLE)
        rv_unit_set_sampling(draw->unit, progress->sampling_us, progress->text_seconds);
    if (progress->phase != RV_PHASE_SAMPLE || now_us - draw->preview_us < PREVIEW_EVERY_US ||
        !rv_unit_wants_preview(draw->unit))
        return;
    g_autoptr(RvPicture) picture = progress->preview(progress);
    RvPictureSaveOptions options = { .quality = PREVIEW_QUALITY };
    GBytes *bytes = picture != NULL ? rv_picture_encode(picture, RV_PICTURE_JPEG, &options, NULL) : NULL;
    if (bytes != NULL)
        rv_unit_set_preview(draw->unit, bytes);
    draw->preview_us = now_us;
}

static bool
parse_names(const RvStudioJob *job, RvRequest *request, GError **error)
{
    static const char *const syntaxes[] = { "a1111", "explicit", "plain" };
    static const RvPromptSyntax values[] = { RV_PROMPT_A1111, RV_PROMPT_EXPLICIT, RV_PROMPT_PLAIN };
    bool known = job->syntax == NULL;
    request->syntax = RV_PROMPT_A1111;
    request->noise = RV_NOISE_NV;
    for (gsize i = 0; job->syntax != NULL && i < G_N_ELEMENTS(values); i++)
        if (strcmp(job->syntax, syntaxes[i]) == 0) {
            request->syntax = values[i];
            known = true;
        }
    if (!known)
        return rv_error_set(error, RV_ERROR_USAGE, "syntax", "use a1111, explicit or plain",
                            "there is no syntax \"%s\"", job->syntax);
    g_autofree char *source = g_ascii_strdown(job->randn_source != NULL ? job->randn_source : "nv", -1);
    const char *noise = strcmp(source, "gpu") == 0 ? "cuda" : source;
    return rv_noise_parse_kind(noise, &request->noise) ||
           rv_error_set(error, RV_ERROR_USAGE, "randn_source", "use cpu, nv or gpu",
                        "there is no source of noise \"%s\"", job->randn_source);
}

static bool
add_controls(Draw *draw, GError **error)
{
    const RvStudioJob *job = draw->unit->spec;
    for (guint i = 0; i < job->controls->len && i < RV_MAX_CONTROLS; i++) {
        const RvStudioControl *unit = &g_array_index(job->controls, RvStudioControl, i);
        if (has_input(&unit->image)) {
            draw->control_pictures[i] = load_input(&unit->image, "controls.image", error);
            if (draw->control_pictures[i] == NULL)
                return false;
        }
        draw->controls[i] = (RvControlUse) {
            .model = unit->model,
            .image = draw->control_pictures[i] != NULL ? draw->control_pictures[i] : draw->init,
            .module = unit->module,
            .resolution = MAX(unit->processor_res, 0),
            .threshold_a = unit->threshold_a,
            .threshold_b = unit->threshold_b,
            .weight = unit->weight,
            .start = unit->guidance_start,
            .end = unit->guidance_end,
            .mode = (RvControlMode)unit->control_mode,
            .resize = (RvResizeMode)unit->resize_mode,
            .skip_first_pass = unit->skip_first_pass,
            .skip_hires = unit->skip_hires,
        };
        draw->request.control_count = (int)i + 1;
    }
    draw->request.controls = draw->controls;
    return true;
}

static bool
add_hires(Draw *draw, GError **error)
{
    const RvStudioJob *job = draw->unit->spec;
    if (!job->enable_hr || job->kind != RV_STUDIO_TXT2IMG)
        return true;
    if (has_input(&job->firstpass_image)) {
        draw->firstpass = load_input(&job->firstpass_image, "firstpass_image", error);
        if (draw->firstpass == NULL)
            return false;
    }
    draw->hires = (RvHires) {
        .upscaler = job->hr_upscaler,
        .scale = job->hr_scale,
        .width = job->hr_resize_x,
        .height = job->hr_resize_y,
        .steps = job->hr_second_pass_steps,
        .strength = job->denoising_strength >= 0.0 ? job->denoising_strength : 0.75,
        .cfg_scale = job->hr_cfg,
        .sampler = job->hr_sampler_name,
        .schedule = job->hr_scheduler,
        .prompt = draw->prompts.hr_prompt,
        .negative_prompt = draw->prompts.hr_negative,
        .pipeline = draw->models->hires,
        .picture = draw->firstpass,
    };
    draw->request.hires = &draw->hires;
    return true;
}

static RvMask *
load_mask(const RvStudioInput *input, const char *what, GError **error)
{
    g_autoptr(RvPicture) picture = load_input(input, what, error);
    return picture != NULL ? rv_mask_from_picture(picture, error) : NULL;
}

static bool
add_init(Draw *draw, guint index, GError **error)
{
    static const RvFill fills[] = { RV_FILL_BLUR, RV_FILL_ORIGINAL, RV_FILL_NOISE, RV_FILL_NOTHING };
    const RvStudioJob *job = draw->unit->spec;
    RvRequest *r = &draw->request;
    if (job->kind != RV_STUDIO_IMG2IMG)
        return true;
    draw->init = load_input(&g_array_index(job->init_images, RvStudioInput, index), "init_images", error);
    if (draw->init == NULL)
        return false;
    if (has_input(&job->mask)) {
        draw->mask = load_mask(&job->mask, "mask", error);
        if (draw->mask == NULL)
            return false;
        if (job->inpainting_mask_invert)
            rv_mask_invert(draw->mask);
    }
    if (has_input(&job->latent_mask)) {
        draw->latent_mask = load_mask(&job->latent_mask, "latent_mask", error);
        if (draw->latent_mask == NULL)
            return false;
    }
    r->init = draw->init;
    r->mask = draw->mask;
    r->latent_mask = draw->latent_mask;
    r->strength = job->denoising_strength;
    r->noise_boost = job->initial_noise_multiplier - 1.0;
    r->mask_blur = job->mask_blur_x;
    r->mask_blur_y = job->mask_blur_y > 0.0 ? job->mask_blur_y : -1.0;
    r->resize = (RvResizeMode)job->resize_mode;
    r->fill = fills[job->inpainting_fill];
    r->mask_blend = true;
    r->mask_soft = !job->mask_round;
    if (job->soft_inpainting && draw->mask != NULL) {
        draw->soft = (RvSoftInpaint) {
            job->soft_schedule_bias,  job->soft_preservation_strength, job->soft_transition_contrast_boost,
            job->soft_mask_influence, job->soft_difference_threshold,  job->soft_difference_contrast
        };
        r->soft = &draw->soft;
    }
    r->only_masked = job->inpaint_full_res && draw->mask != NULL;
    r->masked_padding = job->inpaint_full_res_padding;
    return true;
}

/* `images` of the batch, from its `first` on. */
static bool
make_request(Draw *draw, int first, int images, GError **error)
{
    const RvStudioJob *job = draw->unit->spec;
    gint64 offset = (gint64)draw->unit->batch * job->batch_size + first;
    gint64 seed = job->seed + (job->subseed_strength > 0.0 ? 0 : offset);
    if (!rv_prompts_draw(&draw->prompts, job, (guint64)seed, draw->unit->wildcards, draw->painter->library,
                         error))
        return false;
    draw->request = (RvRequest) {
        .prompt = draw->prompts.prompt,
        .negative_prompt = draw->prompts.negative,
        .width = job->width,
        .height = job->height,
        .steps = job->steps,
        .cfg_scale = job->cfg_scale,
        .seed = (guint64)seed,
        .subseed = (guint64)(job->subseed + offset),
        .subseed_strength = job->subseed_strength,
        .seed_width = MAX(job->seed_resize_from_w, 0),
        .seed_height = MAX(job->seed_resize_from_h, 0),
        .images = images,
        .sampler = job->sampler_name,
        .schedule = job->scheduler,
        .clip_skip = MAX(job->clip_skip, 1),
        .eta = job->eta,
        .a1111 = true,
        .s_churn = job->s_churn,
        .s_tmin = job->s_tmin,
        .s_tmax = job->s_tmax,
        .s_noise = job->s_noise,
        .noise_seed_delta = job->eta_noise_seed_delta,
        .tiling = job->tiling,
        .refiner = draw->models->refiner,
        .refiner_switch_at = job->refiner_switch_at,
        .refiner_by_steps = job->refiner_switch_by_sample_steps,
        .strength = -1.0,
        .stop = (const int *)&draw->unit->stop,
        .on_progress = on_progress,
        .user = draw,
    };
    guint inits = job->init_images->len;
    if (!parse_names(job, &draw->request, error) ||
        !add_init(draw, inits > 1 ? (guint)first % inits : 0, error))
        return false;
    return add_controls(draw, error) && add_hires(draw, error);
}

static void
draw_clear(Draw *draw)
{
    g_clear_pointer(&draw->init, rv_picture_free);
    g_clear_pointer(&draw->mask, rv_mask_free);
    g_clear_pointer(&draw->latent_mask, rv_mask_free);
    g_clear_pointer(&draw->firstpass, rv_picture_free);
    rv_prompts_clear(&draw->prompts);
    for (gsize i = 0; i < G_N_ELEMENTS(draw->control_pictures); i++)
        g_clear_pointer(&draw->control_pictures[i], rv_picture_free);
}

/* ---- from a result to what is kept ---- */

/* The model's hash, and the settings that the job adds. */
static char *
finish_infotext(const RvUnit *unit, const char *text)
{
    const RvStudioJob *job = unit->spec;
    g_autoptr(RvInfotext) info = rv_infotext_parse(text);
    if (unit->hash != NULL)
        rv_infotext_set(info, "Model hash", unit->hash);
    if (unit->vae != NULL) {
        g_autofree char *name = g_path_get_basename(unit->vae);
        rv_infotext_set(info, "VAE", name);
    }
    if (rv_infotext_get(info, "Refiner") != NULL)
        rv_infotext_set(info, "Refiner", unit->refiner_title);
    if (unit->hires_model != NULL)
        rv_infotext_set(info, "Hires checkpoint", unit->hires_title);
    if (rv_infotext_get(info, "Mask blur") != NULL && job->inpainting_mask_invert)
        rv_infotext_set(info, "Mask mode", "Inpaint not masked");
    if (job->infotext_extra != NULL) {
        g_autofree char *line = g_strconcat("Steps: 0, Seed: 0, Size: 8x8, ", job->infotext_extra, NULL);
        g_autoptr(RvInfotext) extra = rv_infotext_parse(line);
        for (guint i = 3; i < extra->pairs->len; i++) {
            const RvInfotextPair *pair = g_ptr_array_index(extra->pairs, i);
            rv_infotext_set(info, pair->key, pair->value);
        }
    }
    return rv_infotext_write(info);
}

static void
keep_result(const Draw *draw, RvResult *result)
{
    RvUnit *unit = draw->unit;
    for (int i = 0; i < result->count; i++) {
        RvResultImage *image = &result->images[i];
        g_autofree char *infotext = finish_infotext(unit, image->infotext);
        rv_unit_add_drawn(unit, RV_STUDIO_SAMPLE, g_steal_pointer(&image->picture), infotext,
                          (gint64)image->seed, (gint64)draw->request.subseed + i);
    }
    for (guint i = 0; result->notes != NULL && i < result->notes->len; i++)
        g_ptr_array_add(unit->notes, g_strdup(g_ptr_array_index(result->notes, i)));
    for (guint i = 0; result->maps != NULL && i < result->maps->len; i++) {
        RvPicture *map = rv_picture_copy(g_ptr_array_index(result->maps, i), NULL);
        if (map != NULL)
            rv_unit_add_drawn(unit, RV_STUDIO_MAP, map, "", (gint64)draw->request.seed, 0);
    }
}

static bool
draw_some(const Painter *painter, const RvPainterModels *models, RvUnit *unit, int first, int images,
          GError **error)
{
    Draw draw = { .unit = unit, .painter = painter, .models = models };
    RvPipeline *pipeline = models->model;
    char *note = NULL;
    g_autoptr(RvResult) result = NULL;
    if (make_request(&draw, first, images, error) &&
        rv_pipeline_complete(pipeline, &draw.request, &note, error))
        result = rv_pipeline_generate(pipeline, &draw.request, error);
    if (note != NULL)
        g_ptr_array_add(unit->notes, note);
    if (result != NULL)
        keep_result(&draw, result);
    draw_clear(&draw);
    return result != NULL;
}

static bool
draw_extras(Painter *painter, RvUnit *unit, GError **error)
{
    const RvStudioJob *job = unit->spec;
    const RvStudioInput *input = &g_array_index(job->init_images, RvStudioInput, unit->batch);
    g_autoptr(RvPicture) picture = load_input(input, "image", error);
    RvPicture *result = picture != NULL ? rv_extras_upscale(job, picture, painter->upscalers, error) : NULL;
    if (result == NULL)
        return false;
    g_autofree char *infotext = rv_extras_infotext(job, picture);
    rv_unit_add_drawn(unit, RV_STUDIO_SAMPLE, result, infotext, 0, 0);
    return true;
}

static bool
draw_unit(Painter *painter, const RvPainterModels *models, RvUnit *unit, GError **error)
{
    const RvStudioJob *job = unit->spec;
    if (job->kind != RV_STUDIO_TXT2IMG && job->init_images->len == 0)
        return rv_error_set(error, RV_ERROR_INVALID, "init_images", NULL, "the job's picture is gone");
    if (job->kind == RV_STUDIO_EXTRAS)
        return draw_extras(painter, unit, error);
    if (job->init_images->len <= 1 && !rv_prompts_have_wildcards(job))
        return draw_some(painter, models, unit, 0, job->batch_size, error);
    for (int i = 0; i < job->batch_size; i++) /* each from another picture, or of another prompt */
        if (!draw_some(painter, models, unit, i, 1, error))
            return false;
    return true;
}

static bool
engine_draw(gpointer data, const RvPainterModels *models, RvUnit *unit, GError **error)
{
    Painter *painter = data;
    guint torn = rv_mapped_torn(); /* also of an upscaler */
    bool ok = rv_engine_begin_turn(painter->engine, error) && draw_unit(painter, models, unit, error) &&
              rv_mapped_check(torn, error);
    rv_engine_end_turn(painter->engine);
    return ok;
}

const RvPainterClass rv_painter_engine = {
    .open = engine_open,
    .close = engine_close,
    .load = engine_load,
    .unload = engine_unload,
    .estimate = engine_estimate,
    .bytes = engine_bytes,
    .sleep = engine_sleep,
    .wake = engine_wake,
    .is_lost = engine_is_lost,
    .memory = engine_memory,
    .draw = engine_draw,
};
