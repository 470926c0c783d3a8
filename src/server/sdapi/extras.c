/* extras.c - enlarging pictures after they were drawn. */
#include <string.h>

#include "server/sdapi/handlers.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/plan.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/extras.h"
#include "studio/studio.h"

/* A request from its body to its answer; the data of its task. */
typedef struct {
    bool is_batch, shows;
    JsonObject *options;
    RvStudioJob *job, *spec; /* until it is submitted; and what remains of it */
    RvStudioResult *result;
    gint64 id;
} Extras;

static void
extras_free(gpointer data)
{
    Extras *extras = data;
    json_object_unref(extras->options);
    rv_studio_job_free(extras->job);
    rv_studio_job_free(extras->spec);
    rv_studio_result_unref(extras->result);
    g_free(extras);
}

/* ---- the plan: in a thread ---- */

static const char *
name_or_null(JsonObject *fields, const char *field)
{
    const char *name = rv_fields_text(fields, field);
    return *name == '\0' || g_ascii_strcasecmp(name, "None") == 0 ? NULL : name;
}

static bool
set_sizes(RvStudioJob *job, JsonObject *fields, JsonObject *options, RvRefusal *refusal)
{
    if (rv_fields_number(fields, "gfpgan_visibility", 0.0) > 0.0 ||
        rv_fields_number(fields, "codeformer_visibility", 0.0) > 0.0) {
        rv_refusal_set(refusal, 422, "this server has no model that restores faces");
        return false;
    }
    rv_studio_set_text(&job->upscaler_1, name_or_null(fields, "upscaler_1"));
    rv_studio_set_text(&job->upscaler_2, name_or_null(fields, "upscaler_2"));
    job->upscaler_2_visibility = rv_fields_number(fields, "extras_upscaler_2_visibility", 0.0);
    job->extras_resize_mode = (int)rv_fields_integer(fields, "resize_mode");
    job->upscaling_resize = rv_fields_number(fields, "upscaling_resize", 2.0);
    job->upscaling_resize_w = (int)rv_fields_integer(fields, "upscaling_resize_w");
    job->upscaling_resize_h = (int)rv_fields_integer(fields, "upscaling_resize_h");
    job->upscaling_crop = rv_fields_bool(fields, "upscaling_crop");
    rv_studio_set_text(&job->samples_format, rv_fields_text(options, "samples_format"));
    job->quality = (int)rv_fields_integer(options, "jpeg_quality");
    return true;
}

static bool
add_picture(RvStudioJob *job, const char *text, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    if (text == NULL || *text == '\0') {
        rv_refusal_set(refusal, 404, "Image not found");
        return false;
    }
    g_autoptr(RvPicture) picture = rv_picture_text_load(text, &error);
    g_autoptr(GBytes) bytes = picture != NULL ? rv_picture_text_decode(text, &error) : NULL;
    if (bytes == NULL) {
        rv_refusal_set_picture(refusal, error);
        return false;
    }
    rv_studio_job_add_init(job, bytes);
    return true;
}

/* The "data" of every item of the list. */
static bool
add_list(RvStudioJob *job, JsonArray *list, RvRefusal *refusal)
{
    guint count = json_array_get_length(list);
    if (count == 0 || count > RV_API_MAX_INPUTS) {
        rv_refusal_set(refusal, 422, "imageList: 1 to %d pictures, not %u", RV_API_MAX_INPUTS, count);
        return false;
    }
    for (guint i = 0; i < count; i++) {
        JsonNode *item = json_array_get_element(list, i);
        bool is_object = JSON_NODE_HOLDS_OBJECT(item);
        if (!is_object)
            rv_refusal_set(refusal, 422, "imageList: an item is {\"data\":picture,\"name\":text}");
        if (!is_object || !add_picture(job, rv_fields_text(json_node_get_object(item), "data"), refusal))
            return false;
    }
    return true;
}

