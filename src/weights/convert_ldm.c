/* From canonical names back to LDM's, for single files: the other direction of names_unet.c, names_vae.c and
 * names_text.c. */
#include "weights/convert_private.h"
#include <string.h>

typedef struct {
    const RvModel *model;
    RvPart part;
    const char *prefix;
    GArray *list;
    RvDType dtype;
} Writer;

static bool
ldm_resnet(const char *name, GString *out)
{
    static const char *const pairs[][2] = {
        { "norm1.", "in_layers.0." },          { "conv1.", "in_layers.2." },
        { "time_emb_proj.", "emb_layers.1." }, { "norm2.", "out_layers.0." },
        { "conv2.", "out_layers.3." },         { "conv_shortcut.", "skip_connection." },
    };
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

/* The inside of numbered block `n` of a row: a ResNet is module 0, attention module 1. */
static bool
ldm_layer(const char *row, int n, const char *name, GString *out)
{
    g_string_append_printf(out, "%s.%d.", row, n);
    if (g_str_has_prefix(name, "resnets.")) {
        g_string_append(out, "0.");
        return ldm_resnet(strchr(name + 8, '.') + 1, out);
    }
    g_string_append_printf(out, "1.%s", strchr(name + strlen("attentions."), '.') + 1);
    return true;
}

static bool
ldm_down(const RvUnetConfig *c, int level, const char *name, GString *out)
{
    const char *at = name;
    int n = 1, index;
    for (int l = 0; l < level; l++)
        n += c->layers_per_block[l] + 1;
    if (rv_take_number(&at, "resnets.", &index) || rv_take_number(&at, "attentions.", &index))
        return ldm_layer("input_blocks", n + index, name, out);
    g_string_append_printf(out, "input_blocks.%d.0.op.%s", n + c->layers_per_block[level],
                           name + strlen("downsamplers.0.conv."));
    return true;
}

static bool
ldm_up(const RvUnetConfig *c, int block, const char *name, GString *out)
{
    const char *at = name;
    int n = 0, index, level = c->levels - 1 - block;
    for (int l = c->levels - 1; l > level; l--)
        n += c->layers_per_block[l] + 1;
    if (rv_take_number(&at, "resnets.", &index) || rv_take_number(&at, "attentions.", &index))
        return ldm_layer("output_blocks", n + index, name, out);
    g_string_append_printf(out, "output_blocks.%d.%d.%s", n + c->layers_per_block[level],
                           c->up_depth[level] ? 2 : 1, name + strlen("upsamplers.0."));
    return true;
}

bool
rv_ldm_unet_name(const RvUnetConfig *c, const char *name, GString *out)
{
    static const char *const pairs[][2] = {
        { "conv_in.", "input_blocks.0.0." },
        { "time_embedding.linear_1.", "time_embed.0." },
        { "time_embedding.linear_2.", "time_embed.2." },
        { "time_embedding.cond_proj.", "time_embed.cond_proj." },
        { "add_embedding.linear_1.", "label_emb.0.0." },
        { "add_embedding.linear_2.", "label_emb.0.2." },
        { "mid_block.attentions.0.", "middle_block.1." },
        { "conv_norm_out.", "out.0." },
        { "conv_out.", "out.2." },
    };
    int n;
    if (rv_take_number(&name, "down_blocks.", &n))
        return ldm_down(c, n, name, out);
    if (rv_take_number(&name, "up_blocks.", &n))
        return ldm_up(c, n, name, out);
    if (rv_take_number(&name, "mid_block.resnets.", &n)) {
        g_string_append_printf(out, "middle_block.%d.", n == 0 ? 0 : c->mid_depth > 0 ? 2 : 1);
        return ldm_resnet(name, out);
    }
    return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
}

static bool
ldm_vae_resnet(const char *name, GString *out)
{
    g_autofree char *changed = g_str_has_prefix(name, "conv_shortcut.")
                                   ? g_strconcat("nin_shortcut.", name + 14, NULL)
                                   : g_strdup(name);
    g_string_append(out, changed);
    return true;
}

static bool
ldm_vae_side(const RvVaeConfig *c, const char *name, GString *out)
{
    static const char *const pairs[][2] = {
        { "conv_norm_out.", "norm_out." },
        { "mid_block.attentions.0.group_norm.", "mid.attn_1.norm." },
        { "mid_block.attentions.0.to_q.", "mid.attn_1.q." },
        { "mid_block.attentions.0.to_k.", "mid.attn_1.k." },
        { "mid_block.attentions.0.to_v.", "mid.attn_1.v." },
        { "mid_block.attentions.0.to_out.0.", "mid.attn_1.proj_out." },
        { "conv_in.", "conv_in." },
        { "conv_out.", "conv_out." },
    };
    int level, index;
    if (rv_take_number(&name, "mid_block.resnets.", &index)) {
        g_string_append_printf(out, "mid.block_%d.", index + 1);
        return ldm_vae_resnet(name, out);
    }
    bool down = rv_take_number(&name, "down_blocks.", &level);
    if (!down && !rv_take_number(&name, "up_blocks.", &level))
        return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
    g_string_append_printf(out, "%s.%d.", down ? "down" : "up", down ? level : c->levels - 1 - level);
    if (rv_take_number(&name, "resnets.", &index)) {
        g_string_append_printf(out, "block.%d.", index);
        return ldm_vae_resnet(name, out);
    }
    g_string_append_printf(out, "%s.%s", down ? "downsample" : "upsample",
                           name + strlen(down ? "downsamplers.0." : "upsamplers.0."));
    return true;
}

static bool
ldm_vae(const RvVaeConfig *c, const char *name, GString *out)
{
    if (g_str_has_prefix(name, "encoder.") || g_str_has_prefix(name, "decoder.")) {
        g_string_append_len(out, name, 8);
        return ldm_vae_side(c, name + 8, out);
    }
    g_string_append(out, name);
    return true;
}

/* OpenCLIP's name; `part_of_fused` is 1 for the query, 2 and 3 for key and value, 0 for others. */
static bool
ldm_openclip(const char *name, GString *out, int *part_of_fused)
{
    static const char *const block[][2] = {
        { "layer_norm1.", "ln_1." },
        { "layer_norm2.", "ln_2." },
        { "mlp.fc1.", "mlp.c_fc." },
        { "mlp.fc2.", "mlp.c_proj." },
        { "self_attn.out_proj.", "attn.out_proj." },
    };
    static const char *const pairs[][2] = {
        { "text_model.embeddings.token_embedding.", "token_embedding." },
        { "text_model.embeddings.position_embedding.weight", "positional_embedding" },
        { "text_model.final_layer_norm.", "ln_final." },
        { "text_projection.weight", "text_projection" },
    };
    static const char *const fused[] = { "self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj." };
    int layer;
    *part_of_fused = 0;
    if (!rv_take_number(&name, "text_model.encoder.layers.", &layer))
        return rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
    g_string_append_printf(out, "transformer.resblocks.%d.", layer);
    for (int i = 0; i < 3; i++) {
        if (g_str_has_prefix(name, fused[i])) {
            *part_of_fused = i + 1;
            g_string_append_printf(out, "attn.in_proj_%s", name + strlen(fused[i]));
            return true;
        }
    }
    return rv_replace_front(name, block, G_N_ELEMENTS(block), out);
}

/* Query, key and value come one after the other for weight and bias each; the query's entry waits for the
 * others. */
static void
add_to_fused(GArray *list, const char *name, const RvArray *array)
{
    for (guint i = list->len; i-- > 0;) {
        RvOutTensor *tensor = &g_array_index(list, RvOutTensor, i);
        if (!strcmp(tensor->spec.name, name)) {
            tensor->from[tensor->count++] = *array;
            tensor->spec.shape[0] += array->shape[0];
            return;
        }
    }
}

static void
write_openclip(Writer *w, const char *name, const RvArray *array)
{
    int part_of_fused;
    g_autoptr(GString) out = g_string_new(w->prefix);
    if (!ldm_openclip(name, out, &part_of_fused))
        return;
    if (part_of_fused > 1) {
        add_to_fused(w->list, out->str, array);
        return;
    }
    RvOutTensor *tensor = rv_out_tensors_add(w->list, g_strdup(out->str), array, w->dtype);
    if (!strcmp(name, "text_projection.weight") && array->rank == 2) {
        tensor->transposed = true;
        tensor->spec.shape[0] = array->shape[1];
        tensor->spec.shape[1] = array->shape[0];
    }
}

static void
write_one(void *user, const char *name, int rank, const gint64 *shape)
{
    Writer *w = user;
    RvArray array;
    bool openclip =
        w->part == RV_PART_TEXT2 || (w->part == RV_PART_TEXT && w->model->traits.family == RV_FAMILY_SD21);
    if (!rv_model_find(w->model, w->part, name, &array))
        return;
    if (openclip) {
        write_openclip(w, name, &array);
        return;
    }
    g_autoptr(GString) out = g_string_new(w->prefix);
    if (w->part == RV_PART_UNET)
        rv_ldm_unet_name(&w->model->config[w->part].unet, name, out);
    else if (w->part == RV_PART_VAE)
        ldm_vae(&w->model->config[w->part].vae, name, out);
    else
        g_string_append(out, name);
    RvOutTensor *tensor = rv_out_tensors_add(w->list, g_strdup(out->str), &array, w->dtype);
    if (w->part == RV_PART_VAE && strstr(name, "attentions.0.to_") && array.rank == 2) {
        tensor->spec.rank = 4; /* LDM's attention is made of 1x1 convolutions */
        tensor->spec.shape[2] = tensor->spec.shape[3] = 1;
    }
}

void
rv_ldm_add_part(const RvModel *model, RvPart part, GArray *list, RvDType dtype)
{
    bool xl = model->traits.family == RV_FAMILY_SDXL, sd21 = model->traits.family == RV_FAMILY_SD21;
    const char *const prefixes[RV_PARTS] = {
        [RV_PART_TEXT] = xl     ? "conditioner.embedders.0.transformer."
                         : sd21 ? "cond_stage_model.model."
                                : "cond_stage_model.transformer.",
        [RV_PART_TEXT2] =
            model->has[RV_PART_TEXT] ? "conditioner.embedders.1.model." : "conditioner.embedders.0.model.",
        [RV_PART_UNET] = "model.diffusion_model.",
        [RV_PART_VAE] = "first_stage_model.",
        [RV_PART_TAESD] = "taesd.",
        [RV_PART_CONTROLNET] = "",
    };
    Writer w = { model, part, prefixes[part], list, dtype };
    rv_config_expect(part, &model->config[part], write_one, &w);
}
