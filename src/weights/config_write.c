#include "weights/convert.h"
#include "weights/model_private.h"
#include <json-glib/json-glib.h>
#include <string.h>

static void
put_string(JsonObject *o, const char *key, const char *value)
{
    json_object_set_string_member(o, key, value);
}

static void
put_int(JsonObject *o, const char *key, int value)
{
    json_object_set_int_member(o, key, value);
}

static void
put_ints(JsonObject *o, const char *key, const int *values, int count, bool reversed)
{
    JsonArray *array = json_array_new();
    for (int i = 0; i < count; i++)
        json_array_add_int_element(array, values[reversed ? count - 1 - i : i]);
    json_object_set_array_member(o, key, array);
}

/* Shortest decimal that reads back as the same float. */
static void
put_float(JsonObject *o, const char *key, float value)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        g_autofree char *format = g_strdup_printf("%%.%dg", digits);
        g_ascii_formatd(text, sizeof text, format, value);
        if ((float)g_ascii_strtod(text, NULL) == value)
            break;
    }
    json_object_set_double_member(o, key, g_ascii_strtod(text, NULL));
}

static void
write_clip(JsonObject *o, const RvClipConfig *c)
{
    JsonArray *classes = json_array_new();
    json_array_add_string_element(classes,
                                  c->projection_dim ? "CLIPTextModelWithProjection" : "CLIPTextModel");
    json_object_set_array_member(o, "architectures", classes);
    put_string(o, "model_type", "clip_text_model");
    put_int(o, "vocab_size", c->vocab_size);
    put_int(o, "hidden_size", c->hidden_size);
    put_int(o, "intermediate_size", c->intermediate_size);
    put_int(o, "num_hidden_layers", c->layers);
    put_int(o, "num_attention_heads", c->heads);
    put_int(o, "max_position_embeddings", c->positions);
    put_int(o, "projection_dim", c->projection_dim ? c->projection_dim : c->hidden_size);
    put_string(o, "hidden_act", c->act == RV_HIDDEN_GELU ? "gelu" : "quick_gelu");
    put_float(o, "layer_norm_eps", c->layer_norm_eps);
    if (c->bos_token_id >= 0)
        put_int(o, "bos_token_id", c->bos_token_id);
    if (c->eos_token_id >= 0)
        put_int(o, "eos_token_id", c->eos_token_id);
}

static void
write_blocks(JsonObject *o, const char *key, const char *with, const char *without, const int *depth,
             int levels, bool reversed)
{
    JsonArray *types = json_array_new();
    for (int i = 0; i < levels; i++)
        json_array_add_string_element(types,
                                      depth && depth[reversed ? levels - 1 - i : i] > 0 ? with : without);
    json_object_set_array_member(o, key, types);
}

static void
write_unet(JsonObject *o, const RvUnetConfig *c, bool up)
{
    const int n = c->levels;
    int depth[RV_MAX_LEVELS], up_depth[RV_MAX_LEVELS];
    /* The mid block's depth is the last level's; a level without attention still needs a number there. */
    for (int i = 0; i < n; i++) {
        depth[i] = c->depth[i] ? c->depth[i] : i == n - 1 && c->mid_depth > 0 ? c->mid_depth : 1;
        up_depth[i] = c->up_depth[i] ? c->up_depth[i] : 1;
    }
    put_int(o, "in_channels", c->in_channels);
    put_int(o, "out_channels", c->out_channels);
    put_ints(o, "block_out_channels", c->channels, n, false);
    put_ints(o, "layers_per_block", c->layers_per_block, n, false);
    put_ints(o, "attention_head_dim", c->heads, n, false);
    put_ints(o, "transformer_layers_per_block", depth, n, false);
    write_blocks(o, "down_block_types", "CrossAttnDownBlock2D", "DownBlock2D", c->depth, n, false);
    if (up) {
        put_ints(o, "reverse_transformer_layers_per_block", up_depth, n, true);
        write_blocks(o, "up_block_types", "CrossAttnUpBlock2D", "UpBlock2D", c->up_depth, n, true);
    }
    if (c->mid_depth > 0)
        put_string(o, "mid_block_type", "UNetMidBlock2DCrossAttn");
    else if (c->mid_depth == 0)
        put_string(o, "mid_block_type", "UNetMidBlock2D");
    else
        json_object_set_null_member(o, "mid_block_type");
    put_int(o, "cross_attention_dim", c->cross_attention_dim);
    put_int(o, "norm_num_groups", c->norm_groups);
    put_float(o, "norm_eps", c->norm_eps);
    json_object_set_boolean_member(o, "use_linear_projection", c->linear_projection);
    json_object_set_boolean_member(o, "flip_sin_to_cos", c->flip_sin_to_cos);
    put_float(o, "freq_shift", c->freq_shift);
    if (c->time_cond_proj_dim)
        put_int(o, "time_cond_proj_dim", c->time_cond_proj_dim);
    if (c->pooled_dim) {
        put_string(o, "addition_embed_type", "text_time");
        put_int(o, "addition_time_embed_dim", c->addition_time_embed_dim);
        put_int(o, "projection_class_embeddings_input_dim",
                c->pooled_dim + c->time_ids * c->addition_time_embed_dim);
    }
}

