/* run_settings.h - from a request's names and zeros to what the sampler takes, and back to text. */
#pragma once
#include "engine/pipeline_internal.h"
#include "sampling/sampler.h"

typedef struct {
    RvSamplerOptions sampler;
    int evaluations; /* of the UNet */
} RvRunSettings;

/* RV_ERROR_USAGE for unknown names, or a strength that leaves no step to run. */
bool rv_run_settings_init(RvRunSettings *settings, const RvPipeline *pipeline, const RvRequest *request,
                          GError **error);
/* The seed of image `index` of the batch. */
guint64 rv_run_seed(const RvRequest *request, int index);
/* What infotext says beside the request. */
typedef struct {
    const RvControlSet *controls;
    const char *embeddings; /* rv_conditioning_labels(); NULL: none */
    bool is_refined;        /* the refiner took over */
} RvRunExtras;

/* A1111's `parameters` of that image; free with g_free. */
/* `extras` may be NULL. */
char *rv_run_infotext(const RvPipeline *pipeline, const RvRequest *request, const RvRunSettings *settings,
                      const RvRunExtras *extras, int index);
