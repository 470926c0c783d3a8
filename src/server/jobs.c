/* jobs.c - /api/v1/jobs: jobs that are submitted, asked about and fetched by their number. */
#include <string.h>

#include "base/json_build.h"
#include "media/picture.h"
#include "server/json_text.h"
#include "server/later.h"
#include "server/server.h"
#include "server/studio_routes.h"

#define MAX_LISTED 1000
#define USUALLY_LISTED 100

/* ---- submitting ---- */

/* A POST on its way: parsed in a thread (pictures may be large), then submitted and written to disk. */
typedef struct {
    RvLater *later;
    GBytes *body;
    gint64 asked_us; /* when it came */
    RvStudioJob *job;
} Post;

static void
post_free(Post *post)
{
    rv_later_end(post->later);
    g_bytes_unref(post->body);
    rv_studio_job_free(post->job);
    g_free(post);
}

/* base64, with or without "data:...;base64,"; it must be a picture. */
static bool
read_picture(const char *text, RvStudioInput *input, void *user, GError **error)
{
    const char *comma = g_str_has_prefix(text, "data:") ? strchr(text, ',') : NULL;
    const char *base64 = comma != NULL ? comma + 1 : text;
    gsize size;
    guchar *data = g_base64_decode(base64, &size);
    g_autoptr(GBytes) bytes = g_bytes_new_take(data, size);
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(data, size, "picture", NULL, error);
    if (picture == NULL)
        return false;
    rv_studio_input_set(input, bytes);
    return true;
}

static void
parse_body(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Post *post = data;
    GError *error = NULL;
    gsize size;
    const char *text = g_bytes_get_data(post->body, &size);
    JsonObject *object = rv_json_parse_object(text, size, &error);
    if (object != NULL) {
        post->job = rv_studio_job_from_json(object, read_picture, NULL, &error);
        if (post->job != NULL)
            post->job->asked_us = post->asked_us;
        json_object_unref(object);
    }
    if (error != NULL)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static void
answer_status(const RvCall *call, guint status, gint64 id)
{
    RvStudio *studio = rv_server_studio(call->server);
    g_autoptr(RvStudioStatus) job = rv_studio_status(studio, call->user, id);
    g_autoptr(JsonBuilder) json = json_builder_new();
    if (job == NULL) {
        rv_answer_problem(call, 404, "NotFound", "there is no such job");
        return;
    }
    rv_studio_status_add_json(job, json);
    rv_answer_json(call, status, json);
}

/* A full disk is neither the client's mistake nor ours. */
static void
answer_refusal(const RvCall *call, const GError *error)
{
    if (g_error_matches(error, RV_ERROR, RV_ERROR_IO))
        rv_answer_problem(call, 507, "InsufficientStorage", error->message);
    else
        rv_answer_error(call, error);
}

static void
on_accepted(gint64 id, const GError *error, void *user)
{
    Post *post = user;
    const RvCall *call = rv_later_call(post->later);
    if (call != NULL && error != NULL)
        answer_refusal(call, error);
    else if (call != NULL)
        answer_status(call, 202, id);
    rv_studio_forget(rv_server_studio(rv_later_server(post->later)), post);
    post_free(post);
}

static void
on_parsed(GObject *source, GAsyncResult *result, gpointer user)
{
    Post *post = user;
    g_autoptr(GError) error = NULL;
    RvStudio *studio = rv_server_studio(rv_later_server(post->later));
    const RvCall *call = rv_later_call(post->later);
    RvStudioWaiter waiter = { .on_accepted = on_accepted, .user = post };
    if (g_task_propagate_boolean(G_TASK(result), &error) && call != NULL &&
        rv_studio_submit(studio, call->user, g_steal_pointer(&post->job), &waiter, &error) != 0)
        return;
    if (call != NULL)
        answer_refusal(call, error);
    post_free(post);
}

void
rv_jobs_post(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *type = soup_message_headers_get_content_type(request, NULL);
    if (type == NULL || g_ascii_strcasecmp(type, "application/json") != 0) {
        rv_answer_problem(call, 415, "UnsupportedMediaType", "send application/json");
        return;
    }
    Post *post = g_new0(Post, 1);
    post->asked_us = g_get_monotonic_time();
    post->later = rv_later_new(call, NULL, NULL);
    post->body = soup_message_body_flatten(soup_server_message_get_request_body(call->message));
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_parsed, post);
    g_task_set_task_data(task, post, NULL);
    g_task_run_in_thread(task, parse_body);
}

