/* Every tensor of the full-size families, by name and shape alone: all must be known, asked for, and of the
 * shape that the deduced config asks for. The lists come from shapes.json (see tests/data/reference). */
#include "weights/config_read.h"
#include <gio/gio.h>
#include <json-glib/json-glib.h>
#include <string.h>

static JsonParser *shapes;

static JsonObject *
list_of(const char *family, const char *layout)
{
    JsonObject *root = json_node_get_object(json_parser_get_root(shapes));
    return json_object_get_object_member(json_object_get_object_member(root, family), layout);
}

static RvFileTensor
file_tensor(const char *name, JsonArray *shape)
{
    RvFileTensor tensor = { .name = name, .dtype_name = "F16", .readable = true };
    tensor.array.dtype = RV_F16;
    tensor.array.rank = (int)json_array_get_length(shape);
    for (int i = 0; i < tensor.array.rank; i++)
        tensor.array.shape[i] = json_array_get_int_element(shape, (guint)i);
    return tensor;
}

/* The tensors of a list whose names begin with `prefix`, without it. Names are borrowed from the list. */
static GArray *
tensors_of(JsonObject *list, const char *prefix)
{
    GArray *tensors = g_array_new(false, true, sizeof(RvFileTensor));
    g_autoptr(GList) names = json_object_get_members(list);
    for (GList *l = names; l; l = l->next) {
        RvFileTensor tensor = file_tensor(l->data, json_object_get_array_member(list, l->data));
        if (!g_str_has_prefix(tensor.name, prefix))
            continue;
        tensor.name += strlen(prefix);
        g_array_append_val(tensors, tensor);
    }
    return tensors;
}

static void
add(RvNames *names, GArray *tensors, RvPart part)
{
    g_autoptr(GError) error = NULL;
    rv_names_add(names, (const RvFileTensor *)(void *)tensors->data, tensors->len, part, "list", &error);
    g_assert_no_error(error);
}

typedef struct {
    RvNames *names;
    RvPart part;
    guint asked;
} Asker;

static void
ask(void *user, const char *name, int rank, const gint64 *shape)
{
    Asker *asker = user;
    const RvBinding *binding = rv_names_find(asker->names, asker->part, name);
    if (!binding)
        g_error("%s/%s is missing", rv_part_name(asker->part), name);
    if (!rv_shapes_match(rank, shape, binding->array.rank, binding->array.shape))
        g_error("%s/%s has another shape", rv_part_name(asker->part), name);
    g_array_index(asker->names->sources, RvSource, binding->source).needed = true;
    asker->asked++;
}

/* Deduces a part's config, asks for all that it needs; the number of bindings must be the number asked for.
 */
static RvConfig
settle(RvNames *names, RvPart part, bool is_sd15, bool quick_gelu, float scale, int projection)
{
    RvConfig config;
    g_autoptr(GError) error = NULL;
    const RvGuess guess = { is_sd15, quick_gelu, scale };
    rv_config_deduce(names, part, &guess, &config, "list", &error);
    g_assert_no_error(error);
    if (part == RV_PART_UNET || part == RV_PART_CONTROLNET)
        rv_config_settle_pooled(part == RV_PART_UNET ? &config.unet : &config.controlnet.unet, projection,
                                false);
    Asker asker = { names, part, 0 };
    rv_config_expect(part, &config, ask, &asker);
    g_assert_cmpuint(asker.asked, ==, g_hash_table_size(names->bound[part]));
    return config;
}

static void
assert_nothing_left(const RvNames *names)
{
    for (guint i = 0; i < names->sources->len; i++) {
        const RvSource *source = &g_array_index(names->sources, RvSource, i);
        if (!source->needed && source->state != RV_NAME_IGNORED)
            g_error("%s is left over", source->tensor->name);
    }
}

