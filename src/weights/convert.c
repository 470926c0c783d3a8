#include "weights/convert.h"
#include "base/error.h"
#include "weights/convert_private.h"
#include "weights/json_file.h"
#include <errno.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

static void
clear_out_tensor(void *tensor)
{
    g_free((void *)(guintptr)((RvOutTensor *)tensor)->spec.name);
}

GArray *
rv_out_tensors_new(void)
{
    GArray *list = g_array_new(false, true, sizeof(RvOutTensor));
    g_array_set_clear_func(list, clear_out_tensor);
    return list;
}

static bool
is_float(RvDType dtype)
{
    return dtype != RV_I32 && dtype != RV_I64 && dtype != RV_U8;
}

RvOutTensor *
rv_out_tensors_add(GArray *list, char *name, const RvArray *array, RvDType dtype)
{
    RvOutTensor tensor = { .spec = { .name = name, .rank = array->rank }, .from = { *array }, .count = 1 };
    tensor.spec.dtype = is_float(array->dtype) ? dtype : array->dtype;
    memcpy(tensor.spec.shape, array->shape, sizeof array->shape);
    g_array_append_val(list, tensor);
    return &g_array_index(list, RvOutTensor, list->len - 1);
}

typedef struct {
    const GArray *list;
    RvConversion *conversion;
} Filler;

/* Elements first .. first+count-1 of a tensor in the order in which they are written, as floats. */
static void
gather(const RvOutTensor *tensor, gint64 first, gint64 count, float *to)
{
    const RvArray *from = tensor->from;
    gsize size = rv_dtype_size(from->dtype);
    gint64 each = rv_array_count(from), rows = from->shape[0], columns = from->shape[1];
    if (tensor->transposed) {
        for (gint64 i = 0; i < count; i++) {
            gint64 row = (first + i) % rows, column = (first + i) / rows;
            rv_convert_to_f32(from->dtype, (const char *)from->data + (gsize)(row * columns + column) * size,
                              &to[i], 1);
        }
        return;
    }
    for (gint64 i = 0; i < count;) {
        const RvArray *array = &from[(first + i) / each];
        gint64 offset = (first + i) % each, n = MIN(count - i, each - offset);
        rv_convert_to_f32(array->dtype, (const char *)array->data + (gsize)offset * size, to + i, (gsize)n);
        i += n;
    }
}

static bool
fits(const float *values, gint64 count, RvDType dtype)
{
    if (dtype != RV_F16)
        return true;
    for (gint64 i = 0; i < count; i++)
        if (fabsf(values[i]) >= 65520.0f && isfinite(values[i]))
            return false;
    return true;
}

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const Filler *filler = user;
    RvConversion *c = filler->conversion;
    const RvOutTensor *tensor = &g_array_index(filler->list, RvOutTensor, index);
    if (!is_float(tensor->spec.dtype)) {
        gsize size = rv_dtype_size(tensor->spec.dtype);
        memcpy(to, (const char *)tensor->from[0].data + (gsize)first * size, (gsize)count * size);
    } else {
        gather(tensor, first, count, c->scratch);
        if (!fits(c->scratch, count, tensor->spec.dtype))
            return rv_error_set(error, RV_ERROR_INVALID, c->path, "convert to bf16 or fp32",
                                "%s has numbers too large for fp16", tensor->spec.name);
        rv_convert_from_f32(tensor->spec.dtype, c->scratch, to, (gsize)count);
    }
    c->done += count;
    if (c->options->progress &&
        !c->options->progress(c->options->user, (double)c->done / (double)MAX(c->total, 1)))
        return rv_error_set(error, RV_ERROR_CANCELLED, c->path, NULL, "cancelled");
    return true;
}

bool
rv_out_tensors_write(const GArray *list, const RvModel *whole, const char *path, RvConversion *conversion,
                     GError **error)
{
    g_autofree RvTensorSpec *specs = g_new0(RvTensorSpec, list->len + 1);
    g_autoptr(GHashTable) metadata = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Filler filler = { list, conversion };
    for (guint i = 0; i < list->len; i++)
        specs[i] = g_array_index(list, RvOutTensor, i).spec;
    g_hash_table_insert(metadata, g_strdup("format"), g_strdup("pt"));
    if (whole)
        rv_stated_add(whole, metadata);
    return rv_safetensors_write(path, specs, list->len, metadata, fill, &filler, error);
}

typedef struct {
    const RvModel *model;
    RvPart part;
    GArray *list;
    RvDType dtype;
} Collector;

static void
collect(void *user, const char *name, int rank, const gint64 *shape)
{
    Collector *c = user;
    RvArray array;
    if (rv_model_find(c->model, c->part, name, &array))
        rv_out_tensors_add(c->list, g_strdup(name), &array, c->dtype);
}

