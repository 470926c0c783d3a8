/* studio_commit.c - what was drawn goes to the store, batch by batch and in order; then the job ends. */
#include <glib/gstdio.h>
#include <string.h>

#include "studio/studio_internal.h"

#define RETRY_MS 500

static gint64
unix_now(void)
{
    return g_get_real_time() / G_USEC_PER_SEC;
}

typedef struct {
    RvStudio *studio;
    gint64 id;
    GPtrArray *rows; /* of pictures; ids come with the commit */
} Commit;

static void
commit_free(Commit *commit)
{
    g_ptr_array_unref(commit->rows);
    g_free(commit);
}

static RvPictureRow *
picture_row(RvLiveJob *job, const RvUnit *unit, const RvStudioPicture *picture, int number)
{
    RvStudio *studio = job->studio;
    bool in_gallery = unit->is_numbered && picture->role == RV_STUDIO_SAMPLE;
    const char *root = in_gallery ? studio->outputs : studio->data;
    RvPictureRow *row = g_new0(RvPictureRow, 1);
    *row = (RvPictureRow) {
        .job = job->id,
        .user = g_strdup(job->row->user),
        .part = unit->part,
        .batch = unit->index,
        .number = number,
        .role = g_strdup(rv_studio_role_name(picture->role)),
        .path = g_strdup(picture->path + strlen(root) + 1),
        .infotext = g_strdup(picture->infotext),
        .seed = picture->seed,
        .subseed = picture->subseed,
        .width = picture->width,
        .height = picture->height,
        .bytes = (gint64)g_bytes_get_size(picture->bytes),
        .created = unix_now(),
        .in_gallery = in_gallery,
    };
    return row;
}

static void
remove_inputs(const RvLiveJob *job)
{
    for (guint i = 0; strstr(job->row->request, "\"input-") != NULL; i++) {
        g_autofree char *path =
            g_strdup_printf("%s/jobs/%" G_GINT64_FORMAT "/input-%u", job->studio->data, job->id, i);
        if (g_unlink(path) != 0)
            break;
    }
    g_autofree char *folder = g_strdup_printf("%s/jobs/%" G_GINT64_FORMAT, job->studio->data, job->id);
    g_rmdir(folder); /* stays when pictures are in it */
}

/* The row on disk says that it ended. */
static void
finish(RvLiveJob *job)
{
    RvStudio *studio = job->studio;
    g_autoptr(RvStudioResult) result = rv_live_job_result(job);
    g_autoptr(GArray) waiters = g_array_ref(job->waiters);
    job->has_ended = true;
    studio->ended++;
    rv_queue_remove(studio->queue, job->id);
    remove_inputs(job);
    rv_studio_tell_job(job, "job");
    if (!job->has_submitter)
        rv_studio_tell_due(studio, job->row);
    g_hash_table_remove(studio->jobs, &job->id);
    rv_studio_tell_queue(studio);
    for (guint i = 0; i < waiters->len; i++) {
        const RvStudioWaiter *waiter = &g_array_index(waiters, RvStudioWaiter, i);
        if (waiter->on_done != NULL)
            waiter->on_done(result, waiter->user);
    }
}

/* Keeps the pictures of the unit that is first in `done` with the job; their bytes only for who waits. */
static void
take_pictures(RvLiveJob *job, GPtrArray *rows)
{
    RvUnit *unit = g_ptr_array_index(job->done, 0);
    for (guint i = 0; i < unit->pictures->len; i++) {
        RvStudioPicture *picture = g_ptr_array_index(unit->pictures, i);
        const RvPictureRow *row = g_ptr_array_index(rows, i);
        picture->gallery_id = row->in_gallery ? row->id : 0;
        if (job->waiters->len == 0)
            g_clear_pointer(&picture->bytes, g_bytes_unref);
        g_ptr_array_add(job->pictures, picture);
    }
    g_ptr_array_set_free_func(unit->pictures, NULL);
    g_ptr_array_set_size(unit->pictures, 0);
    g_ptr_array_remove_index(job->done, 0);
    if (rows->len > 0)
        rv_studio_tell_job(job, "picture");
}

static void on_committed(const GError *error, void *user_data);

static void
send_commit(RvLiveJob *job, GPtrArray *rows)
{
    Commit *commit = g_new(Commit, 1);
    *commit = (Commit) { job->studio, job->id, g_ptr_array_ref(rows) };
    job->is_committing = true;
    rv_store_update_job(job->studio->store, job->row, g_ptr_array_ref(rows), on_committed, commit);
}

/* The same rows once more: the job's row counts them already. */
static gboolean
on_retry(gpointer data)
{
    const Commit *commit = data;
    RvLiveJob *job = g_hash_table_lookup(commit->studio->jobs, &commit->id);
    if (job != NULL) {
        job->retry = 0;
        send_commit(job, commit->rows);
    }
    return G_SOURCE_REMOVE;
}

