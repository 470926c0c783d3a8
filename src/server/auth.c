#include "server/auth.h"

#include <string.h>

#define MINUTE_US (60 * G_USEC_PER_SEC)
#define MAX_ADDRESSES 1024
#define COOKIE "reverie"

typedef struct {
    gint64 since_us;
    int failures;
} Record;

struct RvAuth {
    char *token;
    GHashTable *users;   /* name -> password; NULL without */
    GHashTable *records; /* address -> Record */
    guint64 failures;
};

static bool
add_user(RvAuth *auth, const char *path, guint number, char *line, GError **error)
{
    g_strstrip(line);
    if (*line == '\0' || *line == '#')
        return true;
    char *colon = strchr(line, ':');
    if (colon == NULL || colon == line || colon[1] == '\0' || !g_utf8_validate(line, -1, NULL)) {
        g_autofree char *where = g_strdup_printf("%s:%u", path, number);
        return rv_error_set(error, RV_ERROR_INVALID, where, "write name:password", "this line is no user");
    }
    *colon = '\0';
    g_hash_table_replace(auth->users, g_strdup(line), g_strdup(colon + 1));
    return true;
}

static bool
load_users(RvAuth *auth, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) wrong = NULL;
    if (!g_file_get_contents(path, &text, NULL, &wrong))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check --users", "cannot read the users: %s",
                            wrong->message);
    auth->users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++)
        if (!add_user(auth, path, i + 1, lines[i], error))
            return false;
    return g_hash_table_size(auth->users) > 0 ||
           rv_error_set(error, RV_ERROR_INVALID, path, "write lines name:password",
                        "there are no users in it");
}

RvAuth *
rv_auth_new(const char *token, const char *users_path, GError **error)
{
    g_autoptr(RvAuth) auth = g_new0(RvAuth, 1);
    auth->token = g_strdup(token);
    auth->records = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (users_path != NULL && !load_users(auth, users_path, error))
        return NULL;
    return g_steal_pointer(&auth);
}

void
rv_auth_free(RvAuth *auth)
{
    if (auth == NULL)
        return;
    g_free(auth->token);
    g_clear_pointer(&auth->users, g_hash_table_unref);
    g_clear_pointer(&auth->records, g_hash_table_unref);
    g_free(auth);
}

bool
rv_auth_is_open(const RvAuth *auth)
{
    return auth->token == NULL && auth->users == NULL;
}

guint64
rv_auth_failures(const RvAuth *auth)
{
    return auth->failures;
}

/* Compares digests, so that neither content nor length shows in the time. */
bool
rv_equal_in_constant_time(const char *a, const char *b)
{
    g_autofree char *x = g_compute_checksum_for_string(G_CHECKSUM_SHA256, a, -1);
    g_autofree char *y = g_compute_checksum_for_string(G_CHECKSUM_SHA256, b, -1);
    volatile guchar difference = 0;
    for (gsize i = 0; x[i] != '\0'; i++)
        difference |= (guchar)(x[i] ^ y[i]);
    return difference == 0;
}

/* "HEXNAME.HMAC": the name is empty for the token. */
static char *
cookie_value(const char *name, const char *secret)
{
    g_autoptr(GString) hex = g_string_new(NULL);
    for (const char *c = name; *c != '\0'; c++)
        g_string_append_printf(hex, "%02x", (guchar)*c);
    g_autofree char *text = g_strconcat("reverie session 1 ", hex->str, NULL);
    g_autofree char *hmac =
        g_compute_hmac_for_string(G_CHECKSUM_SHA256, (const guchar *)secret, strlen(secret), text, -1);
    return g_strconcat(hex->str, ".", hmac, NULL);
}

