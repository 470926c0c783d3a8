#include "server/auth.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "server/log.h"
#include "server/password.h"

#define LOOK_US G_USEC_PER_SEC /* between looks at the file of users */
#define MAX_PROVEN 1024
#define MINUTE_US (60 * G_USEC_PER_SEC)
#define MAX_HASHING_US (2 * G_USEC_PER_SEC)
#define HASHING_SHARE 4 /* a fourth of the time, in the long run */
#define MAX_ADDRESSES 1024
#define COOKIE "reverie"

typedef struct {
    gint64 since_us;
    int failures;
} Record;

typedef struct {
    char *secret; /* a hash, or a password in the clear */
    bool is_admin;
} User;

struct RvAuth {
    char *token, *path;
    GHashTable *users;   /* name -> User; NULL without */
    GHashTable *records; /* address -> Record */
    GHashTable *proven;  /* digests of names and passwords that were right: hashing again would cost time */
    guchar key[32];      /* of these digests and of cookies */
    gint64 changed, looked_us; /* the file: its time, when it was looked at */
    bool is_hashed_out;        /* the last password was not looked at */
    gint64 hashing_us;         /* processor's time spent on hashes and not yet forgiven ... */
    gint64 hashed_us;          /* ... when that was so */
    guint64 failures;
};

static void
user_free(gpointer data)
{
    User *user = data;
    g_free(user->secret);
    g_free(user);
}

/* ---- the file ---- */

bool
rv_auth_name_is_plain(const char *name)
{
    gsize length = strlen(name);
    for (const char *c = name; *c != '\0'; c++)
        if (!g_ascii_isalnum(*c) && strchr("._@-", *c) == NULL)
            return false;
    return length > 0 && length <= 64 && *name != '.';
}

bool
rv_auth_parse_line(const char *text, char **name, char **secret, bool *is_admin)
{
    g_autofree char *line = g_strstrip(g_strdup(text));
    *name = *secret = NULL;
    *is_admin = false;
    if (*line == '\0' || *line == '#')
        return true;
    char *colon = strchr(line, ':');
    if (colon == NULL || colon == line || colon[1] == '\0' || !g_utf8_validate(line, -1, NULL))
        return false;
    *colon++ = '\0';
    char *mark = rv_password_is_hash(colon) ? strchr(colon, ':') : NULL; /* hashes have no colon */
    if (mark != NULL) {
        *mark = '\0';
        *is_admin = strcmp(mark + 1, "admin") == 0;
        if (!*is_admin)
            return false;
    }
    *name = g_strdup(line);
    *secret = g_strdup(colon);
    return true;
}

static GHashTable *
load_users(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) wrong = NULL;
    if (!g_file_get_contents(path, &text, NULL, &wrong)) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check --users", "cannot read the users: %s",
                     wrong->message);
        return NULL;
    }
    g_autoptr(GHashTable) users = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, user_free);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        char *name, *secret;
        bool is_admin;
        if (!rv_auth_parse_line(lines[i], &name, &secret, &is_admin)) {
            g_autofree char *where = g_strdup_printf("%s:%u", path, i + 1);
            rv_error_set(error, RV_ERROR_INVALID, where, "see reverie users --help", "this line is no user");
            return NULL;
        }
        if (name == NULL)
            continue;
        User *user = g_new(User, 1);
        *user = (User) { secret, is_admin };
        g_hash_table_replace(users, name, user);
    }
    if (g_hash_table_size(users) > 0)
        return g_steal_pointer(&users);
    rv_error_set(error, RV_ERROR_INVALID, path, "add some with reverie users add",
                 "there are no users in it");
    return NULL;
}

/* 0 for what is no file: reading it again might wait for ever. */
static gint64
time_of(const char *path)
{
    GStatBuf info;
    return g_stat(path, &info) == 0 && S_ISREG(info.st_mode)
               ? (gint64)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec
               : 0;
}

/* A file that has become unreadable changes nothing, but is spoken of once. */
static void
reload_if_changed(RvAuth *auth, gint64 now_us)
{
    if (auth->path == NULL || now_us - auth->looked_us < LOOK_US)
        return;
    auth->looked_us = now_us;
    gint64 changed = time_of(auth->path);
    if (changed == 0 || changed == auth->changed)
        return;
    g_autoptr(GError) error = NULL;
    GHashTable *users = load_users(auth->path, &error);
    auth->changed = changed;
    if (users == NULL) {
        rv_log(RV_LOG_WARNING, "users-not-changed", "error", error->message, NULL);
        return;
    }
    g_hash_table_unref(auth->users);
    auth->users = users;
    g_hash_table_remove_all(auth->proven);
}

