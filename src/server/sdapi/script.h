/* script.h - A1111's selectable scripts: one request becomes several jobs or parts of one, and their pictures
 * one answer. Any thread, one at a time. */
#pragma once
#include "server/sdapi/plan.h"
#include "studio/result.h"

/* What a script works on; borrowed as long as the script lives. */
typedef struct {
    JsonObject *fields; /* of the request */
    bool is_img2img;
    JsonObject *options;
    JsonArray *styles;    /* may be NULL */
    GPtrArray *upscalers; /* char *: names, in the order in which clients count them */
} RvScriptInput;

typedef struct RvScript RvScript;

/* By the fields' script_name; NULL with a refusal, or without one when no script is named. */
RvScript *rv_script_new(const RvScriptInput *input, RvRefusal *refusal);
void rv_script_free(RvScript *script); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvScript, rv_script_free)

/* The first job (`last` NULL), then one for each result; NULL when there are no more, or with a refusal. */
RvStudioJob *rv_script_next(RvScript *script, RvStudioResult *last, RvRefusal *refusal);

/* What is answered: a picture made by the script itself comes without seed. */
typedef struct {
    GBytes *bytes;
    char *infotext;
    gint64 seed, subseed;
    bool is_made;     /* a grid or a composition of several: PNG */
    const char *keep; /* what its file's name begins with among the user's grids; "": it is kept among the
                       * pictures, by number and seed; NULL: it is not kept, or was already */
} RvScriptPicture;
void rv_script_picture_free(gpointer picture);
/* In the order of the answer; NULL with an error. Once all results are there. */
GPtrArray *rv_script_pictures(RvScript *script, GError **error);

/* Everything that follows the pictures of its only job can be made of them and the request again. */
bool rv_script_has_one_job(const RvScript *script);

/* Titles, for /sdapi/v1/scripts, and their arguments, for script-info. */
typedef struct {
    const char *label;
    const char *initial;        /* JSON */
    const char *const *choices; /* NULL-terminated; NULL: any value */
    double least, most, step;   /* all 0: no slider */
} RvScriptArgument;
typedef struct {
    const char *title; /* as the page shows it */
    bool is_txt2img, is_img2img;
    const RvScriptArgument *arguments; /* ends with a row without a label */
} RvScriptInfo;
extern const RvScriptInfo rv_scripts[]; /* ends with a row without a title */
