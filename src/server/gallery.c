/* gallery.c - /api/v1/gallery: a user's pictures on disk. Files are found by the store's rows, never by names
 * that clients give, and opened without following links. */
#include <string.h>

#include "media/picture.h"
#include "server/later.h"
#include "server/server.h"
#include "server/studio_routes.h"
#include "store/files.h"
#include "store/store.h"

#define MAX_FILE (256 << 20)
#define USUAL_LIMIT 100
#define THUMBNAIL 256
#define THUMBNAIL_QUALITY 80

static void
add_picture(JsonBuilder *json, const RvPictureRow *row)
{
    g_autofree char *url = g_strdup_printf("/api/v1/gallery/%" G_GINT64_FORMAT "/file", row->id);
    g_autofree char *thumbnail = g_strdup_printf("/api/v1/gallery/%" G_GINT64_FORMAT "/thumbnail", row->id);
    const struct {
        const char *name, *text;
    } texts[] = { { "url", url },
                  { "thumbnail", thumbnail },
                  { "file", row->path },
                  { "role", row->role },
                  { "infotext", row->infotext } };
    const struct {
        const char *name;
        gint64 value;
    } numbers[] = { { "id", row->id },           { "job", row->job },        { "seed", row->seed },
                    { "width", row->width },     { "height", row->height },  { "bytes", row->bytes },
                    { "created", row->created }, { "trashed", row->trashed } };
    json_builder_begin_object(json);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++) {
        json_builder_set_member_name(json, numbers[i].name);
        json_builder_add_int_value(json, numbers[i].value);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        json_builder_set_member_name(json, texts[i].name);
        json_builder_add_string_value(json, texts[i].text);
    }
    json_builder_set_member_name(json, "favourite");
    json_builder_add_boolean_value(json, row->favourite);
    json_builder_end_object(json);
}

static bool
read_filter(const RvCall *call, RvGalleryFilter *filter)
{
    const char *shelf = rv_studio_query(call, "shelf");
    gint64 limit;
    *filter = (RvGalleryFilter) { .search = rv_studio_query(call, "search"),
                                  .folder = rv_studio_query(call, "folder") };
    if (shelf != NULL && strcmp(shelf, "favourites") == 0)
        filter->shelf = RV_GALLERY_FAVOURITES;
    else if (shelf != NULL && strcmp(shelf, "trash") == 0)
        filter->shelf = RV_GALLERY_TRASH;
    else if (shelf != NULL && strcmp(shelf, "all") != 0) {
        rv_answer_problem(call, 400, "ValueError", "shelf is all, favourites or trash");
        return false;
    }
    bool ok = rv_studio_query_integer(call, "limit", USUAL_LIMIT, &limit) &&
              rv_studio_query_integer(call, "from", 0, &filter->from) &&
              rv_studio_query_integer(call, "until", 0, &filter->until) &&
              rv_studio_query_integer(call, "before", 0, &filter->before_id) &&
              rv_studio_query_integer(call, "after", 0, &filter->after_id);
    filter->limit = (int)CLAMP(limit, 1, 1000);
    return ok;
}