static void
check_family(RvNames *names, const char *family)
{
    bool xl = !strcmp(family, "sdxl"), sd15 = !strcmp(family, "sd15");
    RvClipConfig text = settle(names, RV_PART_TEXT, sd15, sd15 || xl, 0, 0).clip;
    RvUnetConfig unet = settle(names, RV_PART_UNET, sd15, false, 0, xl ? 1280 : 0).unet;
    RvVaeConfig vae = settle(names, RV_PART_VAE, sd15, false, xl ? 0.13025f : 0.18215f, 0).vae;
    g_assert_cmpint(text.vocab_size, ==, 49408);
    g_assert_cmpint(text.hidden_size, ==, sd15 || xl ? 768 : 1024);
    g_assert_cmpint(text.layers, ==, sd15 || xl ? 12 : 23);
    g_assert_cmpint(text.heads, ==, sd15 || xl ? 12 : 16);
    g_assert_cmpint(text.positions, ==, 77);
    g_assert_cmpint(text.intermediate_size, ==, 4 * text.hidden_size);
    g_assert_cmpint(unet.in_channels, ==, 4);
    g_assert_cmpint(unet.levels, ==, xl ? 3 : 4);
    g_assert_cmpint(unet.channels[0], ==, 320);
    g_assert_cmpint(unet.channels[unet.levels - 1], ==, 1280);
    g_assert_cmpint(unet.layers_per_block[1], ==, 2);
    g_assert_cmpint(unet.cross_attention_dim, ==, xl ? 2048 : sd15 ? 768 : 1024);
    g_assert_cmpint(unet.linear_projection, ==, !sd15);
    g_assert_cmpint(unet.heads[0], ==, sd15 ? 8 : 5);
    g_assert_cmpint(unet.heads[2], ==, sd15 ? 8 : 20);
    g_assert_cmpint(unet.depth[0], ==, xl ? 0 : 1);
    g_assert_cmpint(unet.depth[2], ==, xl ? 10 : 1);
    g_assert_cmpint(unet.up_depth[1], ==, xl ? 2 : 1);
    g_assert_cmpint(unet.mid_depth, ==, xl ? 10 : 1);
    g_assert_cmpint(unet.time_ids, ==, xl ? 6 : 0);
    g_assert_cmpint(unet.addition_time_embed_dim, ==, xl ? 256 : 0);
    g_assert_cmpint(unet.pooled_dim, ==, xl ? 1280 : 0);
    g_assert_cmpint(vae.levels, ==, 4);
    g_assert_cmpint(vae.channels[3], ==, 512);
    g_assert_cmpint(vae.layers_per_block, ==, 2);
    g_assert_cmpint(vae.latent_channels, ==, 4);
    g_assert_true(vae.mid_attention && vae.has_quant_conv && vae.has_post_quant_conv);
    if (xl) {
        RvClipConfig text2 = settle(names, RV_PART_TEXT2, false, false, 0, 0).clip;
        g_assert_cmpint(text2.hidden_size, ==, 1280);
        g_assert_cmpint(text2.layers, ==, 32);
        g_assert_cmpint(text2.heads, ==, 20);
        g_assert_cmpint(text2.projection_dim, ==, 1280);
        g_assert_cmpint(text2.act, ==, RV_HIDDEN_GELU);
    }
    assert_nothing_left(names);
}

static void
test_single_file(gconstpointer family)
{
    g_autoptr(RvNames) names = rv_names_new();
    g_autoptr(GArray) tensors = tensors_of(list_of(family, "single_file"), "");
    add(names, tensors, RV_PART_NONE);
    check_family(names, family);
}

static void
test_folder(gconstpointer family)
{
    g_autoptr(RvNames) names = rv_names_new();
    g_autoptr(GPtrArray) lists = g_ptr_array_new_with_free_func((GDestroyNotify)g_array_unref);
    for (int part = RV_PART_TEXT; part <= RV_PART_VAE; part++) {
        g_autofree char *prefix = g_strconcat(rv_part_name((RvPart)part), "/", NULL);
        GArray *tensors = tensors_of(list_of(family, "diffusers"), prefix);
        g_ptr_array_add(lists, tensors);
        add(names, tensors, (RvPart)part);
    }
    check_family(names, family);
}

static void
test_controlnet(gconstpointer family)
{
    g_autoptr(RvNames) names = rv_names_new();
    g_autoptr(GArray) tensors = tensors_of(list_of(family, "controlnet_diffusers"), "");
    bool xl = !strcmp(family, "sdxl");
    add(names, tensors, RV_PART_NONE);
    RvControlnetConfig c =
        settle(names, RV_PART_CONTROLNET, !strcmp(family, "sd15"), false, 0, xl ? 1280 : 0).controlnet;
    g_assert_cmpint(c.conditioning_channels, ==, 3);
    g_assert_cmpint(c.hint_levels, ==, 4);
    g_assert_cmpint(c.hint_channels[2], ==, 96);
    g_assert_cmpint(c.hint_channels[3], ==, 256);
    g_assert_cmpint(c.unet.levels, ==, xl ? 3 : 4);
    assert_nothing_left(names);
}

