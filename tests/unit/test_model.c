#include "base/error.h"
#include "tiny_model.h"
#include "weights/model.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static char *
reference(const char *name)
{
    return g_test_build_filename(G_TEST_BUILT, "data", "reference", name, NULL);
}

static void
assert_whole(const char *path, const RvModelOptions *options)
{
    g_autoptr(GError) error = NULL;
    g_auto(RvModelCheck) check = { 0 };
    g_autoptr(RvModel) model = rv_model_open(path, options, &error);
    g_assert_no_error(error);
    g_assert_true(rv_model_check(model, &error));
    rv_model_examine(model, &check);
    g_assert_cmpuint(check.missing->len + check.wrong->len + check.unused->len, ==, 0);
}

/* Opening must fail with this code and a one-line message that holds `says`. */
static void
assert_refused(const char *path, const RvModelOptions *options, RvError code, const char *says)
{
    g_autoptr(GError) error = NULL;
    RvModel *model = rv_model_open(path, options, &error);
    g_assert_null(model);
    g_test_message("%s", error->message);
    g_assert_error(error, RV_ERROR, (int)code);
    g_assert_nonnull(strstr(error->message, says));
    g_assert_null(strchr(error->message, '\n'));
}

/* ---- the reference models ---- */

static RvModel *
open_reference(const char *name, const RvModelOptions *options)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = reference(name);
    RvModel *model = rv_model_open(path, options, &error);
    g_assert_no_error(error);
    g_assert_true(rv_model_check(model, &error));
    return model;
}

typedef struct {
    const RvModel *other;
    RvPart part;
    guint count;
} Same;

static void
assert_same(void *user, const char *name, const RvArray *array)
{
    Same *same = user;
    RvArray other;
    if (!rv_model_get(same->other, same->part, name, array->rank, array->shape, &other, NULL))
        g_error("%s differs", name);
    gsize bytes = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    g_assert_cmpint(array->dtype, ==, other.dtype);
    if (memcmp(array->data, other.data, bytes) != 0)
        g_error("%s has other numbers", name);
    same->count++;
}

/* Folder and single file give the same numbers under the same names. */
static void
compare_layouts(const char *name, const RvModel *a, const RvModel *b)
{
    for (int part = RV_PART_TEXT; part <= RV_PART_VAE; part++) {
        Same same = { b, (RvPart)part, 0 };
        g_assert_cmpint(rv_model_has(a, (RvPart)part), ==, rv_model_has(b, (RvPart)part));
        rv_model_each(a, (RvPart)part, assert_same, &same);
        g_assert_cmpint(same.count > 0, ==, rv_model_has(a, (RvPart)part));
    }
    g_assert_cmpint(rv_model_traits(a)->family, ==, rv_model_traits(b)->family);
    g_assert_true(rv_model_traits(a)->is_folder);
    g_assert_false(rv_model_traits(b)->is_folder);
    g_assert_cmpmem(rv_model_unet_config(a), sizeof(RvUnetConfig), rv_model_unet_config(b),
                    sizeof(RvUnetConfig));
    g_assert_cmpmem(rv_model_vae_config(a), sizeof(RvVaeConfig), rv_model_vae_config(b), sizeof(RvVaeConfig));
    RvClipConfig x = *rv_model_clip_config(a, RV_PART_TEXT), y = *rv_model_clip_config(b, RV_PART_TEXT);
    y.bos_token_id = x.bos_token_id; /* single files do not say them */
    y.eos_token_id = x.eos_token_id;
    g_assert_cmpmem(&x, sizeof x, &y, sizeof y);
}

