#include "engine/run_settings.h"

#include <math.h>
#include <string.h>

#include "engine/refiner.h"
#include "media/infotext.h"

static RvSamplerKind
usual_sampler(const RvPipeline *pipeline)
{
    if (pipeline->has_scheduler)
        return pipeline->scheduler.sampler;
    if (rv_pipeline_is_turbo(pipeline))
        return RV_SAMPLER_EULER_A;
    return pipeline->random != NULL ? RV_SAMPLER_EULER : RV_SAMPLER_DPMPP_2M;
}

/* A folder, and whoever names a schedule or asks for them, gets diffusers' numbers; a single file, and who
 * asks for those, A1111's. */
static RvDialect
dialect_of(const RvPipeline *pipeline, const RvRequest *request, RvSamplerKind sampler,
           RvScheduleKind schedule)
{
    if (request->a1111 || rv_sampler_info(sampler)->class_name == NULL)
        return RV_DIALECT_A1111;
    bool is_asked_for = request->diffusers || schedule != RV_SCHEDULE_AUTOMATIC;
    return pipeline->traits.is_folder || is_asked_for ? RV_DIALECT_DIFFUSERS : RV_DIALECT_A1111;
}

static bool
parse_names(const RvPipeline *pipeline, const RvRequest *request, RvSamplerOptions *options, GError **error)
{
    options->sampler = usual_sampler(pipeline);
    if (request->sampler != NULL &&
        !rv_sampler_parse_name(request->sampler, &options->sampler, &options->schedule))
        return rv_error_set(
            error, RV_ERROR_USAGE, "--sampler",
            "use euler, euler_a, heun, dpmpp_2m, dpmpp_sde, ddim, unipc, lcm or another of A1111's",
            "there is no sampler \"%s\"", request->sampler);
    if (request->schedule != NULL && !rv_schedule_parse_name(request->schedule, &options->schedule))
        return rv_error_set(
            error, RV_ERROR_USAGE, "--schedule",
            "use automatic, leading, trailing, linspace, karras, exponential, sgm_uniform, simple or normal",
            "there is no schedule \"%s\"", request->schedule);
    return true;
}

bool
rv_run_settings_init(RvRunSettings *settings, const RvPipeline *pipeline, const RvRequest *request,
                     GError **error)
{
    RvSamplerOptions *options = &settings->sampler;
    rv_sampler_options_init(options);
    if (!parse_names(pipeline, request, options, error))
        return false;
    options->dialect = dialect_of(pipeline, request, options->sampler, options->schedule);
    options->config = pipeline->scheduler;
    if (request->diffusers && !pipeline->traits.is_folder && !pipeline->has_scheduler &&
        rv_pipeline_is_turbo(pipeline))
        options->config.timestep_spacing = RV_SPACING_TRAILING; /* as such models' folders say */
    options->steps = request->steps;
    options->eta = request->eta;
    options->s_noise = request->s_noise > 0.0 ? request->s_noise : 1.0;
    options->s_churn = request->s_churn;
    options->s_tmin = request->s_tmin;
    options->s_tmax = request->s_tmax;
    if (request->init != NULL) {
        bool is_smooth = request->smooth_strength && options->dialect == RV_DIALECT_DIFFUSERS;
        options->first_step =
            is_smooth ? rv_sampler_smooth_start(request->steps, request->strength, &options->start_shift)
                      : rv_sampler_first_step(options->dialect, request->steps, request->strength);
        if (options->first_step >= request->steps)
            return rv_error_set(error, RV_ERROR_USAGE, "--strength", "raise --strength or --steps",
                                "a strength of %g leaves none of %d steps to run", request->strength,
                                request->steps);
    }
    int per_step = rv_sampler_info(options->sampler)->second_order ? 2 : 1;
    settings->evaluations = (options->steps - options->first_step) * per_step;
    return true;
}

static int
rounded_down(int size, int factor)
{
    return MAX(size / factor, 1) * factor;
}

static int
usual_size(const RvPipeline *pipeline)
{
    if (strcmp(pipeline->traits.family_name, "mini") == 0)
        return 256;
    if (pipeline->traits.family == RV_FAMILY_SDXL)
        return 1024;
    return pipeline->traits.family == RV_FAMILY_SD21 && pipeline->scheduler.prediction_type == RV_PREDICTION_V
               ? 768
               : 512;
}

static bool
check_draws(const RvPipeline *pipeline, GError **error)
{
    return pipeline->traits.variant != RV_VARIANT_REFINER ||
           rv_error_set(error, RV_ERROR_UNSUPPORTED, pipeline->name, "name it as refiner",
                        "a refiner cannot draw by itself");
}

