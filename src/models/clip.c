#include "models/clip.h"
#include "models/check.h"

static bool
check(RvProgram *p, const RvClipConfig *c, int skip)
{
    return rv_check_field(p, "num_hidden_layers", c->layers, 1, 256) &&
           rv_check_field(p, "hidden_size", c->hidden_size, 1, RV_MAX_CHANNELS) &&
           rv_check_field(p, "intermediate_size", c->intermediate_size, 1, 4 * RV_MAX_CHANNELS) &&
           rv_check_field(p, "projection_dim", c->projection_dim, 0, RV_MAX_CHANNELS) &&
           rv_check_field(p, "vocab_size", c->vocab_size, 1, 1 << 24) &&
           rv_check_field(p, "layers to skip", skip, 0, c->layers);
}

/* Pre-norm residual block; x [n,1,tokens,hidden] */
static RvTensor
layer(RvProgram *p, const RvClipConfig *c, RvTensor x)
{
    const int width = c->hidden_size;
    const RvAct act = c->act == RV_HIDDEN_GELU ? RV_ACT_GELU : RV_ACT_QUICK_GELU;
    RvTensor h = rv_layer_norm(p, x, "layer_norm1", (RvNorm) { .eps = c->layer_norm_eps });
    rv_program_enter(p, "self_attn");
    RvTensor qkv =
        rv_linear(p, h, "q_proj|k_proj|v_proj", (RvLinear) { .out = width }); /* [n,1,tokens,3*hidden] */
    h = rv_attention(p, rv_slice(p, qkv, 0, width), rv_slice(p, qkv, width, width),
                     rv_slice(p, qkv, 2 * width, width), (RvAttention) { .heads = c->heads, .causal = true });
    x = rv_linear(p, h, "out_proj", (RvLinear) { .out = width, .add = x });
    rv_program_leave(p);

    h = rv_layer_norm(p, x, "layer_norm2", (RvNorm) { .eps = c->layer_norm_eps });
    rv_program_enter(p, "mlp");
    h = rv_linear(p, h, "fc1", (RvLinear) { .out = c->intermediate_size, .act = act });
    x = rv_linear(p, h, "fc2", (RvLinear) { .out = width, .add = x });
    rv_program_leave(p);
    return x;
}

static RvTensor
final_norm(RvProgram *p, const RvClipConfig *c, RvTensor x)
{
    return rv_layer_norm(p, x, "text_model.final_layer_norm", (RvNorm) { .eps = c->layer_norm_eps });
}

/* The norm works token by token, so the end token is picked before it. */
static RvTensor
pooled(RvProgram *p, const RvClipConfig *c, RvTensor x, RvTensor end)
{
    x = final_norm(p, c, rv_pick(p, x, end)); /* [n,1,1,hidden] */
    if (c->projection_dim > 0)
        x = rv_linear(p, x, "text_projection", (RvLinear) { .out = c->projection_dim, .no_bias = true });
    return x;
}

RvClipOutputs
rv_clip_record(RvProgram *p, const RvClipConfig *c, const RvClipInputs *in)
{
    RvClipOutputs out = { 0 };
    if (!check(p, c, in->skip))
        return out;
    const int hidden_layers = c->layers - in->skip, layers = rv_is_none(in->end) ? hidden_layers : c->layers;

    rv_program_enter(p, "text_model.embeddings");
    RvTensor x = rv_embed(p, in->ids, "token_embedding", c->vocab_size, c->hidden_size, "position_embedding");
    rv_program_leave(p);
    if (!rv_is_none(in->edits))
        x = rv_add(p, x, in->edits);
    for (int i = 0;; i++) {
        if (i == hidden_layers)
            out.hidden = in->is_hidden_normalised ? final_norm(p, c, x) : x;
        if (i == layers)
            break;
        rv_program_enter(p, "text_model.encoder.layers.%d", i);
        x = layer(p, c, x);
        rv_program_leave(p);
    }
    if (!rv_is_none(in->end))
        out.pooled = pooled(p, c, x, in->end);
    return out;
}
