#include "server/server_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/json_build.h"
#include "server/framing.h"
#include "server/read_ahead.h"
#include "server/transports.h"

#define MAX_BODY (256 * 1024)
#define MAX_PATH_BYTES 8192
#define USER_TIMEOUT_MS 30000 /* a peer that stops answering is gone after that */
#define PROBE_AFTER_S 15      /* of silence */
#define PROBE_EVERY_S 5

/* ---- finding ---- */

static bool
has_method(const RvRoute *route, const char *method)
{
    g_auto(GStrv) methods = g_strsplit(route->methods, ",", -1);
    bool is_get = g_strv_contains((const char *const *)methods, "GET");
    return g_strv_contains((const char *const *)methods, method) ||
           (is_get && !route->changes_state && strcmp(method, "HEAD") == 0);
}

/* "/prompt/{text}" takes "/prompt/a%20b", and "/prompt" and "/prompt/" without an argument. */
static bool
path_matches(const RvRoute *route, const char *path, const char **rest)
{
    const char *brace = strchr(route->path, '{');
    *rest = NULL;
    if (brace == NULL)
        return strcmp(route->path, path) == 0;
    gsize prefix = (gsize)(brace - route->path);
    if (strncmp(path, route->path, prefix) == 0) {
        *rest = path[prefix] != '\0' ? path + prefix : NULL;
        return true;
    }
    return strlen(path) == prefix - 1 && strncmp(path, route->path, prefix - 1) == 0;
}

/* An address that no row of the table has. */
static bool
is_free_path(const char *path)
{
    const char *rest;
    for (gsize t = 0; rv_route_tables[t] != NULL; t++)
        for (const RvRoute *route = rv_route_tables[t]; route->path != NULL; route++)
            if (strcmp(route->path, RV_ANY_PATH) != 0 && path_matches(route, path, &rest))
                return false;
    return true;
}

/* `*path_known` when only the method is wrong. */
static const RvRoute *
find_route(const char *method, const char *path, bool is_socket, const char **rest,
           const RvRoute **path_known)
{
    *path_known = NULL;
    for (gsize t = 0; rv_route_tables[t] != NULL; t++)
        for (const RvRoute *route = rv_route_tables[t]; route->path != NULL; route++) {
            bool matches =
                strcmp(route->path, RV_ANY_PATH) == 0 ? is_free_path(path) : path_matches(route, path, rest);
            if (!matches || (route->socket != NULL) != is_socket)
                continue;
            if (has_method(route, method))
                return route;
            *path_known = route;
        }
    return NULL;
}

static bool
wants_socket(SoupServerMessage *message)
{
    const char *upgrade =
        soup_message_headers_get_one(soup_server_message_get_request_headers(message), "Upgrade");
    return upgrade != NULL && g_ascii_strcasecmp(upgrade, "websocket") == 0;
}

/* ---- answering ---- */

#define BEGAN_KEY "reverie-began"

static void
note_begin(SoupServerMessage *message)
{
    gint64 *now = g_new(gint64, 1);
    *now = g_get_monotonic_time();
    g_object_set_data_full(G_OBJECT(message), BEGAN_KEY, now, g_free);
}

void
rv_answer_note_time(SoupServerMessage *message)
{
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    const gint64 *began = g_object_get_data(G_OBJECT(message), BEGAN_KEY);
    if (began == NULL)
        return;
    double seconds = (double)(g_get_monotonic_time() - *began) / G_USEC_PER_SEC;
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "X-Process-Time",
                                 g_ascii_formatd(text, sizeof text, "%.4f", seconds));
}

bool
rv_call_number(const RvCall *call, const char *key, guint64 fallback, guint64 *value, GError **error)
{
    const char *text = call->query != NULL ? g_hash_table_lookup(call->query, key) : NULL;
    *value = fallback;
    return text == NULL || g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT64, value, NULL) ||
           rv_error_set(error, RV_ERROR_USAGE, key, "write digits", "\"%s\" is no number", text);
}

