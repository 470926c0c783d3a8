#include "models/upscaler.h"

/* x where it is positive, x / 5 where not. */
static RvTensor
leaky(RvProgram *p, const RvUpscalerInputs *in, RvTensor x)
{
    return rv_mix(p, in->keep, rv_act(p, x, RV_ACT_RELU), in->leak, x);
}

static RvTensor
conv(RvProgram *p, RvTensor x, const char *name, int out)
{
    return rv_conv2d(p, x, name, (RvConv2d) { .out = out });
}

/* Residual dense block: each convolution reads all that was before it. */
static RvTensor
dense_block(RvProgram *p, const RvUpscalerConfig *c, const RvUpscalerInputs *in, RvTensor x, int index)
{
    rv_program_enter(p, "rdb%d", index);
    RvTensor all = x;
    for (int i = 1; i < 5; i++) {
        g_autofree char *name = g_strdup_printf("conv%d", i);
        all = rv_concat(p, all, leaky(p, in, conv(p, all, name, c->growth)));
    }
    RvTensor out = conv(p, all, "conv5", c->features);
    rv_program_leave(p);
    return rv_mix(p, in->leak, out, (RvTensor) { 0 }, x);
}

static RvTensor
record_rrdb(RvProgram *p, const RvUpscalerConfig *c, const RvUpscalerInputs *in)
{
    RvTensor first = conv(p, in->x, "conv_first", c->features), x = first;
    for (int b = 0; b < c->blocks; b++) {
        RvTensor y = x;
        rv_program_enter(p, "body.%d", b);
        for (int i = 1; i <= 3; i++)
            y = dense_block(p, c, in, y, i);
        rv_program_leave(p);
        x = rv_mix(p, in->leak, y, (RvTensor) { 0 }, x);
    }
    x = rv_conv2d(p, x, "conv_body", (RvConv2d) { .out = c->features, .add = first });
    for (int i = 1; i <= c->ups; i++) {
        g_autofree char *name = g_strdup_printf("conv_up%d", i);
        RvShape s = rv_shape(p, x);
        x = leaky(p, in,
                  rv_conv2d(p, x, name, (RvConv2d) { .out = c->features, .up_h = 2 * s.h, .up_w = 2 * s.w }));
    }
    return conv(p, leaky(p, in, conv(p, x, "conv_hr", c->features)), "conv_last", 3);
}

static RvTensor
record_compact(RvProgram *p, const RvUpscalerConfig *c, const RvUpscalerInputs *in)
{
    RvTensor x = conv(p, in->x, "body.0", c->features);
    for (int i = 0; i <= c->blocks; i++) {
        g_autofree char *slopes = g_strdup_printf("body.%d", 2 * i + 1),
                        *name = g_strdup_printf("body.%d", 2 * i + 2);
        RvTensor positive = rv_act(p, x, RV_ACT_RELU);
        RvTensor negative = rv_mix(p, (RvTensor) { 0 }, x, in->minus, positive);
        x = rv_linear(p, negative, slopes,
                      (RvLinear) { .out = c->features, .no_bias = true, .add = positive });
        x = conv(p, x, name, i < c->blocks ? c->features : 3 * c->scale * c->scale);
    }
    return x;
}

RvTensor
rv_upscaler_record(RvProgram *p, const RvUpscalerConfig *c, const RvUpscalerInputs *in)
{
    return c->kind == RV_UPSCALER_RRDB ? record_rrdb(p, c, in) : record_compact(p, c, in);
}
