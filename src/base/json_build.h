/* json_build.h - members of JSON objects in one line each. */
#pragma once
#include <json-glib/json-glib.h>
#include <stdbool.h>

void rv_json_add_text(JsonBuilder *json, const char *name, const char *text); /* NULL: null */
void rv_json_add_int(JsonBuilder *json, const char *name, gint64 value);
void rv_json_add_number(JsonBuilder *json, const char *name, double value);
void rv_json_add_flag(JsonBuilder *json, const char *name, bool value);
void rv_json_add_null(JsonBuilder *json, const char *name);
/* To be ended with json_builder_end_object() and json_builder_end_array(). */
void rv_json_begin_object(JsonBuilder *json, const char *name);
void rv_json_begin_array(JsonBuilder *json, const char *name);
/* What was built, in one line. Free with g_free. */
char *rv_json_text(JsonBuilder *json);
