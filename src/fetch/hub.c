#include "fetch/hub.h"

#include <json-glib/json-glib.h>
#include <string.h>

#include "base/json_check.h"
#include "fetch/source.h"
#include "store/files.h"

#define MOST_PAGES 20
#define INDEX "model_index.json"

static void
file_free(gpointer data)
{
    RvHubFile *file = data;
    g_free(file->path);
    g_free(file->sha256);
    g_free(file);
}

static JsonNode *
parse_json(GBytes *bytes, const char *url, GError **error)
{
    gsize size = 0;
    const char *text = g_bytes_get_data(bytes, &size);
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    if (text != NULL && g_utf8_validate(text, (gssize)size, NULL) && rv_json_is_shallow(text, size) &&
        json_parser_load_from_data(parser, text, (gssize)size, NULL) && json_parser_get_root(parser) != NULL)
        return json_parser_steal_root(parser);
    rv_error_set(error, RV_ERROR_INVALID, url, "check the address or --mirror", "the answer is not JSON");
    return NULL;
}

static JsonNode *
get_json(const RvFetchOptions *options, const char *url, char **next, GError **error)
{
    g_autoptr(GBytes) bytes = rv_http_get_text(options, url, 16 << 20, next, error);
    return bytes != NULL ? parse_json(bytes, url, error) : NULL;
}

static const char *
text_of(JsonObject *object, const char *key)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, key) : NULL;
    return node != NULL && json_node_get_value_type(node) == G_TYPE_STRING ? json_node_get_string(node)
                                                                           : NULL;
}

static gint64
size_of(JsonObject *object)
{
    JsonNode *node = object != NULL ? json_object_get_member(object, "size") : NULL;
    return node != NULL && json_node_get_value_type(node) == G_TYPE_INT64 ? json_node_get_int(node) : -1;
}

/* Hidden files (.gitattributes) are left out; a path that leads out is a lie worth stopping for. */
static bool
add_entry(GPtrArray *files, JsonNode *node, const char *url, GError **error)
{
    JsonObject *entry = JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    const char *path = text_of(entry, "path"), *type = text_of(entry, "type");
    if (path == NULL || type == NULL)
        return rv_error_set(error, RV_ERROR_INVALID, url, "check the address or --mirror",
                            "the answer is no list of files");
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    if (g_strv_contains((const char *const *)names, "..") || path[0] == '/' || strchr(path, '\\') != NULL)
        return rv_error_set(error, RV_ERROR_INVALID, url, "do not use this server",
                            "the list names a path that leads out of the folder");
    if (strcmp(type, "file") != 0 || !rv_path_is_plain(path))
        return true;
    JsonNode *lfs_node = json_object_get_member(entry, "lfs");
    JsonObject *lfs =
        lfs_node != NULL && JSON_NODE_HOLDS_OBJECT(lfs_node) ? json_node_get_object(lfs_node) : NULL;
    const char *sum = text_of(lfs, "oid");
    RvHubFile *file = g_new0(RvHubFile, 1);
    file->path = g_strdup(path);
    file->size = lfs != NULL ? size_of(lfs) : size_of(entry);
    if (sum != NULL && strlen(sum) == 64)
        file->sha256 = g_strdup(sum);
    g_ptr_array_add(files, file);
    return true;
}

static bool
add_page(GPtrArray *files, JsonNode *page, const char *url, GError **error)
{
    if (!JSON_NODE_HOLDS_ARRAY(page))
        return rv_error_set(error, RV_ERROR_INVALID, url, "check the address or --mirror",
                            "the answer is no list of files");
    JsonArray *entries = json_node_get_array(page);
    for (guint i = 0; i < json_array_get_length(entries); i++)
        if (!add_entry(files, json_array_get_element(entries, i), url, error))
            return false;
    return true;
}

/* All files of the repository: https://huggingface.co/docs/hub/api, paged by Link headers. */
static GPtrArray *
list_all(const RvFetchOptions *options, const char *hub, const char *repo, GError **error)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(file_free);
    g_autofree char *url = g_strdup_printf("%s/api/models/%s/tree/main?recursive=true", hub, repo);
    g_autofree char *base = g_strconcat(hub, "/", NULL);
    for (int page = 0; url != NULL && page < MOST_PAGES; page++) {
        g_autofree char *next = NULL;
        g_autoptr(JsonNode) node = get_json(options, url, &next, error);
        if (node == NULL || !add_page(files, node, url, error))
            return NULL;
        g_free(url);
        url = next != NULL && g_str_has_prefix(next, base) ? g_steal_pointer(&next) : NULL;
    }
    return g_steal_pointer(&files);
}

static const RvHubFile *
find_file(const GPtrArray *files, const char *path)
{
    for (guint i = 0; i < files->len; i++)
        if (strcmp(((const RvHubFile *)g_ptr_array_index(files, i))->path, path) == 0)
            return g_ptr_array_index(files, i);
    return NULL;
}

static void
choose(GPtrArray *chosen, const RvHubFile *file)
{
    RvHubFile *copy = g_new0(RvHubFile, 1);
    *copy = (RvHubFile) { g_strdup(file->path), file->size, g_strdup(file->sha256) };
    g_ptr_array_add(chosen, copy);
}

/* "fp16" of model.fp16.safetensors, model.fp16-00001-of-00002.safetensors or
 * model.safetensors.index.fp16.json; "" of the plain ones; NULL: not a weight file or its index under one of
 * the two names that the libraries write. */
