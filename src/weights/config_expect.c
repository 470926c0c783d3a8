/* The list of tensors that each network has, from its config: the same walk as the networks themselves take
 * (diffusers' UNet2DConditionModel, AutoencoderKL, AutoencoderTiny, ControlNetModel; transformers'
 * CLIPTextModel). */
#include "weights/config_read.h"

typedef struct {
    RvExpect expect;
    void *user;
} Sink;

static void
put(const Sink *s, const char *path, const char *name, int rank, gint64 a, gint64 b, gint64 k)
{
    gint64 shape[] = { a, b, k, k };
    g_autofree char *full = g_strconcat(path, name, NULL);
    s->expect(s->user, full, rank, shape);
}

static void
put_vector(const Sink *s, const char *path, const char *name, int n)
{
    put(s, path, name, 1, n, 0, 0);
}

static void
put_norm(const Sink *s, const char *path, const char *name, int n)
{
    g_autofree char *weight = g_strconcat(name, ".weight", NULL), *bias = g_strconcat(name, ".bias", NULL);
    put_vector(s, path, weight, n);
    put_vector(s, path, bias, n);
}

static void
put_linear(const Sink *s, const char *path, const char *name, int in, int out)
{
    g_autofree char *weight = g_strconcat(name, ".weight", NULL), *bias = g_strconcat(name, ".bias", NULL);
    put(s, path, weight, 2, out, in, 0);
    put_vector(s, path, bias, out);
}

static void
put_conv(const Sink *s, const char *path, const char *name, int in, int out, int kernel)
{
    g_autofree char *weight = g_strconcat(name, ".weight", NULL), *bias = g_strconcat(name, ".bias", NULL);
    put(s, path, weight, 4, out, in, kernel);
    put_vector(s, path, bias, out);
}

static void
expect_clip(const Sink *s, const RvClipConfig *c)
{
    const int w = c->hidden_size;
    put(s, "text_model.embeddings.", "token_embedding.weight", 2, c->vocab_size, w, 0);
    put(s, "text_model.embeddings.", "position_embedding.weight", 2, c->positions, w, 0);
    for (int i = 0; i < c->layers; i++) {
        g_autofree char *path = g_strdup_printf("text_model.encoder.layers.%d.", i);
        put_norm(s, path, "layer_norm1", w);
        put_linear(s, path, "self_attn.q_proj", w, w);
        put_linear(s, path, "self_attn.k_proj", w, w);
        put_linear(s, path, "self_attn.v_proj", w, w);
        put_linear(s, path, "self_attn.out_proj", w, w);
        put_norm(s, path, "layer_norm2", w);
        put_linear(s, path, "mlp.fc1", w, c->intermediate_size);
        put_linear(s, path, "mlp.fc2", c->intermediate_size, w);
    }
    put_norm(s, "text_model.", "final_layer_norm", w);
    if (c->projection_dim)
        put(s, "", "text_projection.weight", 2, c->projection_dim, w, 0);
}

/* `time`: width of the time embedding, 0 for the autoencoder's blocks. */
static void
expect_resnet(const Sink *s, const char *path, int in, int out, int time)
{
    put_norm(s, path, "norm1", in);
    put_conv(s, path, "conv1", in, out, 3);
    if (time)
        put_linear(s, path, "time_emb_proj", time, out);
    put_norm(s, path, "norm2", out);
    put_conv(s, path, "conv2", out, out, 3);
    if (in != out)
        put_conv(s, path, "conv_shortcut", in, out, 1);
}

static void
expect_attention(const Sink *s, const char *path, const char *name, int width, int context)
{
    g_autofree char *inside = g_strconcat(path, name, ".", NULL);
    put(s, inside, "to_q.weight", 2, width, width, 0);
    put(s, inside, "to_k.weight", 2, width, context, 0);
    put(s, inside, "to_v.weight", 2, width, context, 0);
    put_linear(s, inside, "to_out.0", width, width);
}