static RvReply
plan(RvTask *task)
{
    Extras *extras = task->data;
    g_autoptr(JsonObject) fields = NULL;
    g_auto(RvRefusal) refusal = { 0 };
    RvReply reply = { 0 };
    if (!rv_task_fields(task, &fields, NULL, &reply))
        return reply;
    extras->shows = rv_fields_bool(fields, "show_extras_results");
    extras->job = rv_studio_job_new(RV_STUDIO_EXTRAS);
    bool ok =
        set_sizes(extras->job, fields, extras->options, &refusal) &&
        (extras->is_batch ? add_list(extras->job, json_object_get_array_member(fields, "imageList"), &refusal)
                          : add_picture(extras->job, rv_fields_text(fields, "image"), &refusal));
    return ok ? reply : rv_refusal_reply(&refusal);
}

/* ---- the answer: in a thread ---- */

static RvReply
answer(RvTask *task)
{
    const Extras *extras = task->data;
    JsonObject *object = json_object_new();
    JsonArray *images = json_array_new();
    g_autofree char *info = NULL;
    for (guint i = 0; i < extras->result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(extras->result->pictures, i);
        gsize size = 0;
        const guchar *data = picture->bytes != NULL ? g_bytes_get_data(picture->bytes, &size) : NULL;
        g_autofree char *text = g_base64_encode(data, size);
        json_array_add_string_element(images, text);
        if (i == 0)
            info = g_markup_escape_text(rv_extras_postprocessing(extras->spec, picture->infotext), -1);
    }
    g_autofree char *html = g_strdup_printf("<p>%s</p>", info != NULL ? info : "");
    json_object_set_string_member(object, "html_info", html);
    if (extras->is_batch) {
        json_object_set_array_member(object, "images", images);
        return rv_reply_object(object);
    }
    if (extras->shows && json_array_get_length(images) > 0)
        json_object_set_string_member(object, "image", json_array_get_string_element(images, 0));
    else
        json_object_set_null_member(object, "image");
    json_array_unref(images);
    return rv_reply_object(object);
}

/* ---- the queue: on the main loop ---- */

static void
on_accepted(gint64 id, const GError *error, void *user)
{
    if (error != NULL)
        rv_task_end(user, rv_reply_error(error));
}

static void
on_done(RvStudioResult *result, void *user)
{
    RvTask *task = user;
    Extras *extras = task->data;
    extras->id = 0;
    task->waits_for_job = false;
    extras->result = rv_studio_result_ref(result);
    if (result->state == RV_STUDIO_FAILED)
        rv_task_end(task, rv_reply_error(result->error));
    else if (result->state != RV_STUDIO_DONE)
        rv_task_end(task, rv_reply_problem(409, "HTTPException", "the job was cancelled", ""));
    else
        rv_task_run(task, answer, NULL);
}

static void
on_gone(RvTask *task)
{
    const Extras *extras = task->data;
    if (extras->id != 0)
        rv_studio_stop(rv_server_studio(task->server), task->user, extras->id, RV_STUDIO_CANCEL_IF_QUEUED,
                       NULL);
}

static void
on_planned(RvTask *task, RvReply reply)
{
    Extras *extras = task->data;
    RvStudioWaiter waiter = { on_accepted, on_done, task };
    g_autoptr(GError) error = NULL;
    if (reply.status != 0) {
        rv_task_end(task, reply);
        return;
    }
    extras->spec = rv_studio_job_copy(extras->job);
    extras->id = rv_studio_submit(rv_server_studio(task->server), task->user, g_steal_pointer(&extras->job),
                                  &waiter, &error);
    task->waits_for_job = extras->id != 0;
    if (extras->id == 0)
        rv_task_end(task, rv_reply_error(error));
}

static void
serve(const RvCall *call, bool is_batch)
{
    RvTask *task = rv_task_new(call);
    Extras *extras = g_new0(Extras, 1);
    extras->is_batch = is_batch;
    extras->options = rv_user_options(call->server, call->user);
    task->data = extras;
    task->free_data = extras_free;
    rv_task_watch_client(task, on_gone);
    rv_task_run(task, plan, on_planned);
}

void
rv_sdapi_extras_single(const RvCall *call)
{
    serve(call, false);
}

void
rv_sdapi_extras_batch(const RvCall *call)
{
    serve(call, true);
}
