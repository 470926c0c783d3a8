/* Configs read off canonical names and shapes, for files that come without config.json. Head counts cannot be
 * seen in shapes: the families' own rules fill them in. */
#include "base/error.h"
#include "weights/config_read.h"
#include <string.h>

typedef struct {
    const RvNames *names;
    RvPart part;
} Looker;

/* One dimension of a tensor: 0 when there is no such tensor or dimension, or the number is absurd. */
static int dim(const Looker *l, int index, const char *format, ...) G_GNUC_PRINTF(3, 4);

static int
dim(const Looker *l, int index, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *name = g_strdup_vprintf(format, args);
    va_end(args);
    const RvBinding *binding = rv_names_find(l->names, l->part, name);
    if (!binding || !binding->readable || index >= binding->array.rank)
        return 0;
    gint64 value = binding->array.shape[index];
    return value > 0 && value <= (1 << 22) ? (int)value : 0;
}

static void
deduce_clip(const Looker *l, const RvGuess *guess, RvClipConfig *c)
{
    c->vocab_size = dim(l, 0, "text_model.embeddings.token_embedding.weight");
    c->hidden_size = dim(l, 1, "text_model.embeddings.token_embedding.weight");
    c->positions = dim(l, 0, "text_model.embeddings.position_embedding.weight");
    c->intermediate_size = dim(l, 0, "text_model.encoder.layers.0.mlp.fc1.weight");
    while (c->layers < 256 && dim(l, 0, "text_model.encoder.layers.%d.mlp.fc1.weight", c->layers))
        c->layers++;
    c->heads = MAX(1, c->hidden_size / 64);
    c->projection_dim = l->part == RV_PART_TEXT2 ? dim(l, 0, "text_projection.weight") : 0;
    c->act = guess->quick_gelu ? RV_HIDDEN_QUICK_GELU : RV_HIDDEN_GELU;
    c->layer_norm_eps = 1e-5f;
    c->bos_token_id = c->eos_token_id = -1;
}

static int
count_depth(const Looker *l, const char *path)
{
    int depth = 0;
    while (depth < 64 && dim(l, 0, "%s.attentions.0.transformer_blocks.%d.norm1.weight", path, depth))
        depth++;
    return depth;
}

static void
deduce_unet_level(const Looker *l, const RvGuess *guess, RvUnetConfig *c, int level)
{
    g_autofree char *path = g_strdup_printf("down_blocks.%d", level);
    int layers = 0;
    c->channels[level] = dim(l, 0, "%s.resnets.0.conv1.weight", path);
    while (layers < 16 && dim(l, 0, "%s.resnets.%d.conv1.weight", path, layers))
        layers++;
    c->layers_per_block[level] = layers;
    c->depth[level] = count_depth(l, path);
    c->heads[level] = guess->is_sd15 ? 8 : MAX(1, c->channels[level] / 64);
    if (c->depth[level] && !c->cross_attention_dim) {
        c->cross_attention_dim = dim(l, 1, "%s.attentions.0.transformer_blocks.0.attn2.to_k.weight", path);
        c->linear_projection = !dim(l, 2, "%s.attentions.0.proj_in.weight", path);
    }
}

static void
deduce_unet(const Looker *l, const RvGuess *guess, RvUnetConfig *c)
{
    c->in_channels = dim(l, 1, "conv_in.weight");
    c->out_channels = dim(l, 0, "conv_out.weight");
    while (c->levels < RV_MAX_LEVELS && dim(l, 0, "down_blocks.%d.resnets.0.conv1.weight", c->levels))
        deduce_unet_level(l, guess, c, c->levels++);
    for (int i = 0; i < c->levels; i++) {
        g_autofree char *path = g_strdup_printf("up_blocks.%d", c->levels - 1 - i);
        c->up_depth[i] = count_depth(l, path);
    }
    c->mid_depth = dim(l, 0, "mid_block.resnets.0.conv1.weight") ? count_depth(l, "mid_block") : -1;
    c->norm_groups = 32;
    c->norm_eps = 1e-5f;
    c->flip_sin_to_cos = true;
    c->pooled_dim = dim(l, 1, "add_embedding.linear_1.weight");
    c->time_cond_proj_dim = dim(l, 1, "time_embedding.cond_proj.weight");
}

static void
deduce_controlnet(const Looker *l, const RvGuess *guess, RvControlnetConfig *c)
{
    deduce_unet(l, guess, &c->unet);
    c->unet.out_channels = c->unet.in_channels;
    c->conditioning_channels = dim(l, 1, "controlnet_cond_embedding.conv_in.weight");
    c->hint_channels[0] = dim(l, 0, "controlnet_cond_embedding.conv_in.weight");
    c->hint_levels = 1;
    for (int i = 1; i < RV_MAX_LEVELS; i++) {
        int channels = dim(l, 0, "controlnet_cond_embedding.blocks.%d.weight", 2 * i - 1);
        if (!channels)
            break;
        c->hint_channels[c->hint_levels++] = channels;
    }
}