static void
expect_transformer(const Sink *s, const char *path, const RvUnetConfig *c, int width, int depth)
{
    put_norm(s, path, "norm", width);
    put_conv(s, path, "proj_in", width, width, 1);
    for (int i = 0; i < depth; i++) {
        g_autofree char *inside = g_strdup_printf("%stransformer_blocks.%d.", path, i);
        put_norm(s, inside, "norm1", width);
        expect_attention(s, inside, "attn1", width, width);
        put_norm(s, inside, "norm2", width);
        expect_attention(s, inside, "attn2", width, c->cross_attention_dim);
        put_norm(s, inside, "norm3", width);
        put_linear(s, inside, "ff.net.0.proj", width, 8 * width);
        put_linear(s, inside, "ff.net.2", 4 * width, width);
    }
    put_conv(s, path, "proj_out", width, width, 1);
}

/* ResNet `index` of a level's block and the attention after it. */
static void
expect_layer(const Sink *s, const RvUnetConfig *c, const char *block, int index, int in, int out, int depth)
{
    g_autofree char *resnet = g_strdup_printf("%s.resnets.%d.", block, index);
    g_autofree char *attention = g_strdup_printf("%s.attentions.%d.", block, index);
    expect_resnet(s, resnet, in, out, 4 * c->channels[0]);
    if (depth > 0)
        expect_transformer(s, attention, c, out, depth);
}

static void
expect_unet_down(const Sink *s, const RvUnetConfig *c)
{
    const int time = 4 * c->channels[0], last = c->channels[c->levels - 1];
    put_conv(s, "", "conv_in", c->in_channels, c->channels[0], 3);
    put_linear(s, "time_embedding.", "linear_1", c->channels[0], time);
    put_linear(s, "time_embedding.", "linear_2", time, time);
    if (c->time_cond_proj_dim)
        put(s, "time_embedding.", "cond_proj.weight", 2, c->channels[0], c->time_cond_proj_dim, 0);
    if (c->pooled_dim) {
        put_linear(s, "add_embedding.", "linear_1", c->pooled_dim + c->time_ids * c->addition_time_embed_dim,
                   time);
        put_linear(s, "add_embedding.", "linear_2", time, time);
    }
    for (int level = 0, in = c->channels[0]; level < c->levels; level++) {
        g_autofree char *block = g_strdup_printf("down_blocks.%d", level);
        for (int i = 0; i < c->layers_per_block[level]; i++, in = c->channels[level])
            expect_layer(s, c, block, i, in, c->channels[level], c->depth[level]);
        g_autofree char *down = g_strconcat(block, ".downsamplers.0.", NULL);
        if (level < c->levels - 1)
            put_conv(s, down, "conv", c->channels[level], c->channels[level], 3);
    }
    if (c->mid_depth >= 0) {
        expect_resnet(s, "mid_block.resnets.0.", last, last, time);
        if (c->mid_depth > 0) { /* without attention diffusers' mid block is a single ResNet */
            expect_transformer(s, "mid_block.attentions.0.", c, last, c->mid_depth);
            expect_resnet(s, "mid_block.resnets.1.", last, last, time);
        }
    }
}

/* Each up ResNet takes the path's width plus a skip connection's: the down path's outputs in reverse. */
static void
expect_unet_up(const Sink *s, const RvUnetConfig *c)
{
    int path = c->channels[c->levels - 1];
    for (int level = c->levels - 1; level >= 0; level--) {
        g_autofree char *block = g_strdup_printf("up_blocks.%d", c->levels - 1 - level);
        const int out = c->channels[level], below = level > 0 ? c->channels[level - 1] : c->channels[0];
        for (int i = 0; i <= c->layers_per_block[level]; i++, path = out) {
            int skip = i < c->layers_per_block[level] ? out : below;
            expect_layer(s, c, block, i, path + skip, out, c->up_depth[level]);
        }
        g_autofree char *up = g_strconcat(block, ".upsamplers.0.", NULL);
        if (level > 0)
            put_conv(s, up, "conv", out, out, 3);
    }
    put_norm(s, "", "conv_norm_out", c->channels[0]);
    put_conv(s, "", "conv_out", c->channels[0], c->out_channels, 3);
}