bool
rv_pipeline_complete(const RvPipeline *pipeline, RvRequest *request, char **note, GError **error)
{
    bool turbo = rv_pipeline_is_turbo(pipeline);
    int factor = MAX(RV_SIZE_STEP, rv_autoencoder_factor(pipeline->autoencoder));
    int width = request->width > 0      ? request->width
                : request->init != NULL ? request->init->width
                                        : usual_size(pipeline);
    int height = request->height > 0     ? request->height
                 : request->init != NULL ? request->init->height
                                         : usual_size(pipeline);
    request->width = rounded_down(width, factor);
    request->height = rounded_down(height, factor);
    *note = NULL;
    if (request->width != width || request->height != height)
        *note = g_strdup_printf("sizes are multiples of %d: %dx%d became %dx%d", factor, width, height,
                                request->width, request->height);
    if (request->width > RV_MAX_SIZE || request->height > RV_MAX_SIZE)
        return rv_error_set(error, RV_ERROR_USAGE, "size", "give a smaller --width and --height",
                            "%dx%d pixels are too many, %d a side at the most", request->width,
                            request->height, RV_MAX_SIZE);
    if (request->steps == 0)
        request->steps = turbo ? 4 : 20;
    if (request->cfg_scale < 0.0)
        request->cfg_scale = turbo ? 1.0 : 7.0;
    if (request->strength < 0.0)
        request->strength = turbo ? 0.5 : 0.75;
    const RvPipeline *last =
        request->hires != NULL && request->hires->pipeline != NULL ? request->hires->pipeline : pipeline;
    if (!check_draws(pipeline, error) || !check_draws(last, error) || !rv_refiner_check(last, request, error))
        return false;
    if (request->latent_mask != NULL && request->mask == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "latent_mask", "give the mask, too",
                            "a latent's mask needs the picture's");
    if (request->mask != NULL && request->init == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "mask", "give the picture to redraw",
                            "a mask needs a picture");
    RvRunSettings settings;
    return rv_run_settings_init(&settings, pipeline, request, error);
}

guint64
rv_run_seed(const RvRequest *request, int index)
{
    return request->subseed_strength > 0.0 ? request->seed : request->seed + (guint64)index;
}

/* What the sampler really follows: A1111 writes its own choice where none was made. */
static const char *
schedule_label(const RvRequest *r, const RvSamplerOptions *options)
{
    RvScheduleKind kind = options->schedule;
    if (r->a1111 && kind == RV_SCHEDULE_AUTOMATIC)
        kind = rv_sampler_info(options->sampler)->schedule;
    return rv_schedule_info(kind)->label;
}

/* Where they differ from the usual, as A1111 does. */
static void
add_sampler_settings(RvInfotext *info, const RvRequest *r, const RvSamplerOptions *options)
{
    if (r->seed_width > 0 && r->seed_height > 0)
        rv_infotext_set_size(info, "Seed resize from", r->seed_width, r->seed_height);
    if (r->noise_seed_delta != 0 && rv_sampler_info(options->sampler)->uses_ensd)
        rv_infotext_set_integer(info, "ENSD", r->noise_seed_delta);
    if (r->eta >= 0.0)
        rv_infotext_set_number(info, options->sampler == RV_SAMPLER_DDIM ? "Eta DDIM" : "Eta", r->eta);
    if (r->s_churn > 0.0) {
        rv_infotext_set_number(info, "Sigma churn", r->s_churn);
        rv_infotext_set_number(info, "Sigma tmin", r->s_tmin);
        rv_infotext_set_number(info, "Sigma tmax", r->s_tmax);
    }
    if (options->s_noise != 1.0)
        rv_infotext_set_number(info, "Sigma noise", options->s_noise);
}

/* Whole numbers without a point, as the page's sliders give them. */
static void
set_setting(RvInfotext *info, const char *key, double value)
{
    if (value == floor(value))
        rv_infotext_set_integer(info, key, (gint64)value);
    else
        rv_infotext_set_number(info, key, value);
}

static void
describe_soft(RvInfotext *info, const RvSoftInpaint *soft)
{
    if (soft == NULL)
        return;
    rv_infotext_set(info, "Soft inpainting enabled", "True");
    set_setting(info, "Soft inpainting schedule bias", soft->schedule_bias);
    set_setting(info, "Soft inpainting preservation strength", soft->preservation);
    set_setting(info, "Soft inpainting transition contrast boost", soft->contrast_boost);
    set_setting(info, "Soft inpainting mask influence", soft->mask_influence);
    set_setting(info, "Soft inpainting difference threshold", soft->threshold);
    set_setting(info, "Soft inpainting difference contrast", soft->contrast);
}

