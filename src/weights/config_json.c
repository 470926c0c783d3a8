#include "base/error.h"
#include "weights/config_read.h"
#include "weights/json_file.h"
#include <string.h>

#define MAX_CHANNELS 16384
#define MAX_LAYERS 16 /* ResNets a level */
#define MAX_DEPTH 64  /* transformer blocks */

static void
read_clip(RvReader *r, RvClipConfig *c, bool projection)
{
    static const char *const needed[] = { "vocab_size", "hidden_size", "intermediate_size",
                                          "num_hidden_layers", "num_attention_heads" };
    for (gsize i = 0; i < G_N_ELEMENTS(needed); i++)
        if (rv_read_is_null(r, needed[i]))
            rv_reader_fail(r, needed[i], "is missing");
    c->vocab_size = (int)rv_read_int(r, "vocab_size", 49408, 1, 1 << 22);
    c->hidden_size = (int)rv_read_int(r, "hidden_size", 512, 1, MAX_CHANNELS);
    c->intermediate_size = (int)rv_read_int(r, "intermediate_size", 2048, 1, 8 * MAX_CHANNELS);
    c->layers = (int)rv_read_int(r, "num_hidden_layers", 12, 1, 256);
    c->heads = (int)rv_read_int(r, "num_attention_heads", 8, 1, 1024);
    c->positions = (int)rv_read_int(r, "max_position_embeddings", 77, 3, 4096);
    c->projection_dim = projection ? (int)rv_read_int(r, "projection_dim", 512, 1, MAX_CHANNELS) : 0;
    c->layer_norm_eps = (float)rv_read_double(r, "layer_norm_eps", 1e-5, 0, 1);
    c->bos_token_id = (int)rv_read_int(r, "bos_token_id", -1, -1, 1 << 22);
    c->eos_token_id = (int)rv_read_int(r, "eos_token_id", -1, -1, 1 << 22);
    const char *act = rv_read_string(r, "hidden_act", "quick_gelu");
    c->act = !strcmp(act, "quick_gelu") ? RV_HIDDEN_QUICK_GELU : RV_HIDDEN_GELU;
    rv_read_only(r, "hidden_act", "quick_gelu", "gelu");
    if (!r->error && c->hidden_size % c->heads)
        rv_reader_fail(r, "num_attention_heads", "does not divide hidden_size");
}

/* transformer_layers_per_block: a number, a list a level, or a list of lists whose inner numbers agree. */
static void
read_depths(RvReader *r, const char *key, int levels, int *depths)
{
    JsonNode *node = json_object_get_member(r->object, key);
    JsonArray *array = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    if (!array) {
        if (!rv_read_ints(r, key, depths, RV_MAX_LEVELS, levels, 0, MAX_DEPTH))
            for (int i = 0; i < levels; i++)
                depths[i] = 1;
        return;
    }
    if (json_array_get_length(array) != (guint)levels) {
        rv_reader_fail(r, key, "has not one entry a level");
        return;
    }
    for (int i = 0; i < levels && !r->error; i++) {
        JsonNode *element = json_array_get_element(array, (guint)i);
        g_autoptr(JsonObject) one = json_object_new();
        json_object_set_member(one, key, json_node_copy(element));
        RvReader inner = { one, r->path, NULL };
        int each[MAX_LAYERS] = { 0 };
        int count = rv_read_ints(&inner, key, each, MAX_LAYERS, 1, 0, MAX_DEPTH);
        for (int k = 1; k < count; k++)
            if (each[k] != each[0])
                rv_error_set(&inner.error, RV_ERROR_UNSUPPORTED, r->path, "use another model",
                             "\"%s\" differs inside a level", key);
        rv_reader_finish(&inner, &r->error);
        if (count == 0)
            rv_reader_fail(r, key, "has an empty entry");
        depths[i] = each[0];
    }
}

