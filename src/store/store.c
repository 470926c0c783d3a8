/* store.c - opening and closing, and the thread that makes the changes. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "store/store_internal.h"

#define BUSY_MS 5000
#define MOST_AT_ONCE 256 /* changes in one transaction */

typedef struct {
    RvStoreRun run;
    gpointer data;
    GDestroyNotify free_data;
    RvStoreDone done;
    void *user_data;
    GError *error;
} Change;

static void
change_free(gpointer data)
{
    Change *change = data;
    if (change->free_data != NULL)
        change->free_data(change->data);
    g_clear_error(&change->error);
    g_free(change);
}

/* ---- the thread ---- */

static void
run_one(sqlite3 *db, Change *change)
{
    sqlite3_exec(db, "SAVEPOINT one", NULL, NULL, NULL);
    if (!change->run(db, change->data, &change->error))
        sqlite3_exec(db, "ROLLBACK TO one", NULL, NULL, NULL);
    sqlite3_exec(db, "RELEASE one", NULL, NULL, NULL);
}

/* The log of changes grows to megabytes before SQLite begins it anew: on a disk that is full this is room. */
static void
shrink_log(sqlite3 *db)
{
    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}

/* All in one transaction. When that fails (the disk is full), every change has failed. */
static void
run_all(sqlite3 *db, GQueue *changes)
{
    g_autoptr(GError) error = NULL;
    bool is_full = false;
    bool ok = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    for (GList *link = changes->head; ok && link != NULL; link = link->next) {
        Change *change = link->data;
        run_one(db, change);
        ok = sqlite3_get_autocommit(db) == 0; /* SQLite takes everything back on serious errors */
        if (!ok)
            error = g_error_copy(change->error);
    }
    ok = ok && sqlite3_exec(db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (ok)
        return;
    is_full = (sqlite3_errcode(db) & 0xff) == SQLITE_FULL;
    if (error == NULL)
        rv_sql_error(db, &error);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    if (is_full)
        shrink_log(db);
    for (GList *link = changes->head; link != NULL; link = link->next) {
        Change *change = link->data;
        if (change->error == NULL)
            change->error = g_error_copy(error);
    }
}

static gboolean
deliver(gpointer data)
{
    RvStore *store = data;
    GQueue finished;
    g_mutex_lock(&store->mutex);
    finished = store->finished;
    g_queue_init(&store->finished);
    g_clear_pointer(&store->delivery, g_source_unref);
    g_mutex_unlock(&store->mutex);
    for (Change *change; (change = g_queue_pop_head(&finished)) != NULL;) {
        if (change->done != NULL)
            change->done(change->error, change->user_data);
        change_free(change);
    }
    return G_SOURCE_REMOVE;
}

/* With the mutex locked. */
static void
queue_delivery(RvStore *store, GQueue *changes)
{
    while (!g_queue_is_empty(changes))
        g_queue_push_tail(&store->finished, g_queue_pop_head(changes));
    if (store->delivery != NULL || store->is_closing)
        return;
    store->delivery = g_idle_source_new();
    g_source_set_priority(store->delivery, G_PRIORITY_DEFAULT);
    g_source_set_callback(store->delivery, deliver, store, NULL);
    g_source_attach(store->delivery, store->context);
}

static gpointer
run_thread(gpointer data)
{
    RvStore *store = data;
    g_mutex_lock(&store->mutex);
    while (!store->is_closing || !g_queue_is_empty(&store->waiting)) {
        GQueue batch = G_QUEUE_INIT;
        while (!g_queue_is_empty(&store->waiting) && batch.length < MOST_AT_ONCE)
            g_queue_push_tail(&batch, g_queue_pop_head(&store->waiting));
        store->is_busy = batch.length > 0;
        if (!store->is_busy) {
            g_cond_broadcast(&store->changed);
            g_cond_wait(&store->changed, &store->mutex);
            continue;
        }
        g_mutex_unlock(&store->mutex);
        run_all(store->writer, &batch);
        g_mutex_lock(&store->mutex);
        queue_delivery(store, &batch);
    }
    store->is_busy = false;
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
    return NULL;
}

void
rv_store_change(RvStore *store, RvStoreRun run, gpointer data, GDestroyNotify free_data, RvStoreDone done,
                void *user_data)
{
    Change *change = g_new0(Change, 1);
    *change = (Change) { run, data, free_data, done, user_data, NULL };
    g_mutex_lock(&store->mutex);
    g_queue_push_tail(&store->waiting, change);
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
}

void
rv_store_flush(RvStore *store)
{
    g_mutex_lock(&store->mutex);
    while (store->is_busy || !g_queue_is_empty(&store->waiting))
        g_cond_wait(&store->changed, &store->mutex);
    g_mutex_unlock(&store->mutex);
}

/* ---- opening ---- */

/* Two servers on one folder would both run its jobs. */
static bool
take_lock(RvStore *store, GError **error)
{
    g_autofree char *path = g_strconcat(store->path, ".lock", NULL);
    store->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->lock < 0)
        return rv_error_set(error, RV_ERROR_IO, path, "choose another folder with --data", "cannot write: %s",
                            g_strerror(errno));
    if (flock(store->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    return rv_error_set(error, RV_ERROR_BUSY, store->path, "stop it, or choose another folder with --data",
                        "another server uses this database");
}

static bool
open_writer(RvStore *store, GError **error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(store->path, &store->writer, flags, NULL) != SQLITE_OK)
        return rv_error_set(error, RV_ERROR_IO, store->path, "choose another folder with --data",
                            "cannot open the database: %s", sqlite3_errmsg(store->writer));
    sqlite3_busy_timeout(store->writer, BUSY_MS);
    if (sqlite3_exec(store->writer, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", NULL, NULL,
                     NULL) != SQLITE_OK)
        return rv_sql_error(store->writer, error);
    return rv_store_migrate(store->writer, store->path, error);
}

static bool
open_reader(RvStore *store, GError **error)
{
    int flags = SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    if (sqlite3_open_v2(store->path, &store->reader, flags, NULL) != SQLITE_OK)
        return rv_sql_error(store->reader, error);
    sqlite3_busy_timeout(store->reader, BUSY_MS);
    return true;
}

RvStore *
rv_store_open(const char *path, GError **error)
{
    g_autoptr(RvStore) store = g_new0(RvStore, 1);
    g_mutex_init(&store->mutex);
    g_cond_init(&store->changed);
    g_queue_init(&store->waiting);
    g_queue_init(&store->finished);
    store->path = g_canonicalize_filename(path, NULL);
    store->context = g_main_context_ref_thread_default();
    store->documents = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (!take_lock(store, error) || !open_writer(store, error) || !open_reader(store, error))
        return NULL;
    store->thread = g_thread_new("store", run_thread, store);
    return g_steal_pointer(&store);
}

void
rv_store_close(RvStore *store)
{
    if (store == NULL)
        return;
    g_mutex_lock(&store->mutex);
    store->is_closing = true;
    g_cond_broadcast(&store->changed);
    g_mutex_unlock(&store->mutex);
    if (store->thread != NULL)
        g_thread_join(store->thread);
    if (store->delivery != NULL) {
        g_source_destroy(store->delivery);
        g_source_unref(store->delivery);
    }
    g_queue_clear_full(&store->finished, change_free);
    sqlite3_close(store->reader);
    sqlite3_close(store->writer);
    if (store->lock >= 0)
        close(store->lock);
    g_main_context_unref(store->context);
    g_hash_table_unref(store->documents);
    g_mutex_clear(&store->mutex);
    g_cond_clear(&store->changed);
    g_free(store->path);
    g_free(store);
}