void
rv_gallery_list(const RvCall *call)
{
    RvStore *store = rv_studio_store(rv_server_studio(call->server));
    RvGalleryFilter filter;
    if (!read_filter(call, &filter))
        return;
    g_autoptr(GPtrArray) rows = rv_store_gallery(store, call->user, &filter);
    RvGalleryFilter all = filter;
    all.before_id = all.after_id = 0;
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    json_builder_set_member_name(json, "total");
    json_builder_add_int_value(json, rv_store_gallery_count(store, call->user, &all));
    json_builder_set_member_name(json, "pictures");
    json_builder_begin_array(json);
    for (guint i = 0; i < rows->len; i++)
        add_picture(json, g_ptr_array_index(rows, i));
    json_builder_end_array(json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

/* ---- files ---- */

typedef struct {
    RvLater *later;
    char *root, *path;
    int side; /* of a thumbnail; 0: the file itself */
    GBytes *bytes;
} Reading;

static GBytes *
make_thumbnail(GBytes *file, int side, GError **error)
{
    gsize size;
    const void *data = g_bytes_get_data(file, &size);
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(data, size, "picture", NULL, error);
    if (picture == NULL)
        return NULL;
    double scale = MIN(1.0, (double)side / MAX(picture->width, picture->height));
    g_autoptr(RvPicture) small =
        rv_picture_resize(picture, MAX((int)(picture->width * scale), 1),
                          MAX((int)(picture->height * scale), 1), RV_FILTER_BILINEAR, error);
    RvPictureSaveOptions options = { .quality = THUMBNAIL_QUALITY };
    return small != NULL ? rv_picture_encode(small, RV_PICTURE_JPEG, &options, error) : NULL;
}

static void
read_file(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Reading *reading = data;
    GError *error = NULL;
    g_autoptr(GBytes) file = rv_file_read_below(reading->root, reading->path, MAX_FILE, &error);
    if (file != NULL)
        reading->bytes = reading->side > 0 ? make_thumbnail(file, reading->side, &error) : g_bytes_ref(file);
    if (error != NULL)
        g_task_return_error(task, error);
    else
        g_task_return_boolean(task, TRUE);
}

static void
on_read(GObject *source, GAsyncResult *result, gpointer user)
{
    Reading *reading = user;
    g_autoptr(GError) error = NULL;
    const RvCall *call = rv_later_call(reading->later);
    bool ok = g_task_propagate_boolean(G_TASK(result), &error);
    if (call != NULL && !ok) {
        rv_answer_error(call, error);
    } else if (call != NULL) {
        const char *type =
            reading->side > 0 || !g_str_has_suffix(reading->path, ".png")
                ? (reading->side == 0 && g_str_has_suffix(reading->path, ".webp") ? "image/webp"
                                                                                  : "image/jpeg")
                : "image/png";
        SoupMessageHeaders *headers = soup_server_message_get_response_headers(call->message);
        soup_message_headers_replace(headers, "Content-Type", type);
        soup_message_headers_replace(headers, "Cache-Control", "private, max-age=86400");
        soup_message_body_append_bytes(soup_server_message_get_response_body(call->message), reading->bytes);
        soup_server_message_set_status(call->message, 200, NULL);
    }
    rv_later_end(reading->later);
    g_free(reading->root);
    g_free(reading->path);
    g_clear_pointer(&reading->bytes, g_bytes_unref);
    g_free(reading);
}

static void
send_file(const RvCall *call, const RvPictureRow *row, int side)
{
    Reading *reading = g_new0(Reading, 1);
    *reading = (Reading) { .later = rv_later_new(call, NULL, NULL),
                           .root = g_strdup(rv_studio_outputs(rv_server_studio(call->server))),
                           .path = g_strdup(row->path),
                           .side = side };
    g_autoptr(GTask) task = g_task_new(NULL, NULL, on_read, reading);
    g_task_set_task_data(task, reading, NULL);
    g_task_run_in_thread(task, read_file);
}

static void
get_one(const RvCall *call, const RvPictureRow *row, const char *rest)
{
    gint64 side;
    if (*rest == '\0') {
        g_autoptr(JsonBuilder) json = json_builder_new();
        add_picture(json, row);
        rv_answer_json(call, 200, json);
    } else if (strcmp(rest, "file") == 0) {
        send_file(call, row, 0);
    } else if (strcmp(rest, "thumbnail") == 0) {
        if (rv_studio_query_integer(call, "size", THUMBNAIL, &side))
            send_file(call, row, (int)CLAMP(side, 16, 1024));
    } else {
        rv_answer_problem(call, 404, "NotFound", "there is nothing here: see /api/routes");
    }
}

/* ---- changes ---- */

static void
on_changed(const GError *error, void *user)
{
    RvLater *later = user;
    const RvCall *call = rv_later_call(later);
    if (call != NULL && error != NULL)
        rv_answer_problem(call, 507, "InsufficientStorage", error->message);
    else if (call != NULL)
        rv_studio_answer_done(call);
    rv_later_end(later);
}

/* -1: not a member; -2: no bool. */
static int
read_flag(JsonObject *body, const char *name)
{
    JsonNode *node = json_object_get_member(body, name);
    if (node == NULL)
        return -1;
    bool is_flag = JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_BOOLEAN;
    return is_flag ? json_node_get_boolean(node) : -2;
}

static void
change(const RvCall *call, const RvPictureRow *row)
{
    g_autoptr(JsonObject) body = rv_studio_body(call);
    if (body == NULL)
        return;
    int favourite = read_flag(body, "favourite"), trashed = read_flag(body, "trashed");
    if (favourite == -2 || trashed == -2) {
        rv_answer_problem(call, 400, "ValueError", "\"favourite\" and \"trashed\" are true or false");
        return;
    }
    gint64 when = trashed == 1 ? g_get_real_time() / G_USEC_PER_SEC : trashed;
    rv_store_mark_picture(rv_studio_store(rv_server_studio(call->server)), call->user, row->id, favourite,
                          when, on_changed, rv_later_new(call, NULL, NULL));
}

static void
erase(const RvCall *call, const RvPictureRow *row)
{
    RvStudio *studio = rv_server_studio(call->server);
    g_autoptr(GError) error = NULL;
    if (row->trashed == 0) {
        rv_answer_problem(call, 409, "Conflict", "only what is in the trash can be removed");
        return;
    }
    if (!rv_file_remove_below(rv_studio_outputs(studio), row->path, &error)) {
        rv_answer_error(call, error);
        return;
    }
    rv_store_remove_picture(rv_studio_store(studio), call->user, row->id, on_changed,
                            rv_later_new(call, NULL, NULL));
}

void
rv_gallery_one(const RvCall *call)
{
    const char *rest, *method = soup_server_message_get_method(call->message);
    gint64 id = rv_studio_argument(call, &rest);
    if (id == 0)
        return;
    g_autoptr(RvPictureRow) row =
        rv_store_get_picture(rv_studio_store(rv_server_studio(call->server)), call->user, id);
    if (row == NULL || !row->in_gallery)
        rv_answer_problem(call, 404, "NotFound", "there is no such picture");
    else if (strcmp(method, "PATCH") == 0 && *rest == '\0')
        change(call, row);
    else if (strcmp(method, "DELETE") == 0 && *rest == '\0')
        erase(call, row);
    else if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
        get_one(call, row, rest);
    else
        rv_answer_problem(call, 404, "NotFound", "there is nothing here: see /api/routes");
}
