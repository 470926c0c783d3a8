/* The denoiser with ControlNets beside it against diffusers, in the names of diffusers and of the original.
 */
#include <string.h>

#include <glib/gstdio.h>

#include "engine/denoiser.h"
#include "golden.h"
#include "weights/model.h"
#include "weights/safetensors.h"

typedef struct {
    RvEngine *engine;
    RvModel *model;
    RvDenoiser *denoiser;
    RvControls *controls;
    Golden *golden;
    RvConditioning *conditioning;
} World;

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    return rv_model_get(self, RV_PART_UNET, name, rank, shape, out, error);
}

static void
begin(World *w)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *folder = golden_path("reference/tiny-sd15"),
                    *numbers = golden_path("reference/tiny-sd15/golden.safetensors");
    w->engine = rv_engine_open(&(RvEngineOptions) { .device = "cpu", .threads = 2 }, &error);
    g_assert_no_error(error);
    w->model = rv_model_open(folder, NULL, &error);
    g_assert_no_error(error);
    w->golden = golden_open(numbers);
    const RvUnetConfig *config = rv_model_unet_config(w->model);
    w->denoiser =
        rv_denoiser_new(w->engine, config, (RvWeightSource) { .find = find, .self = w->model }, NULL);
    w->controls = rv_controls_new(w->engine, config, NULL);
    gint64 shape[RV_MAX_RANK];
    gsize count;
    const float *context = golden_get(w->golden, "unet0.context", &count, shape);
    RvContext *one = rv_context_new((int)shape[1], (int)shape[2], 0);
    memcpy(one->context, context, count * sizeof *context);
    w->conditioning = rv_conditioning_new(one);
}

static void
end(World *w)
{
    rv_conditioning_free(w->conditioning);
    rv_controls_free(w->controls);
    rv_denoiser_free(w->denoiser);
    golden_close(w->golden);
    rv_model_close(w->model);
    rv_engine_close(w->engine);
}

/* `units` of the same ControlNet, with the golden hint (which is no 8-bit picture) and weights that add up.
 */
static void
make_set(World *w, const char *path, int units, RvControlSet *set)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_new(128, 128, false, &error);
    memset(picture->rgb, 0, 3 * 128 * 128);
    RvControlUse uses[2];
    float weight = golden_get(w->golden, "controlnet.scale", NULL, NULL)[0];
    for (int i = 0; i < units; i++)
        uses[i] =
            (RvControlUse) { .model = path, .image = picture, .weight = (double)weight / units, .end = 1.0 };
    RvRequest request = { .controls = uses, .control_count = units };
    g_autoptr(GPtrArray) maps = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    *set = (RvControlSet) { .evaluations = 1 };
    rv_controls_prepare(w->controls, &request, 128, 128, false, set, maps, &error);
    g_assert_no_error(error);
    g_assert_cmpint(set->count, ==, units);
    g_assert_cmpuint(maps->len, ==, (guint)units);
    const float *hint = golden_get(w->golden, "controlnet.hint", NULL, NULL); /* [1,3,128,128] */
    for (int u = 0; u < units; u++)
        for (int i = 0; i < 128 * 128; i++)
            for (int c = 0; c < 3; c++)
                set->units[u].hint[3 * i + c] = hint[c * 128 * 128 + i];
}

static float *
evaluate_sample(World *w, const float *sample, const RvControlSet *set, RvConditioning *negative, double cfg)
{
    g_autoptr(GError) error = NULL;
    RvGuidance guidance = { .images = 1,
                            .width = 16,
                            .height = 16,
                            .channels = 4,
                            .positive = w->conditioning,
                            .negative = negative,
                            .cfg_scale = cfg,
                            .controls = set };
    float *out = g_new(float, 4 * 16 * 16);
    float timestep = golden_get(w->golden, "unet0.timestep", NULL, NULL)[0];
    rv_denoiser_run(w->denoiser, &guidance, sample, (double)timestep, 0, out, &error);
    g_assert_no_error(error);
    return out;
}

static float *
evaluate(World *w, const RvControlSet *set, RvConditioning *negative, double cfg)
{
    return evaluate_sample(w, golden_get(w->golden, "unet0.sample", NULL, NULL), set, negative, cfg);
}

static void
check(const World *w, const float *out, const char *name)
{
    const float *want = golden_get(w->golden, name, NULL, NULL);
    double difference = golden_relative_difference(out, want, 4 * 16 * 16);
    g_test_message("%s: relative difference %.2g", name, difference);
    g_assert_cmpfloat(difference, <, 1e-4);
}

