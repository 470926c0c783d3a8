/* json_text.h - JSON of unknown origin. */
#pragma once
#include <json-glib/json-glib.h>

#include "base/error.h"

/* The object that the text is; NULL with RV_ERROR_INVALID for anything else. Nesting is bounded before the
 * text is parsed, because json-glib's parser calls itself for each level. */
JsonObject *rv_json_parse_object(const char *text, gsize size, GError **error);
