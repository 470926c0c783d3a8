/* What kind of model it is. Structure decides the family; names of files and folders only suggest settings.
 */
#include "weights/json_file.h"
#include "weights/model_private.h"
#include "weights/safetensors.h"
#include <glib/gstdio.h>
#include <string.h>

static gint64
dim(const RvModel *model, RvPart part, const char *name, int index)
{
    const RvBinding *binding = rv_names_find(model->names, part, name);
    return binding && binding->readable && index < binding->array.rank ? binding->array.shape[index] : 0;
}

/* Width of the text that the UNet attends to, and whether its attention blocks use matrices. */
static gint64
unet_context(const RvModel *model, bool *linear)
{
    for (int level = 0; level < RV_MAX_LEVELS; level++) {
        g_autofree char *path = g_strdup_printf("down_blocks.%d.attentions.0.", level);
        g_autofree char *key = g_strconcat(path, "transformer_blocks.0.attn2.to_k.weight", NULL);
        g_autofree char *projection = g_strconcat(path, "proj_in.weight", NULL);
        gint64 width = dim(model, RV_PART_UNET, key, 1);
        if (width > 0) {
            *linear = dim(model, RV_PART_UNET, projection, 2) == 0;
            return width;
        }
    }
    return 0;
}

RvFamily
rv_model_detect_family(const RvModel *model)
{
    bool linear = false;
    gint64 context = unet_context(model, &linear);
    if (model->has[RV_PART_TEXT2] || dim(model, RV_PART_UNET, "add_embedding.linear_1.weight", 1) > 0 ||
        dim(model, RV_PART_CONTROLNET, "add_embedding.linear_1.weight", 1) > 0)
        return RV_FAMILY_SDXL;
    bool gelu = model->has[RV_PART_TEXT] && model->config_used[RV_PART_TEXT] &&
                model->config[RV_PART_TEXT].clip.act == RV_HIDDEN_GELU;
    if (linear || gelu || context == 1024 || model->names->openclip[RV_PART_TEXT])
        return RV_FAMILY_SD21;
    return RV_FAMILY_SD15;
}

/* Whether the file's or folder's own name holds a word. */
static bool
name_has(const RvModel *model, const char *word)
{
    g_autofree char *base = g_path_get_basename(model->path), *lower = g_ascii_strdown(base, -1);
    return strstr(lower, word) != NULL;
}

static RvVariant
detect_variant(const RvModel *model)
{
    int in = model->has[RV_PART_UNET] ? model->config[RV_PART_UNET].unet.in_channels : 0;
    int out = model->has[RV_PART_UNET] ? model->config[RV_PART_UNET].unet.out_channels : 0;
    if (model->has[RV_PART_VAE])
        out = model->config[RV_PART_VAE].vae.latent_channels;
    else if (model->has[RV_PART_TAESD])
        out = model->config[RV_PART_TAESD].taesd.latent_channels;
    if (in > 0 && in == 2 * out + 1)
        return RV_VARIANT_INPAINT;
    if (in > 0 && in == 2 * out)
        return RV_VARIANT_PIX2PIX;
    if (in > 0 && in == out + 1)
        return RV_VARIANT_DEPTH;
    if (model->aesthetics || (model->has[RV_PART_UNET] && model->config[RV_PART_UNET].unet.time_ids == 5))
        return RV_VARIANT_REFINER;
    if ((model->has[RV_PART_UNET] && model->config[RV_PART_UNET].unet.time_cond_proj_dim) ||
        name_has(model, "lcm"))
        return RV_VARIANT_LCM;
    if (name_has(model, "lightning"))
        return RV_VARIANT_LIGHTNING;
    return name_has(model, "turbo") ? RV_VARIANT_TURBO : RV_VARIANT_BASE;
}

/* The scheduler's config, of the folder itself or of the one whose UNet config a single file borrows, or what
 * the file itself states. */
