/* pipeline.h - a model on a device: pictures from text, from pictures, and inside masks.
 *
 * Opening checks the whole model (missing, extra-shaped tensors are named) before any long work. The
 * programs for a size are recorded at the first request of that size and kept, the least recently used
 * given up first. A pipeline belongs to its engine's thread. */
#pragma once
#include "engine/engine.h"
#include "engine/library.h"
#include "engine/request.h"
#include "weights/model.h"

typedef struct {
    const char *vae; /* NULL or "model"; "taesd"; or a path */
    const char
        *tokenizer; /* folder with vocab.json and merges.txt; NULL: the model's, else the standard one */
    const char *prediction; /* NULL or "auto", "epsilon", "v_prediction" */
    const char *models_dir; /* where "taesd" may lie; may be NULL */
    /* LoRAs, embeddings, ControlNets and upscalers by name; borrowed for the pipeline's life; NULL: none */
    const RvLibrary *library;
    bool takes_refiner; /* SDXL's refiner may be opened, too; it finishes pictures (RvRequest.refiner) */
} RvPipelineOptions;

RvPipeline *rv_pipeline_open(RvEngine *engine, const char *path, const RvPipelineOptions *options,
                             GError **error);
/* Full-size random weights, no file: family is "sdxl", "sd15", "sd21" or "mini". For benchmarks. */
RvPipeline *rv_pipeline_open_random(RvEngine *engine, const char *family, const RvPipelineOptions *options,
                                    GError **error);
void rv_pipeline_free(RvPipeline *pipeline); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvPipeline, rv_pipeline_free)

const char *rv_pipeline_name(const RvPipeline *pipeline); /* the model's stem, for infotext */
bool rv_pipeline_is_turbo(const RvPipeline *pipeline);    /* made for 1 to 4 steps without guidance */
/* Fills what a request leaves to the model (size, steps, cfg scale, strength) and checks the rest;
 * RV_ERROR_USAGE otherwise. `note` (free with g_free) says what was rounded, or stays NULL. */
bool rv_pipeline_complete(const RvPipeline *pipeline, RvRequest *request, char **note, GError **error);
/* Encodes the prompts and records every program that the (completed) request will run, so that the first
 * picture takes no longer than the next. */
bool rv_pipeline_prepare(RvPipeline *pipeline, const RvRequest *request, GError **error);
RvResult *rv_pipeline_generate(RvPipeline *pipeline, const RvRequest *request, GError **error);

/* Seconds and operations that the last generate spent, for benchmarks. */
typedef struct {
    double text, encode, unet, decode; /* seconds */
    double unet_runs; /* seconds of unet: from the start of each run until its answer is here */
    double encode_flops, unet_flops, decode_flops;
} RvStageCosts;
RvStageCosts rv_pipeline_costs(const RvPipeline *pipeline);
/* Bytes of packed weights and of scratch memory on the device, so far; 0 while it is asleep. */
gsize rv_pipeline_device_bytes(const RvPipeline *pipeline);
