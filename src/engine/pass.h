/* pass.h - one pass of a run: text, start, sampling loop. A run has one, or two with hires. */
#pragma once
#include "engine/area.h"
#include "engine/inpaint.h"
#include "engine/pipeline_internal.h"
#include "engine/run_settings.h"
#include "sampling/sampler.h"

typedef struct {
    RvPipeline *pipeline;
    const RvRequest *request; /* of this pass: the second one's has its own size, steps and prompts */
    RvRunSettings settings;
    int first_evaluations; /* of the pass before this one; 0: there was none */
    int other_evaluations; /* of the pass before or behind, for progress */
    char *prompt;          /* without the tags of extra networks */
    int width, height;     /* of latents */
    gsize count;           /* numbers of one image's latent */
    RvNoise *noises[RV_MAX_BATCH];
    RvConditioning *positive, *negative;
    RvPipeline *refiner; /* of this pass; NULL: none */
    RvConditioning *refined_positive, *refined_negative;
    bool is_refining; /* it has taken over */
    RvArea area;
    float *start; /* latents to start from, [images, count]; NULL: noise alone */
    RvInpaint *inpaint;
    RvControlSet controls;
    RvSampler *sampler;
    RvResult *result;   /* borrowed: notes and maps */
    gint64 sampling_us; /* when its first evaluation began */
} RvPass;

/* Everything but the fields that it works out is set by the caller; the settings are filled. */
void rv_pass_init(RvPass *pass, RvPipeline *pipeline, const RvRequest *request, RvResult *result);
void rv_pass_clear(RvPass *pass);

bool rv_pass_networks(RvPass *pass, GError **error); /* merges LoRAs; takes the tags out of the prompt */
bool rv_pass_text(RvPass *pass, GError **error);
bool rv_pass_encode(RvPass *pass, GError **error);  /* the request's picture, as `start` */
bool rv_pass_prepare(RvPass *pass, GError **error); /* ControlNets and inpainting */
bool rv_pass_sample(RvPass *pass, GError **error);
bool rv_pass_is_stopped(const RvPass *pass); /* the request's `stop` says so */
void rv_pass_report(RvPass *pass, RvPhase phase, int done, int total);
