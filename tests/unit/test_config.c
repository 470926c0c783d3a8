#include "base/error.h"
#include "tiny_model.h"
#include <string.h>

static const struct {
    RvPart part;
    const char *from, *to; /* in the part's good config */
    RvError code;
    const char *says;
} bad_configs[] = {
    { RV_PART_TEXT, "\"vocab_size\": 20", "\"vocab_size\": 0", RV_ERROR_INVALID, "vocab_size" },
    { RV_PART_TEXT, "\"vocab_size\": 20, ", "", RV_ERROR_INVALID, "is missing" },
    { RV_PART_TEXT, "\"hidden_size\": 8", "\"hidden_size\": 9223372036854775807", RV_ERROR_INVALID,
      "hidden_size" },
    { RV_PART_TEXT, "\"hidden_size\": 8", "\"hidden_size\": 1e300", RV_ERROR_INVALID, "hidden_size" },
    { RV_PART_TEXT, "\"hidden_size\": 8", "\"hidden_size\": 8.5", RV_ERROR_INVALID, "hidden_size" },
    { RV_PART_TEXT, "\"hidden_size\": 8", "\"hidden_size\": -8", RV_ERROR_INVALID, "hidden_size" },
    { RV_PART_TEXT, "\"hidden_size\": 8", "\"hidden_size\": \"8\"", RV_ERROR_INVALID, "hidden_size" },
    { RV_PART_TEXT, "\"num_attention_heads\": 2", "\"num_attention_heads\": 3", RV_ERROR_INVALID, "divide" },
    { RV_PART_TEXT, "\"quick_gelu\"", "\"relu\"", RV_ERROR_UNSUPPORTED, "relu" },
    { RV_PART_UNET, "[32, 64]", "[]", RV_ERROR_INVALID, "block_out_channels" },
    { RV_PART_UNET, "[32, 64]", "[32, 64, 64]", RV_ERROR_INVALID, "one entry a level" },
    { RV_PART_UNET, "[32, 64]", "[1,1,1,1,1,1,1,1,1,1,1,1]", RV_ERROR_INVALID, "block_out_channels" },
    { RV_PART_UNET, "[32, 64]", "[32, [64]]", RV_ERROR_INVALID, "block_out_channels" },
    { RV_PART_UNET, "[32, 64]", "[33, 64]", RV_ERROR_INVALID, "norm_num_groups" },
    { RV_PART_UNET, "[32, 64]", "[1000000000, 64]", RV_ERROR_INVALID, "block_out_channels" },
    { RV_PART_UNET, "\"attention_head_dim\": [2, 4]", "\"attention_head_dim\": 5", RV_ERROR_INVALID,
      "divide" },
    { RV_PART_UNET, "\"attention_head_dim\": [2, 4]", "\"attention_head_dim\": 0", RV_ERROR_INVALID,
      "attention" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"layers_per_block\": 1000000", RV_ERROR_INVALID,
      "layers_per_block" },
    { RV_PART_UNET, "\"DownBlock2D\"", "\"KDownBlock2D\"", RV_ERROR_UNSUPPORTED, "KDownBlock2D" },
    { RV_PART_UNET, "\"DownBlock2D\"", "null", RV_ERROR_INVALID, "down_block_types" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"transformer_layers_per_block\": [[1, 2], 1]",
      RV_ERROR_UNSUPPORTED, "differs inside" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"transformer_layers_per_block\": [[[[1]]], 1]",
      RV_ERROR_INVALID, "transformer_layers_per_block" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"class_embed_type\": \"projection\"", RV_ERROR_UNSUPPORTED,
      "projection" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"dual_cross_attention\": true", RV_ERROR_UNSUPPORTED,
      "dual" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"mid_block_type\": \"UNetMidBlock2DSimple\"",
      RV_ERROR_UNSUPPORTED, "mid_block" },
    { RV_PART_UNET, "\"layers_per_block\": 1", "\"norm_eps\": \"NaN\"", RV_ERROR_INVALID, "norm_eps" },
    { RV_PART_VAE, "[32, 32]", "null", RV_ERROR_INVALID, "block_out_channels" },
    { RV_PART_VAE, "\"layers_per_block\": 1", "\"scaling_factor\": 0", RV_ERROR_INVALID, "scaling_factor" },
    { RV_PART_VAE, "\"layers_per_block\": 1", "\"latent_channels\": 100000", RV_ERROR_INVALID,
      "latent_channels" },
    { RV_PART_TAESD, "[1, 2]", "[1, 2, 3]", RV_ERROR_INVALID, "equally long" },
    { RV_PART_TAESD, "relu", "silu", RV_ERROR_UNSUPPORTED, "silu" },
};