static void
read_scheduler(RvModel *model)
{
    g_autofree char *path = g_strdup(model->scheduler);
    if (!path && model->config_dir && model->config_used[RV_PART_UNET])
        path = g_build_filename(model->config_dir, "scheduler", "scheduler_config.json", NULL);
    g_autoptr(JsonObject) object = path ? rv_json_read(path, NULL) : NULL;
    if (!object && model->stated_scheduler)
        object = json_object_ref(model->stated_scheduler);
    if (!object)
        return;
    RvReader reader = { object, path, NULL };
    const char *type = rv_read_string(&reader, "prediction_type", "epsilon");
    model->traits.zero_terminal_snr |= rv_read_bool(&reader, "rescale_betas_zero_snr", false);
    model->traits.prediction =
        !strcmp(type, "v_prediction") ? RV_MODEL_PREDICTION_V : RV_MODEL_PREDICTION_EPSILON;
    model->traits.prediction_stated = true;
    g_clear_error(&reader.error);
}

static void
state_prediction(RvModel *model, bool is_v)
{
    model->traits.prediction = is_v ? RV_MODEL_PREDICTION_V : RV_MODEL_PREDICTION_EPSILON;
    model->traits.prediction_stated = true;
}

/* STEM.yaml beside a single file, as A1111 takes it: of the training's settings only what the UNet predicts
 * is read, `parameterization: "v"` of Stable Diffusion 2 or a scaling of that name of SDXL's trainer. */
static void
read_yaml(RvModel *model)
{
    enum { MOST = 1 << 20 };
    if (!g_str_has_suffix(model->path, ".safetensors"))
        return;
    g_autofree char *stem = g_strndup(model->path, strlen(model->path) - strlen(".safetensors"));
    g_autofree char *path = g_strconcat(stem, ".yaml", NULL), *text = NULL;
    GStatBuf status;
    if (g_stat(path, &status) != 0 || !S_ISREG(status.st_mode) || status.st_size > MOST ||
        !g_file_get_contents(path, &text, NULL, NULL))
        return;
    state_prediction(model, g_regex_match_simple("^\\s*parameterization:\\s*[\"']?v[\"']?\\s*$|\\.VScaling",
                                                 text, G_REGEX_MULTILINE | G_REGEX_RAW, 0));
}

/* The metadata that the Stability metadata specification ("modelspec") puts into a single file. */
static void
read_modelspec(RvModel *model)
{
    const char *type =
        rv_safetensors_metadata(g_ptr_array_index(model->files, 0), "modelspec.prediction_type");
    if (type != NULL && (g_str_equal(type, "v") || g_str_equal(type, "epsilon")))
        state_prediction(model, type[0] == 'v');
}

/* In the order in which the sources are believed. */
static void
detect_prediction(RvModel *model)
{
    RvModelTraits *traits = &model->traits;
    read_scheduler(model);
    if (!traits->is_folder && !traits->prediction_stated)
        read_yaml(model);
    if (g_hash_table_contains(model->names->markers, "v_pred"))
        state_prediction(model, true);
    if (g_hash_table_contains(model->names->markers, "ztsnr"))
        traits->zero_terminal_snr = true;
    if (!traits->is_folder && !traits->prediction_stated)
        read_modelspec(model);
    if (!traits->prediction_stated &&
        (name_has(model, "vpred") || name_has(model, "v-pred") || name_has(model, "v_pred") ||
         (traits->family == RV_FAMILY_SD21 && name_has(model, "768"))))
        traits->prediction = RV_MODEL_PREDICTION_V;
}

void
rv_model_detect(RvModel *model)
{
    static const char *const families[] = { "sd15", "sd21", "sdxl" };
    RvModelTraits *traits = &model->traits;
    traits->family = rv_model_detect_family(model);
    traits->family_name = model->family_name ? model->family_name : families[traits->family];
    traits->variant = detect_variant(model);
    detect_prediction(model);
}

const char *
rv_variant_name(RvVariant variant)
{
    static const char *const names[] = { "base",    "inpaint", "pix2pix",   "depth",
                                         "refiner", "turbo",   "lightning", "lcm" };
    return names[variant];
}

const char *
rv_model_prediction_name(RvModelPrediction prediction)
{
    return prediction == RV_MODEL_PREDICTION_V ? "v_prediction" : "epsilon";
}
