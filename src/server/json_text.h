/* json_text.h - JSON of unknown origin. */
#pragma once
#include <json-glib/json-glib.h>

#include "base/error.h"

/* Whatever the text is; NULL with RV_ERROR_INVALID for what is no JSON. Nesting is bounded before the text is
 * parsed, because json-glib's parser calls itself for each level. */
JsonNode *rv_json_parse_any(const char *text, gsize size, GError **error);
/* The object that the text is; NULL with RV_ERROR_INVALID for anything else. */
JsonObject *rv_json_parse_object(const char *text, gsize size, GError **error);