/* One flag a level from a list of block types; `with` is the type that has attention. */
static void
read_blocks(RvReader *r, const char *key, int levels, const char *with, const char *without, bool attention[])
{
    const char *types[RV_MAX_LEVELS] = { NULL };
    int count = rv_read_strings(r, key, types, RV_MAX_LEVELS);
    if (r->error)
        return;
    if (count != levels) {
        rv_reader_fail(r, key, "has not one entry a level");
        return;
    }
    for (int i = 0; i < levels; i++) {
        attention[i] = with && !strcmp(types[i], with);
        if (!attention[i] && strcmp(types[i], without) != 0 && !r->error)
            rv_error_set(&r->error, RV_ERROR_UNSUPPORTED, r->path, "use another model",
                         "\"%s\" has a \"%.64s\"", key, types[i]);
    }
}

static void
refuse_unsupported_unet(RvReader *r)
{
    rv_read_only(r, "class_embed_type", NULL, NULL);
    rv_read_only(r, "addition_embed_type", "text_time", NULL);
    rv_read_only(r, "encoder_hid_dim_type", NULL, NULL);
    rv_read_only(r, "time_embedding_type", "positional", NULL);
    rv_read_only(r, "resnet_time_scale_shift", "default", NULL);
    rv_read_only(r, "act_fn", "silu", "swish");
    rv_read_only(r, "attention_type", "default", NULL);
    static const char *const flags[] = { "dual_cross_attention", "center_input_sample",
                                         "resnet_skip_time_act", "class_embeddings_concat",
                                         "only_cross_attention" };
    for (gsize i = 0; i < G_N_ELEMENTS(flags); i++)
        if (rv_read_bool(r, flags[i], false) && !r->error)
            rv_error_set(&r->error, RV_ERROR_UNSUPPORTED, r->path, "use another model", "\"%s\" is true",
                         flags[i]);
}

static void
read_unet_path(RvReader *r, RvUnetConfig *c, bool up)
{
    bool attention[RV_MAX_LEVELS] = { false };
    int depths[RV_MAX_LEVELS] = { 0 }, reversed[RV_MAX_LEVELS] = { 0 }, n = c->levels;
    read_depths(r, "transformer_layers_per_block", n, depths);
    if (rv_read_is_null(r, "reverse_transformer_layers_per_block"))
        for (int i = 0; i < n; i++)
            reversed[i] = depths[n - 1 - i];
    else
        read_depths(r, "reverse_transformer_layers_per_block", n, reversed);
    read_blocks(r, "down_block_types", n, "CrossAttnDownBlock2D", "DownBlock2D", attention);
    for (int i = 0; i < n; i++)
        c->depth[i] = attention[i] ? depths[i] : 0;
    if (up) {
        read_blocks(r, "up_block_types", n, "CrossAttnUpBlock2D", "UpBlock2D", attention);
        for (int i = 0; i < n; i++)
            c->up_depth[n - 1 - i] = attention[i] ? reversed[i] : 0;
    }
    c->mid_depth = depths[n - 1];
    const char *mid = rv_read_string(r, "mid_block_type", NULL);
    if (!mid && json_object_has_member(r->object, "mid_block_type"))
        c->mid_depth = -1;
    else if (mid && !strcmp(mid, "UNetMidBlock2D"))
        c->mid_depth = 0;
    rv_read_only(r, "mid_block_type", "UNetMidBlock2DCrossAttn", "UNetMidBlock2D");
}

static void
check_unet(RvReader *r, const RvUnetConfig *c)
{
    for (int i = 0; i < c->levels && !r->error; i++) {
        if (c->channels[i] % c->norm_groups)
            rv_reader_fail(r, "norm_num_groups", "does not divide block_out_channels");
        if (c->channels[i] % c->heads[i])
            rv_reader_fail(r, "attention_head_dim", "does not divide block_out_channels");
    }
}

