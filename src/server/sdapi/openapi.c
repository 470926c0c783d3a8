/* openapi.c - the description of the routes for programs, made from the table that serves them. */
#include <string.h>

#include "server/sdapi/handlers.h"

static JsonObject *
text_object(const char *name, const char *text)
{
    JsonObject *object = json_object_new();
    json_object_set_string_member(object, name, text);
    return object;
}

static void
set_number(JsonObject *property, const RvField *field, const char *name, double value)
{
    if (field->kind == RV_FIELD_INTEGER)
        json_object_set_int_member(property, name, (gint64)value);
    else
        json_object_set_double_member(property, name, value);
}

static void
add_bounds(JsonObject *property, const RvField *field)
{
    bool is_number = field->kind == RV_FIELD_INTEGER || field->kind == RV_FIELD_NUMBER;
    if (!is_number || (field->least == 0.0 && field->most == 0.0 && !field->above))
        return;
    set_number(property, field, field->above ? "exclusiveMinimum" : "minimum", field->least);
    if (field->most > field->least)
        set_number(property, field, "maximum", field->most);
}

static JsonObject *
schema_of_field(const RvField *field)
{
    JsonObject *property = json_object_new();
    g_autoptr(JsonNode) initial = rv_field_initial(field);
    json_object_set_string_member(property, "title", field->name);
    if (rv_field_type(field) != NULL)
        json_object_set_string_member(property, "type", rv_field_type(field));
    if (field->kind == RV_FIELD_TEXTS || field->kind == RV_FIELD_PICTURES)
        json_object_set_object_member(property, "items", text_object("type", "string"));
    else if (field->kind == RV_FIELD_ARRAY)
        json_object_set_object_member(property, "items", json_object_new());
    if (field->kind == RV_FIELD_PICTURE)
        json_object_set_string_member(property, "format", "byte");
    if (field->initial != NULL && !JSON_NODE_HOLDS_NULL(initial))
        json_object_set_member(property, "default", json_node_copy(initial));
    add_bounds(property, field);
    json_object_set_string_member(property, "description", field->help);
    return property;
}

static void
add_schema(JsonObject *schemas, const RvFieldSet *set)
{
    if (set == NULL || json_object_has_member(schemas, set->name))
        return;
    JsonObject *schema = json_object_new(), *properties = json_object_new();
    JsonArray *required = json_array_new();
    const RvField *field;
    for (guint i = 0; (field = rv_field_at(set, i)) != NULL; i++) {
        json_object_set_object_member(properties, field->name, schema_of_field(field));
        if (field->initial == NULL)
            json_array_add_string_element(required, field->name);
    }
    json_object_set_string_member(schema, "title", set->name);
    json_object_set_string_member(schema, "type", "object");
    json_object_set_object_member(schema, "properties", properties);
    if (json_array_get_length(required) > 0)
        json_object_set_array_member(schema, "required", required);
    else
        json_array_unref(required);
    json_object_set_object_member(schemas, set->name, schema);
}

static JsonObject *
json_content(JsonObject *schema)
{
    JsonObject *content = json_object_new(), *type = json_object_new();
    json_object_set_object_member(type, "schema", schema);
    json_object_set_object_member(content, "application/json", type);
    return content;
}

static JsonObject *
reference(const char *name)
{
    g_autofree char *path = g_strconcat("#/components/schemas/", name, NULL);
    return text_object("$ref", path);
}

static JsonArray *
parameters_of(const RvRoute *route)
{
    JsonArray *list = json_array_new();
    const char *brace = strchr(route->path, '{');
    if (brace != NULL) {
        JsonObject *item = json_object_new();
        g_autofree char *name = g_strndup(brace + 1, strcspn(brace + 1, "}"));
        json_object_set_string_member(item, "name", name);
        json_object_set_string_member(item, "in", "path");
        json_object_set_boolean_member(item, "required", TRUE);
        json_object_set_object_member(item, "schema", text_object("type", "string"));
        json_array_add_object_element(list, item);
    }
    const RvField *field;
    for (guint i = 0; route->query_fields != NULL && (field = rv_field_at(route->query_fields, i)) != NULL;
         i++) {
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "name", field->name);
        json_object_set_string_member(item, "in", "query");
        json_object_set_boolean_member(item, "required", FALSE);
        json_object_set_object_member(item, "schema", schema_of_field(field));
        json_array_add_object_element(list, item);
    }
    return list;
}

