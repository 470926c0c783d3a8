/* generate.c - txt2img and img2img: one request, one or several jobs, one answer. */
#include <string.h>

#include "server/log.h"
#include "server/sdapi/answer.h"
#include "server/sdapi/handlers.h"
#include "server/sdapi/plan.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/script_private.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "store/store.h"
#include "studio/studio.h"

/* A request from its body to its answer; the data of its task. */
typedef struct {
    bool is_img2img;
    JsonObject *own_options; /* the user's, over the defaults */
    JsonArray *styles;
    GPtrArray *upscalers;
    JsonObject *fields, *options;
    JsonObject *to_keep; /* override_settings that stay; NULL: none do */
    char *wanted_model;  /* by override_settings or an infotext; NULL */
    char *note;          /* what was left out of the request; NULL: nothing */
    RvStudioJob *job;    /* to be submitted next */
    RvScript *script;    /* NULL without */
    RvStudioResult *result;
    GArray *ended;   /* gint64: jobs that the script has gone on from, in order */
    GPtrArray *past; /* RvStudioResult: theirs, after a restart; NULL */
    gint64 id;       /* of the job that is in the queue; 0: none */
    bool is_due;     /* the job says what is to be made of it */
    GPtrArray *kept; /* RvScriptPicture that go into the user's outputs; NULL */
    guint keeping;   /* of them the one on its way */
    RvReply reply;   /* until they are there */
    GError *error;   /* of one that could not be kept */
} Generation;

static void
generation_free(gpointer data)
{
    Generation *g = data;
    g_clear_pointer(&g->own_options, json_object_unref);
    g_clear_pointer(&g->styles, json_array_unref);
    g_clear_pointer(&g->upscalers, g_ptr_array_unref);
    g_clear_pointer(&g->fields, json_object_unref);
    g_clear_pointer(&g->options, json_object_unref);
    g_clear_pointer(&g->to_keep, json_object_unref);
    g_free(g->wanted_model);
    g_free(g->note);
    rv_studio_job_free(g->job);
    rv_script_free(g->script);
    rv_studio_result_unref(g->result);
    g_clear_pointer(&g->ended, g_array_unref);
    g_clear_pointer(&g->past, g_ptr_array_unref);
    g_clear_pointer(&g->kept, g_ptr_array_unref);
    rv_reply_clear(&g->reply);
    g_clear_error(&g->error);
    g_free(g);
}

static Generation *
generation_new(RvServer *server, const char *user, bool is_img2img)
{
    Generation *g = g_new0(Generation, 1);
    g->is_img2img = is_img2img;
    g->styles = rv_user_styles(server, user);
    g->upscalers = rv_server_upscalers(server);
    g->ended = g_array_new(FALSE, FALSE, sizeof(gint64));
    return g;
}

/* ---- what is due of a job, should the server stop before all of it is kept ---- */

/* Its pictures are what the script's next job begins with. */
static bool
goes_on(const Generation *g)
{
    return g->script != NULL && !rv_script_has_one_job(g->script);
}

static JsonArray *
ids_of(const GArray *ids)
{
    JsonArray *list = json_array_new();
    for (guint i = 0; i < ids->len; i++)
        json_array_add_int_element(list, g_array_index(ids, gint64, i));
    return list;
}

/* The request; as far as grids are made of it, without its pictures. */
static void
note_due(Generation *g)
{
    static const char *const pictures[] = { "init_images", "mask", "latent_mask", "firstpass_image",
                                            "alwayson_scripts" };
    RvAnswerInput input = { g->fields, g->options, g->is_img2img, NULL, g->script, NULL };
    if (!goes_on(g) && !rv_answer_keeps_grid(&input, rv_studio_job_pictures(g->job)))
        return;
    JsonObject *fields = rv_script_copy(g->fields), *due = json_object_new();
    for (gsize i = 0; !goes_on(g) && i < G_N_ELEMENTS(pictures); i++)
        json_object_remove_member(fields, pictures[i]);
    json_object_set_array_member(due, "jobs", ids_of(g->ended));
    g->job->follows = g->ended->len > 0 ? g_array_index(g->ended, gint64, g->ended->len - 1) : 0;
    json_object_set_boolean_member(due, "img2img", g->is_img2img);
    json_object_set_object_member(due, "fields", fields);
    json_object_set_object_member(due, "options", json_object_ref(g->options));
    g_autoptr(JsonNode) root = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(root, due);
    g->job->due = json_to_string(root, FALSE);
    g->is_due = true;
}