static void
write_vae(JsonObject *o, const RvVaeConfig *c)
{
    put_int(o, "in_channels", c->in_channels);
    put_int(o, "out_channels", c->out_channels);
    put_int(o, "latent_channels", c->latent_channels);
    put_ints(o, "block_out_channels", c->channels, c->levels, false);
    put_int(o, "layers_per_block", c->layers_per_block);
    put_int(o, "norm_num_groups", c->norm_groups);
    write_blocks(o, "down_block_types", NULL, "DownEncoderBlock2D", NULL, c->levels, false);
    write_blocks(o, "up_block_types", NULL, "UpDecoderBlock2D", NULL, c->levels, false);
    put_float(o, "scaling_factor", c->scaling_factor);
    if (c->shift_factor != 0)
        put_float(o, "shift_factor", c->shift_factor);
    json_object_set_boolean_member(o, "use_quant_conv", c->has_quant_conv);
    json_object_set_boolean_member(o, "use_post_quant_conv", c->has_post_quant_conv);
    json_object_set_boolean_member(o, "mid_block_add_attention", c->mid_attention);
}

static void
write_taesd(JsonObject *o, const RvTaesdConfig *c)
{
    put_int(o, "in_channels", 3);
    put_int(o, "out_channels", 3);
    put_int(o, "latent_channels", c->latent_channels);
    put_ints(o, "encoder_block_out_channels", c->encoder_channels, c->levels, false);
    put_ints(o, "decoder_block_out_channels", c->decoder_channels, c->levels, false);
    put_ints(o, "num_encoder_blocks", c->encoder_blocks, c->levels, false);
    put_ints(o, "num_decoder_blocks", c->decoder_blocks, c->levels, false);
    put_string(o, "act_fn", "relu");
    put_float(o, "scaling_factor", c->scaling_factor);
    put_float(o, "shift_factor", c->shift_factor);
}

static void
write_controlnet(JsonObject *o, const RvControlnetConfig *c)
{
    write_unet(o, &c->unet, false);
    put_int(o, "conditioning_channels", c->conditioning_channels);
    put_ints(o, "conditioning_embedding_out_channels", c->hint_channels, c->hint_levels, false);
    json_object_set_boolean_member(o, "global_pool_conditions", c->global_pool_conditions);
}

char *
rv_model_config_json(const RvModel *model, RvPart part)
{
    static const char *const classes[] = {
        NULL, NULL, "UNet2DConditionModel", "AutoencoderKL", "AutoencoderTiny", "ControlNetModel"
    };
    if (!model->has[part])
        return NULL;
    const RvConfig *config = &model->config[part];
    JsonObject *o = json_object_new();
    if (classes[part])
        put_string(o, "_class_name", classes[part]);
    if (part == RV_PART_TEXT || part == RV_PART_TEXT2)
        write_clip(o, &config->clip);
    else if (part == RV_PART_UNET)
        write_unet(o, &config->unet, true);
    else if (part == RV_PART_VAE)
        write_vae(o, &config->vae);
    else if (part == RV_PART_TAESD)
        write_taesd(o, &config->taesd);
    else
        write_controlnet(o, &config->controlnet);
    g_autoptr(JsonNode) root = json_node_alloc();
    json_node_init_object(root, o);
    json_object_unref(o);
    return json_to_string(root, true);
}
