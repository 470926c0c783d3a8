/* controlnet.c - /controlnet: what there is to steer pictures with. */
#include <string.h>

#include "media/annotate.h"
#include "server/sdapi/handlers.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/plan.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/user_data.h"

void
rv_sdapi_controlnet_version(const RvCall *call)
{
    JsonObject *answer = json_object_new();
    json_object_set_int_member(answer, "version", 2);
    rv_reply_send(call, rv_reply_object(answer));
}

void
rv_sdapi_controlnet_settings(const RvCall *call)
{
    JsonObject *answer = json_object_new();
    json_object_set_int_member(answer, "control_net_unit_count", 8);
    rv_reply_send(call, rv_reply_object(answer));
}

static JsonArray *
model_names(const RvCall *call)
{
    JsonArray *list = json_array_new();
    g_autoptr(RvLibrary) library = rv_server_library(call->server);
    g_autoptr(GPtrArray) files = rv_library_list_whole(library, RV_NETWORK_CONTROLNET);
    for (guint i = 0; i < files->len; i++)
        json_array_add_string_element(list, ((RvLibraryFile *)g_ptr_array_index(files, i))->name);
    return list;
}

void
rv_sdapi_controlnet_models(const RvCall *call)
{
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "model_list", model_names(call));
    rv_reply_send(call, rv_reply_object(answer));
}

static JsonArray *
module_names(void)
{
    JsonArray *list = json_array_new();
    for (const char *const *name = rv_annotate_modules(); *name != NULL; name++)
        json_array_add_string_element(list, *name);
    return list;
}

void
rv_sdapi_controlnet_modules(const RvCall *call)
{
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "module_list", module_names());
    rv_reply_send(call, rv_reply_object(answer));
}

/* ---- both, by what they look at ---- */

static bool
has_word(const char *name, const char *const *words)
{
    g_autofree char *lower = g_ascii_strdown(name, -1);
    for (; *words != NULL; words++)
        if (strstr(lower, *words) != NULL)
            return true;
    return false;
}

/* "none" (or "None"), then those with one of the words in their name. */
static JsonArray *
chosen(JsonArray *names, const char *const *words, const char *none)
{
    JsonArray *list = json_array_new();
    json_array_add_string_element(list, none);
    for (guint i = 0; i < json_array_get_length(names); i++) {
        const char *name = json_array_get_string_element(names, i);
        if (g_ascii_strcasecmp(name, none) != 0 && has_word(name, words))
            json_array_add_string_element(list, name);
    }
    return list;
}

static void
add_type(JsonObject *types, const char *name, const char *const *words, JsonArray *models)
{
    g_autoptr(JsonArray) modules = module_names();
    JsonObject *type = json_object_new();
    JsonArray *own_modules = chosen(modules, words, "none"), *own_models = chosen(models, words, "None");
    bool is_all = strcmp(name, "All") == 0;
    guint module = !is_all && json_array_get_length(own_modules) > 1 ? 1 : 0,
          model = !is_all && json_array_get_length(own_models) > 1 ? 1 : 0;
    json_object_set_string_member(type, "default_option", json_array_get_string_element(own_modules, module));
    json_object_set_string_member(type, "default_model", json_array_get_string_element(own_models, model));
    json_object_set_array_member(type, "module_list", own_modules);
    json_object_set_array_member(type, "model_list", own_models);
    json_object_set_object_member(types, name, type);
}

void
rv_sdapi_controlnet_types(const RvCall *call)
{
    static const struct {
        const char *name, *words[4];
    } kinds[] = { { "All", { "" } },
                  { "Canny", { "canny" } },
                  { "Depth", { "depth" } },
                  { "OpenPose", { "openpose", "pose" } },
                  { "Lineart", { "lineart", "invert" } },
                  { "Scribble", { "scribble", "invert" } },
                  { "Tile", { "tile", "blur" } } };
    g_autoptr(JsonArray) models = model_names(call);
    JsonObject *answer = json_object_new(), *types = json_object_new();
    for (gsize i = 0; i < G_N_ELEMENTS(kinds); i++)
        add_type(types, kinds[i].name, kinds[i].words, models);
    json_object_set_object_member(answer, "control_types", types);
    rv_reply_send(call, rv_reply_object(answer));
}

/* ---- preprocessors by themselves ---- */

/* The shorter side as long as is asked for. */
static RvPicture *
at_resolution(const RvPicture *picture, int resolution, GError **error)
{
    double scale = resolution > 0 ? (double)resolution / MIN(picture->width, picture->height) : 1.0;
    int width = MAX((int)(picture->width * scale + 0.5), 1),
        height = MAX((int)(picture->height * scale + 0.5), 1);
    if (width > RV_API_MAX_SIDE * 2 || height > RV_API_MAX_SIDE * 2) {
        rv_error_set(error, RV_ERROR_USAGE, NULL, NULL,
                     "controlnet_processor_res is too much for this picture");
        return NULL;
    }
    return rv_picture_resize(picture, width, height, RV_FILTER_LANCZOS, error);
}

/* NULL with a refusal. */
static char *
detect_one(JsonObject *fields, const char *text, RvRefusal *refusal)
{
    static const RvPictureStyle png = { RV_PICTURE_PNG, 0, false };
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_text_load(text, &error);
    if (picture == NULL) {
        rv_refusal_set_picture(refusal, error);
        return NULL;
    }
    g_autoptr(RvPicture) sized =
        at_resolution(picture, (int)rv_fields_integer(fields, "controlnet_processor_res"), &error);
    g_autoptr(RvPicture) map =
        sized != NULL ? rv_annotate(sized, rv_fields_text(fields, "controlnet_module"),
                                    rv_fields_number(fields, "controlnet_threshold_a", 0.0),
                                    rv_fields_number(fields, "controlnet_threshold_b", 0.0), &error)
                      : NULL;
    char *answer = map != NULL ? rv_picture_text_encode(map, &png, NULL, &error) : NULL;
    if (answer == NULL)
        rv_refusal_set(refusal, rv_error_status(error), "%s", error->message);
    return answer;
}

static RvReply
detect(RvTask *task)
{
    g_autoptr(JsonObject) fields = NULL;
    g_autoptr(JsonArray) images = json_array_new();
    g_auto(RvRefusal) refusal = { 0 };
    RvReply reply;
    if (!rv_task_fields(task, &fields, NULL, &reply))
        return reply;
    JsonArray *inputs = json_object_get_array_member(fields, "controlnet_input_images");
    guint count = json_array_get_length(inputs);
    if (!rv_annotate_knows(rv_fields_text(fields, "controlnet_module")))
        return rv_reply_problem(422, "HTTPException", "Module not available", "");
    if (count == 0 || count > RV_API_MAX_INPUTS)
        return rv_reply_problem(422, "HTTPException", count == 0 ? "No image selected" : "Too many images",
                                "");
    for (guint i = 0; i < count; i++) {
        g_autofree char *text = detect_one(fields, json_array_get_string_element(inputs, i), &refusal);
        if (text == NULL)
            return rv_refusal_reply(&refusal);
        json_array_add_string_element(images, text);
    }
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "images", g_steal_pointer(&images));
    json_object_set_string_member(answer, "info", "Success");
    return rv_reply_object(answer);
}

void
rv_sdapi_controlnet_detect(const RvCall *call)
{
    rv_task_serve(call, detect);
}
