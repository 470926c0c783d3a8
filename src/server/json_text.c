#include "server/json_text.h"

#define MAX_DEPTH 32

static bool
is_shallow(const char *text, gsize size)
{
    int depth = 0;
    bool in_string = false;
    for (gsize i = 0; i < size; i++) {
        if (in_string) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                in_string = false;
        } else if (text[i] == '"') {
            in_string = true;
        } else if (text[i] == '[' || text[i] == '{') {
            if (++depth > MAX_DEPTH)
                return false;
        } else if (text[i] == ']' || text[i] == '}') {
            depth--;
        }
    }
    return true;
}

JsonObject *
rv_json_parse_object(const char *text, gsize size, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autoptr(GError) wrong = NULL;
    bool ok = size > 0 && g_utf8_validate(text, (gssize)size, NULL) && is_shallow(text, size) &&
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
