#include "base/error.h"
#include "tiny_model.h"
#include "weights/convert.h"
#include "weights/safetensors.h"
#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

static char *
reference(const char *name)
{
    return g_test_build_filename(G_TEST_BUILT, "data", "reference", name, NULL);
}

static guint
count_files(void)
{
    g_autoptr(GDir) dir = g_dir_open(tiny_folder, 0, NULL);
    guint n = 0;
    while (g_dir_read_name(dir))
        n++;
    return n;
}

static RvModel *
open_model(const char *path)
{
    g_autoptr(GError) error = NULL;
    RvModel *model = rv_model_open(path, NULL, &error);
    g_assert_no_error(error);
    rv_model_check(model, &error);
    g_assert_no_error(error);
    return model;
}

/* Converts and opens the result. */
static RvModel *
converted(const RvModel *model, const char *name, RvDType dtype)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *out = g_build_filename(tiny_folder, name, NULL);
    const RvConvertOptions options = { .dtype = dtype };
    tiny_remove(out);
    rv_model_convert(model, out, &options, &error);
    g_assert_no_error(error);
    return open_model(out);
}

typedef struct {
    const RvModel *other;
    RvPart part;
    float tolerance; /* relative */
    guint count;
} Same;

static void
assert_same(void *user, const char *name, const RvArray *array)
{
    Same *same = user;
    RvArray other;
    if (same->part == RV_PART_TEXT && !strcmp(name, "text_projection.weight"))
        return;
    if (!rv_model_get(same->other, same->part, name, array->rank, array->shape, &other, NULL))
        g_error("%s is lost", name);
    gint64 n = rv_array_count(array);
    g_autofree float *a = g_new(float, n), *b = g_new(float, n);
    rv_convert_to_f32(array->dtype, array->data, a, (gsize)n);
    rv_convert_to_f32(other.dtype, other.data, b, (gsize)n);
    for (gint64 i = 0; i < n; i++)
        if (fabsf(a[i] - b[i]) > same->tolerance * fabsf(a[i]))
            g_error("%s[%d] is %g instead of %g", name, (int)i, b[i], a[i]);
    same->count++;
}

static void
compare(const RvModel *a, const RvModel *b, float tolerance)
{
    for (int part = RV_PART_TEXT; part <= RV_PART_VAE; part++) {
        Same same = { b, (RvPart)part, tolerance, 0 };
        g_assert_cmpint(rv_model_has(a, (RvPart)part), ==, rv_model_has(b, (RvPart)part));
        rv_model_each(a, (RvPart)part, assert_same, &same);
    }
    g_assert_cmpmem(rv_model_unet_config(a), sizeof(RvUnetConfig), rv_model_unet_config(b),
                    sizeof(RvUnetConfig));
    g_assert_cmpmem(rv_model_vae_config(a), sizeof(RvVaeConfig), rv_model_vae_config(b), sizeof(RvVaeConfig));
    g_assert_cmpint(rv_model_clip_config(a, RV_PART_TEXT)->act, ==,
                    rv_model_clip_config(b, RV_PART_TEXT)->act);
    g_assert_cmpstr(rv_model_traits(a)->family_name, ==, rv_model_traits(b)->family_name);
}

/* Round the layouts and precisions; float16 numbers survive float32 and float16 exactly, bfloat16 to 8 bits.
 */
static void
test_round_trip(gconstpointer data)
{
    g_autofree char *path = reference(data);
    g_autoptr(RvModel) model = open_model(path);
    g_autoptr(RvModel) file = converted(model, "a.safetensors", RV_F32);
    compare(model, file, 0);
    g_autoptr(RvModel) again = converted(file, "b.safetensors", RV_F16);
    compare(model, again, 0);
    g_autoptr(RvModel) unpacked = converted(again, "c", RV_F16);
    compare(model, unpacked, 0);
    g_autoptr(RvModel) copied = converted(model, "d", RV_BF16);
    compare(model, copied, 1.0f / 256);
    RvArray array;
    g_assert_true(rv_model_find(copied, RV_PART_UNET, "conv_in.weight", &array));
    g_assert_cmpint(array.dtype, ==, RV_BF16);
    g_assert_cmpint(rv_model_traits(copied)->prediction, ==, rv_model_traits(model)->prediction);
    g_assert_nonnull(rv_model_tokenizer(copied, RV_PART_TEXT));
    g_assert_nonnull(rv_model_scheduler(copied));
    tiny_remove(rv_model_path(unpacked));
    tiny_remove(rv_model_path(copied));
}

/* The names, shapes and numbers that we write are those that the public conversion script wrote: the checksum
 * of its file is in weights.sha256, and the given file has it. */
