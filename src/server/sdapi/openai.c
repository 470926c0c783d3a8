/* openai.c - pictures for programs that were written for OpenAI's API. */
#include <stdio.h>
#include <string.h>

#include "server/sdapi/form.h"
#include "server/sdapi/handlers.h"
#include "server/sdapi/openai_edit.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/plan.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/studio.h"

typedef struct {
    bool wants_url, is_edit;
    char *form; /* Content-Type of a form; NULL: the body is JSON */
    char *base; /* "http://host" */
    JsonObject *options;
    JsonArray *styles;
    RvStudioJob *job;
    RvStudioResult *result;
    gint64 id;
} Request;

static void
request_free(gpointer data)
{
    Request *request = data;
    json_object_unref(request->options);
    json_array_unref(request->styles);
    rv_studio_job_free(request->job);
    rv_studio_result_unref(request->result);
    g_free(request->base);
    g_free(request->form);
    g_free(request);
}

/* {"error":{"message","type","param","code"}} */
static RvReply
problem(guint status, const char *parameter, const char *message)
{
    JsonObject *body = json_object_new(), *error = json_object_new();
    json_object_set_string_member(error, "message", message);
    json_object_set_string_member(error, "type", status < 500 ? "invalid_request_error" : "server_error");
    json_object_set_string_member(error, "param", parameter);
    json_object_set_null_member(error, "code");
    json_object_set_object_member(body, "error", error);
    RvReply reply = rv_reply_object(body);
    reply.status = status;
    return reply;
}

static RvReply
problem_of(const GError *error)
{
    return problem(rv_error_status(error), NULL, error->message);
}

/* ---- the plan: in a thread ---- */

static bool
read_body(RvTask *task, JsonObject **fields, RvReply *reply)
{
    gsize size;
    const Request *request = task->data;
    const char *text = g_bytes_get_data(task->body, &size);
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) form =
        request->form != NULL ? rv_form_read(request->form, task->body, &error) : NULL;
    if (error != NULL) {
        *reply = problem_of(error);
        return false;
    }
    *fields = form != NULL ? rv_fields_read(task->route->body, form, "body", problems)
                           : rv_fields_parse(task->route->body, text, size, NULL, problems);
    if (*fields != NULL)
        return true;
    JsonObject *first = json_array_get_object_element(problems, 0);
    JsonArray *loc = json_object_get_array_member(first, "loc");
    JsonNode *name = json_array_get_length(loc) > 1 ? json_array_get_element(loc, 1) : NULL;
    *reply = problem(400, name != NULL ? json_node_get_string(name) : NULL,
                     json_object_get_string_member(first, "msg"));
    return false;
}

/* A1111's fields from OpenAI's; absent ones have the values of the web UI's page. */
static JsonObject *
translate(JsonObject *fields, bool is_edit, JsonArray *problems, RvRefusal *refusal)
{
    static const struct {
        const char *from, *to;
    } names[] = { { "prompt", "prompt" }, { "negative_prompt", "negative_prompt" },
                  { "n", "n_iter" },      { "seed", "seed" },
                  { "steps", "steps" },   { "cfg_scale", "cfg_scale" } };
    g_autoptr(JsonObject) body = json_object_new();
    json_object_set_int_member(body, "steps", 20);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (rv_fields_has(fields, names[i].from))
            json_object_set_member(body, names[i].to,
                                   json_node_copy(json_object_get_member(fields, names[i].from)));
    const char *size = rv_fields_text(fields, "size");
    int width = 512, height = 512;
    char rest;
    bool has_size = size != NULL && strcmp(size, "auto") != 0;
    if (has_size && sscanf(size, "%dx%d%c", &width, &height, &rest) != 2) {
        rv_field_problem(problems, "body", "size", "size is WIDTHxHEIGHT", "value_error");
        return NULL;
    }
    if (has_size || !is_edit) {
        json_object_set_int_member(body, "width", width);
        json_object_set_int_member(body, "height", height);
    }
    if (is_edit && !rv_openai_edit(fields, body, refusal))
        return NULL;
    return rv_fields_read(rv_plan_schema(is_edit), body, "body", problems);
}

static bool
set_format(Request *request, JsonObject *fields, RvReply *reply)
{
    const char *format = rv_fields_text(fields, "output_format"),
               *how = rv_fields_text(fields, "response_format"),
               *ground = rv_fields_text(fields, "background");
    RvPictureStyle style;
    if (format != NULL && !rv_picture_style_parse(format, &style))
        *reply = problem(400, "output_format", "png, jpeg or webp");
    else if (how != NULL && strcmp(how, "url") != 0 && strcmp(how, "b64_json") != 0)
        *reply = problem(400, "response_format", "url or b64_json");
    else if (ground != NULL && strcmp(ground, "auto") != 0 && strcmp(ground, "opaque") != 0)
        *reply = problem(400, "background", "transparent pictures are not supported");
    else {
        request->wants_url = how == NULL || strcmp(how, "url") == 0;
        if (format != NULL)
            json_object_set_string_member(request->options, "samples_format", format);
        return true;
    }
    return false;
}

