/* options.c - the user's options. */
#include <string.h>

#include "server/sdapi/handlers.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/studio.h"

/* What a client sees: the model by its title, and its hash. */
static JsonObject *
shown_options(const RvCall *call)
{
    RvStudio *studio = rv_server_studio(call->server);
    JsonObject *options = rv_user_options(call->server, call->user);
    g_autofree char *title = rv_studio_model_title(studio, rv_fields_text(options, "sd_model_checkpoint"));
    g_autofree char *path = rv_studio_find_model(studio, title, NULL);
    g_autoptr(GPtrArray) models = rv_studio_models(studio);
    if (title != NULL)
        json_object_set_string_member(options, "sd_model_checkpoint", title);
    for (guint i = 0; i < models->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(models, i);
        if (g_strcmp0(model->path, path) == 0 && model->sha256 != NULL)
            json_object_set_string_member(options, "sd_checkpoint_hash", model->sha256);
    }
    return options;
}

/* Leaves out what the client only sent back. False when a named model does not exist. */
static bool
read_changes(const RvCall *call, JsonObject *given, JsonObject *changes, RvReply *reply)
{
    g_autoptr(JsonObject) shown = shown_options(call);
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    json_object_iter_init(&iter, given);
    while (json_object_iter_next(&iter, &name, &value)) {
        JsonNode *now = json_object_get_member(shown, name);
        if (now != NULL && !json_node_equal(now, value))
            json_object_set_member(changes, name, json_node_copy(value));
    }
    json_object_remove_member(changes, "sd_checkpoint_hash");
    const char *model = rv_fields_text(changes, "sd_model_checkpoint");
    if (model == NULL)
        return true;
    g_autofree char *title = rv_studio_model_title(rv_server_studio(call->server), model);
    g_autofree char *message = g_strdup_printf("model '%s' not found", model);
    if (title == NULL) {
        *reply = rv_reply_problem(500, "RuntimeError", message, message);
        return false;
    }
    json_object_set_string_member(changes, "sd_model_checkpoint", title);
    return true;
}

static void
change_options(const RvCall *call)
{
    g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(call->message));
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) fields = NULL, given = NULL, changes = json_object_new();
    static const RvField none[] = { { 0 } };
    static const RvFieldSet anything = { "Options", { none } };
    RvReply reply;
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    fields = rv_fields_parse(&anything, text, size, &given, problems);
    if (fields == NULL) {
        rv_reply_send(call, rv_reply_invalid(g_steal_pointer(&problems)));
    } else if (!read_changes(call, given, changes, &reply)) {
        rv_reply_send(call, reply);
    } else if (!rv_user_options_change(call->server, call->user, changes, problems)) {
        rv_reply_send(call, rv_reply_invalid(g_steal_pointer(&problems)));
    } else {
        const char *model = rv_fields_text(changes, "sd_model_checkpoint");
        if (model != NULL) /* so that the next picture does not wait for it */
            rv_studio_load(rv_server_studio(call->server), model, NULL, NULL);
        rv_reply_send(call, rv_reply_null());
    }
}

void
rv_sdapi_options(const RvCall *call)
{
    if (strcmp(soup_server_message_get_method(call->message), "POST") == 0)
        change_options(call);
    else
        rv_reply_send(call, rv_reply_object(shown_options(call)));
}

/* Nothing that names folders or secrets of this machine. */
void
rv_sdapi_cmd_flags(const RvCall *call)
{
    const RvServeOptions *o = rv_server_options(call->server);
    JsonObject *flags = json_object_new();
    json_object_set_boolean_member(flags, "api", TRUE);
    json_object_set_boolean_member(flags, "listen", !o->is_loopback);
    json_object_set_int_member(flags, "port", o->port);
    json_object_set_boolean_member(flags, "api_server_stop", FALSE);
    json_object_set_boolean_member(flags, "share", FALSE);
    json_object_set_string_member(flags, "device_id", o->device != NULL ? o->device : "auto");
    json_object_set_string_member(flags, "precision", o->precision != NULL ? o->precision : "auto");
    json_object_set_boolean_member(flags, "no_hashing", FALSE);
    json_object_set_boolean_member(flags, "nowebui", FALSE);
    rv_reply_send(call, rv_reply_object(flags));
}

void
rv_sdapi_option_names(const RvCall *call)
{
    JsonArray *list = json_array_new();
    const RvField *field;
    for (guint i = 0; (field = rv_field_at(&rv_schema_options, i)) != NULL; i++) {
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "name", field->name);
        json_object_set_string_member(item, "label", field->help);
        json_array_add_object_element(list, item);
    }
    rv_reply_send(call, rv_reply_array(list));
}