static void
read_unet(RvReader *r, RvUnetConfig *c, bool up)
{
    refuse_unsupported_unet(r);
    c->in_channels = (int)rv_read_int(r, "in_channels", 4, 1, 256);
    c->out_channels = (int)rv_read_int(r, "out_channels", 4, 1, 256);
    c->levels = rv_read_ints(r, "block_out_channels", c->channels, RV_MAX_LEVELS, 0, 1, MAX_CHANNELS);
    if (c->levels == 0) {
        rv_reader_fail(r, "block_out_channels", "is missing");
        return;
    }
    int n = rv_read_ints(r, "layers_per_block", c->layers_per_block, RV_MAX_LEVELS, c->levels, 1, MAX_LAYERS);
    for (int i = 0; n == 0 && i < c->levels; i++)
        c->layers_per_block[i] = 2;
    /* The name is a historical mistake of diffusers: it is the number of heads. */
    const char *heads =
        rv_read_is_null(r, "num_attention_heads") ? "attention_head_dim" : "num_attention_heads";
    int h = rv_read_ints(r, heads, c->heads, RV_MAX_LEVELS, c->levels, 1, 1024);
    for (int i = 0; h == 0 && i < c->levels; i++)
        c->heads[i] = 8;
    if ((n && n != c->levels) || (h && h != c->levels))
        rv_reader_fail(r, n && n != c->levels ? "layers_per_block" : heads, "has not one entry a level");
    read_unet_path(r, c, up);
    c->cross_attention_dim = (int)rv_read_int(r, "cross_attention_dim", 1280, 1, MAX_CHANNELS);
    c->norm_groups = (int)rv_read_int(r, "norm_num_groups", 32, 1, MAX_CHANNELS);
    c->norm_eps = (float)rv_read_double(r, "norm_eps", 1e-5, 0, 1);
    c->linear_projection = rv_read_bool(r, "use_linear_projection", false);
    c->flip_sin_to_cos = rv_read_bool(r, "flip_sin_to_cos", true);
    c->freq_shift = (float)rv_read_double(r, "freq_shift", 0, -1, 1);
    c->time_cond_proj_dim = (int)rv_read_int(r, "time_cond_proj_dim", 0, 0, MAX_CHANNELS);
    if (rv_read_string(r, "addition_embed_type", NULL)) {
        c->addition_time_embed_dim = (int)rv_read_int(r, "addition_time_embed_dim", 256, 1, MAX_CHANNELS);
        c->pooled_dim =
            (int)rv_read_int(r, "projection_class_embeddings_input_dim", 2816, 1, 4 * MAX_CHANNELS);
    }
    check_unet(r, c);
}

static void
read_controlnet(RvReader *r, RvControlnetConfig *c)
{
    static const int usual[] = { 16, 32, 96, 256 };
    read_unet(r, &c->unet, false);
    c->conditioning_channels = (int)rv_read_int(r, "conditioning_channels", 3, 1, 256);
    c->hint_levels = rv_read_ints(r, "conditioning_embedding_out_channels", c->hint_channels, RV_MAX_LEVELS,
                                  0, 1, MAX_CHANNELS);
    if (c->hint_levels == 0) {
        c->hint_levels = G_N_ELEMENTS(usual);
        memcpy(c->hint_channels, usual, sizeof usual);
    }
    c->global_pool_conditions = rv_read_bool(r, "global_pool_conditions", false);
}

static void
read_vae(RvReader *r, RvVaeConfig *c)
{
    bool unused[RV_MAX_LEVELS];
    c->in_channels = (int)rv_read_int(r, "in_channels", 3, 1, 16);
    c->out_channels = (int)rv_read_int(r, "out_channels", 3, 1, 16);
    c->latent_channels = (int)rv_read_int(r, "latent_channels", 4, 1, 64);
    c->levels = rv_read_ints(r, "block_out_channels", c->channels, RV_MAX_LEVELS, 0, 1, MAX_CHANNELS);
    c->layers_per_block = (int)rv_read_int(r, "layers_per_block", 1, 1, MAX_LAYERS);
    c->norm_groups = (int)rv_read_int(r, "norm_num_groups", 32, 1, MAX_CHANNELS);
    c->scaling_factor = (float)rv_read_double(r, "scaling_factor", 0.18215, 1e-6, 1e6);
    c->shift_factor = (float)rv_read_double(r, "shift_factor", 0, -1e6, 1e6);
    c->has_quant_conv = rv_read_bool(r, "use_quant_conv", true);
    c->has_post_quant_conv = rv_read_bool(r, "use_post_quant_conv", true);
    c->mid_attention = rv_read_bool(r, "mid_block_add_attention", true);
    rv_read_only(r, "act_fn", "silu", "swish");
    if (c->levels == 0) {
        rv_reader_fail(r, "block_out_channels", "is missing");
        return;
    }
    read_blocks(r, "down_block_types", c->levels, NULL, "DownEncoderBlock2D", unused);
    read_blocks(r, "up_block_types", c->levels, NULL, "UpDecoderBlock2D", unused);
    for (int i = 0; i < c->levels; i++)
        if (c->channels[i] % c->norm_groups)
            rv_reader_fail(r, "norm_num_groups", "does not divide block_out_channels");
}

