#include "engine/scheduler_file.h"

#include <glib/gstdio.h>
#include <json-glib/json-glib.h>
#include <string.h>

#include "base/error.h"
#include "base/json_check.h"

#define MAX_FILE_BYTES (1 << 20)

/* A JSON value as rv_scheduler_config_set takes it; NULL for null. Lists and objects give "" (no setting is
 * one). */
static char *
value_text(JsonNode *node)
{
    if (JSON_NODE_HOLDS_NULL(node))
        return NULL;
    if (!JSON_NODE_HOLDS_VALUE(node))
        return g_strdup("");
    switch (json_node_get_value_type(node)) {
    case G_TYPE_BOOLEAN:
        return g_strdup(json_node_get_boolean(node) ? "true" : "false");
    case G_TYPE_INT64:
        return g_strdup_printf("%" G_GINT64_FORMAT, json_node_get_int(node));
    case G_TYPE_DOUBLE: {
        char number[G_ASCII_DTOSTR_BUF_SIZE];
        return g_strdup(g_ascii_dtostr(number, sizeof number, json_node_get_double(node)));
    }
    default:
        return g_strdup(json_node_get_string(node));
    }
}

static bool
read_object(RvSchedulerConfig *config, JsonObject *object, GError **error)
{
    g_autoptr(GList) members = json_object_get_members(object);
    for (GList *link = members; link != NULL; link = link->next) {
        JsonNode *node = json_object_get_member(object, link->data);
        if (!JSON_NODE_HOLDS_NULL(node) && !JSON_NODE_HOLDS_VALUE(node))
            continue;
        g_autofree char *value = value_text(node);
        if (!rv_scheduler_config_set(config, link->data, value, error))
            return false;
    }
    return true;
}

/* Python writes infinities (lambda_min_clipped) that JSON does not know; none of them is a setting of ours.
 */
static char *
without_infinities(const char *text, gsize size)
{
    g_autoptr(GRegex) regex = g_regex_new(":\\s*-?(Infinity|NaN)", G_REGEX_OPTIMIZE, 0, NULL);
    char *clean = g_regex_replace_literal(regex, text, (gssize)size, 0, ": null", 0, NULL);
    return clean != NULL ? clean : g_strndup(text, size); /* not UTF-8: the parser will say so */
}

bool
rv_scheduler_config_read(RvSchedulerConfig *config, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    gsize size = 0;
    g_autoptr(GError) wrong = NULL;
    GStatBuf status;
    if (g_stat(path, &status) == 0 && (!S_ISREG(status.st_mode) || status.st_size > MAX_FILE_BYTES))
        return rv_error_set(error, RV_ERROR_INVALID, path, "check the model folder",
                            "not a file of at most %d bytes", MAX_FILE_BYTES);
    if (!g_file_get_contents(path, &text, &size, &wrong))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the model folder", "cannot read: %s",
                            wrong->message);
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autofree char *clean = without_infinities(text, size);
    if (!rv_json_is_shallow(clean, strlen(clean)) || !json_parser_load_from_data(parser, clean, -1, &wrong))
        return rv_error_set(error, RV_ERROR_INVALID, path, "check the model folder", "not valid JSON: %s",
                            wrong != NULL ? wrong->message : "nested too deep, or more than JSON");
    JsonNode *root = json_parser_get_root(parser);
    if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root))
        return rv_error_set(error, RV_ERROR_INVALID, path, "check the model folder", "not a JSON object");
    rv_scheduler_config_init(config);
    if (read_object(config, json_node_get_object(root), &wrong))
        return true;
    g_prefix_error(&wrong, "%s: ", path);
    g_propagate_error(error, g_steal_pointer(&wrong));
    return false;
}
