#include "studio/model_list.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "weights/model.h"
#include "weights/safetensors.h"

#define MAX_DEPTH 4
#define MAX_MODELS 4096
#define STALE_US (5 * G_USEC_PER_SEC)
#define CHUNK (1 << 20)
#define SETTLED_S 300 /* after its last change a file is taken as it is */
#define STILL_US (G_USEC_PER_SEC / 2)
#define SHORT_HASH 10

/* What the hashing thread is told and tells; shared with it. */
typedef struct {
    gatomicrefcount count;
    GMainContext *context;
    GAsyncQueue *files; /* Order */
    gint is_closed;     /* atomic */
    RvModelList *list;  /* main loop; NULL once it is gone */
} Hasher;

typedef struct {
    Hasher *hasher;
    char *path, *sha256, *family;
    gint64 bytes, modified;
    bool needs_hash;
} Order;

struct RvModelList {
    char **folders;
    char *standard;
    RvStore *store;
    GPtrArray *models;  /* RvStudioModel by name */
    GPtrArray *before;  /* the same, while the folders are looked at again; NULL */
    bool takes_all;     /* also what was written to a moment ago */
    GHashTable *asked;  /* that the hasher was given: "path\nbytes\nmodified" */
    GHashTable *family; /* path -> family, as far as looked at */
    gint64 scanned_us;  /* 0: nobody has asked yet, and nothing is hashed */
    guint revision;     /* rises when it is another than it was */
    Hasher *hasher;
};

static void
model_free(gpointer data)
{
    RvStudioModel *m = data;
    g_free(m->path);
    g_free(m->name);
    g_free(m->stem);
    g_free(m->title);
    g_free(m->sha256);
    g_free(m->family);
    g_free(m);
}

/* ---- the thread that looks into files ---- */

static void
order_free(Order *order)
{
    g_free(order->path);
    g_free(order->sha256);
    g_free(order->family);
    g_free(order);
}

static void
hasher_unref(Hasher *hasher)
{
    if (!g_atomic_ref_count_dec(&hasher->count))
        return;
    g_main_context_unref(hasher->context);
    g_async_queue_unref(hasher->files);
    g_free(hasher);
}

