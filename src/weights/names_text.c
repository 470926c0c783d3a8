/* CLIP text encoders: transformers' names with or without "text_model.", OpenCLIP's names (fused query, key
 * and value; the projection stored [width, projection]), and the mixture that the public conversion script
 * writes for Stable Diffusion 2. */
#include "weights/names.h"
#include <string.h>

RvCanon
rv_canon_clip(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    *view = RV_VIEW_WHOLE;
    if (g_str_has_prefix(name, "text_model."))
        name += 11;
    if (!strcmp(name, "embeddings.position_ids") || !strcmp(name, "logit_scale"))
        return RV_CANON_IGNORE;
    if (!strcmp(name, "text_projection.weight")) {
        g_string_append(out, name);
        return RV_CANON_OK;
    }
    g_string_append_printf(out, "text_model.%s", name);
    return g_str_has_prefix(name, "embeddings.") || g_str_has_prefix(name, "encoder.") ||
                   g_str_has_prefix(name, "final_layer_norm.")
               ? RV_CANON_OK
               : RV_CANON_UNKNOWN;
}

static RvCanon
canon_block(const char *name, GString *out, RvView *view)
{
    static const char *const pairs[][2] = {
        { "ln_1.", "layer_norm1." },
        { "ln_2.", "layer_norm2." },
        { "mlp.c_fc.", "mlp.fc1." },
        { "mlp.c_proj.", "mlp.fc2." },
        { "attn.out_proj.", "self_attn.out_proj." },
    };
    if (!strcmp(name, "attn.in_proj_weight") || !strcmp(name, "attn.in_proj_bias")) {
        *view = RV_VIEW_THIRDS;
        g_string_append_printf(out, "self_attn.%%s.%s", name + strlen("attn.in_proj_"));
        return RV_CANON_OK;
    }
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out) ? RV_CANON_OK : RV_CANON_UNKNOWN;
}

RvCanon
rv_canon_openclip(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    static const char *const pairs[][2] = {
        { "token_embedding.", "text_model.embeddings.token_embedding." },
        { "positional_embedding", "text_model.embeddings.position_embedding.weight" },
        { "ln_final.", "text_model.final_layer_norm." },
        { "text_model.", "text_model." },
        { "text_projection.weight", "text_projection.weight" },
    };
    int layer;
    *view = RV_VIEW_WHOLE;
    if (!strcmp(name, "logit_scale") || !strcmp(name, "attn_mask") ||
        !strcmp(name, "text_model.embeddings.position_ids"))
        return RV_CANON_IGNORE;
    if (!strcmp(name, "text_projection")) {
        *view = RV_VIEW_TRANSPOSED;
        g_string_append(out, "text_projection.weight");
        return RV_CANON_OK;
    }
    const char *at = name;
    if (g_str_has_prefix(at, "transformer."))
        at += 12;
    if (rv_take_number(&at, "resblocks.", &layer)) {
        if (layer > naming->last_layer)
            return RV_CANON_IGNORE;
        g_string_append_printf(out, "text_model.encoder.layers.%d.", layer);
        return canon_block(at, out, view);
    }
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out) ? RV_CANON_OK : RV_CANON_UNKNOWN;
}
