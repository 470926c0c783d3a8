#include "server/sdapi/task.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "server/server_internal.h"

#define LOOK_EVERY_MS 500

/* ---- replies ---- */

void
rv_reply_clear(RvReply *reply)
{
    g_clear_pointer(&reply->body, g_bytes_unref);
}

RvReply
rv_reply_node(guint status, JsonNode *node)
{
    gsize size;
    g_autoptr(JsonNode) owned = node;
    g_autoptr(JsonGenerator) generator = json_generator_new();
    json_generator_set_root(generator, owned);
    char *text = json_generator_to_data(generator, &size);
    return (RvReply) { status, g_bytes_new_take(text, size) };
}

RvReply
rv_reply_object(JsonObject *object)
{
    JsonNode *node = json_node_new(JSON_NODE_OBJECT);
    json_node_take_object(node, object);
    return rv_reply_node(200, node);
}

RvReply
rv_reply_array(JsonArray *array)
{
    JsonNode *node = json_node_new(JSON_NODE_ARRAY);
    json_node_take_array(node, array);
    return rv_reply_node(200, node);
}

RvReply
rv_reply_null(void)
{
    return rv_reply_node(200, json_node_new(JSON_NODE_NULL));
}

RvReply
rv_reply_invalid(RvFieldProblems *problems)
{
    JsonObject *body = json_object_new();
    json_object_set_array_member(body, "detail", problems);
    RvReply reply = rv_reply_object(body);
    reply.status = 422;
    return reply;
}

RvReply
rv_reply_problem(guint status, const char *kind, const char *detail, const char *errors)
{
    JsonObject *body = json_object_new();
    json_object_set_string_member(body, "error", kind);
    json_object_set_string_member(body, "detail", detail);
    json_object_set_string_member(body, "body", "");
    json_object_set_string_member(body, "errors", errors);
    RvReply reply = rv_reply_object(body);
    reply.status = status;
    return reply;
}

RvReply
rv_refusal_reply(const RvRefusal *refusal)
{
    return rv_reply_problem(refusal->status, refusal->kind, refusal->detail,
                            refusal->errors != NULL ? refusal->errors : "");
}

RvReply
rv_reply_error(const GError *error)
{
    guint status = rv_error_status(error);
    return rv_reply_problem(status, status < 500 ? "HTTPException" : "RuntimeError", error->message,
                            status < 500 ? "" : error->message);
}

static void
set_reply(SoupServerMessage *message, const RvReply *reply)
{
    soup_server_message_set_status(message, reply->status, NULL);
    soup_message_headers_set_content_type(soup_server_message_get_response_headers(message),
                                          "application/json", NULL);
    /* While a message is paused, libsoup 3.2 still tries to make a WebSocket of it and says that it is none.
     */
    soup_message_body_truncate(soup_server_message_get_response_body(message));
    soup_message_body_append_bytes(soup_server_message_get_response_body(message), reply->body);
}

void
rv_reply_send(const RvCall *call, RvReply reply)
{
    set_reply(call->message, &reply);
    rv_reply_clear(&reply);
}

/* ---- tasks ---- */

static void
forget_message(RvTask *task)
{
    if (task->message != NULL)
        g_signal_handlers_disconnect_by_data(task->message, task);
    g_clear_object(&task->message);
}

static void
on_finished(SoupServerMessage *message, gpointer data)
{
    forget_message(data);
}

/* The peer has closed its side. libsoup does not look at a connection whose message waits. */
static bool
is_closed(SoupServerMessage *message)
{
    struct tcp_info info = { 0 };
    socklen_t size = sizeof info;
    GSocket *socket = soup_server_message_get_socket(message);
    if (socket == NULL)
        return true;
    return getsockopt(g_socket_get_fd(socket), IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_state != TCP_ESTABLISHED;
}

static gboolean
on_look(gpointer data)
{
    RvTask *task = data;
    if (task->message != NULL && !is_closed(task->message))
        return G_SOURCE_CONTINUE;
    task->look = 0;
    task->on_gone(task);
    return G_SOURCE_REMOVE;
}

void
rv_task_watch_client(RvTask *task, void (*on_gone)(RvTask *task))
{
    task->on_gone = on_gone;
    task->look = g_timeout_add(LOOK_EVERY_MS, on_look, task);
}

static GHashTable *
copy_query(GHashTable *query)
{
    if (query == NULL)
        return NULL;
    GHashTable *copy = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, query);
    while (g_hash_table_iter_next(&iter, &key, &value))
        g_hash_table_insert(copy, g_strdup(key), g_strdup(value));
    return copy;
}

