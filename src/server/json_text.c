#include "server/json_text.h"

#include "base/json_check.h"

JsonObject *
rv_json_parse_object(const char *text, gsize size, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) wrong = NULL;
    bool ok = size > 0 && g_utf8_validate(text, (gssize)size, NULL) && rv_json_is_shallow(text, size) &&
              json_parser_load_from_data(parser, text, (gssize)size, &wrong);
    JsonNode *root = ok ? json_parser_get_root(parser) : NULL;
    if (root != NULL && JSON_NODE_HOLDS_OBJECT(root))
        return json_object_ref(json_node_get_object(root));
    rv_error_set(error, RV_ERROR_INVALID, "JSON", "send an object such as {\"prompt\":\"...\"}",
                 "not a JSON object: %s",
                 wrong != NULL ? wrong->message
                 : ok          ? "something else"
                               : "empty, no text, or nested too deep");
    return NULL;
}
