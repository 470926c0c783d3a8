/* pipeline_internal.h - the pipeline's parts, for the files that make up the pipeline. */
#pragma once
#include "engine/autoencoder.h"
#include "engine/conditioning.h"
#include "engine/control.h"
#include "engine/denoiser.h"
#include "engine/networks.h"
#include "engine/pipeline.h"
#include "engine/preview.h"
#include "engine/source.h"
#include "engine/upscale.h"
#include "sampling/schedule.h"

typedef struct {
    RvModel *model;
    RvPart part;
} RvPartSource;

struct RvPipeline {
    RvEngine *engine;
    char *name;
    RvModel *model;         /* NULL with random weights */
    RvRandomSource *random; /* NULL with a model */
    RvPartSource parts[RV_PARTS];
    RvModelTraits traits;
    bool has_scheduler; /* the folder stated one */
    RvSchedulerConfig scheduler;
    RvConditioner *conditioner;
    RvDenoiser *denoiser;
    RvNetworks *networks;
    RvControls *controls;
    RvUpscalers *upscalers;
    RvAutoencoder *autoencoder;
    RvPreviewMap preview;
    RvStageCosts costs;
};

/* Builds conditioner, denoiser and autoencoder from configs and sources; NULL configs for absent parts.
 * Takes the tokenizers. */
typedef struct {
    const RvClipConfig *text, *text2;
    const RvUnetConfig *unet;
    const RvVaeConfig *vae;
    const RvTaesdConfig *taesd;
    RvTokenizer *tokenizers[2];
    gint32 pads[2];
    RvWeightSource sources[RV_PARTS];
    const RvLibrary *library;
} RvPipelineParts;
void rv_pipeline_assemble(RvPipeline *pipeline, RvPipelineParts *parts);
