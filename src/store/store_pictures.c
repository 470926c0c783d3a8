#include "store/store_pictures.h"

#define COLUMNS                                                                                       \
    "id, job, user, part, batch, number, role, path, infotext, seed, subseed, width, height, bytes, " \
    "created,"                                                                                        \
    " in_gallery, favourite, trashed"
#define MOST_ROWS 1000

void
rv_picture_row_free(RvPictureRow *row)
{
    if (row == NULL)
        return;
    g_free(row->user);
    g_free(row->role);
    g_free(row->path);
    g_free(row->infotext);
    g_free(row);
}

static RvPictureRow *
read_row(sqlite3_stmt *from)
{
    RvPictureRow *row = g_new0(RvPictureRow, 1);
    int i = 0;
    row->id = sqlite3_column_int64(from, i++);
    row->job = sqlite3_column_int64(from, i++);
    row->user = rv_sql_text(from, i++);
    row->part = sqlite3_column_int(from, i++);
    row->batch = sqlite3_column_int(from, i++);
    row->number = sqlite3_column_int(from, i++);
    row->role = rv_sql_text(from, i++);
    row->path = rv_sql_text(from, i++);
    row->infotext = rv_sql_text(from, i++);
    row->seed = sqlite3_column_int64(from, i++);
    row->subseed = sqlite3_column_int64(from, i++);
    row->width = sqlite3_column_int(from, i++);
    row->height = sqlite3_column_int(from, i++);
    row->bytes = sqlite3_column_int64(from, i++);
    row->created = sqlite3_column_int64(from, i++);
    row->in_gallery = sqlite3_column_int(from, i++) != 0;
    row->favourite = sqlite3_column_int(from, i++) != 0;
    row->trashed = sqlite3_column_int64(from, i);
    return row;
}

static GPtrArray *
read_all(sqlite3_stmt *statement)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_row_free);
    while (rv_sql_next(&statement))
        g_ptr_array_add(rows, read_row(statement));
    return rows;
}

/* ---- changes ---- */

bool
rv_store_insert_picture(sqlite3 *db, RvPictureRow *r, GError **error)
{
    if (!rv_sql_run(
            db, error,
            "INSERT INTO pictures (job, user, part, batch, number, role, path, infotext, seed, subseed,"
            " width, height, bytes, created, in_gallery, favourite, trashed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            "isiiisssiiiiiiiii", r->job, r->user, (gint64)r->part, (gint64)r->batch, (gint64)r->number,
            r->role, r->path, r->infotext, r->seed, r->subseed, (gint64)r->width, (gint64)r->height, r->bytes,
            r->created, (gint64)r->in_gallery, (gint64)r->favourite, r->trashed))
        return false;
    r->id = sqlite3_last_insert_rowid(db);
    return true;
}

typedef struct {
    RvPictureRow *row;
    gint64 settles;
} Addition;

static void
addition_free(gpointer data)
{
    Addition *addition = data;
    rv_picture_row_free(addition->row);
    g_free(addition);
}

static bool
run_add(sqlite3 *db, gpointer data, GError **error)
{
    const Addition *addition = data;
    return rv_store_settle(db, addition->settles, error) && rv_store_insert_picture(db, addition->row, error);
}

void
rv_store_add_picture(RvStore *store, RvPictureRow *row, gint64 settles, RvStoreDone done, void *user_data)
{
    Addition *addition = g_new(Addition, 1);
    *addition = (Addition) { row, settles };
    rv_store_change(store, run_add, addition, addition_free, done, user_data);
}

typedef struct {
    char *user;
    gint64 id, trashed;
    int favourite;
} Mark;

static void
mark_free(gpointer data)
{
    Mark *mark = data;
    g_free(mark->user);
    g_free(mark);
}

static bool
run_mark(sqlite3 *db, gpointer data, GError **error)
{
    const Mark *mark = data;
    return rv_sql_run(db, error,
                      "UPDATE pictures SET favourite = iif(?1 < 0, favourite, ?1),"
                      " trashed = iif(?2 < 0, trashed, ?2) WHERE id = ?3 AND user = ?4 AND in_gallery",
                      "iiis", (gint64)mark->favourite, mark->trashed, mark->id, mark->user);
}

void
rv_store_mark_picture(RvStore *store, const char *user, gint64 id, int favourite, gint64 trashed,
                      RvStoreDone done, void *user_data)
{
    Mark *mark = g_new0(Mark, 1);
    *mark = (Mark) { g_strdup(user), id, trashed, favourite };
    rv_store_change(store, run_mark, mark, mark_free, done, user_data);
}

static bool
run_remove(sqlite3 *db, gpointer data, GError **error)
{
    const Mark *mark = data;
    return rv_sql_run(db, error, "DELETE FROM pictures WHERE id = ? AND user = ? AND in_gallery", "is",
                      mark->id, mark->user);
}