/* NULL when it is not, or does not stay, as it was when it was listed. */
static char *
hash_file(const Hasher *hasher, const Order *order)
{
    struct stat info;
    int file = open(order->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return NULL;
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guchar *buffer = g_malloc(CHUNK);
    ssize_t n;
    while ((n = read(file, buffer, CHUNK)) > 0 && !g_atomic_int_get(&hasher->is_closed))
        g_checksum_update(sum, buffer, n);
    bool is_same =
        fstat(file, &info) == 0 && info.st_size == order->bytes && info.st_mtime == order->modified;
    close(file);
    return n == 0 && is_same ? g_strdup(g_checksum_get_string(sum)) : NULL;
}

static gboolean
on_looked(gpointer data)
{
    Order *order = data;
    RvModelList *list = order->hasher->list;
    if (list != NULL) {
        g_hash_table_replace(list->family, g_strdup(order->path), g_strdup(order->family));
        if (order->sha256 != NULL)
            rv_store_set_hash(list->store, order->path, order->bytes, order->modified, order->sha256);
        RvStudioModel *model = (RvStudioModel *)rv_model_list_at(list, order->path);
        if (model != NULL) {
            g_free(model->family);
            model->family = g_strdup(order->family);
        }
        if (model != NULL && order->sha256 != NULL && model->sha256 == NULL) {
            g_autofree char *plain = g_steal_pointer(&model->title);
            model->sha256 = g_strdup(order->sha256);
            model->title = g_strdup_printf("%s [%.*s]", plain, SHORT_HASH, model->sha256);
        }
    }
    hasher_unref(order->hasher);
    order_free(order);
    return G_SOURCE_REMOVE;
}

static gpointer
run(gpointer data)
{
    Hasher *hasher = data;
    setpriority(PRIO_PROCESS, (id_t)gettid(), 19); /* of this thread alone, on Linux */
    while (!g_atomic_int_get(&hasher->is_closed)) {
        Order *order = g_async_queue_pop(hasher->files);
        if (order->path == NULL) {
            order_free(order);
            break;
        }
        g_autoptr(RvModel) model = rv_model_open(order->path, &(RvModelOptions) { .partial = true }, NULL);
        order->family = g_strdup(model != NULL ? rv_model_traits(model)->family_name : NULL);
        if (order->needs_hash)
            order->sha256 = hash_file(hasher, order);
        order->hasher = hasher;
        g_atomic_ref_count_inc(&hasher->count);
        g_autoptr(GSource) source = g_idle_source_new();
        g_source_set_callback(source, on_looked, order, NULL);
        g_source_attach(source, hasher->context);
    }
    hasher_unref(hasher);
    return NULL;
}

static void
start_hasher(RvModelList *list)
{
    Hasher *hasher = g_new0(Hasher, 1);
    g_atomic_ref_count_init(&hasher->count);
    g_atomic_ref_count_inc(&hasher->count);
    hasher->context = g_main_context_ref_thread_default();
    hasher->files = g_async_queue_new();
    hasher->list = list;
    list->hasher = hasher;
    g_thread_unref(g_thread_new("models", run, hasher));
}

static char *
key_of(const char *path, gint64 bytes, gint64 modified)
{
    return g_strdup_printf("%s\n%" G_GINT64_FORMAT "\n%" G_GINT64_FORMAT, path, bytes, modified);
}

static void
ask_hasher(RvModelList *list, const RvStudioModel *model, bool is_folder)
{
    if (!g_hash_table_add(list->asked, key_of(model->path, model->bytes, model->modified)))
        return;
    if (list->hasher == NULL)
        start_hasher(list);
    Order *order = g_new0(Order, 1);
    *order = (Order) { .path = g_strdup(model->path),
                       .bytes = model->bytes,
                       .modified = model->modified,
                       .needs_hash = !is_folder && model->sha256 == NULL };
    g_async_queue_push(list->hasher->files, order);
}

/* ---- scanning ---- */

/* Folders of other things than checkpoints, as A1111 and ComfyUI call them. */
static bool
is_other_folder(const char *name)
{
    static const char *const others[] = {
        "lora",         "loras",          "lycoris",       "embeddings", "vae",    "vae_approx",
        "controlnet",   "upscale_models", "esrgan",        "realesrgan", "clip",   "clip_vision",
        "text_encoder", "text_encoders",  "hypernetworks", "codeformer", "gfpgan", "torch_deepdanbooru",
        "wildcards",    "styles",         "ipadapter",     "swinir",     "dat",    "ldsr",
        "taesd",        "taesdxl",        "karlo",         NULL
    };
    g_autofree char *lower = g_ascii_strdown(name, -1);
    return *name == '.' || g_strv_contains(others, lower);
}

static char *
without_ending(const char *name)
{
    return g_str_has_suffix(name, ".safetensors") ? g_strndup(name, strlen(name) - strlen(".safetensors"))
                                                  : g_strdup(name);
}

/* `relative` is its path below the folder. */
static void
add_model(RvModelList *list, const char *path, const char *relative, const GStatBuf *info)
{
    bool is_folder = S_ISDIR(info->st_mode);
    g_autofree char *real = g_canonicalize_filename(path, NULL), *base = g_path_get_basename(path);
    if (list->models->len >= MAX_MODELS || rv_model_list_at(list, real) != NULL)
        return;
    RvStudioModel *model = g_new0(RvStudioModel, 1);
    model->path = g_steal_pointer(&real);
    model->name = g_strdelimit(without_ending(relative), "/\\", '_');
    model->stem = without_ending(base);
    model->bytes = is_folder ? 0 : info->st_size;
    model->modified = info->st_mtime;
    model->sha256 =
        is_folder ? NULL : rv_store_get_hash(list->store, model->path, model->bytes, model->modified);
    model->title = model->sha256 != NULL ? g_strdup_printf("%s [%.*s]", relative, SHORT_HASH, model->sha256)
                                         : g_strdup(relative);
    model->family = g_strdup(g_hash_table_lookup(list->family, model->path));
    g_ptr_array_add(list->models, model);
    ask_hasher(list, model, is_folder);
}

static bool
is_model_folder(const char *path)
{
    g_autofree char *index = g_build_filename(path, "model_index.json", NULL);
    return g_file_test(index, G_FILE_TEST_IS_REGULAR);
}

/* Was it listed as it is now? */
static bool
is_known(const RvModelList *list, const char *path, const GStatBuf *info)
{
    for (guint i = 0; list->before != NULL && i < list->before->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(list->before, i);
        if (strcmp(model->path, path) == 0)
            return model->bytes == info->st_size && model->modified == info->st_mtime;
    }
    return false;
}

/* One that was changed lately may still be on its way here: it is not listed before all of it has come. Some
 * programs make room for all of a file first: then only its time says that they write to it. */
static bool
is_whole(const RvModelList *list, const char *path, const GStatBuf *info)
{
    gint64 age_us =
        g_get_real_time() - ((gint64)info->st_mtim.tv_sec * G_USEC_PER_SEC + info->st_mtim.tv_nsec / 1000);
    if (age_us > SETTLED_S * G_USEC_PER_SEC)
        return true;
    if (!list->takes_all && age_us >= 0 && age_us < STILL_US && !is_known(list, path, info))
        return false;
    RvSafetensors *file = rv_safetensors_open(path, NULL);
    bool is_whole_now = file != NULL;
    rv_safetensors_close(file);
    return is_whole_now;
}

static void
scan(RvModelList *list, const char *folder, const char *below, int depth)
{
    g_autofree char *path = *below != '\0' ? g_build_filename(folder, below, NULL) : g_strdup(folder);
    g_autoptr(GDir) dir = depth > 0 ? g_dir_open(path, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        g_autofree char *relative = *below != '\0' ? g_build_filename(below, name, NULL) : g_strdup(name);
        GStatBuf info;
        if (*name == '.' || !g_utf8_validate(name, -1, NULL) || g_stat(child, &info) != 0)
            continue;
        if (S_ISDIR(info.st_mode)) {
            if (is_model_folder(child))
                add_model(list, child, relative, &info);
            else if (!is_other_folder(name))
                scan(list, folder, relative, depth - 1);
        } else if (g_str_has_suffix(name, ".safetensors") && !g_str_has_suffix(name, ".vae.safetensors") &&
                   is_whole(list, child, &info)) {
            add_model(list, child, relative, &info);
        }
    }
}

static int
by_name(gconstpointer a, gconstpointer b)
{
    return g_ascii_strcasecmp((*(const RvStudioModel *const *)a)->name,
                              (*(const RvStudioModel *const *)b)->name);
}

static bool
are_same(const GPtrArray *a, const GPtrArray *b)
{
    if (a->len != b->len)
        return false;
    for (guint i = 0; i < a->len; i++) {
        const RvStudioModel *x = g_ptr_array_index(a, i), *y = g_ptr_array_index(b, i);
        if (strcmp(x->path, y->path) != 0 || x->bytes != y->bytes || x->modified != y->modified)
            return false;
    }
    return true;
}

static void
scan_all(RvModelList *list)
{
    GStatBuf info;
    list->before = list->models;
    list->models = g_ptr_array_new_with_free_func(model_free);
    for (char **folder = list->folders; *folder != NULL; folder++)
        scan(list, *folder, "", MAX_DEPTH);
    if (list->standard != NULL && g_stat(list->standard, &info) == 0) {
        g_autofree char *base = g_path_get_basename(list->standard);
        add_model(list, list->standard, base, &info);
    }
    g_ptr_array_sort(list->models, by_name);
    if (list->scanned_us != 0 && !are_same(list->before, list->models))
        list->revision++;
    g_clear_pointer(&list->before, g_ptr_array_unref);
    list->scanned_us = g_get_monotonic_time();
}

void
rv_model_list_look(RvModelList *list)
{
    if (list->scanned_us != 0)
        scan_all(list);
}

guint
rv_model_list_revision(const RvModelList *list)
{
    return list->revision;
}

void
rv_model_list_refresh(RvModelList *list)
{
    list->takes_all = true;
    scan_all(list);
    list->takes_all = false;
}

RvModelList *
rv_model_list_new(const char *const *folders, const char *standard, RvStore *store)
{
    static const char *const none[] = { NULL };
    RvModelList *list = g_new0(RvModelList, 1);
    list->folders = g_strdupv((char **)(folders != NULL ? folders : none));
    list->standard = standard != NULL ? g_canonicalize_filename(standard, NULL) : NULL;
    list->store = store;
    list->models = g_ptr_array_new_with_free_func(model_free);
    list->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    list->family = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return list;
}

void
rv_model_list_free(RvModelList *list)
{
    if (list == NULL)
        return;
    if (list->hasher != NULL) {
        list->hasher->list = NULL;
        g_atomic_int_set(&list->hasher->is_closed, 1);
        g_async_queue_push(list->hasher->files, g_new0(Order, 1));
        hasher_unref(list->hasher);
    }
    g_ptr_array_unref(list->models);
    g_hash_table_unref(list->asked);
    g_hash_table_unref(list->family);
    g_strfreev(list->folders);
    g_free(list->standard);
    g_free(list);
}

/* ---- names ---- */

static void
refresh_if_stale(RvModelList *list)
{
    if (list->scanned_us == 0)
        rv_model_list_refresh(list);
    else if (g_get_monotonic_time() - list->scanned_us > STALE_US)
        rv_model_list_look(list);
}

GPtrArray *
rv_model_list_get(RvModelList *list)
{
    GPtrArray *copies = g_ptr_array_new_with_free_func(model_free);
    refresh_if_stale(list);
    for (guint i = 0; i < list->models->len; i++) {
        const RvStudioModel *from = g_ptr_array_index(list->models, i);
        RvStudioModel *copy = g_new(RvStudioModel, 1);
        *copy = *from;
        char **texts[] = {
            &copy->path, &copy->name, &copy->stem, &copy->title, &copy->sha256, &copy->family
        };
        for (gsize k = 0; k < G_N_ELEMENTS(texts); k++)
            *texts[k] = g_strdup(*texts[k]);
        g_ptr_array_add(copies, copy);
    }
    return copies;
}

const RvStudioModel *
rv_model_list_at(RvModelList *list, const char *path)
{
    for (guint i = 0; i < list->models->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(list->models, i);
        if (strcmp(model->path, path) == 0)
            return model;
    }
    return NULL;
}

static bool
is_called(const RvStudioModel *model, const char *name)
{
    g_autofree char *base = g_path_get_basename(model->path);
    const char *names[] = { model->title, model->name, model->stem, base, model->path, model->sha256 };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (g_strcmp0(names[i], name) == 0)
            return true;
    const char *bracket = strrchr(name, '[');
    gsize length = strlen(name);
    if (bracket != NULL && bracket > name && name[length - 1] == ']') { /* a name with whatever hash */
        g_autofree char *plain = g_strchomp(g_strndup(name, (gsize)(bracket - name)));
        g_autofree char *title = g_strndup(model->title, strcspn(model->title, "["));
        return strcmp(g_strchomp(title), plain) == 0 || strcmp(model->name, plain) == 0 ||
               strcmp(model->stem, plain) == 0 || strcmp(base, plain) == 0;
    }
    g_autofree char *title = g_strndup(model->title, strcspn(model->title, "["));
    return strcmp(g_strchomp(title), name) == 0 ||
           (model->sha256 != NULL && length == SHORT_HASH && strncmp(model->sha256, name, SHORT_HASH) == 0);
}

static const RvStudioModel *
look_up(RvModelList *list, const char *name)
{
    if (name == NULL)
        return list->standard != NULL ? rv_model_list_at(list, list->standard) : NULL;
    for (guint i = 0; i < list->models->len; i++)
        if (is_called(g_ptr_array_index(list->models, i), name))
            return g_ptr_array_index(list->models, i);
    return NULL;
}

const RvStudioModel *
rv_model_list_find(RvModelList *list, const char *name)
{
    if (list->scanned_us == 0)
        rv_model_list_refresh(list);
    const RvStudioModel *model = look_up(list, name);
    if (model != NULL || g_get_monotonic_time() - list->scanned_us < G_USEC_PER_SEC)
        return model;
    rv_model_list_refresh(list);
    return look_up(list, name);
}
