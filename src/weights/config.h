/* config.h - what a model part looks like: read from its config.json in a diffusers folder,
 * deduced from tensor names and shapes in a single file. Plain data; field names and meanings
 * are those of diffusers' and transformers' config files unless said otherwise. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_MAX_LEVELS 8

typedef enum { RV_HIDDEN_QUICK_GELU, RV_HIDDEN_GELU } RvHiddenAct;

/* CLIPTextModel, CLIPTextModelWithProjection */
typedef struct {
    int vocab_size, hidden_size, intermediate_size, layers, heads, positions; /* positions: 77 */
    int projection_dim; /* of text_projection, 0 when the part has none */
    RvHiddenAct act;
    float layer_norm_eps;
    int bos_token_id, eos_token_id; /* -1: not stated. transformers: eos 2 means "highest id" */
} RvClipConfig;

/* UNet2DConditionModel */
typedef struct {
    int in_channels, out_channels;
    int levels;
    int channels[RV_MAX_LEVELS];         /* block_out_channels */
    int layers_per_block[RV_MAX_LEVELS]; /* ResNets per down level; an up level has one more */
    int depth[RV_MAX_LEVELS];            /* transformer blocks after each ResNet; 0: no attention here */
    int up_depth[RV_MAX_LEVELS];         /* the same for the up path, indexed by level (not reversed) */
    int mid_depth;                       /* -1: no mid block at all */
    int heads[RV_MAX_LEVELS]; /* attention heads of the level (diffusers calls it attention_head_dim) */
    int cross_attention_dim;
    int norm_groups;
    float norm_eps;
    bool linear_projection; /* proj_in/proj_out are [c,c] rather than [c,c,1,1]: the numbers are the same */
    bool flip_sin_to_cos;
    float freq_shift;
    int addition_time_embed_dim; /* SDXL: width of each of the time ids' sinusoids; 0: none */
    int time_ids;                /* how many: 6 (SDXL), 5 (refiner), 0 */
    int pooled_dim;              /* width of the pooled text; 0: none */
    int time_cond_proj_dim;      /* LCM: width of the guidance-scale embedding; 0: none */
} RvUnetConfig;

/* ControlNetModel: a UNet's first half, plus the hint's encoder */
typedef struct {
    RvUnetConfig unet;
    int conditioning_channels;
    int hint_levels;
    int hint_channels[RV_MAX_LEVELS]; /* conditioning_embedding_out_channels */
    bool global_pool_conditions;
} RvControlnetConfig;

/* AutoencoderKL */
typedef struct {
    int in_channels, out_channels, latent_channels;
    int levels;
    int channels[RV_MAX_LEVELS];
    int layers_per_block; /* per down level; an up level has one more */
    int norm_groups;
    float scaling_factor, shift_factor;
    bool has_quant_conv, has_post_quant_conv, mid_attention;
} RvVaeConfig;

/* AutoencoderTiny (TAESD and its kin) */
typedef struct {
    int latent_channels;
    int levels;
    int encoder_channels[RV_MAX_LEVELS], encoder_blocks[RV_MAX_LEVELS];
    int decoder_channels[RV_MAX_LEVELS], decoder_blocks[RV_MAX_LEVELS];
    float scaling_factor, shift_factor;
} RvTaesdConfig;
