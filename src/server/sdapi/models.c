/* models.c - models and what belongs to them, by name. */
#include <string.h>

#include "server/sdapi/handlers.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/studio.h"

/* ---- lists ---- */

void
rv_sdapi_checkpoints(const RvCall *call)
{
    g_autoptr(GPtrArray) models = rv_studio_models(rv_server_studio(call->server));
    JsonArray *list = json_array_new();
    for (guint i = 0; i < models->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(models, i);
        g_autofree char *hash = model->sha256 != NULL ? g_strndup(model->sha256, 10) : NULL;
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "title", model->title);
        json_object_set_string_member(item, "model_name", model->name);
        json_object_set_string_member(item, "hash", hash);
        json_object_set_string_member(item, "sha256", model->sha256);
        json_object_set_string_member(item, "filename", model->path);
        json_object_set_null_member(item, "config");
        json_array_add_object_element(list, item);
    }
    rv_reply_send(call, rv_reply_array(list));
}

static GPtrArray *
files_of(const RvCall *call, RvNetworkKind kind)
{
    g_autoptr(RvLibrary) library = rv_server_library(call->server);
    return rv_library_list_whole(library, kind);
}

void
rv_sdapi_vaes(const RvCall *call)
{
    g_autoptr(GPtrArray) files = files_of(call, RV_NETWORK_VAE);
    JsonArray *list = json_array_new();
    for (guint i = 0; i < files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(files, i);
        g_autofree char *name = g_path_get_basename(file->path);
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "model_name", name);
        json_object_set_string_member(item, "filename", file->path);
        json_array_add_object_element(list, item);
    }
    rv_reply_send(call, rv_reply_array(list));
}

void
rv_sdapi_styles(const RvCall *call)
{
    rv_reply_send(call, rv_reply_array(rv_user_styles(call->server, call->user)));
}

/* ---- memory ---- */

void
rv_sdapi_refresh(const RvCall *call)
{
    rv_studio_refresh_models(rv_server_studio(call->server));
    rv_reply_send(call, rv_reply_null());
}

static void
on_unloaded(void *user)
{
    rv_task_end(user, rv_reply_object(json_object_new()));
}

/* Answers when the memory is free. */
void
rv_sdapi_unload(const RvCall *call)
{
    rv_server_unload(call->server, on_unloaded, rv_task_new(call));
}

static void
on_loaded(const GError *error, void *user)
{
    rv_task_end(user, error != NULL ? rv_reply_error(error) : rv_reply_object(json_object_new()));
}

void
rv_sdapi_reload(const RvCall *call)
{
    g_autoptr(JsonObject) options = rv_user_options(call->server, call->user);
    rv_studio_load(rv_server_studio(call->server), rv_fields_text(options, "sd_model_checkpoint"), on_loaded,
                   rv_task_new(call));
}

/* ComfyUI's: what it says about which models is not asked for here, both fields mean all. */
void
rv_sdapi_free(const RvCall *call)
{
    RvTask *task = rv_task_new(call);
    g_autoptr(JsonObject) fields = NULL;
    RvReply reply;
    if (g_bytes_get_size(task->body) > 0 && !rv_task_fields(task, &fields, NULL, &reply))
        rv_task_end(task, reply);
    else if (fields != NULL && !rv_fields_bool(fields, "unload_models") &&
             !rv_fields_bool(fields, "free_memory"))
        rv_task_end(task, rv_reply_object(json_object_new()));
    else
        rv_server_unload(call->server, on_unloaded, task);
}
