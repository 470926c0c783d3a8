/* plan.h - from A1111's fields to jobs: what a request asks for, checked, with everything that it leaves to
 * options and styles filled in. Any thread. */
#pragma once
#include "server/sdapi/settings.h"
#include "studio/job.h"

/* A refusal in A1111's shape. */
typedef struct {
    guint status;
    char *kind, *detail;
    char *errors; /* more about it; NULL: nothing */
} RvRefusal;
/* Of a picture that rv_picture_text_load() did not take: with A1111's status, 500, and its words, "Invalid
 * encoded image". */
void rv_refusal_set_picture(RvRefusal *refusal, const GError *error);
void rv_refusal_set(RvRefusal *refusal, guint status, const char *format, ...) G_GNUC_PRINTF(3, 4);
void rv_refusal_clear(RvRefusal *refusal);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RvRefusal, rv_refusal_clear)

/* Fields of rv_schema_txt2img or rv_schema_img2img, as rv_fields_read() gave them, with the options that hold
 * for this request, and the user's styles ([{name, prompt, negative_prompt}]; may be NULL). NULL with a
 * refusal. Nothing that changes the picture is left out without one. */
RvStudioJob *rv_plan_job(JsonObject *fields, bool is_img2img, JsonObject *options, JsonArray *styles,
                         RvRefusal *refusal);

/* How the job's files are to be called, by the options. */
void rv_plan_set_names(RvStudioJob *job, JsonObject *fields, JsonObject *options);

/* The "infotext" of a request: fills `fields` that `given` (the request's own body) does not hold, and
 * `overrides` (options). Nothing when there is none. */
void rv_plan_apply_infotext(JsonObject *fields, JsonObject *given, bool is_img2img, JsonObject *overrides);

/* "# ..." to the end of the line is left out, as A1111 does. Free with g_free. */
char *rv_plan_strip_comments(const char *prompt);
/* The style's text around the prompt: in place of "{prompt}", else behind it. Free with g_free. */
char *rv_plan_apply_style(const char *style, const char *prompt);

const RvFieldSet *rv_plan_schema(bool is_img2img);