static RvReply
plan(RvTask *task)
{
    Request *request = task->data;
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) fields = NULL, translated = NULL;
    g_auto(RvRefusal) refusal = { 0 };
    RvReply reply = { 0 };
    if (!read_body(task, &fields, &reply) || !set_format(request, fields, &reply))
        return reply;
    translated = translate(fields, request->is_edit, problems, &refusal);
    if (translated == NULL && refusal.detail != NULL)
        return problem(refusal.status, NULL, refusal.detail);
    if (translated == NULL)
        return problem(400, NULL,
                       json_object_get_string_member(json_array_get_object_element(problems, 0), "msg"));
    if (rv_fields_has(fields, "model"))
        json_object_set_string_member(request->options, "sd_model_checkpoint",
                                      rv_fields_text(fields, "model"));
    json_object_set_boolean_member(translated, "save_images", request->wants_url);
    json_object_set_boolean_member(request->options, "samples_save", TRUE); /* an address needs a file */
    request->job = rv_plan_job(translated, request->is_edit, request->options, request->styles, &refusal);
    return request->job != NULL ? reply : problem(refusal.status, NULL, refusal.detail);
}

/* ---- the answer: in a thread ---- */

static void
add_picture(const Request *request, JsonArray *data, const RvStudioPicture *picture)
{
    JsonObject *item = json_object_new();
    gsize size = 0;
    if (request->wants_url && picture->gallery_id != 0) {
        g_autofree char *url = g_strdup_printf("%s/api/v1/gallery/%" G_GINT64_FORMAT "/file", request->base,
                                               picture->gallery_id);
        json_object_set_string_member(item, "url", url);
    } else {
        const guchar *bytes = picture->bytes != NULL ? g_bytes_get_data(picture->bytes, &size) : NULL;
        g_autofree char *text = g_base64_encode(bytes, size);
        json_object_set_string_member(item, "b64_json", text);
    }
    json_array_add_object_element(data, item);
}

static RvReply
answer(RvTask *task)
{
    const Request *request = task->data;
    JsonObject *object = json_object_new();
    JsonArray *data = json_array_new();
    for (guint i = 0; i < request->result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(request->result->pictures, i);
        if (picture->role == RV_STUDIO_SAMPLE)
            add_picture(request, data, picture);
    }
    json_object_set_int_member(object, "created", g_get_real_time() / G_USEC_PER_SEC);
    json_object_set_array_member(object, "data", data);
    return rv_reply_object(object);
}

/* ---- the queue: on the main loop ---- */

static void
on_accepted(gint64 id, const GError *error, void *user)
{
    if (error != NULL)
        rv_task_end(user, problem_of(error));
}

static void
on_done(RvStudioResult *result, void *user)
{
    RvTask *task = user;
    Request *request = task->data;
    request->id = 0;
    task->waits_for_job = false;
    request->result = rv_studio_result_ref(result);
    if (result->state == RV_STUDIO_FAILED)
        rv_task_end(task, problem_of(result->error));
    else if (result->state != RV_STUDIO_DONE)
        rv_task_end(task, problem(409, NULL, "the job was cancelled"));
    else
        rv_task_run(task, answer, NULL);
}

static void
on_gone(RvTask *task)
{
    const Request *request = task->data;
    if (request->id != 0)
        rv_studio_stop(rv_server_studio(task->server), task->user, request->id, RV_STUDIO_CANCEL_IF_QUEUED,
                       NULL);
}

static void
on_planned(RvTask *task, RvReply reply)
{
    Request *request = task->data;
    RvStudioWaiter waiter = { on_accepted, on_done, task };
    g_autoptr(GError) error = NULL;
    if (reply.status != 0) {
        rv_task_end(task, reply);
        return;
    }
    request->id = rv_studio_submit(rv_server_studio(task->server), task->user, g_steal_pointer(&request->job),
                                   &waiter, &error);
    task->waits_for_job = request->id != 0;
    if (request->id == 0)
        rv_task_end(task, problem_of(error));
}

static void
serve(const RvCall *call, bool is_edit)
{
    SoupMessageHeaders *headers = soup_server_message_get_request_headers(call->message);
    const char *host = soup_message_headers_get_one(headers, "Host"),
               *type = soup_message_headers_get_one(headers, "Content-Type");
    bool is_https = g_strcmp0(g_uri_get_scheme(soup_server_message_get_uri(call->message)), "https") == 0;
    RvTask *task = rv_task_new(call);
    Request *request = g_new0(Request, 1);
    request->is_edit = is_edit;
    request->form = type != NULL && g_ascii_strncasecmp(type, "multipart/", 10) == 0 ? g_strdup(type) : NULL;
    request->base =
        g_strdup_printf("%s://%s", is_https ? "https" : "http", host != NULL ? host : "localhost");
    request->options = rv_user_options(call->server, call->user);
    request->styles = rv_user_styles(call->server, call->user);
    task->data = request;
    task->free_data = request_free;
    rv_task_watch_client(task, on_gone);
    rv_task_run(task, plan, on_planned);
}

void
rv_openai_images(const RvCall *call)
{
    serve(call, false);
}

void
rv_openai_edits(const RvCall *call)
{
    serve(call, true);
}

void
rv_openai_models(const RvCall *call)
{
    g_autoptr(GPtrArray) models = rv_studio_models(rv_server_studio(call->server));
    JsonObject *answer = json_object_new();
    JsonArray *data = json_array_new();
    for (guint i = 0; i < models->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(models, i);
        JsonObject *item = json_object_new();
        json_object_set_string_member(item, "id", model->name);
        json_object_set_string_member(item, "object", "model");
        json_object_set_int_member(item, "created", model->modified);
        json_object_set_string_member(item, "owned_by", "reverie");
        json_array_add_object_element(data, item);
    }
    json_object_set_string_member(answer, "object", "list");
    json_object_set_array_member(answer, "data", data);
    rv_reply_send(call, rv_reply_object(answer));
}
