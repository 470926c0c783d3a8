/* unet.h - the denoiser of Stable Diffusion 1.x, 2.x, XL, their inpainting forms and the XL refiner.
 *
 * Rombach et al. 2022 and Podell et al. 2023 ("SDXL"); the numbers are those of diffusers'
 * UNet2DConditionModel, whose weight names these are. What it predicts (noise or v) is the sampler's
 * business. Any latent size works: the up path takes each skip connection's own size.
 *
 * Two things do not depend on the sample and may be computed once and handed in, by the same program
 * (several steps in one) or by another one: the timestep's projections, constant for a step, and cross
 * attention's keys and values, constant for a prompt. Without them rv_unet_record computes both. */
#pragma once
#include "tensor/program.h"
#include "weights/config.h"

#define RV_UNET_MAX_SKIPS 80
#define RV_UNET_MAX_PREPARED 512

/* What the timestep embedding is made of. */
typedef struct {
    RvTensor timestep; /* F32 [n,1,1,1]: 0 to 999, need not be whole */
    RvTensor time_ids; /* F32 [n,1,config->time_ids,1]; only with added conditions (SDXL) */
    RvTensor pooled;   /* [n,1,1,pooled_dim]; the same */
    RvTensor guidance; /* [n,1,1,time_cond_proj_dim], LCM's embedding of the guidance scale; none: left out */
} RvUnetTime;

/* One tensor for each ResNet ([n,1,1,channels]) or for each transformer block ([n,1,tokens,2*channels],
 * keys then values), in the order in which the network meets them. */
typedef struct {
    int count;
    RvTensor item[RV_UNET_MAX_PREPARED];
} RvUnetPrepared;

/* What a ControlNet adds to the skip connections and behind the mid block. */
typedef struct {
    int count;                        /* sum of layers_per_block + levels */
    RvTensor down[RV_UNET_MAX_SKIPS]; /* as rv_unet_skip_shapes() */
    RvTensor mid;                     /* shaped as the last of them */
    RvTensor scale;                   /* F32, one element, multiplies all; none: 1 */
    /* In place of `scale`, one for each of `down` and behind them that of `mid`; none: `scale` counts */
    RvTensor scales[RV_UNET_MAX_SKIPS + 1];
} RvUnetResiduals;

typedef struct {
    RvTensor sample;  /* [n,h,w,in_channels] */
    RvUnetTime time;  /* unless `prepared_time` */
    RvTensor context; /* [n,1,tokens,cross_attention_dim]; unless `prepared_context` */
    const RvUnetPrepared *prepared_time, *prepared_context; /* NULL: computed here */
    const RvUnetResiduals *residuals;                       /* of `residual_sets` ControlNets */
    int residual_sets;
} RvUnetInputs;

/* -> [n,h,w,out_channels] */
RvTensor rv_unet_record(RvProgram *program, const RvUnetConfig *config, const RvUnetInputs *inputs);

void rv_unet_record_time(RvProgram *program, const RvUnetConfig *config, const RvUnetTime *time,
                         RvUnetPrepared *prepared);
void rv_unet_record_context(RvProgram *program, const RvUnetConfig *config, RvTensor context,
                            RvUnetPrepared *prepared);

/* To carry them from one program to another (rv_program_copy): outputs named "PREFIX.0", "PREFIX.1" ... of
 * the first, in the compute type ... */
void rv_unet_prepared_outputs(RvProgram *program, const char *prefix, const RvUnetPrepared *prepared);
/* ... and inputs of the same names, sizes and order of the second. */
void rv_unet_time_inputs(RvProgram *program, const RvUnetConfig *config, const char *prefix, int n,
                         RvUnetPrepared *prepared);
void rv_unet_context_inputs(RvProgram *program, const RvUnetConfig *config, const char *prefix, int n,
                            int tokens, RvUnetPrepared *prepared);

/* Shapes of the skip connections for a sample [n,h,w,*]; returns their number, 0 for an impossible config. */
int rv_unet_skip_shapes(const RvUnetConfig *config, int n, int h, int w, RvShape shapes[RV_UNET_MAX_SKIPS]);
