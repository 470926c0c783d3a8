/* openai_edit.h - OpenAI's edits as A1111's img2img. Any thread. */
#pragma once
#include "server/sdapi/plan.h"

/* Adds to `body`, fields of img2img, what `fields` of rv_schema_openai_edits say; false with a refusal. */
bool rv_openai_edit(JsonObject *fields, JsonObject *body, RvRefusal *refusal);
