/* Full-size networks ask for exactly the tensors that the published models have: names and shapes, none
 * missing, none left over. Recording reads no numbers, so there are none. */
#include <json-glib/json-glib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "golden.h"
#include "models/clip.h"
#include "models/controlnet.h"
#include "models/taesd.h"
#include "models/vae.h"

static JsonNode *published;
static RvDevice *device;

/* The tensors of one part of a published model. */
typedef struct {
    JsonObject *shapes;
    const char *prefix; /* "unet/" */
    GHashTable *asked;
} Inventory;

static void
trim(const gint64 *shape, int *rank)
{
    while (*rank > 1 && shape[*rank - 1] == 1)
        (*rank)--;
}

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    static const float nothing[1];
    Inventory *inventory = self;
    char *full = g_strconcat(inventory->prefix, name, NULL);
    g_hash_table_add(inventory->asked, full);
    if (!json_object_has_member(inventory->shapes, full))
        g_error("no published tensor is called %s", full);
    JsonArray *want = json_object_get_array_member(inventory->shapes, full);
    *out = (RvArray) { .dtype = RV_F32, .rank = (int)json_array_get_length(want), .data = nothing };
    for (int i = 0; i < out->rank; i++)
        out->shape[i] = json_array_get_int_element(want, (guint)i);
    int want_rank = out->rank;
    trim(out->shape, &want_rank);
    trim(shape, &rank);
    if (rank != want_rank || memcmp(shape, out->shape, sizeof *shape * (gsize)rank) != 0)
        g_error("%s was asked for in another shape", full);
    return true;
}

static Inventory
inventory_of(const char *family, const char *layout, const char *prefix)
{
    JsonObject *root = json_node_get_object(published);
    JsonObject *shapes = json_object_get_object_member(json_object_get_object_member(root, family), layout);
    return (Inventory) { shapes, prefix, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL) };
}

/* Every tensor of the part was asked for. */
static void
check_complete(Inventory *inventory)
{
    guint expected = 0;
    g_autoptr(GList) names = json_object_get_members(inventory->shapes);
    for (GList *i = names; i != NULL; i = i->next) {
        if (!g_str_has_prefix(i->data, inventory->prefix))
            continue;
        expected++;
        if (!g_hash_table_contains(inventory->asked, i->data))
            g_error("%s is left over", (const char *)i->data);
    }
    g_assert_cmpuint(expected, >, 0);
    g_assert_cmpuint(expected, ==, g_hash_table_size(inventory->asked));
    g_hash_table_destroy(inventory->asked);
}

static void
assert_shape(RvProgram *p, RvTensor tensor, int h, int w, int c)
{
    g_assert_false(rv_is_none(tensor));
    RvShape s = rv_shape(p, tensor);
    g_assert_cmpint(s.h, ==, h);
    g_assert_cmpint(s.w, ==, w);
    g_assert_cmpint(s.c, ==, c);
}

/* ---- the published configs ---- */

static const RvClipConfig clip_l = { .vocab_size = 49408,
                                     .hidden_size = 768,
                                     .intermediate_size = 3072,
                                     .layers = 12,
                                     .heads = 12,
                                     .positions = 77,
                                     .act = RV_HIDDEN_QUICK_GELU };
static const RvClipConfig clip_h = { .vocab_size = 49408,
                                     .hidden_size = 1024,
                                     .intermediate_size = 4096,
                                     .layers = 23,
                                     .heads = 16,
                                     .positions = 77,
                                     .act = RV_HIDDEN_GELU };
static const RvClipConfig clip_bigg = { .vocab_size = 49408,
                                        .hidden_size = 1280,
                                        .intermediate_size = 5120,
                                        .layers = 32,
                                        .heads = 20,
                                        .positions = 77,
                                        .projection_dim = 1280,
                                        .act = RV_HIDDEN_GELU };
static const RvUnetConfig unet_sd15 = { .in_channels = 4,
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
                                        .flip_sin_to_cos = true };
static const RvUnetConfig unet_sd21 = { .in_channels = 4,
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
                                        .flip_sin_to_cos = true };
static const RvUnetConfig unet_sdxl = { .in_channels = 4,
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
                                        .flip_sin_to_cos = true,
                                        .addition_time_embed_dim = 256,
                                        .time_ids = 6,
                                        .pooled_dim = 1280 };
static const RvVaeConfig vae_config = { .in_channels = 3,
                                        .out_channels = 3,
                                        .latent_channels = 4,
                                        .levels = 4,
                                        .channels = { 128, 256, 512, 512 },
                                        .layers_per_block = 2,
                                        .norm_groups = 32,
                                        .has_quant_conv = true,
                                        .has_post_quant_conv = true,
                                        .mid_attention = true };
