/* denoiser.h - the UNet on a device, and classifier-free guidance over it.
 *
 * Guidance (Ho & Salimans 2022; several conditions as in "Compositional Visual Generation with Composable
 * Diffusion Models", Liu et al. 2022): out = uncond + sum of weight_i * cfg * (cond_i - uncond). */
#pragma once
#include "engine/conditioning.h"
#include "engine/control.h"

typedef struct RvDenoiser RvDenoiser;

/* The source must outlive the denoiser. `calibration`: of exactly these weights (calibrate.h); NULL: none. */
RvDenoiser *rv_denoiser_new(RvEngine *engine, const RvUnetConfig *config, RvWeightSource source,
                            const char *calibration);
void rv_denoiser_free(RvDenoiser *denoiser); /* accepts NULL */

/* Gives up the programs and the weights on the device; they are made anew when they are needed. What others
 * borrowed of them is gone. */
void rv_denoiser_renew(RvDenoiser *denoiser);

const RvUnetConfig *rv_denoiser_config(const RvDenoiser *denoiser);
RvWeightSet *
rv_denoiser_weights(const RvDenoiser *denoiser); /* borrowed; for programs of which it is a part */
gsize rv_denoiser_bytes(const RvDenoiser *denoiser);
/* Since the denoiser was made. */
double rv_denoiser_flops(const RvDenoiser *denoiser);
double rv_denoiser_seconds(const RvDenoiser *denoiser); /* from a run's start until its answer is here */

/* What is drawn from now on has edges that fit each other. */
void rv_denoiser_set_tiling(RvDenoiser *denoiser, bool tiling);

/* Records the program of a size ahead of the first use: `rows` images (twice as many with guidance), latent
 * size. */
bool rv_denoiser_prepare(RvDenoiser *denoiser, int rows, int width, int height, int tokens, GError **error);

/* What stays the same over a run. */
typedef struct {
    int images, width, height; /* of latents */
    int channels;       /* of the sampler's latent; the model's further input channels come from `extra` */
    const float *extra; /* [images, in_channels - channels, height, width], or NULL */
    float time_ids[6];  /* SDXL: height, width, crop top, crop left, target height, target width, in pixels */
    float scores[2];    /* SDXL's refiner: of the positive and the negative prompt, in place of the target */
    const RvConditioning *positive, *negative; /* negative NULL: no guidance */
    double cfg_scale;
    const RvControlSet *controls; /* NULL: none */
} RvGuidance;

/* sample, out: [images, channels, height, width], the model's prediction at `timestep`; `evaluation`
 * (from 0) picks the contexts of a prompt that changes. Fails when the result is not finite. */
bool rv_denoiser_run(RvDenoiser *denoiser, const RvGuidance *guidance, const float *sample, double timestep,
                     int evaluation, float *out, GError **error);

/* One evaluation of the UNet under one context, and what its output counts in the guided sum. */
typedef struct {
    RvContext *context; /* borrowed */
    double factor;
    bool is_negative;
} RvGuidanceTerm;
/* The guided sum: the unconditional term first, when there is guidance. Free with g_array_unref. */
GArray *rv_guidance_terms(const RvGuidance *guidance, int evaluation);

/* What a UNet with prepared inputs takes (models/unet.h), computed now, for terms of equal length: a program
 * with outputs "kv.0" ..., a row per term; and one with "time.0" ..., a row per term and image. To be copied
 * (rv_program_copy) before the denoiser's next call. */
RvProgram *rv_denoiser_keys_values(RvDenoiser *denoiser, const RvGuidanceTerm *terms, int count,
                                   GError **error);
RvProgram *rv_denoiser_time(RvDenoiser *denoiser, const RvGuidance *guidance, const RvGuidanceTerm *terms,
                            int count, double timestep, GError **error);
