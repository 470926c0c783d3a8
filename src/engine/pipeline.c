/* pipeline.c - the way of a picture: text, start, sampling loop, decoding. */
#include <math.h>
#include <string.h>

#include "engine/inpaint.h"
#include "engine/pipeline_internal.h"
#include "engine/preview.h"
#include "engine/run_settings.h"
#include "sampling/sampler.h"

/* One run of the pipeline: everything that lives from the request to its result. */
typedef struct {
    RvPipeline *pipeline;
    const RvRequest *request;
    char *prompt; /* without the tags of extra networks */
    RvRunSettings settings;
    int width, height; /* of latents */
    gsize count;       /* numbers of one image's latent */
    RvNoise *noises[RV_MAX_BATCH];
    RvConditioning *positive, *negative;
    RvPicture *init; /* at the request's size; NULL without one */
    float *start;    /* its latents, [images, count]; NULL without one */
    RvInpaint *inpaint;
    RvControlSet controls;
    GPtrArray *notes; /* borrowed from the result */
    RvSampler *sampler;
} Run;

static double
seconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) * 1e-6;
}

static void
report(Run *run, RvPhase phase, int done, int total)
{
    if (run->request->on_progress == NULL)
        return;
    RvProgress progress = { .phase = phase, .done = done, .total = total };
    RvPreviewSource source = { run->pipeline->autoencoder, &run->pipeline->preview, NULL, run->request->width,
                               run->request->height };
    if (phase == RV_PHASE_SAMPLE)
        source.denoised = rv_sampler_denoised(run->sampler);
    progress.preview = rv_preview;
    progress.source = &source;
    run->request->on_progress(&progress, run->request->user);
}

/* Takes the tags of extra networks out of the prompt and merges what they and the request ask for. */
static bool
apply_networks(Run *run, GPtrArray *notes, GError **error)
{
    const RvRequest *r = run->request;
    const char *prompt = r->prompt != NULL ? r->prompt : "";
    g_autoptr(GPtrArray) tags = g_ptr_array_new_with_free_func(rv_prompt_network_free);
    run->prompt = r->syntax != RV_PROMPT_PLAIN ? rv_prompt_extract_networks(prompt, tags) : g_strdup(prompt);
    return rv_networks_apply(run->pipeline->networks, tags, r->loras, r->lora_count, notes, error);
}

static bool
encode_text(Run *run, GError **error)
{
    const RvRequest *r = run->request;
    gint64 start = g_get_monotonic_time();
    report(run, RV_PHASE_TEXT, 0, 1);
    RvConditioningOptions options = {
        .syntax = r->syntax,
        .evaluations = run->settings.evaluations,
        .clip_skip = r->clip_skip,
        .notes = run->notes,
    };
    if (r->conditioning != NULL)
        run->positive = rv_conditioning_ref(r->conditioning);
    else
        run->positive = rv_conditioner_encode(run->pipeline->conditioner, run->prompt, &options, error);
    if (run->positive == NULL)
        return false;
    if (r->cfg_scale > 1.0) {
        options.is_negative = true;
        run->negative =
            rv_conditioner_encode(run->pipeline->conditioner,
                                  r->negative_prompt != NULL ? r->negative_prompt : "", &options, error);
        if (run->negative == NULL)
            return false;
    }
    run->pipeline->costs.text = seconds_since(start);
    return true;
}

/* The request's picture at the request's size, without transparency (over white, as A1111 does). */
static RvPicture *
fit_init(const RvRequest *r, GError **error)
{
    RvPicture *picture = r->init->width == r->width && r->init->height == r->height
                             ? rv_picture_copy(r->init, error)
                             : rv_picture_resize(r->init, r->width, r->height, RV_FILTER_LANCZOS, error);
    if (picture == NULL || picture->alpha == NULL)
        return picture;
    for (gsize i = 0; i < (gsize)r->width * (gsize)r->height; i++)
        for (int c = 0; c < 3; c++) {
            int alpha = picture->alpha[i], colour = picture->rgb[3 * i + (gsize)c];
            picture->rgb[3 * i + (gsize)c] = (guint8)((colour * alpha + 255 * (255 - alpha) + 127) / 255);
        }
    g_clear_pointer(&picture->alpha, g_free);
    return picture;
}

static bool
encode_init(Run *run, GError **error)
{
    const RvRequest *r = run->request;
    if (r->init == NULL)
        return true;
    report(run, RV_PHASE_ENCODE, 0, 1);
    run->init = fit_init(r, error);
    run->start = g_new(float, run->count *(gsize)r->images);
    if (run->init == NULL || !rv_autoencoder_encode(run->pipeline->autoencoder, run->init->rgb, r->width,
                                                    r->height, run->start, error))
        return false;
    for (int i = 1; i < r->images; i++)
        memcpy(run->start + (gsize)i * run->count, run->start, run->count * sizeof *run->start);
    RvAutoencoderCosts costs = rv_autoencoder_costs(run->pipeline->autoencoder);
    run->pipeline->costs.encode = costs.encode;
    run->pipeline->costs.encode_flops = costs.encode_flops;
    return true;
}

