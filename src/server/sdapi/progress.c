/* progress.c - how far the work is, and stopping one's own. */
#include <string.h>

#include "server/sdapi/handlers.h"
#include "server/sdapi/schemas.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/studio.h"

/* The user's job of that name; NULL `name`: what runs now. */
static RvStudioStatus *
find_status(const RvCall *call, const char *name)
{
    RvStudio *studio = rv_server_studio(call->server);
    if (name == NULL || *name == '\0')
        return rv_studio_now(studio, call->user);
    gint64 id = rv_studio_find_job(studio, call->user, name);
    return id != 0 ? rv_studio_status(studio, call->user, id) : NULL;
}

static bool
is_live(const RvStudioStatus *status)
{
    return status != NULL && (status->state == RV_STUDIO_RUNNING || status->state == RV_STUDIO_QUEUED);
}

static char *
timestamp_of(gint64 seconds)
{
    g_autoptr(GDateTime) time = seconds > 0 ? g_date_time_new_from_unix_local(seconds) : NULL;
    return time != NULL ? g_date_time_format(time, "%Y%m%d%H%M%S") : g_strdup("0");
}

/* Nothing to do is exactly 0 of 0; clients wait for that. A model that is being loaded is work. */
static JsonObject *
state_of(const RvStudioStatus *status, bool is_loading)
{
    JsonObject *state = json_object_new();
    bool live = is_live(status);
    g_autofree char *batch = live && status->batches > 0
                                 ? g_strdup_printf("Batch %d out of %d", status->batch + 1, status->batches)
                                 : g_strdup(live || is_loading ? "loading" : "");
    g_autofree char *timestamp = timestamp_of(live ? status->began : 0);
    json_object_set_boolean_member(state, "skipped", live && status->was_skipped);
    json_object_set_boolean_member(state, "interrupted", live && status->was_interrupted);
    json_object_set_boolean_member(state, "stopping_generation", live && status->was_interrupted);
    json_object_set_string_member(state, "job", live && status->name != NULL ? status->name : batch);
    json_object_set_int_member(state, "job_count", live ? MAX(status->batches, 1) : is_loading ? 1 : 0);
    json_object_set_string_member(state, "job_timestamp", timestamp);
    json_object_set_int_member(state, "job_no", live ? status->batch : 0);
    json_object_set_int_member(state, "sampling_step", live ? status->step : 0);
    json_object_set_int_member(state, "sampling_steps", live ? status->steps : 0);
    return state;
}

static void
set_preview(const RvCall *call, JsonObject *answer, const RvStudioStatus *status)
{
    g_autoptr(JsonObject) options = rv_user_options(call->server, call->user);
    bool wanted = is_live(status) && status->id != 0 && rv_fields_bool(options, "live_previews_enable") &&
                  rv_fields_integer(options, "show_progress_every_n_steps") != -1;
    g_autoptr(GBytes) preview =
        wanted ? rv_studio_preview(rv_server_studio(call->server), call->user, status->id) : NULL;
    if (preview == NULL) {
        json_object_set_null_member(answer, "current_image");
        return;
    }
    gsize size;
    const guchar *data = g_bytes_get_data(preview, &size);
    g_autofree char *text = g_base64_encode(data, size);
    json_object_set_string_member(answer, "current_image", text);
}

void
rv_sdapi_progress(const RvCall *call)
{
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) query = rv_fields_query(&rv_schema_progress, call->query, problems);
    if (query == NULL) {
        rv_reply_send(call, rv_reply_invalid(g_steal_pointer(&problems)));
        return;
    }
    g_autoptr(RvStudioStatus) status = find_status(call, rv_fields_text(query, "id_task"));
    bool is_loading = rv_studio_is_loading(rv_server_studio(call->server)), live = is_live(status);
    JsonObject *answer = json_object_new();
    json_object_set_double_member(answer, "progress", live ? CLAMP(status->progress, 0.01, 1.0) : 0.0);
    json_object_set_double_member(answer, "eta_relative", live ? MAX(status->eta, 0.0) : 0.0);
    json_object_set_object_member(answer, "state", state_of(status, is_loading));
    if (rv_fields_bool(query, "skip_current_image"))
        json_object_set_null_member(answer, "current_image");
    else
        set_preview(call, answer, status);
    json_object_set_null_member(answer, "textinfo");
    json_object_set_string_member(answer, "current_task", live ? status->name : NULL);
    rv_reply_send(call, rv_reply_object(answer));
}

/* ---- stopping: only what is the user's own; nothing to stop is no error ---- */

