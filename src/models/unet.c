#include "models/check.h"
#include "models/unet_blocks.h"

static bool
check_level(RvProgram *p, const RvUnetConfig *c, int level)
{
    return rv_check_field(p, "block_out_channels", c->channels[level], 1, RV_MAX_CHANNELS) &&
           rv_check_field(p, "layers_per_block", c->layers_per_block[level], 1, RV_UNET_MAX_LAYERS) &&
           rv_check_field(p, "transformer_layers_per_block", c->depth[level], 0, RV_MAX_DEPTH) &&
           rv_check_field(p, "transformer_layers_per_block (up)", c->up_depth[level], 0, RV_MAX_DEPTH);
}

static int
transformer_blocks(const RvUnetConfig *c)
{
    int blocks = MAX(c->mid_depth, 0);
    for (int i = 0; i < c->levels; i++)
        blocks += c->layers_per_block[i] * c->depth[i] + (c->layers_per_block[i] + 1) * c->up_depth[i];
    return blocks;
}

bool
rv_unet_check(RvProgram *p, const RvUnetConfig *c)
{
    if (!rv_check_field(p, "the number of block_out_channels", c->levels, 1, RV_MAX_LEVELS) ||
        !rv_check_field(p, "in_channels", c->in_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "out_channels", c->out_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "transformer_layers_per_block (mid)", c->mid_depth, -1, RV_MAX_DEPTH) ||
        !rv_check_field(p, "cross_attention_dim", c->cross_attention_dim, 0, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "addition_time_embed_dim", c->addition_time_embed_dim, 0, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "the number of time ids", c->time_ids, 0, 64) ||
        !rv_check_field(p, "the pooled text's width", c->pooled_dim, 0, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "time_cond_proj_dim", c->time_cond_proj_dim, 0, RV_MAX_CHANNELS))
        return false;
    for (int i = 0; i < c->levels; i++)
        if (!check_level(p, c, i))
            return false;
    return rv_check_field(p, "the number of transformer blocks", transformer_blocks(c), 0,
                          RV_UNET_MAX_PREPARED);
}

RvTensor
rv_unet_add_residuals(RvProgram *p, RvTensor x, const RvUnetInputs *in, int index)
{
    for (int i = 0; i < in->residual_sets; i++) {
        const RvUnetResiduals *set = &in->residuals[i];
        RvTensor residual = index < 0 ? set->mid : set->down[index];
        RvTensor scale = set->scales[index < 0 ? set->count : index];
        if (rv_is_none(scale))
            scale = set->scale;
        if (rv_is_none(scale))
            x = rv_add(p, x, residual);
        else
            x = rv_mix(p, (RvTensor) { 0 }, x, scale, residual);
    }
    return x;
}

static bool
residuals_fit(RvProgram *p, const RvUnetInputs *in, int skips)
{
    for (int i = 0; i < in->residual_sets; i++)
        if (in->residuals[i].count != skips) {
            rv_program_enter(p, "residuals");
            rv_program_fail(p, RV_ERROR_FAILED, "a ControlNet with %d residuals does not fit a UNet with %d",
                            in->residuals[i].count, skips);
            rv_program_leave(p);
            return false;
        }
    return true;
}

RvTensor
rv_unet_record(RvProgram *p, const RvUnetConfig *c, const RvUnetInputs *in)
{
    if (!rv_unet_check(p, c))
        return (RvTensor) { 0 };
    RvUnetPrepared time = { 0 };
    if (in->prepared_time == NULL)
        rv_unet_record_time(p, c, &in->time, &time);
    RvUnetPass pass = {
        .program = p,
        .config = c,
        .time = in->prepared_time != NULL ? in->prepared_time : &time,
        .context = in->prepared_context,
        .tokens = in->context,
    };
    RvUnetResiduals skips = { 0 };
    RvTensor x = rv_conv2d(p, in->sample, "conv_in", (RvConv2d) { .out = c->channels[0] });
    x = rv_unet_down(&pass, x, &skips);
    if (!residuals_fit(p, in, skips.count))
        return (RvTensor) { 0 };
    if (c->mid_depth >= 0)
        x = rv_unet_add_residuals(p, rv_unet_mid(&pass, x), in, -1);
    x = rv_unet_up(&pass, x, &skips, in);
    x = rv_group_norm(p, x, "conv_norm_out",
                      (RvNorm) { .groups = c->norm_groups, .eps = c->norm_eps, .act = RV_ACT_SILU });
    return rv_conv2d(p, x, "conv_out", (RvConv2d) { .out = c->out_channels });
}
