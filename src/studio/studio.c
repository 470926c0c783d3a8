/* studio.c - opening and closing, models, limits, and pictures made elsewhere. */
#include <errno.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#include "base/json_build.h"
#include "engine/engine.h"
#include "store/files.h"
#include "studio/studio_internal.h"

#define PURGE_S 600
#define LIMITS_DOCUMENT "limits"

/* ---- limits ---- */

static const struct {
    const char *name;
    gsize offset;
    int usual, most;
} limit_rows[] = {
    { "jobs_per_user", G_STRUCT_OFFSET(RvStudioLimits, jobs_per_user), 2000, 100000 },
    { "max_side", G_STRUCT_OFFSET(RvStudioLimits, max_side), 4096, 8192 },
    { "max_batch", G_STRUCT_OFFSET(RvStudioLimits, max_batch), 16, 64 },
    { "max_pictures", G_STRUCT_OFFSET(RvStudioLimits, max_pictures), 1024, 100000 },
    { "max_steps", G_STRUCT_OFFSET(RvStudioLimits, max_steps), 500, 1000 },
    { "keep_jobs_hours", G_STRUCT_OFFSET(RvStudioLimits, keep_jobs_hours), 48, 24 * 3650 },
};

static int *
limit_at(RvStudioLimits *limits, gsize row)
{
    return (int *)(void *)((char *)limits + limit_rows[row].offset);
}

void
rv_studio_limits_add_json(const RvStudioLimits *limits, JsonBuilder *json)
{
    RvStudioLimits copy = *limits;
    json_builder_begin_object(json);
    for (gsize i = 0; i < G_N_ELEMENTS(limit_rows); i++) {
        rv_json_add_int(json, limit_rows[i].name, *limit_at(&copy, i));
    }
    json_builder_end_object(json);
}

bool
rv_studio_limits_read_json(RvStudioLimits *limits, JsonObject *object, GError **error)
{
    RvStudioLimits read = *limits;
    for (gsize i = 0; i < G_N_ELEMENTS(limit_rows); i++) {
        JsonNode *node = json_object_get_member(object, limit_rows[i].name);
        if (node == NULL)
            continue;
        bool is_whole = JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
        gint64 value = is_whole ? json_node_get_int(node) : 0;
        if (value < 1 || value > limit_rows[i].most)
            return rv_error_set(error, RV_ERROR_USAGE, limit_rows[i].name, "correct it",
                                "a limit is a whole number from 1 to %d", limit_rows[i].most);
        *limit_at(&read, i) = (int)value;
    }
    *limits = read;
    return true;
}

static void
load_limits(RvStudio *studio)
{
    for (gsize i = 0; i < G_N_ELEMENTS(limit_rows); i++)
        *limit_at(&studio->limits, i) = limit_rows[i].usual;
    g_autofree char *text = rv_store_get_document(studio->store, "", LIMITS_DOCUMENT);
    g_autoptr(JsonNode) root = text != NULL ? json_from_string(text, NULL) : NULL;
    if (root != NULL && JSON_NODE_HOLDS_OBJECT(root))
        rv_studio_limits_read_json(&studio->limits, json_node_get_object(root), NULL);
}

RvStudioLimits
rv_studio_limits(RvStudio *studio)
{
    return studio->limits;
}

bool
rv_studio_set_limits(RvStudio *studio, const RvStudioLimits *limits, GError **error)
{
    RvStudioLimits checked = *limits;
    for (gsize i = 0; i < G_N_ELEMENTS(limit_rows); i++)
        if (*limit_at(&checked, i) < 1 || *limit_at(&checked, i) > limit_rows[i].most)
            return rv_error_set(error, RV_ERROR_USAGE, limit_rows[i].name, "correct it",
                                "a limit is a whole number from 1 to %d", limit_rows[i].most);
    studio->limits = checked;
    g_autoptr(JsonBuilder) json = json_builder_new();
    rv_studio_limits_add_json(limits, json);
    g_autofree char *text = rv_json_text(json);
    rv_store_set_document(studio->store, "", LIMITS_DOCUMENT, text, NULL, NULL);
    return true;
}

/* ---- opening and closing ---- */