/* ---- the plan: in a thread ---- */

static bool
merge_options(Generation *g, JsonObject *given, RvReply *reply)
{
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) from_text = json_object_new();
    JsonObject *overrides = rv_fields_has(g->fields, "override_settings")
                                ? json_object_get_object_member(g->fields, "override_settings")
                                : NULL;
    rv_plan_apply_infotext(g->fields, given, g->is_img2img, from_text);
    g_autoptr(JsonObject) first = rv_settings_merge(g->own_options, from_text, problems);
    if (first != NULL)
        g->options = rv_settings_merge(first, overrides, problems);
    if (g->options == NULL) {
        *reply = rv_reply_invalid(g_steal_pointer(&problems));
        return false;
    }
    if (json_object_has_member(from_text, "sd_model_checkpoint") ||
        (overrides != NULL && json_object_has_member(overrides, "sd_model_checkpoint")))
        g->wanted_model = g_strdup(rv_fields_text(g->options, "sd_model_checkpoint"));
    if (overrides != NULL && !rv_fields_bool(g->fields, "override_settings_restore_afterwards"))
        g->to_keep = rv_script_copy(overrides);
    return true;
}

static RvReply
plan(RvTask *task)
{
    Generation *g = task->data;
    g_autoptr(JsonObject) given = NULL;
    g_auto(RvRefusal) refusal = { 0 };
    RvReply reply = { 0 };
    if (!rv_task_fields(task, &g->fields, &given, &reply) || !merge_options(g, given, &reply))
        return reply;
    RvScriptInput input = { g->fields, g->is_img2img, g->options, g->styles, g->upscalers };
    g->script = rv_script_new(&input, &refusal);
    if (g->script != NULL)
        g->job = rv_script_next(g->script, NULL, &refusal);
    else if (refusal.detail == NULL)
        g->job = rv_plan_job(g->fields, g->is_img2img, g->options, g->styles, &refusal);
    if (g->job == NULL)
        return rv_refusal_reply(&refusal);
    note_due(g);
    return reply;
}

/* ---- the answer: in a thread ---- */

static RvReply
answer(RvTask *task)
{
    Generation *g = task->data;
    g_autoptr(GError) error = NULL;
    RvAnswerInput input = { g->fields, g->options, g->is_img2img, g->result, g->script, g->note };
    JsonObject *object = rv_answer_generation(&input, &g->kept, &error);
    return object != NULL ? rv_reply_object(object) : rv_reply_error(error);
}

/* ---- what scripts and grids made into the outputs, before the answer: on the main loop ---- */

static void
settle(RvTask *task)
{
    const Generation *g = task->data;
    if (g->is_due)
        rv_studio_settle(rv_server_studio(task->server), g->result->id);
}

static void keep(RvTask *task, const RvScriptPicture *picture);

/* One after the other, so that after a crash their number says which are there. */
static void
keep_next(RvTask *task)
{
    Generation *g = task->data;
    RvReply reply = g->reply;
    if (g->error == NULL && g->kept != NULL && g->keeping < g->kept->len) {
        keep(task, g_ptr_array_index(g->kept, g->keeping));
        return;
    }
    g->reply = (RvReply) { 0 };
    if (g->error != NULL) {
        rv_reply_clear(&reply);
        reply = rv_reply_error(g->error);
    } else {
        settle(task);
    }
    rv_task_end(task, reply);
}

