/* pages.c - the files of web/, from the program itself, or with --web from a folder while they are written.
 */
#include "server/pages.h"

#include <string.h>

#include "server/server_internal.h"

#define MAX_FILE (16 << 20)

static const char *
type_of(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        { ".html", "text/html; charset=utf-8" },
        { ".js", "text/javascript; charset=utf-8" },
        { ".mjs", "text/javascript; charset=utf-8" },
        { ".css", "text/css; charset=utf-8" },
        { ".json", "application/json; charset=utf-8" },
        { ".webmanifest", "application/manifest+json" },
        { ".svg", "image/svg+xml" },
        { ".png", "image/png" },
        { ".jpg", "image/jpeg" },
        { ".ico", "image/x-icon" },
        { ".woff2", "font/woff2" },
        { ".wasm", "application/wasm" },
        { ".mp3", "audio/mpeg" },
        { ".wav", "audio/wav" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(types); i++)
        if (g_str_has_suffix(path, types[i].ending))
            return types[i].type;
    return "application/octet-stream";
}

/* No way out of the folder, and no hidden files. */
static bool
is_plain(const char *path)
{
    if (*path == '\0' || *path == '/' || strstr(path, "//") != NULL || strchr(path, '\\') != NULL)
        return false;
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part != NULL; part++)
        if (**part == '.' || **part == '\0')
            return false;
    return true;
}

static GBytes *
find_file(const RvServeOptions *options, const char *path)
{
    if (options->web == NULL) {
        for (const RvWebFile *file = rv_web_files; file->path != NULL; file++)
            if (strcmp(file->path, path) == 0)
                return g_bytes_new_static(file->data, file->size);
        return NULL;
    }
    g_autofree char *full = g_build_filename(options->web, path, NULL);
    char *data;
    gsize size;
    return g_file_get_contents(full, &data, &size, NULL) && size <= MAX_FILE ? g_bytes_new_take(data, size)
                                                                             : NULL;
}

static void
answer_file(const RvCall *call, const char *path)
{
    g_autoptr(GBytes) bytes = is_plain(path) ? find_file(call->server->options, path) : NULL;
    SoupMessageHeaders *response = soup_server_message_get_response_headers(call->message);
    if (bytes == NULL) {
        rv_answer_text(call, 404, "text/plain; charset=utf-8", "there is no such page\n");
        return;
    }
    g_autofree char *hash = g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, bytes);
    g_autofree char *tag = g_strdup_printf("\"%.16s\"", hash);
    const char *known =
        soup_message_headers_get_one(soup_server_message_get_request_headers(call->message), "If-None-Match");
    soup_message_headers_replace(response, "Cache-Control", "no-cache"); /* kept, but asked about each time */
    soup_message_headers_replace(response, "ETag", tag);
    if (known != NULL && strcmp(known, tag) == 0) {
        soup_server_message_set_status(call->message, 304, NULL);
        return;
    }
    soup_message_headers_replace(response, "Content-Type", type_of(path));
    soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), bytes);
    soup_server_message_set_status(call->message, 200, NULL);
}

void
rv_pages_get(const RvCall *call)
{
    answer_file(call, call->route->parameter);
}

void
rv_pages_file(const RvCall *call)
{
    answer_file(call, call->argument != NULL ? call->argument : "");
}

void
rv_pages_log_in(const RvCall *call)
{
    g_autoptr(GBytes) bytes = find_file(call->server->options, "login.html");
    SoupMessageHeaders *response = soup_server_message_get_response_headers(call->message);
    soup_message_headers_replace(response, "Content-Type", type_of("login.html"));
    soup_message_headers_replace(response, "Cache-Control", "no-store");
    if (bytes != NULL)
        soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), bytes);
    soup_server_message_set_status(call->message, 401, NULL);
}
