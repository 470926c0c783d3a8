#include "server/sdapi/field.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "server/json_text.h"

#define EXACT_LIMIT 9.0e15 /* doubles hold every whole number up to here */

const RvField *
rv_field_at(const RvFieldSet *set, guint index)
{
    for (gsize t = 0; t < G_N_ELEMENTS(set->tables) && set->tables[t] != NULL; t++)
        for (const RvField *field = set->tables[t]; field->name != NULL; field++)
            if (index-- == 0)
                return field;
    return NULL;
}

const RvField *
rv_field_find(const RvFieldSet *set, const char *name)
{
    const RvField *field;
    for (guint i = 0; (field = rv_field_at(set, i)) != NULL; i++)
        if (strcmp(field->name, name) == 0)
            return field;
    return NULL;
}

const char *
rv_field_type(const RvField *field)
{
    static const char *const types[] = {
        [RV_FIELD_TEXT] = "string",     [RV_FIELD_PICTURE] = "string", [RV_FIELD_BOOL] = "boolean",
        [RV_FIELD_INTEGER] = "integer", [RV_FIELD_NUMBER] = "number",  [RV_FIELD_OBJECT] = "object",
        [RV_FIELD_ARRAY] = "array",     [RV_FIELD_TEXTS] = "array",    [RV_FIELD_PICTURES] = "array",
        [RV_FIELD_ANY] = NULL,
    };
    return types[field->kind];
}

JsonNode *
rv_field_initial(const RvField *field)
{
    JsonNode *node = field->initial != NULL ? json_from_string(field->initial, NULL) : NULL;
    return node != NULL ? node : json_node_new(JSON_NODE_NULL);
}

/* ---- problems ---- */

/* {"loc":[place, field, index],"msg","type"}; a limit goes to "ctx". */
static JsonObject *
add_problem(RvFieldProblems *problems, const char *place, const char *field, int index, const char *message,
            const char *type)
{
    JsonObject *problem = json_object_new();
    JsonArray *loc = json_array_new();
    json_array_add_string_element(loc, place);
    if (field != NULL)
        json_array_add_string_element(loc, field);
    if (index >= 0)
        json_array_add_int_element(loc, index);
    json_object_set_array_member(problem, "loc", loc);
    json_object_set_string_member(problem, "msg", message);
    json_object_set_string_member(problem, "type", type);
    json_array_add_object_element(problems, problem);
    return problem;
}

void
rv_field_problem(RvFieldProblems *problems, const char *place, const char *field, const char *message,
                 const char *type)
{
    add_problem(problems, place, field, -1, message, type);
}

/* ---- values: what pydantic 1 would take ---- */

static JsonNode *
node_of_int(gint64 value)
{
    JsonNode *node = json_node_alloc();
    return json_node_init_int(node, value);
}

static JsonNode *
node_of_double(double value)
{
    JsonNode *node = json_node_alloc();
    return json_node_init_double(node, value);
}

static bool
number_of(JsonNode *node, double *value)
{
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_INT64 || type == G_TYPE_DOUBLE || type == G_TYPE_BOOLEAN) {
        *value = type == G_TYPE_BOOLEAN ? json_node_get_boolean(node) : json_node_get_double(node);
        return isfinite(*value);
    }
    if (type != G_TYPE_STRING)
        return false;
    const char *text = json_node_get_string(node);
    char *end;
    *value = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*value);
}

static JsonNode *
as_integer(JsonNode *node)
{
    double value;
    if (json_node_get_value_type(node) == G_TYPE_INT64)
        return json_node_copy(node);
    bool is_whole = number_of(node, &value) && floor(value) == value && fabs(value) <= EXACT_LIMIT;
    return is_whole ? node_of_int((gint64)value) : NULL;
}

static JsonNode *
as_number(JsonNode *node)
{
    double value;
    return number_of(node, &value) ? node_of_double(value) : NULL;
}

static JsonNode *
as_bool(JsonNode *node)
{
    static const char *const yes[] = { "1", "true", "t", "yes", "y", "on", NULL }, *const no[] = {
        "0", "false", "f", "no", "n", "off", NULL
    };
    double value;
    int found = -1;
    if (json_node_get_value_type(node) == G_TYPE_BOOLEAN)
        return json_node_copy(node);
    if (json_node_get_value_type(node) == G_TYPE_STRING) {
        g_autofree char *text = g_ascii_strdown(json_node_get_string(node), -1);
        found = g_strv_contains(yes, text) ? 1 : g_strv_contains(no, text) ? 0 : -1;
    } else if (number_of(node, &value) && (value == 0.0 || value == 1.0)) {
        found = (int)value;
    }
    return found >= 0 ? json_node_init_boolean(json_node_alloc(), found) : NULL;
}

