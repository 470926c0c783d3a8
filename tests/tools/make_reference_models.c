/* Makes the reference models whole: writes the weights that git does not hold, 70 MB of random numbers, and
 * links everything that tests/data/reference does hold beside them.
 *
 *     make-reference-models tests/data/reference OUT
 *
 * Every file must have the checksum that its original has in weights.sha256, so that a drift of the random
 * numbers, of the list of tensors or of the conversion to single files is an error here. */
#include "base/error.h"
#include "digest.h"
#include "draw_weights.h"
#include "weights/convert.h"
#include "weights/safetensors.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define SEED 1000 /* the first of the numbers' seeds */

static const struct {
    const char *folder, *file;
    RvPart part;
    guint64 seed;
} parts[] = {
    { "tiny-sd15/text_encoder", "model.safetensors", RV_PART_TEXT, SEED + 1 },
    { "tiny-sd15/unet", "diffusion_pytorch_model.safetensors", RV_PART_UNET, SEED + 2 },
    { "tiny-sd15/vae", "diffusion_pytorch_model.safetensors", RV_PART_VAE, SEED + 3 },
    { "tiny-sd15/unet_inpaint", "diffusion_pytorch_model.safetensors", RV_PART_UNET, SEED + 5 },
    { "tiny-sd15/controlnet", "diffusion_pytorch_model.safetensors", RV_PART_CONTROLNET, SEED + 6 },
    { "tiny-sd21/text_encoder", "model.safetensors", RV_PART_TEXT, SEED + 11 },
    { "tiny-sd21/unet", "diffusion_pytorch_model.safetensors", RV_PART_UNET, SEED + 12 },
    { "tiny-sd21/vae", "diffusion_pytorch_model.safetensors", RV_PART_VAE, SEED + 13 },
    { "tiny-sdxl/text_encoder", "model.safetensors", RV_PART_TEXT, SEED + 21 },
    { "tiny-sdxl/text_encoder_2", "model.safetensors", RV_PART_TEXT2, SEED + 22 },
    { "tiny-sdxl/unet", "diffusion_pytorch_model.safetensors", RV_PART_UNET, SEED + 23 },
    { "tiny-sdxl/vae", "diffusion_pytorch_model.safetensors", RV_PART_VAE, SEED + 24 },
    { "tiny-sdxl/taesd", "diffusion_pytorch_model.safetensors", RV_PART_TAESD, SEED + 25 },
};

/* ---- what is in git ---- */

static void
link_file(const char *from, const char *to)
{
    g_remove(to);
    if (symlink(from, to) != 0)
        g_error("%s: %s", to, g_strerror(errno));
}

static void
link_tree(const char *from, const char *to)
{
    GError *error = NULL;
    const char *name;
    g_autoptr(GDir) dir = g_dir_open(from, 0, &error);
    if (!dir || g_mkdir_with_parents(to, 0777) != 0)
        g_error("%s: %s", to, error ? error->message : g_strerror(errno));
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *below = g_build_filename(from, name, NULL),
                        *there = g_build_filename(to, name, NULL);
        if (g_file_test(below, G_FILE_TEST_IS_DIR))
            link_tree(below, there);
        else
            link_file(below, there);
    }
}

/* ---- single files ---- */

static void
convert(const char *out, const char *name)
{
    GError *error = NULL;
    const RvConvertOptions options = { .dtype = RV_F16 };
    g_autofree char *folder = g_build_filename(out, name, NULL);
    g_autofree char *single = g_strconcat(folder, ".safetensors", NULL);
    g_autoptr(RvModel) model = rv_model_open(folder, NULL, &error);
    if (!model || !rv_model_convert(model, single, &options, &error))
        g_error("%s", error->message);
}

typedef struct {
    GArray *specs;   /* of RvTensorSpec */
    GPtrArray *data; /* borrowed */
    GStringChunk *names;
} Copies;

static void
copy_tensor(Copies *copies, const RvFileTensor *tensor, const char *prefix)
{
    g_autofree char *name = g_strconcat(prefix, tensor->name, NULL);
    RvTensorSpec spec = { g_string_chunk_insert(copies->names, name), RV_F16, tensor->array.rank, { 0 } };
    memcpy(spec.shape, tensor->array.shape, sizeof spec.shape);
    g_array_append_val(copies->specs, spec);
    g_ptr_array_add(copies->data, (gpointer)(guintptr)tensor->array.data);
}