static JsonObject *
responses_of(const RvRoute *route)
{
    JsonObject *responses = json_object_new(), *fine = text_object("description", "Successful Response");
    json_object_set_object_member(fine, "content", json_content(json_object_new()));
    json_object_set_object_member(responses, "200", fine);
    if (route->body != NULL || route->query_fields != NULL) {
        JsonObject *invalid = text_object("description", "Validation Error");
        json_object_set_object_member(invalid, "content", json_content(reference("HTTPValidationError")));
        json_object_set_object_member(responses, "422", invalid);
    }
    return responses;
}

/* "get_sdapi_v1_options": unique, and fit for a function's name. */
static char *
operation_id(const char *method, const char *path)
{
    GString *id = g_string_new(method);
    for (const char *c = path; *c != '\0'; c++)
        if (g_ascii_isalnum(*c))
            g_string_append_c(id, *c);
        else if (id->str[id->len - 1] != '_')
            g_string_append_c(id, '_');
    return g_string_free(id, FALSE);
}

static JsonObject *
operation_of(const RvRoute *route, const char *method)
{
    JsonObject *operation = json_object_new();
    g_autofree char *id = operation_id(method, route->path);
    json_object_set_string_member(operation, "summary", route->help);
    json_object_set_string_member(operation, "operationId", id);
    JsonArray *parameters = parameters_of(route);
    if (json_array_get_length(parameters) > 0)
        json_object_set_array_member(operation, "parameters", parameters);
    else
        json_array_unref(parameters);
    if (route->body != NULL && strcmp(method, "post") == 0) {
        JsonObject *body = json_object_new();
        JsonObject *content = json_content(reference(route->body->name)), *form = json_object_new();
        json_object_set_object_member(form, "schema", reference(route->body->name));
        if (route->takes_forms)
            json_object_set_object_member(content, SOUP_FORM_MIME_TYPE_MULTIPART, form);
        else
            json_object_unref(form);
        json_object_set_object_member(body, "content", content);
        json_object_set_boolean_member(body, "required", TRUE);
        json_object_set_object_member(operation, "requestBody", body);
    }
    json_object_set_object_member(operation, "responses", responses_of(route));
    return operation;
}

static void
add_route(JsonObject *paths, const RvRoute *route)
{
    g_auto(GStrv) methods = g_strsplit(route->methods, ",", -1);
    JsonObject *path;
    if (route->socket != NULL)
        return;
    if (!json_object_has_member(paths, route->path))
        json_object_set_object_member(paths, route->path, json_object_new());
    path = json_object_get_object_member(paths, route->path);
    for (char **method = methods; *method != NULL; method++) {
        g_autofree char *lower = g_ascii_strdown(*method, -1);
        json_object_set_object_member(path, lower, operation_of(route, lower));
    }
}

/* FastAPI's names, so that generated clients look alike. */
static void
add_error_schemas(JsonObject *schemas)
{
    static const char text[] =
        "{\"HTTPValidationError\":{\"title\":\"HTTPValidationError\",\"type\":\"object\",\"properties\":"
        "{\"detail\":{\"title\":\"Detail\",\"type\":\"array\","
        "\"items\":{\"$ref\":\"#/components/schemas/ValidationError\"}}}},"
        "\"ValidationError\":{\"title\":\"ValidationError\",\"type\":\"object\","
        "\"required\":[\"loc\",\"msg\",\"type\"],\"properties\":{\"loc\":{\"type\":\"array\",\"items\":"
        "{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"integer\"}]}},\"msg\":{\"type\":\"string\"},"
        "\"type\":{\"type\":\"string\"}}}}";
    g_autoptr(JsonNode) node = json_from_string(text, NULL);
    JsonObjectIter iter;
    const char *name;
    JsonNode *schema;
    json_object_iter_init(&iter, json_node_get_object(node));
    while (json_object_iter_next(&iter, &name, &schema))
        json_object_set_member(schemas, name, json_node_copy(schema));
}

void
rv_openapi_get(const RvCall *call)
{
    JsonObject *document = json_object_new(), *info = text_object("title", "Reverie"),
               *paths = json_object_new(), *components = json_object_new(), *schemas = json_object_new();
    add_error_schemas(schemas);
    for (gsize t = 0; rv_route_tables[t] != NULL; t++)
        for (const RvRoute *route = rv_route_tables[t]; route->path != NULL; route++) {
            add_route(paths, route);
            add_schema(schemas, route->body);
        }
    json_object_set_string_member(info, "version", REVERIE_VERSION);
    json_object_set_string_member(document, "openapi", "3.0.2");
    json_object_set_object_member(document, "info", info);
    json_object_set_object_member(document, "paths", paths);
    json_object_set_object_member(components, "schemas", schemas);
    json_object_set_object_member(document, "components", components);
    rv_reply_send(call, rv_reply_object(document));
}