static void
test_same_names_as_others(gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = reference(data), *name = g_strconcat(data, ".safetensors", NULL),
                    *theirs = reference(name);
    g_autofree char *ours = g_build_filename(tiny_folder, "ours.safetensors", NULL);
    const RvConvertOptions options = { .dtype = RV_F16 };
    g_autoptr(RvModel) model = open_model(path);
    rv_model_convert(model, ours, &options, &error);
    g_assert_no_error(error);
    g_autoptr(RvSafetensors) a = rv_safetensors_open(ours, NULL), b = rv_safetensors_open(theirs, NULL);
    gsize m, n;
    const RvFileTensor *x = rv_safetensors_tensors(a, &m);
    rv_safetensors_tensors(b, &n);
    g_assert_cmpuint(m, ==, n);
    for (gsize i = 0; i < m; i++) {
        const RvFileTensor *y = rv_safetensors_find(b, x[i].name);
        if (!y || y->bytes != x[i].bytes ||
            memcmp(x[i].array.shape, y->array.shape, sizeof y->array.shape) != 0 ||
            memcmp(x[i].array.data, y->array.data, y->bytes) != 0)
            g_error("%s differs", x[i].name);
    }
}

/* A model whose VAE is a tiny one, with a family name of its own, goes to one file and back. */
static void
test_tiny_vae(void)
{
    g_autofree char *path = tiny_make("tiny"), *vae = g_build_filename(path, "vae", NULL);
    tiny_remove(vae);
    tiny_make_part("tiny", RV_PART_TAESD, "vae", tiny_config(RV_PART_TAESD),
                   "diffusion_pytorch_model.safetensors");
    g_autoptr(RvModel) model = open_model(path);
    g_autoptr(RvModel) file = converted(model, "tiny.safetensors", RV_F16);
    g_autoptr(RvModel) back = converted(file, "tiny-back", RV_F32);
    for (int part = 0; part < RV_PARTS; part++) {
        Same same = { back, (RvPart)part, 0, 0 };
        rv_model_each(model, (RvPart)part, assert_same, &same);
        g_assert_cmpint(rv_model_has(back, (RvPart)part), ==, rv_model_has(model, (RvPart)part));
    }
    g_assert_false(rv_model_has(file, RV_PART_VAE));
    g_assert_cmpmem(rv_model_taesd_config(back), sizeof(RvTaesdConfig), rv_model_taesd_config(model),
                    sizeof(RvTaesdConfig));
}

static bool
cancel_half(void *user, double done)
{
    double *most = user;
    g_assert_cmpfloat(done, >=, *most);
    g_assert_cmpfloat(done, <=, 1.0);
    *most = done;
    return done < 0.5;
}

