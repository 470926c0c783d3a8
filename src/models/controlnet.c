#include "models/controlnet.h"
#include "models/check.h"
#include "models/unet_blocks.h"

static bool
check(RvProgram *p, const RvControlnetConfig *c)
{
    if (!rv_unet_check(p, &c->unet) ||
        !rv_check_field(p, "conditioning_channels", c->conditioning_channels, 1, RV_MAX_CHANNELS) ||
        !rv_check_field(p, "the number of conditioning_embedding_out_channels", c->hint_levels, 1,
                        RV_MAX_LEVELS))
        return false;
    for (int i = 0; i < c->hint_levels; i++)
        if (!rv_check_field(p, "conditioning_embedding_out_channels", c->hint_channels[i], 1,
                            RV_MAX_CHANNELS))
            return false;
    if (c->global_pool_conditions) {
        rv_program_enter(p, "config");
        rv_program_fail(p, RV_ERROR_UNSUPPORTED, "ControlNets with global_pool_conditions cannot be run");
        rv_program_leave(p);
    }
    return !c->global_pool_conditions;
}

/* hint [n,8h,8w,3] -> [n,h,w,channels[0]], added to x */
static RvTensor
add_hint(RvProgram *p, const RvControlnetConfig *c, RvTensor x, RvTensor hint)
{
    rv_program_enter(p, "controlnet_cond_embedding");
    RvTensor h = rv_conv2d(p, hint, "conv_in", (RvConv2d) { .out = c->hint_channels[0], .act = RV_ACT_SILU });
    for (int i = 0; i < c->hint_levels - 1; i++) {
        g_autofree char *same = g_strdup_printf("blocks.%d", 2 * i),
                        *half = g_strdup_printf("blocks.%d", 2 * i + 1);
        h = rv_conv2d(p, h, same, (RvConv2d) { .out = c->hint_channels[i], .act = RV_ACT_SILU });
        h = rv_conv2d(p, h, half,
                      (RvConv2d) { .out = c->hint_channels[i + 1], .stride = 2, .act = RV_ACT_SILU });
    }
    h = rv_conv2d(p, h, "conv_out", (RvConv2d) { .out = c->unet.channels[0], .add = x });
    rv_program_leave(p);
    return h;
}

/* A 1x1 convolution of a skip connection, as wide as it is. */
static RvTensor
residual(RvProgram *p, RvTensor x, const char *name)
{
    return rv_linear(p, x, name, (RvLinear) { .out = rv_shape(p, x).c });
}

RvUnetResiduals
rv_controlnet_record(RvProgram *p, const RvControlnetConfig *c, const RvControlnetInputs *in)
{
    RvUnetResiduals out = { 0 };
    if (!check(p, c))
        return out;
    RvUnetPrepared time = { 0 };
    rv_unet_record_first_time(p, &c->unet, &in->time, &time);
    RvUnetPass pass = { .program = p, .config = &c->unet, .time = &time, .tokens = in->context };
    RvUnetResiduals skips = { 0 };
    RvTensor x = rv_conv2d(p, in->sample, "conv_in", (RvConv2d) { .out = c->unet.channels[0] });
    x = add_hint(p, c, x, in->hint);
    x = rv_unet_down(&pass, x, &skips);
    x = rv_unet_mid(&pass, x);
    for (int i = 0; i < skips.count; i++) {
        g_autofree char *name = g_strdup_printf("controlnet_down_blocks.%d", i);
        out.down[i] = residual(p, skips.down[i], name);
    }
    out.count = skips.count;
    out.mid = residual(p, x, "controlnet_mid_block");
    out.scale = in->scale;
    return out;
}
