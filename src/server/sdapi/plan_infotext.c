/* plan_infotext.c - a picture's parameters as the fields of a request. */
#include <string.h>

#include "media/infotext.h"
#include "server/sdapi/always_on.h"
#include "server/sdapi/schemas.h"

/* Keys of infotexts, and what they fill: a field, or an option. */
static const struct {
    const char *key, *field, *option;
} keys[] = {
    { "Steps", "steps", NULL },
    { "Sampler", "sampler_name", NULL },
    { "Schedule type", "scheduler", NULL },
    { "CFG scale", "cfg_scale", NULL },
    { "Seed", "seed", NULL },
    { "Size-1", "width", NULL },
    { "Size-2", "height", NULL },
    { "Variation seed", "subseed", NULL },
    { "Variation seed strength", "subseed_strength", NULL },
    { "Seed resize from-1", "seed_resize_from_w", NULL },
    { "Seed resize from-2", "seed_resize_from_h", NULL },
    { "Denoising strength", "denoising_strength", NULL },
    { "Tiling", "tiling", NULL },
    { "Eta", "eta", NULL },
    { "Eta DDIM", "eta", NULL },
    { "Sigma churn", "s_churn", NULL },
    { "Sigma tmin", "s_tmin", NULL },
    { "Sigma tmax", "s_tmax", NULL },
    { "Sigma noise", "s_noise", NULL },
    { "Refiner", "refiner_checkpoint", NULL },
    { "Refiner switch at", "refiner_switch_at", NULL },
    { "Hires upscale", "hr_scale", NULL },
    { "Hires upscaler", "hr_upscaler", NULL },
    { "Hires steps", "hr_second_pass_steps", NULL },
    { "Hires resize-1", "hr_resize_x", NULL },
    { "Hires resize-2", "hr_resize_y", NULL },
    { "Hires sampler", "hr_sampler_name", NULL },
    { "Hires schedule type", "hr_scheduler", NULL },
    { "Hires prompt", "hr_prompt", NULL },
    { "Hires negative prompt", "hr_negative_prompt", NULL },
    { "Hires checkpoint", "hr_checkpoint_name", NULL },
    { "Noise multiplier", "initial_noise_multiplier", NULL },
    { "Mask blur", "mask_blur", NULL },
    { "Masked area padding", "inpaint_full_res_padding", NULL },
    { "Model hash", NULL, "sd_model_checkpoint" },
    { "Model", NULL, "sd_model_checkpoint" },
    { "VAE", NULL, "sd_vae" },
    { "Clip skip", NULL, "CLIP_stop_at_last_layers" },
    { "ENSD", NULL, "eta_noise_seed_delta" },
    { "RNG", NULL, "randn_source" },
    { "Refiner switch by sampling steps", NULL, "refiner_switch_by_sample_steps" },
};

static bool
is_given(JsonObject *given, const char *field)
{
    return given != NULL && rv_fields_has(given, field);
}

/* The text as the field would be read from JSON; what does not fit is passed over, as it is in A1111. */
static void
fill(JsonObject *fields, JsonObject *given, const RvFieldSet *set, const char *name, const char *text)
{
    const RvField *field = rv_field_find(set, name);
    if (field == NULL || is_given(given, name))
        return;
    RvField rows[] = { *field, { 0 } };
    RvFieldSet one = { set->name, { rows } };
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) body = json_object_new();
    json_object_set_string_member(body, name, text);
    g_autoptr(JsonObject) read = rv_fields_read(&one, body, "body", problems);
    if (read != NULL)
        json_object_set_member(fields, name, json_node_copy(json_object_get_member(read, name)));
}

/* Choices that infotexts name and requests number; A1111 leaves its usual ones unsaid. */
static void
fill_mask(JsonObject *fields, JsonObject *given, const RvFieldSet *set, const RvInfotext *info)
{
    static const char *const contents[] = { "fill", "original", "latent noise", "latent nothing" };
    const char *content = rv_infotext_get(info, "Masked content");
    bool is_outside = g_strcmp0(rv_infotext_get(info, "Mask mode"), "Inpaint not masked") == 0,
         is_part = g_strcmp0(rv_infotext_get(info, "Inpaint area"), "Only masked") == 0;
    char number[] = "1";
    for (gsize i = 0; content != NULL && i < G_N_ELEMENTS(contents); i++)
        if (strcmp(content, contents[i]) == 0)
            number[0] = (char)('0' + i);
    fill(fields, given, set, "inpainting_mask_invert", is_outside ? "1" : "0");
    fill(fields, given, set, "inpaint_full_res", is_part ? "true" : "false");
    fill(fields, given, set, "inpainting_fill", number);
}

void
rv_plan_apply_infotext(JsonObject *fields, JsonObject *given, bool is_img2img, JsonObject *overrides)
{
    const RvFieldSet *set = rv_plan_schema(is_img2img);
    const char *text = rv_fields_text(fields, "infotext");
    if (text == NULL || *text == '\0')
        return;
    g_autoptr(RvInfotext) info = rv_infotext_parse(text);
    bool has_hires =
        rv_infotext_get(info, "Hires upscale") != NULL || rv_infotext_get(info, "Hires resize") != NULL;
    rv_infotext_expand(info);
    fill(fields, given, set, "prompt", info->prompt);
    fill(fields, given, set, "negative_prompt", info->negative);
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        const char *value = rv_infotext_get(info, keys[i].key);
        bool is_hires = keys[i].field != NULL && g_str_has_prefix(keys[i].field, "hr_");
        if (value == NULL || (is_hires && !has_hires))
            continue;
        if (keys[i].field != NULL)
            fill(fields, given, set, keys[i].field, value);
        else
            json_object_set_string_member(overrides, keys[i].option, value);
    }
    if (has_hires)
        fill(fields, given, set, "enable_hr", "true");
    if (is_img2img && rv_infotext_get(info, "Mask blur") != NULL)
        fill_mask(fields, given, set, info);
    if (is_img2img && !is_given(given, "alwayson_scripts"))
        rv_always_on_from_infotext(info, fields);
}