static JsonNode *
as_text(JsonNode *node)
{
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_STRING)
        return json_node_copy(node);
    if (type != G_TYPE_INT64 && type != G_TYPE_DOUBLE)
        return NULL;
    g_autofree char *text = json_to_string(node, FALSE);
    return json_node_init_string(json_node_alloc(), text);
}

/* The item that is no text, -1 when all are. */
static int
find_no_text(JsonArray *array)
{
    for (guint i = 0; i < json_array_get_length(array); i++)
        if (json_node_get_value_type(json_array_get_element(array, i)) != G_TYPE_STRING)
            return (int)i;
    return -1;
}

static JsonNode *
convert(const RvField *field, JsonNode *node)
{
    bool is_value = JSON_NODE_HOLDS_VALUE(node);
    switch (field->kind) {
    case RV_FIELD_TEXT:
    case RV_FIELD_PICTURE:
        return is_value ? as_text(node) : NULL;
    case RV_FIELD_BOOL:
        return is_value ? as_bool(node) : NULL;
    case RV_FIELD_INTEGER:
        return is_value ? as_integer(node) : NULL;
    case RV_FIELD_NUMBER:
        return is_value ? as_number(node) : NULL;
    case RV_FIELD_OBJECT:
        return JSON_NODE_HOLDS_OBJECT(node) ? json_node_copy(node) : NULL;
    case RV_FIELD_ARRAY:
    case RV_FIELD_TEXTS:
    case RV_FIELD_PICTURES:
        return JSON_NODE_HOLDS_ARRAY(node) ? json_node_copy(node) : NULL;
    case RV_FIELD_ANY:
        break;
    }
    return json_node_copy(node);
}

static void
add_kind_problem(const RvField *field, const char *place, RvFieldProblems *problems)
{
    static const struct {
        const char *message, *type;
    } wrong[] = {
        [RV_FIELD_TEXT] = { "str type expected", "type_error.str" },
        [RV_FIELD_PICTURE] = { "str type expected", "type_error.str" },
        [RV_FIELD_BOOL] = { "value could not be parsed to a boolean", "type_error.bool" },
        [RV_FIELD_INTEGER] = { "value is not a valid integer", "type_error.integer" },
        [RV_FIELD_NUMBER] = { "value is not a valid float", "type_error.float" },
        [RV_FIELD_OBJECT] = { "value is not a valid dict", "type_error.dict" },
        [RV_FIELD_ARRAY] = { "value is not a valid list", "type_error.list" },
        [RV_FIELD_TEXTS] = { "value is not a valid list", "type_error.list" },
        [RV_FIELD_PICTURES] = { "value is not a valid list", "type_error.list" },
        [RV_FIELD_ANY] = { "value is not valid", "type_error" },
    };
    add_problem(problems, place, field->name, -1, wrong[field->kind].message, wrong[field->kind].type);
}

static bool
check_bounds(const RvField *field, double value, const char *place, RvFieldProblems *problems)
{
    if (field->least == 0.0 && field->most == 0.0 && !field->above)
        return true;
    bool is_low = value < field->least || (field->above && value == field->least),
         is_high = value > field->most && field->most > field->least;
    if (!is_low && !is_high)
        return true;
    g_autofree char *message =
        g_strdup_printf("ensure this value is %s%s %.15g", is_high ? "less than" : "greater than",
                        is_low && field->above ? "" : " or equal to", is_low ? field->least : field->most);
    const char *type = is_high        ? "value_error.number.not_le"
                       : field->above ? "value_error.number.not_gt"
                                      : "value_error.number.not_ge";
    JsonObject *problem = add_problem(problems, place, field->name, -1, message, type);
    JsonObject *context = json_object_new();
    json_object_set_double_member(context, "limit_value", is_low ? field->least : field->most);
    json_object_set_object_member(problem, "ctx", context);
    return false;
}

