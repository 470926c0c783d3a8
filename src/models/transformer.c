#include "models/unet_blocks.h"

/* diffusers' Transformer2DModel does not follow the config's norm_eps here. */
#define TRANSFORMER_NORM_EPS 1e-6f

/* x + attn1(norm1(x)) */
static RvTensor
self_attention(RvProgram *p, RvTensor x, int heads)
{
    const int width = rv_shape(p, x).c;
    RvTensor h = rv_layer_norm(p, x, "norm1", (RvNorm) { 0 });
    rv_program_enter(p, "attn1");
    RvTensor qkv =
        rv_linear(p, h, "to_q|to_k|to_v", (RvLinear) { .out = width, .no_bias = true }); /* [n,h,w,3c] */
    h = rv_attention(p, rv_slice(p, qkv, 0, width), rv_slice(p, qkv, width, width),
                     rv_slice(p, qkv, 2 * width, width), (RvAttention) { .heads = heads });
    x = rv_linear(p, h, "to_out.0", (RvLinear) { .out = width, .add = x });
    rv_program_leave(p);
    return x;
}

RvTensor
rv_unet_keys_values(RvProgram *p, RvTensor tokens, int width)
{
    return rv_linear(p, tokens, "attn2.to_k|attn2.to_v", (RvLinear) { .out = width, .no_bias = true });
}

/* x + attn2(norm2(x), tokens) */
static RvTensor
cross_attention(RvUnetPass *pass, RvTensor x, int heads)
{
    RvProgram *p = pass->program;
    const int width = rv_shape(p, x).c;
    RvTensor kv = pass->context != NULL ? rv_unet_take(p, pass->context, &pass->blocks)
                                        : rv_unet_keys_values(p, pass->tokens, width); /* [n,1,tokens,2c] */
    RvTensor h = rv_layer_norm(p, x, "norm2", (RvNorm) { 0 });
    RvTensor q = rv_linear(p, h, "attn2.to_q", (RvLinear) { .out = width, .no_bias = true });
    h = rv_attention(p, q, rv_slice(p, kv, 0, width), rv_slice(p, kv, width, width),
                     (RvAttention) { .heads = heads });
    return rv_linear(p, h, "attn2.to_out.0", (RvLinear) { .out = width, .add = x });
}

/* x + ff(norm3(x)), a gated unit four times as wide */
static RvTensor
feed_forward(RvProgram *p, RvTensor x)
{
    const int width = rv_shape(p, x).c;
    RvTensor h = rv_layer_norm(p, x, "norm3", (RvNorm) { 0 });
    h = rv_linear(p, h, "ff.net.0.proj", (RvLinear) { .out = 8 * width });
    return rv_linear(p, rv_glu(p, h), "ff.net.2", (RvLinear) { .out = width, .add = x });
}

RvTensor
rv_unet_transformer(RvUnetPass *pass, RvTensor x, int heads, int depth)
{
    RvProgram *p = pass->program;
    const int width = rv_shape(p, x).c;
    RvTensor h = rv_group_norm(p, x, "norm",
                               (RvNorm) { .groups = pass->config->norm_groups, .eps = TRANSFORMER_NORM_EPS });
    h = rv_linear(p, h, "proj_in", (RvLinear) { .out = width });
    for (int i = 0; i < depth; i++) {
        rv_program_enter(p, "transformer_blocks.%d", i);
        h = self_attention(p, h, heads);
        h = cross_attention(pass, h, heads);
        h = feed_forward(p, h);
        rv_program_leave(p);
    }
    return rv_linear(p, h, "proj_out", (RvLinear) { .out = width, .add = x });
}
