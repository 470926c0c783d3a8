#include "text/json_file.h"

#include <glib/gstdio.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/json_check.h"

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

JsonObject *
rv_json_file_read(const char *path, gsize max_bytes, GError **error)
{
    g_autofree char *text = NULL;
    gsize length;
    if (!rv_text_file_read(path, max_bytes, &text, &length, error))
        return NULL;
    const char *todo = "download the file again";
    if (!rv_json_is_shallow(text, length)) {
        rv_error_set(error, RV_ERROR_INVALID, path, todo, "not JSON, or nested more than %d deep",
                     RV_JSON_MAX_DEPTH);
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