void
rv_answer_text(const RvCall *call, guint status, const char *type, const char *text)
{
    soup_server_message_set_status(call->message, status,
                                   status == 426   ? "Upgrade Required"
                                   : status == 429 ? "Too Many Requests"
                                                   : NULL);
    soup_server_message_set_response(call->message, type, SOUP_MEMORY_COPY, text, strlen(text));
}

void
rv_answer_json(const RvCall *call, guint status, JsonBuilder *builder)
{
    g_autofree char *text = rv_json_text(builder), *line = g_strconcat(text, "\n", NULL);
    rv_answer_text(call, status, "application/json; charset=utf-8", line);
}

/* How refusals are worded where no route is known: by the address. */
static RvRouteErrors
errors_of(const RvCall *call)
{
    static const struct {
        const char *prefix;
        RvRouteErrors errors;
    } prefixes[] = { { "/sdapi/", RV_ERRORS_A1111 },
                     { "/controlnet/", RV_ERRORS_A1111 },
                     { "/internal/", RV_ERRORS_A1111 },
                     { "/v1/", RV_ERRORS_OPENAI } };
    if (call->route != NULL)
        return call->route->errors;
    const char *path = g_uri_get_path(soup_server_message_get_uri(call->message));
    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++)
        if (g_str_has_prefix(path, prefixes[i].prefix))
            return prefixes[i].errors;
    return RV_ERRORS_OURS;
}

void
rv_answer_problem(const RvCall *call, guint status, const char *kind, const char *text)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    RvRouteErrors errors = errors_of(call);
    json_builder_begin_object(json);
    if (errors == RV_ERRORS_OPENAI) {
        rv_json_begin_object(json, "error");
        rv_json_add_text(json, "message", text);
        rv_json_add_text(json, "type", status < 500 ? "invalid_request_error" : "server_error");
        rv_json_add_null(json, "param");
        rv_json_add_text(json, "code", kind);
        json_builder_end_object(json);
    } else if (errors == RV_ERRORS_A1111) {
        rv_json_add_text(json, "error", kind);
        rv_json_add_text(json, "detail", text);
        rv_json_add_text(json, "body", "");
        rv_json_add_text(json, "errors", status < 500 ? "" : text);
    } else {
        rv_json_add_text(json, "error", text);
    }
    json_builder_end_object(json);
    rv_answer_json(call, status, json);
}

guint
rv_error_status(const GError *error)
{
    static const guint statuses[] = {
        [RV_ERROR_FAILED] = 500,    [RV_ERROR_USAGE] = 400,       [RV_ERROR_INVALID] = 400,
        [RV_ERROR_NOT_FOUND] = 404, [RV_ERROR_UNSUPPORTED] = 501, [RV_ERROR_NO_MEMORY] = 503,
        [RV_ERROR_DEVICE] = 503,    [RV_ERROR_CANCELLED] = 500,   [RV_ERROR_BUSY] = 429,
        [RV_ERROR_IO] = 500,
    };
    bool is_ours = error->domain == RV_ERROR && error->code >= 0 && error->code < (int)G_N_ELEMENTS(statuses);
    return is_ours ? statuses[error->code] : 500;
}

void
rv_answer_error(const RvCall *call, const GError *error)
{
    guint status = rv_error_status(error);
    rv_answer_problem(call, status, status < 500 ? "HTTPException" : "RuntimeError", error->message);
}

/* ---- checks, before a body is read ---- */

/* The words that A1111's clients look for, where it has any. */
static void
refuse(const RvCall *call, guint status, const char *text)
{
    const char *words = NULL;
    if (errors_of(call) == RV_ERRORS_A1111)
        words = status == 404 ? "Not Found" : status == 405 ? "Method Not Allowed" : NULL;
    rv_answer_problem(call, status, "HTTPException", words != NULL ? words : text);
}