static void
test_reference(gconstpointer data)
{
    const char *name = data;
    g_autofree char *file = g_strconcat(name, ".safetensors", NULL), *path = reference(file);
    g_autofree char *alone = g_build_filename(tiny_folder, "alone.safetensors", NULL);
    g_autofree char *target = g_canonicalize_filename(path, NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvModel) a = open_reference(name, NULL), beside = open_reference(file, NULL);
    compare_layouts(name, a, beside);
    g_assert_cmpint(rv_model_traits(beside)->prediction, ==, rv_model_traits(a)->prediction);
    g_assert_nonnull(rv_model_tokenizer(beside, RV_PART_TEXT));
    g_assert_nonnull(rv_model_scheduler(a));
    g_assert_null(rv_model_scheduler(beside));
    /* Without the folder beside it, the file's own names and shapes are enough. */
    g_remove(alone);
    g_assert_cmpint(symlink(target, alone), ==, 0);
    g_autoptr(RvModel) b = rv_model_open(alone, NULL, &error);
    g_assert_no_error(error);
    compare_layouts(name, a, b);
    g_assert_null(rv_model_tokenizer(b, RV_PART_TEXT));
    g_assert_false(rv_model_traits(b)->prediction_stated);
    const char *family = g_str_has_suffix(name, "sd15")   ? "sd15"
                         : g_str_has_suffix(name, "sd21") ? "sd21"
                                                          : "sdxl";
    g_assert_cmpstr(rv_model_traits(a)->family_name, ==, family);
    g_assert_cmpstr(rv_model_traits(b)->family_name, ==, family);
    g_assert_cmpint(rv_model_traits(a)->prediction, ==, g_str_has_suffix(name, "sd21"));
    g_assert_cmpint(rv_model_traits(a)->variant, ==, RV_VARIANT_BASE);
}

static void
test_reference_configs(void)
{
    g_autoptr(RvModel) xl = open_reference("tiny-sdxl", NULL);
    const RvUnetConfig *u = rv_model_unet_config(xl);
    g_assert_cmpint(u->levels, ==, 3);
    g_assert_cmpint(u->depth[0], ==, 0);
    g_assert_cmpint(u->depth[1], ==, 2);
    g_assert_cmpint(u->depth[2], ==, 3);
    g_assert_cmpint(u->up_depth[2], ==, 3);
    g_assert_cmpint(u->up_depth[0], ==, 0);
    g_assert_cmpint(u->mid_depth, ==, 3);
    g_assert_cmpint(u->time_ids, ==, 6);
    g_assert_cmpint(u->addition_time_embed_dim, ==, 32);
    g_assert_cmpint(u->pooled_dim, ==, 128);
    g_assert_cmpfloat(rv_model_vae_config(xl)->scaling_factor, ==, 0.13025f);
    g_assert_cmpint(rv_model_clip_config(xl, RV_PART_TEXT2)->projection_dim, ==, 128);
    g_assert_cmpint(rv_model_clip_config(xl, RV_PART_TEXT2)->act, ==, RV_HIDDEN_GELU);
    g_assert_cmpint(rv_model_clip_config(xl, RV_PART_TEXT)->act, ==, RV_HIDDEN_QUICK_GELU);
    g_assert_cmpint(rv_model_clip_config(xl, RV_PART_TEXT)->eos_token_id, ==, 665);
    g_assert_cmpint(rv_model_taesd_config(xl)->encoder_blocks[1], ==, 3);
    g_assert_null(rv_model_controlnet_config(xl));
    g_assert_nonnull(strstr(rv_model_tokenizer(xl, RV_PART_TEXT2), "tokenizer_2"));
}