static void
on_committed(const GError *error, void *user_data)
{
    Commit *commit = user_data;
    RvStudio *studio = commit->studio;
    RvLiveJob *job = g_hash_table_lookup(studio->jobs, &commit->id);
    if (job == NULL) {
        commit_free(commit);
        return;
    }
    rv_studio_set_text(&studio->stall, error != NULL ? error->message : NULL);
    if (error != NULL) { /* the disk is full: what is drawn waits */
        rv_studio_set_paused(studio, error->message);
        job->retry =
            g_timeout_add_full(G_PRIORITY_DEFAULT, RETRY_MS, on_retry, commit, (GDestroyNotify)commit_free);
        return;
    }
    job->is_committing = false;
    if (job->done->len > 0)
        take_pictures(job, commit->rows);
    if (job->row->ended > 0)
        finish(job);
    else
        rv_live_job_commit(job);
    commit_free(commit);
}

/* What the job is once nothing more is to come. `units` are those that the store will have. */
static void
end_row(RvLiveJob *job, GPtrArray *pictures)
{
    RvJobRow *row = job->row;
    row->ended = MAX(unix_now(), 1);
    row->batches = MAX(row->batches, row->batches_done);
    rv_studio_set_text(&row->state, rv_studio_state_name(job->is_ending ? job->end : RV_STUDIO_DONE));
    g_free(row->notes);
    row->notes = rv_studio_notes_json(job->notes);
    if (job->error != NULL) {
        row->error_code = job->error->domain == RV_ERROR ? job->error->code : RV_ERROR_FAILED;
        rv_studio_set_text(&row->error, job->error->message);
    }
    g_free(row->info);
    row->info = job->error == NULL ? rv_studio_build_info(job->spec, pictures) : NULL;
    if (strcmp(row->state, rv_studio_state_name(RV_STUDIO_DONE)) != 0)
        g_clear_pointer(&row->due, g_free);
}

/* All pictures: those in the store and those of the unit that goes there now. */
static GPtrArray *
pictures_with(const RvLiveJob *job, const RvUnit *unit)
{
    GPtrArray *all = g_ptr_array_new();
    for (guint i = 0; i < job->pictures->len; i++)
        g_ptr_array_add(all, g_ptr_array_index(job->pictures, i));
    for (guint i = 0; unit != NULL && i < unit->pictures->len; i++)
        g_ptr_array_add(all, g_ptr_array_index(unit->pictures, i));
    return all;
}

/* A batch that failed ends the job, unless its owner did so before. */
static void
take_failure(RvLiveJob *job)
{
    RvUnit *unit = g_ptr_array_index(job->done, 0);
    if (!job->is_ending) {
        job->is_ending = true;
        job->end = g_error_matches(unit->error, RV_ERROR, RV_ERROR_CANCELLED) ? RV_STUDIO_CANCELLED
                                                                              : RV_STUDIO_FAILED;
        if (job->end == RV_STUDIO_FAILED)
            job->error = g_steal_pointer(&unit->error);
        rv_queue_remove(job->studio->queue, job->id);
    }
    g_ptr_array_remove_index(job->done, 0);
}

static void
take_notes(RvLiveJob *job, const RvUnit *unit)
{
    for (guint i = 0; i < unit->notes->len; i++)
        if (!g_ptr_array_find_with_equal_func(job->notes, g_ptr_array_index(unit->notes, i), g_str_equal,
                                              NULL))
            g_ptr_array_add(job->notes, g_strdup(g_ptr_array_index(unit->notes, i)));
}

/* Is nothing of the job on a device, being written, or still to be drawn? `committed`: batches in the store.
 */
static bool
is_over(const RvLiveJob *job, int committed)
{
    return job->next_unit == committed && (job->is_ending || committed >= job->row->batches);
}

void
rv_live_job_commit(RvLiveJob *job)
{
    if (!job->is_accepted || job->is_committing || job->row->ended > 0)
        return;
    while (job->done->len > 0 && ((const RvUnit *)g_ptr_array_index(job->done, 0))->error != NULL) {
        take_failure(job);
        job->next_unit--; /* it counts as not begun */
    }
    RvUnit *unit = job->done->len > 0 ? g_ptr_array_index(job->done, 0) : NULL;
    if (unit != NULL && unit->index != job->row->batches_done && job->units->len > 0)
        return; /* one before it may still come; with a gap, left by one that failed, wait for all */
    if (unit == NULL && !is_over(job, job->row->batches_done))
        return;
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_row_free);
    if (unit != NULL) {
        take_notes(job, unit);
        job->row->batches_done++;
        job->row->seconds += unit->seconds;
        job->row->pictures = (int)(job->pictures->len + unit->pictures->len);
        for (guint i = 0; i < unit->pictures->len; i++)
            g_ptr_array_add(rows, picture_row(job, unit, g_ptr_array_index(unit->pictures, i), (int)i));
    }
    if (is_over(job, job->row->batches_done)) {
        g_autoptr(GPtrArray) pictures = pictures_with(job, unit);
        end_row(job, pictures);
    }
    send_commit(job, rows);
}