static void
check_taesd(RvNames *names)
{
    RvTaesdConfig c = settle(names, RV_PART_TAESD, false, false, 0, 0).taesd;
    const int encoder[] = { 1, 3, 3, 3 }, decoder[] = { 3, 3, 3, 1 };
    g_assert_cmpint(c.levels, ==, 4);
    g_assert_cmpint(c.latent_channels, ==, 4);
    for (int i = 0; i < 4; i++) {
        g_assert_cmpint(c.encoder_blocks[i], ==, encoder[i]);
        g_assert_cmpint(c.decoder_blocks[i], ==, decoder[i]);
        g_assert_cmpint(c.encoder_channels[i], ==, 64);
        g_assert_cmpint(c.decoder_channels[i], ==, 64);
    }
    assert_nothing_left(names);
}

/* `tensors` with each name changed by `change`; the new names live in `strings`. */
static GArray *
renamed(GArray *tensors, GPtrArray *strings, char *(*change)(const char *name))
{
    GArray *out = g_array_new(false, true, sizeof(RvFileTensor));
    for (guint i = 0; i < tensors->len; i++) {
        RvFileTensor tensor = g_array_index(tensors, RvFileTensor, i);
        char *name = change(tensor.name);
        if (!name)
            continue;
        g_ptr_array_add(strings, name);
        tensor.name = name;
        g_array_append_val(out, tensor);
    }
    return out;
}

/* diffusers -> the original TAESD: "encoder.0.weight", and the decoder one later, behind its clamp. */
static char *
original_taesd(const char *name)
{
    bool decoder = g_str_has_prefix(name, "decoder.");
    char *rest;
    int layer = (int)g_ascii_strtoll(name + strlen("encoder.layers."), &rest, 10);
    return g_strdup_printf("%.8s%d%s", name, layer + decoder, rest);
}

static char *
only_encoder(const char *name)
{
    return g_str_has_prefix(name, "encoder.") ? g_strdup(name + 8) : NULL;
}

static char *
only_decoder(const char *name)
{
    return g_str_has_prefix(name, "decoder.") ? g_strdup(name + 8) : NULL;
}

static void
test_taesd(void)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) diffusers = tensors_of(list_of("taesd", "diffusers"), "");
    g_autoptr(GArray) original = renamed(diffusers, strings, original_taesd);
    g_autoptr(GArray) encoder = renamed(original, strings, only_encoder);
    g_autoptr(GArray) decoder = renamed(original, strings, only_decoder);
    g_autoptr(RvNames) a = rv_names_new(), b = rv_names_new(), c = rv_names_new();
    add(a, diffusers, RV_PART_NONE);
    check_taesd(a);
    add(b, original, RV_PART_NONE);
    check_taesd(b);
    add(c, encoder, RV_PART_NONE);
    add(c, decoder, RV_PART_TAESD);
    check_taesd(c);
}

static char *
real_openclip(const char *name)
{
    static const char *const pairs[][2] = {
        { "cond_stage_model.model.text_model.embeddings.token_embedding.",
          "cond_stage_model.model.token_embedding." },
        { "cond_stage_model.model.text_model.embeddings.position_embedding.weight",
          "cond_stage_model.model.positional_embedding" },
        { "cond_stage_model.model.text_model.final_layer_norm.", "cond_stage_model.model.ln_final." },
        { "cond_stage_model.model.resblocks.", "cond_stage_model.model.transformer.resblocks." },
        { "", "" },
    };
    GString *out = g_string_new(NULL);
    rv_replace_front(name, pairs, G_N_ELEMENTS(pairs), out);
    return g_string_free(out, false);
}

static char *
last_block_again(const char *name)
{
    static const char block[] = "cond_stage_model.model.transformer.resblocks.22.";
    return g_str_has_prefix(name, block)
               ? g_strdup_printf("cond_stage_model.model.transformer.resblocks.23.%s", name + strlen(block))
               : NULL;
}

