/* A UNet with a LoRA merged into it against diffusers; the same under every spelling of the layers' names;
 * and without it again, bit for bit. */
#include <string.h>

#include <glib/gstdio.h>

#include "models/unet.h"
#include "part.h"
#include "weights/lora.h"
#include "weights/safetensors.h"

typedef struct {
    RvLora *lora;
    double weight;
} Patch;

static bool
merge(void *self, const char *name, RvArray *array, void **owned, GError **error)
{
    const Patch *patch = self;
    if (!rv_lora_touches(patch->lora, RV_PART_UNET, name))
        return true;
    float *values = g_new(float, (gsize)rv_array_count(array));
    rv_convert_to_f32(array->dtype, array->data, values, (gsize)rv_array_count(array));
    rv_lora_apply(patch->lora, RV_PART_UNET, name, patch->weight, values);
    array->dtype = RV_F32;
    array->data = *owned = values;
    return true;
}

static bool
touched(void *user, const char *name)
{
    return rv_lora_touches(user, RV_PART_UNET, name);
}

static RvProgram *
record_unet(Part *part, Golden *golden, const char *out)
{
    RvProgram *p = rv_program_new(part->weights);
    RvUnetInputs in = {
        .sample = part_input(p, golden, "unet0.sample"),
        .time.timestep = rv_input_exact(p, "unet0.timestep", RV_F32, (RvShape) { 1, 1, 1, 1 }),
        .context = part_input(p, golden, "unet0.context"),
    };
    rv_output(p, out, rv_unet_record(p, rv_model_unet_config(part->model), &in));
    part_compile(p);
    part_write(p, golden, "unet0.sample");
    part_write(p, golden, "unet0.timestep");
    part_write(p, golden, "unet0.context");
    return p;
}

static float *
read_out(RvProgram *p, const char *name, gsize *bytes)
{
    g_autoptr(GError) error = NULL;
    *bytes = rv_program_slot_bytes(p, name);
    float *values = g_malloc(*bytes);
    part_run(p);
    rv_program_read(p, name, values, *bytes, &error);
    g_assert_no_error(error);
    return values;
}

static void
check_file(const char *path, const char *model)
{
    g_autoptr(GError) error = NULL;
    Part *part = part_open(model, RV_PART_UNET);
    Golden *golden = part_golden("tiny-sd15");
    RvProgram *p = record_unet(part, golden, "lora.out");
    gsize bytes;
    g_autofree float *before = read_out(p, "lora.out", &bytes);
    g_autoptr(RvLora) lora = rv_lora_open(path, &error);
    g_assert_no_error(error);
    rv_lora_bind(lora, part->model, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(rv_lora_unknown(lora)->len, ==, 0);
    g_assert_cmpint(rv_lora_rank(lora), ==, 4);
    g_assert_cmpstr(rv_lora_kind(lora), ==, "LoRA");

    Patch patch = { lora, golden_get(golden, "lora.weight", NULL, NULL)[0] };
    rv_weight_set_set_patch(part->weights, (RvWeightPatch) { merge, &patch });
    g_assert_true(rv_weight_set_repack(part->weights, touched, lora, &error));
    part_run(p);
    part_compare(p, golden, "lora.out", 1.0f);

    rv_weight_set_set_patch(part->weights, (RvWeightPatch) { 0 });
    g_assert_true(rv_weight_set_repack(part->weights, touched, lora, &error));
    g_autofree float *after = read_out(p, "lora.out", &bytes);
    g_assert_cmpmem(before, bytes, after, bytes);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static char *
lora_path(void)
{
    return golden_path("reference/tiny-sd15/lora.safetensors");
}

static void
test_merged(void)
{
    g_autofree char *path = lora_path();
    check_file(path, "tiny-sd15");
    check_file(path, "tiny-sd15.safetensors");
}

/* ---- other spellings ---- */

typedef struct {
    GPtrArray *names;
    const RvFileTensor **from;
} Copy;

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const Copy *copy = user;
    memcpy(to, (const guint16 *)copy->from[index]->array.data + first, (gsize)count * 2);
    return true;
}

/* The file again with other names: those of `spell`, which gets the layer's dotted name. */
static void
check_spelling(char *(*spell)(const char *layer, const char *slot))
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = lora_path();
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, &error);
    Part *part = part_open("tiny-sd15", RV_PART_UNET);
    gsize count;
    const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
    g_autofree RvTensorSpec *specs = g_new0(RvTensorSpec, count);
    Copy copy = { g_ptr_array_new_with_free_func(g_free), g_new(const RvFileTensor *, count) };
    for (gsize i = 0; i < count; i++) {
        const char *dot = strchr(tensors[i].name, '.');
        g_autofree char *key = g_strndup(tensors[i].name, (gsize)(dot - tensors[i].name));
        /* the dotted name is the one in the UNet that is spelt so with underscores */
        g_autofree char *layer = g_strdup(key + strlen("lora_unet_"));
        static const char *const joints[] = { "down_blocks_", "up_blocks_", "mid_block_",
                                              "attentions_",  "resnets_",   "transformer_blocks_",
                                              "attn1_",       "attn2_",     "ff_",
                                              "net_",         "to_out_" };
        g_autoptr(GString) dotted = g_string_new(layer);
        for (gsize j = 0; j < G_N_ELEMENTS(joints); j++) {
            g_autofree char *to = g_strdup(joints[j]);
            to[strlen(to) - 1] = '.';
            g_string_replace(dotted, joints[j], to, 0);
        }
        for (gsize j = 0; j + 1 < dotted->len; j++)
            if (g_ascii_isdigit(dotted->str[j]) && dotted->str[j + 1] == '_')
                dotted->str[j + 1] = '.';
        g_ptr_array_add(copy.names, spell(dotted->str, dot));
        copy.from[i] = &tensors[i];
        specs[i] = (RvTensorSpec) { g_ptr_array_index(copy.names, i), RV_F16, tensors[i].array.rank, { 0 } };
        memcpy(specs[i].shape, tensors[i].array.shape, sizeof specs[i].shape);
    }
    g_autofree char *folder = g_dir_make_tmp("lora-XXXXXX", &error);
    g_autofree char *other = g_build_filename(folder, "other.safetensors", NULL);
    rv_safetensors_write(other, specs, count, NULL, fill, &copy, &error);
    g_assert_no_error(error);
    check_file(other, "tiny-sd15");
    g_remove(other);
    g_rmdir(folder);
    g_ptr_array_unref(copy.names);
    g_free(copy.from);
    part_close(part);
}