static bool
write_text(const char *folder, const char *name, const char *text, gssize length, GError **error)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autoptr(GError) cause = NULL;
    if (g_file_set_contents(path, text, length, &cause))
        return true;
    return rv_error_set(error, RV_ERROR_IO, path, "free some space, or write to another place",
                        "cannot write: %s", cause->message);
}

static bool
make_folder(const char *path, GError **error)
{
    if (g_mkdir(path, 0777) == 0 || errno == EEXIST)
        return true;
    return rv_error_set(error, RV_ERROR_IO, path, "write to another place", "cannot create: %s",
                        g_strerror(errno));
}

static bool
copy_text(const char *from, const char *folder, const char *name, GError **error)
{
    gsize length = 0;
    g_autofree char *text = rv_file_read(from, 64 << 20, &length, error);
    return text && write_text(folder, name, text, (gssize)length, error);
}

/* The .json and .txt files of a tokenizer. */
static bool
copy_tokenizer(const char *from, const char *root, const char *name, GError **error)
{
    g_autofree char *folder = g_build_filename(root, name, NULL);
    g_autoptr(GDir) dir = from ? g_dir_open(from, 0, NULL) : NULL;
    const char *file;
    if (!dir)
        return true;
    if (!make_folder(folder, error))
        return false;
    while ((file = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(from, file, NULL);
        if ((g_str_has_suffix(file, ".json") || g_str_has_suffix(file, ".txt")) &&
            !copy_text(path, folder, file, error))
            return false;
    }
    return true;
}

/* A TAESD that takes the place of the VAE lives in vae/, as diffusers has it. */
static const char *
folder_of(const RvModel *model, RvPart part)
{
    return part == RV_PART_TAESD && !model->has[RV_PART_VAE] ? "vae" : rv_part_name(part);
}

static bool
write_part(const RvModel *model, RvPart part, const char *root, RvConversion *conversion, GError **error)
{
    bool is_text = part == RV_PART_TEXT || part == RV_PART_TEXT2;
    g_autofree char *folder = g_build_filename(root, folder_of(model, part), NULL);
    g_autofree char *path =
        g_build_filename(folder, is_text ? "model.safetensors" : "diffusion_pytorch_model.safetensors", NULL);
    g_autofree char *config = rv_model_config_json(model, part);
    g_autoptr(GArray) list = rv_out_tensors_new();
    Collector collector = { model, part, list, conversion->options->dtype };
    rv_config_expect(part, &model->config[part], collect, &collector);
    return make_folder(folder, error) && write_text(folder, "config.json", config, -1, error) &&
           rv_out_tensors_write(list, NULL, path, conversion, error);
}

/* The index and the scheduler of a model that had none: beside the class the entries that other samplers read
 * from it, as the published folders of Stable Diffusion have them. */
static bool
write_index(const RvModel *model, const char *root, GError **error)
{
    static const char *const classes[] = { "CLIPTextModel", "CLIPTextModelWithProjection",
                                           "UNet2DConditionModel", "AutoencoderKL", "AutoencoderTiny" };
    bool xl = model->traits.family == RV_FAMILY_SDXL;
    g_autofree char *folder = g_build_filename(root, "scheduler", NULL);
    g_autofree char *scheduler = g_strdup_printf(
        "{\n  \"_class_name\": \"%s\",\n  \"beta_start\": 0.00085,\n  \"beta_end\": 0.012,\n"
        "  \"beta_schedule\": \"scaled_linear\",\n  \"num_train_timesteps\": 1000,\n  \"steps_offset\": 1,\n"
        "  \"timestep_spacing\": \"leading\",\n  \"set_alpha_to_one\": false,\n  \"clip_sample\": false,\n"
        "  \"skip_prk_steps\": true,\n  \"prediction_type\": \"%s\",\n  \"rescale_betas_zero_snr\": %s\n}\n",
        "EulerDiscreteScheduler", rv_model_prediction_name(model->traits.prediction),
        model->traits.zero_terminal_snr ? "true" : "false");
    g_autoptr(GString) index = g_string_new("{\n");
    g_string_append_printf(index, "  \"_class_name\": \"%s\",\n",
                           xl ? "StableDiffusionXLPipeline" : "StableDiffusionPipeline");
    if (model->family_name)
        g_string_append_printf(index, "  \"_reverie_family\": \"%s\",\n", model->family_name);
    for (int part = RV_PART_TEXT; part <= RV_PART_TAESD; part++)
        if (model->has[part] && !model->extra[part])
            g_string_append_printf(index, "  \"%s\": [\"%s\", \"%s\"],\n", folder_of(model, (RvPart)part),
                                   part <= RV_PART_TEXT2 ? "transformers" : "diffusers", classes[part]);
    if (model->tokenizer[0])
        g_string_append(index, "  \"tokenizer\": [\"transformers\", \"CLIPTokenizer\"],\n");
    if (model->tokenizer[1])
        g_string_append(index, "  \"tokenizer_2\": [\"transformers\", \"CLIPTokenizer\"],\n");
    g_string_append(index, "  \"scheduler\": [\"diffusers\", \"EulerDiscreteScheduler\"]\n}\n");
    return make_folder(folder, error) && write_text(folder, "scheduler_config.json", scheduler, -1, error) &&
           write_text(root, "model_index.json", index->str, -1, error);
}

static bool
copy_index(const RvModel *model, const char *root, GError **error)
{
    g_autofree char *index = g_build_filename(model->path, "model_index.json", NULL);
    g_autofree char *folder = g_build_filename(root, "scheduler", NULL);
    if (!g_file_test(index, G_FILE_TEST_IS_REGULAR))
        return write_index(model, root, error);
    if (model->scheduler &&
        !(make_folder(folder, error) && copy_text(model->scheduler, folder, "scheduler_config.json", error)))
        return false;
    return copy_text(index, root, "model_index.json", error);
}

static bool
write_folder(const RvModel *model, const char *root, RvConversion *conversion, GError **error)
{
    for (int part = 0; part < RV_PARTS; part++)
        if (model->has[part] && !model->extra[part] &&
            !write_part(model, (RvPart)part, root, conversion, error))
            return false;
    return copy_tokenizer(model->tokenizer[0], root, "tokenizer", error) &&
           copy_tokenizer(model->tokenizer[1], root, "tokenizer_2", error) &&
           (model->traits.is_folder ? copy_index : write_index)(model, root, error);
}

/* Removes what write_folder made: folders one level deep. */
static void
remove_tree(const char *path)
{
    g_autoptr(GDir) dir = g_file_test(path, G_FILE_TEST_IS_SYMLINK) ? NULL : g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *inner = g_build_filename(path, name, NULL);
        remove_tree(inner);
    }
    g_remove(path);
}

