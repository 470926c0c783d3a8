#include "models/unet_blocks.h"
#include "models/resnet.h"

static RvTensor
resnet(RvUnetPass *pass, RvTensor x, int index, int out)
{
    RvProgram *p = pass->program;
    const RvUnetConfig *c = pass->config;
    rv_program_enter(p, "resnets.%d", index);
    RvTensor time = rv_unet_take(p, pass->time, &pass->resnets);
    x = rv_resnet(p, x,
                  &(RvResnet) { .out = out, .groups = c->norm_groups, .eps = c->norm_eps, .time = time });
    rv_program_leave(p);
    return x;
}

static RvTensor
attention(RvUnetPass *pass, RvTensor x, int index, int heads, int depth)
{
    if (depth == 0)
        return x;
    rv_program_enter(pass->program, "attentions.%d", index);
    x = rv_unet_transformer(pass, x, heads, depth);
    rv_program_leave(pass->program);
    return x;
}

static void
push(RvUnetResiduals *skips, RvTensor x)
{
    g_assert(skips->count < RV_UNET_MAX_SKIPS);
    skips->down[skips->count++] = x;
}

RvTensor
rv_unet_down(RvUnetPass *pass, RvTensor x, RvUnetResiduals *skips)
{
    RvProgram *p = pass->program;
    const RvUnetConfig *c = pass->config;
    push(skips, x);
    for (int level = 0; level < c->levels; level++) {
        rv_program_enter(p, "down_blocks.%d", level);
        for (int i = 0; i < c->layers_per_block[level]; i++) {
            x = resnet(pass, x, i, c->channels[level]);
            x = attention(pass, x, i, c->heads[level], c->depth[level]);
            push(skips, x);
        }
        if (level < c->levels - 1) { /* [n,h,w,c] -> [n,(h+1)/2,(w+1)/2,c] */
            x = rv_conv2d(p, x, "downsamplers.0.conv", (RvConv2d) { .out = c->channels[level], .stride = 2 });
            push(skips, x);
        }
        rv_program_leave(p);
    }
    return x;
}

/* Without attention diffusers' mid block is a single ResNet. */
RvTensor
rv_unet_mid(RvUnetPass *pass, RvTensor x)
{
    const RvUnetConfig *c = pass->config;
    const int last = c->levels - 1;
    rv_program_enter(pass->program, "mid_block");
    x = resnet(pass, x, 0, c->channels[last]);
    if (c->mid_depth > 0) {
        x = attention(pass, x, 0, c->heads[last], c->mid_depth);
        x = resnet(pass, x, 1, c->channels[last]);
    }
    rv_program_leave(pass->program);
    return x;
}

RvTensor
rv_unet_up(RvUnetPass *pass, RvTensor x, const RvUnetResiduals *skips, const RvUnetInputs *in)
{
    RvProgram *p = pass->program;
    const RvUnetConfig *c = pass->config;
    int skip = skips->count;
    for (int level = c->levels - 1; level >= 0; level--) {
        const int out = c->channels[level];
        rv_program_enter(p, "up_blocks.%d", c->levels - 1 - level);
        for (int i = 0; i <= c->layers_per_block[level]; i++) {
            skip--;
            x = rv_concat(p, x, rv_unet_add_residuals(p, skips->down[skip], in, skip));
            x = resnet(pass, x, i, out);
            x = attention(pass, x, i, c->heads[level], c->up_depth[level]);
        }
        if (level > 0) { /* to the size that the down path had here, which may be odd */
            const RvShape size = rv_shape(p, skips->down[skip - 1]);
            x = rv_conv2d(p, x, "upsamplers.0.conv",
                          (RvConv2d) { .out = out, .up_h = size.h, .up_w = size.w });
        }
        rv_program_leave(p);
    }
    return x;
}
