/* script_info.c - which scripts there are. */
#include "server/sdapi/handlers.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/script_private.h"
#include "server/sdapi/xyz_axes.h"

static const RvScriptClass *const classes[] = {
    &rv_script_matrix,   &rv_script_file,    &rv_script_xyz,
    &rv_script_loopback, &rv_script_upscale, &rv_script_outpaint
};

/* Names in lower case, as A1111 lists them. */
static JsonArray *
titles(bool is_img2img)
{
    JsonArray *list = json_array_new();
    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        const RvScriptInfo *info = classes[i]->info;
        g_autofree char *title = g_ascii_strdown(info->title, -1);
        if (is_img2img ? info->is_img2img : info->is_txt2img)
            json_array_add_string_element(list, title);
    }
    json_array_add_string_element(list, "controlnet");
    if (is_img2img)
        json_array_add_string_element(list, "soft inpainting");
    /* The sign by which webuiapi knows that there is ControlNet; as a script it is refused. */
    json_array_add_string_element(list, "controlnet m2m");
    return list;
}

void
rv_sdapi_scripts(const RvCall *call)
{
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "txt2img", titles(false));
    json_object_set_array_member(answer, "img2img", titles(true));
    rv_reply_send(call, rv_reply_object(answer));
}

static JsonArray *
choices_of(const RvScriptClass *class, guint index, bool is_img2img)
{
    const RvScriptArgument *argument = &class->info->arguments[index];
    JsonArray *choices = json_array_new();
    if (class == &rv_script_xyz && index % 3 == 0 && index < 9) {
        const RvAxis *axis;
        for (int i = 0; (axis = rv_axis_at(is_img2img, i)) != NULL; i++)
            json_array_add_string_element(choices, axis->label);
        return choices;
    }
    for (int i = 0; argument->choices != NULL && argument->choices[i] != NULL; i++)
        json_array_add_string_element(choices, argument->choices[i]);
    return choices;
}

static void
set_number(JsonObject *object, const char *name, double value, bool given)
{
    if (given)
        json_object_set_double_member(object, name, value);
    else
        json_object_set_null_member(object, name);
}

static JsonObject *
argument_of(const RvScriptClass *class, guint index, bool is_img2img)
{
    const RvScriptArgument *argument = &class->info->arguments[index];
    bool has_range = argument->most > argument->least;
    JsonObject *item = json_object_new();
    JsonArray *choices = choices_of(class, index, is_img2img);
    json_object_set_string_member(item, "label", argument->label);
    json_object_set_member(item, "value", json_from_string(argument->initial, NULL));
    set_number(item, "minimum", argument->least, has_range);
    set_number(item, "maximum", argument->most, has_range);
    set_number(item, "step", argument->step, has_range);
    if (json_array_get_length(choices) > 0) {
        json_object_set_array_member(item, "choices", choices);
    } else {
        json_array_unref(choices);
        json_object_set_null_member(item, "choices");
    }
    return item;
}

static void
add_item(JsonArray *list, const char *name, bool is_always_on, bool is_img2img, JsonArray *arguments)
{
    JsonObject *item = json_object_new();
    json_object_set_string_member(item, "name", name);
    json_object_set_boolean_member(item, "is_alwayson", is_always_on);
    json_object_set_boolean_member(item, "is_img2img", is_img2img);
    json_object_set_array_member(item, "args", arguments);
    json_array_add_object_element(list, item);
}

static void
add_script(JsonArray *list, const RvScriptClass *class, bool is_img2img)
{
    JsonArray *arguments = json_array_new();
    g_autofree char *title = g_ascii_strdown(class->info->title, -1);
    for (guint i = 0; class->info->arguments[i].label != NULL; i++)
        json_array_add_object_element(arguments, argument_of(class, i, is_img2img));
    add_item(list, title, false, is_img2img, arguments);
}

/* ControlNet's units have fields of their own: /openapi.json. */
static void
add_always_on(JsonArray *list)
{
    JsonArray *arguments = json_array_new();
    const RvField *field;
    for (guint i = 0; (field = rv_field_at(&rv_schema_soft_inpainting, i)) != NULL; i++) {
        bool has_range = field->most > field->least;
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "label", field->name);
        json_object_set_member(item, "value", rv_field_initial(field));
        set_number(item, "minimum", field->least, has_range);
        set_number(item, "maximum", field->most, has_range);
        set_number(item, "step", 0.05, has_range);
        json_object_set_null_member(item, "choices");
        json_array_add_object_element(arguments, item);
    }
    add_item(list, "soft inpainting", true, true, arguments);
    for (int is_img2img = 0; is_img2img < 2; is_img2img++)
        add_item(list, "controlnet", true, is_img2img, json_array_new());
}

void
rv_sdapi_script_info(const RvCall *call)
{
    JsonArray *list = json_array_new();
    for (gsize i = 0; i < G_N_ELEMENTS(classes); i++) {
        if (classes[i]->info->is_txt2img)
            add_script(list, classes[i], false);
        if (classes[i]->info->is_img2img)
            add_script(list, classes[i], true);
    }
    add_always_on(list);
    rv_reply_send(call, rv_reply_array(list));
}
