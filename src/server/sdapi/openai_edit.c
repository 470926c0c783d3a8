#include "server/sdapi/openai_edit.h"

#include "server/sdapi/picture_text.h"

#define USUAL_SIDE 1024 /* of pictures whose size is not asked for */

static const char *
picture_of(JsonObject *fields)
{
    JsonNode *node = json_object_get_member(fields, "image");
    if (JSON_NODE_HOLDS_ARRAY(node) && json_array_get_length(json_node_get_array(node)) == 1)
        node = json_array_get_element(json_node_get_array(node), 0);
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

static RvPicture *
load(const char *text, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    RvPicture *picture = rv_picture_text_load(text, &error);
    if (picture == NULL)
        rv_refusal_set(refusal, 400, "%s", error->message);
    return picture;
}

static bool
is_transparent(const RvPicture *picture)
{
    gsize count = (gsize)picture->width * (gsize)picture->height;
    for (gsize i = 0; picture->alpha != NULL && i < count; i++)
        if (picture->alpha[i] != 255)
            return true;
    return false;
}

/* OpenAI's masks are transparent where A1111's are opaque. */
static bool
set_mask(JsonObject *fields, const char *image, const RvPicture *picture, JsonObject *body,
         RvRefusal *refusal)
{
    const char *mask = rv_fields_text(fields, "mask");
    bool has_mask = mask != NULL && *mask != '\0';
    g_autoptr(RvPicture) loaded = has_mask ? load(mask, refusal) : NULL;
    if (has_mask && loaded == NULL)
        return false;
    bool inverts = is_transparent(has_mask ? loaded : picture);
    if (!has_mask && !inverts)
        return true;
    json_object_set_string_member(body, "mask", has_mask ? mask : image);
    json_object_set_int_member(body, "inpainting_mask_invert", inverts);
    json_object_set_boolean_member(body, "inpaint_full_res", FALSE);
    json_object_set_int_member(body, "inpainting_fill", 1);
    return true;
}

static void
set_size(const RvPicture *picture, JsonObject *body)
{
    double scale = MIN(1.0, (double)USUAL_SIDE / MAX(picture->width, picture->height));
    json_object_set_int_member(body, "width", MAX((int)(picture->width * scale) / 8 * 8, 64));
    json_object_set_int_member(body, "height", MAX((int)(picture->height * scale) / 8 * 8, 64));
}

bool
rv_openai_edit(JsonObject *fields, JsonObject *body, RvRefusal *refusal)
{
    const char *image = picture_of(fields), *fidelity = rv_fields_text(fields, "input_fidelity");
    if (image == NULL) {
        rv_refusal_set(refusal, 400, "image: one picture is taken");
        return false;
    }
    g_autoptr(RvPicture) picture = load(image, refusal);
    if (picture == NULL || !set_mask(fields, image, picture, body, refusal))
        return false;
    JsonArray *images = json_array_new();
    json_array_add_string_element(images, image);
    json_object_set_array_member(body, "init_images", images);
    if (!json_object_has_member(body, "width"))
        set_size(picture, body);
    double usual = g_strcmp0(fidelity, "high") == 0 ? 0.5 : 0.75;
    json_object_set_double_member(body, "denoising_strength", rv_fields_number(fields, "strength", usual));
    return true;
}
