/* pipeline.c - the way of a picture: one pass or two, decoding, what is said about it. */
#include <string.h>

#include "engine/hires.h"
#include "engine/pass.h"
#include "weights/mapped.h"

/* One run: everything that lives from the request to its result. */
typedef struct {
    RvPipeline *pipeline;
    const RvRequest *request;
    RvPass passes[2];
    int count;        /* of passes */
    RvRequest second; /* what the second pass is asked for */
    RvHiresSize hires;
} Run;

static double
seconds_since(gint64 start)
{
    return (double)(g_get_monotonic_time() - start) * 1e-6;
}

static RvPass *
last_pass(Run *run)
{
    return &run->passes[run->count - 1];
}

/* A given picture stands for what the first pass would draw. */
static bool
begins_with_second(const Run *run)
{
    return run->request->hires != NULL && run->request->hires->picture != NULL;
}

static char *
infotext_of(Run *run, int index)
{
    const RvPass *first = &run->passes[begins_with_second(run) ? 1 : 0];
    g_autofree char *embeddings = rv_conditioning_labels(first->positive, first->negative);
    RvRunExtras extras = { &first->controls, embeddings, last_pass(run)->is_refining };
    return rv_run_infotext(run->pipeline, run->request, &run->passes[0].settings, &extras, index);
}

/* Puts the picture where it belongs: back into the mask, and that into the whole. */
static bool
finish_picture(const RvPass *pass, int index, RvPicture **picture, GError **error)
{
    const RvArea *area = &pass->area;
    g_autoptr(RvMask) mask = NULL;
    if (pass->inpaint == NULL || area->known == NULL)
        return true;
    gsize at = (gsize)index * pass->count;
    if (!area->is_cut || pass->request->soft != NULL) {
        mask = rv_inpaint_result_mask(pass->inpaint, pass->start + at, rv_sampler_latent(pass->sampler) + at,
                                      error);
        if (mask == NULL)
            return false;
    }
    if (!area->is_cut) {
        rv_inpaint_composite(mask, area->known, *picture);
        return true;
    }
    RvPicture *whole = rv_area_paste(area, *picture, mask, error);
    rv_picture_free(*picture);
    *picture = whole;
    return whole != NULL;
}