static void
set_headers(SoupServerMessage *message)
{
    static const struct {
        const char *name, *value;
    } headers[] = {
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "X-Frame-Options", "SAMEORIGIN" },
        { "Content-Security-Policy",
          "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob: data: mediastream:; "
          "connect-src 'self' ws: wss:; style-src 'self'; worker-src 'self' blob:; "
          "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'" },
        { "Permissions-Policy",
          "camera=(self), microphone=(self), display-capture=(self), fullscreen=(self), midi=(self), "
          "screen-wake-lock=(self), autoplay=(self)" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
        { "Cross-Origin-Resource-Policy", "same-origin" },
        { "Cache-Control", "no-store" },
    };
    SoupMessageHeaders *response = soup_server_message_get_response_headers(message);
    for (gsize i = 0; i < G_N_ELEMENTS(headers); i++)
        soup_message_headers_replace(response, headers[i].name, headers[i].value);
}

/* Pages of other sites that were allowed by name may read answers, and show pictures. */
static void
allow_origin(RvServer *server, SoupServerMessage *message)
{
    SoupMessageHeaders *response = soup_server_message_get_response_headers(message);
    const char *origin =
        soup_message_headers_get_one(soup_server_message_get_request_headers(message), "Origin");
    if (rv_guard_allows_some(server->guard))
        soup_message_headers_replace(response, "Cross-Origin-Resource-Policy", "cross-origin");
    if (!rv_guard_origin_is_allowed(server->guard, origin))
        return;
    soup_message_headers_replace(response, "Access-Control-Allow-Origin", origin);
    soup_message_headers_replace(response, "Access-Control-Allow-Credentials", "true");
    soup_message_headers_replace(response, "Vary", "Origin");
}

/* A page that was allowed asks what it may send. */
static void
answer_preflight(const RvCall *call)
{
    SoupMessageHeaders *response = soup_server_message_get_response_headers(call->message);
    soup_message_headers_replace(response, "Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE");
    soup_message_headers_replace(response, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    soup_message_headers_replace(response, "Access-Control-Max-Age", "600");
    soup_server_message_set_status(call->message, 204, NULL);
}

static bool
origin_is_fine(const RvCall *call, const RvRoute *route, const char *host)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *origin = soup_message_headers_get_one(request, "Origin");
    const char *site = soup_message_headers_get_one(request, "Sec-Fetch-Site");
    bool changes = route->changes_state || route->socket != NULL ||
                   (strcmp(soup_server_message_get_method(call->message), "GET") != 0 &&
                    strcmp(soup_server_message_get_method(call->message), "HEAD") != 0);
    if (!changes || rv_guard_origin_is_allowed(call->server->guard, origin))
        return true;
    bool is_foreign =
        origin == NULL && site != NULL && (strcmp(site, "cross-site") == 0 || strcmp(site, "same-site") == 0);
    return !is_foreign && rv_guard_origin_is_ours(call->server->guard, origin, host);
}

static bool
body_is_long(const RvCall *call)
{
    goffset most =
        call->route != NULL && call->route->max_body > 0 ? (goffset)call->route->max_body : MAX_BODY;
    return soup_message_headers_get_content_length(soup_server_message_get_request_headers(call->message)) >
           most;
}

/* Where JSON is read, nothing else is taken for it: a page of another site can send text without being asked
 * first, but not application/json. */
static bool
body_is_json(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *type = soup_message_headers_get_content_type(request, NULL);
    return call->route->takes_text || type == NULL || soup_message_headers_get_content_length(request) == 0 ||
           g_ascii_strcasecmp(type, "application/json") == 0 ||
           (call->route->takes_forms && g_ascii_strcasecmp(type, SOUP_FORM_MIME_TYPE_MULTIPART) == 0);
}

static bool
body_is_fine(const RvCall *call)
{
    if (body_is_long(call))
        refuse(call, 413, "the body is too long");
    else if (!body_is_json(call))
        refuse(call, 415, "send application/json");
    else
        return true;
    return false;
}