static void
expect_controlnet(const Sink *s, const RvControlnetConfig *c)
{
    const RvUnetConfig *u = &c->unet;
    int residual = 0;
    expect_unet_down(s, u);
    put_conv(s, "controlnet_cond_embedding.", "conv_in", c->conditioning_channels, c->hint_channels[0], 3);
    for (int i = 0; i + 1 < c->hint_levels; i++) {
        g_autofree char *same = g_strdup_printf("blocks.%d", 2 * i),
                        *wider = g_strdup_printf("blocks.%d", 2 * i + 1);
        put_conv(s, "controlnet_cond_embedding.", same, c->hint_channels[i], c->hint_channels[i], 3);
        put_conv(s, "controlnet_cond_embedding.", wider, c->hint_channels[i], c->hint_channels[i + 1], 3);
    }
    put_conv(s, "controlnet_cond_embedding.", "conv_out", c->hint_channels[c->hint_levels - 1],
             u->channels[0], 3);
    for (int level = 0; level < u->levels; level++) {
        /* Level 0 also gives conv_in's output; every level but the last its downsampler's. */
        int count = u->layers_per_block[level] + (level == 0) + (level < u->levels - 1);
        for (int i = 0; i < count; i++) {
            g_autofree char *name = g_strdup_printf("controlnet_down_blocks.%d", residual++);
            put_conv(s, "", name, u->channels[level], u->channels[level], 1);
        }
    }
    put_conv(s, "", "controlnet_mid_block", u->channels[u->levels - 1], u->channels[u->levels - 1], 1);
}

static void
expect_vae_mid(const Sink *s, const char *side, int width, bool attention)
{
    g_autofree char *path = g_strconcat(side, "mid_block.", NULL);
    g_autofree char *first = g_strconcat(path, "resnets.0.", NULL),
                    *second = g_strconcat(path, "resnets.1.", NULL);
    expect_resnet(s, first, width, width, 0);
    if (attention) {
        g_autofree char *inside = g_strconcat(path, "attentions.0.", NULL);
        put_norm(s, inside, "group_norm", width);
        put_linear(s, inside, "to_q", width, width);
        put_linear(s, inside, "to_k", width, width);
        put_linear(s, inside, "to_v", width, width);
        put_linear(s, inside, "to_out.0", width, width);
    }
    expect_resnet(s, second, width, width, 0);
}

/* One side of the autoencoder; the levels' widths come in the order of the path. */
static void
expect_vae_levels(const Sink *s, const RvVaeConfig *c, bool decoder)
{
    const int n = c->levels, count = c->layers_per_block + decoder;
    int in = decoder ? c->channels[n - 1] : c->channels[0];
    for (int i = 0; i < n; i++) {
        int out = c->channels[decoder ? n - 1 - i : i];
        g_autofree char *block = g_strdup_printf("%s_blocks.%d", decoder ? "decoder.up" : "encoder.down", i);
        for (int k = 0; k < count; k++, in = out) {
            g_autofree char *resnet = g_strdup_printf("%s.resnets.%d.", block, k);
            expect_resnet(s, resnet, in, out, 0);
        }
        g_autofree char *resample =
            g_strdup_printf("%s.%s.0.", block, decoder ? "upsamplers" : "downsamplers");
        if (i < n - 1)
            put_conv(s, resample, "conv", out, out, 3);
    }
}

