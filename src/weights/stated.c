/* What a single file that we wrote says about itself: one entry of the header's metadata, JSON with the
 * parts' configs under their names, the prediction and the family. */
#include "base/error.h"
#include "weights/convert.h"
#include "weights/model_private.h"
#include "weights/safetensors.h"
#include <string.h>

#define KEY "reverie.model"

static char *
statement(const RvModel *model)
{
    g_autoptr(GString) json = g_string_new("{");
    for (int part = 0; part < RV_PARTS; part++) {
        g_autofree char *config = rv_model_config_json(model, (RvPart)part);
        if (config && !model->extra[part])
            g_string_append_printf(json, "\"%s\": %s, ", rv_part_name((RvPart)part), config);
    }
    if (model->family_name)
        g_string_append_printf(json, "\"_reverie_family\": \"%s\", ", model->family_name);
    if (model->traits.prediction != RV_MODEL_PREDICTION_EPSILON || model->traits.zero_terminal_snr)
        g_string_append_printf(
            json, "\"scheduler\": {\"prediction_type\": \"%s\", \"rescale_betas_zero_snr\": %s}, ",
            rv_model_prediction_name(model->traits.prediction),
            model->traits.zero_terminal_snr ? "true" : "false");
    if (json->len > 1)
        g_string_truncate(json, json->len - strlen(", "));
    g_string_append_c(json, '}');
    g_autoptr(JsonNode) node = json_from_string(json->str, NULL);
    return json_to_string(node, false); /* without the blanks */
}

void
rv_stated_add(const RvModel *model, GHashTable *metadata)
{
    g_hash_table_insert(metadata, g_strdup(KEY), statement(model));
}

static JsonObject *
member(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static bool
take_config(RvModel *model, RvPart part, JsonObject *object, const char *where, GError **error)
{
    RvConfig config;
    if (!rv_config_parse(object, where, part, &config, error))
        return false;
    if (!rv_model_config_fits(model, part, &config))
        return rv_error_set(error, RV_ERROR_INVALID, where, "download or convert the file again",
                            "the statement about %s describes other tensors than the file's",
                            rv_part_name(part));
    model->config[part] = config;
    model->config_used[part] = true;
    return true;
}

bool
rv_stated_read(RvModel *model, GError **error)
{
    const char *text = rv_safetensors_metadata(g_ptr_array_index(model->files, 0), KEY);
    g_autofree char *where = g_strconcat(model->path, ", metadata " KEY, NULL);
    if (!text)
        return true;
    g_autoptr(JsonObject) object = rv_json_parse(text, strlen(text), where, error);
    if (!object)
        return false;
    for (int part = 0; part < RV_PARTS; part++) {
        JsonObject *config = member(object, rv_part_name((RvPart)part));
        if (config && model->has[part] && !model->config_used[part] &&
            !take_config(model, (RvPart)part, config, where, error))
            return false;
    }
    JsonObject *scheduler = member(object, "scheduler");
    if (scheduler)
        model->stated_scheduler = json_object_ref(scheduler);
    RvReader reader = { object, where, NULL };
    rv_model_read_family(model, &reader);
    return rv_reader_finish(&reader, error);
}
