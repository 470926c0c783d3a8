#include "tiny_model.h"
#include <glib/gstdio.h>
#include <string.h>

char *tiny_folder;

void
tiny_begin(void)
{
    tiny_folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_assert_nonnull(tiny_folder);
}

void
tiny_write(const char *text, const char *first, ...)
{
    va_list args;
    va_start(args, first);
    g_autofree char *rest = g_build_filename_valist(first, &args);
    va_end(args);
    g_autofree char *path = g_build_filename(tiny_folder, rest, NULL), *parent = g_path_get_dirname(path);
    g_assert_cmpint(g_mkdir_with_parents(parent, 0700), ==, 0);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

void
tiny_remove(const char *path)
{
    g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *inner = g_build_filename(path, name, NULL);
        tiny_remove(inner);
    }
    g_remove(path);
}

static const char clip_json[] =
    "{\"vocab_size\": 20, \"hidden_size\": 8, \"intermediate_size\": 16, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"hidden_act\": \"quick_gelu\"}";
static const char unet_json[] =
    "{\"_class_name\": \"UNet2DConditionModel\", \"in_channels\": 4, \"out_channels\": 4, "
    "\"block_out_channels\": [32, 64], \"layers_per_block\": 1, \"attention_head_dim\": [2, 4], "
    "\"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\"], "
    "\"up_block_types\": [\"CrossAttnUpBlock2D\", \"UpBlock2D\"], \"cross_attention_dim\": 8}";
static const char vae_json[] =
    "{\"_class_name\": \"AutoencoderKL\", \"block_out_channels\": [32, 32], "
    "\"layers_per_block\": 1, \"down_block_types\": [\"DownEncoderBlock2D\", "
    "\"DownEncoderBlock2D\"], \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\"]}";
static const char taesd_json[] = "{\"_class_name\": \"AutoencoderTiny\", \"encoder_block_out_channels\": [8, "
                                 "8], \"num_encoder_blocks\": [1, 2], "
                                 "\"decoder_block_out_channels\": [8, 8], \"num_decoder_blocks\": [2, 1], "
                                 "\"latent_channels\": 8, \"act_fn\": \"relu\"}";
static const char index_json[] =
    "{\"_class_name\": \"StableDiffusionPipeline\", \"unet\": [\"diffusers\", \"U\"], "
    "\"vae\": [\"diffusers\", \"V\"], \"text_encoder\": [\"transformers\", \"T\"], "
    "\"safety_checker\": [null, null]}";

static void
collect(void *user, const char *name, int rank, const gint64 *shape)
{
    RvTensorSpec spec = { g_strdup(name), RV_F16, rank, { 0 } };
    memcpy(spec.shape, shape, sizeof *shape * (gsize)rank);
    g_array_append_val((GArray *)user, spec);
}

static void
clear_spec(void *spec)
{
    g_free((void *)(guintptr)((RvTensorSpec *)spec)->name);
}

GArray *
tiny_specs(const char *config_path, RvPart part)
{
    RvConfig config;
    g_autoptr(GError) error = NULL;
    GArray *specs = g_array_new(false, true, sizeof(RvTensorSpec));
    g_array_set_clear_func(specs, clear_spec);
    rv_config_read(config_path, part, &config, &error);
    g_assert_no_error(error);
    rv_config_expect(part, &config, collect, specs);
    return specs;
}

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    for (gint64 i = 0; i < count; i++)
        ((guint16 *)to)[i] = (guint16)((index * 31 + (gsize)(first + i) * 7) % 0x3c00);
    return true;
}

void
tiny_write_specs(const RvTensorSpec *specs, gsize count, const char *path)
{
    g_autoptr(GError) error = NULL;
    rv_safetensors_write(path, specs, count, NULL, fill, NULL, &error);
    g_assert_no_error(error);
}

void
tiny_make_part(const char *model, RvPart part, const char *name, const char *json, const char *file)
{
    tiny_write(json, model, name, "config.json", NULL);
    g_autofree char *config = g_build_filename(tiny_folder, model, name, "config.json", NULL);
    g_autofree char *path = g_build_filename(tiny_folder, model, name, file, NULL);
    g_autoptr(GArray) specs = tiny_specs(config, part);
    tiny_write_specs((const RvTensorSpec *)(void *)specs->data, specs->len, path);
}

char *
tiny_make(const char *name)
{
    char *path = g_build_filename(tiny_folder, name, NULL);
    tiny_remove(path);
    tiny_write(index_json, name, "model_index.json", NULL);
    tiny_make_part(name, RV_PART_TEXT, "text_encoder", clip_json, "model.safetensors");
    tiny_make_part(name, RV_PART_UNET, "unet", unet_json, "diffusion_pytorch_model.safetensors");
    tiny_make_part(name, RV_PART_VAE, "vae", vae_json, "diffusion_pytorch_model.safetensors");
    return path;
}

const char *
tiny_config(RvPart part)
{
    return part == RV_PART_TEXT   ? clip_json
           : part == RV_PART_UNET ? unet_json
           : part == RV_PART_VAE  ? vae_json
                                  : taesd_json;
}

void
tiny_end(void)
{
    tiny_remove(tiny_folder);
    g_clear_pointer(&tiny_folder, g_free);
}