RvAuth *
rv_auth_new(const char *token, const char *users_path, GError **error)
{
    g_autoptr(RvAuth) auth = g_new0(RvAuth, 1);
    auth->token = g_strdup(token);
    auth->path = g_strdup(users_path);
    auth->records = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    auth->proven = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (getrandom(auth->key, sizeof auth->key, 0) != sizeof auth->key) {
        rv_error_set(error, RV_ERROR_FAILED, "getrandom", "use a newer kernel",
                     "there are no random numbers");
        return NULL;
    }
    if (users_path == NULL)
        return g_steal_pointer(&auth);
    auth->changed = time_of(users_path);
    auth->users = load_users(users_path, error);
    if (auth->users == NULL)
        return NULL;
    GHashTableIter iter;
    gpointer name, user;
    g_hash_table_iter_init(&iter, auth->users);
    while (g_hash_table_iter_next(&iter, &name, &user))
        if (!rv_password_is_hash(((const User *)user)->secret))
            rv_log(RV_LOG_WARNING, "password-in-the-clear", "user", name, NULL);
    return g_steal_pointer(&auth);
}

void
rv_auth_keep_key(RvAuth *auth, const char *path)
{
    g_autofree char *kept = NULL;
    gsize size = 0;
    if (g_file_get_contents(path, &kept, &size, NULL) && size == sizeof auth->key)
        memcpy(auth->key, kept, size);
    else if (!g_file_set_contents_full(path, (const char *)auth->key, sizeof auth->key,
                                       G_FILE_SET_CONTENTS_CONSISTENT, 0600, NULL))
        rv_log(RV_LOG_WARNING, "sessions-end-with-the-process", "path", path, NULL);
}

void
rv_auth_free(RvAuth *auth)
{
    if (auth == NULL)
        return;
    g_free(auth->token);
    g_free(auth->path);
    g_clear_pointer(&auth->proven, g_hash_table_unref);
    g_clear_pointer(&auth->users, g_hash_table_unref);
    g_clear_pointer(&auth->records, g_hash_table_unref);
    g_free(auth);
}

bool
rv_auth_is_open(const RvAuth *auth)
{
    return auth->token == NULL && auth->users == NULL;
}

bool
rv_auth_is_admin(const RvAuth *auth, const char *user)
{
    const User *found = auth->users != NULL ? g_hash_table_lookup(auth->users, user) : NULL;
    return *user == '\0' || (found != NULL && found->is_admin);
}

char **
rv_auth_users(const RvAuth *auth)
{
    g_autoptr(GStrvBuilder) names = g_strv_builder_new();
    GHashTableIter iter;
    gpointer name;
    if (auth->users != NULL)
        g_hash_table_iter_init(&iter, auth->users);
    while (auth->users != NULL && g_hash_table_iter_next(&iter, &name, NULL))
        g_strv_builder_add(names, name);
    return g_strv_builder_end(names);
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
cookie_value(const RvAuth *auth, const char *name, const char *secret)
{
    g_autoptr(GString) hex = g_string_new(NULL);
    for (const char *c = name; *c != '\0'; c++)
        g_string_append_printf(hex, "%02x", (guchar)*c);
    g_autofree char *text = g_strconcat("reverie session 2 ", hex->str, " ", secret, NULL);
    g_autofree char *hmac =
        g_compute_hmac_for_string(G_CHECKSUM_SHA256, auth->key, sizeof auth->key, text, -1);
    return g_strconcat(hex->str, ".", hmac, NULL);
}

/* The value of a session. */
static bool
session_is_good(const RvAuth *auth, const char *given, char **user)
{
    if (auth->token != NULL) {
        g_autofree char *good = cookie_value(auth, "", auth->token);
        if (rv_equal_in_constant_time(given, good)) {
            *user = g_strdup("");
            return true;
        }
    }
    if (auth->users == NULL)
        return false;
    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init(&iter, auth->users);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        g_autofree char *good = cookie_value(auth, name, ((const User *)value)->secret);
        if (rv_equal_in_constant_time(given, good)) {
            *user = g_strdup(name);
            return true;
        }
    }
    return false;
}