static void
on_kept(const char *path, const GError *error, void *user)
{
    RvTask *task = user;
    Generation *g = task->data;
    g->error = error != NULL ? g_error_copy(error) : NULL;
    g->keeping++;
    keep_next(task);
}

static void
keep(RvTask *task, const RvScriptPicture *picture)
{
    Generation *g = task->data;
    bool is_grid = *picture->keep != '\0', has_name = !is_grid || strcmp(picture->keep, "grid") != 0 ||
                                                      rv_fields_bool(g->options, "grid_extended_filename");
    g_autoptr(RvStudioJob) names = rv_studio_job_new(RV_STUDIO_TXT2IMG);
    g_autofree char *folder =
        g_strdup_printf("%s-%s", g->is_img2img ? "img2img" : "txt2img", is_grid ? "grids" : "images");
    rv_plan_set_names(names, g->fields, g->options);
    bool has_folder = !is_grid || rv_fields_bool(g->options, "grid_save_to_dirs");
    RvStudioKeep what = { .role = is_grid ? RV_STUDIO_GRID : RV_STUDIO_SAMPLE,
                          .folder = folder,
                          .prefix = is_grid ? picture->keep : NULL,
                          .folder_pattern = has_folder ? names->folder_pattern : "",
                          .name_pattern = has_name ? names->name_pattern : "",
                          .styles = names->styles,
                          .no_number = names->no_number,
                          .prompt_words = names->prompt_words,
                          .bytes = picture->bytes,
                          .infotext = picture->infotext,
                          .seed = picture->seed,
                          .job = g->result->id,
                          .settles = g->is_due && g->keeping + 1 == g->kept->len,
                          .is_again = g->past != NULL };
    rv_studio_keep_picture(rv_server_studio(task->server), task->user, &what, on_kept, task);
}

static void
on_answered(RvTask *task, RvReply reply)
{
    Generation *g = task->data;
    g->reply = reply;
    keep_next(task);
}

/* ---- the queue: on the main loop ---- */

static void submit(RvTask *task);

/* With ?wait=0 the answer is the number of the job (of a script: of its first), once it is on disk. */
static void
on_accepted(gint64 id, const GError *error, void *user)
{
    RvTask *task = user;
    const char *wait = task->query != NULL ? g_hash_table_lookup(task->query, "wait") : NULL;
    if (error != NULL) {
        rv_task_end(task, rv_reply_error(error));
    } else if (g_strcmp0(wait, "0") == 0) {
        JsonObject *accepted = json_object_new();
        json_object_set_int_member(accepted, "id", id);
        RvReply reply = rv_reply_object(accepted);
        reply.status = 202;
        rv_task_answer(task, reply);
    }
}

/* The script's next job, from the last result: in a thread. */
static RvReply
plan_next(RvTask *task)
{
    Generation *g = task->data;
    g_auto(RvRefusal) refusal = { 0 };
    g->job = rv_script_next(g->script, g->result, &refusal);
    if (refusal.detail != NULL)
        return rv_refusal_reply(&refusal);
    if (g->job != NULL)
        note_due(g);
    return (RvReply) { 0 };
}

static void
on_next_planned(RvTask *task, RvReply reply)
{
    Generation *g = task->data;
    if (reply.status != 0)
        rv_task_end(task, reply);
    else if (g->job != NULL)
        submit(task);
    else
        rv_task_run(task, answer, on_answered);
}

static void
on_done(RvStudioResult *result, void *user)
{
    RvTask *task = user;
    Generation *g = task->data;
    g->id = 0;
    task->waits_for_job = false;
    rv_studio_result_unref(g->result);
    g->result = rv_studio_result_ref(result);
    g_array_append_val(g->ended, result->id);
    if (result->state == RV_STUDIO_FAILED)
        rv_task_end(task, rv_reply_error(result->error));
    else if (result->state != RV_STUDIO_DONE)
        rv_task_end(task, rv_reply_problem(409, "HTTPException", "the job was cancelled", ""));
    else if (g->script != NULL)
        rv_task_run(task, plan_next, on_next_planned);
    else
        rv_task_run(task, answer, on_answered);
}