static void
deduce_vae(const Looker *l, const RvGuess *guess, RvVaeConfig *c)
{
    c->in_channels = dim(l, 1, "encoder.conv_in.weight");
    c->out_channels = dim(l, 0, "decoder.conv_out.weight");
    c->latent_channels = dim(l, 1, "decoder.conv_in.weight");
    while (c->levels < RV_MAX_LEVELS &&
           (c->channels[c->levels] = dim(l, 0, "encoder.down_blocks.%d.resnets.0.conv1.weight", c->levels)) >
               0)
        c->levels++;
    while (c->layers_per_block < 16 &&
           dim(l, 0, "encoder.down_blocks.0.resnets.%d.conv1.weight", c->layers_per_block))
        c->layers_per_block++;
    c->norm_groups = 32;
    c->scaling_factor = guess->vae_scale;
    c->has_quant_conv = dim(l, 0, "quant_conv.weight") > 0;
    c->has_post_quant_conv = dim(l, 0, "post_quant_conv.weight") > 0;
    c->mid_attention = dim(l, 0, "decoder.mid_block.attentions.0.to_q.weight") > 0;
}

/* Walks a row of TAESD layers from `layer` on: blocks, then a convolution that ends the level; the side ends
 * with the first convolution that has a bias. `gap`: the decoder has a weightless upsampling before it. */
static int
walk_taesd(const Looker *l, const char *side, int layer, int gap, int *channels, int *blocks)
{
    for (int level = 0; level < RV_MAX_LEVELS; level++) {
        while (blocks[level] < 16 && dim(l, 0, "%s.layers.%d.conv.0.weight", side, layer)) {
            channels[level] = dim(l, 0, "%s.layers.%d.conv.0.weight", side, layer++);
            blocks[level]++;
        }
        if (dim(l, 0, "%s.layers.%d.bias", side, layer))
            return level + 1;
        layer += gap;
        if (!dim(l, 0, "%s.layers.%d.weight", side, layer))
            return 0;
        if (!channels[level])
            channels[level] = dim(l, 1, "%s.layers.%d.weight", side, layer);
        layer++;
    }
    return 0;
}

static void
deduce_taesd(const Looker *l, const RvGuess *guess, RvTaesdConfig *c)
{
    c->latent_channels = dim(l, 1, "decoder.layers.0.weight");
    int encoder = walk_taesd(l, "encoder", 1, 0, c->encoder_channels, c->encoder_blocks);
    int decoder = walk_taesd(l, "decoder", 2, 1, c->decoder_channels, c->decoder_blocks);
    c->levels = encoder == decoder ? encoder : 0;
    c->scaling_factor = 1;
}

/* The numbers without which no network can be drawn. */
static bool
is_whole(RvPart part, const RvConfig *c)
{
    const RvUnetConfig *unet = part == RV_PART_CONTROLNET ? &c->controlnet.unet : &c->unet;
    switch (part) {
    case RV_PART_TEXT:
    case RV_PART_TEXT2:
        return c->clip.vocab_size && c->clip.hidden_size && c->clip.positions >= 3 && c->clip.layers &&
               c->clip.intermediate_size && c->clip.hidden_size % c->clip.heads == 0;
    case RV_PART_UNET:
    case RV_PART_CONTROLNET:
        for (int i = 0; i < unet->levels; i++)
            if (unet->channels[i] % unet->norm_groups || unet->channels[i] % unet->heads[i])
                return false;
        if (part == RV_PART_CONTROLNET &&
            (!c->controlnet.conditioning_channels || !c->controlnet.hint_channels[0]))
            return false;
        return unet->in_channels && unet->in_channels <= 256 && unet->out_channels && unet->levels;
    case RV_PART_VAE:
        for (int i = 0; i < c->vae.levels; i++)
            if (c->vae.channels[i] % c->vae.norm_groups)
                return false;
        return c->vae.in_channels && c->vae.out_channels && c->vae.latent_channels &&
               c->vae.latent_channels <= 64 && c->vae.levels;
    case RV_PART_TAESD:
        return c->taesd.levels && c->taesd.latent_channels && c->taesd.latent_channels <= 64;
    case RV_PARTS:
        break;
    }
    return false;
}

bool
rv_config_deduce(const RvNames *names, RvPart part, const RvGuess *guess, RvConfig *out, const char *path,
                 GError **error)
{
    Looker l = { names, part };
    memset(out, 0, sizeof *out);
    if (part == RV_PART_TEXT || part == RV_PART_TEXT2)
        deduce_clip(&l, guess, &out->clip);
    else if (part == RV_PART_UNET)
        deduce_unet(&l, guess, &out->unet);
    else if (part == RV_PART_VAE)
        deduce_vae(&l, guess, &out->vae);
    else if (part == RV_PART_TAESD)
        deduce_taesd(&l, guess, &out->taesd);
    else
        deduce_controlnet(&l, guess, &out->controlnet);
    if (is_whole(part, out))
        return true;
    return rv_error_set(error, RV_ERROR_INVALID, path,
                        "use a complete file, or put the model's config folder beside it",
                        "the shapes of %s fit no network that we know", rv_part_name(part));
}