/* Half of the memory that programs may still take; 0 when that is not known. */
static gsize
half_of_free_memory(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
        return 0;
    const char *line = strstr(text, "MemAvailable:");
    return line != NULL ? (gsize)g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024 / 2 : 0;
}

static void
add_workers(RvStudio *studio, const RvStudioOptions *options)
{
    g_auto(GStrv) names = rv_engine_split_devices(options->device);
    for (char **name = names; *name != NULL; name++) {
        bool is_gpu = g_str_has_prefix(*name, "cuda");
        RvWorkerOptions worker = {
            .painter = options->painter != NULL ? options->painter : &rv_painter_engine,
            .options = { .device = *name,
                         .precision = options->precision,
                         .models_dir = options->folders != NULL ? options->folders[0] : NULL,
                         .folders = options->folders,
                         .threads = options->threads,
                         .turns = rv_turns_table_get(options->turns, *name),
                         .user = options->painter_user },
            .budget = options->model_bytes > 0 ? options->model_bytes
                      : is_gpu                 ? 0
                                               : half_of_free_memory(),
            .on_drawn = rv_studio_on_drawn,
            .on_end = rv_studio_on_end,
            .user = studio,
        };
        g_ptr_array_add(studio->workers, rv_worker_new(&worker));
    }
}

static gboolean
on_purge(gpointer data)
{
    rv_studio_purge(data);
    return G_SOURCE_CONTINUE;
}

static bool
make_folder(const char *path, GError **error)
{
    return g_mkdir_with_parents(path, 0700) == 0 ||
           rv_error_set(error, RV_ERROR_IO, path, "choose another place", "cannot make the folder: %s",
                        g_strerror(errno));
}

RvStudio *
rv_studio_new(const RvStudioOptions *options, GError **error)
{
    RvStudio *studio = g_new0(RvStudio, 1);
    studio->opened_us = g_get_real_time();
    studio->data = g_canonicalize_filename(options->data, NULL);
    studio->outputs = options->outputs != NULL ? g_canonicalize_filename(options->outputs, NULL)
                                               : g_build_filename(studio->data, "outputs", NULL);
    g_autofree char *database = g_build_filename(studio->data, "reverie.db", NULL);
    if (make_folder(studio->data, error) && make_folder(studio->outputs, error))
        studio->store = rv_store_open(database, error);
    if (studio->store == NULL) {
        g_free(studio->data);
        g_free(studio->outputs);
        g_free(studio);
        return NULL;
    }
    static const char *const none[] = { NULL };
    studio->vae = g_strdup(options->vae);
    studio->models = rv_model_list_new(options->folders, options->model, studio->store);
    studio->library = rv_library_new(options->folders != NULL ? options->folders : none);
    studio->queue = rv_queue_new();
    studio->workers = g_ptr_array_new();
    studio->jobs = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, rv_live_job_free);
    studio->rates = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    studio->events = rv_event_log_new();
    load_limits(studio);
    add_workers(studio, options);
    rv_studio_folders_begin(studio, options->folders);
    studio->purge = g_timeout_add_seconds(PURGE_S, on_purge, studio);
    rv_studio_recover(studio);
    return studio;
}

void
rv_studio_refuse(RvStudio *studio)
{
    studio->is_stopping = true;
    for (guint i = 0; i < studio->workers->len; i++) {
        RvWorker *worker = g_ptr_array_index(studio->workers, i);
        if (rv_worker_unit(worker) != NULL)
            rv_worker_stop(worker, rv_worker_unit(worker), RV_UNIT_ABANDON);
    }
}

int
rv_studio_in_work(RvStudio *studio)
{
    int units = 0;
    for (guint i = 0; i < studio->workers->len; i++)
        units += rv_worker_in_work(g_ptr_array_index(studio->workers, i));
    return units;
}

