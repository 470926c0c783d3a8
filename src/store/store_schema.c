/* store_schema.c - the tables, as steps from one version of the file to the next. A step that was released is
 * never changed: the next version is another step. */
#include "store/store_internal.h"

static const char *const steps[] = {
    /* 1 */
    "CREATE TABLE documents (user TEXT NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL,"
    "  PRIMARY KEY (user, name)) WITHOUT ROWID;"
    "CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, name TEXT, kind TEXT NOT "
    "NULL,"
    "  state TEXT NOT NULL, model TEXT, prompt TEXT NOT NULL, request TEXT NOT NULL, place INTEGER NOT NULL,"
    "  created INTEGER NOT NULL, began INTEGER NOT NULL, ended INTEGER NOT NULL, batches INTEGER NOT NULL,"
    "  batches_done INTEGER NOT NULL, pictures INTEGER NOT NULL, was_interrupted INTEGER NOT NULL,"
    "  error_code INTEGER NOT NULL, error TEXT, info TEXT, notes TEXT, seconds REAL NOT NULL);"
    "CREATE INDEX jobs_live ON jobs (place) WHERE ended = 0;"
    "CREATE INDEX jobs_ended ON jobs (ended) WHERE ended > 0;"
    "CREATE INDEX jobs_user ON jobs (user, id);"
    "CREATE INDEX jobs_name ON jobs (user, name) WHERE name IS NOT NULL;"
    "CREATE TABLE pictures (id INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL, user TEXT NOT NULL,"
    "  part INTEGER NOT NULL, batch INTEGER NOT NULL, number INTEGER NOT NULL, role TEXT NOT NULL,"
    "  path TEXT NOT NULL, infotext TEXT NOT NULL, seed INTEGER NOT NULL, subseed INTEGER NOT NULL,"
    "  width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL,"
    "  in_gallery INTEGER NOT NULL, favourite INTEGER NOT NULL, trashed INTEGER NOT NULL);"
    "CREATE INDEX pictures_job ON pictures (job, id);"
    "CREATE INDEX pictures_path ON pictures (path);"
    "CREATE INDEX pictures_gallery ON pictures (user, trashed, id) WHERE in_gallery;"
    "CREATE INDEX pictures_trash ON pictures (trashed) WHERE trashed > 0;"
    "CREATE TABLE hashes (path TEXT PRIMARY KEY, bytes INTEGER NOT NULL, modified INTEGER NOT NULL,"
    "  sha256 TEXT NOT NULL) WITHOUT ROWID;",
    /* 2 */
    "ALTER TABLE jobs ADD COLUMN due TEXT; CREATE INDEX jobs_due ON jobs (id) WHERE due IS NOT NULL;",
};

static bool
run_step(sqlite3 *db, int version, GError **error)
{
    g_autofree char *sql =
        g_strdup_printf("BEGIN IMMEDIATE; %s PRAGMA user_version = %d; COMMIT;", steps[version], version + 1);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    rv_sql_error(db, error);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

bool
rv_store_migrate(sqlite3 *db, const char *path, GError **error)
{
    sqlite3_stmt *statement = rv_sql_prepare(db, error, "PRAGMA user_version", "");
    if (statement == NULL)
        return false;
    if (sqlite3_step(statement) != SQLITE_ROW) {
        rv_sql_error(db, error);
        sqlite3_finalize(statement);
        return false;
    }
    int version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    if (version > (int)G_N_ELEMENTS(steps))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "use that program, or another --data",
                            "a newer program wrote the database (version %d)", version);
    for (; version < (int)G_N_ELEMENTS(steps); version++)
        if (!run_step(db, version, error))
            return false;
    return true;
}