static char *
variant_of(const char *name)
{
    g_autoptr(GRegex) shard = g_regex_new("-\\d+-of-\\d+", 0, 0, NULL);
    g_autoptr(GRegex) index = g_regex_new("\\.safetensors\\.index(?:\\.([^.]+))?\\.json$", 0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    if (!g_str_has_prefix(name, "diffusion_pytorch_model") && !g_str_has_prefix(name, "model"))
        return NULL;
    if (g_regex_match(index, name, 0, &match)) {
        char *variant = g_match_info_fetch(match, 1);
        return variant != NULL ? variant : g_strdup("");
    }
    if (!g_str_has_suffix(name, ".safetensors"))
        return NULL;
    g_autofree char *stem = g_strndup(name, strlen(name) - strlen(".safetensors"));
    g_autofree char *whole = g_regex_replace_literal(shard, stem, -1, 0, "", 0, NULL);
    const char *dot = strchr(whole, '.');
    return g_strdup(dot != NULL ? dot + 1 : "");
}

/* The name of a file that lies in `folder` itself ("" is the top), or NULL. */
static const char *
name_in(const RvHubFile *file, const char *folder)
{
    gsize length = strlen(folder);
    const char *name = length == 0 ? file->path
                       : g_str_has_prefix(file->path, folder) && file->path[length] == '/'
                           ? file->path + length + 1
                           : NULL;
    return name != NULL && strchr(name, '/') == NULL ? name : NULL;
}

static bool
has_variant(const GPtrArray *files, const char *folder, const char *variant)
{
    for (guint i = 0; i < files->len; i++) {
        const char *name = name_in(g_ptr_array_index(files, i), folder);
        g_autofree char *found = name != NULL ? variant_of(name) : NULL;
        if (found != NULL && strcmp(found, variant) == 0)
            return true;
    }
    return false;
}

/* A part's settings, vocabulary and weights of one variant. */
static bool
choose_part(GPtrArray *chosen, const GPtrArray *files, const char *folder, const char *variant,
            bool needs_weights, const char *repo, GError **error)
{
    const char *const order[] = { variant != NULL ? variant : "", "", "fp16" };
    const char *use = NULL;
    for (gsize i = 0; use == NULL && i < G_N_ELEMENTS(order); i++)
        use = has_variant(files, folder, order[i]) ? order[i] : NULL;
    if (needs_weights && use == NULL)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, repo,
                            "look for a repository with safetensors, or name a file: hf:OWNER/REPO:FILE",
                            "it has no safetensors weights in \"%s\"", *folder != '\0' ? folder : "/");
    for (guint i = 0; i < files->len; i++) {
        const RvHubFile *file = g_ptr_array_index(files, i);
        const char *name = name_in(file, folder);
        g_autofree char *found = name != NULL ? variant_of(name) : NULL;
        bool wanted = found != NULL
                          ? use != NULL && strcmp(found, use) == 0
                          : name != NULL && strcmp(name, INDEX) != 0 &&
                                ((g_str_has_suffix(name, ".json") && strstr(name, ".index.") == NULL) ||
                                 strcmp(name, "merges.txt") == 0);
        if (wanted)
            choose(chosen, file);
    }
    return true;
}

/* A part that the index names: ["library", "class"], not [null, null]. */
static bool
names_part(JsonObject *index, const char *part)
{
    JsonNode *node = json_object_get_member(index, part);
    JsonArray *pair = node != NULL && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    return pair != NULL && json_array_get_length(pair) == 2 && !json_array_get_null_element(pair, 0);
}

static bool
choose_parts(GPtrArray *chosen, const GPtrArray *files, JsonObject *index, const char *variant,
             const char *repo, GError **error)
{
    /* what we read; safety checkers and feature extractors stay where they are */
    static const struct {
        const char *name;
        bool weights;
    } parts[] = { { "scheduler", false },   { "tokenizer", false },     { "tokenizer_2", false },
                  { "text_encoder", true }, { "text_encoder_2", true }, { "vae", true },
                  { "unet", true } };
    if (!names_part(index, "unet"))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, repo, "see docs/interface.md for the families",
                            "this is not a Stable Diffusion model with a UNet");
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        if (names_part(index, parts[i].name) &&
            !choose_part(chosen, files, parts[i].name, variant, parts[i].weights, repo, error))
            return false;
    return true;
}

GPtrArray *
rv_hub_list(const RvFetchOptions *options, const char *hub, const char *repo, const char *variant,
            GError **error)
{
    g_autoptr(GPtrArray) files = list_all(options, hub, repo, error);
    g_autoptr(GPtrArray) chosen = g_ptr_array_new_with_free_func(file_free);
    if (files == NULL)
        return NULL;
    const RvHubFile *index = find_file(files, INDEX);
    if (index == NULL) {
        if (find_file(files, "config.json") == NULL) {
            rv_error_set(error, RV_ERROR_UNSUPPORTED, repo,
                         "name one of its files: hf:OWNER/REPO:FILE.safetensors",
                         "it is no model folder (no model_index.json, no config.json)");
            return NULL;
        }
        return choose_part(chosen, files, "", variant, true, repo, error) ? g_steal_pointer(&chosen) : NULL;
    }
    g_autofree char *url = rv_fetch_file_url(hub, repo, INDEX);
    g_autoptr(JsonNode) node = get_json(options, url, NULL, error);
    if (node == NULL)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        rv_error_set(error, RV_ERROR_INVALID, url, "check the repository", "it is no JSON object");
        return NULL;
    }
    if (!choose_parts(chosen, files, json_node_get_object(node), variant, repo, error))
        return NULL;
    choose(chosen, index);
    return g_steal_pointer(&chosen);
}
