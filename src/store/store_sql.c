/* store_sql.c - a little comfort over SQLite's statements. */
#include <string.h>

#include "store/store_internal.h"

bool
rv_sql_error(sqlite3 *db, GError **error)
{
    int code = sqlite3_errcode(db);
    const char *file = sqlite3_db_filename(db, "main");
    if ((code & 0xff) == SQLITE_FULL)
        return rv_error_set(error, RV_ERROR_IO, file, "make room", "the disk is full");
    if ((code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB)
        return rv_error_set(error, RV_ERROR_INVALID, file, "restore a copy, or move it away to begin anew",
                            "the database is damaged: %s", sqlite3_errmsg(db));
    return rv_error_set(error, RV_ERROR_IO, file, "check the disk", "the database cannot be used: %s",
                        sqlite3_errmsg(db));
}

static void
bind_values(sqlite3_stmt *statement, const char *kinds, va_list values)
{
    for (int i = 0; kinds[i] != '\0'; i++) {
        if (kinds[i] == 'i')
            sqlite3_bind_int64(statement, i + 1, va_arg(values, gint64));
        else if (kinds[i] == 'd')
            sqlite3_bind_double(statement, i + 1, va_arg(values, double));
        else
            sqlite3_bind_text(statement, i + 1, va_arg(values, const char *), -1, SQLITE_TRANSIENT);
    }
}

static sqlite3_stmt *
prepare(sqlite3 *db, GError **error, const char *sql, const char *kinds, va_list values)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) {
        rv_sql_error(db, error);
        return NULL;
    }
    bind_values(statement, kinds, values);
    return statement;
}

sqlite3_stmt *
rv_sql_prepare(sqlite3 *db, GError **error, const char *sql, const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    sqlite3_stmt *statement = prepare(db, error, sql, kinds, values);
    va_end(values);
    return statement;
}

bool
rv_sql_run(sqlite3 *db, GError **error, const char *sql, const char *kinds, ...)
{
    va_list values;
    va_start(values, kinds);
    sqlite3_stmt *statement = prepare(db, error, sql, kinds, values);
    va_end(values);
    if (statement == NULL)
        return false;
    bool ok = sqlite3_step(statement) == SQLITE_DONE;
    if (!ok)
        rv_sql_error(db, error);
    sqlite3_finalize(statement);
    return ok;
}

bool
rv_sql_next(sqlite3_stmt **statement)
{
    if (*statement != NULL && sqlite3_step(*statement) == SQLITE_ROW)
        return true;
    sqlite3_finalize(*statement);
    *statement = NULL;
    return false;
}

char *
rv_sql_text(sqlite3_stmt *statement, int column)
{
    return g_strdup((const char *)sqlite3_column_text(statement, column));
}