static bool
prepare_controls(Run *run, RvResult *result, GError **error)
{
    const RvRequest *r = run->request;
    run->controls.evaluations = run->settings.evaluations;
    result->maps = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    return rv_controls_prepare(run->pipeline->controls, r, r->width, r->height, false, &run->controls,
                               result->maps, error);
}

static bool
prepare_inpaint(Run *run, GError **error)
{
    int latent = rv_autoencoder_channels(run->pipeline->autoencoder);
    bool model_takes_mask = rv_denoiser_config(run->pipeline->denoiser)->in_channels == 2 * latent + 1;
    if (run->request->mask == NULL && !model_takes_mask)
        return true;
    run->inpaint =
        rv_inpaint_new(run->pipeline->autoencoder, run->request, run->init, model_takes_mask, error);
    return run->inpaint != NULL;
}

static RvGuidance
guidance_of(const Run *run)
{
    const RvRequest *r = run->request;
    RvGuidance guidance = {
        .images = r->images,
        .width = run->width,
        .height = run->height,
        .channels = rv_autoencoder_channels(run->pipeline->autoencoder),
        .extra = run->inpaint != NULL ? rv_inpaint_extra(run->inpaint) : NULL,
        .time_ids = { (float)r->height, (float)r->width, 0.0f, 0.0f, (float)r->height, (float)r->width },
        .positive = run->positive,
        .negative = run->negative,
        .cfg_scale = r->cfg_scale,
        .controls = &run->controls,
    };
    return guidance;
}

/* The first draw of every image's generator, with the variation that the request asks for. */
static float *
draw_start_noise(Run *run)
{
    const RvRequest *r = run->request;
    int factor = rv_autoencoder_factor(run->pipeline->autoencoder);
    bool has_delta = r->noise_seed_delta != 0 && rv_sampler_info(run->settings.sampler.sampler)->uses_ensd;
    float *noise = g_new(float, run->count *(gsize)r->images);
    for (int i = 0; i < r->images; i++) {
        RvNoiseStart start = {
            .channels = rv_autoencoder_channels(run->pipeline->autoencoder),
            .height = run->height,
            .width = run->width,
            .subseed = r->subseed + (guint64)i,
            .subseed_strength = (float)r->subseed_strength,
            .from_height = r->seed_width > 0 ? r->seed_height / factor : 0,
            .from_width = r->seed_height > 0 ? r->seed_width / factor : 0,
        };
        run->noises[i] = rv_noise_new(r->noise, rv_run_seed(r, i));
        rv_noise_draw_start(run->noises[i], &start, noise + (gsize)i * run->count);
        if (has_delta) { /* what follows is another generator's */
            rv_noise_free(run->noises[i]);
            run->noises[i] = rv_noise_new(r->noise, rv_run_seed(r, i) + (guint64)(gint64)r->noise_seed_delta);
        }
    }
    return noise;
}

static bool
is_stopped(const RvRequest *request)
{
    return request->stop != NULL && __atomic_load_n(request->stop, __ATOMIC_RELAXED) != 0;
}

static bool
sample(Run *run, GError **error)
{
    const RvRequest *r = run->request;
    RvPipeline *pipeline = run->pipeline;
    gint64 start = g_get_monotonic_time();
    double flops = rv_denoiser_flops(pipeline->denoiser);
    g_autofree float *noise = draw_start_noise(run);
    run->sampler = rv_sampler_new(&run->settings.sampler, run->noises, r->images, run->count, error);
    if (run->sampler == NULL)
        return false;
    rv_sampler_begin(run->sampler, run->start, noise);
    RvGuidance guidance = guidance_of(run);
    g_autofree float *output = g_new(float, run->count *(gsize)r->images);
    for (RvEvaluation e; rv_sampler_next(run->sampler, &e);) {
        if (!rv_engine_check_cancel(pipeline->engine, error) ||
            !rv_denoiser_run(pipeline->denoiser, &guidance, e.input, e.timestep, e.index, output, error))
            return false;
        rv_sampler_give(run->sampler, output);
        if (run->inpaint != NULL)
            rv_inpaint_restore(run->inpaint, run->sampler, run->start);
        report(run, RV_PHASE_SAMPLE, e.index + 1, e.total);
        if (is_stopped(r))
            break;
    }
    pipeline->costs.unet = seconds_since(start);
    pipeline->costs.unet_flops = rv_denoiser_flops(pipeline->denoiser) - flops;
    return true;
}