static const RvTaesdConfig taesd_config = { .latent_channels = 4,
                                            .levels = 4,
                                            .encoder_channels = { 64, 64, 64, 64 },
                                            .encoder_blocks = { 1, 3, 3, 3 },
                                            .decoder_channels = { 64, 64, 64, 64 },
                                            .decoder_blocks = { 3, 3, 3, 1 } };

typedef struct {
    const char *family, *text; /* which text encoder */
    const RvClipConfig *clip;
    const RvUnetConfig *unet;
    int size; /* of the latent */
} Family;

static const Family families[] = {
    { "sd15", "text_encoder", &clip_l, &unet_sd15, 64 },
    { "sd21", "text_encoder", &clip_h, &unet_sd21, 96 },
    { "sdxl", "text_encoder", &clip_l, &unet_sdxl, 128 },
    { "sdxl", "text_encoder_2", &clip_bigg, &unet_sdxl, 104 },
};

/* ---- the parts ---- */

static void
test_clip(gconstpointer data)
{
    const Family *f = data;
    g_autofree char *prefix = g_strconcat(f->text, "/", NULL);
    Inventory inventory = inventory_of(f->family, "diffusers", prefix);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find, .self = &inventory });
    RvProgram *p = rv_program_new(set);
    RvClipInputs in = {
        .ids = rv_input(p, "ids", RV_I32, (RvShape) { 2, 1, 77, 1 }),
        .end = rv_input(p, "end", RV_I32, (RvShape) { 2, 1, 1, 1 }),
        .skip = 1,
    };
    RvClipOutputs out = rv_clip_record(p, f->clip, &in);
    assert_shape(p, out.hidden, 1, 77, f->clip->hidden_size);
    assert_shape(p, out.pooled, 1, 1, f->clip->hidden_size);
    rv_program_free(p);
    rv_weight_set_free(set);
    check_complete(&inventory);
}

static RvUnetTime
time_inputs(RvProgram *p, const RvUnetConfig *config)
{
    RvUnetTime time = { .timestep = rv_input_exact(p, "timestep", RV_F32, (RvShape) { 2, 1, 1, 1 }) };
    if (config->pooled_dim > 0) {
        time.time_ids = rv_input_exact(p, "time_ids", RV_F32, (RvShape) { 2, 1, config->time_ids, 1 });
        time.pooled = rv_input(p, "pooled", RV_F32, (RvShape) { 2, 1, 1, config->pooled_dim });
    }
    return time;
}

static void
test_unet(gconstpointer data)
{
    const Family *f = data;
    Inventory inventory = inventory_of(f->family, "diffusers", "unet/");
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find, .self = &inventory });
    RvProgram *p = rv_program_new(set);
    RvUnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 2, f->size, f->size + 1, 4 }),
        .time = time_inputs(p, f->unet),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 2, 1, 77, f->unet->cross_attention_dim }),
    };
    assert_shape(p, rv_unet_record(p, f->unet, &in), f->size, f->size + 1, 4);
    rv_program_free(p);
    rv_weight_set_free(set);
    check_complete(&inventory);
}

static void
test_controlnet(gconstpointer data)
{
    const Family *f = data;
    Inventory inventory = inventory_of(f->family, "controlnet_diffusers", "");
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find, .self = &inventory });
    RvProgram *p = rv_program_new(set);
    const RvControlnetConfig config = {
        .unet = *f->unet,
        .conditioning_channels = 3,
        .hint_levels = 4,
        .hint_channels = { 16, 32, 96, 256 },
    };
    RvControlnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 2, f->size, f->size, 4 }),
        .time = time_inputs(p, f->unet),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 2, 1, 77, f->unet->cross_attention_dim }),
        .hint = rv_input(p, "hint", RV_F32, (RvShape) { 2, 8 * f->size, 8 * f->size, 3 }),
    };
    RvUnetResiduals out = rv_controlnet_record(p, &config, &in);
    RvShape shapes[RV_UNET_MAX_SKIPS];
    g_assert_cmpint(out.count, ==, rv_unet_skip_shapes(f->unet, 2, f->size, f->size, shapes));
    for (int i = 0; i < out.count; i++)
        assert_shape(p, out.down[i], shapes[i].h, shapes[i].w, shapes[i].c);
    assert_shape(p, out.mid, shapes[out.count - 1].h, shapes[out.count - 1].w, 1280);
    rv_program_free(p);
    rv_weight_set_free(set);
    check_complete(&inventory);
}