static bool
fill_copy(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const Copies *copies = user;
    memcpy(to, (const guint16 *)copies->data->pdata[index] + first, sizeof(guint16) * (gsize)count);
    return true;
}

/* diffusers' own script gives the text encoder of SD 2.x the names that it has in SD 1.x, not OpenCLIP's:
 * files with such names are about. */
static void
name_text_like_sd15(const char *out, const char *name)
{
    GError *error = NULL;
    gsize count;
    g_autofree char *text = g_build_filename(out, name, "text_encoder", "model.safetensors", NULL);
    g_autofree char *folder = g_build_filename(out, name, NULL);
    g_autofree char *single = g_strconcat(folder, ".safetensors", NULL);
    g_autoptr(RvSafetensors) a = rv_safetensors_open(single, &error), b = rv_safetensors_open(text, &error);
    if (!a || !b)
        g_error("%s", error->message);
    Copies copies = { g_array_new(false, true, sizeof(RvTensorSpec)), g_ptr_array_new(),
                      g_string_chunk_new(4096) };
    const RvFileTensor *tensors = rv_safetensors_tensors(a, &count);
    for (gsize i = 0; i < count; i++)
        if (!g_str_has_prefix(tensors[i].name, "cond_stage_model."))
            copy_tensor(&copies, &tensors[i], "");
    tensors = rv_safetensors_tensors(b, &count);
    for (gsize i = 0; i < count; i++)
        copy_tensor(&copies, &tensors[i], "cond_stage_model.transformer.");
    if (!rv_safetensors_write(single, (const RvTensorSpec *)(void *)copies.specs->data, copies.specs->len,
                              NULL, fill_copy, &copies, &error))
        g_error("%s", error->message);
    g_array_unref(copies.specs);
    g_ptr_array_unref(copies.data);
    g_string_chunk_free(copies.names);
}

/* ---- all ---- */

static void
draw_parts(const char *source, const char *out)
{
    for (guint i = 0; i < G_N_ELEMENTS(parts); i++) {
        g_autofree char *config = g_build_filename(source, parts[i].folder, "config.json", NULL);
        g_autofree char *path = g_build_filename(out, parts[i].folder, parts[i].file, NULL);
        g_autoptr(Weights) weights = weights_draw(config, parts[i].part, parts[i].seed);
        weights_write(weights, path);
        if (!g_str_equal(parts[i].folder, "tiny-sd15/unet"))
            continue;
        g_autofree char *lora_path = g_build_filename(out, "tiny-sd15", "lora.safetensors", NULL);
        g_autoptr(Weights) lora = weights_draw_lora(weights, SEED);
        weights_write(lora, lora_path);
    }
}

/* Each line of weights.sha256 is a checksum, two spaces and a path. Gives the number of files that differ. */
static int
check(const char *source, const char *out)
{
    GError *error = NULL;
    int wrong = 0;
    g_autofree char *path = g_build_filename(source, "weights.sha256", NULL), *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, &error))
        g_error("%s", error->message);
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    for (char **line = lines; *line; line++) {
        const char *name = strstr(*line, "  ");
        if (!name)
            g_error("%s: no checksum and path: %s", path, *line);
        g_autofree char *file = g_build_filename(out, name + 2, NULL), *digest = digest_of_file(file, &error);
        if (!digest)
            g_error("%s", error->message);
        const bool same = strncmp(*line, digest, strlen(digest)) == 0;
        g_print("%s %s %s\n", same ? "ok" : "DIFFERS", digest, name + 2);
        if (!same)
            g_printerr("%s: the numbers are not those of the reference (%s)\n", file, path);
        wrong += !same;
    }
    return wrong;
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        g_printerr("usage: make-reference-models tests/data/reference OUT\n");
        return 2;
    }
    g_autofree char *source = g_canonicalize_filename(argv[1], NULL);
    g_autofree char *out = g_canonicalize_filename(argv[2], NULL);
    link_tree(source, out);
    draw_parts(source, out);
    convert(out, "tiny-sd15");
    convert(out, "tiny-sd21");
    name_text_like_sd15(out, "tiny-sd21");
    convert(out, "tiny-sdxl");
    return check(source, out) ? 1 : 0;
}
