#include "base/error.h"
#include "weights/json_file.h"
#include "weights/model_private.h"
#include <string.h>

/* taesd_encoder.safetensors and taesd_decoder.safetensors belong together. */
static bool
add_other_half(RvModel *model, const char *path, GError **error)
{
    const RvNames *names = model->names;
    bool encoder = rv_names_find(names, RV_PART_TAESD, "encoder.layers.0.weight") != NULL;
    bool decoder = rv_names_find(names, RV_PART_TAESD, "decoder.layers.0.weight") != NULL;
    if (encoder == decoder)
        return true;
    g_autofree char *folder = g_path_get_dirname(path), *base = g_path_get_basename(path);
    g_auto(GStrv) pieces = g_strsplit(base, encoder ? "encoder" : "decoder", 2);
    if (g_strv_length(pieces) == 2) {
        g_autofree char *name = g_strconcat(pieces[0], encoder ? "decoder" : "encoder", pieces[1], NULL);
        g_autofree char *other = g_build_filename(folder, name, NULL);
        if (g_file_test(other, G_FILE_TEST_EXISTS))
            return rv_model_add_file(model, other, RV_PART_TAESD, error);
    }
    return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "put both files side by side",
                        "a TAESD %s without its %s", encoder ? "encoder" : "decoder",
                        encoder ? "decoder" : "encoder");
}

typedef struct {
    const RvModel *model;
    RvPart part;
    bool fits;
} Fit;

static void
fit_one(void *user, const char *name, int rank, const gint64 *shape)
{
    Fit *fit = user;
    const RvBinding *binding = rv_names_find(fit->model->names, fit->part, name);
    if (!binding || !binding->readable ||
        !rv_shapes_match(rank, shape, binding->array.rank, binding->array.shape))
        fit->fits = false;
}

bool
rv_model_config_fits(const RvModel *model, RvPart part, const RvConfig *config)
{
    Fit fit = { model, part, true };
    RvConfig settled = *config;
    if (part == RV_PART_UNET) {
        const RvBinding *projection = rv_names_find(model->names, RV_PART_TEXT2, "text_projection.weight");
        rv_config_settle_pooled(&settled.unet, projection ? (int)projection->array.shape[0] : 0,
                                !model->has[RV_PART_TEXT]);
    }
    rv_config_expect(part, &settled, fit_one, &fit);
    return fit.fits;
}

/* Takes config_dir's config of a part if it describes the very shapes in the file. */
static bool
borrow_config(RvModel *model, RvPart part, bool stated, GError **error)
{
    RvConfig config;
    g_autoptr(GError) cause = NULL;
    g_autofree char *path = g_build_filename(model->config_dir, rv_part_name(part), "config.json", NULL);
    if (!rv_config_read(path, part, &config, &cause)) {
        if (!stated || g_error_matches(cause, RV_ERROR, RV_ERROR_NOT_FOUND))
            return true;
        g_propagate_error(error, g_steal_pointer(&cause));
        return false;
    }
    bool fits = rv_model_config_fits(model, part, &config);
    if (!fits && stated)
        return rv_error_set(error, RV_ERROR_INVALID, path, "give the config folder of this model",
                            "the config describes other shapes than the file's");
    if (fits) {
        model->config[part] = config;
        model->config_used[part] = true;
    }
    return true;
}

static void
borrow_tokenizers(RvModel *model)
{
    static const char *const names[] = { "tokenizer", "tokenizer_2" };
    static const RvPart parts[] = { RV_PART_TEXT, RV_PART_TEXT2 };
    for (int i = 0; i < 2; i++) {
        g_autofree char *folder = g_build_filename(model->config_dir, names[i], NULL);
        g_autofree char *vocabulary = g_build_filename(folder, "vocab.json", NULL);
        if (model->config_used[parts[i]] && g_file_test(vocabulary, G_FILE_TEST_IS_REGULAR))
            model->tokenizer[i] = g_steal_pointer(&folder);
    }
}

static bool
borrow_configs(RvModel *model, const char *config_dir, GError **error)
{
    if (config_dir)
        model->config_dir = g_strdup(config_dir);
    else if (g_str_has_suffix(model->path, ".safetensors"))
        model->config_dir = g_strndup(model->path, strlen(model->path) - strlen(".safetensors"));
    if (!model->config_dir || !g_file_test(model->config_dir, G_FILE_TEST_IS_DIR))
        return config_dir
                   ? rv_error_set(error, RV_ERROR_NOT_FOUND, config_dir, "check the path", "no such folder")
                   : true;
    for (int part = 0; part < RV_PARTS; part++)
        if (model->has[part] && !borrow_config(model, (RvPart)part, config_dir != NULL, error))
            return false;
    borrow_tokenizers(model);
    return true;
}

bool
rv_model_open_file(RvModel *model, const RvModelOptions *options, GError **error)
{
    if (!rv_model_add_file(model, model->path, RV_PART_NONE, error))
        return false;
    if (rv_names_has_part(model->names, RV_PART_TAESD) && !add_other_half(model, model->path, error))
        return false;
    bool any = false;
    for (int part = 0; part < RV_PARTS; part++)
        any |= model->has[part] = rv_names_has_part(model->names, (RvPart)part);
    if (!any)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, model->path,
                            "give a Stable Diffusion 1.x, 2.x or XL model, or a part of one",
                            "no network that we know in this file");
    return borrow_configs(model, options->config_dir, error) && rv_stated_read(model, error);
}
