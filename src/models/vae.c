#include "models/vae.h"
#include "models/check.h"
#include "models/resnet.h"

#define VAE_EPS 1e-6f

static bool
check(RvProgram *p, const RvVaeConfig *c)
{
    if (!rv_check_field(p, "the number of block_out_channels", c->levels, 1, RV_MAX_LEVELS) ||
        !rv_check_field(p, "in_channels", c->in_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "out_channels", c->out_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "latent_channels", c->latent_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "layers_per_block", c->layers_per_block, 1, RV_MAX_DEPTH))
        return false;
    for (int i = 0; i < c->levels; i++)
        if (!rv_check_field(p, "block_out_channels", c->channels[i], 1, RV_MAX_CHANNELS))
            return false;
    return true;
}

static RvTensor
resnet(RvProgram *p, const RvVaeConfig *c, RvTensor x, int index, int out)
{
    rv_program_enter(p, "resnets.%d", index);
    x = rv_resnet(p, x, &(RvResnet) { .out = out, .groups = c->norm_groups, .eps = VAE_EPS });
    rv_program_leave(p);
    return x;
}

/* One head over all channels; x [n,h,w,c] */
static RvTensor
attention(RvProgram *p, const RvVaeConfig *c, RvTensor x)
{
    const int width = rv_shape(p, x).c;
    rv_program_enter(p, "attentions.0");
    RvTensor h = rv_group_norm(p, x, "group_norm", (RvNorm) { .groups = c->norm_groups, .eps = VAE_EPS });
    RvTensor qkv = rv_linear(p, h, "to_q|to_k|to_v", (RvLinear) { .out = width }); /* [n,h,w,3c] */
    h = rv_attention(p, rv_slice(p, qkv, 0, width), rv_slice(p, qkv, width, width),
                     rv_slice(p, qkv, 2 * width, width), (RvAttention) { .heads = 1 });
    x = rv_linear(p, h, "to_out.0", (RvLinear) { .out = width, .add = x });
    rv_program_leave(p);
    return x;
}

static RvTensor
mid_block(RvProgram *p, const RvVaeConfig *c, RvTensor x)
{
    const int width = rv_shape(p, x).c;
    rv_program_enter(p, "mid_block");
    x = resnet(p, c, x, 0, width);
    if (c->mid_attention)
        x = attention(p, c, x);
    x = resnet(p, c, x, 1, width);
    rv_program_leave(p);
    return x;
}

RvVaeMoments
rv_vae_record_encode(RvProgram *p, const RvVaeConfig *c, RvTensor image)
{
    if (!check(p, c))
        return (RvVaeMoments) { 0 };
    const int moments = 2 * c->latent_channels;
    rv_program_enter(p, "encoder");
    RvTensor x = rv_conv2d(p, image, "conv_in", (RvConv2d) { .out = c->channels[0] });
    for (int level = 0; level < c->levels; level++) {
        const int out = c->channels[level];
        rv_program_enter(p, "down_blocks.%d", level);
        for (int i = 0; i < c->layers_per_block; i++)
            x = resnet(p, c, x, i, out);
        if (level < c->levels - 1)
            x = rv_conv2d(p, x, "downsamplers.0.conv",
                          (RvConv2d) { .out = out, .stride = 2, .pad_end = true });
        rv_program_leave(p);
    }
    x = mid_block(p, c, x);
    x = rv_group_norm(p, x, "conv_norm_out",
                      (RvNorm) { .groups = c->norm_groups, .eps = VAE_EPS, .act = RV_ACT_SILU });
    x = rv_conv2d(p, x, "conv_out", (RvConv2d) { .out = moments });
    rv_program_leave(p);
    if (c->has_quant_conv)
        x = rv_linear(p, x, "quant_conv", (RvLinear) { .out = moments });
    return (RvVaeMoments) {
        .mean = rv_slice(p, x, 0, c->latent_channels),
        .logvar = rv_slice(p, x, c->latent_channels, c->latent_channels),
    };
}

RvTensor
rv_vae_record_decode(RvProgram *p, const RvVaeConfig *c, RvTensor latent)
{
    if (!check(p, c))
        return (RvTensor) { 0 };
    RvTensor x = latent;
    if (c->has_post_quant_conv)
        x = rv_linear(p, x, "post_quant_conv", (RvLinear) { .out = c->latent_channels });
    rv_program_enter(p, "decoder");
    x = rv_conv2d(p, x, "conv_in", (RvConv2d) { .out = c->channels[c->levels - 1] });
    x = mid_block(p, c, x);
    for (int block = 0; block < c->levels; block++) {
        const int level = c->levels - 1 - block, out = c->channels[level];
        rv_program_enter(p, "up_blocks.%d", block);
        for (int i = 0; i <= c->layers_per_block; i++)
            x = resnet(p, c, x, i, out);
        const RvShape s = rv_shape(p, x);
        if (level > 0)
            x = rv_conv2d(p, x, "upsamplers.0.conv",
                          (RvConv2d) { .out = out, .up_h = 2 * s.h, .up_w = 2 * s.w });
        rv_program_leave(p);
    }
    x = rv_group_norm(p, x, "conv_norm_out",
                      (RvNorm) { .groups = c->norm_groups, .eps = VAE_EPS, .act = RV_ACT_SILU });
    x = rv_conv2d(p, x, "conv_out", (RvConv2d) { .out = c->out_channels });
    rv_program_leave(p);
    return x;
}