static void
test_bad_configs(void)
{
    g_autofree char *path = g_build_filename(tiny_folder, "config.json", NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(bad_configs); i++) {
        RvConfig config;
        g_autoptr(GError) error = NULL;
        g_auto(GStrv) around = g_strsplit(tiny_config(bad_configs[i].part), bad_configs[i].from, 2);
        g_assert_cmpuint(g_strv_length(around), ==, 2);
        g_autofree char *text = g_strconcat(around[0], bad_configs[i].to, around[1], NULL);
        g_assert_true(g_file_set_contents(path, text, -1, NULL));
        g_assert_false(rv_config_read(path, bad_configs[i].part, &config, &error));
        g_test_message("%s", error->message);
        g_assert_error(error, RV_ERROR, (int)bad_configs[i].code);
        g_assert_nonnull(strstr(error->message, bad_configs[i].says));
        g_assert_null(strchr(error->message, '\n'));
    }
    g_autoptr(GString) deep = g_string_new("{\"a\":");
    for (int i = 0; i < 1000000; i++)
        g_string_append_c(deep, '[');
    g_assert_true(g_file_set_contents(path, deep->str, -1, NULL));
    RvConfig config;
    g_assert_false(rv_config_read(path, RV_PART_UNET, &config, NULL));
}

/* Lists where numbers may stand, and the up path's own depths. */
static void
test_config_forms(void)
{
    static const char json[] =
        "{\"block_out_channels\": [32, 64, 64], \"layers_per_block\": [1, 2, 3], \"attention_head_dim\": 8, "
        "\"num_attention_heads\": [1, 2, 4], \"down_block_types\": [\"DownBlock2D\", "
        "\"CrossAttnDownBlock2D\", "
        "\"CrossAttnDownBlock2D\"], \"up_block_types\": [\"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", "
        "\"UpBlock2D\"], "
        "\"transformer_layers_per_block\": [0, [2, 2], [4]], \"reverse_transformer_layers_per_block\": [[5, "
        "5], 3, 1], "
        "\"mid_block_type\": null, \"use_linear_projection\": true, \"cross_attention_dim\": 16.0}";
    g_autofree char *path = g_build_filename(tiny_folder, "config.json", NULL);
    g_autoptr(GError) error = NULL;
    RvConfig config;
    g_assert_true(g_file_set_contents(path, json, -1, NULL));
    rv_config_read(path, RV_PART_UNET, &config, &error);
    g_assert_no_error(error);
    const RvUnetConfig *u = &config.unet;
    g_assert_cmpint(u->heads[2], ==, 4);
    g_assert_cmpint(u->layers_per_block[2], ==, 3);
    g_assert_cmpint(u->depth[0], ==, 0);
    g_assert_cmpint(u->depth[1], ==, 2);
    g_assert_cmpint(u->depth[2], ==, 4);
    g_assert_cmpint(u->up_depth[2], ==, 5);
    g_assert_cmpint(u->up_depth[1], ==, 3);
    g_assert_cmpint(u->up_depth[0], ==, 0);
    g_assert_cmpint(u->mid_depth, ==, -1);
    g_assert_cmpint(u->cross_attention_dim, ==, 16);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tiny_begin();
    g_test_add_func("/weights/config/bad", test_bad_configs);
    g_test_add_func("/weights/config/forms", test_config_forms);
    int failed = g_test_run();
    tiny_end();
    return failed;
}
