#include "backends/cuda/tuning.h"

#include <string.h>

#define GROUP "choices 2" /* timed as graphs */

struct CudaTuning {
    char *path;          /* NULL: kept for the process only */
    GHashTable *choices; /* key -> GBytes */
    bool is_changed;
};

/* The choices are written as one key file: text, so that a person can read and delete a line. Keys are shapes
 * written as text; what a key file does not allow in a name is replaced. */
static char *
plain_name(const char *key)
{
    char *name = g_strdup(key);
    for (char *c = name; *c != '\0'; c++)
        if (!g_ascii_isalnum(*c))
            *c = '-';
    return name;
}

static GBytes *
bytes_from_hex(const char *hex)
{
    gsize length = strlen(hex);
    if (length % 2 != 0)
        return NULL;
    g_autofree guint8 *data = g_malloc0(length / 2 + 1);
    for (gsize i = 0; i < length; i++) {
        int digit = g_ascii_xdigit_value(hex[i]);
        if (digit < 0)
            return NULL;
        data[i / 2] = (guint8)(data[i / 2] * 16 + digit);
    }
    return g_bytes_new(data, length / 2);
}

/* What the file has and the table has not: choices of other handles and processes. */
static void
load(CudaTuning *tuning)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    if (!g_key_file_load_from_file(file, tuning->path, G_KEY_FILE_NONE, NULL))
        return;
    g_auto(GStrv) keys = g_key_file_get_keys(file, GROUP, NULL, NULL);
    for (gsize i = 0; keys != NULL && keys[i] != NULL; i++) {
        if (g_hash_table_contains(tuning->choices, keys[i]))
            continue;
        g_autofree char *hex = g_key_file_get_value(file, GROUP, keys[i], NULL);
        GBytes *bytes = hex != NULL ? bytes_from_hex(hex) : NULL;
        if (bytes != NULL)
            g_hash_table_insert(tuning->choices, g_strdup(keys[i]), bytes);
    }
}

CudaTuning *
cuda_tuning_open(const char *kind, const char *name)
{
    CudaTuning *tuning = g_new0(CudaTuning, 1);
    tuning->choices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    g_autofree char *folder = g_build_filename(g_get_user_cache_dir(), "reverie", kind, NULL);
    if (g_mkdir_with_parents(folder, 0700) != 0)
        return tuning;
    g_autofree char *plain = plain_name(name);
    tuning->path = g_strconcat(folder, "/", plain, ".txt", NULL);
    load(tuning);
    return tuning;
}

static void
write_choices(CudaTuning *tuning)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, tuning->choices);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        gsize size = 0;
        const guint8 *data = g_bytes_get_data(value, &size);
        g_autoptr(GString) hex = g_string_new(NULL);
        for (gsize i = 0; i < size; i++)
            g_string_append_printf(hex, "%02x", data[i]);
        g_key_file_set_value(file, GROUP, key, hex->str);
    }
    g_autoptr(GError) error = NULL;
    if (!g_key_file_save_to_file(file, tuning->path, &error))
        g_message("tuning is not kept: %s", error->message);
    tuning->is_changed = false;
}

/* A mirror, its prompts and the studio each have a handle, on each GPU: what one of them wrote stays. */
void
cuda_tuning_save(CudaTuning *tuning)
{
    static GMutex saving;
    if (tuning == NULL || tuning->path == NULL || !tuning->is_changed)
        return;
    g_mutex_lock(&saving);
    load(tuning);
    write_choices(tuning);
    g_mutex_unlock(&saving);
}

void
cuda_tuning_close(CudaTuning *tuning)
{
    if (tuning == NULL)
        return;
    cuda_tuning_save(tuning);
    g_hash_table_destroy(tuning->choices);
    g_free(tuning->path);
    g_free(tuning);
}

const void *
cuda_tuning_find(const CudaTuning *tuning, const char *key, gsize bytes)
{
    g_autofree char *name = plain_name(key);
    GBytes *found = g_hash_table_lookup(tuning->choices, name);
    return found != NULL && g_bytes_get_size(found) == bytes ? g_bytes_get_data(found, NULL) : NULL;
}

void
cuda_tuning_store(CudaTuning *tuning, const char *key, const void *data, gsize bytes)
{
    g_hash_table_insert(tuning->choices, plain_name(key), g_bytes_new(data, bytes));
    tuning->is_changed = true;
}