static bool
cookie_is_good(const RvAuth *auth, const char *cookies, char **user)
{
    g_auto(GStrv) parts = g_strsplit(cookies, ";", 64);
    for (char **part = parts; *part != NULL; part++) {
        const char *given = g_strstrip(*part);
        if (!g_str_has_prefix(given, COOKIE "="))
            continue;
        if (session_is_good(auth, given + strlen(COOKIE "="), user))
            return true;
    }
    return false;
}

static bool
token_is_good(const RvAuth *auth, const char *given, char **cookie, char **user)
{
    if (auth->token == NULL || !rv_equal_in_constant_time(given, auth->token))
        return false;
    *cookie = cookie_value(auth, "", auth->token);
    *user = g_strdup("");
    return true;
}

/* ---- hashes ---- */

static gint64
processor_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (gint64)now.tv_sec * G_USEC_PER_SEC + now.tv_nsec / 1000;
}

/* Hashes cost time of the loop on purpose. Whoever guesses from very many addresses gets a part of it only.
 */
static bool
may_hash(RvAuth *auth, gint64 now_us)
{
    gint64 forgiven_us = (now_us - auth->hashed_us) / HASHING_SHARE;
    auth->hashing_us = MAX(auth->hashing_us - forgiven_us, 0);
    auth->hashed_us = now_us;
    return auth->hashing_us < MAX_HASHING_US;
}

static bool
verify(RvAuth *auth, const char *secret, const char *password)
{
    gint64 begin_us = processor_us();
    bool ok = rv_password_verify(secret, password);
    auth->hashing_us += processor_us() - begin_us;
    return ok;
}

/* Right before, or by its hash now. */
static bool
password_is_good(RvAuth *auth, const char *name, const char *password, const char *secret, gint64 now_us)
{
    g_autofree char *text = g_strconcat(name, "\n", password, NULL);
    g_autofree char *digest =
        g_compute_hmac_for_string(G_CHECKSUM_SHA256, auth->key, sizeof auth->key, text, -1);
    if (g_hash_table_contains(auth->proven, digest))
        return true;
    auth->is_hashed_out = !may_hash(auth, now_us);
    if (auth->is_hashed_out || !verify(auth, secret, password))
        return false;
    if (g_hash_table_size(auth->proven) >= MAX_PROVEN)
        g_hash_table_remove_all(auth->proven);
    g_hash_table_add(auth->proven, g_steal_pointer(&digest));
    return true;
}

static bool
name_is_good(RvAuth *auth, const char *name, const char *password, gint64 now_us, char **cookie, char **user)
{
    const User *found = auth->users != NULL ? g_hash_table_lookup(auth->users, name) : NULL;
    /* Unknown names cost as much time as known ones. */
    const char *secret = found != NULL ? found->secret : rv_password_none();
    bool is_good = auth->users != NULL && password_is_good(auth, name, password, secret, now_us);
    if (found != NULL && is_good) {
        *cookie = cookie_value(auth, name, found->secret);
        *user = g_strdup(name);
        return true;
    }
    return token_is_good(auth, password, cookie, user);
}

static bool
basic_is_good(RvAuth *auth, const char *encoded, gint64 now_us, char **cookie, char **user)
{
    gsize size;
    g_autofree guchar *decoded = g_base64_decode(encoded, &size);
    g_autofree char *text = g_strndup((const char *)decoded, size);
    char *colon = strchr(text, ':');
    if (colon == NULL)
        return false;
    *colon = '\0';
    return name_is_good(auth, text, colon + 1, now_us, cookie, user);
}

/* ---- failures ---- */

/* Whoever has one IPv6 address usually has the 2^64 with the same beginning. */
static char *
group_of(const char *address)
{
    g_autoptr(GInetAddress) parsed = g_inet_address_new_from_string(address);
    if (parsed == NULL || g_inet_address_get_family(parsed) != G_SOCKET_FAMILY_IPV6)
        return g_strdup(address);
    static const guint8 mapped[12] = { [10] = 0xff, [11] = 0xff };
    const guint8 *bytes = g_inet_address_to_bytes(parsed);
    if (memcmp(bytes, mapped, sizeof mapped) == 0)
        return g_strdup_printf("%u.%u.%u.%u", bytes[12], bytes[13], bytes[14], bytes[15]);
    return g_strdup_printf("%02x%02x:%02x%02x:%02x%02x:%02x%02x::", bytes[0], bytes[1], bytes[2], bytes[3],
                           bytes[4], bytes[5], bytes[6], bytes[7]);
}

