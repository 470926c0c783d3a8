/* refiner.h - the model that takes over before the picture is done (RvRequest.refiner).
 *
 * Podell et al. 2023 ("SDXL", section 2.5) finish with a model of their own; as in A1111 any model of the
 * same latent space may. */
#pragma once
#include "engine/denoiser.h"
#include "engine/pipeline_internal.h"
#include "sampling/sampler.h"

/* Whether latents of one can go on in the other: as many channels, on the same scale. */
bool rv_pipelines_share_latents(const RvPipeline *a, const RvPipeline *b);
/* RV_ERROR_USAGE when the request's refiner cannot go on with what the pipeline began. */
bool rv_refiner_check(const RvPipeline *pipeline, const RvRequest *request, GError **error);
/* Whether it draws from this evaluation on. */
bool rv_refiner_is_due(const RvRequest *request, const RvEvaluation *evaluation);
/* What the pipeline is asked with, as the request's refiner takes it; conditionings are its own. ControlNets
 * go on with a refiner of the pipeline's shapes only. */
RvGuidance rv_refiner_guidance(const RvPipeline *pipeline, const RvPipeline *refiner,
                               const RvGuidance *guidance, const RvConditioning *positive,
                               const RvConditioning *negative);