/* ---- asking ---- */

void
rv_jobs_list(const RvCall *call)
{
    RvStudio *studio = rv_server_studio(call->server);
    gint64 limit, before;
    int jobs, batches;
    if (strcmp(soup_server_message_get_method(call->message), "POST") == 0) {
        rv_jobs_post(call);
        return;
    }
    if (!rv_studio_query_integer(call, "limit", USUALLY_LISTED, &limit) ||
        !rv_studio_query_integer(call, "before", 0, &before))
        return;
    g_autoptr(GPtrArray) list = rv_studio_list(studio, call->user, (int)MIN(limit, MAX_LISTED), before);
    g_autoptr(JsonBuilder) json = json_builder_new();
    rv_studio_count(studio, &jobs, &batches);
    json_builder_begin_object(json);
    rv_json_begin_object(json, "queue");
    rv_json_add_int(json, "jobs", jobs);
    rv_json_add_int(json, "batches", batches);
    rv_json_add_text(json, "paused", rv_studio_paused(studio));
    json_builder_end_object(json);
    rv_json_begin_array(json, "jobs");
    for (guint i = 0; i < MIN(list->len, (guint)MIN(limit, MAX_LISTED)); i++)
        rv_studio_status_add_json(g_ptr_array_index(list, i), json);
    json_builder_end_array(json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

/* ---- results ---- */

typedef struct {
    RvLater *later;
    int number; /* of the one picture that is wanted; -1: the whole result */
    bool has_images;
} Fetch;

static void
add_picture(JsonBuilder *json, gint64 job, guint number, const RvStudioPicture *picture)
{
    g_autofree char *url = g_strdup_printf("/api/v1/jobs/%" G_GINT64_FORMAT "/pictures/%u", job, number);
    json_builder_begin_object(json);
    rv_json_add_text(json, "role", rv_studio_role_name(picture->role));
    rv_json_add_text(json, "url", url);
    rv_json_add_int(json, "part", picture->part);
    rv_json_add_int(json, "seed", picture->seed);
    rv_json_add_int(json, "subseed", picture->subseed);
    rv_json_add_int(json, "width", picture->width);
    rv_json_add_int(json, "height", picture->height);
    rv_json_add_text(json, "infotext", picture->infotext);
    rv_json_add_int(json, "gallery", picture->gallery_id);
    json_builder_end_object(json);
}

static void
add_images(JsonBuilder *json, const RvStudioResult *result)
{
    rv_json_begin_array(json, "images");
    for (guint i = 0; i < result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(result->pictures, i);
        gsize size = 0;
        const guchar *data = picture->bytes != NULL ? g_bytes_get_data(picture->bytes, &size) : NULL;
        g_autofree char *base64 = g_base64_encode(data, size);
        json_builder_add_string_value(json, base64);
    }
    json_builder_end_array(json);
}

static void
answer_result(const RvCall *call, const RvStudioResult *result, bool has_images)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_int(json, "id", result->id);
    rv_json_add_text(json, "state", rv_studio_state_name(result->state));
    rv_json_add_text(json, "error", result->error != NULL ? result->error->message : NULL);
    rv_json_add_number(json, "seconds", result->seconds);
    rv_json_add_text(json, "info", result->info);
    rv_json_begin_array(json, "notes");
    for (guint i = 0; i < result->notes->len; i++)
        json_builder_add_string_value(json, g_ptr_array_index(result->notes, i));
    json_builder_end_array(json);
    rv_json_begin_array(json, "pictures");
    for (guint i = 0; i < result->pictures->len; i++)
        add_picture(json, result->id, i, g_ptr_array_index(result->pictures, i));
    json_builder_end_array(json);
    if (has_images)
        add_images(json, result);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

static void
answer_picture(const RvCall *call, const RvStudioResult *result, int number)
{
    const RvStudioPicture *picture =
        number < (int)result->pictures->len ? g_ptr_array_index(result->pictures, (guint)number) : NULL;
    if (picture == NULL || picture->bytes == NULL) {
        rv_answer_problem(call, 404, "NotFound", "there is no such picture");
        return;
    }
    const char *type = g_str_has_suffix(picture->path, ".png")    ? "image/png"
                       : g_str_has_suffix(picture->path, ".webp") ? "image/webp"
                                                                  : "image/jpeg";
    soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Content-Type",
                                 type);
    soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), picture->bytes);
    soup_server_message_set_status(call->message, 200, NULL);
}

