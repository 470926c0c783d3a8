/* answer.h - from results to what A1111's clients read. Any thread. */
#pragma once
#include "server/sdapi/script.h"

typedef struct {
    JsonObject *fields, *options; /* of the request */
    bool is_img2img;
    RvStudioResult *result; /* the last one */
    RvScript *script;       /* NULL without */
    const char *note;       /* of the request itself, beside the result's; or NULL */
} RvAnswerInput;

/* Will a grid of the job's `pictures` be kept? `result` is not looked at. False also when it could not be
 * made again later (a script that goes on from what it drew). */
bool rv_answer_keeps_grid(const RvAnswerInput *input, int pictures);
/* {"images","parameters","info"}; NULL with an error. `kept`: RvScriptPicture that belong among the user's
 * outputs, encoded as options say; a new array. */
JsonObject *rv_answer_generation(const RvAnswerInput *input, GPtrArray **kept, GError **error);
