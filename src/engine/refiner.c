#include "engine/refiner.h"

#include <math.h>

#define TIMESTEPS 1000
/* A1111's sdxl_refiner_high_aesthetic_score and _low_. */
#define HIGH_SCORE 6.0f
#define LOW_SCORE 2.5f

static bool
takes_mask(const RvPipeline *pipeline)
{
    return rv_denoiser_config(pipeline->denoiser)->in_channels ==
           2 * rv_denoiser_config(pipeline->denoiser)->out_channels + 1;
}

bool
rv_pipelines_share_latents(const RvPipeline *a, const RvPipeline *b)
{
    return rv_denoiser_config(a->denoiser)->out_channels == rv_denoiser_config(b->denoiser)->out_channels &&
           (a->traits.family == RV_FAMILY_SDXL) == (b->traits.family == RV_FAMILY_SDXL);
}

bool
rv_refiner_check(const RvPipeline *pipeline, const RvRequest *r, GError **error)
{
    const RvPipeline *refiner = r->refiner;
    if (refiner == NULL)
        return true;
    if (!(r->refiner_switch_at >= 0.0 && r->refiner_switch_at <= 1.0))
        return rv_error_set(error, RV_ERROR_USAGE, "refiner", "give a share from 0 to 1",
                            "it cannot take over at %g", r->refiner_switch_at);
    if (!rv_pipelines_share_latents(pipeline, refiner))
        return rv_error_set(error, RV_ERROR_USAGE, refiner->name, "choose a refiner of the model's family",
                            "its latents are not those of %s", pipeline->name);
    if (refiner->scheduler.prediction_type != pipeline->scheduler.prediction_type ||
        refiner->scheduler.rescale_betas_zero_snr != pipeline->scheduler.rescale_betas_zero_snr)
        return rv_error_set(error, RV_ERROR_USAGE, refiner->name, "choose another refiner",
                            "it does not predict what %s predicts", pipeline->name);
    if (takes_mask(refiner) && !takes_mask(pipeline))
        return rv_error_set(error, RV_ERROR_USAGE, refiner->name,
                            "choose a refiner that is no inpainting model",
                            "it needs a mask that %s does not take", pipeline->name);
    return true;
}

bool
rv_refiner_is_due(const RvRequest *r, const RvEvaluation *e)
{
    double done =
        r->refiner_by_steps ? (double)e->index / e->total : (TIMESTEPS - 1 - round(e->timestep)) / TIMESTEPS;
    return r->refiner != NULL && done >= r->refiner_switch_at;
}

/* ControlNets are made for the shapes of the first model. */
static bool
has_same_shape(const RvUnetConfig *a, const RvUnetConfig *b)
{
    bool same = a->levels == b->levels && a->cross_attention_dim == b->cross_attention_dim &&
                a->time_ids == b->time_ids && a->pooled_dim == b->pooled_dim;
    for (int i = 0; same && i < a->levels; i++)
        same = a->channels[i] == b->channels[i] && a->layers_per_block[i] == b->layers_per_block[i];
    return same;
}

RvGuidance
rv_refiner_guidance(const RvPipeline *pipeline, const RvPipeline *refiner, const RvGuidance *guidance,
                    const RvConditioning *positive, const RvConditioning *negative)
{
    RvGuidance refined = *guidance;
    refined.positive = positive;
    refined.negative = negative;
    refined.scores[0] = HIGH_SCORE;
    refined.scores[1] = LOW_SCORE;
    if (!takes_mask(refiner))
        refined.extra = NULL;
    if (!has_same_shape(rv_denoiser_config(pipeline->denoiser), rv_denoiser_config(refiner->denoiser)))
        refined.controls = NULL;
    return refined;
}