static void
test_reference_parts(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *net = reference("tiny-sd15/controlnet"), *unet = reference("tiny-sd15/unet_inpaint");
    g_autofree char *vae = reference("tiny-sd15/vae/diffusion_pytorch_model.safetensors");
    g_autofree char *whole = reference("tiny-sd15.safetensors"), *taesd = reference("tiny-sdxl/taesd");
    g_autoptr(RvModel) a = rv_model_open_part(net, RV_PART_CONTROLNET, &error);
    g_assert_no_error(error);
    g_assert_cmpint(rv_model_controlnet_config(a)->hint_channels[3], ==, 64);
    g_assert_cmpint(rv_model_controlnet_config(a)->unet.heads[0], ==, 8);
    g_assert_true(rv_model_check(a, NULL));
    g_autoptr(RvModel) b = rv_model_open_part(unet, RV_PART_UNET, &error);
    g_assert_no_error(error);
    g_assert_cmpint(rv_model_traits(b)->variant, ==, RV_VARIANT_INPAINT);
    g_autoptr(RvModel) c = rv_model_open_part(vae, RV_PART_VAE, &error);
    g_assert_no_error(error);
    g_assert_true(rv_model_check(c, NULL));
    g_autoptr(RvModel) d = rv_model_open_part(whole, RV_PART_VAE, &error);
    g_assert_no_error(error);
    g_assert_null(rv_model_open_part(vae, RV_PART_CONTROLNET, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_NOT_FOUND);
    g_clear_error(&error);
    /* Another VAE in place of the model's own. */
    RvModelOptions options = { .vae = taesd };
    g_autoptr(RvModel) e = open_reference("tiny-sd15", &options);
    g_assert_false(rv_model_has(e, RV_PART_VAE));
    g_assert_true(rv_model_has(e, RV_PART_TAESD));
    options.vae = vae;
    g_autoptr(RvModel) f = open_reference("tiny-sdxl", &options);
    g_assert_true(rv_model_has(f, RV_PART_VAE));
    g_assert_cmpfloat(rv_model_vae_config(f)->scaling_factor, ==, 0.18215f);
}

static void
test_done(void)
{
    g_autoptr(RvModel) model = open_reference("tiny-sdxl.safetensors", NULL);
    RvArray array, projection;
    float before, after;
    g_assert_true(rv_model_find(model, RV_PART_UNET, "conv_in.weight", &array));
    rv_convert_to_f32(array.dtype, array.data, &before, 1);
    rv_model_done(model, &array);
    rv_convert_to_f32(array.dtype, array.data, &after, 1);
    g_assert_cmpfloat(before, ==, after);
    /* A copy that the model owns is left alone. */
    g_assert_true(rv_model_find(model, RV_PART_TEXT2, "text_projection.weight", &projection));
    rv_model_done(model, &projection);
    g_assert_false(rv_model_find(model, RV_PART_UNET, "conv_in.wait", &array));
    g_autoptr(GError) error = NULL;
    const gint64 wrong[] = { 64, 9, 3, 3 };
    g_assert_false(rv_model_get(model, RV_PART_UNET, "conv_in.weight", 4, wrong, &array, &error));
    g_assert_nonnull(
        strstr(error->message, "unet/conv_in.weight is [64, 4, 3, 3] where [64, 9, 3, 3] is needed"));
}

/* ---- folders ---- */

static void
test_variants(void)
{
    g_autofree char *path = tiny_make("variants");
    g_autofree char *plain = g_build_filename(path, "unet", "diffusion_pytorch_model.safetensors", NULL);
    g_autofree char *half = g_build_filename(path, "unet", "diffusion_pytorch_model.fp16.safetensors", NULL);
    g_autofree char *other = g_build_filename(path, "unet", "mine.safetensors", NULL);
    g_autofree char *index = g_build_filename(path, "model_index.json", NULL);
    const RvModelOptions fp16 = { .variant = "fp16" };
    assert_whole(path, NULL);
    assert_whole(path, &fp16); /* a variant that is not there: the plain file */
    g_assert_cmpint(g_rename(plain, half), ==, 0);
    assert_whole(path, NULL);
    assert_whole(path, &fp16);
    g_assert_true(g_file_set_contents(plain, "nonsense that is not read", -1, NULL));
    assert_whole(path, &fp16);
    assert_refused(path, NULL, RV_ERROR_INVALID, "not a safetensors file");
    g_assert_cmpint(g_rename(half, other), ==, 0);
    g_remove(plain);
    assert_whole(path, NULL); /* the only .safetensors file */
    g_remove(index);
    assert_whole(path, NULL); /* the parts' folders are enough */
    g_autofree char *slash = g_strconcat(path, "//", NULL);
    assert_whole(slash, NULL);
}

static void
shard(const char *model, const char *index)
{
    g_autofree char *config = g_build_filename(tiny_folder, model, "unet", "config.json", NULL);
    g_autofree char *a = g_build_filename(tiny_folder, model, "unet", "part-1.safetensors", NULL);
    g_autofree char *b = g_build_filename(tiny_folder, model, "unet", "part-2.safetensors", NULL);
    g_autofree char *whole =
        g_build_filename(tiny_folder, model, "unet", "diffusion_pytorch_model.safetensors", NULL);
    g_autoptr(GArray) specs = tiny_specs(config, RV_PART_UNET);
    const RvTensorSpec *first = (const RvTensorSpec *)(void *)specs->data;
    tiny_write_specs(first, 10, a);
    tiny_write_specs(first + 10, specs->len - 10, b);
    g_remove(whole);
    g_autoptr(GString) json = g_string_new("{\"weight_map\": {");
    for (guint i = 0; i < specs->len; i++)
        g_string_append_printf(json, "%s\"%s\": \"part-%d.safetensors\"", i ? ", " : "", first[i].name,
                               i < 10 ? 1 : 2);
    g_string_append(json, "}}");
    tiny_write(json->str, model, "unet", index, NULL);
}

static void
test_shards(void)
{
    static const char file[] = "diffusion_pytorch_model.safetensors.index.json";
    static const struct {
        const char *index;
        RvError code;
        const char *says;
    } wrong[] = {
        { "{\"weight_map\": {\"conv_in.bias\": \"../../etc/passwd\"}}", RV_ERROR_INVALID,
          "not the name of a .safetensors" },
        { "{\"weight_map\": {\"conv_in.bias\": \"/dev/zero\"}}", RV_ERROR_INVALID,
          "not the name of a .safetensors" },
        { "{\"weight_map\": {\"conv_in.bias\": \"../unet/part-1.safetensors\"}}", RV_ERROR_INVALID,
          "not the name" },
        { "{\"weight_map\": {\"conv_in.bias\": \".safetensors\"}}", RV_ERROR_INVALID, "not the name" },
        { "{\"weight_map\": {\"conv_in.bias\": 7}}", RV_ERROR_INVALID, "something other than file names" },
        { "{\"weight_map\": {\"conv_in.bias\": \"part-3.safetensors\"}}", RV_ERROR_NOT_FOUND,
          "part-3.safetensors" },
        { "{\"weight_map\": {\"conv_out.bias\": \"part-1.safetensors\"}}", RV_ERROR_INVALID,
          "does not hold conv_out.bias" },
        { "{\"weight_map\": []}", RV_ERROR_INVALID, "weight_map" },
        { "{\"weight_map\": {}}", RV_ERROR_INVALID, "no tensors of unet" },
        { "[]", RV_ERROR_INVALID, "not a JSON object" },
        { "", RV_ERROR_INVALID, "not a JSON object" },
    };
    g_autofree char *path = tiny_make("shards");
    shard("shards", file);
    assert_whole(path, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        tiny_write(wrong[i].index, "shards", "unet", file, NULL);
        assert_refused(path, NULL, wrong[i].code, wrong[i].says);
    }
    g_autofree char *gone = g_build_filename(path, "unet", file, NULL);
    g_remove(gone);
    shard("shards", "diffusion_pytorch_model.safetensors.index.fp16.json");
    assert_whole(path, NULL);
}

static void
test_missing_parts(void)
{
    g_autofree char *path = tiny_make("missing"), *vae = g_build_filename(path, "vae", NULL);
    g_autofree char *weights = g_build_filename(path, "unet", "diffusion_pytorch_model.safetensors", NULL);
    g_autofree char *empty = g_build_filename(tiny_folder, "empty", NULL);
    const RvModelOptions partial = { .partial = true };
    g_autoptr(GError) error = NULL;
    tiny_remove(vae);
    assert_refused(path, NULL, RV_ERROR_NOT_FOUND, "lacks its vae");
    g_autoptr(RvModel) model = rv_model_open(path, &partial, &error);
    g_assert_no_error(error);
    g_assert_false(rv_model_check(model, &error));
    g_assert_nonnull(strstr(error->message, "vae"));
    g_clear_error(&error);
    g_assert_false(rv_model_require(model, RV_PART_VAE, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_NOT_FOUND);
    g_remove(weights);
    assert_refused(path, NULL, RV_ERROR_NOT_FOUND, "no weights of unet");
    tiny_write("pickled", "missing", "unet", "diffusion_pytorch_model.bin", NULL);
    assert_refused(path, NULL, RV_ERROR_UNSUPPORTED, "only pickle weights");
    g_assert_cmpint(g_mkdir(empty, 0700), ==, 0);
    assert_refused(empty, NULL, RV_ERROR_NOT_FOUND, "no model in this folder");
    assert_refused("/no/such/place", NULL, RV_ERROR_NOT_FOUND, "cannot open");
}

static void
test_missing_and_wrong_tensors(void)
{
    g_autofree char *path = tiny_make("tensors");
    g_autofree char *config = g_build_filename(path, "unet", "config.json", NULL);
    g_autofree char *file = g_build_filename(path, "unet", "diffusion_pytorch_model.safetensors", NULL);
    g_autoptr(GArray) specs = tiny_specs(config, RV_PART_UNET);
    RvTensorSpec *first = (RvTensorSpec *)(void *)specs->data;
    g_autoptr(GError) error = NULL;
    tiny_write_specs(first + 14, specs->len - 14, file);
    g_autoptr(RvModel) a = rv_model_open(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_false(rv_model_check(a, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(
        strstr(error->message, "14 tensors are missing: unet/conv_in.weight, unet/conv_in.bias"));
    g_assert_nonnull(strstr(error->message, "and 4 more"));
    g_clear_error(&error);

    g_auto(RvModelCheck) check = { 0 };
    const char *bias = first[1].name;
    first[0].shape[1] = 9;
    first[1].name = "conv_in.strange";
    tiny_write_specs(first, specs->len, file);
    g_autoptr(RvModel) b = rv_model_open(path, NULL, &error);
    g_assert_no_error(error);
    rv_model_examine(b, &check);
    g_assert_cmpuint(check.wrong->len, ==, 1);
    g_assert_cmpstr(g_ptr_array_index(check.wrong, 0), ==,
                    "unet/conv_in.weight is [32, 9, 3, 3] where [32, 4, 3, 3] is needed");
    g_assert_cmpuint(check.missing->len, ==, 1);
    g_assert_cmpuint(check.unused->len, ==, 1);
    g_assert_cmpstr(g_ptr_array_index(check.unused, 0), ==, "conv_in.strange");
    first[1].name = bias;
}

static void
test_tiny_vae_folder(void)
{
    g_autofree char *path = tiny_make("tiny"), *vae = g_build_filename(path, "vae", NULL);
    tiny_remove(vae);
    tiny_make_part("tiny", RV_PART_TAESD, "vae", tiny_config(RV_PART_TAESD),
                   "diffusion_pytorch_model.safetensors");
    tiny_write(
        "{\"_reverie_family\": \"mini\", \"unet\": [\"diffusers\", \"U\"], \"vae\": [\"diffusers\", \"V\"], "
        "\"text_encoder\": [\"transformers\", \"T\"]}",
        "tiny", "model_index.json", NULL);
    assert_whole(path, NULL);
    g_autoptr(RvModel) model = rv_model_open(path, NULL, NULL);
    g_assert_cmpstr(rv_model_traits(model)->family_name, ==, "mini");
    g_assert_cmpint(rv_model_traits(model)->family, ==, RV_FAMILY_SD15);
    g_assert_false(rv_model_has(model, RV_PART_VAE));
    g_assert_cmpint(rv_model_taesd_config(model)->latent_channels, ==, 8);
    tiny_write("{\"_reverie_family\": \"../x\", \"unet\": [\"diffusers\", \"U\"]}", "tiny",
               "model_index.json", NULL);
    assert_refused(path, NULL, RV_ERROR_INVALID, "not a short name");
}

/* ---- damage ---- */

static void
damage(GRand *rand, const char *path)
{
    g_autofree char *text = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(path, &text, &length, NULL));
    /* Mostly where the structure is: the header of a weight file. */
    gsize reach = g_rand_int_range(rand, 0, 8) ? MIN(length, 3000) : length;
    for (int i = g_rand_int_range(rand, 1, 5); i > 0 && reach > 0; i--)
        text[g_rand_int_range(rand, 0, (gint32)reach)] = (char)g_rand_int_range(rand, 0, 256);
    if (g_rand_int_range(rand, 0, 10) == 0)
        length = (gsize)g_rand_int_range(rand, 0, (gint32)length + 1);
    FILE *file = g_fopen(path, "wb");
    g_assert_nonnull(file);
    g_assert_cmpuint(fwrite(text, 1, length, file), ==, length);
    fclose(file);
}

static guint read_sum;

static void
read_all(void *user, const char *name, const RvArray *array)
{
    const guint8 *data = array->data;
    gsize bytes = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    for (gsize i = 0; i < bytes; i++)
        read_sum += data[i];
}

/* A thousand models with damaged bytes: an error or a model that can be read to its last byte; never a crash.
 */
static void
test_random_damage(void)
{
    static const char *const files[] = { "model_index.json",
                                         "text_encoder/config.json",
                                         "unet/config.json",
                                         "vae/config.json",
                                         "text_encoder/model.safetensors",
                                         "unet/diffusion_pytorch_model.safetensors",
                                         "vae/diffusion_pytorch_model.safetensors" };
    g_autofree char *path = tiny_make("damage");
    g_auto(GStrv) texts = g_new0(char *, G_N_ELEMENTS(files) + 1);
    gsize lengths[G_N_ELEMENTS(files)];
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    guint opened = 0;
    for (gsize i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *file = g_build_filename(path, files[i], NULL);
        g_assert_true(g_file_get_contents(file, &texts[i], &lengths[i], NULL));
    }
    for (int round = 0; round < 1000; round++) {
        gsize i = (gsize)g_rand_int_range(rand, 0, G_N_ELEMENTS(files));
        g_autofree char *file = g_build_filename(path, files[i], NULL);
        g_autoptr(GError) error = NULL, other = NULL;
        damage(rand, file);
        g_autoptr(RvModel) model = rv_model_open(path, NULL, &error);
        g_assert_true((model != NULL) == (error == NULL));
        if (model) {
            opened++;
            rv_model_check(model, &other);
            for (int part = 0; part < RV_PARTS; part++)
                rv_model_each(model, (RvPart)part, read_all, NULL);
        }
        g_remove(file);
        g_assert_true(g_file_set_contents(file, texts[i], (gssize)lengths[i], NULL));
    }
    g_test_message("%u of 1000 could still be opened", opened);
    g_assert_cmpuint(opened, >, 0);
}

/* Single files whose names lie about what they hold. */
static void
test_lying_single_files(void)
{
    g_autofree char *path = g_build_filename(tiny_folder, "lie.safetensors", NULL);
    const RvTensorSpec unet[] = {
        { "model.diffusion_model.input_blocks.0.0.weight", RV_F16, 4, { 32, 4, 3, 3 } }
    };
    const RvTensorSpec odd[] = { { "first_stage_model.decoder.conv_in.weight", RV_F16, 1, { 0 } } };
    const RvTensorSpec text[] = {
        { "cond_stage_model.model.text_projection", RV_F16, 2, { 4, 6 } },
        { "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight", RV_F16, 2, { 4, 6 } }
    };
    const RvTensorSpec ours[] = { { "lora_unet_x.alpha", RV_F16, 0, { 0 } } };
    tiny_write_specs(unet, 1, path);
    assert_refused(path, NULL, RV_ERROR_INVALID, "shapes of unet");
    tiny_write_specs(odd, 1, path);
    assert_refused(path, NULL, RV_ERROR_INVALID, "shapes of vae");
    tiny_write_specs(text, 2, path);
    assert_refused(path, NULL, RV_ERROR_INVALID, "shapes of text_encoder");
    tiny_write_specs(ours, 1, path);
    assert_refused(path, NULL, RV_ERROR_UNSUPPORTED, "no network that we know");
}

static void
test_config_dir(void)
{
    g_autofree char *file = reference("tiny-sd15.safetensors"), *right = reference("tiny-sd15"),
                    *wrong = reference("tiny-sdxl");
    const RvModelOptions good = { .config_dir = right }, bad = { .config_dir = wrong },
                         none = { .config_dir = "/none" };
    assert_whole(file, &good);
    assert_refused(file, &bad, RV_ERROR_INVALID, "other shapes");
    assert_refused(file, &none, RV_ERROR_NOT_FOUND, "no such folder");
}

/* What names of files, and keys that are there to say something, tell about a model. */
static void
test_hints(void)
{
    static const struct {
        const char *name;
        RvVariant variant;
        RvModelPrediction prediction;
    } hints[] = {
        { "sd_xl_Turbo_1.0.safetensors", RV_VARIANT_TURBO, RV_MODEL_PREDICTION_EPSILON },
        { "x_lightning_4step.safetensors", RV_VARIANT_LIGHTNING, RV_MODEL_PREDICTION_EPSILON },
        { "LCM_dreamshaper.safetensors", RV_VARIANT_LCM, RV_MODEL_PREDICTION_EPSILON },
        { "noob-vpred.safetensors", RV_VARIANT_BASE, RV_MODEL_PREDICTION_V },
        { "plain.safetensors", RV_VARIANT_BASE, RV_MODEL_PREDICTION_EPSILON },
    };
    g_autofree char *relative = reference("tiny-sdxl.safetensors"),
                    *target = g_canonicalize_filename(relative, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(hints); i++) {
        g_autofree char *path = g_build_filename(tiny_folder, hints[i].name, NULL);
        g_assert_cmpint(symlink(target, path), ==, 0);
        g_autoptr(RvModel) model = rv_model_open(path, NULL, NULL);
        g_assert_nonnull(model);
        g_assert_cmpint(rv_model_traits(model)->variant, ==, hints[i].variant);
        g_assert_cmpint(rv_model_traits(model)->prediction, ==, hints[i].prediction);
        g_assert_false(rv_model_traits(model)->prediction_stated);
    }
    /* A UNet in LDM names with the two keys; nine channels in, four out. */
    g_autofree char *folder = tiny_make("keys"),
                    *config = g_build_filename(folder, "unet", "config.json", NULL);
    g_autofree char *unet = g_build_filename(folder, "unet", "diffusion_pytorch_model.safetensors", NULL);
    g_autofree char *path = g_build_filename(tiny_folder, "keys.safetensors", NULL);
    g_autoptr(GArray) specs = tiny_specs(config, RV_PART_UNET);
    const RvTensorSpec keys[] = { { g_strdup("v_pred"), RV_F16, 1, { 0 } },
                                  { g_strdup("ztsnr"), RV_F16, 1, { 0 } } };
    g_array_append_vals(specs, keys, G_N_ELEMENTS(keys));
    g_array_index(specs, RvTensorSpec, 0).shape[1] = 9;
    tiny_write_specs((const RvTensorSpec *)(void *)specs->data, specs->len, path);
    g_remove(unet);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvModel) model = rv_model_open(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(rv_model_traits(model)->variant, ==, RV_VARIANT_INPAINT);
    g_assert_cmpint(rv_model_traits(model)->prediction, ==, RV_MODEL_PREDICTION_V);
    g_assert_true(rv_model_traits(model)->prediction_stated);
    g_assert_true(rv_model_traits(model)->zero_terminal_snr);
}

static void
test_links(void)
{
    g_autofree char *path = tiny_make("links"), *unet = g_build_filename(path, "unet", NULL);
    g_autofree char *weights = g_build_filename(unet, "diffusion_pytorch_model.safetensors", NULL);
    g_autofree char *blob = g_build_filename(tiny_folder, "blob", NULL);
    /* The hub's cache keeps files elsewhere and links to them. */
    g_assert_cmpint(g_rename(weights, blob), ==, 0);
    g_assert_cmpint(symlink(blob, weights), ==, 0);
    assert_whole(path, NULL);
    g_remove(weights);
    g_assert_cmpint(symlink("diffusion_pytorch_model.safetensors", weights), ==, 0);
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_model_open(path, NULL, &error));
    g_assert_nonnull(error);
    tiny_remove(unet);
    g_assert_cmpint(symlink("unet", unet), ==, 0);
    assert_refused(path, NULL, RV_ERROR_NOT_FOUND, "lacks its unet");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tiny_begin();
    g_test_add_data_func("/weights/model/reference/sd15", "tiny-sd15", test_reference);
    g_test_add_data_func("/weights/model/reference/sd21", "tiny-sd21", test_reference);
    g_test_add_data_func("/weights/model/reference/sdxl", "tiny-sdxl", test_reference);
    g_test_add_func("/weights/model/reference/configs", test_reference_configs);
    g_test_add_func("/weights/model/reference/parts", test_reference_parts);
    g_test_add_func("/weights/model/done", test_done);
    g_test_add_func("/weights/model/variants", test_variants);
    g_test_add_func("/weights/model/shards", test_shards);
    g_test_add_func("/weights/model/missing-parts", test_missing_parts);
    g_test_add_func("/weights/model/missing-tensors", test_missing_and_wrong_tensors);
    g_test_add_func("/weights/model/tiny-vae-folder", test_tiny_vae_folder);
    g_test_add_func("/weights/model/config-dir", test_config_dir);
    g_test_add_func("/weights/model/lying-single-files", test_lying_single_files);
    g_test_add_func("/weights/model/links", test_links);
    g_test_add_func("/weights/model/hints", test_hints);
    g_test_add_func("/weights/model/random-damage", test_random_damage);
    int failed = g_test_run();
    tiny_end();
    return failed;
}
