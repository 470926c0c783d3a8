/* studio_routes.c - the table of /api/v1/, and what its handlers share. */
#include "server/studio_routes.h"

#include <string.h>

#include "server/json_text.h"
#include "server/later.h"

const RvRoute rv_studio_routes[] = {
    { "GET,POST", "/api/v1/jobs", RV_AUTH_REQUIRED, false, rv_jobs_list, .max_body = RV_STUDIO_MAX_BODY,
      .help = "GET: your jobs, ?limit&before; POST: a job, {\"kind\",\"prompt\",...}; answers its id once it "
              "is kept" },
    { "GET,POST,DELETE", "/api/v1/jobs/{id}", RV_AUTH_REQUIRED, false, rv_jobs_one,
      .help = "A job; DELETE cancels; /result, /preview, /pictures/N; POST /move {\"place\"}, /interrupt, "
              "/skip" },
    { "GET", "/api/v1/events", RV_AUTH_REQUIRED, false, rv_jobs_events,
      .help = "Server-sent events of your jobs: job, progress, picture, queue; Last-Event-ID is taken up" },
    { "GET", "/api/v1/gallery", RV_AUTH_REQUIRED, false, rv_gallery_list,
      .help =
          "Your pictures; ?shelf=all|favourites|trash&search&model&folder&from&until&before&after&limit" },
    { "GET,PATCH,DELETE", "/api/v1/gallery/{id}", RV_AUTH_REQUIRED, false, rv_gallery_one,
      .help = "A picture; /file, /thumbnail?size; PATCH {\"favourite\",\"trashed\"}; DELETE what is in the "
              "trash" },
    { "GET", "/api/v1/networks", RV_AUTH_REQUIRED, false, rv_networks_list,
      .help =
          "LoRAs, embeddings and checkpoints, {\"networks\":[{\"kind\",\"name\",\"title\",\"thumbnail\"}]}" },
    { "GET", "/api/v1/networks/{name}", RV_AUTH_REQUIRED, false, rv_networks_picture,
      .help = "KIND/NAME: a JPEG of the picture that lies beside its file" },
    { "GET,PUT,DELETE", "/api/v1/documents/{name}", RV_AUTH_REQUIRED, false, rv_users_document,
      .max_body = 1 << 20, .help = "A JSON object of yours that is kept: the page's form, styles ..." },
    { "GET", "/api/v1/me", RV_AUTH_REQUIRED, false, rv_users_me, .help = "Who you are, and the limits" },
    { "POST", "/api/v1/login", RV_AUTH_NONE, true, rv_users_login,
      .help = "{\"name\",\"password\"} or {\"token\"}: a cookie for pages" },
    { "POST", "/api/v1/logout", RV_AUTH_NONE, true, rv_users_logout, .help = "Takes the cookie back" },
    { "GET,PATCH", "/api/v1/admin", RV_AUTH_REQUIRED, false, rv_users_admin,
      .help = "For administrators: load and limits; PATCH {\"limits\":{...}}" },
    { 0 },
};

JsonObject *
rv_studio_body(const RvCall *call)
{
    SoupMessageHeaders *request = soup_server_message_get_request_headers(call->message);
    const char *type = soup_message_headers_get_content_type(request, NULL);
    g_autoptr(GBytes) body = soup_message_body_flatten(soup_server_message_get_request_body(call->message));
    g_autoptr(GError) error = NULL;
    gsize size;
    const char *text = g_bytes_get_data(body, &size);
    if (type == NULL || g_ascii_strcasecmp(type, "application/json") != 0) {
        rv_answer_problem(call, 415, "UnsupportedMediaType", "send application/json");
        return NULL;
    }
    JsonObject *object = rv_json_parse_object(text, size, &error);
    if (object == NULL)
        rv_answer_error(call, error);
    return object;
}

const char *
rv_studio_query(const RvCall *call, const char *name)
{
    const char *text = call->query != NULL ? g_hash_table_lookup(call->query, name) : NULL;
    return text != NULL && *text != '\0' && g_utf8_validate(text, -1, NULL) ? text : NULL;
}

bool
rv_studio_query_integer(const RvCall *call, const char *name, gint64 otherwise, gint64 *value)
{
    const char *text = rv_studio_query(call, name);
    *value = otherwise;
    if (text == NULL || g_ascii_string_to_signed(text, 10, 0, G_MAXINT64, value, NULL))
        return true;
    g_autofree char *problem = g_strdup_printf("\"%s\" is no whole number (%s)", text, name);
    rv_answer_problem(call, 400, "ValueError", problem);
    return false;
}

gint64
rv_studio_argument(const RvCall *call, const char **rest)
{
    const char *text = call->argument != NULL ? call->argument : "", *slash = strchr(text, '/');
    g_autofree char *digits = slash != NULL ? g_strndup(text, (gsize)(slash - text)) : g_strdup(text);
    gint64 id = 0;
    *rest = slash != NULL ? slash + 1 : "";
    if (!g_ascii_string_to_signed(digits, 10, 1, G_MAXINT64, &id, NULL)) {
        rv_answer_problem(call, 404, "NotFound", "there is nothing of this number");
        return 0;
    }
    return id;
}

void
rv_studio_answer_done(const RvCall *call)
{
    rv_answer_text(call, 200, "application/json; charset=utf-8", "{\"ok\":true}\n");
}

void
rv_studio_answer_kept(const GError *error, void *user)
{
    RvLater *later = user;
    const RvCall *call = rv_later_call(later);
    if (call != NULL && error != NULL)
        rv_answer_problem(call, 507, "InsufficientStorage", error->message);
    else if (call != NULL)
        rv_studio_answer_done(call);
    rv_later_end(later);
}
