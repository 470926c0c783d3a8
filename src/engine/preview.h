/* preview.h - what the sampler expects to see, while it works. */
#pragma once
#include "engine/autoencoder.h"
#include "engine/request.h"

/* A linear map from one latent to the mean colour of its pixels, measured on the model's own decoder. */
#define RV_PREVIEW_CHANNELS 64
typedef struct {
    bool is_fitted;
    float weight[RV_PREVIEW_CHANNELS][3];
    float bias[3]; /* colours in [-1, 1] */
} RvPreviewMap;

typedef struct {
    RvAutoencoder *autoencoder;
    RvPreviewMap *map;     /* fitted at the first preview, kept by the pipeline */
    const float *denoised; /* [channels, height, width] of the first image; NULL: nothing to see yet */
    int width, height;     /* of the picture */
} RvPreviewSource;

/* RvProgress.preview: progress->source is an RvPreviewSource. A tiny autoencoder draws the picture in full;
 * otherwise it is an eighth of the size, through the linear map. NULL when there is nothing to see. */
RvPicture *rv_preview(const RvProgress *progress);