static char *
spell_peft(const char *layer, const char *slot)
{
    return strcmp(slot, ".lora_down.weight") == 0 ? g_strdup_printf("unet.%s.lora_A.weight", layer)
           : strcmp(slot, ".lora_up.weight") == 0 ? g_strdup_printf("unet.%s.lora_B.weight", layer)
                                                  : g_strdup_printf("unet.%s%s", layer, slot);
}

static char *
spell_lycoris(const char *layer, const char *slot)
{
    g_autofree char *flat = g_strdelimit(g_strdup(layer), ".", '_');
    return g_strdup_printf("lycoris_%s%s", flat, slot);
}

static char *
spell_comfy(const char *layer, const char *slot)
{
    return g_strdup_printf("diffusion_model.%s%s", layer, slot);
}

/* kohya's names of LDM's UNet: numbered blocks, modules within. */
static char *
spell_ldm(const char *layer, const char *slot)
{
    int level, index;
    char rest[200];
    g_autofree char *flat = NULL;
    g_autofree char *ldm = NULL;
    if (sscanf(layer, "down_blocks.%d.attentions.%d.%199s", &level, &index, rest) == 3)
        ldm = g_strdup_printf("input_blocks.%d.1.%s", 1 + 3 * level + index, rest);
    else if (sscanf(layer, "up_blocks.%d.attentions.%d.%199s", &level, &index, rest) == 3)
        ldm = g_strdup_printf("output_blocks.%d.1.%s", 3 * level + index, rest);
    else if (sscanf(layer, "mid_block.attentions.0.%199s", rest) == 1)
        ldm = g_strdup_printf("middle_block.1.%s", rest);
    else
        ldm = g_strdup(layer); /* files mix, too */
    flat = g_strdelimit(g_strdup(ldm), ".", '_');
    return g_strdup_printf("lora_unet_%s%s", flat, slot);
}

static void
test_spellings(void)
{
    check_spelling(spell_peft);
    check_spelling(spell_lycoris);
    check_spelling(spell_comfy);
    check_spelling(spell_ldm);
}

/* An adapter of one family is refused by another, with a reason. */
static void
test_other_family(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = lora_path();
    Part *part = part_open("tiny-sdxl", RV_PART_UNET);
    g_autoptr(RvLora) lora = rv_lora_open(path, &error);
    g_assert_false(rv_lora_bind(lora, part->model, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, "does not fit this model"));
    part_close(part);
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    g_test_add_func("/lora/merged", test_merged);
    g_test_add_func("/lora/spellings", test_spellings);
    g_test_add_func("/lora/other-family", test_other_family);
    return g_test_run();
}
