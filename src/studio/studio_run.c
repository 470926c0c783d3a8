/* studio_run.c - from the queue to the devices, and from there to the store. */
#include <glib/gstdio.h>
#include <string.h>

#include "engine/engine.h"
#include "store/files.h"
#include "studio/studio_internal.h"

#define TICK_MS 250
#define LOST_DOCUMENT "lost-with" /* the job that the device was lost with */
#define MIN_FREE (256 << 20)      /* bytes that stay free on the disk, or a twentieth of a small one */
#define TRASH_DAYS 30
#define MAX_DEPTH 8     /* of folders in a user's outputs */
#define RATE_WEIGHT 0.3 /* of the newest batch, in the estimate of the next */

static gint64
unix_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

/* ---- estimates ---- */

/* Steps times pixels, in arbitrary units; what a batch takes is about proportional to it. */
static double
work_of(const RvStudioJob *spec)
{
    double pixels = (spec->width > 0 ? spec->width : 512) * (double)(spec->height > 0 ? spec->height : 512);
    double steps = spec->steps > 0 ? spec->steps : 20;
    if (spec->kind == RV_STUDIO_IMG2IMG && spec->denoising_strength > 0.0)
        steps = MAX(steps * spec->denoising_strength, 1.0);
    if (spec->enable_hr)
        steps *= 1.0 + spec->hr_scale * spec->hr_scale;
    return pixels * (steps + 2.0) * spec->batch_size * (spec->cfg_scale == 1.0 ? 1.0 : 2.0);
}

double
rv_studio_estimate(RvStudio *studio, const RvLiveJob *job)
{
    int part, batch;
    const double *rate = g_hash_table_lookup(studio->rates, job->model != NULL ? job->model : "");
    const RvStudioJob *spec =
        rv_live_job_part((RvLiveJob *)job, MIN(job->next_unit, job->row->batches - 1), &part, &batch);
    return rate != NULL ? *rate * work_of(spec) : 0.0;
}

/* All jobs that wait for this model are estimated anew with the first figure; later ones as they come. */
static void
learn_rate(RvStudio *studio, const RvUnit *unit)
{
    const char *key = unit->model != NULL ? unit->model : "";
    double *rate = g_hash_table_lookup(studio->rates, key), now = unit->seconds / work_of(unit->spec);
    if (rate != NULL) {
        *rate += RATE_WEIGHT * (now - *rate);
        return;
    }
    g_hash_table_insert(studio->rates, g_strdup(key), g_memdup2(&now, sizeof now));
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const RvLiveJob *job = value;
        rv_queue_set_seconds(studio->queue, job->id, rv_studio_estimate(studio, job));
    }
}

/* ---- the disk ---- */

void
rv_studio_set_paused(RvStudio *studio, const char *why)
{
    if (g_strcmp0(studio->paused, why) == 0)
        return;
    rv_studio_set_text(&studio->paused, why);
    rv_studio_tell_queue(studio);
}

/* A worker that cannot write. */
static const char *
blocked_by(RvStudio *studio)
{
    GHashTableIter iter;
    gpointer value;
    static char why[256];
    const char *found = NULL;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (found == NULL && g_hash_table_iter_next(&iter, NULL, &value)) {
        const GPtrArray *units = ((RvLiveJob *)value)->units;
        for (guint i = 0; found == NULL && i < units->len; i++) {
            RvUnit *unit = g_ptr_array_index(units, i);
            g_mutex_lock(&unit->mutex);
            if (unit->blocked != NULL) {
                g_strlcpy(why, unit->blocked, sizeof why);
                found = why;
            }
            g_mutex_unlock(&unit->mutex);
        }
    }
    return found;
}

void
rv_studio_check_disk(RvStudio *studio)
{
    gint64 free_bytes = rv_disk_free_bytes(studio->outputs), total = rv_disk_total_bytes(studio->outputs);
    gint64 needed = MIN((gint64)MIN_FREE, total / 20);
    if (free_bytes >= 0 && free_bytes < needed)
        rv_studio_set_paused(studio, "the disk is full: the queue waits until there is room");
    else
        rv_studio_set_paused(studio, studio->stall != NULL ? studio->stall : blocked_by(studio));
}

/* ---- to the devices ---- */

