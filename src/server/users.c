/* users.c - /api/v1/me, log-in, users' documents, and what administrators see and set. */
#include <string.h>

#include "base/json_build.h"
#include "server/json_text.h"
#include "server/later.h"
#include "server/metrics.h"
#include "server/server_internal.h"
#include "server/studio_routes.h"
#include "store/files.h"
#include "store/store.h"

#define COOKIE_SECONDS 31536000

/* ---- who ---- */

void
rv_users_me(const RvCall *call)
{
    RvStudioLimits limits = rv_studio_limits(call->server->studio);
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "user", call->user);
    rv_json_add_flag(json, "admin", rv_auth_is_admin(call->server->auth, call->user));
    rv_json_add_flag(json, "login", !rv_auth_is_open(call->server->auth));
    json_builder_set_member_name(json, "limits");
    rv_studio_limits_add_json(&limits, json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

static void
set_cookie(const RvCall *call, const char *value, int seconds)
{
    const char *secure = soup_server_is_https(call->server->soup) ? "; Secure" : "";
    g_autofree char *cookie = g_strdup_printf("reverie=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%d%s",
                                              value, seconds, secure);
    soup_message_headers_append(soup_server_message_get_response_headers(call->message), "Set-Cookie",
                                cookie);
}

static const char *
text_of(JsonObject *object, const char *name)
{
    JsonNode *node = json_object_get_member(object, name);
    return node != NULL && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

static void
answer_session(const RvCall *call, const char *user, const char *session)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "user", user);
    rv_json_add_flag(json, "admin", rv_auth_is_admin(call->server->auth, user));
    rv_json_add_text(json, "session", session);
    json_builder_end_object(json);
    set_cookie(call, session, COOKIE_SECONDS);
    rv_answer_json(call, 200, json);
}

void
rv_users_login(const RvCall *call)
{
    g_autoptr(JsonObject) body = rv_studio_body(call);
    if (body == NULL)
        return;
    const char *name = text_of(body, "name"), *token = text_of(body, "token"),
               *password = text_of(body, "password");
    const char *address = soup_server_message_get_remote_host(call->message),
               *secret = token != NULL ? token : password;
    if (secret == NULL || (token == NULL && name == NULL)) {
        rv_answer_problem(call, 400, "ValueError", "give \"name\" and \"password\", or \"token\"");
        return;
    }
    g_autofree char *cookie = NULL, *user = NULL;
    RvAuthVerdict verdict =
        rv_auth_log_in(call->server->auth, address != NULL ? address : "?", token != NULL ? NULL : name,
                       secret, g_get_monotonic_time(), &cookie, &user);
    if (verdict == RV_AUTH_OK) {
        answer_session(call, user, cookie);
        return;
    }
    call->server->refused++;
    if (verdict == RV_AUTH_LIMITED)
        soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Retry-After",
                                     "60");
    rv_answer_problem(call, verdict == RV_AUTH_LIMITED ? 429 : 403, "HTTPException",
                      verdict == RV_AUTH_LIMITED ? "too many wrong log-ins: wait a minute"
                                                 : "the name or the password is wrong");
}

void
rv_users_logout(const RvCall *call)
{
    set_cookie(call, "", 0);
    rv_studio_answer_done(call);
}

/* ---- documents ---- */

/* The page's own are apart from those of the server (options, styles ...). */
void
rv_users_document(const RvCall *call)
{
    const char *method = soup_server_message_get_method(call->message);
    RvStore *store = rv_studio_store(call->server->studio);
    if (call->argument == NULL || !rv_auth_name_is_plain(call->argument)) {
        rv_answer_problem(call, 400, "ValueError", "a document's name has letters, digits and . _ @ -");
        return;
    }
    g_autofree char *name = g_strconcat("page/", call->argument, NULL);
    if (strcmp(method, "PUT") == 0) {
        g_autoptr(JsonObject) body = rv_studio_body(call);
        if (body == NULL)
            return;
        g_autoptr(JsonNode) node = json_node_new(JSON_NODE_OBJECT);
        json_node_set_object(node, body);
        g_autofree char *text = json_to_string(node, FALSE);
        rv_store_set_document(store, call->user, name, text, rv_studio_answer_kept,
                              rv_later_new(call, NULL, NULL));
    } else if (strcmp(method, "DELETE") == 0) {
        rv_store_set_document(store, call->user, name, NULL, rv_studio_answer_kept,
                              rv_later_new(call, NULL, NULL));
    } else {
        g_autofree char *text = rv_store_get_document(store, call->user, name);
        if (text != NULL)
            rv_answer_text(call, 200, "application/json; charset=utf-8", text);
        else
            rv_answer_problem(call, 404, "NotFound", "there is no such document");
    }
}

/* ---- administrators ---- */

static void
add_disk(const RvCall *call, JsonBuilder *json)
{
    const char *outputs = rv_studio_outputs(call->server->studio);
    rv_json_begin_object(json, "disk");
    rv_json_add_int(json, "free", rv_disk_free_bytes(outputs));
    rv_json_add_int(json, "total", rv_disk_total_bytes(outputs));
    json_builder_end_object(json);
}

static void
answer_admin(const RvCall *call)
{
    RvStudio *studio = call->server->studio;
    RvStudioLimits limits = rv_studio_limits(studio);
    g_auto(GStrv) users = rv_auth_users(call->server->auth);
    int jobs, batches;
    g_autoptr(JsonBuilder) json = json_builder_new();
    rv_studio_count(studio, &jobs, &batches);
    json_builder_begin_object(json);
    rv_json_add_int(json, "jobs", jobs);
    rv_json_add_int(json, "batches", batches);
    rv_json_add_text(json, "paused", rv_studio_paused(studio));
    rv_json_add_int(json, "device_bytes", (gint64)rv_studio_device_bytes(studio));
    rv_json_add_int(json, "resident_bytes", rv_resident_bytes());
    add_disk(call, json);
    rv_json_begin_array(json, "users");
    for (char **user = users; *user != NULL; user++) {
        json_builder_begin_object(json);
        rv_json_add_text(json, "name", *user);
        rv_json_add_flag(json, "admin", rv_auth_is_admin(call->server->auth, *user));
        rv_json_add_int(json, "jobs", rv_studio_user_jobs(studio, *user));
        json_builder_end_object(json);
    }
    json_builder_end_array(json);
    json_builder_set_member_name(json, "limits");
    rv_studio_limits_add_json(&limits, json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

void
rv_users_admin(const RvCall *call)
{
    RvStudio *studio = call->server->studio;
    g_autoptr(GError) error = NULL;
    if (!rv_auth_is_admin(call->server->auth, call->user)) {
        rv_answer_problem(call, 403, "HTTPException", "this is for administrators");
        return;
    }
    if (strcmp(soup_server_message_get_method(call->message), "PATCH") == 0) {
        g_autoptr(JsonObject) body = rv_studio_body(call);
        RvStudioLimits limits = rv_studio_limits(studio);
        if (body == NULL)
            return;
        JsonNode *node = json_object_get_member(body, "limits");
        if (node == NULL || !JSON_NODE_HOLDS_OBJECT(node)) {
            rv_answer_problem(call, 400, "ValueError", "give {\"limits\": {...}}");
            return;
        }
        if (!rv_studio_limits_read_json(&limits, json_node_get_object(node), &error) ||
            !rv_studio_set_limits(studio, &limits, &error)) {
            rv_answer_error(call, error);
            return;
        }
    }
    answer_admin(call);
}
