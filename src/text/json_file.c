#include "text/json_file.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "base/error.h"

#define MAX_DEPTH 64

bool
rv_text_file_read(const char *path, gsize max_bytes, char **contents, gsize *length, GError **error)
{
    GStatBuf status;
    if (g_stat(path, &status) != 0)
        return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the path", "no such file");
    if (!S_ISREG(status.st_mode))
        return rv_error_set(error, RV_ERROR_INVALID, path, "give a regular file", "not a file");
    if ((gsize)status.st_size > max_bytes)
        return rv_error_set(error, RV_ERROR_INVALID, path, "give a tokenizer's file",
                            "%" G_GOFFSET_FORMAT " bytes are more than any tokenizer has (%" G_GSIZE_FORMAT
                            ")",
                            (goffset)status.st_size, max_bytes);
    g_autoptr(GError) cause = NULL;
    if (!g_file_get_contents(path, contents, length, &cause))
        return rv_error_set(error, RV_ERROR_IO, path, "check the permissions and the disk", "%s",
                            cause->message);
    return true;
}

static bool
is_too_deep(const char *text, gsize length)
{
    int depth = 0;
    bool in_string = false;
    for (gsize i = 0; i < length; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '[' || text[i] == '{') && ++depth > MAX_DEPTH)
            return true;
        else if (!in_string && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return false;
}

JsonObject *
rv_json_file_read(const char *path, gsize max_bytes, GError **error)
{
    g_autofree char *text = NULL;
    gsize length;
    if (!rv_text_file_read(path, max_bytes, &text, &length, error))
        return NULL;
    const char *todo = "download the file again";
    if (is_too_deep(text, length)) {
        rv_error_set(error, RV_ERROR_INVALID, path, todo, "JSON nested more than %d deep", MAX_DEPTH);
        return NULL;
    }
    g_autoptr(JsonParser) parser = json_parser_new_immutable();
    g_autoptr(GError) cause = NULL;
    if (!json_parser_load_from_data(parser, text, (gssize)length, &cause)) {
        rv_error_set(error, RV_ERROR_INVALID, path, todo, "not JSON: %s", cause->message);
        return NULL;
    }
    JsonNode *root = json_parser_get_root(parser);
    if (root == NULL || !JSON_NODE_HOLDS_OBJECT(root)) {
        rv_error_set(error, RV_ERROR_INVALID, path, todo, "not a JSON object");
        return NULL;
    }
    return json_object_ref(json_node_get_object(root));
}