static void
test_vae(gconstpointer data)
{
    const Family *f = data;
    Inventory inventory = inventory_of(f->family, "diffusers", "vae/");
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find, .self = &inventory });
    RvProgram *p = rv_program_new(set);
    RvTensor image = rv_input(p, "image", RV_F32, (RvShape) { 1, 8 * f->size, 8 * f->size, 3 });
    RvVaeMoments moments = rv_vae_record_encode(p, &vae_config, image);
    assert_shape(p, moments.logvar, f->size, f->size, 4);
    RvTensor latent = rv_input(p, "latent", RV_F32, (RvShape) { 1, f->size, f->size, 4 });
    assert_shape(p, rv_vae_record_decode(p, &vae_config, latent), 8 * f->size, 8 * f->size, 3);
    rv_program_free(p);
    rv_weight_set_free(set);
    check_complete(&inventory);
}

static void
test_taesd(void)
{
    Inventory inventory = inventory_of("taesd", "diffusers", "");
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find, .self = &inventory });
    RvProgram *p = rv_program_new(set);
    RvTensor image = rv_input(p, "image", RV_F32, (RvShape) { 1, 512, 768, 3 });
    RvTensor latent = rv_taesd_record_encode(p, &taesd_config, image, RV_F32);
    assert_shape(p, latent, 64, 96, 4);
    assert_shape(p, rv_taesd_record_decode(p, &taesd_config, latent, RV_F32), 512, 768, 3);
    rv_program_free(p);
    rv_weight_set_free(set);
    check_complete(&inventory);
}

/* ---- configs without a published list ---- */

/* Hands out anything and notes "name [shape]". */
static bool
find_any(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    static const float nothing[1];
    g_autoptr(GString) text = g_string_new(name);
    *out = (RvArray) { .dtype = RV_F32, .rank = rank, .data = nothing };
    for (int i = 0; i < rank; i++) {
        out->shape[i] = shape[i];
        g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i == 0 ? " [" : ",", shape[i]);
    }
    g_string_append_c(text, ']');
    g_hash_table_add(self, g_strdup(text->str));
    return true;
}

/* What a UNet asks for; free with g_hash_table_destroy. */
static GHashTable *
asked_by_unet(const RvUnetConfig *config)
{
    GHashTable *asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find_any, .self = asked });
    RvProgram *p = rv_program_new(set);
    RvUnetInputs in = {
        .sample = rv_input(p, "sample", RV_F32, (RvShape) { 2, 32, 32, config->in_channels }),
        .time = time_inputs(p, config),
        .context = rv_input(p, "context", RV_F32, (RvShape) { 2, 1, 77, config->cross_attention_dim }),
    };
    if (config->time_cond_proj_dim > 0)
        in.time.guidance = rv_input(p, "guidance", RV_F32, (RvShape) { 2, 1, 1, config->time_cond_proj_dim });
    assert_shape(p, rv_unet_record(p, config, &in), 32, 32, config->out_channels);
    rv_program_free(p);
    rv_weight_set_free(set);
    return asked;
}

static void
test_refiner(void)
{
    const RvUnetConfig refiner = { .in_channels = 4,
                                   .out_channels = 4,
                                   .levels = 4,
                                   .channels = { 384, 768, 1536, 1536 },
                                   .layers_per_block = { 2, 2, 2, 2 },
                                   .depth = { 0, 4, 4, 0 },
                                   .up_depth = { 0, 4, 4, 0 },
                                   .mid_depth = 4,
                                   .heads = { 6, 12, 24, 24 },
                                   .cross_attention_dim = 1280,
                                   .norm_groups = 32,
                                   .norm_eps = 1e-5f,
                                   .flip_sin_to_cos = true,
                                   .addition_time_embed_dim = 256,
                                   .time_ids = 5,
                                   .pooled_dim = 1280 };
    GHashTable *asked = asked_by_unet(&refiner);
    g_assert_true(g_hash_table_contains(asked, "add_embedding.linear_1.weight [1536,2560]"));
    g_assert_true(g_hash_table_contains(asked, "up_blocks.3.resnets.0.conv1.weight [384,1152,3,3]"));
    g_assert_true(g_hash_table_contains(
        asked, "mid_block.attentions.0.transformer_blocks.3.attn2.to_k.weight [1536,1280]"));
    g_hash_table_destroy(asked);
}