/* A real Stable Diffusion 2 file: OpenCLIP's own names, all 24 layers, projection, buffers, averaged weights.
 */
static void
test_sd21_real_names(void)
{
    static const struct {
        const char *name;
        gint64 shape[2];
        int rank;
    } extras[] = {
        { "cond_stage_model.model.logit_scale", { 0 }, 0 },
        { "cond_stage_model.model.text_projection", { 1024, 1024 }, 2 },
        { "alphas_cumprod", { 1000 }, 1 },
        { "sqrt_one_minus_alphas_cumprod", { 1000 }, 1 },
        { "model_ema.decay", { 0 }, 0 },
        { "model_ema.diffusion_modelinput_blocks00weight", { 4, 4 }, 2 },
    };
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) list = tensors_of(list_of("sd21", "single_file"), "");
    g_autoptr(GArray) real = renamed(list, strings, real_openclip);
    g_autoptr(GArray) last = renamed(real, strings, last_block_again);
    g_assert_cmpuint(last->len, ==, 12);
    g_array_append_vals(real, last->data, last->len);
    for (gsize i = 0; i < G_N_ELEMENTS(extras); i++) {
        RvFileTensor tensor = { .name = extras[i].name, .dtype_name = "F32", .readable = true };
        tensor.array.rank = extras[i].rank;
        memcpy(tensor.array.shape, extras[i].shape, sizeof extras[i].shape);
        g_array_append_val(real, tensor);
    }
    g_autoptr(RvNames) names = rv_names_new();
    add(names, real, RV_PART_NONE);
    const RvBinding *projection = rv_names_find(names, RV_PART_TEXT, "text_projection.weight");
    g_assert_nonnull(projection);
    g_array_index(names->sources, RvSource, projection->source).needed = true;
    g_hash_table_remove(names->bound[RV_PART_TEXT], "text_projection.weight");
    g_assert_true(names->openclip[RV_PART_TEXT]);
    check_family(names, "sd21");
}

/* Old diffusers names of the VAE's attention, and text encoders without "text_model.". */
static char *
older_names(const char *name)
{
    static const char *const attention[][2] = {
        { "to_q.", "query." },         { "to_k.", "key." }, { "to_v.", "value." },
        { "to_out.0.", "proj_attn." }, { "", "" },
    };
    const char *at = strstr(name, "mid_block.attentions.0.");
    GString *out = g_string_new(NULL);
    if (at) {
        at += strlen("mid_block.attentions.0.");
        g_string_append_len(out, name, at - name);
        rv_replace_front(at, attention, G_N_ELEMENTS(attention), out);
    } else {
        g_string_append(out, g_str_has_prefix(name, "text_model.") ? name + 11 : name);
    }
    return g_string_free(out, false);
}

static void
test_older_names(void)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) vae = tensors_of(list_of("sd15", "diffusers"), "vae/");
    g_autoptr(GArray) text = tensors_of(list_of("sd15", "diffusers"), "text_encoder/");
    g_autoptr(GArray) old_vae = renamed(vae, strings, older_names),
                      old_text = renamed(text, strings, older_names);
    g_autoptr(RvNames) names = rv_names_new();
    add(names, old_vae, RV_PART_VAE);
    add(names, old_text, RV_PART_TEXT);
    settle(names, RV_PART_VAE, true, false, 0.18215f, 0);
    settle(names, RV_PART_TEXT, true, true, 0, 0);
    assert_nothing_left(names);
}

/* The SDXL refiner has one encoder (bigG), five time ids and 384 channels: seen in names and one width. */
static char *
refiner_names(const char *name)
{
    static const char second[] = "conditioner.embedders.1.model.";
    if (g_str_has_prefix(name, "conditioner.embedders.0."))
        return NULL;
    return g_str_has_prefix(name, second)
               ? g_strconcat("conditioner.embedders.0.model.", name + strlen(second), NULL)
               : g_strdup(name);
}

