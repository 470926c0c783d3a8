/* inpaint.h - redrawing inside a mask, with inpainting models (the mask and the masked picture are further
 * input channels) and with ordinary ones (the known part is put back after every step, at that step's
 * noise level, as in RePaint without resampling, Lugmayr et al. 2022, and in diffusers). */
#pragma once
#include "engine/autoencoder.h"
#include "engine/request.h"
#include "sampling/sampler.h"

typedef struct RvInpaint RvInpaint;

/* `init` is the picture at the request's size, `mask` its blurred mask; NULL, both: an inpainting model that
 * draws from text alone. `latent_mask` is another mask for the latent, or NULL. None is kept. */
RvInpaint *rv_inpaint_new(RvAutoencoder *autoencoder, const RvRequest *request, const RvPicture *init,
                          const RvMask *mask, const RvMask *latent_mask, bool model_takes_mask,
                          GError **error);
void rv_inpaint_free(RvInpaint *inpaint); /* accepts NULL */

/* [images, 1 + channels, height, width] for inpainting models, else NULL. Borrowed. */
const float *rv_inpaint_extra(const RvInpaint *inpaint);
/* Puts the known part of `start` ([images, channels, height, width]) back into the sampler's latent; nothing
 * to do with inpainting models or without a start. */
void rv_inpaint_restore(const RvInpaint *inpaint, RvSampler *sampler, const float *start);
/* Inside of the mask `start` becomes noise (RV_FILL_NOISE, [images, channels, height, width]) or zeros. */
void rv_inpaint_fill(const RvInpaint *inpaint, RvFill fill, const float *noise, float *start);
/* A1111's way (RvRequest.mask_blend): outside of the mask the model's answer becomes the one that leads to
 * `start`. `input` is what the model saw, at `sigma` (noise over signal). */
void rv_inpaint_blend(const RvInpaint *inpaint, const float *input, double sigma, bool predicts_v,
                      const float *start, float *output);
/* The same for the last latent; nothing to do when inpainting softly. */
void rv_inpaint_finish(const RvInpaint *inpaint, const float *start, float *latent);
/* Where the picture of an image, of which `start` and `latent` are given, is new (255) and where it is the
 * known one again: the mask with its blur, or when inpainting softly by what became of the latent. */
RvMask *rv_inpaint_result_mask(const RvInpaint *inpaint, const float *start, const float *latent,
                               GError **error);
/* Where `mask` is not white the picture is `known` again. All of one size. */
void rv_inpaint_composite(const RvMask *mask, const RvPicture *known, RvPicture *picture);