static char *
infotext_of(const Run *run, int index)
{
    g_autofree char *embeddings = rv_conditioning_labels(run->positive, run->negative);
    RvRunExtras extras = { &run->controls, embeddings };
    return rv_run_infotext(run->pipeline, run->request, &run->settings, &extras, index);
}

static bool
decode(Run *run, RvResult *result, GError **error)
{
    const RvRequest *r = run->request;
    const float *denoised = is_stopped(r) ? rv_sampler_denoised(run->sampler) : NULL;
    const float *latent = denoised != NULL ? denoised : rv_sampler_latent(run->sampler);
    run->pipeline->costs.decode = run->pipeline->costs.decode_flops = 0.0;
    for (int i = 0; i < r->images; i++) {
        if (!rv_engine_check_cancel(run->pipeline->engine, error))
            return false;
        RvResultImage *image = &result->images[i];
        image->picture = rv_autoencoder_decode(run->pipeline->autoencoder, latent + (gsize)i * run->count,
                                               r->width, r->height, error);
        if (image->picture == NULL)
            return false;
        if (run->inpaint != NULL && run->init != NULL)
            rv_inpaint_composite(run->inpaint, run->init, image->picture);
        image->seed = rv_run_seed(r, i);
        image->infotext = infotext_of(run, i);
        RvAutoencoderCosts costs = rv_autoencoder_costs(run->pipeline->autoencoder);
        run->pipeline->costs.decode += costs.decode;
        run->pipeline->costs.decode_flops += costs.decode_flops;
        report(run, RV_PHASE_DECODE, i + 1, r->images);
    }
    return true;
}

static void
run_clear(Run *run)
{
    for (int i = 0; i < run->request->images; i++)
        rv_noise_free(run->noises[i]);
    g_free(run->prompt);
    rv_conditioning_free(run->positive);
    rv_conditioning_free(run->negative);
    rv_picture_free(run->init);
    g_free(run->start);
    rv_inpaint_free(run->inpaint);
    rv_control_set_clear(&run->controls);
    rv_sampler_free(run->sampler);
}

void
rv_result_free(RvResult *result)
{
    if (result == NULL)
        return;
    for (int i = 0; i < result->count; i++) {
        rv_picture_free(result->images[i].picture);
        g_free(result->images[i].infotext);
    }
    g_clear_pointer(&result->notes, g_ptr_array_unref);
    g_clear_pointer(&result->maps, g_ptr_array_unref);
    g_free(result->images);
    g_free(result);
}

bool
rv_pipeline_prepare(RvPipeline *pipeline, const RvRequest *request, GError **error)
{
    int factor = rv_autoencoder_factor(pipeline->autoencoder), width = request->width,
        height = request->height;
    Run run = { .pipeline = pipeline, .request = request };
    g_autoptr(GPtrArray) notes = g_ptr_array_new_with_free_func(g_free);
    bool ok = rv_run_settings_init(&run.settings, pipeline, request, error) &&
              apply_networks(&run, notes, error) && encode_text(&run, error);
    if (ok) {
        const RvConditioningPart *part = g_ptr_array_index(run.positive->parts, 0);
        int rows = request->images * (run.negative != NULL ? 2 : 1);
        ok = rv_denoiser_prepare(pipeline->denoiser, rows, width / factor, height / factor,
                                 rv_conditioning_part_at(part, 0)->tokens, error) &&
             rv_autoencoder_prepare(pipeline->autoencoder, width, height, request->init != NULL, error);
    }
    run_clear(&run);
    return ok;
}

RvResult *
rv_pipeline_generate(RvPipeline *pipeline, const RvRequest *request, GError **error)
{
    gint64 start = g_get_monotonic_time();
    int factor = rv_autoencoder_factor(pipeline->autoencoder);
    Run run = { .pipeline = pipeline,
                .request = request,
                .width = request->width / factor,
                .height = request->height / factor };
    run.count = (gsize)run.width * (gsize)run.height * (gsize)rv_autoencoder_channels(pipeline->autoencoder);
    g_autoptr(RvResult) result = g_new0(RvResult, 1);
    result->images = g_new0(RvResultImage, (gsize)request->images);
    result->count = request->images;
    result->notes = run.notes = g_ptr_array_new_with_free_func(g_free);
    bool ok = rv_run_settings_init(&run.settings, pipeline, request, error) &&
              rv_engine_check_cancel(pipeline->engine, error) && apply_networks(&run, result->notes, error) &&
              encode_text(&run, error) && encode_init(&run, error) && prepare_controls(&run, result, error) &&
              prepare_inpaint(&run, error) && sample(&run, error) && decode(&run, result, error);
    result->width = request->width;
    result->height = request->height;
    result->steps = request->steps;
    result->evaluations = run.settings.evaluations;
    result->sample_seconds = pipeline->costs.unet;
    result->seconds = seconds_since(start);
    run_clear(&run);
    return ok ? g_steal_pointer(&result) : NULL;
}