static void
test_refiner(void)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) xl = tensors_of(list_of("sdxl", "single_file"), "");
    g_autoptr(GArray) tensors = renamed(xl, strings, refiner_names);
    for (guint i = 0; i < tensors->len; i++) {
        RvFileTensor *tensor = &g_array_index(tensors, RvFileTensor, i);
        if (!strcmp(tensor->name, "model.diffusion_model.label_emb.0.0.weight"))
            tensor->array.shape[1] = 2560;
    }
    g_autoptr(RvNames) names = rv_names_new();
    add(names, tensors, RV_PART_NONE);
    g_assert_false(rv_names_has_part(names, RV_PART_TEXT));
    RvClipConfig text = settle(names, RV_PART_TEXT2, false, false, 0, 0).clip;
    RvUnetConfig unet = settle(names, RV_PART_UNET, false, false, 0, text.projection_dim).unet;
    settle(names, RV_PART_VAE, false, false, 0.13025f, 0);
    g_assert_cmpint(unet.time_ids, ==, 5);
    g_assert_cmpint(unet.addition_time_embed_dim, ==, 256);
    g_assert_cmpint(unet.pooled_dim, ==, 1280);
    assert_nothing_left(names);
}

/* Two tensors for one weight are refused; one that nobody knows is left over. */
static void
test_conflicts(void)
{
    g_autoptr(GError) error = NULL;
    RvFileTensor twice[] = {
        { .name = "cond_stage_model.transformer.text_model.final_layer_norm.bias", .readable = true },
        { .name = "cond_stage_model.transformer.final_layer_norm.bias", .readable = true },
    };
    RvFileTensor strange[] = {
        { .name = "model.diffusion_model.input_blocks.99999999999.0.weight", .readable = true },
        { .name = "model.diffusion_model.output_blocks.3.2.conv.weight", .readable = true },
        { .name = "first_stage_model.decoder.up.7.block.0.conv1.weight", .readable = true },
        { .name = "model.diffusion_model.input_blocks.0.0.weight", .readable = true },
        { .name = "%s%n", .readable = true },
    };
    g_autoptr(RvNames) a = rv_names_new(), b = rv_names_new();
    g_assert_false(rv_names_add(a, twice, G_N_ELEMENTS(twice), RV_PART_NONE, "list", &error));
    g_assert_nonnull(strstr(error->message, "two tensors for text_encoder/text_model.final_layer_norm.bias"));
    g_assert_true(rv_names_add(b, strange, G_N_ELEMENTS(strange), RV_PART_NONE, "list", NULL));
    for (guint i = 0; i < G_N_ELEMENTS(strange); i++)
        g_assert_cmpint(g_array_index(b->sources, RvSource, i).state, ==,
                        i == 3 ? RV_NAME_BOUND : RV_NAME_UNKNOWN);
}

static void
load_shapes(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "reference", "shapes.json.gz", NULL);
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GFileInputStream) raw = g_file_read(file, NULL, &error);
    g_assert_no_error(error);
    g_autoptr(GZlibDecompressor) gzip = g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP);
    g_autoptr(GInputStream) text = g_converter_input_stream_new(G_INPUT_STREAM(raw), G_CONVERTER(gzip));
    shapes = json_parser_new();
    json_parser_load_from_stream(shapes, text, NULL, &error);
    g_assert_no_error(error);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    load_shapes();
    g_test_add_data_func("/weights/names/sd15/single-file", "sd15", test_single_file);
    g_test_add_data_func("/weights/names/sd21/single-file", "sd21", test_single_file);
    g_test_add_data_func("/weights/names/sdxl/single-file", "sdxl", test_single_file);
    g_test_add_data_func("/weights/names/sd15/folder", "sd15", test_folder);
    g_test_add_data_func("/weights/names/sd21/folder", "sd21", test_folder);
    g_test_add_data_func("/weights/names/sdxl/folder", "sdxl", test_folder);
    g_test_add_data_func("/weights/names/sd15/controlnet", "sd15", test_controlnet);
    g_test_add_data_func("/weights/names/sd21/controlnet", "sd21", test_controlnet);
    g_test_add_data_func("/weights/names/sdxl/controlnet", "sdxl", test_controlnet);
    g_test_add_func("/weights/names/taesd", test_taesd);
    g_test_add_func("/weights/names/sd21/real-names", test_sd21_real_names);
    g_test_add_func("/weights/names/refiner", test_refiner);
    g_test_add_func("/weights/names/older-names", test_older_names);
    g_test_add_func("/weights/names/conflicts", test_conflicts);
    int failed = g_test_run();
    g_object_unref(shapes);
    return failed;
}
