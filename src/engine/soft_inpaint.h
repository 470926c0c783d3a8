/* soft_inpaint.h - inpainting under a mask that says how much, not only where: what A1111's built-in script
 * "Soft Inpainting" does (github.com/AUTOMATIC1111/stable-diffusion-webui, pull request 14208).
 *
 * While it is drawn, known and new latents are mixed in shares that depend on the noise left: of a mask's
 * value m the new part has m ^ (preservation * sigma ^ schedule_bias), so that half-masked places follow the
 * known picture early and come free late. A mean of two vectors is shorter than both; its length is set to
 * the mean of their lengths of the order contrast_boost.
 *
 * In the end each pixel is taken from the known picture, from the new one, or between, by how far their
 * latents are apart: the distance d, with outliers and gaps smoothed by ranks, against the one at which half
 * of the known shows, h = threshold * s / (1 - s), where s lies between 0.5 (mask_influence 0) and what the
 * mask says (1); the known part is smootherstep(1 / (1 + (d / h) ^ contrast)). */
#pragma once
#include "engine/request.h"

/* One image: known, drawn, out: [channels, pixels]; mask: [pixels], 1 may change. `sigma`: noise over signal.
 * `out` may be `drawn`. */
void rv_soft_blend(const RvSoftInpaint *soft, const float *known, const float *drawn, const float *mask,
                   double sigma, int channels, gsize pixels, float *out);

/* How much of each pixel is new (255: all), at `factor` times the latent's size; arguments as above. */
RvMask *rv_soft_mask(const RvSoftInpaint *soft, const float *known, const float *drawn, const float *mask,
                     int channels, int width, int height, int factor, GError **error);
