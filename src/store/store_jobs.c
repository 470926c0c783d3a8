/* store_jobs.c - rows of jobs. */
#include "store/store_internal.h"
#include "store/store_pictures.h"

#include <glib/gstdio.h>

#include "store/files.h"

#define COLUMNS                                                                                         \
    "id, user, name, kind, state, model, prompt, place, created, began, ended, batches, batches_done, " \
    "pictures,"                                                                                         \
    " was_interrupted, error_code, error, info, notes, seconds, due"

void
rv_job_row_free(RvJobRow *row)
{
    if (row == NULL)
        return;
    char *texts[] = { row->user,    row->name,  row->kind, row->state, row->model, row->prompt,
                      row->request, row->error, row->info, row->notes, row->due };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        g_free(texts[i]);
    g_free(row);
}

static RvJobRow *
row_copy(const RvJobRow *from)
{
    RvJobRow *row = g_new(RvJobRow, 1);
    *row = *from;
    char **texts[] = { &row->user,    &row->name,  &row->kind, &row->state, &row->model, &row->prompt,
                       &row->request, &row->error, &row->info, &row->notes, &row->due };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        *texts[i] = g_strdup(*texts[i]);
    return row;
}

/* COLUMNS, then the request if `has_request`. */
static RvJobRow *
read_row(sqlite3_stmt *from, bool has_request)
{
    RvJobRow *row = g_new0(RvJobRow, 1);
    int i = 0;
    row->id = sqlite3_column_int64(from, i++);
    row->user = rv_sql_text(from, i++);
    row->name = rv_sql_text(from, i++);
    row->kind = rv_sql_text(from, i++);
    row->state = rv_sql_text(from, i++);
    row->model = rv_sql_text(from, i++);
    row->prompt = rv_sql_text(from, i++);
    row->place = sqlite3_column_int64(from, i++);
    row->created = sqlite3_column_int64(from, i++);
    row->began = sqlite3_column_int64(from, i++);
    row->ended = sqlite3_column_int64(from, i++);
    row->batches = sqlite3_column_int(from, i++);
    row->batches_done = sqlite3_column_int(from, i++);
    row->pictures = sqlite3_column_int(from, i++);
    row->was_interrupted = sqlite3_column_int(from, i++) != 0;
    row->error_code = sqlite3_column_int(from, i++);
    row->error = rv_sql_text(from, i++);
    row->info = rv_sql_text(from, i++);
    row->notes = rv_sql_text(from, i++);
    row->seconds = sqlite3_column_double(from, i++);
    row->due = rv_sql_text(from, i++);
    if (has_request)
        row->request = rv_sql_text(from, i);
    return row;
}

/* ---- changes ---- */

typedef struct {
    RvJobRow *row;
    GPtrArray *files, *pictures; /* NULL without */
    gint64 *ids;
    gsize n;
} JobChange;

static void
job_change_free(gpointer data)
{
    JobChange *change = data;
    rv_job_row_free(change->row);
    g_clear_pointer(&change->files, g_ptr_array_unref);
    g_clear_pointer(&change->pictures, g_ptr_array_unref);
    g_free(change->ids);
    g_free(change);
}

static bool
write_files(GPtrArray *files, GError **error)
{
    for (guint i = 0; files != NULL && i < files->len; i++) {
        const RvStoreFile *file = g_ptr_array_index(files, i);
        if (rv_file_write(file->path, file->bytes, error))
            continue;
        for (guint k = 0; k < i; k++)
            g_unlink(((const RvStoreFile *)g_ptr_array_index(files, k))->path);
        return false;
    }
    return true;
}

bool
rv_store_settle(sqlite3 *db, gint64 id, GError **error)
{
    return id == 0 || rv_sql_run(db, error, "UPDATE jobs SET due = NULL WHERE id = ?", "i", id);
}

static bool
run_add(sqlite3 *db, gpointer data, GError **error)
{
    JobChange *change = data;
    const RvJobRow *r = change->row;
    return write_files(change->files, error) && rv_store_settle(db, r->settles, error) &&
           rv_sql_run(db, error,
                      "INSERT INTO jobs (" COLUMNS
                      ", request) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      "issssssiiiiiiiiisssdss", r->id, r->user, r->name, r->kind, r->state, r->model,
                      r->prompt, r->place, r->created, r->began, r->ended, (gint64)r->batches,
                      (gint64)r->batches_done, (gint64)r->pictures, (gint64)r->was_interrupted,
                      (gint64)r->error_code, r->error, r->info, r->notes, r->seconds, r->due, r->request);
}

void
rv_store_add_job(RvStore *store, const RvJobRow *row, GPtrArray *files, RvStoreDone done, void *user_data)
{
    JobChange *change = g_new0(JobChange, 1);
    change->row = row_copy(row);
    change->files = files != NULL ? g_ptr_array_ref(files) : NULL;
    rv_store_change(store, run_add, change, job_change_free, done, user_data);
}

static bool
run_update(sqlite3 *db, gpointer data, GError **error)
{
    JobChange *change = data;
    const RvJobRow *r = change->row;
    for (guint i = 0; change->pictures != NULL && i < change->pictures->len; i++)
        if (!rv_store_insert_picture(db, g_ptr_array_index(change->pictures, i), error))
            return false;
    return rv_sql_run(
        db, error,
        "UPDATE jobs SET state = ?, model = ?, place = ?, began = ?, ended = ?, batches = ?,"
        " batches_done = ?, pictures = ?, was_interrupted = ?, error_code = ?, error = ?, info = ?,"
        " notes = ?, seconds = ?, due = ? WHERE id = ?",
        "ssiiiiiiiisssdsi", r->state, r->model, r->place, r->began, r->ended, (gint64)r->batches,
        (gint64)r->batches_done, (gint64)r->pictures, (gint64)r->was_interrupted, (gint64)r->error_code,
        r->error, r->info, r->notes, r->seconds, r->due, r->id);
}

