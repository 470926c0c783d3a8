#include "base/error.h"
#include "weights/json_file.h"
#include "weights/model_private.h"
#include <string.h>

#define MAX_SHARDS 1000

static bool
is_file(const char *path)
{
    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

/* What is there under the name of a config but is no file must not pass for a model without that config. */
static bool
must_be_file(const char *path, GError **error)
{
    if (is_file(path) ||
        (!g_file_test(path, G_FILE_TEST_EXISTS) && !g_file_test(path, G_FILE_TEST_IS_SYMLINK)))
        return true;
    return rv_error_set(error, RV_ERROR_INVALID, path, "download the model again", "not a regular file");
}

RvPart
rv_part_of_folder(const char *folder)
{
    static const struct {
        const char *name;
        RvPart part;
    } classes[] = {
        { "AutoencoderKL", RV_PART_VAE },
        { "AutoencoderTiny", RV_PART_TAESD },
        { "UNet2DConditionModel", RV_PART_UNET },
        { "ControlNetModel", RV_PART_CONTROLNET },
    };
    g_autofree char *path = g_build_filename(folder, "config.json", NULL);
    g_autoptr(JsonObject) object = rv_json_read(path, NULL);
    if (!object)
        return RV_PART_NONE;
    RvReader reader = { object, path, NULL };
    const char *name = rv_read_string(&reader, "_class_name", "");
    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++)
        if (!strcmp(name, classes[i].name))
            return classes[i].part;
    g_clear_error(&reader.error);
    return RV_PART_NONE;
}

/* A shard's name must be a plain file name: an index must not lead out of its folder. */
static bool
check_shard_name(const char *name, const char *index, GError **error)
{
    if (name[0] && name[0] != '.' && !strpbrk(name, "/\\") && g_str_has_suffix(name, ".safetensors"))
        return true;
    return rv_error_set(error, RV_ERROR_INVALID, index, "download the model again",
                        "\"%.80s\" is not the name of a .safetensors file in this folder", name);
}

/* Every tensor that the index names must be in the file that it names. */
static bool
check_weight_map(RvModel *model, JsonObject *map, GHashTable *shards, const char *index, GError **error)
{
    g_autoptr(GList) names = json_object_get_members(map);
    for (GList *l = names; l; l = l->next) {
        const char *shard = json_object_get_string_member(map, l->data);
        const RvSafetensors *file = g_hash_table_lookup(shards, shard);
        if (!rv_safetensors_find(file, l->data))
            return rv_error_set(error, RV_ERROR_INVALID, index, "download the model again",
                                "%.200s does not hold %.200s", shard, (const char *)l->data);
    }
    return true;
}

static bool
add_shards(RvModel *model, const char *folder, const char *index, RvPart part, GError **error)
{
    g_autoptr(JsonObject) object = rv_json_read(index, error);
    g_autoptr(GHashTable) shards = g_hash_table_new(g_str_hash, g_str_equal);
    if (!object)
        return false;
    JsonNode *node = json_object_get_member(object, "weight_map");
    if (!node || !JSON_NODE_HOLDS_OBJECT(node))
        return rv_error_set(error, RV_ERROR_INVALID, index, "download the model again", "no \"weight_map\"");
    JsonObject *map = json_node_get_object(node);
    g_autoptr(GList) values = json_object_get_values(map);
    for (GList *l = values; l; l = l->next) {
        if (!JSON_NODE_HOLDS_VALUE(l->data) || json_node_get_value_type(l->data) != G_TYPE_STRING)
            return rv_error_set(error, RV_ERROR_INVALID, index, "download the model again",
                                "\"weight_map\" holds something other than file names");
        const char *name = json_node_get_string(l->data);
        if (g_hash_table_contains(shards, name))
            continue;
        if (g_hash_table_size(shards) >= MAX_SHARDS)
            return rv_error_set(error, RV_ERROR_INVALID, index, "download the model again",
                                "more than %d shards", MAX_SHARDS);
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (!check_shard_name(name, index, error) || !rv_model_add_file(model, path, part, error))
            return false;
        g_hash_table_insert(shards, (void *)(guintptr)name,
                            g_ptr_array_index(model->files, model->files->len - 1));
    }
    return check_weight_map(model, map, shards, index, error);
}