static void
set_cookie(const RvCall *call, const char *value)
{
    const char *secure = soup_server_is_https(call->server->soup) ? "; Secure" : "";
    g_autofree char *cookie =
        g_strdup_printf("reverie=%s; Path=/; HttpOnly; SameSite=Lax; Max-Age=31536000%s", value, secure);
    soup_message_headers_append(soup_server_message_get_response_headers(call->message), "Set-Cookie",
                                cookie);
}

/* The address without its token, which should stay in no history. */
static void
redirect_without_token(const RvCall *call, const char *path)
{
    g_autoptr(GString) target = g_string_new(path);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, call->query);
    for (char mark = '?'; g_hash_table_iter_next(&iter, &key, &value);) {
        if (strcmp(key, "token") == 0)
            continue;
        g_autofree char *k = g_uri_escape_string(key, NULL, FALSE),
                        *v = g_uri_escape_string(value, NULL, FALSE);
        g_string_append_printf(target, "%c%s=%s", mark, k, v);
        mark = '&';
    }
    soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Location",
                                 target->str);
    soup_server_message_set_status(call->message, 303, NULL);
}

#define USER_KEY "reverie-user" /* of a message's data */

/* Who was let in; "" where nobody needs to log in. */
static const char *
user_of(SoupServerMessage *message)
{
    const char *user = g_object_get_data(G_OBJECT(message), USER_KEY);
    return user != NULL ? user : "";
}

/* A browser goes to a page: it gets a form to log in with. */
static bool
opens_page(const RvCall *call, const RvRoute *route)
{
    const char *accept =
        soup_message_headers_get_list(soup_server_message_get_request_headers(call->message), "Accept");
    return accept != NULL && strstr(accept, "text/html") != NULL && route->socket == NULL &&
           strcmp(soup_server_message_get_method(call->message), "GET") == 0;
}

/* What a 401 asks for. Browsers that are asked for Basic open a dialog of their own over the page; those that
 * say so (Sec-Fetch-Dest), or that come for a page, get the form instead. */
static void
challenge(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *accept = soup_message_headers_get_list(request, "Accept");
    bool is_browser = soup_message_headers_get_one(request, "Sec-Fetch-Dest") != NULL ||
                      (accept != NULL && strstr(accept, "text/html") != NULL);
    soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "WWW-Authenticate",
                                 is_browser ? "Bearer realm=\"reverie\""
                                            : "Basic realm=\"reverie\", charset=\"UTF-8\"");
}

static bool
is_let_in(const RvCall *call, const RvRoute *route, const char *path)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *address = soup_server_message_get_remote_host(call->message);
    const char *token = call->query != NULL ? g_hash_table_lookup(call->query, "token") : NULL;
    char *user;
    g_autofree char *cookie = NULL;
    RvAuthVerdict verdict = rv_auth_check(call->server->auth, address != NULL ? address : "?",
                                          soup_message_headers_get_one(request, "Authorization"),
                                          soup_message_headers_get_list(request, "Cookie"), token,
                                          g_get_monotonic_time(), &cookie, &user);
    g_object_set_data_full(G_OBJECT(call->message), USER_KEY, user, g_free);
    if (verdict == RV_AUTH_OK) {
        const char *accept = soup_message_headers_get_list(request, "Accept");
        bool is_page = accept != NULL && strstr(accept, "text/html") != NULL && route->socket == NULL;
        if (cookie != NULL && is_page)
            set_cookie(call, cookie);
        if (cookie != NULL && is_page && token != NULL &&
            strcmp(soup_server_message_get_method(call->message), "GET") == 0)
            redirect_without_token(call, path);
        return true;
    }
    call->server->refused++;
    if (verdict == RV_AUTH_LIMITED) {
        soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Retry-After",
                                     "60");
        refuse(call, 429, "too many wrong log-ins: wait a minute");
        return false;
    }
    challenge(call);
    if (verdict == RV_AUTH_MISSING && opens_page(call, route)) {
        rv_pages_log_in(call);
        return false;
    }
    bool is_a1111 = errors_of(call) == RV_ERRORS_A1111;
    refuse(call, 401,
           !is_a1111                    ? "log in: a token or a user's name and password"
           : verdict == RV_AUTH_MISSING ? "Not authenticated"
                                        : "Incorrect username or password");
    return false;
}

