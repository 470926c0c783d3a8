#include "registration_order.h"
#include <glib.h>
#include <stdlib.h>
#include <string.h>

/* One list does for all networks: no two of them register two children of the same names in different orders.
 * Children that never share a parent may stand anywhere. */
static const char *const order[] = {
    /* transformers: CLIPTextModel */
    "text_model", "text_projection", "embeddings", "token_embedding", "position_embedding",
    /* autoencoders' sides; "encoder" is also CLIP's stack of layers */
    "encoder", "decoder", "quant_conv", "post_quant_conv", "final_layer_norm", "layers", "self_attn",
    "k_proj", "v_proj", "q_proj", "out_proj", "layer_norm1", "mlp", "fc1", "fc2", "layer_norm2",
    /* UNet2DConditionModel and ControlNetModel; the middle comes after the ways down and up */
    "conv_in", "blocks", "time_embedding", "add_embedding", "linear_1", "linear_2",
    "controlnet_cond_embedding", "down_blocks", "controlnet_down_blocks", "controlnet_mid_block", "up_blocks",
    "mid_block", "conv_norm_out", "conv_out",
    /* their blocks */
    "attentions", "resnets", "downsamplers", "upsamplers", "norm", "proj_in", "transformer_blocks",
    "proj_out",
    /* ResNets and transformer blocks */
    "norm1", "conv1", "time_emb_proj", "attn1", "norm2", "conv2", "conv_shortcut", "attn2", "norm3", "ff",
    "net", "proj", "conv",
    /* attention */
    "group_norm", "to_q", "to_k", "to_v", "to_out",
    /* a module's own parameters */
    "weight", "bias"
};

static int
rank_of(const char *child, gsize length)
{
    for (guint i = 0; i < G_N_ELEMENTS(order); i++)
        if (strlen(order[i]) == length && strncmp(order[i], child, length) == 0)
            return (int)i;
    g_error("registration_order: no such module: %s", child);
}

int
registration_order(const char *a, const char *b)
{
    for (;;) {
        const gsize a_length = strcspn(a, "."), b_length = strcspn(b, ".");
        if (a_length != b_length || strncmp(a, b, a_length) != 0) {
            if (g_ascii_isdigit(*a) && g_ascii_isdigit(*b))
                return atoi(a) - atoi(b);
            return rank_of(a, a_length) - rank_of(b, b_length);
        }
        if (a[a_length] == '\0')
            return 0;
        a += a_length + 1;
        b += b_length + 1;
    }
}
