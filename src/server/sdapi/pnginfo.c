/* pnginfo.c - what a picture says about itself. */
#include <string.h>

#include "media/infotext.h"
#include "server/sdapi/handlers.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/plan.h"

/* What A1111 says of settings that a picture is silent about. */
static const struct {
    const char *key, *value; /* JSON */
} usual[] = {
    { "Clip skip", "\"1\"" },
    { "Hires resize-1", "0" },
    { "Hires resize-2", "0" },
    { "Hires sampler", "\"Use same sampler\"" },
    { "Hires schedule type", "\"Use same scheduler\"" },
    { "Hires checkpoint", "\"Use same checkpoint\"" },
    { "Hires prompt", "\"\"" },
    { "Hires negative prompt", "\"\"" },
    { "Mask mode", "\"Inpaint masked\"" },
    { "Masked content", "\"original\"" },
    { "Inpaint area", "\"Whole picture\"" },
    { "Masked area padding", "32" },
    { "RNG", "\"GPU\"" },
    { "Schedule type", "\"Automatic\"" },
    { "Schedule max sigma", "0" },
    { "Schedule min sigma", "0" },
    { "Schedule rho", "0" },
    { "VAE Encoder", "\"Full\"" },
    { "VAE Decoder", "\"Full\"" },
    { "FP8 weight", "\"Disable\"" },
    { "Refiner switch by sampling steps", "false" },
};

/* The prompt and its settings as a flat object, of texts but for the usual ones. */
static JsonObject *
settings_of(const char *text)
{
    JsonObject *settings = json_object_new();
    if (text == NULL)
        return settings;
    g_autoptr(RvInfotext) info = rv_infotext_parse(text);
    bool has_size = rv_infotext_get(info, "Hires resize") != NULL;
    rv_infotext_expand(info);
    json_object_set_string_member(settings, "Prompt", info->prompt);
    json_object_set_string_member(settings, "Negative prompt", info->negative);
    for (guint i = 0; i < info->pairs->len; i++) {
        const RvInfotextPair *pair = g_ptr_array_index(info->pairs, i);
        if (has_size || !g_str_has_prefix(pair->key, "Hires resize-"))
            json_object_set_string_member(settings, pair->key, pair->value);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(usual); i++)
        if (!json_object_has_member(settings, usual[i].key))
            json_object_set_member(settings, usual[i].key, json_from_string(usual[i].value, NULL));
    return settings;
}

static JsonObject *
other_texts(const RvPicture *picture)
{
    JsonObject *items = json_object_new();
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, picture->texts);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (strcmp(key, "parameters") != 0 && strcmp(key, "UserComment") != 0)
            json_object_set_string_member(items, key, value);
    return items;
}

static RvReply
read_info(RvTask *task)
{
    g_autoptr(JsonObject) fields = NULL;
    g_autoptr(GError) error = NULL;
    RvReply reply;
    if (!rv_task_fields(task, &fields, NULL, &reply))
        return reply;
    const char *text = rv_fields_text(fields, "image");
    g_autoptr(RvPicture) picture = *text != '\0' ? rv_picture_text_load(text, &error) : NULL;
    if (*text == '\0')
        return rv_reply_problem(404, "HTTPException", "Image not found", "");
    if (picture == NULL) {
        g_auto(RvRefusal) refusal = { 0 };
        rv_refusal_set_picture(&refusal, error);
        return rv_refusal_reply(&refusal);
    }
    const char *infotext = rv_picture_infotext(picture);
    JsonObject *answer = json_object_new();
    json_object_set_string_member(answer, "info", infotext != NULL ? infotext : "");
    json_object_set_object_member(answer, "items", other_texts(picture));
    json_object_set_object_member(answer, "parameters", settings_of(infotext));
    return rv_reply_object(answer);
}

void
rv_sdapi_png_info(const RvCall *call)
{
    rv_task_serve(call, read_info);
}

/* ---- interrogate ---- */

static RvReply
refuse_interrogate(RvTask *task)
{
    g_autoptr(JsonObject) fields = NULL;
    RvReply reply;
    if (!rv_task_fields(task, &fields, NULL, &reply))
        return reply;
    const char *image = rv_fields_text(fields, "image"), *model = rv_fields_text(fields, "model");
    g_autofree char *lower = g_ascii_strdown(model, -1);
    if (*image == '\0')
        return rv_reply_problem(404, "HTTPException", "Image not found", "");
    if (strcmp(lower, "clip") != 0 && strcmp(lower, "deepdanbooru") != 0 && strcmp(lower, "deepbooru") != 0)
        return rv_reply_problem(404, "HTTPException", "Model not found", "");
    return rv_reply_problem(501, "NotImplementedError", "this server has no model that describes pictures",
                            "this server has no model that describes pictures");
}

void
rv_sdapi_interrogate(const RvCall *call)
{
    rv_task_serve(call, refuse_interrogate);
}