static void
stop(const RvCall *call, RvStudioStop how)
{
    RvStudio *studio = rv_server_studio(call->server);
    const char *name = call->query != NULL ? g_hash_table_lookup(call->query, "id_task") : NULL;
    gint64 id = name != NULL ? rv_studio_find_job(studio, call->user, name) : 0;
    if (name == NULL || id != 0)
        rv_studio_stop(studio, call->user, id, how, NULL);
}

void
rv_sdapi_interrupt(const RvCall *call)
{
    stop(call, RV_STUDIO_INTERRUPT);
    rv_reply_send(call, rv_reply_object(json_object_new()));
}

void
rv_sdapi_skip(const RvCall *call)
{
    stop(call, RV_STUDIO_SKIP);
    rv_reply_send(call, rv_reply_null());
}

/* ---- /internal ---- */

static void
set_running(const RvCall *call, JsonObject *answer, JsonObject *fields, const RvStudioStatus *status)
{
    gint64 shown = rv_fields_integer(fields, "id_live_preview");
    bool is_new = status->preview > 0 && status->preview != shown;
    g_autoptr(GBytes) preview =
        rv_fields_bool(fields, "live_preview") && is_new
            ? rv_studio_preview(rv_server_studio(call->server), call->user, status->id)
            : NULL;
    json_object_set_double_member(answer, "progress", status->progress);
    if (status->eta >= 0.0)
        json_object_set_double_member(answer, "eta", status->eta);
    else
        json_object_set_null_member(answer, "eta");
    json_object_set_int_member(answer, "id_live_preview", preview != NULL ? status->preview : shown);
    if (preview == NULL) {
        json_object_set_null_member(answer, "live_preview");
        return;
    }
    gsize size;
    const guchar *data = g_bytes_get_data(preview, &size);
    g_autofree char *text = g_base64_encode(data, size),
                    *url = g_strconcat("data:image/jpeg;base64,", text, NULL);
    json_object_set_string_member(answer, "live_preview", url);
}

static void
answer_internal(const RvCall *call, JsonObject *fields)
{
    const char *name = rv_fields_text(fields, "id_task");
    g_autoptr(RvStudioStatus) status = name != NULL ? find_status(call, name) : NULL;
    JsonObject *answer = json_object_new();
    bool is_running = status != NULL && status->state == RV_STUDIO_RUNNING,
         is_queued = status != NULL && status->state == RV_STUDIO_QUEUED;
    g_autofree char *place = is_queued    ? g_strdup_printf("In queue: %d", status->ahead + 1)
                             : is_running ? NULL
                                          : g_strdup("Waiting...");
    json_object_set_boolean_member(answer, "active", is_running);
    json_object_set_boolean_member(answer, "queued", is_queued);
    json_object_set_boolean_member(answer, "completed", status != NULL && !is_running && !is_queued);
    if (is_running) {
        set_running(call, answer, fields, status);
    } else {
        json_object_set_null_member(answer, "progress");
        json_object_set_null_member(answer, "eta");
        json_object_set_null_member(answer, "live_preview");
        json_object_set_int_member(answer, "id_live_preview", rv_fields_integer(fields, "id_live_preview"));
    }
    json_object_set_string_member(answer, "textinfo", place);
    rv_reply_send(call, rv_reply_object(answer));
}

void
rv_sdapi_internal_progress(const RvCall *call)
{
    g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(call->message));
    g_autoptr(JsonArray) problems = json_array_new();
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    g_autoptr(JsonObject) fields = rv_fields_parse(call->route->body, text, size, NULL, problems);
    if (fields != NULL)
        answer_internal(call, fields);
    else
        rv_reply_send(call, rv_reply_invalid(g_steal_pointer(&problems)));
}

/* The user's own, by name. */
void
rv_sdapi_pending(const RvCall *call)
{
    g_autoptr(GPtrArray) jobs = rv_studio_list(rv_server_studio(call->server), call->user, 0, 0);
    JsonObject *answer = json_object_new();
    JsonArray *tasks = json_array_new();
    int count = 0;
    for (guint i = 0; i < jobs->len; i++) {
        const RvStudioStatus *status = g_ptr_array_index(jobs, i);
        if (status->state != RV_STUDIO_QUEUED)
            continue;
        g_autofree char *id = g_strdup_printf("%" G_GINT64_FORMAT, status->id);
        json_array_add_string_element(tasks, status->name != NULL ? status->name : id);
        count++;
    }
    json_object_set_int_member(answer, "size", count);
    json_object_set_array_member(answer, "tasks", tasks);
    rv_reply_send(call, rv_reply_object(answer));
}
