#include "engine/pass.h"

#include <string.h>

#include "engine/latent_resize.h"
#include "engine/preview.h"
#include "engine/refiner.h"

static double
seconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) * 1e-6;
}

void
rv_pass_init(RvPass *pass, RvPipeline *pipeline, const RvRequest *request, RvResult *result)
{
    int factor = rv_autoencoder_factor(pipeline->autoencoder);
    *pass = (RvPass) { .pipeline = pipeline,
                       .request = request,
                       .result = result,
                       .refiner = request->refiner != pipeline ? request->refiner : NULL,
                       .width = request->width / factor,
                       .height = request->height / factor };
    pass->count =
        (gsize)pass->width * (gsize)pass->height * (gsize)rv_autoencoder_channels(pipeline->autoencoder);
    rv_autoencoder_set_tiling(pipeline->autoencoder, request->tiling);
    rv_denoiser_set_tiling(pipeline->denoiser, request->tiling);
    if (pass->refiner != NULL)
        rv_denoiser_set_tiling(pass->refiner->denoiser, request->tiling);
}

void
rv_pass_clear(RvPass *pass)
{
    for (int i = 0; i < RV_MAX_BATCH; i++)
        rv_noise_free(pass->noises[i]);
    g_free(pass->prompt);
    rv_conditioning_free(pass->positive);
    rv_conditioning_free(pass->negative);
    rv_conditioning_free(pass->refined_positive);
    rv_conditioning_free(pass->refined_negative);
    rv_area_clear(&pass->area);
    g_free(pass->start);
    rv_inpaint_free(pass->inpaint);
    rv_control_set_clear(&pass->controls);
    rv_sampler_free(pass->sampler);
}

void
rv_pass_report(RvPass *pass, RvPhase phase, int done, int total)
{
    const RvRequest *r = pass->request;
    if (r->on_progress == NULL)
        return;
    if (phase == RV_PHASE_SAMPLE) {
        done += pass->first_evaluations;
        total += pass->other_evaluations;
    }
    RvProgress progress = { .phase = phase, .done = done, .total = total };
    RvPreviewSource source = { pass->pipeline->autoencoder, &pass->pipeline->preview, NULL, r->width,
                               r->height };
    if (phase == RV_PHASE_SAMPLE)
        source.denoised = rv_sampler_denoised(pass->sampler);
    progress.sampling_us = pass->sampling_us;
    progress.text_seconds = pass->pipeline->costs.text;
    progress.preview = rv_preview;
    progress.source = &source;
    r->on_progress(&progress, r->user);
}

bool
rv_pass_networks(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    const char *prompt = r->prompt != NULL ? r->prompt : "";
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(rv_prompt_network_free);
    pass->prompt = r->syntax != RV_PROMPT_PLAIN ? rv_prompt_extract_networks(prompt, tags) : g_strdup(prompt);
    g_autoptr(GPtrArray) said_already = g_ptr_array_new_with_free_func(g_free);
    return rv_networks_apply(pass->pipeline->networks, tags, r->loras, r->lora_count, pass->result->notes,
                             error) &&
           (pass->refiner == NULL ||
            rv_networks_apply(pass->refiner->networks, tags, r->loras, r->lora_count, said_already, error));
}

/* One model's conditionings of the pass's prompts. */
static bool
encode_prompts(const RvPass *pass, RvConditioner *conditioner, RvConditioningOptions options,
               RvConditioning **positive, RvConditioning **negative, GError **error)
{
    const RvRequest *r = pass->request;
    const char *text = r->negative_prompt != NULL ? r->negative_prompt : "";
    if (*positive == NULL)
        *positive = rv_conditioner_encode(conditioner, pass->prompt, &options, error);
    if (*positive == NULL)
        return false;
    options.is_negative = true;
    if (r->cfg_scale > 1.0)
        *negative = rv_conditioner_encode(conditioner, text, &options, error);
    return r->cfg_scale <= 1.0 || *negative != NULL;
}

bool
rv_pass_text(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    gint64 start = g_get_monotonic_time();
    rv_pass_report(pass, RV_PHASE_TEXT, 0, 1);
    bool is_second = pass->first_evaluations > 0;
    RvConditioningOptions options = {
        .syntax = r->syntax,
        .evaluations = is_second ? pass->first_evaluations : pass->settings.evaluations,
        .second_evaluations = is_second ? pass->settings.evaluations : 0,
        .clip_skip = r->clip_skip,
        .notes = is_second ? NULL : pass->result->notes,
    };
    if (r->conditioning != NULL)
        pass->positive = rv_conditioning_ref(r->conditioning);
    if (!encode_prompts(pass, pass->pipeline->conditioner, options, &pass->positive, &pass->negative, error))
        return false;
    options.notes = NULL;
    if (pass->refiner != NULL && !encode_prompts(pass, pass->refiner->conditioner, options,
                                                 &pass->refined_positive, &pass->refined_negative, error))
        return false;
    pass->pipeline->costs.text = seconds_since(start);
    return true;
}