void
rv_store_update_job(RvStore *store, const RvJobRow *row, GPtrArray *pictures, RvStoreDone done,
                    void *user_data)
{
    JobChange *change = g_new0(JobChange, 1);
    change->row = row_copy(row);
    change->pictures = pictures;
    rv_store_change(store, run_update, change, job_change_free, done, user_data);
}

static bool
run_places(sqlite3 *db, gpointer data, GError **error)
{
    const JobChange *change = data;
    for (gsize i = 0; i < change->n; i++)
        if (!rv_sql_run(db, error, "UPDATE jobs SET place = ? WHERE id = ?", "ii", (gint64)i, change->ids[i]))
            return false;
    return true;
}

void
rv_store_set_places(RvStore *store, const gint64 *ids, gsize n)
{
    JobChange *change = g_new0(JobChange, 1);
    change->ids = g_memdup2(ids, n * sizeof *ids);
    change->n = n;
    rv_store_change(store, run_places, change, job_change_free, NULL, NULL);
}

static bool
run_settle(sqlite3 *db, gpointer data, GError **error)
{
    const JobChange *change = data;
    return rv_store_settle(db, change->ids[0], error);
}

void
rv_store_settle_job(RvStore *store, gint64 id)
{
    JobChange *change = g_new0(JobChange, 1);
    change->ids = g_memdup2(&id, sizeof id);
    rv_store_change(store, run_settle, change, job_change_free, NULL, NULL);
}

static bool
run_remove(sqlite3 *db, gpointer data, GError **error)
{
    const JobChange *change = data;
    for (gsize i = 0; i < change->n; i++)
        if (!rv_sql_run(db, error, "DELETE FROM jobs WHERE id = ?", "i", change->ids[i]) ||
            !rv_sql_run(db, error, "DELETE FROM pictures WHERE job = ? AND NOT in_gallery", "i",
                        change->ids[i]) ||
            !rv_sql_run(db, error, "UPDATE pictures SET job = 0 WHERE job = ?", "i", change->ids[i]))
            return false;
    return true;
}

void
rv_store_remove_jobs(RvStore *store, const gint64 *ids, gsize n, RvStoreDone done, void *user_data)
{
    JobChange *change = g_new0(JobChange, 1);
    change->ids = g_memdup2(ids, n * sizeof *ids);
    change->n = n;
    rv_store_change(store, run_remove, change, job_change_free, done, user_data);
}

/* ---- reading ---- */

gint64
rv_store_last_job(RvStore *store)
{
    gint64 id = 0;
    sqlite3_stmt *row =
        rv_sql_prepare(store->reader, NULL, "SELECT seq FROM sqlite_sequence WHERE name = 'jobs'", "");
    while (rv_sql_next(&row))
        id = sqlite3_column_int64(row, 0);
    return id;
}

/* The only row, or NULL. */
static RvJobRow *
read_one(sqlite3_stmt *statement)
{
    RvJobRow *row = NULL;
    while (rv_sql_next(&statement)) {
        rv_job_row_free(row);
        row = read_row(statement, true);
    }
    return row;
}

static GPtrArray *
read_all(sqlite3_stmt *statement, bool has_request)
{
    GPtrArray *rows = g_ptr_array_new_with_free_func((GDestroyNotify)rv_job_row_free);
    while (rv_sql_next(&statement))
        g_ptr_array_add(rows, read_row(statement, has_request));
    return rows;
}

RvJobRow *
rv_store_get_job(RvStore *store, const char *user, gint64 id)
{
    return read_one(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS ", request FROM jobs WHERE id = ? AND user = ?", "is",
                                   id, user));
}

RvJobRow *
rv_store_find_job(RvStore *store, const char *user, const char *name)
{
    return read_one(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS ", request FROM jobs WHERE user = ? AND name = ?"
                                   " ORDER BY id DESC LIMIT 1",
                                   "ss", user, name));
}

GPtrArray *
rv_store_live_jobs(RvStore *store)
{
    return read_all(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS ", request FROM jobs WHERE ended = 0 ORDER BY place, id",
                                   ""),
                    true);
}

GPtrArray *
rv_store_ended_jobs(RvStore *store, const char *user, int limit, gint64 before_id)
{
    return read_all(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS " FROM jobs WHERE user = ? AND ended > 0 AND id < ?"
                                   " ORDER BY id DESC LIMIT ?",
                                   "sii", user, before_id > 0 ? before_id : G_MAXINT64, (gint64)limit),
                    false);
}

GPtrArray *
rv_store_due_jobs(RvStore *store)
{
    return read_all(rv_sql_prepare(store->reader, NULL,
                                   "SELECT " COLUMNS " FROM jobs WHERE due IS NOT NULL AND ended > 0", ""),
                    false);
}

GArray *
rv_store_old_jobs(RvStore *store, gint64 ended_before)
{
    GArray *ids = g_array_new(FALSE, FALSE, sizeof(gint64));
    sqlite3_stmt *row =
        rv_sql_prepare(store->reader, NULL, "SELECT id FROM jobs WHERE ended > 0 AND ended < ? LIMIT 1000",
                       "i", ended_before);
    while (rv_sql_next(&row)) {
        gint64 id = sqlite3_column_int64(row, 0);
        g_array_append_val(ids, id);
    }
    return ids;
}