static void
test_failures_leave_nothing(void)
{
    g_autofree char *path = reference("tiny-sd15"), *out = g_build_filename(tiny_folder, "x", NULL);
    g_autofree char *file = g_build_filename(tiny_folder, "x.safetensors", NULL);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvModel) model = open_model(path);
    double done = 0;
    RvConvertOptions options = { RV_F16, cancel_half, &done };
    guint before = count_files();
    g_assert_false(rv_model_convert(model, out, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_cmpfloat(done, >=, 0.5);
    done = 0;
    g_assert_false(rv_model_convert(model, file, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_clear_error(&error);
    g_assert_cmpuint(count_files(), ==, before);
    g_assert_cmpint(g_mkdir(out, 0700), ==, 0);
    options.progress = NULL;
    g_assert_false(rv_model_convert(model, out, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    g_clear_error(&error);
    g_assert_false(rv_model_convert(model, "/no/such/folder/x", &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
}

/* Replaces the first such bytes of a file by as many others. */
static void
spoil(const char *path, const char *from, const char *to)
{
    g_autofree char *bytes = NULL;
    gsize length;
    g_assert_cmpuint(strlen(from), ==, strlen(to));
    g_assert_true(g_file_get_contents(path, &bytes, &length, NULL));
    char *at = memmem(bytes, length, from, strlen(from));
    g_assert_nonnull(at);
    memcpy(at, to, strlen(to));
    g_assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
}

/* What tensors do not show (heads, activation, prediction, the family's name) goes into a single file, which
 * says so when it is opened alone; a statement that is broken or about other tensors is refused. */
static void
test_statement(void)
{
    static const struct {
        const char *from, *to, *about;
    } wrong[] = { { "\\\"norm_num_groups\\\":32", "\\\"norm_num_groups\\\":[]", "norm_num_groups" },
                  { "\\\"cross_attention_dim\\\":1", "\\\"cross_attention_dim\\\":9", "other tensors" },
                  { "\"{\\\"text_encoder\\\"", "\"[\\\"text_encoder\\\"", "JSON" } };
    g_autofree char *source = reference("tiny-sd21"),
                    *out = g_build_filename(tiny_folder, "s.safetensors", NULL);
    g_autofree char *good = NULL;
    gsize length;
    g_autoptr(RvModel) model = open_model(source);
    g_autoptr(RvModel) file = converted(model, "s.safetensors", RV_F16);
    g_assert_cmpint(rv_model_traits(model)->prediction, ==, RV_MODEL_PREDICTION_V);
    g_assert_cmpint(rv_model_traits(file)->prediction, ==, RV_MODEL_PREDICTION_V);
    g_assert_true(rv_model_traits(file)->prediction_stated);
    for (int part = RV_PART_TEXT; part <= RV_PART_VAE; part++) {
        g_autofree char *a = rv_model_config_json(model, (RvPart)part),
                        *b = rv_model_config_json(file, (RvPart)part);
        g_assert_cmpstr(a, ==, b);
    }
    g_assert_true(g_file_get_contents(out, &good, &length, NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(out, good, (gssize)length, NULL));
        spoil(out, wrong[i].from, wrong[i].to);
        g_autoptr(RvModel) bad = rv_model_open(out, NULL, &error);
        g_assert_null(bad);
        g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
        g_assert_nonnull(strstr(error->message, wrong[i].about));
    }
}

static bool
fill_large(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    for (gint64 i = 0; i < count; i++)
        ((float *)to)[i] = first + i == *(gint64 *)user ? 70000.0f : 1.0f;
    return true;
}

/* A number beyond float16 is an error that names its tensor, and fits into bfloat16. */
static void
test_overflow(void)
{
    static const int blocks[] = { 1, 3, 3, 3 };
    g_autofree char *path = g_build_filename(tiny_folder, "large.safetensors", NULL);
    g_autofree char *out = g_build_filename(tiny_folder, "small.safetensors", NULL);
    g_autofree char *taesd = reference("tiny-sdxl/taesd/diffusion_pytorch_model.safetensors");
    g_autoptr(GError) error = NULL;
    g_autoptr(RvSafetensors) source = rv_safetensors_open(taesd, &error);
    gsize count;
    gint64 where = 3;
    const RvFileTensor *tensors = rv_safetensors_tensors(source, &count);
    g_autofree RvTensorSpec *specs = g_new0(RvTensorSpec, count);
    for (gsize i = 0; i < count; i++) {
        specs[i] = (RvTensorSpec) { tensors[i].name, RV_F32, tensors[i].array.rank, { 0 } };
        memcpy(specs[i].shape, tensors[i].array.shape, sizeof specs[i].shape);
    }
    g_assert_true(rv_safetensors_write(path, specs, count, NULL, fill_large, &where, &error));
    g_autoptr(RvModel) model = rv_model_open(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpmem(rv_model_taesd_config(model)->encoder_blocks, sizeof blocks, blocks, sizeof blocks);
    RvConvertOptions options = { .dtype = RV_F16 };
    g_assert_false(rv_model_convert(model, out, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "too large for fp16"));
    g_assert_false(g_file_test(out, G_FILE_TEST_EXISTS));
    g_clear_error(&error);
    options.dtype = RV_BF16;
    g_assert_true(rv_model_convert(model, out, &options, &error));
}

static void
test_info(void)
{
    g_autofree char *path = reference("tiny-sdxl");
    g_autoptr(RvModel) model = open_model(path);
    g_autofree char *text = rv_model_info_json(model);
    g_autoptr(JsonNode) node = json_from_string(text, NULL);
    JsonObject *o = json_node_get_object(node);
    g_assert_cmpstr(json_object_get_string_member(o, "family"), ==, "sdxl");
    g_assert_cmpstr(json_object_get_string_member(o, "variant"), ==, "base");
    g_assert_cmpstr(json_object_get_string_member(o, "prediction"), ==, "epsilon");
    g_assert_cmpstr(json_object_get_string_member(o, "layout"), ==, "folder");
    g_assert_cmpint(json_object_get_int_member(o, "parameters"), ==, 6379371);
    g_assert_cmpint(json_object_get_int_member(o, "bytes"), >, 2 * 6379371);
    g_assert_cmpuint(json_array_get_length(json_object_get_array_member(o, "components")), ==, 4);
    g_assert_cmpuint(json_array_get_length(json_object_get_array_member(o, "extras")), ==, 1);
    g_assert_cmpuint(json_array_get_length(json_object_get_array_member(o, "missing")), ==, 0);
    g_assert_cmpuint(json_array_get_length(json_object_get_array_member(o, "unused")), ==, 0);
    g_assert_null(strchr(text, '\n'));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tiny_begin();
    g_test_add_data_func("/weights/convert/round-trip/sd15", "tiny-sd15", test_round_trip);
    g_test_add_data_func("/weights/convert/round-trip/sd21", "tiny-sd21", test_round_trip);
    g_test_add_data_func("/weights/convert/round-trip/sdxl", "tiny-sdxl", test_round_trip);
    g_test_add_data_func("/weights/convert/names/sd15", "tiny-sd15", test_same_names_as_others);
    g_test_add_data_func("/weights/convert/names/sdxl", "tiny-sdxl", test_same_names_as_others);
    g_test_add_func("/weights/convert/tiny-vae", test_tiny_vae);
    g_test_add_func("/weights/convert/failures", test_failures_leave_nothing);
    g_test_add_func("/weights/convert/statement", test_statement);
    g_test_add_func("/weights/convert/overflow", test_overflow);
    g_test_add_func("/weights/convert/info", test_info);
    int failed = g_test_run();
    tiny_end();
    return failed;
}