/* Nobody waits for a job that has not begun. */
static void
on_gone(RvTask *task)
{
    Generation *g = task->data;
    if (g->id != 0)
        rv_studio_stop(rv_server_studio(task->server), task->user, g->id, RV_STUDIO_CANCEL_IF_QUEUED, NULL);
}

static void
submit(RvTask *task)
{
    Generation *g = task->data;
    RvStudioWaiter waiter = { on_accepted, on_done, task };
    g_autoptr(GError) error = NULL;
    g->job->asked_us = task->asked_us;
    g->id = rv_studio_submit(rv_server_studio(task->server), task->user, g_steal_pointer(&g->job), &waiter,
                             &error);
    task->waits_for_job = g->id != 0;
    if (g->id == 0)
        rv_task_end(task, rv_reply_error(error));
}

static void
use_own_model(const Generation *g, RvStudioJob *job)
{
    if (g_strcmp0(job->model, g->wanted_model) == 0)
        rv_studio_set_text(&job->model, rv_fields_text(g->own_options, "sd_model_checkpoint"));
    for (guint i = 0; i < job->parts->len; i++)
        use_own_model(g, g_ptr_array_index(job->parts, i));
}

/* As A1111 has it: a model that is not here is not meant by override_settings, nor by an infotext from
 * elsewhere. */
static void
check_wanted_model(RvTask *task)
{
    Generation *g = task->data;
    g_autofree char *path = g->wanted_model != NULL
                                ? rv_studio_find_model(rv_server_studio(task->server), g->wanted_model, NULL)
                                : NULL;
    if (g->wanted_model == NULL || path != NULL)
        return;
    g->note = g_strdup_printf("there is no model '%s': it was drawn with the user's own", g->wanted_model);
    json_object_set_member(g->options, "sd_model_checkpoint",
                           json_node_copy(json_object_get_member(g->own_options, "sd_model_checkpoint")));
    if (g->to_keep != NULL)
        json_object_remove_member(g->to_keep, "sd_model_checkpoint");
    use_own_model(g, g->job);
}

static void
on_planned(RvTask *task, RvReply reply)
{
    Generation *g = task->data;
    if (reply.status != 0) {
        rv_task_end(task, reply);
        return;
    }
    check_wanted_model(task);
    if (g->to_keep != NULL)
        rv_user_options_change(task->server, task->user, g->to_keep, NULL);
    if (task->message == NULL) /* the client has gone already */
        rv_task_end(task, rv_reply_null());
    else
        submit(task);
}

static void
serve(const RvCall *call, bool is_img2img)
{
    RvTask *task = rv_task_new(call);
    Generation *g = generation_new(call->server, call->user, is_img2img);
    g->own_options = rv_user_options(call->server, call->user);
    task->data = g;
    task->free_data = generation_free;
    rv_task_watch_client(task, on_gone);
    rv_task_run(task, plan, on_planned);
}

void
rv_sdapi_txt2img(const RvCall *call)
{
    serve(call, false);
}

void
rv_sdapi_img2img(const RvCall *call)
{
    serve(call, true);
}

/* ---- requests that are gone, after a restart ---- */

/* What was kept before, when all jobs were done. */
static guint
count_kept(const Generation *g)
{
    bool is_own = g->script != NULL && g->script->class->keeps_pictures;
    guint count = 0;
    for (guint i = 0; i < g->result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(g->result->pictures, i);
        count += picture->role == RV_STUDIO_GRID || (is_own && picture->gallery_id != 0);
    }
    return count;
}