static Record *
find_record(RvAuth *auth, const char *group, gint64 now_us)
{
    Record *record = g_hash_table_lookup(auth->records, group);
    if (record != NULL && now_us - record->since_us > MINUTE_US) {
        g_hash_table_remove(auth->records, group);
        return NULL;
    }
    return record;
}

static bool
is_limited(RvAuth *auth, const char *address, gint64 now_us)
{
    g_autofree char *group = group_of(address);
    const Record *record = find_record(auth, group, now_us);
    return record != NULL && record->failures >= RV_AUTH_MAX_FAILURES;
}

static gboolean
is_old(gpointer key, gpointer value, gpointer now)
{
    return *(gint64 *)now - ((Record *)value)->since_us > MINUTE_US;
}

/* The log is told of each, but of nothing that is refused unread. */
static void
count_failure(RvAuth *auth, const char *address, gint64 now_us)
{
    g_autofree char *group = group_of(address);
    Record *record = find_record(auth, group, now_us);
    auth->failures++;
    if (record == NULL) {
        if (g_hash_table_size(auth->records) >= MAX_ADDRESSES)
            g_hash_table_foreach_remove(auth->records, is_old, &now_us);
        if (g_hash_table_size(auth->records) >= MAX_ADDRESSES)
            g_hash_table_remove_all(auth->records);
        record = g_new(Record, 1);
        *record = (Record) { now_us, 0 };
        g_hash_table_insert(auth->records, g_steal_pointer(&group), record);
    }
    record->failures++;
    rv_log(RV_LOG_WARNING, "login-failed", "address", address, "limited",
           record->failures >= RV_AUTH_MAX_FAILURES ? "yes" : "no", NULL);
}

static RvAuthVerdict
judge(RvAuth *auth, bool ok, const char *address, gint64 now_us)
{
    if (!ok && auth->is_hashed_out)
        return RV_AUTH_LIMITED;
    if (!ok)
        count_failure(auth, address, now_us);
    return ok ? RV_AUTH_OK : RV_AUTH_WRONG;
}

RvAuthVerdict
rv_auth_check(RvAuth *auth, const char *address, const char *authorization, const char *cookies,
              const char *token, gint64 now_us, char **cookie, char **user)
{
    *cookie = *user = NULL;
    reload_if_changed(auth, now_us);
    if (rv_auth_is_open(auth)) {
        *user = g_strdup("");
        return RV_AUTH_OK;
    }
    if (cookies != NULL && cookie_is_good(auth, cookies, user))
        return RV_AUTH_OK;
    if (authorization == NULL && token == NULL)
        return RV_AUTH_MISSING;
    auth->is_hashed_out = false;
    if (is_limited(auth, address, now_us))
        return RV_AUTH_LIMITED;
    bool ok = token != NULL && token_is_good(auth, token, cookie, user);
    if (!ok && authorization != NULL && g_ascii_strncasecmp(authorization, "Bearer ", 7) == 0)
        ok = token_is_good(auth, authorization + 7, cookie, user) ||
             session_is_good(auth, authorization + 7, user);
    else if (!ok && authorization != NULL && g_ascii_strncasecmp(authorization, "Basic ", 6) == 0)
        ok = basic_is_good(auth, authorization + 6, now_us, cookie, user);
    return judge(auth, ok, address, now_us);
}

RvAuthVerdict
rv_auth_log_in(RvAuth *auth, const char *address, const char *name, const char *password, gint64 now_us,
               char **cookie, char **user)
{
    *cookie = *user = NULL;
    reload_if_changed(auth, now_us);
    auth->is_hashed_out = false;
    if (is_limited(auth, address, now_us))
        return RV_AUTH_LIMITED;
    bool ok = name != NULL ? name_is_good(auth, name, password, now_us, cookie, user)
                           : token_is_good(auth, password, cookie, user);
    return judge(auth, ok, address, now_us);
}