void
rv_studio_free(RvStudio *studio, gint64 deadline_us)
{
    if (studio == NULL)
        return;
    studio->is_stopping = true;
    if (studio->tick != 0)
        g_source_remove(studio->tick);
    g_source_remove(studio->purge);
    rv_studio_folders_end(studio);
    rv_studio_due_clear(studio);
    for (guint i = 0; i < studio->workers->len; i++)
        rv_worker_free(g_ptr_array_index(studio->workers, i), deadline_us);
    g_ptr_array_unref(studio->workers);
    rv_model_list_free(studio->models);
    rv_library_free(studio->library);
    rv_store_close(studio->store);
    g_hash_table_unref(studio->jobs);
    rv_queue_free(studio->queue);
    g_hash_table_unref(studio->rates);
    rv_event_log_free(studio->events);
    g_free(studio->data);
    g_free(studio->outputs);
    g_free(studio->vae);
    g_free(studio->paused);
    g_free(studio->stall);
    g_free(studio);
}

RvStore *
rv_studio_store(RvStudio *studio)
{
    return studio->store;
}

const char *
rv_studio_outputs(RvStudio *studio)
{
    return studio->outputs;
}

const char *
rv_studio_paused(RvStudio *studio)
{
    return studio->paused;
}

/* ---- models ---- */

GPtrArray *
rv_studio_models(RvStudio *studio)
{
    GPtrArray *models = rv_model_list_get(studio->models);
    for (guint i = 0; i < models->len; i++) {
        RvStudioModel *model = g_ptr_array_index(models, i);
        for (guint k = 0; k < studio->workers->len; k++)
            model->is_loaded |= rv_worker_has_model(g_ptr_array_index(studio->workers, k), model->path, NULL);
    }
    return models;
}

char *
rv_studio_find_model(RvStudio *studio, const char *name, GError **error)
{
    const RvStudioModel *model = rv_model_list_find(studio->models, name);
    if (model == NULL)
        rv_error_set(error, RV_ERROR_NOT_FOUND, name, "see /sdapi/v1/sd-models", "there is no such model");
    return model != NULL ? g_strdup(model->path) : NULL;
}

char *
rv_studio_model_title(RvStudio *studio, const char *name)
{
    const RvStudioModel *model = rv_model_list_find(studio->models, name);
    return model != NULL ? g_strdup(model->title) : NULL;
}

void
rv_studio_refresh_models(RvStudio *studio)
{
    rv_model_list_refresh(studio->models);
    rv_studio_folders_tell(studio);
}

typedef struct {
    guint left;
    void (*done)(void *user_data);
    void *user_data;
} Unloading;

static void
on_unloaded(const GError *error, void *user_data)
{
    Unloading *unloading = user_data;
    if (--unloading->left > 0)
        return;
    if (unloading->done != NULL)
        unloading->done(unloading->user_data);
    g_free(unloading);
}

void
rv_studio_unload(RvStudio *studio, void (*done)(void *user_data), void *user_data)
{
    Unloading *unloading = g_new(Unloading, 1);
    *unloading = (Unloading) { studio->workers->len, done, user_data };
    for (guint i = 0; i < studio->workers->len; i++)
        rv_worker_unload(g_ptr_array_index(studio->workers, i), on_unloaded, unloading);
}

void
rv_studio_load(RvStudio *studio, const char *name, void (*done)(const GError *error, void *user_data),
               void *user_data)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = rv_studio_find_model(studio, name, &error);
    RvWorker *worker = g_ptr_array_index(studio->workers, 0);
    for (guint i = studio->workers->len; i-- > 0;)
        if (rv_worker_is_idle(g_ptr_array_index(studio->workers, i)))
            worker = g_ptr_array_index(studio->workers, i);
    if (path == NULL && done != NULL)
        done(error, user_data);
    else if (path != NULL)
        rv_worker_load(worker, path, name == NULL ? studio->vae : NULL, done, user_data);
}

bool
rv_studio_is_loading(RvStudio *studio)
{
    for (guint i = 0; i < studio->workers->len; i++)
        if (rv_worker_is_loading(g_ptr_array_index(studio->workers, i)))
            return true;
    return false;
}

bool
rv_studio_memory(RvStudio *studio, guint index, RvStudioMemory *memory)
{
    return index < studio->workers->len &&
           rv_worker_memory(g_ptr_array_index(studio->workers, index), memory);
}

gsize
rv_studio_device_bytes(RvStudio *studio)
{
    gsize bytes = 0;
    for (guint i = 0; i < studio->workers->len; i++)
        bytes += rv_worker_bytes(g_ptr_array_index(studio->workers, i));
    return bytes;
}