char *
rv_studio_user_folder(const char *user)
{
    if (*user == '\0')
        return g_strdup("local");
    g_autoptr(GString) folder = g_string_new(NULL);
    for (const char *c = user; *c != '\0'; c++)
        if (g_ascii_isalnum(*c) || *c == '-' || *c == '_' || (*c == '.' && c > user))
            g_string_append_c(folder, *c);
        else
            g_string_append_printf(folder, "%%%02X", (guchar)*c);
    if (strcmp(user, "local") == 0) /* that one is of those who need no name */
        g_string_append_c(folder, '%');
    return g_string_free(g_steal_pointer(&folder), FALSE);
}

static char *
output_folder(RvStudio *studio, const RvLiveJob *job, const RvStudioJob *spec)
{
    g_autofree char *user = rv_studio_user_folder(job->row->user);
    return g_strdup_printf("%s/%s/%s-images", studio->outputs, user, rv_studio_kind_name(spec->kind));
}

/* Written before this process began, which may be writing others beside them. */
static bool
is_of_before(const RvStudio *studio, const GStatBuf *info)
{
    return (gint64)info->st_mtim.tv_sec * G_USEC_PER_SEC + info->st_mtim.tv_nsec / 1000 < studio->opened_us;
}

/* Unfinished ones are none. */
static void
find_leftovers(RvStudio *studio, const char *folder, gint64 since, int depth, GPtrArray *found)
{
    g_autoptr(GDir) dir = depth > 0 ? g_dir_open(folder, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        GStatBuf info;
        const char *relative = path + strlen(studio->outputs) + 1;
        if (g_lstat(path, &info) != 0)
            continue;
        if (S_ISDIR(info.st_mode))
            find_leftovers(studio, path, since, depth - 1, found);
        else if (!g_str_has_prefix(name, ".tmp-") && info.st_mtime >= since && is_of_before(studio, &info) &&
                 !rv_store_has_picture_path(studio->store, relative))
            g_ptr_array_add(found, g_steal_pointer(&path));
    }
}

GPtrArray *
rv_studio_leftovers(RvStudio *studio, const char *folder, gint64 since)
{
    GPtrArray *found = g_ptr_array_new_with_free_func(g_free);
    find_leftovers(studio, folder, since, MAX_DEPTH, found);
    return found;
}

/* Files that were not finished when the server was killed. */
static void
remove_unfinished(const RvStudio *studio, const char *folder, int depth)
{
    g_autoptr(GDir) dir = depth > 0 ? g_dir_open(folder, 0, NULL) : NULL;
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        GStatBuf info;
        if (g_lstat(path, &info) != 0)
            continue;
        if (S_ISDIR(info.st_mode))
            remove_unfinished(studio, path, depth - 1);
        else if (g_str_has_prefix(name, ".tmp-") && is_of_before(studio, &info))
            g_unlink(path);
    }
}

static RvUnit *
make_unit(RvLiveJob *job)
{
    RvStudio *studio = job->studio;
    RvUnit *unit = rv_unit_new();
    const RvStudioJob *spec = rv_live_job_part(job, job->next_unit, &unit->part, &unit->batch);
    unit->job = job->id;
    unit->spec = rv_studio_job_copy(spec);
    unit->index = job->next_unit;
    unit->model = g_strdup(job->model);
    unit->vae = g_strdup(job->vae);
    unit->hash = g_strdup(job->hash);
    unit->user = g_strdup(job->row->user);
    unit->refiner = g_strdup(job->refiner);
    unit->hires_model = g_strdup(job->hires_model);
    unit->hires_vae = g_strdup(job->hires_vae);
    unit->refiner_title = g_strdup(job->refiner_title);
    unit->hires_title = g_strdup(job->hires_title);
    unit->wildcards = rv_studio_wildcard_folders(studio, job->row->user);
    unit->job_folder = g_strdup_printf("%s/jobs/%" G_GINT64_FORMAT, studio->data, job->id);
    unit->folder = spec->save_images ? output_folder(studio, job, spec) : g_strdup(unit->job_folder);
    unit->outputs = spec->save_images ? g_strdup(studio->outputs) : NULL;
    unit->is_numbered = spec->save_images;
    unit->began = unix_now();
    if (job->resumed > 0 && unit->is_numbered) {
        remove_unfinished(studio, unit->folder, MAX_DEPTH);
        unit->leftovers = rv_studio_leftovers(studio, unit->folder, job->row->created);
    }
    job->resumed = MAX(job->resumed - 1, 0);
    return unit;
}

static bool
worker_has(const char *model, void *worker)
{
    return model == NULL || rv_worker_has_model(worker, model, NULL);
}

