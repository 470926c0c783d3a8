/* control.c - the live parameters over HTTP, in the forms of the programs that are replaced. */
#include <string.h>

#include "base/json_build.h"
#include "server/json_text.h"
#include "server/log.h"
#include "server/server_internal.h"

static int
port_of(const RvServer *server)
{
    const char *colon = server->url != NULL ? strrchr(server->url, ':') : NULL;
    return colon != NULL ? (int)g_ascii_strtoll(colon + 1, NULL, 10) : server->options->port;
}

JsonBuilder *
rv_control_build_state(RvServer *server)
{
    JsonBuilder *json = json_builder_new();
    json_builder_begin_object(json);
    rv_state_add_json(server->state, json);
    rv_json_add_int(json, "revision", rv_state_revision(server->state));
    rv_mirror_add_summary(server->mirror, json);
    rv_json_begin_object(json, "controls");
    rv_state_add_json(server->state, json);
    json_builder_end_object(json);
    rv_json_begin_object(json, "recording");
    rv_recording_add_json(server->recording, json);
    json_builder_end_object(json);
    rv_mirror_add_fast_trt(server->mirror, port_of(server), json);
    json_builder_end_object(json);
    return json;
}

static GBytes *
body_of(const RvCall *call)
{
    return soup_message_body_flatten(soup_server_message_get_request_body(call->message));
}

void
rv_control_state(const RvCall *call)
{
    RvServer *server = call->server;
    if (strcmp(soup_server_message_get_method(call->message), "POST") == 0) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GBytes) body = body_of(call);
        gsize size;
        const char *text = g_bytes_get_data(body, &size);
        g_autoptr(JsonObject) object = rv_json_parse_object(text, size, &error);
        if (object == NULL || !rv_state_set_json(server->state, object, &error)) {
            rv_answer_error(call, error);
            return;
        }
    }
    g_autoptr(JsonBuilder) json = rv_control_build_state(server);
    rv_answer_json(call, 200, json);
}

static bool
set_recording(const RvCall *call, GError **error)
{
    g_autoptr(GBytes) body = body_of(call);
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    g_autoptr(JsonObject) object = rv_json_parse_object(text, size, error);
    if (object == NULL)
        return false;
    JsonNode *on = json_object_get_member(object, "on");
    if (on == NULL || !JSON_NODE_HOLDS_VALUE(on) || json_node_get_value_type(on) != G_TYPE_BOOLEAN)
        return rv_error_set(error, RV_ERROR_USAGE, "on", "send {\"on\":true} or {\"on\":false}",
                            "it is not said what to do");
    return rv_recording_set(call->server->recording, json_node_get_boolean(on), error);
}

void
rv_control_recording(const RvCall *call)
{
    g_autoptr(GError) error = NULL;
    bool is_change = strcmp(soup_server_message_get_method(call->message), "POST") == 0;
    if (is_change && !set_recording(call, &error)) {
        rv_answer_error(call, error);
        return;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_recording_add_json(call->server->recording, json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

void
rv_control_set(const RvCall *call)
{
    const char *prompt = call->query != NULL ? g_hash_table_lookup(call->query, "prompt") : NULL;
    g_autoptr(GError) error = NULL;
    if (prompt == NULL) {
        rv_answer_text(call, 400, "text/plain; charset=utf-8", "No valid parameters provided.");
        return;
    }
    if (!rv_state_set_text(call->server->state, "prompt", prompt, &error)) {
        rv_answer_error(call, error);
        return;
    }
    g_autofree char *text = g_strconcat("Prompt updated to: ", prompt, NULL);
    rv_answer_text(call, 200, "text/plain; charset=utf-8", text);
}

static void
answer_object(const RvCall *call, guint status, const char *name, const char *value, const char *second,
              const char *text, double number)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, name, value);
    if (second != NULL) {
        json_builder_set_member_name(json, second);
        if (text != NULL)
            json_builder_add_string_value(json, text);
        else
            json_builder_add_double_value(json, number);
    }
    json_builder_end_object(json);
    rv_answer_json(call, status, json);
}

/* Of a path without it: ?msg=, or the body. */
static char *
argument_of(const RvCall *call)
{
    if (call->argument != NULL)
        return g_strdup(call->argument);
    const char *message = call->query != NULL ? g_hash_table_lookup(call->query, "msg") : NULL;
    if (message != NULL)
        return g_strdup(message);
    g_autoptr(GBytes) body = body_of(call);
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    return size > 0 && g_utf8_validate(text, (gssize)size, NULL) ? g_strndup(text, size) : NULL;
}

/* GenDJ sets the first of a pair by the address that sets the only prompt elsewhere. */
static const char *
parameter_of(const RvCall *call)
{
    bool is_pair = rv_state_has_pair(call->server->state);
    return strcmp(call->route->parameter, "prompt") == 0 && is_pair ? "prompt/0" : call->route->parameter;
}

void
rv_control_parameter(const RvCall *call)
{
    RvServer *server = call->server;
    const char *name = call->route->parameter;
    g_autofree char *value = argument_of(call);
    g_autoptr(GError) error = NULL;
    if (value == NULL)
        rv_error_set(&error, RV_ERROR_USAGE, call->route->path, "put it into the address",
                     "there is no value");
    else
        rv_state_set_text(server->state, parameter_of(call), value, &error);
    bool is_crossfade = strcmp(name, "crossfade") == 0;
    if (error != NULL && is_crossfade)
        answer_object(call, 400, "status", "error", "message", error->message, 0.0);
    else if (error != NULL)
        rv_answer_error(call, error);
    else if (is_crossfade)
        answer_object(call, 200, "status", "success", "blend", NULL,
                      CLAMP(g_ascii_strtod(value, NULL), 0.0, 1.0));
    else if (g_str_has_prefix(name, "prompt"))
        answer_object(call, 200, "safety", "safe", NULL, NULL, 0.0);
    else
        answer_object(call, 200, "status", "updated", NULL, NULL, 0.0);
}

void
rv_control_ignored(const RvCall *call)
{
    answer_object(call, 200, "status", "updated", NULL, NULL, 0.0);
}

void
rv_control_debug(const RvCall *call)
{
    g_autofree char *text = argument_of(call);
    RvValue value = { .kind = RV_VALUE_TEXT, .text = text != NULL ? text : "" };
    bool is_on;
    if (!rv_value_as_flag(&value, &is_on)) {
        rv_answer_problem(call, 400, "HTTPException", "neither yes nor no (debug): use true or false");
        return;
    }
    rv_log_set_level(is_on ? RV_LOG_DEBUG : RV_LOG_INFO);
    answer_object(call, 200, "status", "updated", NULL, NULL, 0.0);
}