bool
rv_pass_encode(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    RvAutoencoder *autoencoder = pass->pipeline->autoencoder;
    int factor = rv_autoencoder_factor(autoencoder);
    if (r->init == NULL)
        return true;
    rv_pass_report(pass, RV_PHASE_ENCODE, 0, 1);
    if (!rv_area_init(&pass->area, r, factor, error))
        return false;
    const RvPicture *init = pass->area.init;
    int channels = rv_autoencoder_channels(autoencoder), width = init->width / factor,
        height = init->height / factor;
    g_autofree float *latent = g_new(float, (gsize)channels *(gsize)width *(gsize)height);
    pass->start = g_new(float, pass->count *(gsize)r->images);
    if (!rv_autoencoder_encode(autoencoder, init->rgb, init->width, init->height, latent, error))
        return false;
    if (width == pass->width && height == pass->height)
        memcpy(pass->start, latent, pass->count * sizeof *latent);
    else
        rv_latent_resize(latent, channels, height, width, pass->height, pass->width, RV_LATENT_BILINEAR,
                         pass->start);
    for (int i = 1; i < r->images; i++)
        memcpy(pass->start + (gsize)i * pass->count, pass->start, pass->count * sizeof *pass->start);
    RvAutoencoderCosts costs = rv_autoencoder_costs(autoencoder);
    pass->pipeline->costs.encode = costs.encode;
    pass->pipeline->costs.encode_flops = costs.encode_flops;
    return true;
}

static bool
prepare_inpaint(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    int latent = rv_autoencoder_channels(pass->pipeline->autoencoder);
    bool model_takes_mask = rv_denoiser_config(pass->pipeline->denoiser)->in_channels == 2 * latent + 1;
    const RvPicture *init = pass->area.init;
    if (init != NULL && (init->width != r->width || init->height != r->height))
        init = NULL; /* resized as a latent */
    if (pass->area.mask == NULL && !model_takes_mask)
        return true;
    pass->inpaint = rv_inpaint_new(pass->pipeline->autoencoder, r, init, pass->area.mask,
                                   pass->area.latent_mask, model_takes_mask, error);
    return pass->inpaint != NULL;
}

bool
rv_pass_prepare(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    pass->controls.evaluations = pass->settings.evaluations;
    return rv_controls_prepare(pass->pipeline->controls, r, r->width, r->height, pass->first_evaluations > 0,
                               &pass->controls, pass->result->maps, error) &&
           prepare_inpaint(pass, error);
}

static RvGuidance
guidance_of(const RvPass *pass)
{
    const RvRequest *r = pass->request;
    RvGuidance guidance = {
        .images = r->images,
        .width = pass->width,
        .height = pass->height,
        .channels = rv_autoencoder_channels(pass->pipeline->autoencoder),
        .extra = pass->inpaint != NULL ? rv_inpaint_extra(pass->inpaint) : NULL,
        .time_ids = { (float)r->height, (float)r->width, 0.0f, 0.0f, (float)r->height, (float)r->width },
        .positive = pass->positive,
        .negative = pass->negative,
        .cfg_scale = r->cfg_scale,
        .controls = &pass->controls,
    };
    return guidance;
}

/* The first draw of every image's generator, with the variation that the request asks for. */
static float *
draw_start_noise(RvPass *pass)
{
    const RvRequest *r = pass->request;
    int factor = rv_autoencoder_factor(pass->pipeline->autoencoder);
    bool has_delta = r->noise_seed_delta != 0 && rv_sampler_info(pass->settings.sampler.sampler)->uses_ensd;
    float *noise = g_new(float, pass->count *(gsize)r->images);
    for (int i = 0; i < r->images; i++) {
        RvNoiseStart start = {
            .channels = rv_autoencoder_channels(pass->pipeline->autoencoder),
            .height = pass->height,
            .width = pass->width,
            .subseed = r->subseed + (guint64)i,
            .subseed_strength = (float)r->subseed_strength,
            .from_height = r->seed_height > 0 && r->seed_width > 0 ? r->seed_height / factor : 0,
            .from_width = r->seed_height > 0 && r->seed_width > 0 ? r->seed_width / factor : 0,
        };
        pass->noises[i] = rv_noise_new(r->noise, rv_run_seed(r, i));
        rv_noise_draw_start(pass->noises[i], &start, noise + (gsize)i * pass->count);
        if (has_delta) { /* what follows is another generator's */
            rv_noise_free(pass->noises[i]);
            pass->noises[i] =
                rv_noise_new(r->noise, rv_run_seed(r, i) + (guint64)(gint64)r->noise_seed_delta);
        }
    }
    return noise;
}

/* A1111's way of inpainting, not diffusers'. */
static bool
blends_estimates(const RvRequest *r)
{
    return r->mask_blend || r->soft != NULL;
}

