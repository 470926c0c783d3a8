/* vae.h - the KL autoencoder: pictures to latents' moments, latents to pictures.
 *
 * Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models"; the numbers are
 * those of diffusers' AutoencoderKL. Pictures are in [-1, 1]. Latents are the network's own: the caller
 * multiplies what it encodes by scaling_factor (after taking shift_factor off) and undoes it before
 * decoding. One latent is 2^(levels - 1) pixels wide. */
#pragma once
#include "tensor/program.h"
#include "weights/config.h"

/* Views of one tensor; the distribution that diffusers clamps to log variances within [-30, 20]. */
typedef struct {
    RvTensor mean, logvar; /* [n, h, w, latent_channels] */
} RvVaeMoments;

/* image [n, 8h, 8w, in_channels] (8 for four levels) */
RvVaeMoments rv_vae_record_encode(RvProgram *program, const RvVaeConfig *config, RvTensor image);

/* latent [n, h, w, latent_channels] -> [n, 8h, 8w, out_channels], not clamped */
RvTensor rv_vae_record_decode(RvProgram *program, const RvVaeConfig *config, RvTensor latent);
