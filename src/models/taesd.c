#include "models/taesd.h"
#include "models/check.h"

static bool
check(RvProgram *p, const RvTaesdConfig *c)
{
    if (!rv_check_field(p, "the number of levels", c->levels, 1, RV_MAX_LEVELS) ||
        !rv_check_field(p, "latent_channels", c->latent_channels, 1, RV_MAX_CHANNELS))
        return false;
    for (int i = 0; i < c->levels; i++)
        if (!rv_check_field(p, "encoder_block_out_channels", c->encoder_channels[i], 1, RV_MAX_CHANNELS) ||
            !rv_check_field(p, "decoder_block_out_channels", c->decoder_channels[i], 1, RV_MAX_CHANNELS) ||
            !rv_check_field(p, "num_encoder_blocks", c->encoder_blocks[i], 0, RV_MAX_DEPTH) ||
            !rv_check_field(p, "num_decoder_blocks", c->decoder_blocks[i], 0, RV_MAX_DEPTH))
            return false;
    return true;
}

/* The layers are one numbered row; x [n,h,w,in] */
static RvTensor
conv(RvProgram *p, RvTensor x, int layer, RvConv2d options)
{
    rv_program_enter(p, "layers");
    g_autofree char *name = g_strdup_printf("%d", layer);
    x = rv_conv2d(p, x, name, options);
    rv_program_leave(p);
    return x;
}

/* `count` residual blocks of three convolutions, as wide as x; advances *layer. */
static RvTensor
blocks(RvProgram *p, RvTensor x, int *layer, int count)
{
    const int width = rv_shape(p, x).c;
    for (int i = 0; i < count; i++) {
        rv_program_enter(p, "layers.%d.conv", (*layer)++);
        RvTensor h = rv_conv2d(p, x, "0", (RvConv2d) { .out = width, .act = RV_ACT_RELU });
        h = rv_conv2d(p, h, "2", (RvConv2d) { .out = width, .act = RV_ACT_RELU });
        x = rv_conv2d(p, h, "4", (RvConv2d) { .out = width, .act = RV_ACT_RELU, .add = x });
        rv_program_leave(p);
    }
    return x;
}

RvTensor
rv_taesd_record_encode(RvProgram *p, const RvTaesdConfig *c, RvTensor image, RvDType compute)
{
    if (!check(p, c))
        return (RvTensor) { 0 };
    rv_program_enter(p, "encoder");
    RvTensor x = rv_convert(p, image, (RvConvert) { .dtype = compute, .scale = 0.5f, .shift = 0.5f });
    int layer = 0;
    for (int level = 0; level < c->levels; level++) {
        const int out = c->encoder_channels[level];
        const RvConv2d options = { .out = out, .stride = level > 0 ? 2 : 1, .no_bias = level > 0 };
        x = conv(p, x, layer++, options);
        x = blocks(p, x, &layer, c->encoder_blocks[level]);
    }
    x = conv(p, x, layer, (RvConv2d) { .out = c->latent_channels });
    rv_program_leave(p);
    return x;
}

RvTensor
rv_taesd_record_decode(RvProgram *p, const RvTaesdConfig *c, RvTensor latent, RvDType compute)
{
    if (!check(p, c))
        return (RvTensor) { 0 };
    rv_program_enter(p, "decoder");
    RvTensor x = rv_act(p, latent, RV_ACT_TANH3);
    x = conv(p, x, 0, (RvConv2d) { .out = c->decoder_channels[0], .act = RV_ACT_RELU });
    int layer = 2; /* the activation is layer 1 */
    for (int level = 0; level < c->levels - 1; level++) {
        x = blocks(p, x, &layer, c->decoder_blocks[level]);
        layer++; /* the upsampling, which the next convolution does */
        const RvShape s = rv_shape(p, x);
        x = conv(
            p, x, layer++,
            (RvConv2d) {
                .out = c->decoder_channels[level + 1], .up_h = 2 * s.h, .up_w = 2 * s.w, .no_bias = true });
    }
    x = blocks(p, x, &layer, c->decoder_blocks[c->levels - 1]);
    x = conv(p, x, layer, (RvConv2d) { .out = 3 });
    rv_program_leave(p);
    return rv_convert(p, x, (RvConvert) { .dtype = compute, .scale = 2.0f, .shift = -1.0f });
}
