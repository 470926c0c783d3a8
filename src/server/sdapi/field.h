/* field.h - the fields of request bodies: one table says what a body may hold. It parses, fills in defaults,
 * words the errors (FastAPI's 422 with pydantic 1's messages, as AUTOMATIC1111's web UI has them) and becomes
 * the schemas of /openapi.json.
 *
 * What is read stays JSON: an object with every field of the table, of the table's kind, which is also the
 * "parameters" that A1111 echoes. Fields that are not in the table are left out of it. Any thread. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>

typedef enum {
    RV_FIELD_TEXT,
    RV_FIELD_PICTURE, /* text: base64, or a data: URL */
    RV_FIELD_BOOL,
    RV_FIELD_INTEGER,
    RV_FIELD_NUMBER,
    RV_FIELD_OBJECT,
    RV_FIELD_ARRAY, /* of anything */
    RV_FIELD_TEXTS,
    RV_FIELD_PICTURES,
    RV_FIELD_ANY,
} RvFieldKind;

typedef struct {
    const char *name;
    RvFieldKind kind;
    const char *initial; /* the default, as JSON; NULL: the field must be given */
    double least, most;  /* of numbers; both 0: any */
    bool above;          /* `least` itself is too little */
    const char *help;    /* one line */
} RvField;

/* Tables end with a row without a name; later tables add to the ones before. */
typedef struct RvFieldSet {
    const char *name; /* of the schema */
    const RvField *tables[4];
} RvFieldSet;

const RvField *rv_field_find(const RvFieldSet *set, const char *name); /* NULL: no such field */
/* The `index`th field over all tables; NULL past the last. */
const RvField *rv_field_at(const RvFieldSet *set, guint index);
const char *rv_field_type(const RvField *field);  /* JSON schema's name: "integer" */
JsonNode *rv_field_initial(const RvField *field); /* a new node; null for a field without default */

/* What is wrong with a request: the "detail" of a 422. */
typedef JsonArray RvFieldProblems;
void rv_field_problem(RvFieldProblems *problems, const char *place, const char *field, const char *message,
                      const char *type);

/* Every field of the set, from `body` or by default; null stands for the default. NULL after problems were
 * added. `place` begins every "loc": "body" or "query". */
JsonObject *rv_fields_read(const RvFieldSet *set, JsonObject *body, const char *place,
                           RvFieldProblems *problems);
/* The same from a body's bytes; `given` (may be NULL) gets the body as it came. */
JsonObject *rv_fields_parse(const RvFieldSet *set, const char *text, gsize size, JsonObject **given,
                            RvFieldProblems *problems);
/* The same from an address's query, which may be NULL. */
JsonObject *rv_fields_query(const RvFieldSet *set, GHashTable *query, RvFieldProblems *problems);

/* Reading what rv_fields_read() gave: the field is of that kind, or null and then NULL, false, 0 or -1. */
const char *rv_fields_text(JsonObject *fields, const char *name);
bool rv_fields_bool(JsonObject *fields, const char *name);
gint64 rv_fields_integer(JsonObject *fields, const char *name);
double rv_fields_number(JsonObject *fields, const char *name, double otherwise); /* for null */
bool rv_fields_has(JsonObject *fields, const char *name);                        /* is there, and not null */
