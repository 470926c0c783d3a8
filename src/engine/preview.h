/* preview.h - what the sampler expects to see, while it works. */
#pragma once
#include "engine/autoencoder.h"
#include "engine/request.h"
#include "weights/model.h"

typedef struct {
    RvAutoencoder *autoencoder;
    RvFamily family;
    const float *denoised; /* [channels, height, width] of the first image; NULL: nothing to see yet */
    int width, height;     /* of the picture */
} RvPreviewSource;

/* RvProgress.preview: progress->source is an RvPreviewSource. A tiny autoencoder draws the picture in full;
 * otherwise it is an eighth of the size, coloured by a linear map from latents to RGB. */
RvPicture *rv_preview(const RvProgress *progress);
