/* The autoencoders: LDM's VAE names and diffusers' older attention names become diffusers' current ones;
 * the original TAESD is a plain row of layers whose decoder begins with a clamp. */
#include "weights/names.h"
#include <string.h>

void
rv_naming_scan_vae(RvNaming *naming)
{
    for (int level = 0; level < RV_MAX_BLOCKS; level++) {
        g_autofree char *name = g_strdup_printf("decoder.up.%d.block.0.conv1.weight", level);
        if (!g_hash_table_contains(naming->raw, name))
            break;
        naming->vae_levels = level + 1;
    }
}

static bool
canon_resnet(const char *name, GString *out)
{
    static const char *const pairs[][2] = {
        { "nin_shortcut.", "conv_shortcut." },
        { "norm1.", "norm1." },
        { "conv1.", "conv1." },
        { "norm2.", "norm2." },
        { "conv2.", "conv2." },
    };
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

/* Attention was once a 1x1 convolution: its weights are shown as matrices. */
static bool
canon_attention(const char *name, GString *out, RvView *view)
{
    static const char *const pairs[][2] = {
        { "q.", "to_q." },          { "k.", "to_k." },
        { "v.", "to_v." },          { "proj_out.", "to_out.0." },
        { "query.", "to_q." },      { "key.", "to_k." },
        { "value.", "to_v." },      { "proj_attn.", "to_out.0." },
        { "norm.", "group_norm." }, { "group_norm.", "group_norm." },
        { "to_q.", "to_q." },       { "to_k.", "to_k." },
        { "to_v.", "to_v." },       { "to_out.0.", "to_out.0." },
    };
    *view = RV_VIEW_MATRIX;
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

static bool
canon_side(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    static const char *const rest[][2] = {
        { "norm_out.", "conv_norm_out." },
        { "conv_norm_out.", "conv_norm_out." },
        { "conv_in.", "conv_in." },
        { "conv_out.", "conv_out." },
    };
    const char *at = name;
    int level, index;
    if (rv_take_number(&at, "mid.block_", &index) && index >= 1) {
        g_string_append_printf(out, "mid_block.resnets.%d.", index - 1);
        return canon_resnet(at, out);
    }
    if (g_str_has_prefix(name, "mid.attn_1.")) {
        g_string_append(out, "mid_block.attentions.0.");
        return canon_attention(name + 11, out, view);
    }
    if (g_str_has_prefix(name, "mid_block.attentions.0.")) {
        g_string_append(out, "mid_block.attentions.0.");
        return canon_attention(name + 23, out, view);
    }
    bool down = rv_take_number(&at, "down.", &level), up = !down && rv_take_number(&at, "up.", &level);
    if (down || up) {
        if (up && level >= naming->vae_levels)
            return false;
        g_string_append_printf(out, "%s.%d.", down ? "down_blocks" : "up_blocks",
                               down ? level : naming->vae_levels - 1 - level);
        if (rv_take_number(&at, "block.", &index)) {
            g_string_append_printf(out, "resnets.%d.", index);
            return canon_resnet(at, out);
        }
        const char *resample = down ? "downsample." : "upsample.";
        if (!g_str_has_prefix(at, resample))
            return false;
        g_string_append_printf(out, "%s.0.%s", down ? "downsamplers" : "upsamplers", at + strlen(resample));
        return true;
    }
    if (rv_replace_front(name, rest, G_N_ELEMENTS(rest), out))
        return true;
    g_string_append(out, name);
    return g_str_has_prefix(name, "down_blocks.") || g_str_has_prefix(name, "up_blocks.") ||
           g_str_has_prefix(name, "mid_block.");
}

RvCanon
rv_canon_vae(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    *view = RV_VIEW_WHOLE;
    if (g_str_has_prefix(name, "loss."))
        return RV_CANON_IGNORE;
    if (g_str_has_prefix(name, "encoder.") || g_str_has_prefix(name, "decoder.")) {
        g_string_append_len(out, name, 8);
        return canon_side(name + 8, naming, out, view) ? RV_CANON_OK : RV_CANON_UNKNOWN;
    }
    g_string_append(out, name);
    return g_str_has_prefix(name, "quant_conv.") || g_str_has_prefix(name, "post_quant_conv.")
               ? RV_CANON_OK
               : RV_CANON_UNKNOWN;
}

RvCanon
rv_canon_taesd(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    g_autofree char *full = g_strconcat(naming->bare, name, NULL);
    const char *at = full;
    int layer;
    bool original = true, decoder = g_str_has_prefix(full, "decoder.");
    *view = RV_VIEW_WHOLE;
    if (!decoder && !g_str_has_prefix(full, "encoder."))
        return RV_CANON_UNKNOWN;
    at += 8;
    if (g_str_has_prefix(at, "layers.")) {
        at += 7;
        original = false;
    }
    if (!rv_take_number(&at, "", &layer))
        return RV_CANON_UNKNOWN;
    if (original && decoder && naming->decoder_shift && --layer < 0)
        return RV_CANON_UNKNOWN;
    g_string_append_printf(out, "%s.layers.%d.%s", decoder ? "decoder" : "encoder", layer, at);
    return RV_CANON_OK;
}