static void
describe_mask(RvInfotext *info, const RvRequest *r)
{
    static const char *const fills[] = { NULL, "fill", "latent noise", "latent nothing" };
    if (r->mask == NULL)
        return;
    describe_soft(info, r->soft);
    set_setting(info, "Mask blur", r->mask_blur);
    if (r->only_masked) {
        rv_infotext_set(info, "Inpaint area", "Only masked");
        rv_infotext_set_integer(info, "Masked area padding", r->masked_padding);
    }
    rv_infotext_set(info, "Masked content", fills[r->fill]);
}

static void
describe_hires(RvInfotext *info, const RvRequest *r)
{
    const RvHires *h = r->hires;
    if (h == NULL)
        return;
    rv_infotext_set_number(info, "Denoising strength", h->strength);
    if (h->pipeline != NULL)
        rv_infotext_set(info, "Hires checkpoint", h->pipeline->name);
    const char *const texts[][2] = { { "Hires sampler", h->sampler },
                                     { "Hires schedule type", h->schedule },
                                     { "Hires prompt", h->prompt },
                                     { "Hires negative prompt", h->negative_prompt } };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        if (texts[i][1] != NULL && *texts[i][1] != '\0')
            rv_infotext_set(info, texts[i][0], texts[i][1]);
    if (h->cfg_scale > 0.0 && h->cfg_scale != r->cfg_scale)
        rv_infotext_set_number(info, "Hires CFG Scale", h->cfg_scale);
    if (h->width > 0 || h->height > 0)
        rv_infotext_set_size(info, "Hires resize", MAX(h->width, 0), MAX(h->height, 0));
    else
        rv_infotext_set_number(info, "Hires upscale", h->scale > 0.0 ? h->scale : 2.0);
    if (h->steps > 0)
        rv_infotext_set_integer(info, "Hires steps", h->steps);
    rv_infotext_set(info, "Hires upscaler",
                    h->upscaler != NULL && *h->upscaler != '\0' ? h->upscaler : "Latent");
}

char *
rv_run_infotext(const RvPipeline *pipeline, const RvRequest *r, const RvRunSettings *settings,
                const RvRunExtras *extras, int index)
{
    static const char *const noise_names[] = {
        [RV_NOISE_CPU] = "CPU", [RV_NOISE_NV] = "NV", [RV_NOISE_CUDA] = NULL /* A1111's default goes unsaid */
    };
    g_autoptr(RvInfotext) info = rv_infotext_new(r->prompt, r->negative_prompt);
    g_autofree char *seed_text = g_strdup_printf("%" G_GUINT64_FORMAT, rv_run_seed(r, index));
    rv_infotext_set_integer(info, "Steps", r->steps);
    rv_infotext_set(info, "Sampler", rv_sampler_info(settings->sampler.sampler)->label);
    rv_infotext_set(info, "Schedule type", schedule_label(r, &settings->sampler));
    rv_infotext_set_number(info, "CFG scale", r->cfg_scale);
    rv_infotext_set(info, "Seed", seed_text);
    rv_infotext_set_size(info, "Size", r->width, r->height);
    rv_infotext_set(info, "Model", pipeline->name);
    if (r->subseed_strength > 0.0) {
        g_autofree char *subseed_text = g_strdup_printf("%" G_GUINT64_FORMAT, r->subseed + (guint64)index);
        rv_infotext_set(info, "Variation seed", subseed_text);
        rv_infotext_set_number(info, "Variation seed strength", r->subseed_strength);
    }
    if (r->init != NULL)
        rv_infotext_set_number(info, "Denoising strength", r->strength);
    if (r->clip_skip > 1)
        rv_infotext_set_integer(info, "Clip skip", r->clip_skip);
    rv_infotext_set(info, "RNG", noise_names[r->noise]);
    add_sampler_settings(info, r, &settings->sampler);
    describe_mask(info, r);
    if (r->init != NULL && r->noise_boost != 0.0)
        rv_infotext_set_number(info, "Noise multiplier", 1.0 + r->noise_boost);
    describe_hires(info, r);
    if (r->tiling)
        rv_infotext_set(info, "Tiling", "True");
    if (extras != NULL && extras->is_refined) {
        rv_infotext_set(info, "Refiner", r->refiner->name);
        rv_infotext_set_number(info, "Refiner switch at", r->refiner_switch_at);
        if (r->refiner_by_steps)
            rv_infotext_set(info, "Refiner switch by sampling steps", "True");
    }
    g_autofree char *hashes = rv_networks_hashes(pipeline->networks);
    rv_infotext_set(info, "Lora hashes", hashes);
    if (extras != NULL)
        rv_infotext_set(info, "TI hashes", extras->embeddings);
    for (int i = 0; extras != NULL && i < extras->controls->count; i++) {
        g_autofree char *key = g_strdup_printf("ControlNet %d", i);
        rv_infotext_set(info, key, extras->controls->units[i].infotext);
    }
    rv_infotext_set(info, "Version", "reverie-" REVERIE_VERSION);
    return rv_infotext_write(info);
}
