/* store_documents.c - users' documents, and hashes of models. */
#include "store/store_internal.h"

typedef struct {
    char *user, *name, *json;
} Document;

static void
document_free(gpointer data)
{
    Document *document = data;
    g_free(document->user);
    g_free(document->name);
    g_free(document->json);
    g_free(document);
}

static bool
run_document(sqlite3 *db, gpointer data, GError **error)
{
    const Document *d = data;
    if (d->json == NULL)
        return rv_sql_run(db, error, "DELETE FROM documents WHERE user = ? AND name = ?", "ss", d->user,
                          d->name);
    return rv_sql_run(db, error, "INSERT OR REPLACE INTO documents (user, name, json) VALUES (?, ?, ?)",
                      "sss", d->user, d->name, d->json);
}

static char *
document_key(const char *user, const char *name)
{
    return g_strconcat(name, "\n", user, NULL);
}

char *
rv_store_get_document(RvStore *store, const char *user, const char *name)
{
    g_autofree char *key = document_key(user, name);
    gpointer kept;
    if (g_hash_table_lookup_extended(store->documents, key, NULL, &kept))
        return g_strdup(kept);
    sqlite3_stmt *row = rv_sql_prepare(
        store->reader, NULL, "SELECT json FROM documents WHERE user = ? AND name = ?", "ss", user, name);
    char *json = NULL;
    while (rv_sql_next(&row)) {
        g_free(json);
        json = rv_sql_text(row, 0);
    }
    return json;
}

/* Once it is on disk it need not be remembered any more, unless a newer one is on its way. */
void
rv_store_set_document(RvStore *store, const char *user, const char *name, const char *json, RvStoreDone done,
                      void *user_data)
{
    Document *document = g_new(Document, 1);
    *document = (Document) { g_strdup(user), g_strdup(name), g_strdup(json) };
    g_hash_table_replace(store->documents, document_key(user, name), g_strdup(json));
    rv_store_change(store, run_document, document, document_free, done, user_data);
}

/* ---- hashes ---- */

typedef struct {
    char *path, *sha256;
    gint64 bytes, modified;
} Hash;

static void
hash_free(gpointer data)
{
    Hash *hash = data;
    g_free(hash->path);
    g_free(hash->sha256);
    g_free(hash);
}

static bool
run_hash(sqlite3 *db, gpointer data, GError **error)
{
    const Hash *h = data;
    return rv_sql_run(db, error,
                      "INSERT OR REPLACE INTO hashes (path, bytes, modified, sha256) VALUES (?, ?, ?, ?)",
                      "siis", h->path, h->bytes, h->modified, h->sha256);
}

char *
rv_store_get_hash(RvStore *store, const char *path, gint64 bytes, gint64 modified)
{
    sqlite3_stmt *row = rv_sql_prepare(
        store->reader, NULL, "SELECT sha256 FROM hashes WHERE path = ? AND bytes = ? AND modified = ?", "sii",
        path, bytes, modified);
    char *sha256 = NULL;
    while (rv_sql_next(&row)) {
        g_free(sha256);
        sha256 = rv_sql_text(row, 0);
    }
    return sha256;
}

void
rv_store_set_hash(RvStore *store, const char *path, gint64 bytes, gint64 modified, const char *sha256)
{
    Hash *hash = g_new(Hash, 1);
    *hash = (Hash) { g_strdup(path), g_strdup(sha256), bytes, modified };
    rv_store_change(store, run_hash, hash, hash_free, NULL, NULL);
}
