#include "weights/model.h"
#include "base/error.h"
#include "weights/model_private.h"
#include <string.h>
#include <sys/stat.h>

RvModel *
rv_model_new(const char *path)
{
    RvModel *model = g_new0(RvModel, 1);
    model->path = g_strdup(path);
    while (strlen(model->path) > 1 && g_str_has_suffix(model->path, "/"))
        model->path[strlen(model->path) - 1] = '\0';
    model->names = rv_names_new();
    model->files = g_ptr_array_new_with_free_func((GDestroyNotify)rv_safetensors_close);
    model->absent = g_ptr_array_new_with_free_func(g_free);
    return model;
}

void
rv_model_close(RvModel *model)
{
    if (!model)
        return;
    rv_names_free(model->names);
    g_ptr_array_unref(model->files);
    g_ptr_array_unref(model->absent);
    g_free(model->path);
    g_free(model->config_dir);
    g_free(model->family_name);
    g_free(model->tokenizer[0]);
    g_free(model->tokenizer[1]);
    g_free(model->scheduler);
    g_clear_pointer(&model->stated_scheduler, json_object_unref);
    g_free(model);
}

bool
rv_model_add_file(RvModel *model, const char *path, RvPart part, GError **error)
{
    gsize count;
    RvSafetensors *file = rv_safetensors_open(path, error);
    if (!file)
        return false;
    g_ptr_array_add(model->files, file);
    const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
    return rv_names_add(model->names, tensors, count, part, path, error);
}

/* Replaces the model's VAE by another one. */
static bool
replace_vae(RvModel *model, const char *path, GError **error)
{
    bool folder = g_file_test(path, G_FILE_TEST_IS_DIR);
    RvPart part = folder ? rv_part_of_folder(path) : RV_PART_NONE;
    g_autoptr(RvModel) other = rv_model_open_part(path, part, error);
    if (!other)
        return false;
    part = other->has[RV_PART_TAESD] ? RV_PART_TAESD : RV_PART_VAE;
    if (!other->has[part])
        return rv_error_set(error, RV_ERROR_INVALID, path, "give an AutoencoderKL or AutoencoderTiny",
                            "this is no VAE");
    rv_names_drop_part(model->names, RV_PART_VAE);
    rv_names_drop_part(model->names, RV_PART_TAESD);
    model->has[RV_PART_VAE] = model->has[RV_PART_TAESD] = false;
    for (guint i = 0; i < other->files->len; i++) {
        gsize count;
        RvSafetensors *file = g_ptr_array_index(other->files, i);
        const RvFileTensor *tensors = rv_safetensors_tensors(file, &count);
        if (!rv_names_add(model->names, tensors, count, part, path, error))
            return false;
    }
    while (other->files->len > 0)
        g_ptr_array_add(model->files, g_ptr_array_steal_index(other->files, 0));
    model->config[part] = other->config[part];
    model->config_used[part] = true;
    model->has[part] = true;
    return true;
}

bool
rv_model_deduce(RvModel *model, const char *path, GError **error)
{
    RvFamily family = rv_model_detect_family(model);
    for (int part = 0; part < RV_PARTS; part++) {
        RvGuess guess = { family == RV_FAMILY_SD15, part == RV_PART_TEXT && family != RV_FAMILY_SD21,
                          family == RV_FAMILY_SDXL ? 0.13025f : 0.18215f };
        if (model->has[part] && !model->config_used[part] &&
            !rv_config_deduce(model->names, (RvPart)part, &guess, &model->config[part], path, error))
            return false;
    }
    int projection = model->has[RV_PART_TEXT2] ? model->config[RV_PART_TEXT2].clip.projection_dim : 0;
    bool refiner = model->aesthetics || (model->has[RV_PART_TEXT2] && !model->has[RV_PART_TEXT]);
    if (model->has[RV_PART_UNET])
        rv_config_settle_pooled(&model->config[RV_PART_UNET].unet, projection, refiner);
    if (model->has[RV_PART_CONTROLNET])
        rv_config_settle_pooled(&model->config[RV_PART_CONTROLNET].controlnet.unet, projection, refiner);
    return true;
}

RvModel *
rv_model_open(const char *path, const RvModelOptions *options, GError **error)
{
    const RvModelOptions none = { 0 };
    struct stat st;
    g_autoptr(RvModel) model = rv_model_new(path);
    if (!options)
        options = &none;
    model->traits.is_folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    if (!(model->traits.is_folder ? rv_model_open_folder : rv_model_open_file)(model, options, error))
        return NULL;
    if (!rv_model_deduce(model, path, error))
        return NULL;
    if (options->vae && !replace_vae(model, options->vae, error))
        return NULL;
    rv_model_detect(model);
    return g_steal_pointer(&model);
}

/* `part` may be RV_PART_NONE: then config.json says what the folder holds. */
static bool
open_part_folder(RvModel *model, RvPart part, GError **error)
{
    if (part == RV_PART_NONE)
        part = rv_part_of_folder(model->path);
    if (part == RV_PART_NONE)
        return rv_error_set(error, RV_ERROR_NOT_FOUND, model->path,
                            "give the folder of a VAE, UNet or ControlNet",
                            "no config.json here that says what this is");
    return rv_model_add_part_folder(model, model->path, part, NULL, error);
}