/* A new node; NULL after a problem was added. */
static JsonNode *
read_field(const RvField *field, JsonNode *node, const char *place, RvFieldProblems *problems)
{
    if (node == NULL || JSON_NODE_HOLDS_NULL(node)) {
        if (field->initial != NULL)
            return rv_field_initial(field);
        add_problem(problems, place, field->name, -1, "field required", "value_error.missing");
        return NULL;
    }
    g_autoptr(JsonNode) value = convert(field, node);
    if (value == NULL) {
        add_kind_problem(field, place, problems);
        return NULL;
    }
    bool is_number = field->kind == RV_FIELD_INTEGER || field->kind == RV_FIELD_NUMBER;
    if (is_number && !check_bounds(field, json_node_get_double(value), place, problems))
        return NULL;
    if (field->kind == RV_FIELD_TEXTS || field->kind == RV_FIELD_PICTURES) {
        int wrong = find_no_text(json_node_get_array(value));
        if (wrong >= 0) {
            add_problem(problems, place, field->name, wrong, "str type expected", "type_error.str");
            return NULL;
        }
    }
    return g_steal_pointer(&value);
}

JsonObject *
rv_fields_read(const RvFieldSet *set, JsonObject *body, const char *place, RvFieldProblems *problems)
{
    g_autoptr(JsonObject) fields = json_object_new();
    const RvField *field;
    bool ok = true;
    for (guint i = 0; (field = rv_field_at(set, i)) != NULL; i++) {
        JsonNode *node = read_field(field, body != NULL ? json_object_get_member(body, field->name) : NULL,
                                    place, problems);
        if (node != NULL)
            json_object_set_member(fields, field->name, node);
        ok = ok && node != NULL;
    }
    return ok ? g_steal_pointer(&fields) : NULL;
}

/* Where the parser stopped: its messages begin "<data>:LINE:COLUMN:". */
static int
offset_of(const char *text, gsize size, const char *message)
{
    int line, column;
    const char *numbers = strstr(message, "<data>:");
    if (numbers == NULL || sscanf(numbers, "<data>:%d:%d", &line, &column) != 2)
        return 0;
    gsize at = 0;
    for (; line > 1 && at < size; at++)
        line -= text[at] == '\n';
    return (int)MIN(at + (gsize)MAX(column - 1, 0), size);
}

static void
add_syntax_problem(const char *text, gsize size, const char *message, RvFieldProblems *problems)
{
    JsonObject *problem = json_object_new();
    JsonArray *loc = json_array_new();
    json_array_add_string_element(loc, "body");
    json_array_add_int_element(loc, offset_of(text, size, message));
    json_object_set_array_member(problem, "loc", loc);
    json_object_set_string_member(problem, "msg", message);
    json_object_set_string_member(problem, "type", "value_error.jsondecode");
    json_array_add_object_element(problems, problem);
}

JsonObject *
rv_fields_parse(const RvFieldSet *set, const char *text, gsize size, JsonObject **given,
                RvFieldProblems *problems)
{
    g_autoptr(GError) error = NULL;
    if (size == 0) {
        add_problem(problems, "body", NULL, -1, "field required", "value_error.missing");
        return NULL;
    }
    g_autoptr(JsonObject) body = rv_json_parse_object(text, size, &error);
    if (body == NULL) {
        add_syntax_problem(text, size, error->message, problems);
        return NULL;
    }
    JsonObject *fields = rv_fields_read(set, body, "body", problems);
    if (given != NULL && fields != NULL)
        *given = g_steal_pointer(&body);
    return fields;
}

JsonObject *
rv_fields_query(const RvFieldSet *set, GHashTable *query, RvFieldProblems *problems)
{
    g_autoptr(JsonObject) body = json_object_new();
    GHashTableIter iter;
    gpointer key, value;
    if (query != NULL)
        g_hash_table_iter_init(&iter, query);
    while (query != NULL && g_hash_table_iter_next(&iter, &key, &value))
        if (g_utf8_validate(value, -1, NULL))
            json_object_set_string_member(body, key, value);
    return rv_fields_read(set, body, "query", problems);
}

/* ---- reading ---- */

bool
rv_fields_has(JsonObject *fields, const char *name)
{
    JsonNode *node = json_object_get_member(fields, name);
    return node != NULL && !JSON_NODE_HOLDS_NULL(node);
}

const char *
rv_fields_text(JsonObject *fields, const char *name)
{
    JsonNode *node = json_object_get_member(fields, name);
    return node != NULL && JSON_NODE_HOLDS_VALUE(node) ? json_node_get_string(node) : NULL;
}

bool
rv_fields_bool(JsonObject *fields, const char *name)
{
    return rv_fields_has(fields, name) && json_object_get_boolean_member(fields, name);
}

gint64
rv_fields_integer(JsonObject *fields, const char *name)
{
    return rv_fields_has(fields, name) ? json_object_get_int_member(fields, name) : 0;
}

double
rv_fields_number(JsonObject *fields, const char *name, double otherwise)
{
    return rv_fields_has(fields, name) ? json_object_get_double_member(fields, name) : otherwise;
}