/* `name` in the folder if there is such a thing, else NULL. Takes `name`. */
static char *
existing(const char *folder, char *name)
{
    g_autofree char *owned = name, *path = g_build_filename(folder, owned, NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS) ? g_steal_pointer(&path) : NULL;
}

/* The weight file or index of a part's folder; NULL when there is none. The two libraries spell the variant
 * of an index differently. */
static char *
find_weights(const char *folder, RvPart part, const char *variant)
{
    const char *base = part == RV_PART_TEXT || part == RV_PART_TEXT2 ? "model" : "diffusion_pytorch_model";
    const char *variants[] = { variant ? variant : "", "", "fp16", "bf16", "fp32" };
    char *found = NULL;
    for (gsize i = 0; !found && i < G_N_ELEMENTS(variants); i++) {
        const char *v = variants[i], *dot = *v ? "." : "";
        found = existing(folder, g_strdup_printf("%s%s%s.safetensors", base, dot, v));
        if (!found)
            found = existing(folder, g_strdup_printf("%s%s%s.safetensors.index.json", base, dot, v));
        if (!found)
            found = existing(folder, g_strdup_printf("%s.safetensors.index%s%s.json", base, dot, v));
    }
    return found;
}

/* The only .safetensors file of a folder; NULL when there is none or more than one. `pickle` is set when the
 * folder holds weights in the pickle format. */
static char *
find_only_file(const char *folder, bool *pickle)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    g_autofree char *found = NULL;
    const char *name;
    int count = 0;
    while (dir && (name = g_dir_read_name(dir)) != NULL) {
        if (g_str_has_suffix(name, ".safetensors") && name[0] != '.') {
            g_free(found);
            found = g_build_filename(folder, name, NULL);
            count++;
        } else if (g_str_has_suffix(name, ".bin") || g_str_has_suffix(name, ".ckpt") ||
                   g_str_has_suffix(name, ".pt")) {
            *pickle = true;
        }
    }
    return count == 1 ? g_steal_pointer(&found) : NULL;
}

bool
rv_model_add_part_folder(RvModel *model, const char *folder, RvPart part, const char *variant, GError **error)
{
    bool pickle = false;
    g_autofree char *config = g_build_filename(folder, "config.json", NULL);
    g_autofree char *weights = find_weights(folder, part, variant);
    if (!weights)
        weights = find_only_file(folder, &pickle);
    if (!weights && pickle)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, folder,
                            "download the model's .safetensors files, or convert it to .safetensors",
                            "only pickle weights (.bin, .ckpt), which can run any code when read");
    if (!weights)
        return rv_error_set(error, RV_ERROR_NOT_FOUND, folder, "download the model again",
                            "no weights of %s: no .safetensors file", rv_part_name(part));
    if (!must_be_file(config, error))
        return false;
    if (is_file(config)) {
        if (!rv_config_read(config, part, &model->config[part], error))
            return false;
        model->config_used[part] = true;
    }
    if (g_str_has_suffix(weights, ".json") ? !add_shards(model, folder, weights, part, error)
                                           : !rv_model_add_file(model, weights, part, error))
        return false;
    if (!rv_names_has_part(model->names, part))
        return rv_error_set(error, RV_ERROR_INVALID, weights, "download the model again", "no tensors of %s",
                            rv_part_name(part));
    model->has[part] = true;
    return true;
}

/* Whether model_index.json names a part: [library, class] with a class that is not null. */
static bool
is_named(JsonObject *index, const char *part)
{
    JsonNode *node = json_object_get_member(index, part);
    if (!node || !JSON_NODE_HOLDS_ARRAY(node))
        return false;
    JsonArray *array = json_node_get_array(node);
    if (json_array_get_length(array) < 2)
        return false;
    return !JSON_NODE_HOLDS_NULL(json_array_get_element(array, 1));
}