RvModel *
rv_model_open_part(const char *path, RvPart part, GError **error)
{
    const RvModelOptions none = { 0 };
    g_autoptr(RvModel) model = rv_model_new(path);
    model->traits.is_folder = g_file_test(path, G_FILE_TEST_IS_DIR);
    if (!(model->traits.is_folder ? open_part_folder(model, part, error)
                                  : rv_model_open_file(model, &none, error)))
        return NULL;
    if (part != RV_PART_NONE && !rv_model_require(model, part, error))
        return NULL;
    if (!rv_model_deduce(model, path, error))
        return NULL;
    rv_model_detect(model);
    return g_steal_pointer(&model);
}

const char *
rv_model_path(const RvModel *model)
{
    return model->path;
}

const RvModelTraits *
rv_model_traits(const RvModel *model)
{
    return &model->traits;
}

bool
rv_model_has(const RvModel *model, RvPart part)
{
    return model->has[part];
}

bool
rv_model_require(const RvModel *model, RvPart part, GError **error)
{
    static const char *const todo[] = { "give a whole model",  "give a whole model",  "give a whole model",
                                        "give one with --vae", "give one with --vae", "give a ControlNet" };
    if (model->has[part])
        return true;
    return rv_error_set(error, RV_ERROR_NOT_FOUND, model->path, todo[part], "the model has no %s",
                        rv_part_name(part));
}

const RvClipConfig *
rv_model_clip_config(const RvModel *model, RvPart part)
{
    g_assert(part == RV_PART_TEXT || part == RV_PART_TEXT2);
    return model->has[part] ? &model->config[part].clip : NULL;
}

const RvUnetConfig *
rv_model_unet_config(const RvModel *model)
{
    return model->has[RV_PART_UNET] ? &model->config[RV_PART_UNET].unet : NULL;
}

const RvVaeConfig *
rv_model_vae_config(const RvModel *model)
{
    return model->has[RV_PART_VAE] ? &model->config[RV_PART_VAE].vae : NULL;
}

const RvTaesdConfig *
rv_model_taesd_config(const RvModel *model)
{
    return model->has[RV_PART_TAESD] ? &model->config[RV_PART_TAESD].taesd : NULL;
}

const RvControlnetConfig *
rv_model_controlnet_config(const RvModel *model)
{
    return model->has[RV_PART_CONTROLNET] ? &model->config[RV_PART_CONTROLNET].controlnet : NULL;
}

bool
rv_model_find(const RvModel *model, RvPart part, const char *name, RvArray *out)
{
    const RvBinding *binding = rv_names_find(model->names, part, name);
    if (!binding || !binding->readable)
        return false;
    *out = binding->array;
    return true;
}

static char *
shape_text(int rank, const gint64 *shape)
{
    GString *text = g_string_new("[");
    for (int i = 0; i < rank; i++)
        g_string_append_printf(text, "%s%" G_GINT64_FORMAT, i ? ", " : "", shape[i]);
    g_string_append_c(text, ']');
    return g_string_free(text, false);
}

bool
rv_model_get(const RvModel *model, RvPart part, const char *name, int rank, const gint64 *shape, RvArray *out,
             GError **error)
{
    const RvBinding *binding = rv_names_find(model->names, part, name);
    if (!binding)
        return rv_error_set(error, RV_ERROR_INVALID, model->path, "download the model again", "%s lacks %s",
                            rv_part_name(part), name);
    if (!binding->readable) {
        const RvFileTensor *tensor = g_array_index(model->names->sources, RvSource, binding->source).tensor;
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, model->path, "convert the model to float16",
                            "%s/%s is of type %.20s", rv_part_name(part), name, tensor->dtype_name);
    }
    *out = binding->array;
    if (rv_shapes_match(rank, shape, out->rank, out->shape))
        return true;
    g_autofree char *is = shape_text(out->rank, out->shape), *should = shape_text(rank, shape);
    return rv_error_set(error, RV_ERROR_INVALID, model->path, "download the model again",
                        "%s/%s is %s where %s is needed", rv_part_name(part), name, is, should);
}

void
rv_model_done(const RvModel *model, const RvArray *array)
{
    gsize bytes = (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    for (guint i = 0; i < model->files->len; i++) {
        const RvSafetensors *file = g_ptr_array_index(model->files, i);
        if (rv_safetensors_contains(file, array->data, bytes))
            rv_safetensors_advise(file, array->data, bytes, RV_ADVISE_DONTNEED);
    }
}

void
rv_model_each(const RvModel *model, RvPart part, RvModelVisit visit, void *user)
{
    GHashTableIter iter;
    void *name, *binding;
    g_hash_table_iter_init(&iter, model->names->bound[part]);
    while (g_hash_table_iter_next(&iter, &name, &binding))
        if (((RvBinding *)binding)->readable)
            visit(user, name, &((RvBinding *)binding)->array);
}

const char *
rv_model_tokenizer(const RvModel *model, RvPart part)
{
    g_assert(part == RV_PART_TEXT || part == RV_PART_TEXT2);
    return model->tokenizer[part == RV_PART_TEXT2];
}

const char *
rv_model_scheduler(const RvModel *model)
{
    return model->scheduler;
}

gsize
rv_model_bytes(const RvModel *model)
{
    gsize bytes = 0;
    for (guint i = 0; i < model->files->len; i++)
        bytes += rv_safetensors_size(g_ptr_array_index(model->files, i));
    return bytes;
}