static bool
decode(Run *run, RvResult *result, GError **error)
{
    RvPass *pass = last_pass(run);
    const RvRequest *r = pass->request;
    const float *latent = rv_sampler_latent(pass->sampler);
    run->pipeline->costs.decode = run->pipeline->costs.decode_flops = 0.0;
    for (int i = 0; i < r->images; i++) {
        if (!rv_engine_pause(run->pipeline->engine, error))
            return false;
        RvResultImage *image = &result->images[i];
        image->picture = rv_autoencoder_decode(pass->pipeline->autoencoder, latent + (gsize)i * pass->count,
                                               r->width, r->height, error);
        if (image->picture == NULL || !finish_picture(pass, i, &image->picture, error))
            return false;
        image->seed = rv_run_seed(r, i);
        image->infotext = infotext_of(run, i);
        RvAutoencoderCosts costs = rv_autoencoder_costs(pass->pipeline->autoencoder);
        run->pipeline->costs.decode += costs.decode;
        run->pipeline->costs.decode_flops += costs.decode_flops;
        rv_pass_report(pass, RV_PHASE_DECODE, i + 1, r->images);
    }
    result->width = result->images[0].picture->width;
    result->height = result->images[0].picture->height;
    return true;
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

/* Checks both passes' settings before anything is computed. */
static bool
begin(Run *run, RvResult *result, GError **error)
{
    RvPass *first = &run->passes[0];
    rv_pass_init(first, run->pipeline, run->request, result);
    run->count = 1;
    if (!rv_run_settings_init(&first->settings, run->pipeline, run->request, error))
        return false;
    if (run->request->hires == NULL)
        return true;
    first->refiner = NULL; /* as A1111's hires_fix_refiner_pass says */
    RvPass *second = &run->passes[1];
    RvRunSettings settings;
    RvPipeline *pipeline = rv_hires_pipeline(run->pipeline, run->request);
    int factor = MAX(RV_SIZE_STEP, rv_autoencoder_factor(pipeline->autoencoder));
    factor = MAX(factor, rv_autoencoder_factor(run->pipeline->autoencoder));
    if (!rv_hires_size(run->request, factor, &run->hires, error) ||
        !rv_hires_request(run->pipeline, run->request, &run->hires, &run->second, &settings, error))
        return false;
    rv_pass_init(second, pipeline, &run->second, result);
    second->settings = settings;
    second->first_evaluations = second->other_evaluations = first->settings.evaluations;
    first->other_evaluations = settings.evaluations;
    return true;
}

static bool
run_pass(RvPass *pass, GError **error)
{
    return rv_engine_pause(pass->pipeline->engine, error) && rv_pass_networks(pass, error) &&
           rv_pass_text(pass, error) && rv_pass_encode(pass, error) && rv_pass_prepare(pass, error) &&
           rv_pass_sample(pass, error);
}

static bool
run_passes(Run *run, GError **error)
{
    RvStageCosts costs = { 0 };
    if (!begins_with_second(run)) {
        if (!run_pass(&run->passes[0], error))
            return false;
        if (run->request->hires == NULL || rv_pass_is_stopped(&run->passes[0]))
            return true;
        costs = run->pipeline->costs;
    }
    run->count = 2;
    if (!rv_hires_enlarge(&run->passes[0], &run->hires, &run->passes[1], error) ||
        !run_pass(&run->passes[1], error))
        return false;
    const RvStageCosts *second = &run->passes[1].pipeline->costs;
    costs.text += second->text;
    costs.encode = second->encode;
    costs.encode_flops = second->encode_flops;
    costs.unet += second->unet;
    costs.unet_runs += second->unet_runs;
    costs.unet_flops += second->unet_flops;
    run->pipeline->costs = costs;
    return true;
}

static RvResult *
result_new(int images)
{
    RvResult *result = g_new0(RvResult, 1);
    result->images = g_new0(RvResultImage, (gsize)images);
    result->count = images;
    result->notes = g_ptr_array_new_with_free_func(g_free);
    result->maps = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    return result;
}

bool
rv_pipeline_prepare(RvPipeline *pipeline, const RvRequest *request, GError **error)
{
    g_autoptr(RvResult) result = result_new(request->images);
    RvPass pass;
    rv_pass_init(&pass, pipeline, request, result);
    bool ok = rv_run_settings_init(&pass.settings, pipeline, request, error) &&
              rv_pass_networks(&pass, error) && rv_pass_text(&pass, error);
    if (ok) {
        const RvConditioningPart *part = g_ptr_array_index(pass.positive->parts, 0);
        int rows = request->images * (pass.negative != NULL ? 2 : 1);
        ok = rv_denoiser_prepare(pipeline->denoiser, rows, pass.width, pass.height,
                                 rv_conditioning_part_at(part, 0)->tokens, error) &&
             rv_autoencoder_prepare(pipeline->autoencoder, request->width, request->height,
                                    request->init != NULL, error);
    }
    rv_pass_clear(&pass);
    return ok;
}

RvResult *
rv_pipeline_generate(RvPipeline *pipeline, const RvRequest *request, GError **error)
{
    gint64 start = g_get_monotonic_time();
    guint torn = rv_mapped_torn();
    Run run = { .pipeline = pipeline, .request = request };
    g_autoptr(RvResult) result = result_new(request->images);
    bool ok = begin(&run, result, error) && run_passes(&run, error) && decode(&run, result, error) &&
              rv_mapped_check(torn, error);
    result->steps = request->steps;
    result->evaluations =
        (begins_with_second(&run) ? 0 : run.passes[0].settings.evaluations) + run.passes[0].other_evaluations;
    result->sample_seconds = pipeline->costs.unet;
    result->seconds = seconds_since(start);
    rv_pass_clear(&run.passes[0]);
    if (request->hires != NULL)
        rv_pass_clear(&run.passes[1]);
    return ok ? g_steal_pointer(&result) : NULL;
}