static void
on_loaded(RvStudioResult *result, const GError *error, void *user)
{
    Fetch *fetch = user;
    const RvCall *call = rv_later_call(fetch->later);
    if (call != NULL && result == NULL)
        rv_answer_error(call, error);
    else if (call != NULL && fetch->number >= 0)
        answer_picture(call, result, fetch->number);
    else if (call != NULL)
        answer_result(call, result, fetch->has_images);
    rv_later_end(fetch->later);
    g_free(fetch);
}

/* Pictures of batches that are done may be fetched while the job goes on; the result is for its end. */
static void
fetch(const RvCall *call, gint64 id, int number)
{
    RvStudio *studio = rv_server_studio(call->server);
    g_autoptr(RvStudioStatus) status = rv_studio_status(studio, call->user, id);
    if (status == NULL) {
        rv_answer_problem(call, 404, "NotFound", "there is no such job");
        return;
    }
    if (status->ended == 0 && number < 0) {
        rv_answer_problem(call, 409, "Conflict", "the job is not done yet");
        return;
    }
    const char *images = rv_studio_query(call, "images");
    Fetch *fetch = g_new(Fetch, 1);
    *fetch = (Fetch) { rv_later_new(call, NULL, NULL), number, g_strcmp0(images, "false") != 0 };
    rv_studio_load_result(studio, call->user, id, NULL, on_loaded, fetch);
}

static void
answer_preview(const RvCall *call, gint64 id)
{
    g_autoptr(GBytes) preview = rv_studio_preview(rv_server_studio(call->server), call->user, id);
    if (preview == NULL) {
        rv_answer_problem(call, 404, "NotFound", "there is no preview (yet)");
        return;
    }
    soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Content-Type",
                                 "image/jpeg");
    soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), preview);
    soup_server_message_set_status(call->message, 200, NULL);
}

/* ---- steering ---- */

static void
stop(const RvCall *call, gint64 id, RvStudioStop how)
{
    g_autoptr(GError) error = NULL;
    if (rv_studio_stop(rv_server_studio(call->server), call->user, id, how, &error))
        rv_studio_answer_done(call);
    else
        rv_answer_error(call, error);
}

static void
move(const RvCall *call, gint64 id)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(JsonObject) body = rv_studio_body(call);
    if (body == NULL)
        return;
    JsonNode *node = json_object_get_member(body, "place");
    bool is_whole =
        node != NULL && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
    gint64 place = is_whole ? json_node_get_int(node) : -1;
    if (place < 0) {
        rv_answer_problem(call, 400, "ValueError", "\"place\" is a whole number from 0");
        return;
    }
    if (rv_studio_move(rv_server_studio(call->server), call->user, id, (int)MIN(place, G_MAXINT), &error))
        rv_studio_answer_done(call);
    else
        rv_answer_error(call, error);
}

static void
get_one(const RvCall *call, gint64 id, const char *rest)
{
    gint64 number;
    if (*rest == '\0')
        answer_status(call, 200, id);
    else if (strcmp(rest, "result") == 0)
        fetch(call, id, -1);
    else if (strcmp(rest, "preview") == 0)
        answer_preview(call, id);
    else if (g_str_has_prefix(rest, "pictures/") &&
             g_ascii_string_to_signed(rest + strlen("pictures/"), 10, 0, G_MAXINT, &number, NULL))
        fetch(call, id, (int)number);
    else
        rv_answer_problem(call, 404, "NotFound", "there is nothing here: see /api/routes");
}

void
rv_jobs_one(const RvCall *call)
{
    const char *rest, *method = soup_server_message_get_method(call->message);
    gint64 id = rv_studio_argument(call, &rest);
    if (id == 0)
        return;
    if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        get_one(call, id, rest);
    else if (strcmp(method, "DELETE") == 0 && *rest == '\0')
        stop(call, id, RV_STUDIO_CANCEL);
    else if (strcmp(method, "POST") == 0 && strcmp(rest, "move") == 0)
        move(call, id);
    else if (strcmp(method, "POST") == 0 && strcmp(rest, "interrupt") == 0)
        stop(call, id, RV_STUDIO_INTERRUPT);
    else if (strcmp(method, "POST") == 0 && strcmp(rest, "skip") == 0)
        stop(call, id, RV_STUDIO_SKIP);
    else
        rv_answer_problem(call, 404, "NotFound", "there is nothing here: see /api/routes");
}