static void
begin_unit(RvLiveJob *job, RvWorker *worker)
{
    g_autoptr(RvUnit) unit = make_unit(job);
    rv_live_job_note_begin(job, worker);
    g_ptr_array_add(job->units, rv_unit_ref(unit));
    job->next_unit++;
    if (job->began_us == 0)
        job->began_us = g_get_monotonic_time();
    if (job->row->began == 0)
        job->row->began = unix_now();
    rv_studio_set_text(&job->row->state, "running");
    rv_worker_draw(worker, unit);
    rv_studio_tell_job(job, "job");
}

static gboolean
on_tick(gpointer data)
{
    RvStudio *studio = data;
    GHashTableIter iter;
    gpointer value;
    if (g_hash_table_size(studio->jobs) == 0 && studio->paused == NULL) {
        studio->tick = 0;
        return G_SOURCE_REMOVE;
    }
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        if (((RvLiveJob *)value)->units->len > 0)
            rv_studio_tell_job(value, "progress");
    rv_studio_kick(studio);
    return G_SOURCE_CONTINUE;
}

/* A job whose model went away meanwhile fails at its turn. */
static bool
give_work(RvStudio *studio, RvWorker *worker)
{
    gint64 id = rv_queue_take(studio->queue, worker_has, worker);
    RvLiveJob *job = id != 0 ? g_hash_table_lookup(studio->jobs, &id) : NULL;
    if (job == NULL)
        return false;
    if (rv_live_job_resolve(job, &job->error)) {
        begin_unit(job, worker);
        return true;
    }
    rv_queue_remove(studio->queue, id);
    job->is_ending = true;
    job->end = RV_STUDIO_FAILED;
    rv_live_job_commit(job);
    return true;
}

void
rv_studio_kick(RvStudio *studio)
{
    if (studio->is_stopping)
        return;
    rv_studio_check_disk(studio);
    for (guint i = 0; studio->paused == NULL && i < studio->workers->len; i++) {
        RvWorker *worker = g_ptr_array_index(studio->workers, i);
        while (rv_worker_is_idle(worker) && give_work(studio, worker))
            continue;
    }
    if (studio->tick == 0 && (g_hash_table_size(studio->jobs) > 0 || studio->paused != NULL))
        studio->tick = g_timeout_add(TICK_MS, on_tick, studio);
}

/* ---- and back ---- */

/* The device was lost: all jobs are the next process's. A job with which one was lost before may be what
 * loses them, and fails. */
static void
leave_jobs(RvStudio *studio, RvLiveJob *job, const GError *error)
{
    if (job != NULL && !studio->has_blamed && g_error_matches(error, RV_ERROR, RV_ERROR_DEVICE)) {
        studio->has_blamed = true;
        g_autofree char *before = rv_store_get_document(studio->store, "", LOST_DOCUMENT);
        job->is_at_fault = before != NULL && g_ascii_strtoll(before, NULL, 10) == job->id;
        g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, job->is_at_fault ? 0 : job->id);
        rv_store_set_document(studio->store, "", LOST_DOCUMENT, text, NULL, NULL);
    }
    rv_studio_refuse(studio);
}

void
rv_studio_on_drawn(RvWorker *worker, RvUnit *unit, bool ok, void *user)
{
    RvStudio *studio = user;
    RvLiveJob *job = g_hash_table_lookup(studio->jobs, &unit->job);
    if (ok)
        learn_rate(studio, unit);
    else if (rv_device_needs_new_process())
        leave_jobs(studio, job, unit->error);
    if (job != NULL && ok)
        rv_live_job_note_start(job, unit);
    if (job != NULL && ok)
        rv_queue_return(studio->queue, job->id, true);
    else if (job != NULL && (!studio->is_stopping || job->is_at_fault))
        rv_queue_remove(studio->queue, job->id);
    /* The next batch may need another model. */
    if (job != NULL && rv_queue_has(studio->queue, job->id) && job->next_unit < job->row->batches) {
        rv_live_job_resolve(job, NULL);
        rv_queue_set_model(studio->queue, job->id, job->model);
    }
    rv_studio_kick(studio);
}

void
rv_studio_on_end(RvWorker *worker, RvUnit *unit, void *user)
{
    RvStudio *studio = user;
    RvLiveJob *job = g_hash_table_lookup(studio->jobs, &unit->job);
    if (job == NULL || (studio->is_stopping && unit->error != NULL && !job->is_at_fault))
        return; /* while stopping: it stays queued */
    guint at = 0;
    while (at < job->done->len && ((const RvUnit *)g_ptr_array_index(job->done, at))->index < unit->index)
        at++;
    g_ptr_array_insert(job->done, (int)at, rv_unit_ref(unit));
    g_ptr_array_remove(job->units, unit);
    rv_live_job_commit(job);
    rv_studio_kick(studio);
}

