#include "server/sdapi/form.h"

#include <string.h>

#define MAX_PARTS 64
#define MAX_NAME 64
#define MAX_BOUNDARY 70 /* RFC 2046 */
#define MAX_HEADERS 4096

/* Bytes that are still to be read. libsoup 3.2's own reader reads past the end of some bodies. */
typedef struct {
    const char *at;
    gsize left;
} Rest;

static bool
starts_with(const Rest *rest, const char *text)
{
    gsize size = strlen(text);
    return rest->left >= size && memcmp(rest->at, text, size) == 0;
}

static void
skip(Rest *rest, gsize size)
{
    rest->at += size;
    rest->left -= size;
}

/* Everything before `text`, which is passed over, too; false when it does not come. */
static bool
take_until(Rest *rest, const char *text, Rest *before)
{
    const char *found = memmem(rest->at, rest->left, text, strlen(text));
    if (found == NULL)
        return false;
    *before = (Rest) { rest->at, (gsize)(found - rest->at) };
    skip(rest, before->left + strlen(text));
    return true;
}

/* ---- parameters of a header ---- */

/* The value after "NAME=", between quotes or up to the next ";"; NULL: there is none. Free with g_free. */
static char *
parameter_of(const char *header, const char *name)
{
    for (const char *c = strchr(header, ';'); c != NULL; c = strchr(c, ';')) {
        c += 1 + strspn(c + 1, " \t");
        bool is_it = g_ascii_strncasecmp(c, name, strlen(name)) == 0 && c[strlen(name)] == '=';
        const char *value = strchr(c, '=');
        if (value == NULL)
            return NULL;
        bool is_quoted = value[1] == '"';
        value += 1 + is_quoted;
        gsize size = strcspn(value, is_quoted ? "\"" : "; \t");
        if (is_quoted && value[size] != '"')
            return NULL;
        if (is_it)
            return g_strndup(value, size);
        c = value + size;
    }
    return NULL;
}

/* ---- parts ---- */

/* The file as base64, or the text; NULL when it is no UTF-8. */
static JsonNode *
value_of(const Rest *content, bool is_file)
{
    bool is_text = g_utf8_validate_len(content->at, content->left, NULL);
    if (!is_file && !is_text)
        return NULL;
    g_autofree char *text = is_file ? g_base64_encode((const guchar *)content->at, content->left)
                                    : g_strndup(content->at, content->left);
    return json_node_init_string(json_node_alloc(), text);
}

static void
add(JsonObject *fields, const char *name, bool is_list, JsonNode *value)
{
    JsonNode *before = json_object_get_member(fields, name);
    if (before != NULL && JSON_NODE_HOLDS_ARRAY(before)) {
        json_array_add_element(json_node_get_array(before), value);
    } else if (before != NULL || is_list) {
        JsonArray *list = json_array_new();
        if (before != NULL)
            json_array_add_element(list, json_node_copy(before));
        json_array_add_element(list, value);
        json_object_set_array_member(fields, name, list);
    } else {
        json_object_set_member(fields, name, value);
    }
}

/* The part's Content-Disposition; NULL: it has none. Free with g_free. */
static char *
disposition_of(const Rest *headers)
{
    static const char name[] = "content-disposition:";
    if (headers->left > MAX_HEADERS || !g_utf8_validate_len(headers->at, headers->left, NULL))
        return NULL;
    g_autofree char *text = g_strndup(headers->at, headers->left);
    g_auto(GStrv) lines = g_strsplit(text, "\r\n", -1);
    for (char **line = lines; *line != NULL; line++)
        if (g_ascii_strncasecmp(*line, name, strlen(name)) == 0)
            return g_strdup(g_strstrip(*line + strlen(name)));
    return NULL;
}

static bool
add_part(JsonObject *fields, const Rest *headers, const Rest *content)
{
    g_autofree char *disposition = disposition_of(headers);
    if (disposition == NULL || g_ascii_strncasecmp(disposition, "form-data", 9) != 0)
        return false;
    g_autofree char *name = parameter_of(disposition, "name"), *file = parameter_of(disposition, "filename");
    if (name == NULL || *name == '\0' || strlen(name) > MAX_NAME)
        return false;
    bool is_list = g_str_has_suffix(name, "[]");
    if (is_list)
        name[strlen(name) - 2] = '\0';
    JsonNode *value = value_of(content, file != NULL);
    if (value != NULL)
        add(fields, name, is_list, value);
    return value != NULL;
}

/* "--BOUNDARY", then parts that each end in "CRLF--BOUNDARY", the last one in "--" after that. */
static bool
read_parts(Rest *rest, const char *boundary, JsonObject *fields)
{
    g_autofree char *first = g_strconcat("--", boundary, NULL), *next = g_strconcat("\r\n", first, NULL);
    Rest before, headers, content;
    if (starts_with(rest, first))
        skip(rest, strlen(first));
    else if (!take_until(rest, next, &before))
        return false;
    for (int count = 0; !starts_with(rest, "--"); count++) {
        while (rest->left > 0 && (*rest->at == ' ' || *rest->at == '\t'))
            skip(rest, 1);
        if (count == MAX_PARTS || !starts_with(rest, "\r\n"))
            return false;
        /* The line's end stays: a part without headers begins with an empty line. */
        if (!take_until(rest, "\r\n\r\n", &headers) || !take_until(rest, next, &content) ||
            !add_part(fields, &headers, &content))
            return false;
    }
    return true;
}

JsonObject *
rv_form_read(const char *type, GBytes *body, GError **error)
{
    gsize size;
    const char *data = g_bytes_get_data(body, &size);
    Rest rest = { data != NULL ? data : "", size };
    g_autofree char *boundary = parameter_of(type, "boundary");
    g_autoptr(JsonObject) fields = json_object_new();
    bool ok = boundary != NULL && *boundary != '\0' && strlen(boundary) <= MAX_BOUNDARY &&
              read_parts(&rest, boundary, fields);
    if (!ok)
        rv_error_set(error, RV_ERROR_INVALID, NULL, NULL, "the form cannot be read");
    return ok ? g_steal_pointer(&fields) : NULL;
}