static void
test_units(void)
{
    World w = { 0 };
    begin(&w);
    g_autofree char *path = golden_path("reference/tiny-sd15/controlnet");
    for (int units = 1; units <= 2; units++) {
        RvControlSet set;
        make_set(&w, path, units, &set);
        g_autofree float *out = evaluate(&w, &set, NULL, 1.0);
        check(&w, out, "controlnet.out");
        set.units[0].start = set.units[1].start = 0.5; /* not yet */
        g_autofree float *early = evaluate(&w, &set, NULL, 1.0);
        check(&w, early, "unet0.out");
        rv_control_set_clear(&set);
    }
    end(&w);
}

/* With the same text on both sides guidance changes nothing, unless one side alone is steered. */
static void
test_modes(void)
{
    World w = { 0 };
    begin(&w);
    g_autofree char *path = golden_path("reference/tiny-sd15/controlnet");
    RvControlSet set;
    make_set(&w, path, 1, &set);
    g_autofree float *balanced = evaluate(&w, &set, w.conditioning, 3.0);
    check(&w, balanced, "controlnet.out");
    set.units[0].mode = RV_CONTROL_PROMPT;
    g_autofree float *soft = evaluate(&w, &set, NULL, 1.0);
    g_assert_true(memcmp(soft, balanced, 4096) != 0);
    set.units[0].mode = RV_CONTROL_UNIT;
    g_autofree float *one_sided = evaluate(&w, &set, w.conditioning, 3.0);
    const float *plain = golden_get(w.golden, "unet0.out", NULL, NULL);
    /* uncond + 3 (cond - uncond), with cond softly steered and uncond not at all */
    g_autofree float *want = g_new(float, 1024);
    for (int i = 0; i < 1024; i++)
        want[i] = plain[i] + 3.0f * (soft[i] - plain[i]);
    g_assert_cmpfloat(golden_relative_difference(one_sided, want, 1024), <, 1e-4);
    rv_control_set_clear(&set);
    end(&w);
}

/* [planes, side, side, channels], moved right and down by `by`. */
static float *
rolled(const float *from, int planes, int side, int channels, int by)
{
    float *to = g_new(float, (gsize)(planes * side * side * channels));
    for (int i = 0; i < planes * side * side; i++) {
        int x = (i % side + by) % side, y = (i / side % side + by) % side;
        memcpy(to + (i / side / side * side * side + y * side + x) * channels, from + i * channels,
               (gsize)channels * sizeof *to);
    }
    return to;
}

/* How far the output is from the one of a sample and a hint that were moved by one of the coarsest pixels. */
static double
shift_difference(World *w, const RvControlSet *set)
{
    const float *sample = golden_get(w->golden, "unet0.sample", NULL, NULL);
    g_autofree float *plain = evaluate_sample(w, sample, set, NULL, 1.0);
    g_autofree float *want = rolled(plain, 4, 16, 1, 8), *moved = rolled(sample, 4, 16, 1, 8);
    RvControlSet other = *set;
    g_autofree float *hint = rolled(set->units[0].hint, 1, 128, 3, 64);
    other.units[0].hint = hint;
    g_autofree float *got = evaluate_sample(w, moved, &other, NULL, 1.0);
    return golden_relative_difference(got, want, 4 * 16 * 16);
}

/* With tiling UNet and ControlNet do not know where the picture begins. */
static void
test_tiling(void)
{
    World w = { 0 };
    begin(&w);
    g_autofree char *path = golden_path("reference/tiny-sd15/controlnet");
    RvControlSet set;
    make_set(&w, path, 1, &set);
    g_assert_cmpfloat(shift_difference(&w, &set), >, 1e-2);
    rv_denoiser_set_tiling(w.denoiser, true);
    g_assert_cmpfloat(shift_difference(&w, &set), <, 1e-4);
    set.units[0].weight = 0.0;
    g_assert_cmpfloat(shift_difference(&w, &set), <, 1e-4);
    rv_denoiser_set_tiling(w.denoiser, false);
    set.units[0].weight = (double)golden_get(w.golden, "controlnet.scale", NULL, NULL)[0];
    g_autofree float *out = evaluate(&w, &set, NULL, 1.0);
    check(&w, out, "controlnet.out");
    rv_control_set_clear(&set);
    end(&w);
}

/* ---- the original's names ---- */

typedef struct {
    GPtrArray *names, *arrays;
} Copy;

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const RvArray *array = g_ptr_array_index(((Copy *)user)->arrays, index);
    memcpy(to, (const guint16 *)array->data + first, (gsize)count * 2);
    return true;
}