void
rv_model_read_family(RvModel *model, RvReader *reader)
{
    const char *family = rv_read_string(reader, "_reverie_family", NULL);
    if (family && (strlen(family) > 16 || !*family ||
                   strspn(family, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(family)))
        rv_reader_fail(reader, "_reverie_family", "is not a short name");
    else if (family)
        model->family_name = g_strdup(family);
}

static bool
read_index(RvModel *model, JsonObject *index, const char *path, GError **error)
{
    RvReader reader = { index, path, NULL };
    model->aesthetics = rv_read_bool(&reader, "requires_aesthetics_score", false);
    rv_model_read_family(model, &reader);
    return rv_reader_finish(&reader, error);
}

static bool
find_texts(RvModel *model, GError **error)
{
    static const char *const names[] = { "tokenizer", "tokenizer_2" };
    for (int i = 0; i < 2; i++) {
        g_autofree char *folder = g_build_filename(model->path, names[i], NULL);
        g_autofree char *vocabulary = g_build_filename(folder, "vocab.json", NULL);
        if (!must_be_file(vocabulary, error))
            return false;
        if (is_file(vocabulary))
            model->tokenizer[i] = g_steal_pointer(&folder);
    }
    g_autofree char *scheduler = g_build_filename(model->path, "scheduler", "scheduler_config.json", NULL);
    if (!must_be_file(scheduler, error))
        return false;
    if (is_file(scheduler))
        model->scheduler = g_steal_pointer(&scheduler);
    return true;
}

/* `index` is NULL when the folder has no model_index.json: then what is there counts. */
static bool
add_named_part(RvModel *model, JsonObject *index, RvPart part, const RvModelOptions *options, GError **error)
{
    const char *name = rv_part_name(part);
    g_autofree char *folder = g_build_filename(model->path, name, NULL);
    g_autoptr(GError) cause = NULL;
    bool there = g_file_test(folder, G_FILE_TEST_IS_DIR);
    if (part == RV_PART_VAE && there && rv_part_of_folder(folder) == RV_PART_TAESD)
        part = RV_PART_TAESD;
    if (index ? !is_named(index, name) : !there)
        return true;
    if (there && rv_model_add_part_folder(model, folder, part, options->variant, &cause))
        return true;
    if (options->partial && (!there || g_error_matches(cause, RV_ERROR, RV_ERROR_NOT_FOUND))) {
        g_ptr_array_add(model->absent, g_strdup(name));
        return true;
    }
    if (there)
        g_propagate_error(error, g_steal_pointer(&cause));
    else
        rv_error_set(error, RV_ERROR_NOT_FOUND, folder, "download the model again",
                     "the model lacks its %s, which model_index.json names", name);
    return false;
}

/* A TAESD that somebody put beside the model's own VAE. */
static bool
add_taesd(RvModel *model, const RvModelOptions *options, GError **error)
{
    g_autofree char *folder = g_build_filename(model->path, "taesd", NULL);
    if (model->has[RV_PART_TAESD] || rv_part_of_folder(folder) != RV_PART_TAESD)
        return true;
    model->extra[RV_PART_TAESD] = true;
    return rv_model_add_part_folder(model, folder, RV_PART_TAESD, options->variant, error);
}

bool
rv_model_open_folder(RvModel *model, const RvModelOptions *options, GError **error)
{
    static const RvPart parts[] = { RV_PART_TEXT, RV_PART_TEXT2, RV_PART_UNET, RV_PART_VAE };
    g_autofree char *path = g_build_filename(model->path, "model_index.json", NULL);
    g_autoptr(JsonObject) index = NULL;
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        index = rv_json_read(path, error);
        if (!index || !read_index(model, index, path, error))
            return false;
    }
    RvPart whole = index ? RV_PART_NONE : rv_part_of_folder(model->path);
    if (whole != RV_PART_NONE)
        return rv_model_add_part_folder(model, model->path, whole, options->variant, error);
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        if (!add_named_part(model, index, parts[i], options, error))
            return false;
    if (!find_texts(model, error))
        return false;
    if (model->files->len == 0 && !(index && options->partial))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, model->path,
                            "give a folder in diffusers layout, or a .safetensors file",
                            "no model in this folder: no model_index.json and no parts");
    return add_taesd(model, options, error);
}
