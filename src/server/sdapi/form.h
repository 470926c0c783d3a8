/* form.h - bodies of kind multipart/form-data as JSON. Any thread. */
#pragma once
#include <json-glib/json-glib.h>

#include "base/error.h"

/* Fields become members: texts as they are, files as base64. A name that comes more than once, or ends in
 * "[]", is an array. `type` is the Content-Type with its boundary. RV_ERROR_INVALID; NULL then. */
JsonObject *rv_form_read(const char *type, GBytes *body, GError **error);