static bool
convert_to_folder(const RvModel *model, const char *out, RvConversion *conversion, GError **error)
{
    g_autofree char *temporary = g_strconcat(out, ".XXXXXX", NULL);
    if (g_file_test(out, G_FILE_TEST_EXISTS))
        return rv_error_set(error, RV_ERROR_USAGE, out, "choose another name, or remove it first",
                            "it exists already");
    if (!g_mkdtemp_full(temporary, 0777))
        return rv_error_set(error, RV_ERROR_IO, out, "check that the folder above exists and may be written",
                            "cannot create: %s", g_strerror(errno));
    bool ok = write_folder(model, temporary, conversion, error);
    if (ok && g_rename(temporary, out) != 0)
        ok = rv_error_set(error, RV_ERROR_IO, out, "choose another name", "cannot rename: %s",
                          g_strerror(errno));
    if (!ok)
        remove_tree(temporary);
    return ok;
}

static bool
convert_to_file(const RvModel *model, const char *out, RvConversion *conversion, GError **error)
{
    const RvNames *names = model->names;
    g_autoptr(GArray) list = rv_out_tensors_new();
    if (model->traits.is_folder) {
        for (int part = 0; part < RV_PARTS; part++)
            if (model->has[part] && !model->extra[part])
                rv_ldm_add_part(model, (RvPart)part, list, conversion->options->dtype);
        return rv_out_tensors_write(list, model, out, conversion, error);
    }
    for (guint i = 0; i < names->sources->len; i++) {
        const RvSource *source = &g_array_index(names->sources, RvSource, i);
        bool marker = g_hash_table_contains(names->markers, source->tensor->name);
        if (source->tensor->readable && (source->state == RV_NAME_BOUND || marker))
            rv_out_tensors_add(list, g_strdup(source->tensor->name), &source->tensor->array,
                               conversion->options->dtype);
    }
    return rv_out_tensors_write(list, model, out, conversion, error);
}

bool
rv_model_convert(const RvModel *model, const char *out, const RvConvertOptions *options, GError **error)
{
    g_auto(RvModelCheck) check = { 0 };
    g_assert(options->dtype == RV_F16 || options->dtype == RV_BF16 || options->dtype == RV_F32);
    if (!rv_model_check(model, error))
        return false;
    rv_model_examine(model, &check);
    g_autofree float *scratch = g_new(float, RV_WRITE_PIECE);
    RvConversion conversion = { options, model->path, check.parameters, 0, scratch };
    return g_str_has_suffix(out, ".safetensors") ? convert_to_file(model, out, &conversion, error)
                                                 : convert_to_folder(model, out, &conversion, error);
}
