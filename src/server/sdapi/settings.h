/* settings.h - A1111's options: what each user has set, over the defaults. */
#pragma once
#include "server/sdapi/field.h"

/* Every option that is known, and what it may be. */
extern const RvFieldSet rv_schema_options;

/* Reads `values` over `base`, which stays as it is: a new object. Unknown names, values that only describe
 * the server and values equal to the base's are let pass; a value of the wrong kind, or one that asks for
 * what this server cannot do, is a problem (NULL). `base` NULL: the defaults. */
JsonObject *rv_settings_merge(JsonObject *base, JsonObject *values, RvFieldProblems *problems);