static bool
cookie_is_good(const RvAuth *auth, const char *cookies, char **user)
{
    g_auto(GStrv) parts = g_strsplit(cookies, ";", 64);
    for (char **part = parts; *part != NULL; part++) {
        const char *given = g_strstrip(*part);
        if (!g_str_has_prefix(given, COOKIE "="))
            continue;
        given += strlen(COOKIE "=");
        if (auth->token != NULL) {
            g_autofree char *good = cookie_value("", auth->token);
            if (rv_equal_in_constant_time(given, good)) {
                *user = g_strdup("");
                return true;
            }
        }
        if (auth->users == NULL)
            continue;
        GHashTableIter iter;
        gpointer name, password;
        g_hash_table_iter_init(&iter, auth->users);
        while (g_hash_table_iter_next(&iter, &name, &password)) {
            g_autofree char *good = cookie_value(name, password);
            if (rv_equal_in_constant_time(given, good)) {
                *user = g_strdup(name);
                return true;
            }
        }
    }
    return false;
}

static bool
token_is_good(const RvAuth *auth, const char *given, char **cookie, char **user)
{
    if (auth->token == NULL || !rv_equal_in_constant_time(given, auth->token))
        return false;
    *cookie = cookie_value("", auth->token);
    *user = g_strdup("");
    return true;
}

static bool
basic_is_good(const RvAuth *auth, const char *encoded, char **cookie, char **user)
{
    gsize size;
    g_autofree guchar *decoded = g_base64_decode(encoded, &size);
    g_autofree char *text = g_strndup((const char *)decoded, size);
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    const char *password = auth->users != NULL ? g_hash_table_lookup(auth->users, text) : NULL;
    bool is_known = password != NULL;
    /* Unknown names cost as much time as known ones. */
    if (rv_equal_in_constant_time(colon + 1, is_known ? password : "no such user") && is_known) {
        *cookie = cookie_value(text, password);
        *user = g_strdup(text);
        return true;
    }
    return token_is_good(auth, colon + 1, cookie, user);
}

/* ---- failures ---- */

static Record *
find_record(RvAuth *auth, const char *address, gint64 now_us)
{
    Record *record = g_hash_table_lookup(auth->records, address);
    if (record != NULL && now_us - record->since_us > MINUTE_US) {
        g_hash_table_remove(auth->records, address);
        return NULL;
    }
    return record;
}

static gboolean
is_old(gpointer key, gpointer value, gpointer now)
{
    return *(gint64 *)now - ((Record *)value)->since_us > MINUTE_US;
}

static void
count_failure(RvAuth *auth, const char *address, gint64 now_us)
{
    Record *record = find_record(auth, address, now_us);
    auth->failures++;
    if (record == NULL) {
        if (g_hash_table_size(auth->records) >= MAX_ADDRESSES)
            g_hash_table_foreach_remove(auth->records, is_old, &now_us);
        if (g_hash_table_size(auth->records) >= MAX_ADDRESSES)
            g_hash_table_remove_all(auth->records);
        record = g_new(Record, 1);
        *record = (Record) { now_us, 0 };
        g_hash_table_insert(auth->records, g_strdup(address), record);
    }
    record->failures++;
}

RvAuthVerdict
rv_auth_check(RvAuth *auth, const char *address, const char *authorization, const char *cookies,
              const char *token, gint64 now_us, char **cookie, char **user)
{
    *cookie = *user = NULL;
    if (rv_auth_is_open(auth)) {
        *user = g_strdup("");
        return RV_AUTH_OK;
    }
    if (cookies != NULL && cookie_is_good(auth, cookies, user))
        return RV_AUTH_OK;
    if (authorization == NULL && token == NULL)
        return RV_AUTH_MISSING;
    const Record *record = find_record(auth, address, now_us);
    if (record != NULL && record->failures >= RV_AUTH_MAX_FAILURES)
        return RV_AUTH_LIMITED;
    bool ok = token != NULL && token_is_good(auth, token, cookie, user);
    if (!ok && authorization != NULL && g_ascii_strncasecmp(authorization, "Bearer ", 7) == 0)
        ok = token_is_good(auth, authorization + 7, cookie, user);
    else if (!ok && authorization != NULL && g_ascii_strncasecmp(authorization, "Basic ", 6) == 0)
        ok = basic_is_good(auth, authorization + 6, cookie, user);
    if (!ok)
        count_failure(auth, address, now_us);
    return ok ? RV_AUTH_OK : RV_AUTH_WRONG;
}