/* The script is led through what is there. */
static RvReply
plan_again(RvTask *task)
{
    Generation *g = task->data;
    g_auto(RvRefusal) refusal = { 0 };
    RvScriptInput input = { g->fields, g->is_img2img, g->options, g->styles, g->upscalers };
    g->script = rv_script_new(&input, &refusal);
    if (goes_on(g))
        g->job = rv_script_next(g->script, NULL, &refusal);
    for (guint i = 0; g->script != NULL && refusal.detail == NULL && i < g->past->len; i++) {
        rv_studio_job_free(g->job);
        g->job = rv_script_next(g->script, g_ptr_array_index(g->past, i), &refusal);
    }
    if (refusal.detail != NULL)
        return rv_refusal_reply(&refusal);
    if (g->job != NULL)
        note_due(g);
    else
        g->keeping = count_kept(g);
    return (RvReply) { 0 };
}

/* It will not be different the next time. */
static void
give_up(RvTask *task, gint64 id, const char *why)
{
    rv_log(RV_LOG_WARNING, "not-finished", "job", rv_log_int(id), "why", why, NULL);
    rv_studio_settle(rv_server_studio(task->server), id);
    rv_task_end(task, rv_reply_null());
}

static void
on_planned_again(RvTask *task, RvReply reply)
{
    Generation *g = task->data;
    if (reply.status != 0) {
        rv_reply_clear(&reply);
        give_up(task, g->result->id, "its request is refused now");
    } else {
        on_next_planned(task, reply);
    }
}

static void load_next(RvTask *task);

static void
on_loaded(RvStudioResult *result, const GError *error, void *user)
{
    RvTask *task = user;
    Generation *g = task->data;
    if (result == NULL || result->pictures->len == 0) {
        give_up(task, g_array_index(g->ended, gint64, g->ended->len - 1),
                error != NULL ? error->message : "its pictures are gone");
        return;
    }
    g_ptr_array_add(g->past, rv_studio_result_ref(result));
    if (g->past->len < g->ended->len) {
        load_next(task);
        return;
    }
    g->result = rv_studio_result_ref(result);
    rv_task_run(task, plan_again, on_planned_again);
}

static void
load_next(RvTask *task)
{
    const Generation *g = task->data;
    rv_studio_load_result(rv_server_studio(task->server), task->user,
                          g_array_index(g->ended, gint64, g->past->len), NULL, on_loaded, task);
}

/* False when it cannot be read. */
static bool
read_due(Generation *g, const char *text)
{
    g_autoptr(JsonNode) root = json_from_string(text, NULL);
    JsonObject *due = root != NULL && JSON_NODE_HOLDS_OBJECT(root) ? json_node_get_object(root) : NULL;
    JsonNode *fields = due != NULL ? json_object_get_member(due, "fields") : NULL,
             *options = due != NULL ? json_object_get_member(due, "options") : NULL,
             *jobs = due != NULL ? json_object_get_member(due, "jobs") : NULL;
    if (fields == NULL || options == NULL || !JSON_NODE_HOLDS_OBJECT(fields) ||
        !JSON_NODE_HOLDS_OBJECT(options))
        return false;
    g->is_img2img = json_object_get_boolean_member_with_default(due, "img2img", FALSE);
    g->fields = json_object_ref(json_node_get_object(fields));
    g->options = json_object_ref(json_node_get_object(options));
    JsonArray *list = jobs != NULL && JSON_NODE_HOLDS_ARRAY(jobs) ? json_node_get_array(jobs) : NULL;
    for (guint i = 0; list != NULL && i < json_array_get_length(list); i++) {
        gint64 id = json_array_get_int_element(list, i);
        g_array_append_val(g->ended, id);
    }
    return true;
}

void
rv_sdapi_on_due(const char *user, gint64 id, const char *due, void *data)
{
    RvTask *task = rv_task_new_alone(data, user);
    Generation *g = generation_new(data, user, false);
    task->data = g;
    task->free_data = generation_free;
    g->is_due = true;
    if (!read_due(g, due)) {
        give_up(task, id, "what is due of it cannot be read");
        return;
    }
    g_array_append_val(g->ended, id);
    g->past = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_result_unref);
    load_next(task);
}