static bool
evaluate(RvPass *pass, const RvGuidance *guidance, const RvEvaluation *e, float *output, GError **error)
{
    RvPipeline *pipeline = pass->pipeline;
    bool blends = pass->inpaint != NULL && pass->start != NULL && blends_estimates(pass->request);
    RvGuidance refined;
    if (!rv_engine_pause(pipeline->engine, error))
        return false;
    pass->is_refining |= pass->refiner != NULL && rv_refiner_is_due(pass->request, e);
    if (pass->is_refining) {
        refined = rv_refiner_guidance(pipeline, pass->refiner, guidance, pass->refined_positive,
                                      pass->refined_negative);
        pipeline = pass->refiner;
        guidance = &refined;
    }
    if (!rv_denoiser_run(pipeline->denoiser, guidance, e->input, e->timestep, e->index, output, error))
        return false;
    if (blends)
        rv_inpaint_blend(pass->inpaint, e->input, e->sigma,
                         pass->settings.sampler.config.prediction_type == RV_PREDICTION_V, pass->start,
                         output);
    rv_sampler_give(pass->sampler, output);
    if (pass->inpaint != NULL && !blends)
        rv_inpaint_restore(pass->inpaint, pass->sampler, pass->start);
    return true;
}

bool
rv_pass_is_stopped(const RvPass *pass)
{
    const int *stop = pass->request->stop;
    return stop != NULL && __atomic_load_n(stop, __ATOMIC_RELAXED) != 0;
}

/* What the sampler expects by now stands for what it would have come to. */
static void
take_estimate(RvPass *pass)
{
    const float *denoised = rv_sampler_denoised(pass->sampler);
    if (denoised != NULL)
        memcpy(rv_sampler_latent(pass->sampler), denoised,
               pass->count * (gsize)pass->request->images * sizeof *denoised);
}

static double
flops_so_far(const RvPass *pass)
{
    return rv_denoiser_flops(pass->pipeline->denoiser) +
           (pass->refiner != NULL ? rv_denoiser_flops(pass->refiner->denoiser) : 0.0);
}

static double
runs_so_far(const RvPass *pass)
{
    return rv_denoiser_seconds(pass->pipeline->denoiser) +
           (pass->refiner != NULL ? rv_denoiser_seconds(pass->refiner->denoiser) : 0.0);
}

/* At full strength diffusers' inpainting begins with noise alone, though it knows the picture. */
static bool
begins_with_noise(const RvPass *pass)
{
    const RvRequest *r = pass->request;
    return pass->inpaint != NULL && r->strength >= 1.0 && !blends_estimates(r) && r->fill == RV_FILL_ORIGINAL;
}

/* What a mask is filled with is drawn apart, and stays as it is. */
static void
boost_noise(const RvPass *pass, float *noise)
{
    float factor = (float)(1.0 + pass->request->noise_boost);
    gsize count = pass->count * (gsize)pass->request->images;
    if (pass->start == NULL || pass->request->noise_boost == 0.0)
        return;
    for (gsize i = 0; i < count; i++)
        noise[i] *= factor;
}

bool
rv_pass_sample(RvPass *pass, GError **error)
{
    const RvRequest *r = pass->request;
    RvPipeline *pipeline = pass->pipeline;
    gint64 start = g_get_monotonic_time();
    double flops = flops_so_far(pass), runs = runs_so_far(pass);
    g_autofree float *noise = draw_start_noise(pass);
    pass->sampler = rv_sampler_new(&pass->settings.sampler, pass->noises, r->images, pass->count, error);
    if (pass->sampler == NULL)
        return false;
    if (pass->inpaint != NULL && pass->start != NULL)
        rv_inpaint_fill(pass->inpaint, r->fill, noise, pass->start);
    boost_noise(pass, noise);
    rv_sampler_begin(pass->sampler, begins_with_noise(pass) ? NULL : pass->start, noise);
    RvGuidance guidance = guidance_of(pass);
    g_autofree float *output = g_new(float, pass->count *(gsize)r->images);
    pass->sampling_us = g_get_monotonic_time();
    for (RvEvaluation e; rv_sampler_next(pass->sampler, &e);) {
        if (!evaluate(pass, &guidance, &e, output, error))
            return false;
        rv_pass_report(pass, RV_PHASE_SAMPLE, e.index + 1, e.total);
        if (rv_pass_is_stopped(pass) && e.index + 1 < e.total) {
            take_estimate(pass);
            break;
        }
    }
    if (pass->inpaint != NULL && pass->start != NULL && blends_estimates(r))
        rv_inpaint_finish(pass->inpaint, pass->start, rv_sampler_latent(pass->sampler));
    pipeline->costs.unet = seconds_since(start);
    pipeline->costs.unet_runs = runs_so_far(pass) - runs;
    pipeline->costs.unet_flops = flops_so_far(pass) - flops;
    return true;
}
