#include "engine/random_model.h"

#include <string.h>

#include "base/error.h"

static const RvClipConfig clip_l = {
    .vocab_size = 49408,
    .hidden_size = 768,
    .intermediate_size = 3072,
    .layers = 12,
    .heads = 12,
    .positions = 77,
    .act = RV_HIDDEN_QUICK_GELU,
    .layer_norm_eps = 1e-5f,
    .bos_token_id = 49406,
    .eos_token_id = 49407,
};
static const RvClipConfig clip_h = {
    .vocab_size = 49408,
    .hidden_size = 1024,
    .intermediate_size = 4096,
    .layers = 23,
    .heads = 16,
    .positions = 77,
    .act = RV_HIDDEN_GELU,
    .layer_norm_eps = 1e-5f,
    .bos_token_id = 49406,
    .eos_token_id = 49407,
};
static const RvClipConfig clip_g = {
    .vocab_size = 49408,
    .hidden_size = 1280,
    .intermediate_size = 5120,
    .layers = 32,
    .heads = 20,
    .positions = 77,
    .projection_dim = 1280,
    .act = RV_HIDDEN_GELU,
    .layer_norm_eps = 1e-5f,
    .bos_token_id = 49406,
    .eos_token_id = 49407,
};
static const RvUnetConfig unet_sd15 = {
    .in_channels = 4,
    .out_channels = 4,
    .levels = 4,
    .channels = { 320, 640, 1280, 1280 },
    .layers_per_block = { 2, 2, 2, 2 },
    .depth = { 1, 1, 1, 0 },
    .up_depth = { 1, 1, 1, 0 },
    .mid_depth = 1,
    .heads = { 8, 8, 8, 8 },
    .cross_attention_dim = 768,
    .norm_groups = 32,
    .norm_eps = 1e-5f,
    .flip_sin_to_cos = true,
};
static const RvUnetConfig unet_sd21 = {
    .in_channels = 4,
    .out_channels = 4,
    .levels = 4,
    .channels = { 320, 640, 1280, 1280 },
    .layers_per_block = { 2, 2, 2, 2 },
    .depth = { 1, 1, 1, 0 },
    .up_depth = { 1, 1, 1, 0 },
    .mid_depth = 1,
    .heads = { 5, 10, 20, 20 },
    .cross_attention_dim = 1024,
    .norm_groups = 32,
    .norm_eps = 1e-5f,
    .linear_projection = true,
    .flip_sin_to_cos = true,
};
static const RvUnetConfig unet_sdxl = {
    .in_channels = 4,
    .out_channels = 4,
    .levels = 3,
    .channels = { 320, 640, 1280 },
    .layers_per_block = { 2, 2, 2 },
    .depth = { 0, 2, 10 },
    .up_depth = { 0, 2, 10 },
    .mid_depth = 10,
    .heads = { 5, 10, 20 },
    .cross_attention_dim = 2048,
    .norm_groups = 32,
    .norm_eps = 1e-5f,
    .linear_projection = true,
    .flip_sin_to_cos = true,
    .addition_time_embed_dim = 256,
    .time_ids = 6,
    .pooled_dim = 1280,
};
static const RvVaeConfig vae_sd = {
    .in_channels = 3,
    .out_channels = 3,
    .latent_channels = 4,
    .levels = 4,
    .channels = { 128, 256, 512, 512 },
    .layers_per_block = 2,
    .norm_groups = 32,
    .scaling_factor = 0.18215f,
    .has_quant_conv = true,
    .has_post_quant_conv = true,
    .mid_attention = true,
};
static const RvTaesdConfig taesd_sd = {
    .latent_channels = 4,
    .levels = 4,
    .encoder_channels = { 64, 64, 64, 64 },
    .encoder_blocks = { 1, 3, 3, 3 },
    .decoder_channels = { 64, 64, 64, 64 },
    .decoder_blocks = { 3, 3, 3, 1 },
    .scaling_factor = 1.0f,
};

bool
rv_random_model_init(RvRandomModel *model, const char *family, GError **error)
{
    *model = (RvRandomModel) { .text = clip_l, .vae = vae_sd, .taesd = taesd_sd };
    model->traits.family_name = family;
    model->traits.is_folder = true;
    if (strcmp(family, "sd15") == 0) {
        model->traits.family = RV_FAMILY_SD15;
        model->unet = unet_sd15;
    } else if (strcmp(family, "sd21") == 0) {
        model->traits.family = RV_FAMILY_SD21;
        model->traits.prediction = RV_MODEL_PREDICTION_V;
        model->text = clip_h;
        model->unet = unet_sd21;
    } else if (strcmp(family, "sdxl") == 0) {
        model->traits.family = RV_FAMILY_SDXL;
        model->traits.variant = RV_VARIANT_TURBO;
        model->text2 = clip_g;
        model->has_text2 = true;
        model->unet = unet_sdxl;
        model->vae.scaling_factor = 0.13025f;
        model->is_tiny_usual = true;
    } else {
        return rv_error_set(error, RV_ERROR_USAGE, "--random", "use sdxl, sd15, sd21 or mini",
                            "there is no family \"%s\"", family);
    }
    return true;
}