/* An LCM takes the guidance scale's embedding, an inpainting model nine channels. */
static void
test_special_inputs(void)
{
    RvUnetConfig config = unet_sd15;
    config.time_cond_proj_dim = 256;
    config.in_channels = 9;
    GHashTable *asked = asked_by_unet(&config);
    g_assert_true(g_hash_table_contains(asked, "time_embedding.cond_proj.weight [320,256]"));
    g_assert_false(g_hash_table_contains(asked, "time_embedding.cond_proj.bias [320]"));
    g_assert_true(g_hash_table_contains(asked, "conv_in.weight [320,9,3,3]"));
    g_hash_table_destroy(asked);
}

/* Distilled UNets drop the mid block, or only its attention and second ResNet. */
static void
test_small_mid_blocks(void)
{
    RvUnetConfig config = unet_sdxl;
    config.mid_depth = 0;
    GHashTable *asked = asked_by_unet(&config);
    g_assert_true(g_hash_table_contains(asked, "mid_block.resnets.0.conv1.bias [1280]"));
    g_assert_false(g_hash_table_contains(asked, "mid_block.resnets.1.conv1.bias [1280]"));
    g_hash_table_destroy(asked);
    config.mid_depth = -1;
    asked = asked_by_unet(&config);
    g_assert_false(g_hash_table_contains(asked, "mid_block.resnets.0.conv1.bias [1280]"));
    g_hash_table_destroy(asked);
}

/* Layers behind the chosen one are not asked for, unless the pooled vector needs them. */
static void
test_skipped_layers(void)
{
    GHashTable *asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { .find = find_any, .self = asked });
    RvProgram *p = rv_program_new(set);
    RvClipInputs in = {
        .ids = rv_input(p, "ids", RV_I32, (RvShape) { 1, 1, 77, 1 }),
        .skip = 2,
        .is_hidden_normalised = true,
    };
    const char *last_used = "text_model.encoder.layers.9.mlp.fc2.bias [768]";
    const char *first_skipped = "text_model.encoder.layers.10.layer_norm1.weight [768]";
    assert_shape(p, rv_clip_record(p, &clip_l, &in).hidden, 1, 77, 768);
    g_assert_true(g_hash_table_contains(asked, last_used));
    g_assert_true(g_hash_table_contains(asked, "text_model.final_layer_norm.weight [768]"));
    g_assert_false(g_hash_table_contains(asked, first_skipped));
    in.end = rv_input(p, "end", RV_I32, (RvShape) { 1, 1, 1, 1 });
    rv_clip_record(p, &clip_l, &in);
    g_assert_true(g_hash_table_contains(asked, first_skipped));
    rv_program_free(p);
    rv_weight_set_free(set);
    g_hash_table_destroy(asked);
}

static JsonNode *
load_published(void)
{
    g_autofree char *path = golden_path("reference/shapes.json.gz");
    g_autoptr(GFile) file = g_file_new_for_path(path);
    g_autoptr(GError) error = NULL;
    g_autoptr(GInputStream) packed = G_INPUT_STREAM(g_file_read(file, NULL, &error));
    g_assert_no_error(error);
    g_autoptr(GConverter) gunzip = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
    g_autoptr(GInputStream) stream = g_converter_input_stream_new(packed, gunzip);
    g_autoptr(JsonParser) parser = json_parser_new();
    json_parser_load_from_stream(parser, stream, NULL, &error);
    g_assert_no_error(error);
    return json_parser_steal_root(parser);
}

static void
add(const char *part, const Family *family, GTestDataFunc func)
{
    g_autofree char *name = g_strdup_printf("/shapes/%s/%s", family->family, part);
    g_test_add_data_func(name, family, func);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    published = load_published();
    g_autoptr(GError) error = NULL;
    device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    g_assert_no_error(error);
    for (guint i = 0; i < G_N_ELEMENTS(families); i++) {
        add(families[i].text, &families[i], test_clip);
        if (!g_str_equal(families[i].text, "text_encoder"))
            continue;
        add("unet", &families[i], test_unet);
        add("controlnet", &families[i], test_controlnet);
        add("vae", &families[i], test_vae);
    }
    g_test_add_func("/shapes/taesd", test_taesd);
    g_test_add_func("/shapes/refiner", test_refiner);
    g_test_add_func("/shapes/special-inputs", test_special_inputs);
    g_test_add_func("/shapes/small-mid-blocks", test_small_mid_blocks);
    g_test_add_func("/shapes/skipped-layers", test_skipped_layers);
    int status = g_test_run();
    rv_device_close(device);
    json_node_unref(published);
    return status;
}