/* Everything that sends a request away; leaves the status at 0 when it may go on. Sets the call's route. */
static void
check(RvCall *call, const char *path)
{
    RvServer *server = call->server;
    const char *method = soup_server_message_get_method(call->message), *rest;
    const char *host =
        soup_message_headers_get_one(soup_server_message_get_request_headers(call->message), "Host");
    const RvRoute *known, *route = find_route(method, path, wants_socket(call->message), &rest, &known);
    bool is_open = rv_auth_is_open(server->auth);
    bool is_public = route != NULL && route->auth == RV_AUTH_NONE && strcmp(route->methods, "GET") == 0;
    guint status;
    const char *problem = rv_framing_problem(soup_server_message_get_request_headers(call->message), &status);
    call->route = route;
    if (problem != NULL) {
        refuse(call, status, problem);
    } else if (strlen(path) > MAX_PATH_BYTES) {
        refuse(call, 414, "the address is too long");
    } else if (is_open && !is_public && !rv_guard_host_is_ours(server->guard, host)) {
        server->refused++;
        refuse(call, 403, "this name is not known to be ours: add it to --allowed-hosts");
    } else if (strcmp(method, "OPTIONS") == 0) {
        answer_preflight(call);
    } else if (route == NULL && known != NULL) {
        soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Allow",
                                     known->methods);
        refuse(call, 405, "this address takes other methods: see Allow");
    } else if (route == NULL && !is_free_path(path)) { /* only a WebSocket's, or only not one's */
        bool is_socket = wants_socket(call->message);
        soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Upgrade",
                                     "websocket");
        refuse(call, is_socket ? 404 : 426,
               is_socket ? "this address is no WebSocket: see /api/routes"
                         : "open this address as a WebSocket");
    } else if (route == NULL) {
        refuse(call, 404, "there is nothing here: see /api/routes");
    } else if (!origin_is_fine(call, route, host)) {
        server->refused++;
        refuse(call, 403, "a page of another site may not do this: see --allowed-hosts");
    } else if (body_is_fine(call) && (route->auth == RV_AUTH_NONE || is_let_in(call, route, path)) &&
               server->is_stopping && route->handler != rv_health_alive) {
        soup_message_headers_replace(soup_server_message_get_response_headers(call->message), "Retry-After",
                                     "10");
        refuse(call, 503, "the server is stopping");
    }
}

/* ---- libsoup's callbacks ---- */

/* Small messages leave at once, and connections of peers that vanished end, whatever goes on there. */
static void
on_started(SoupServer *soup, SoupServerMessage *message, gpointer user)
{
    RvServer *server = user;
    GSocket *socket = soup_server_message_get_socket(message);
    set_headers(message); /* so early, because libsoup itself answers what it cannot read */
    if (socket == NULL)
        return;
    rv_half_open_watch(server->half_open, message);
    g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
    g_socket_set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS, NULL);
    g_socket_set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, PROBE_AFTER_S, NULL);
    g_socket_set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_EVERY_S, NULL);
    g_socket_set_keepalive(socket, TRUE);
}

/* libsoup reads a body to its end before it answers, unless the client waits for "100 Continue": what was
 * refused is not kept, and what follows on the connection is not taken for a request. */
static void
discard_body(SoupServerMessage *message)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(message);
    soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
    if (soup_message_headers_get_encoding(request) == SOUP_ENCODING_CHUNKED ||
        soup_message_headers_get_content_length(request) > 0)
        soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection",
                                     "close");
}

static void
on_early(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query, gpointer user)
{
    RvServer *server = user;
    RvCall call = { .server = server, .message = message, .query = query };
    note_begin(message);
    allow_origin(server, message);
    check(&call, path);
    if (soup_server_message_get_status(message) != 0)
        discard_body(message);
}

static void
on_socket_closed(SoupWebsocketConnection *connection, gpointer user)
{
    RvServer *server = user;
    g_ptr_array_remove(server->sockets, connection);
}

