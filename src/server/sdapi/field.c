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

/* A text as Python's int() and float() read it: blanks around it do not count. NULL: no number. */
static bool
number_of_text(const char *given, bool is_whole, double *value)
{
    g_autofree char *text = g_strstrip(g_strdup(given));
    const char *digits = is_whole ? "+-0123456789" : "+-.0123456789eE";
    char *end;
    *value = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && strspn(text, digits) == strlen(text) && isfinite(*value);
}

static bool
number_of(JsonNode *node, bool is_whole, double *value)
{
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_STRING)
        return number_of_text(json_node_get_string(node), is_whole, value);
    *value = type == G_TYPE_BOOLEAN ? json_node_get_boolean(node) : json_node_get_double(node);
    return isfinite(*value);
}

/* Fractions are cut off; a text must be a whole number. */
static JsonNode *
as_integer(JsonNode *node)
{
    double value;
    gint64 exact;
    GType type = json_node_get_value_type(node);
    if (type == G_TYPE_INT64)
        return json_node_copy(node);
    if (type == G_TYPE_STRING &&
        g_ascii_string_to_signed(json_node_get_string(node), 10, G_MININT64, G_MAXINT64, &exact, NULL))
        return node_of_int(exact);
    bool fits = number_of(node, true, &value) && fabs(value) <= EXACT_LIMIT;
    return fits ? node_of_int((gint64)value) : NULL;
}

static JsonNode *
as_number(JsonNode *node)
{
    double value;
    return number_of(node, false, &value) ? node_of_double(value) : NULL;
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
    } else if (number_of(node, false, &value) && (value == 0.0 || value == 1.0)) {
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
    g_autofree char *number = type != G_TYPE_BOOLEAN ? json_to_string(node, FALSE) : NULL;
    const char *text = number != NULL ? number : json_node_get_boolean(node) ? "True" : "False";
    return json_node_init_string(json_node_alloc(), text);
}

/* A list of texts; NULL when item `*wrong` cannot be one. */
static JsonNode *
as_texts(JsonArray *array, guint *wrong)
{
    g_autoptr(JsonArray) texts = json_array_new();
    for (*wrong = 0; *wrong < json_array_get_length(array); ++*wrong) {
        JsonNode *item = json_array_get_element(array, *wrong);
        if (!JSON_NODE_HOLDS_VALUE(item))
            return NULL;
        json_array_add_element(texts, as_text(item));
    }
    return json_node_init_array(json_node_alloc(), texts);
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
    if (field->kind != RV_FIELD_TEXTS && field->kind != RV_FIELD_PICTURES)
        return g_steal_pointer(&value);
    guint wrong;
    JsonArray *array = json_node_get_array(value);
    JsonNode *texts = as_texts(array, &wrong);
    if (texts == NULL && JSON_NODE_HOLDS_NULL(json_array_get_element(array, wrong)))
        add_problem(problems, place, field->name, (int)wrong, "none is not an allowed value",
                    "type_error.none.not_allowed");
    else if (texts == NULL)
        add_problem(problems, place, field->name, (int)wrong, "str type expected", "type_error.str");
    return texts;
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

/* Where the parser stopped: its messages begin "<data>:LINE:COLUMN:". False when it does not say. */
static bool
place_of(const char *message, int *line, int *column)
{
    const char *numbers = strstr(message, "<data>:");
    *line = *column = 1;
    return numbers != NULL && sscanf(numbers, "<data>:%d:%d", line, column) == 2;
}

static int
offset_of(const char *text, gsize size, int line, int column)
{
    gsize at = 0;
    for (; line > 1 && at < size; at++)
        line -= text[at] == '\n';
    return (int)MIN(at + (gsize)MAX(column - 1, 0), size);
}

/* In FastAPI's words, as far as our parser knows them. */
static void
add_syntax_problem(const char *text, gsize size, const char *message, RvFieldProblems *problems)
{
    int line, column;
    const char *known = strstr(message, "Parse error: "), *what = message;
    if (place_of(message, &line, &column) && known != NULL)
        what = known + strlen("Parse error: ");
    int offset = offset_of(text, size, line, column);
    g_autofree char *whole = g_strdup_printf("%s: line %d column %d (char %d)", what, line, column, offset);
    JsonObject *problem = add_problem(problems, "body", NULL, offset, whole, "value_error.jsondecode");
    JsonObject *context = json_object_new();
    json_object_set_string_member(context, "msg", what);
    json_object_set_int_member(context, "pos", offset);
    json_object_set_int_member(context, "lineno", line);
    json_object_set_int_member(context, "colno", column);
    json_object_set_object_member(problem, "ctx", context);
}

/* The body, when it is an object. */
static JsonObject *
object_of(const char *text, gsize size, RvFieldProblems *problems)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonNode) root = rv_json_parse_any(text, size, &error);
    if (root == NULL)
        add_syntax_problem(text, size, error->message, problems);
    else if (JSON_NODE_HOLDS_NULL(root))
        add_problem(problems, "body", NULL, -1, "field required", "value_error.missing");
    else if (!JSON_NODE_HOLDS_OBJECT(root))
        add_problem(problems, "body", NULL, -1, "value is not a valid dict", "type_error.dict");
    else
        return json_node_dup_object(root);
    return NULL;
}

JsonObject *
rv_fields_parse(const RvFieldSet *set, const char *text, gsize size, JsonObject **given,
                RvFieldProblems *problems)
{
    if (size == 0) {
        add_problem(problems, "body", NULL, -1, "field required", "value_error.missing");
        return NULL;
    }
    g_autoptr(JsonObject) body = object_of(text, size, problems);
    JsonObject *fields = body != NULL ? rv_fields_read(set, body, "body", problems) : NULL;
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
