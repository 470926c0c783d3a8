/* gallery.c - /api/v1/gallery: a user's pictures on disk. Files are found by the store's rows, never by names
 * that clients give, and opened without following links. */
#include <string.h>

#include "base/json_build.h"
#include "server/later.h"
#include "server/picture_file.h"
#include "server/server.h"
#include "server/studio_routes.h"
#include "store/files.h"
#include "store/store.h"

#define USUAL_LIMIT 100

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
        rv_json_add_int(json, numbers[i].name, numbers[i].value);
    }
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        rv_json_add_text(json, texts[i].name, texts[i].text);
    }
    rv_json_add_flag(json, "favourite", row->favourite);
    json_builder_end_object(json);
}

static bool
read_filter(const RvCall *call, RvGalleryFilter *filter)
{
    const char *shelf = rv_studio_query(call, "shelf");
    gint64 limit;
    *filter = (RvGalleryFilter) { .search = rv_studio_query(call, "search"),
                                  .model = rv_studio_query(call, "model"),
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
    rv_json_add_int(json, "total", rv_store_gallery_count(store, call->user, &all));
    rv_json_begin_array(json, "pictures");
    for (guint i = 0; i < rows->len; i++)
        add_picture(json, g_ptr_array_index(rows, i));
    json_builder_end_array(json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

/* ---- files ---- */

static void
send_file(const RvCall *call, const RvPictureRow *row, int side)
{
    rv_picture_file_send(call, rv_studio_outputs(rv_server_studio(call->server)), row->path, side);
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
        if (rv_studio_query_integer(call, "size", RV_THUMBNAIL, &side))
            send_file(call, row, (int)CLAMP(side, RV_THUMBNAIL_LEAST, RV_THUMBNAIL_MOST));
    } else {
        rv_answer_problem(call, 404, "NotFound", "there is nothing here: see /api/routes");
    }
}

/* ---- changes ---- */

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
                          when, rv_studio_answer_kept, rv_later_new(call, NULL, NULL));
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
    rv_store_remove_picture(rv_studio_store(studio), call->user, row->id, rv_studio_answer_kept,
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
