/* controlnet.h - a copy of a UNet's first half that reads a hint picture and steers the UNet.
 *
 * Zhang et al. 2023, "Adding Conditional Control to Text-to-Image Diffusion Models"; the numbers are those
 * of diffusers' ControlNetModel, whose weight names these are. */
#pragma once
#include "models/unet.h"

typedef struct {
    RvTensor sample;  /* [n,h,w,in_channels], the UNet's own */
    RvUnetTime time;  /* as the UNet's */
    RvTensor context; /* [n,1,tokens,cross_attention_dim] */
    RvTensor hint;    /* [n,8h,8w,conditioning_channels] in [0, 1] (8 for four hint levels) */
    RvTensor scale;   /* F32, one element (rv_input_exact), conditioning_scale; none: 1 */
} RvControlnetInputs;

/* The residuals come unscaled, with `scale` beside them: rv_unet_record() multiplies and adds in one op. */
RvUnetResiduals rv_controlnet_record(RvProgram *program, const RvControlnetConfig *config,
                                     const RvControlnetInputs *inputs);
