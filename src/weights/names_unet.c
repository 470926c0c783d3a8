/* LDM's UNet numbers its blocks in one row (input_blocks.0 ...); diffusers counts levels and ResNets.
 * The row's structure is read off the names themselves, so that any depth and width works. */
#include "weights/names.h"
#include <string.h>

static bool
has(const RvNaming *naming, const char *row, int block, const char *rest)
{
    g_autofree char *name = g_strdup_printf("%s.%d.%s", row, block, rest);
    return g_hash_table_contains(naming->raw, name);
}

bool
rv_naming_is_ldm_unet(const RvNaming *naming)
{
    return g_hash_table_contains(naming->raw, "input_blocks.0.0.weight");
}

void
rv_naming_scan_unet(RvNaming *naming)
{
    int level = 0, index = 0, n;
    for (n = 1; n < RV_MAX_BLOCKS; n++) {
        bool down = has(naming, "input_blocks", n, "0.op.weight");
        if (!down && !has(naming, "input_blocks", n, "0.in_layers.0.weight"))
            break;
        naming->input[n] = (RvLdmBlock) { level, index, .downsampler = down };
        index = down ? 0 : index + 1;
        level += down;
    }
    naming->inputs = n;
    level = index = 0;
    for (n = 0; n < RV_MAX_BLOCKS && has(naming, "output_blocks", n, "0.in_layers.0.weight"); n++) {
        int up = has(naming, "output_blocks", n, "1.conv.weight")   ? 1
                 : has(naming, "output_blocks", n, "2.conv.weight") ? 2
                                                                    : 0;
        naming->output[n] = (RvLdmBlock) { level, index, .upsampler = up };
        index = up ? 0 : index + 1;
        level += up > 0;
    }
    naming->outputs = n;
    naming->middle_without_attention =
        g_hash_table_contains(naming->raw, "middle_block.1.in_layers.0.weight");
}

/* The inside of a ResNet block. */
static bool
canon_resnet(const char *name, GString *out)
{
    static const char *const pairs[][2] = {
        { "in_layers.0.", "norm1." },          { "in_layers.2.", "conv1." },
        { "emb_layers.1.", "time_emb_proj." }, { "out_layers.0.", "norm2." },
        { "out_layers.3.", "conv2." },         { "skip_connection.", "conv_shortcut." },
    };
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

static bool
canon_input(const char *name, const RvNaming *naming, int n, GString *out)
{
    int module;
    if (n == 0 && rv_take_number(&name, "", &module) && module == 0) {
        g_string_append_printf(out, "conv_in.%s", name);
        return true;
    }
    if (n <= 0 || n >= naming->inputs || !rv_take_number(&name, "", &module) || module > 1)
        return false;
    const RvLdmBlock *block = &naming->input[n];
    if (block->downsampler) {
        if (module != 0 || !g_str_has_prefix(name, "op."))
            return false;
        g_string_append_printf(out, "down_blocks.%d.downsamplers.0.conv.%s", block->level, name + 3);
        return true;
    }
    g_string_append_printf(out, "down_blocks.%d.%s.%d.", block->level, module ? "attentions" : "resnets",
                           block->index);
    if (module == 0)
        return canon_resnet(name, out);
    g_string_append(out, name);
    return true;
}

static bool
canon_output(const char *name, const RvNaming *naming, int n, GString *out)
{
    int module;
    if (n >= naming->outputs || !rv_take_number(&name, "", &module) || module > 2)
        return false;
    const RvLdmBlock *block = &naming->output[n];
    g_string_append_printf(out, "up_blocks.%d.", block->level);
    if (module > 0 && module == block->upsampler) {
        g_string_append_printf(out, "upsamplers.0.%s", name);
        return true;
    }
    if (module > 1)
        return false;
    g_string_append_printf(out, "%s.%d.", module ? "attentions" : "resnets", block->index);
    if (module == 0)
        return canon_resnet(name, out);
    g_string_append(out, name);
    return true;
}

static bool
canon_middle(const char *name, const RvNaming *naming, int module, GString *out)
{
    if (module == 1 && !naming->middle_without_attention) {
        g_string_append_printf(out, "mid_block.attentions.0.%s", name);
        return true;
    }
    if (module > 2)
        return false;
    g_string_append_printf(out, "mid_block.resnets.%d.", module ? 1 : 0);
    return canon_resnet(name, out);
}

static bool
canon_ldm(const char *name, const RvNaming *naming, GString *out)
{
    static const char *const pairs[][2] = {
        { "time_embed.0.", "time_embedding.linear_1." },
        { "time_embed.2.", "time_embedding.linear_2." },
        { "time_embed.cond_proj.", "time_embedding.cond_proj." },
        { "label_emb.0.0.", "add_embedding.linear_1." },
        { "label_emb.0.2.", "add_embedding.linear_2." },
        { "out.0.", "conv_norm_out." },
        { "out.2.", "conv_out." },
    };
    int n;
    if (rv_take_number(&name, "input_blocks.", &n))
        return canon_input(name, naming, n, out);
    if (rv_take_number(&name, "middle_block.", &n))
        return canon_middle(name, naming, n, out);
    if (rv_take_number(&name, "output_blocks.", &n))
        return canon_output(name, naming, n, out);
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

RvCanon
rv_canon_unet(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    *view = RV_VIEW_WHOLE;
    if (naming->inputs > 0)
        return canon_ldm(name, naming, out) ? RV_CANON_OK : RV_CANON_UNKNOWN;
    g_string_append(out, name);
    return RV_CANON_OK;
}

/* The original ControlNet's own layers: the hint's encoder is a list of convolutions with activations between
 * them, at even numbers; the first and the last have names of their own. */
static bool
canon_control(const char *name, GString *out)
{
    int n;
    const char *at = name;
    if (rv_take_number(&at, "input_hint_block.", &n)) {
        if (n == 0)
            g_string_append_printf(out, "controlnet_cond_embedding.conv_in.%s", at);
        else if (n == 14)
            g_string_append_printf(out, "controlnet_cond_embedding.conv_out.%s", at);
        else
            g_string_append_printf(out, "controlnet_cond_embedding.blocks.%d.%s", n / 2 - 1, at);
        return n % 2 == 0 && n <= 14;
    }
    if (rv_take_number(&at, "zero_convs.", &n) && g_str_has_prefix(at, "0.")) {
        g_string_append_printf(out, "controlnet_down_blocks.%d.%s", n, at + 2);
        return true;
    }
    if (!g_str_has_prefix(name, "middle_block_out.0."))
        return false;
    g_string_append_printf(out, "controlnet_mid_block.%s", name + strlen("middle_block_out.0."));
    return true;
}

RvCanon
rv_canon_controlnet(const char *name, const RvNaming *naming, GString *out, RvView *view)
{
    *view = RV_VIEW_WHOLE;
    if (naming->inputs == 0)
        return rv_canon_unet(name, naming, out, view);
    return canon_control(name, out) || canon_ldm(name, naming, out) ? RV_CANON_OK : RV_CANON_UNKNOWN;
}
