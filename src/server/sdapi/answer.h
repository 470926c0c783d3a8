/* answer.h - from results to what A1111's clients read. Any thread. */
#pragma once
#include "server/sdapi/script.h"

typedef struct {
    JsonObject *fields, *options; /* of the request */
    bool is_img2img;
    RvStudioResult *result; /* the last one */
    RvScript *script;       /* NULL without */
} RvAnswerInput;

/* {"images","parameters","info"}; NULL with an error. `kept`: RvScriptPicture that belong among the user's
 * outputs, encoded as options say; a new array. */
JsonObject *rv_answer_generation(const RvAnswerInput *input, GPtrArray **kept, GError **error);
