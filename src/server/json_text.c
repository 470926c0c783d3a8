#include "server/json_text.h"

#include "base/json_check.h"

JsonNode *
rv_json_parse_any(const char *text, gsize size, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) wrong = NULL;
    bool ok = size > 0 && g_utf8_validate(text, (gssize)size, NULL) && rv_json_is_shallow(text, size) &&
              json_parser_load_from_data(parser, text, (gssize)size, &wrong);
    JsonNode *root = ok ? json_parser_steal_root(parser) : NULL;
    if (root == NULL)
        rv_error_set(error, RV_ERROR_INVALID, NULL, NULL, "%s",
                     wrong != NULL ? wrong->message : "empty, no text, or nested too deep");
    return root;
}

JsonObject *
rv_json_parse_object(const char *text, gsize size, GError **error)
{
    g_autoptr(GError) wrong = NULL;
    g_autoptr(JsonNode) root = rv_json_parse_any(text, size, &wrong);
    if (root != NULL && JSON_NODE_HOLDS_OBJECT(root))
        return json_node_dup_object(root);
    rv_error_set(error, RV_ERROR_INVALID, "JSON", "send an object such as {\"prompt\":\"...\"}",
                 "not a JSON object: %s", wrong != NULL ? wrong->message : "something else");
    return NULL;
}