static void
read_taesd(RvReader *r, RvTaesdConfig *c)
{
    int n[4];
    c->latent_channels = (int)rv_read_int(r, "latent_channels", 4, 1, 64);
    n[0] =
        rv_read_ints(r, "encoder_block_out_channels", c->encoder_channels, RV_MAX_LEVELS, 0, 1, MAX_CHANNELS);
    n[1] =
        rv_read_ints(r, "decoder_block_out_channels", c->decoder_channels, RV_MAX_LEVELS, 0, 1, MAX_CHANNELS);
    n[2] = rv_read_ints(r, "num_encoder_blocks", c->encoder_blocks, RV_MAX_LEVELS, 0, 0, MAX_LAYERS);
    n[3] = rv_read_ints(r, "num_decoder_blocks", c->decoder_blocks, RV_MAX_LEVELS, 0, 0, MAX_LAYERS);
    c->levels = n[0];
    c->scaling_factor = (float)rv_read_double(r, "scaling_factor", 1, 1e-6, 1e6);
    c->shift_factor = (float)rv_read_double(r, "shift_factor", 0, -1e6, 1e6);
    rv_read_only(r, "act_fn", "relu", NULL);
    if (rv_read_int(r, "in_channels", 3, 1, 16) != 3 || rv_read_int(r, "out_channels", 3, 1, 16) != 3)
        rv_reader_fail(r, "in_channels", "and out_channels are not 3");
    if (rv_read_int(r, "upsampling_scaling_factor", 2, 1, 16) != 2)
        rv_reader_fail(r, "upsampling_scaling_factor", "is not 2");
    for (int i = 0; i < 4; i++)
        if (n[i] == 0 || n[i] != n[0])
            rv_reader_fail(r, "encoder_block_out_channels", "and the other three lists are not equally long");
}

bool
rv_config_read(const char *path, RvPart part, RvConfig *out, GError **error)
{
    g_autoptr(JsonObject) object = rv_json_read(path, error);
    return object && rv_config_parse(object, path, part, out, error);
}

bool
rv_config_parse(JsonObject *object, const char *path, RvPart part, RvConfig *out, GError **error)
{
    RvReader r = { object, path, NULL };
    memset(out, 0, sizeof *out);
    switch (part) {
    case RV_PART_TEXT:
    case RV_PART_TEXT2:
        read_clip(&r, &out->clip, part == RV_PART_TEXT2);
        break;
    case RV_PART_UNET:
        read_unet(&r, &out->unet, true);
        break;
    case RV_PART_VAE:
        read_vae(&r, &out->vae);
        break;
    case RV_PART_TAESD:
        read_taesd(&r, &out->taesd);
        break;
    case RV_PART_CONTROLNET:
        read_controlnet(&r, &out->controlnet);
        break;
    case RV_PARTS:
        g_assert_not_reached();
    }
    return rv_reader_finish(&r, error);
}

void
rv_config_settle_pooled(RvUnetConfig *unet, int projection, bool refiner)
{
    const int width = unet->pooled_dim, rest = projection > 0 ? width - projection : 0;
    int each = unet->addition_time_embed_dim, ids = refiner ? 5 : 6;
    if (width == 0 || unet->time_ids > 0)
        return;
    if (each == 0 && rest > 0) {
        if (rest % ids)
            ids = 11 - ids; /* the other of the two */
        each = rest / ids;
    }
    if (each == 0)
        each = 256;
    if (rest > 0 && rest % each == 0)
        ids = rest / each;
    else if (width == 1280 + 5 * 256)
        ids = 5;
    if (ids > 64 || (gint64)ids * each >= width || each < 1)
        return;
    unet->addition_time_embed_dim = each;
    unet->time_ids = ids;
    unet->pooled_dim = width - ids * each;
}