static void
open_socket(RvServer *server, SoupServerMessage *message, SoupWebsocketConnection *connection)
{
    const char *rest, *path = g_uri_get_path(soup_server_message_get_uri(message));
    const RvRoute *known, *route = find_route("GET", path, true, &rest, &known);
    const char *text = g_uri_get_query(soup_server_message_get_uri(message));
    g_autoptr(GHashTable) query = text != NULL ? soup_form_decode(text) : NULL;
    RvCall call = {
        .server = server, .route = route, .message = message, .query = query, .user = user_of(message)
    };
    g_ptr_array_add(server->sockets, g_object_ref(connection));
    g_signal_connect(connection, "closed", G_CALLBACK(on_socket_closed), server);
    route->socket(&call, connection);
}

/* "101 Switching Protocols" is written: from now on the connection is ours. */
static void
on_switched(SoupServerMessage *message, gpointer user)
{
    const char *protocol = soup_message_headers_get_one(soup_server_message_get_response_headers(message),
                                                        "Sec-WebSocket-Protocol");
    const char *origin =
        soup_message_headers_get_one(soup_server_message_get_request_headers(message), "Origin");
    g_autoptr(SoupServerMessage) kept = g_object_ref(message);
    g_autoptr(GIOStream) stream = soup_server_message_steal_connection(message);
    bool is_tls = g_strcmp0(g_uri_get_scheme(soup_server_message_get_uri(message)), "http") != 0;
    g_autoptr(GIOStream) ahead =
        rv_read_ahead_stream_new(stream, is_tls ? NULL : soup_server_message_get_socket(message));
    g_autoptr(SoupWebsocketConnection) connection =
        soup_websocket_connection_new(ahead, soup_server_message_get_uri(message),
                                      SOUP_WEBSOCKET_CONNECTION_SERVER, origin, protocol, NULL);
    open_socket(user, message, connection);
}

/* Not libsoup's own handler: that would put no read-ahead between, and would agree to compress JPEGs again,
 * which costs 25 ms a frame. */
static void
switch_protocols(RvServer *server, SoupServerMessage *message)
{
    static char *protocols[] = { (char *)RV_WS_PROTOCOL, NULL };
    if (soup_websocket_server_process_handshake(message, NULL, protocols, NULL, NULL)) {
        g_signal_connect(message, "wrote-informational", G_CALLBACK(on_switched), server);
        return;
    }
    const RvCall call = { .server = server, .message = message };
    soup_message_headers_replace(soup_server_message_get_response_headers(message), "Sec-WebSocket-Version",
                                 "13");
    refuse(&call, 400, "no WebSocket can be opened: version 13, a key, no subprotocol or " RV_WS_PROTOCOL);
}

static void
on_request(SoupServer *soup, SoupServerMessage *message, const char *path, GHashTable *query, gpointer user)
{
    const char *rest;
    const RvRoute *known;
    if (soup_server_message_get_status(message) != 0)
        return;
    if (wants_socket(message)) {
        switch_protocols(user, message);
        return;
    }
    const RvRoute *route = find_route(soup_server_message_get_method(message), path, false, &rest, &known);
    g_autofree char *argument = rest != NULL ? g_uri_unescape_string(rest, NULL) : NULL;
    RvCall call = { .server = user,
                    .route = route,
                    .message = message,
                    .query = query,
                    .argument = argument,
                    .user = user_of(message) };
    if (rest != NULL && (argument == NULL || !g_utf8_validate(argument, -1, NULL)))
        refuse(&call, 400, "the address is not UTF-8 text");
    else
        route->handler(&call);
    rv_answer_note_time(message); /* not the last word where the answer comes later */
}

void
rv_routes_install(RvServer *server)
{
    g_signal_connect(server->soup, "request-started", G_CALLBACK(on_started), server);
    soup_server_add_early_handler(server->soup, NULL, on_early, server, NULL);
    soup_server_add_handler(server->soup, NULL, on_request, server, NULL);
}
