/* Bodies of the picture API of any bytes: fields, options, infotexts, ControlNet's units, pictures as text.
 */
#include <stdint.h>
#include <string.h>

#include "server/sdapi/picture_text.h"
#include "server/sdapi/plan.h"
#include "server/sdapi/schemas.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
plan(const char *text, size_t size, bool is_img2img)
{
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) given = NULL, overrides = json_object_new(), options = NULL, own = NULL;
    g_autoptr(JsonObject) fields = rv_fields_parse(rv_plan_schema(is_img2img), text, size, &given, problems);
    if (fields == NULL) {
        g_assert(json_array_get_length(problems) > 0);
        return;
    }
    rv_plan_apply_infotext(fields, given, is_img2img, overrides);
    own = rv_settings_merge(NULL, NULL, problems);
    options = rv_settings_merge(own, overrides, problems);
    g_auto(RvRefusal) refusal = { 0 };
    g_autoptr(RvStudioJob) job = NULL;
    if (options != NULL)
        job = rv_plan_job(fields, is_img2img, options, NULL, &refusal);
    g_assert(options == NULL || (job != NULL) == (refusal.detail == NULL));
    if (job != NULL)
        g_assert(job->steps >= 1 && job->width >= 8 && job->height >= 8 && job->batch_size >= 1 &&
                 job->batch_size * job->n_iter <= RV_API_MAX_PICTURES);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    plan(text, size, false);
    plan(text, size, true);
    g_autofree char *picture = g_strndup(text, size);
    if (g_utf8_validate(picture, -1, NULL))
        rv_picture_free(rv_picture_text_load(picture, NULL));
    g_free(rv_plan_strip_comments(picture));
    g_free(rv_plan_apply_style(picture, "a {prompt} b"));
    return 0;
}