/* From diffusers' counting to the original's single row of blocks. */
static char *
original_name(const char *name, int per_level)
{
    static const char *const pairs[][2] = {
        { "conv_in.", "input_blocks.0.0." },
        { "time_embedding.linear_1.", "time_embed.0." },
        { "time_embedding.linear_2.", "time_embed.2." },
        { "controlnet_cond_embedding.conv_in.", "input_hint_block.0." },
        { "controlnet_cond_embedding.conv_out.", "input_hint_block.14." },
        { "controlnet_mid_block.", "middle_block_out.0." },
        { "mid_block.attentions.0.", "middle_block.1." },
        { "mid_block.resnets.0.", "middle_block.0." },
        { "mid_block.resnets.1.", "middle_block.2." },
    };
    static const char *const inner[][2] = {
        { "norm1.", "in_layers.0." },          { "conv1.", "in_layers.2." },
        { "time_emb_proj.", "emb_layers.1." }, { "norm2.", "out_layers.0." },
        { "conv2.", "out_layers.3." },         { "conv_shortcut.", "skip_connection." },
    };
    g_autoptr(GString) text = g_string_new(NULL);
    int level, index, end = 0;
    bool resnet = strstr(name, "resnets.") != NULL;
    if (sscanf(name, "controlnet_down_blocks.%d.%n", &index, &end) == 1 && end > 0)
        g_string_printf(text, "zero_convs.%d.0.%s", index, name + end);
    else if (sscanf(name, "controlnet_cond_embedding.blocks.%d.%n", &index, &end) == 1 && end > 0)
        g_string_printf(text, "input_hint_block.%d.%s", 2 * (index + 1), name + end);
    else if (sscanf(name, "down_blocks.%d.resnets.%d.%n", &level, &index, &end) == 2 && end > 0)
        g_string_printf(text, "input_blocks.%d.0.%s", 1 + level * (per_level + 1) + index, name + end);
    else if (sscanf(name, "down_blocks.%d.attentions.%d.%n", &level, &index, &end) == 2 && end > 0)
        g_string_printf(text, "input_blocks.%d.1.%s", 1 + level * (per_level + 1) + index, name + end);
    else if (sscanf(name, "down_blocks.%d.downsamplers.0.conv.%n", &level, &end) == 1 && end > 0)
        g_string_printf(text, "input_blocks.%d.0.op.%s", (level + 1) * (per_level + 1), name + end);
    else
        g_string_assign(text, name);
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++)
        if (g_str_has_prefix(name, pairs[i][0]))
            g_string_printf(text, "%s%s", pairs[i][1], name + strlen(pairs[i][0]));
    for (gsize i = 0; resnet && i < G_N_ELEMENTS(inner); i++)
        if (strstr(text->str, inner[i][0]) != NULL) {
            g_string_replace(text, inner[i][0], inner[i][1], 1);
            break;
        }
    return g_strconcat("control_model.", text->str, NULL);
}

typedef struct {
    Copy copy;
    int per_level;
} Visit;

static void
add_tensor(void *user, const char *name, const RvArray *array)
{
    Visit *visit = user;
    g_ptr_array_add(visit->copy.names, original_name(name, visit->per_level));
    g_ptr_array_add(visit->copy.arrays, g_memdup2(array, sizeof *array));
}

static void
test_original_names(void)
{
    World w = { 0 };
    begin(&w);
    g_autoptr(GError) error = NULL;
    g_autofree char *path = golden_path("reference/tiny-sd15/controlnet"),
                    *folder = g_dir_make_tmp("control-XXXXXX", &error);
    g_autofree char *file = g_build_filename(folder, "original.safetensors", NULL);
    g_autoptr(RvModel) model = rv_model_open_part(path, RV_PART_CONTROLNET, &error);
    Visit visit = { { g_ptr_array_new_with_free_func(g_free), g_ptr_array_new_with_free_func(g_free) },
                    rv_model_controlnet_config(model)->unet.layers_per_block[0] };
    rv_model_each(model, RV_PART_CONTROLNET, add_tensor, &visit);
    gsize count = visit.copy.names->len;
    g_autofree RvTensorSpec *specs = g_new0(RvTensorSpec, count);
    for (gsize i = 0; i < count; i++) {
        const RvArray *array = g_ptr_array_index(visit.copy.arrays, i);
        specs[i] = (RvTensorSpec) { g_ptr_array_index(visit.copy.names, i), RV_F16, array->rank, { 0 } };
        memcpy(specs[i].shape, array->shape, sizeof specs[i].shape);
    }
    rv_safetensors_write(file, specs, count, NULL, fill, &visit.copy, &error);
    g_assert_no_error(error);
    RvControlSet set;
    make_set(&w, file, 1, &set);
    g_autofree float *out = evaluate(&w, &set, NULL, 1.0);
    check(&w, out, "controlnet.out");
    rv_control_set_clear(&set);
    g_ptr_array_unref(visit.copy.names);
    g_ptr_array_unref(visit.copy.arrays);
    g_remove(file);
    g_rmdir(folder);
    end(&w);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/steering/units", test_units);
    g_test_add_func("/steering/modes", test_modes);
    g_test_add_func("/steering/tiling", test_tiling);
    g_test_add_func("/steering/original-names", test_original_names);
    return g_test_run();
}