static void
expect_vae(const Sink *s, const RvVaeConfig *c)
{
    const int z = c->latent_channels, last = c->channels[c->levels - 1];
    put_conv(s, "encoder.", "conv_in", c->in_channels, c->channels[0], 3);
    expect_vae_levels(s, c, false);
    expect_vae_mid(s, "encoder.", last, c->mid_attention);
    put_norm(s, "encoder.", "conv_norm_out", last);
    put_conv(s, "encoder.", "conv_out", last, 2 * z, 3);
    if (c->has_quant_conv)
        put_conv(s, "", "quant_conv", 2 * z, 2 * z, 1);
    if (c->has_post_quant_conv)
        put_conv(s, "", "post_quant_conv", z, z, 1);
    put_conv(s, "decoder.", "conv_in", z, last, 3);
    expect_vae_mid(s, "decoder.", last, c->mid_attention);
    expect_vae_levels(s, c, true);
    put_norm(s, "decoder.", "conv_norm_out", c->channels[0]);
    put_conv(s, "decoder.", "conv_out", c->channels[0], c->out_channels, 3);
}

static void
expect_tiny_blocks(const Sink *s, const char *side, int *layer, int count, int width)
{
    for (int i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("%s.layers.%d.", side, (*layer)++);
        put_conv(s, path, "conv.0", width, width, 3);
        put_conv(s, path, "conv.2", width, width, 3);
        put_conv(s, path, "conv.4", width, width, 3);
    }
}

static void
expect_taesd(const Sink *s, const RvTaesdConfig *c)
{
    int layer = 1;
    put_conv(s, "encoder.layers.", "0", 3, c->encoder_channels[0], 3);
    for (int level = 0; level < c->levels; level++) {
        g_autofree char *name = g_strdup_printf("%d.weight", layer);
        if (level > 0) {
            put(s, "encoder.layers.", name, 4, c->encoder_channels[level], c->encoder_channels[level - 1], 3);
            layer++;
        }
        expect_tiny_blocks(s, "encoder", &layer, c->encoder_blocks[level], c->encoder_channels[level]);
    }
    g_autofree char *end = g_strdup_printf("%d", layer);
    put_conv(s, "encoder.layers.", end, c->encoder_channels[c->levels - 1], c->latent_channels, 3);

    layer = 2; /* layer 1 is the activation */
    put_conv(s, "decoder.layers.", "0", c->latent_channels, c->decoder_channels[0], 3);
    for (int level = 0; level < c->levels; level++) {
        bool last = level == c->levels - 1;
        expect_tiny_blocks(s, "decoder", &layer, c->decoder_blocks[level], c->decoder_channels[level]);
        layer += !last; /* the upsampling */
        g_autofree char *name = g_strdup_printf("%d", layer), *weight = g_strdup_printf("%d.weight", layer);
        if (last)
            put_conv(s, "decoder.layers.", name, c->decoder_channels[level], 3, 3);
        else
            put(s, "decoder.layers.", weight, 4, c->decoder_channels[level + 1], c->decoder_channels[level],
                3);
        layer++;
    }
}

void
rv_config_expect(RvPart part, const RvConfig *config, RvExpect expect, void *user)
{
    Sink s = { expect, user };
    switch (part) {
    case RV_PART_TEXT:
    case RV_PART_TEXT2:
        expect_clip(&s, &config->clip);
        break;
    case RV_PART_UNET:
        expect_unet_down(&s, &config->unet);
        expect_unet_up(&s, &config->unet);
        break;
    case RV_PART_VAE:
        expect_vae(&s, &config->vae);
        break;
    case RV_PART_TAESD:
        expect_taesd(&s, &config->taesd);
        break;
    case RV_PART_CONTROLNET:
        expect_controlnet(&s, &config->controlnet);
        break;
    case RV_PARTS:
        g_assert_not_reached();
    }
}

bool
rv_shapes_match(int rank, const gint64 *shape, int rank2, const gint64 *shape2)
{
    while (rank > 1 && shape[rank - 1] == 1)
        rank--;
    while (rank2 > 1 && shape2[rank2 - 1] == 1)
        rank2--;
    if (rank != rank2)
        return false;
    for (int i = 0; i < rank; i++)
        if (shape[i] != shape2[i])
            return false;
    return true;
}