RvTask *
rv_task_new(const RvCall *call)
{
    RvTask *task = g_new0(RvTask, 1);
    task->server = call->server;
    task->asked_us = g_get_monotonic_time();
    task->route = call->route;
    task->user = g_strdup(call->user);
    task->body = soup_message_body_flatten(soup_server_message_get_request_body(call->message));
    task->query = copy_query(call->query);
    task->message = g_object_ref(call->message);
    g_signal_connect(task->message, "finished", G_CALLBACK(on_finished), task);
    soup_server_message_pause(task->message);
    g_ptr_array_add(call->server->tasks, task);
    return task;
}

RvTask *
rv_task_new_alone(RvServer *server, const char *user)
{
    RvTask *task = g_new0(RvTask, 1);
    task->server = server;
    task->asked_us = g_get_monotonic_time();
    task->user = g_strdup(user);
    task->body = g_bytes_new_static("", 0);
    g_ptr_array_add(server->tasks, task);
    return task;
}

static void
on_written(SoupServerMessage *message, gpointer data)
{
    RvServer *server = data;
    server->replies--;
}

void
rv_task_answer(RvTask *task, RvReply reply)
{
    if (task->message != NULL) {
        g_signal_handlers_disconnect_by_data(task->message, task);
        task->server->replies++;
        g_signal_connect(task->message, "finished", G_CALLBACK(on_written), task->server);
        set_reply(task->message, &reply);
        rv_answer_note_time(task->message);
        soup_server_message_unpause(task->message);
        g_clear_object(&task->message);
    }
    rv_reply_clear(&reply);
    g_clear_handle_id(&task->look, g_source_remove);
}

void
rv_task_end(RvTask *task, RvReply reply)
{
    rv_task_answer(task, reply);
    g_ptr_array_remove_fast(task->server->tasks, task);
    if (task->free_data != NULL)
        task->free_data(task->data);
    g_bytes_unref(task->body);
    g_clear_pointer(&task->query, g_hash_table_unref);
    g_free(task->user);
    g_free(task);
}

void
rv_tasks_stop(RvServer *server)
{
    for (guint i = server->tasks->len; i > 0; i--) {
        RvTask *task = g_ptr_array_index(server->tasks, i - 1);
        if (!task->waits_for_job)
            continue;
        rv_studio_forget(server->studio, task);
        rv_task_end(task, rv_reply_problem(503, "HTTPException", "the server is stopping", ""));
    }
}

static void
in_thread(GTask *thread, gpointer source, gpointer data, GCancellable *cancellable)
{
    RvTask *task = data;
    RvReply *reply = g_new(RvReply, 1);
    *reply = task->work(task);
    g_task_return_pointer(thread, reply, NULL);
}

static void
on_worked(GObject *source, GAsyncResult *result, gpointer data)
{
    RvTask *task = data;
    g_autofree RvReply *reply = g_task_propagate_pointer(G_TASK(result), NULL);
    task->then(task, *reply);
}

void
rv_task_run(RvTask *task, RvReply (*work)(RvTask *task), void (*then)(RvTask *task, RvReply reply))
{
    task->work = work;
    task->then = then != NULL ? then : rv_task_end;
    g_autoptr(GTask) thread = g_task_new(NULL, NULL, on_worked, task);
    g_task_set_task_data(thread, task, NULL);
    g_task_run_in_thread(thread, in_thread);
}

void
rv_task_serve(const RvCall *call, RvReply (*work)(RvTask *task))
{
    rv_task_run(rv_task_new(call), work, NULL);
}

bool
rv_task_fields(RvTask *task, JsonObject **fields, JsonObject **given, RvReply *reply)
{
    gsize size;
    const char *text = g_bytes_get_data(task->body, &size);
    g_autoptr(JsonArray) problems = json_array_new();
    *fields = rv_fields_parse(task->route->body, text, size, given, problems);
    if (*fields == NULL)
        *reply = rv_reply_invalid(g_steal_pointer(&problems));
    return *fields != NULL;
}
