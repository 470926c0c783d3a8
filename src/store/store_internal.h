/* store_internal.h - what the files of the store share. */
#pragma once
#include <gio/gio.h>
#include <sqlite3.h>

#include "store/store.h"

/* One change, in the store's thread, within a savepoint: a failure takes back what it did. */
typedef bool (*RvStoreRun)(sqlite3 *db, gpointer data, GError **error);

struct RvStore {
    char *path;
    int lock; /* file that only one process may hold */
    sqlite3 *writer, *reader;
    GMainContext *context;
    GThread *thread;
    GHashTable *documents; /* "user\nname" -> JSON, as last asked for; main loop */
    GMutex mutex;          /* what follows */
    GCond changed;
    GQueue waiting, finished; /* of changes */
    GSource *delivery;        /* NULL: none is due */
    bool is_busy, is_closing;
};

/* Queues a change; takes `data`, which `free_data` frees on the main loop. */
void rv_store_change(RvStore *store, RvStoreRun run, gpointer data, GDestroyNotify free_data,
                     RvStoreDone done, void *user_data);

bool rv_sql_error(sqlite3 *db, GError **error); /* the last one; always false */
/* A statement with its values: one letter each in `kinds`: i gint64, d double, s text or NULL. */
sqlite3_stmt *rv_sql_prepare(sqlite3 *db, GError **error, const char *sql, const char *kinds, ...);
/* Runs a statement without rows. */
bool rv_sql_run(sqlite3 *db, GError **error, const char *sql, const char *kinds, ...);
/* Steps to the next row; finalises at the end and on failure. */
bool rv_sql_next(sqlite3_stmt **statement);
char *rv_sql_text(sqlite3_stmt *statement, int column); /* a copy; NULL for NULL */

/* store_schema.c: brings the file up to this program's version. */
bool rv_store_migrate(sqlite3 *db, const char *path, GError **error);
