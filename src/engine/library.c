#include "engine/library.h"

#include <string.h>

#include <glib/gstdio.h>

#include "weights/safetensors.h"

#define MAX_DEPTH 6 /* of sub-folders */
#define MAX_NAMES 4
#define SETTLED_S 300 /* after its last change a file is taken as it is */

static const struct {
    const char *folders[MAX_NAMES];
    const char *endings[MAX_NAMES];
    const char *what, *todo;
} kinds[RV_NETWORK_KINDS] = {
    [RV_NETWORK_LORA] = { { "lora", "loras", "lycoris" }, { ".safetensors" }, "LoRA", "models/Lora" },
    [RV_NETWORK_EMBEDDING] = { { "embeddings", "embedding" },
                               { ".safetensors", ".png", ".webp" },
                               "embedding",
                               "models/embeddings" },
    [RV_NETWORK_CONTROLNET] = { { "controlnet", "controlnets" },
                                { ".safetensors" },
                                "ControlNet",
                                "models/ControlNet" },
    [RV_NETWORK_UPSCALER] = { { "esrgan", "realesrgan", "upscale_models", "upscalers" },
                              { ".safetensors" },
                              "upscaler",
                              "models/ESRGAN" },
    [RV_NETWORK_VAE] = { { "vae", "vaes" }, { ".safetensors" }, "VAE", "models/VAE" },
    [RV_NETWORK_WILDCARD] = { { "wildcards" }, { ".txt" }, "wildcard file", "models/wildcards" },
};

struct RvLibrary {
    char **folders;
    GPtrArray *extra[RV_NETWORK_KINDS]; /* char * */
};

RvLibrary *
rv_library_new(const char *const *folders)
{
    RvLibrary *library = g_new0(RvLibrary, 1);
    library->folders = g_strdupv((char **)(guintptr)folders);
    for (int i = 0; i < RV_NETWORK_KINDS; i++)
        library->extra[i] = g_ptr_array_new_with_free_func(g_free);
    return library;
}

void
rv_library_free(RvLibrary *library)
{
    if (library == NULL)
        return;
    for (int i = 0; i < RV_NETWORK_KINDS; i++)
        g_ptr_array_unref(library->extra[i]);
    g_strfreev(library->folders);
    g_free(library);
}

void
rv_library_add(RvLibrary *library, RvNetworkKind kind, const char *path)
{
    g_ptr_array_add(library->extra[kind], g_strdup(path));
}

static void
file_free(gpointer data)
{
    RvLibraryFile *file = data;
    g_free(file->name);
    g_free(file->path);
    g_free(file);
}

typedef struct {
    RvNetworkKind kind;
    GHashTable *seen; /* names */
    GPtrArray *files;
    bool only_whole; /* not those that are still being copied here */
} Search;

static gsize
ending_length(RvNetworkKind kind, const char *name)
{
    for (int i = 0; i < MAX_NAMES && kinds[kind].endings[i] != NULL; i++) {
        gsize length = strlen(kinds[kind].endings[i]), whole = strlen(name);
        if (whole > length && g_ascii_strcasecmp(name + whole - length, kinds[kind].endings[i]) == 0)
            return length;
    }
    return 0;
}

/* Not the beginning of a safetensors file: nothing that waiting would help. */
static bool
is_something_else(const char *path)
{
    char begin[9];
    FILE *file = fopen(path, "rbe");
    gsize n = file != NULL ? fread(begin, 1, sizeof begin, file) : 0;
    if (file != NULL)
        fclose(file);
    return n == sizeof begin && begin[8] != '{';
}

/* Only files that changed lately are looked into. */
static bool
is_whole(const char *path, const GStatBuf *status)
{
    if (!g_str_has_suffix(path, ".safetensors") ||
        g_get_real_time() / G_USEC_PER_SEC - status->st_mtime > SETTLED_S)
        return true;
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, NULL);
    return file != NULL || is_something_else(path);
}

