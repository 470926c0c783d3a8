/* unet_blocks.h - private to this folder: the halves of a UNet, which ControlNets share. */
#pragma once
#include "models/unet.h"

#define RV_UNET_MAX_LAYERS 8 /* ResNets of a down level */

/* One pass over the network. Blocks take their prepared tensors in order. */
typedef struct {
    RvProgram *program;
    const RvUnetConfig *config;
    const RvUnetPrepared *time;    /* one for each ResNet */
    const RvUnetPrepared *context; /* one for each transformer block; NULL: made from `tokens` on the spot */
    RvTensor tokens;               /* [n,1,tokens,cross_attention_dim] */
    int resnets, blocks;           /* met so far */
} RvUnetPass;

/* False, and a failure of the program, for a config that is no UNet. */
bool rv_unet_check(RvProgram *program, const RvUnetConfig *config);

/* As rv_unet_record_time(), for the ResNets of the down path and the mid block only. */
void rv_unet_record_first_time(RvProgram *program, const RvUnetConfig *config, const RvUnetTime *time,
                               RvUnetPrepared *prepared);

/* The next of the prepared tensors; a failure when there are too few. */
RvTensor rv_unet_take(RvProgram *program, const RvUnetPrepared *prepared, int *next);

/* Down path: x [n,h,w,channels[0]], the output of conv_in; fills skips->down, whose last is the result. */
RvTensor rv_unet_down(RvUnetPass *pass, RvTensor x, RvUnetResiduals *skips);
/* Mid block, if the config has one. */
RvTensor rv_unet_mid(RvUnetPass *pass, RvTensor x);
/* Up path: joins the skips, last first, each with the residuals of the ControlNets added. */
RvTensor rv_unet_up(RvUnetPass *pass, RvTensor x, const RvUnetResiduals *skips, const RvUnetInputs *inputs);

/* Transformer2DModel of `depth` blocks over x [n,h,w,c]; the scope of its weights is already entered. */
RvTensor rv_unet_transformer(RvUnetPass *pass, RvTensor x, int heads, int depth);
/* Keys and values [n,1,tokens,2*width] of the block whose scope is entered. */
RvTensor rv_unet_keys_values(RvProgram *program, RvTensor tokens, int width);

/* x + scale * residual for each ControlNet; `index` of residuals->down, or -1 for the mid block's. */
RvTensor rv_unet_add_residuals(RvProgram *program, RvTensor x, const RvUnetInputs *inputs, int index);