void
rv_store_remove_picture(RvStore *store, const char *user, gint64 id, RvStoreDone done, void *user_data)
{
    Mark *mark = g_new0(Mark, 1);
    *mark = (Mark) { .user = g_strdup(user), .id = id };
    rv_store_change(store, run_remove, mark, mark_free, done, user_data);
}

/* ---- reading ---- */

GPtrArray *
rv_store_job_pictures(RvStore *store, const char *user, gint64 job)
{
    return read_all(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS " FROM pictures WHERE job = ? AND user = ?"
                                   " ORDER BY role = 'map', id",
                                   "is", job, user));
}

bool
rv_store_has_picture_path(RvStore *store, const char *path)
{
    bool has = false;
    sqlite3_stmt *row =
        rv_sql_prepare(store->reader, NULL, "SELECT 1 FROM pictures WHERE path = ? LIMIT 1", "s", path);
    while (rv_sql_next(&row))
        has = true;
    return has;
}

/* The text as LIKE takes it: what it finds literally, anywhere. */
static char *
like_pattern(const char *text)
{
    g_autoptr(GString) pattern = g_string_new("%");
    for (; *text != '\0'; text++) {
        if (*text == '%' || *text == '_' || *text == '\\')
            g_string_append_c(pattern, '\\');
        g_string_append_c(pattern, *text);
    }
    g_string_append_c(pattern, '%');
    return g_string_free(g_steal_pointer(&pattern), FALSE);
}

#define FILTER                                                                                     \
    " FROM pictures WHERE in_gallery AND user = ?1 AND iif(?2 = 2, trashed > 0, trashed = 0)"      \
    " AND (?2 <> 1 OR favourite) AND (?3 IS NULL OR infotext LIKE ?3 ESCAPE '\\')"                 \
    " AND (?4 IS NULL OR path LIKE ?4 ESCAPE '\\') AND created >= ?5 AND (?6 = 0 OR created < ?6)" \
    " AND (?7 = 0 OR id < ?7) AND id > ?8 AND (?10 IS NULL OR infotext || ',' LIKE ?10 ESCAPE '\\')"

static sqlite3_stmt *
prepare_gallery(RvStore *store, const char *sql, const char *user, const RvGalleryFilter *filter)
{
    g_autofree char *search = filter->search != NULL ? like_pattern(filter->search) : NULL;
    g_autofree char *plain = filter->folder != NULL ? g_strdup_printf("/%s/", filter->folder) : NULL;
    g_autofree char *folder = plain != NULL ? like_pattern(plain) : NULL;
    g_autofree char *pair = filter->model != NULL ? g_strdup_printf(", Model: %s,", filter->model) : NULL;
    g_autofree char *model = pair != NULL ? like_pattern(pair) : NULL;
    int limit = filter->limit > 0 ? MIN(filter->limit, MOST_ROWS) : MOST_ROWS;
    return rv_sql_prepare(store->reader, NULL, sql, "sissiiiiis", user, (gint64)filter->shelf, search, folder,
                          filter->from, filter->until, filter->before_id, filter->after_id, (gint64)limit,
                          model);
}

GPtrArray *
rv_store_gallery(RvStore *store, const char *user, const RvGalleryFilter *filter)
{
    static const char *const newest_first = "SELECT " COLUMNS FILTER " ORDER BY id DESC LIMIT ?9";
    static const char *const oldest_first = "SELECT " COLUMNS FILTER " ORDER BY id LIMIT ?9";
    bool is_upwards = filter->after_id > 0;
    GPtrArray *rows =
        read_all(prepare_gallery(store, is_upwards ? oldest_first : newest_first, user, filter));
    for (guint i = 0; is_upwards && i < rows->len / 2; i++) {
        gpointer swap = rows->pdata[i];
        rows->pdata[i] = rows->pdata[rows->len - 1 - i];
        rows->pdata[rows->len - 1 - i] = swap;
    }
    return rows;
}

int
rv_store_gallery_count(RvStore *store, const char *user, const RvGalleryFilter *filter)
{
    int count = 0;
    sqlite3_stmt *row = prepare_gallery(store, "SELECT count(*)" FILTER " AND ?9 > 0", user, filter);
    while (rv_sql_next(&row))
        count = sqlite3_column_int(row, 0);
    return count;
}

RvPictureRow *
rv_store_get_picture(RvStore *store, const char *user, gint64 id)
{
    g_autoptr(GPtrArray) rows = read_all(rv_sql_prepare(
        store->reader, NULL, "SELECT " COLUMNS " FROM pictures WHERE id = ? AND user = ?", "is", id, user));
    return rows->len > 0 ? g_ptr_array_steal_index(rows, 0) : NULL;
}

GPtrArray *
rv_store_old_trash(RvStore *store, gint64 trashed_before)
{
    return read_all(rv_sql_prepare(
        store->reader, NULL, "SELECT " COLUMNS " FROM pictures WHERE trashed > 0 AND trashed < ? LIMIT 1000",
        "i", trashed_before));
}
