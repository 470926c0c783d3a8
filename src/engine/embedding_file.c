/* embedding_file.c - the forms in which textual inversions are stored. */
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

#include "base/json_check.h"
#include "engine/embeddings.h"
#include "media/picture.h"
#include "weights/safetensors.h"

#define MOST_VECTORS 1024
#define MOST_WIDTH 16384
#define MOST_BYTES ((gsize)256 << 20)

static bool
refuse(const char *path, const char *what, GError **error)
{
    return rv_error_set(error, RV_ERROR_INVALID, path, "give an embedding (textual inversion)", "%s", what);
}

void
rv_embedding_file_clear(RvEmbeddingFile *file)
{
    g_clear_pointer(&file->values[0], g_free);
    g_clear_pointer(&file->values[1], g_free);
    g_clear_pointer(&file->hash, g_free);
}

static bool
all_finite(const float *values, gsize count)
{
    for (gsize i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool
take_tensor(RvEmbeddingFile *file, int encoder, const RvFileTensor *tensor, const char *path, GError **error)
{
    const RvArray *a = &tensor->array;
    if (!tensor->readable || a->rank < 1 || a->rank > 2)
        return refuse(path, "its tensor is no list of vectors", error);
    gint64 vectors = a->rank == 2 ? a->shape[0] : 1, width = a->shape[a->rank - 1];
    if (vectors < 1 || vectors > MOST_VECTORS || width < 1 || width > MOST_WIDTH)
        return refuse(path, "its tensor has an impossible shape", error);
    if (file->vectors > 0 && file->vectors != vectors)
        return refuse(path, "its two halves have different numbers of vectors", error);
    file->vectors = (int)vectors;
    file->widths[encoder] = (int)width;
    file->values[encoder] = g_new(float, (gsize)(vectors * width));
    rv_convert_to_f32(a->dtype, a->data, file->values[encoder], (gsize)(vectors * width));
    return all_finite(file->values[encoder], (gsize)(vectors * width)) ||
           refuse(path, "it holds numbers that are not finite", error);
}

static bool
read_safetensors(RvEmbeddingFile *file, const char *path, GError **error)
{
    static const char *const halves[][2] = { { "clip_l", "clip_g" },
                                             { "text_encoders_0", "text_encoders_1" } };
    g_autoptr(RvSafetensors) opened = rv_safetensors_open(path, error);
    if (opened == NULL)
        return false;
    gsize count;
    const RvFileTensor *tensors = rv_safetensors_tensors(opened, &count);
    for (gsize i = 0; i < G_N_ELEMENTS(halves); i++) {
        const RvFileTensor *first = rv_safetensors_find(opened, halves[i][0]),
                           *second = rv_safetensors_find(opened, halves[i][1]);
        if (first != NULL || second != NULL)
            return (first == NULL || take_tensor(file, 0, first, path, error)) &&
                   (second == NULL || take_tensor(file, 1, second, path, error));
    }
    const RvFileTensor *named = rv_safetensors_find(opened, "emb_params");
    if (named == NULL && count != 1)
        return refuse(
            path, "it is no embedding: not one tensor alone, and none called emb_params, clip_l or clip_g",
            error);
    return take_tensor(file, 0, named != NULL ? named : tensors, path, error);
}

/* {"TORCHTENSOR": [[...], ...]} */
static bool
take_json(RvEmbeddingFile *file, JsonNode *node, const char *path, GError **error)
{
    JsonObject *object = node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonNode *rows_node = object != NULL ? json_object_get_member(object, "TORCHTENSOR") : NULL;
    JsonArray *rows =
        rows_node != NULL && JSON_NODE_HOLDS_ARRAY(rows_node) ? json_node_get_array(rows_node) : NULL;
    guint vectors = rows != NULL ? json_array_get_length(rows) : 0, width = 0;
    if (vectors < 1 || vectors > MOST_VECTORS)
        return refuse(path, "its text holds no vectors", error);
    for (guint i = 0; i < vectors; i++) {
        JsonNode *row_node = json_array_get_element(rows, i);
        JsonArray *row = JSON_NODE_HOLDS_ARRAY(row_node) ? json_node_get_array(row_node) : NULL;
        guint length = row != NULL ? json_array_get_length(row) : 0;
        if (length < 1 || length > MOST_WIDTH || (i > 0 && length != width))
            return refuse(path, "the vectors in its text differ in length", error);
        if (i == 0)
            file->values[0] = g_new(float, (gsize)vectors *length);
        width = length;
        for (guint j = 0; j < width; j++) {
            JsonNode *number = json_array_get_element(row, j);
            file->values[0][i * width + j] =
                JSON_NODE_HOLDS_VALUE(number) ? (float)json_node_get_double(number) : NAN;
        }
    }
    file->vectors = (int)vectors;
    file->widths[0] = (int)width;
    return all_finite(file->values[0], (gsize)vectors * width) ||
           refuse(path, "it holds numbers that are not finite", error);
}

static bool
read_picture(RvEmbeddingFile *file, const char *path, GError **error)
{
    g_autoptr(RvPicture) picture = rv_picture_load(path, NULL, error);
    if (picture == NULL)
        return false;
    const char *text = g_hash_table_lookup(picture->texts, "sd-ti-embedding");
    if (text == NULL)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "convert the embedding to safetensors",
                            "the picture has no text sd-ti-embedding; embeddings in pixels are not read");
    gsize length;
    g_autofree guchar *json = g_base64_decode(text, &length);
    g_autoptr(JsonParser) parser = json_parser_new();
    bool is_json = rv_json_is_shallow((const char *)json, length) &&
                   json_parser_load_from_data(parser, (const char *)json, (gssize)length, NULL);
    JsonNode *root = is_json ? json_parser_get_root(parser) : NULL;
    JsonObject *object = root != NULL && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    JsonNode *params = object != NULL ? json_object_get_member(object, "string_to_param") : NULL;
    if (params == NULL || !JSON_NODE_HOLDS_OBJECT(params) ||
        json_object_get_size(json_node_get_object(params)) != 1)
        return refuse(path, "its text sd-ti-embedding is malformed", error);
    g_autoptr(GList) values = json_object_get_values(json_node_get_object(params));
    return take_json(file, values->data, path, error);
}

static bool
has_ending(const char *path, const char *ending)
{
    gsize a = strlen(path), b = strlen(ending);
    return a > b && g_ascii_strcasecmp(path + a - b, ending) == 0;
}

bool
rv_embedding_file_read(RvEmbeddingFile *file, const char *path, GError **error)
{
    *file = (RvEmbeddingFile) { 0 };
    if (has_ending(path, ".pt") || has_ending(path, ".bin") || has_ending(path, ".ckpt"))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "convert it to safetensors",
                            "this is a pickle, which can run any code when it is read");
    bool is_picture = has_ending(path, ".png") || has_ending(path, ".webp");
    bool ok = is_picture ? read_picture(file, path, error) : read_safetensors(file, path, error);
    g_autoptr(GMappedFile) mapped = ok ? g_mapped_file_new(path, FALSE, NULL) : NULL;
    if (mapped != NULL && g_mapped_file_get_length(mapped) <= MOST_BYTES) {
        file->hash =
            g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)g_mapped_file_get_contents(mapped),
                                        g_mapped_file_get_length(mapped));
        file->hash[12] = '\0';
    }
    if (!ok)
        rv_embedding_file_clear(file);
    return ok;
}