/* ---- stopping ---- */

static void
stop_units(RvLiveJob *job, RvUnitStop how)
{
    GPtrArray *workers = job->studio->workers;
    for (guint i = 0; i < job->units->len; i++)
        for (guint k = 0; k < workers->len; k++)
            rv_worker_stop(g_ptr_array_index(workers, k), g_ptr_array_index(job->units, i), how);
}

static bool
not_found(GError **error)
{
    return rv_error_set(error, RV_ERROR_NOT_FOUND, NULL, NULL, "there is no such job in the queue");
}

static RvLiveJob *
find_running(RvStudio *studio, const char *user)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        RvLiveJob *job = value;
        if (job->units->len > 0 && strcmp(job->row->user, user) == 0)
            return job;
    }
    return NULL;
}

static void
end_job(RvLiveJob *job, RvStudioStop how)
{
    bool is_drawn = job->units->len > 0 || job->next_unit > 0;
    if (job->is_ending || job->row->ended > 0)
        return;
    job->is_ending = true;
    job->end = how == RV_STUDIO_INTERRUPT && is_drawn ? RV_STUDIO_DONE : RV_STUDIO_CANCELLED;
    job->row->was_interrupted = how == RV_STUDIO_INTERRUPT;
    stop_units(job, how == RV_STUDIO_INTERRUPT ? RV_UNIT_FINISH : RV_UNIT_ABANDON);
    rv_queue_remove(job->studio->queue, job->id);
    rv_live_job_commit(job);
}

bool
rv_studio_stop(RvStudio *studio, const char *user, gint64 id, RvStudioStop how, GError **error)
{
    RvLiveJob *job = id != 0 ? rv_live_job_find(studio, user, id) : find_running(studio, user);
    if (job == NULL || job->row->ended > 0)
        return not_found(error);
    if (how == RV_STUDIO_SKIP) {
        job->was_skipped = true;
        stop_units(job, RV_UNIT_FINISH);
    } else if (how != RV_STUDIO_CANCEL_IF_QUEUED || job->row->began == 0) {
        end_job(job, how);
    }
    return true;
}

bool
rv_studio_move(RvStudio *studio, const char *user, gint64 id, int place, GError **error)
{
    if (rv_live_job_find(studio, user, id) == NULL || !rv_queue_has(studio->queue, id))
        return not_found(error);
    rv_queue_move(studio->queue, id, place);
    g_autoptr(GArray) ids = rv_queue_list(studio->queue, user);
    rv_store_set_places(studio->store, (const gint64 *)(void *)ids->data, ids->len);
    rv_studio_tell_queue(studio);
    return true;
}

gint64
rv_studio_find_job(RvStudio *studio, const char *user, const char *name)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const RvLiveJob *job = value;
        if (strcmp(job->row->user, user) == 0 && g_strcmp0(job->row->name, name) == 0)
            return job->id;
    }
    g_autoptr(RvJobRow) row = rv_store_find_job(studio->store, user, name);
    return row != NULL ? row->id : 0;
}

/* ---- what is old ---- */

static void
purge_trash(RvStudio *studio)
{
    g_autoptr(GPtrArray) rows = rv_store_old_trash(studio->store, unix_now() - TRASH_DAYS * 24 * 3600);
    for (guint i = 0; i < rows->len; i++) {
        const RvPictureRow *row = g_ptr_array_index(rows, i);
        rv_file_remove_below(studio->outputs, row->path, NULL);
        rv_store_remove_picture(studio->store, row->user, row->id, NULL, NULL);
    }
}

void
rv_studio_purge(RvStudio *studio)
{
    g_autoptr(GArray) ids =
        rv_store_old_jobs(studio->store, unix_now() - studio->limits.keep_jobs_hours * 3600);
    for (guint i = 0; i < ids->len; i++) {
        g_autofree char *folder =
            g_strdup_printf("%s/jobs/%" G_GINT64_FORMAT, studio->data, g_array_index(ids, gint64, i));
        rv_folder_remove(folder);
    }
    if (ids->len > 0)
        rv_store_remove_jobs(studio->store, (const gint64 *)(void *)ids->data, ids->len, NULL, NULL);
    purge_trash(studio);
}