static void
add_file(Search *search, const char *prefix, const char *name, const char *path, const GStatBuf *status)
{
    gsize ending = ending_length(search->kind, name);
    if (search->only_whole && !is_whole(path, status))
        return;
    g_autofree char *stem = g_strndup(name, strlen(name) - ending);
    g_autofree char *whole =
        search->kind == RV_NETWORK_WILDCARD ? g_strconcat(prefix, stem, NULL) : g_steal_pointer(&stem);
    if (!g_hash_table_add(search->seen, g_strdup(whole)))
        return;
    RvLibraryFile *file = g_new0(RvLibraryFile, 1);
    file->name = g_steal_pointer(&whole);
    file->path = g_strdup(path);
    file->bytes = (gint64)status->st_size;
    file->modified = (gint64)status->st_mtime;
    g_ptr_array_add(search->files, file);
}

static void
add_folder(Search *search, const char *folder, const char *prefix, int depth)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        GStatBuf status;
        if (*name == '.' || g_stat(path, &status) != 0 || !g_utf8_validate(name, -1, NULL))
            continue;
        if (S_ISDIR(status.st_mode) && depth < MAX_DEPTH) {
            g_autofree char *below = g_strconcat(prefix, name, "/", NULL);
            add_folder(search, path, below, depth + 1);
        } else if (S_ISREG(status.st_mode) && ending_length(search->kind, name) > 0) {
            add_file(search, prefix, name, path, &status);
        }
    }
}

/* The sub-folders of `folder` that are named after the kind. */
static void
add_kind(Search *search, const char *folder)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;)
        for (int i = 0; i < MAX_NAMES && kinds[search->kind].folders[i] != NULL; i++)
            if (g_ascii_strcasecmp(name, kinds[search->kind].folders[i]) == 0) {
                g_autofree char *path = g_build_filename(folder, name, NULL);
                add_folder(search, path, "", 0);
            }
}

static void
add_extra(Search *search, const char *path)
{
    GStatBuf status;
    if (g_stat(path, &status) != 0)
        return;
    g_autofree char *name = g_path_get_basename(path);
    if (S_ISDIR(status.st_mode))
        add_folder(search, path, "", 0);
    else
        add_file(search, "", name, path, &status);
}

static gint
by_name(gconstpointer a, gconstpointer b)
{
    const RvLibraryFile *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static GPtrArray *
list_files(const RvLibrary *library, RvNetworkKind kind, bool only_whole)
{
    Search search = { kind, g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                      g_ptr_array_new_with_free_func(file_free), only_whole };
    for (guint i = 0; i < library->extra[kind]->len; i++)
        add_extra(&search, g_ptr_array_index(library->extra[kind], i));
    for (char **folder = library->folders; folder != NULL && *folder != NULL; folder++)
        add_kind(&search, *folder);
    g_hash_table_unref(search.seen);
    g_ptr_array_sort(search.files, by_name);
    return search.files;
}

GPtrArray *
rv_library_list(const RvLibrary *library, RvNetworkKind kind)
{
    return list_files(library, kind, false);
}

GPtrArray *
rv_library_list_whole(const RvLibrary *library, RvNetworkKind kind)
{
    return list_files(library, kind, true);
}

static char *
find_by_name(const RvLibrary *library, RvNetworkKind kind, const char *name)
{
    g_autoptr(GPtrArray) files = rv_library_list(library, kind);
    for (guint i = 0; i < files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(files, i);
        g_autofree char *base = g_path_get_basename(file->path);
        if (strcmp(file->name, name) == 0 || strcmp(base, name) == 0)
            return g_strdup(file->path);
    }
    return NULL;
}

static void
not_found(RvNetworkKind kind, const char *name, const char *more, GError **error)
{
    g_autofree char *todo = g_strdup_printf("put the file into %s%s", kinds[kind].todo, more);
    rv_error_set(error, RV_ERROR_NOT_FOUND, name, todo, "there is no %s of that name", kinds[kind].what);
}

char *
rv_library_find(const RvLibrary *library, RvNetworkKind kind, const char *name, GError **error)
{
    char *path = library != NULL ? find_by_name(library, kind, name) : NULL;
    if (path == NULL)
        not_found(kind, name, "", error);
    return path;
}

char *
rv_library_resolve(const RvLibrary *library, RvNetworkKind kind, const char *name, GError **error)
{
    char *path = strchr(name, '/') == NULL && library != NULL ? find_by_name(library, kind, name) : NULL;
    if (path == NULL && g_file_test(name, G_FILE_TEST_EXISTS))
        path = g_strdup(name);
    if (path == NULL)
        not_found(kind, name, ", or give its path", error);
    return path;
}
