/* taesd.h - the tiny autoencoder: pictures to latents and back in a hundredth of the VAE's work.
 *
 * Ollin Boer Bohan's TAESD (github.com/madebyollin/taesd); the numbers are those of diffusers'
 * AutoencoderTiny. Pictures are in [-1, 1], latents are those that the UNet works on (with
 * scaling_factor 1 nothing is left to the caller). One latent is 2^(levels - 1) pixels wide. */
#pragma once
#include "tensor/program.h"
#include "weights/config.h"

/* `compute` is the device's compute type (RvDeviceInfo), in which the change between [-1, 1] and the
 * network's own [0, 1] is made. */

/* image [n, 8h, 8w, 3] (8 for four levels) -> [n, h, w, latent_channels] */
RvTensor rv_taesd_record_encode(RvProgram *program, const RvTaesdConfig *config, RvTensor image,
                                RvDType compute);

/* latent [n, h, w, latent_channels] -> [n, 8h, 8w, 3], not clamped */
RvTensor rv_taesd_record_decode(RvProgram *program, const RvTaesdConfig *config, RvTensor latent,
                                RvDType compute);
