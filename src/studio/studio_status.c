/* studio_status.c - how jobs stand. */
#include "studio/studio_internal.h"

#include "base/json_build.h"

#define SAMPLE_SHARE 0.95 /* of a batch's time, for progress within it */

void
rv_studio_status_free(RvStudioStatus *s)
{
    if (s == NULL)
        return;
    g_free(s->name);
    g_free(s->kind);
    g_free(s->model);
    g_free(s->prompt);
    g_free(s->error);
    g_free(s);
}

static RvStudioStatus *
from_row(const RvJobRow *row)
{
    RvStudioStatus *s = g_new0(RvStudioStatus, 1);
    s->id = row->id;
    s->name = g_strdup(row->name);
    s->kind = g_strdup(row->kind);
    s->model = g_strdup(row->model);
    s->prompt = g_strdup(row->prompt);
    rv_studio_state_parse(row->state, &s->state);
    s->phase = row->ended > 0 ? "ended" : "queued";
    s->progress = row->ended > 0 ? 1.0 : 0.0;
    s->eta = row->ended > 0 ? 0.0 : -1.0;
    s->elapsed = row->ended > 0 && row->began > 0 ? (double)(row->ended - row->began) : 0.0;
    s->batch = row->batches_done;
    s->batches = row->batches;
    s->pictures = row->pictures;
    s->was_interrupted = row->was_interrupted;
    s->created = row->created;
    s->began = row->began;
    s->ended = row->ended;
    s->error = g_strdup(row->error);
    return s;
}

static double
share_of(RvUnit *unit)
{
    g_mutex_lock(&unit->mutex);
    double share = unit->phase == RV_UNIT_SAMPLE   ? SAMPLE_SHARE * unit->step / MAX(unit->steps, 1)
                   : unit->phase >= RV_UNIT_DECODE ? SAMPLE_SHARE
                                                   : 0.0;
    g_mutex_unlock(&unit->mutex);
    return share;
}

static void
add_unit(RvStudioStatus *s, RvUnit *unit)
{
    g_mutex_lock(&unit->mutex);
    s->phase = rv_unit_phase_name(unit->phase);
    s->batch = unit->index;
    s->preview = unit->previews;
    if (unit->phase == RV_UNIT_SAMPLE) {
        s->step = unit->step;
        s->steps = unit->steps;
    }
    g_mutex_unlock(&unit->mutex);
}

/* NULL: the unit is being written. */
static RvWorker *
worker_of(const RvLiveJob *job, const RvUnit *unit)
{
    for (guint i = 0; i < job->studio->workers->len; i++)
        if (rv_worker_unit(g_ptr_array_index(job->studio->workers, i)) == unit)
            return g_ptr_array_index(job->studio->workers, i);
    return NULL;
}

/* On a device, the oldest if there are several; else the last that is being written; NULL: none. */
static RvUnit *
current_unit(const RvLiveJob *job)
{
    for (guint i = 0; i < job->units->len; i++)
        if (worker_of(job, g_ptr_array_index(job->units, i)) != NULL)
            return g_ptr_array_index(job->units, i);
    return job->units->len > 0 ? g_ptr_array_index(job->units, job->units->len - 1) : NULL;
}

/* How much of the units that have not ended is done, in units: of those on devices, or of all. */
static double
share_of_units(const RvLiveJob *job, bool on_devices)
{
    double share = 0.0;
    for (guint i = 0; i < job->units->len; i++)
        if (!on_devices || worker_of(job, g_ptr_array_index(job->units, i)) != NULL)
            share += share_of(g_ptr_array_index(job->units, i));
    return share;
}

RvStudioStatus *
rv_live_job_status(RvLiveJob *job)
{
    RvStudioStatus *s = from_row(job->row);
    int all = (int)job->studio->workers->len;
    RvQueuePlace place;
    RvUnit *unit = current_unit(job);
    RvWorker *worker = unit != NULL ? worker_of(job, unit) : NULL;
    if (job->has_ended)
        return s;
    s->state = job->row->began > 0 ? RV_STUDIO_RUNNING : RV_STUDIO_QUEUED;
    s->ended = 0;
    s->phase = job->row->began > 0 ? "save" : "queued";
    s->progress = 0.0;
    s->eta = -1.0;
    bool is_queued = rv_queue_place(job->studio->queue, job->id, all, &place);
    s->pictures = (int)job->pictures->len;
    s->was_skipped = job->was_skipped;
    s->was_interrupted = job->row->was_interrupted;
    s->is_held_up = worker != NULL && rv_worker_is_held_up(worker);
    for (guint i = 0; i < job->units->len; i++)
        s->devices += worker_of(job, g_ptr_array_index(job->units, i)) != NULL;
    if (unit != NULL)
        add_unit(s, unit);
    else if (is_queued)
        s->phase = "queued";
    int drawn = job->next_unit - (int)job->units->len;
    s->progress = MIN((drawn + share_of_units(job, false)) / MAX(job->row->batches, 1), 1.0);
    if (job->began_us > 0)
        s->elapsed = (double)(g_get_monotonic_time() - job->began_us) * 1e-6;
    s->position = is_queued && job->row->began == 0 ? place.ahead + 1 : 0;
    s->ahead = is_queued ? place.ahead : 0;
    double batch = rv_studio_estimate(job->studio, job);
    if (is_queued && place.seconds >= 0.0)
        s->eta = MAX(place.seconds - share_of_units(job, true) * batch, 0.0);
    else if (job->began_us > 0 && s->progress > 0.0)
        s->eta = s->elapsed / s->progress - s->elapsed;
    return s;
}

RvStudioStatus *
rv_studio_status(RvStudio *studio, const char *user, gint64 id)
{
    RvLiveJob *job = rv_live_job_find(studio, user, id);
    if (job != NULL)
        return rv_live_job_status(job);
    g_autoptr(RvJobRow) row = rv_store_get_job(studio->store, user, id);
    return row != NULL ? from_row(row) : NULL;
}

static RvLiveJob *
running_job(RvStudio *studio, const char *user)
{
    for (guint i = 0; i < studio->workers->len; i++) {
        const RvUnit *unit = rv_worker_unit(g_ptr_array_index(studio->workers, i));
        RvLiveJob *job = unit != NULL ? g_hash_table_lookup(studio->jobs, &unit->job) : NULL;
        if (job != NULL && (user == NULL || g_strcmp0(job->row->user, user) == 0))
            return job;
    }
    return NULL;
}

RvStudioStatus *
rv_studio_now(RvStudio *studio, const char *user)
{
    RvLiveJob *own = running_job(studio, user), *job = own != NULL ? own : running_job(studio, NULL);
    if (job == NULL)
        return NULL;
    RvStudioStatus *status = rv_live_job_status(job);
    if (own == NULL) {
        status->id = 0;
        g_clear_pointer(&status->name, g_free);
        g_clear_pointer(&status->prompt, g_free);
        g_clear_pointer(&status->model, g_free);
        g_clear_pointer(&status->error, g_free);
    }
    return status;
}

/* Those that left the queue (their last pictures are being written) come first. */
GPtrArray *
rv_studio_list(RvStudio *studio, const char *user, int limit, gint64 before)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_status_free);
    g_autoptr(GArray) ids = rv_queue_list(studio->queue, user);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (before == 0 && g_hash_table_iter_next(&iter, NULL, &value)) {
        RvLiveJob *job = value;
        if (g_strcmp0(job->row->user, user) == 0 && !rv_queue_has(studio->queue, job->id))
            g_ptr_array_add(list, rv_live_job_status(job));
    }
    for (guint i = 0; before == 0 && i < ids->len; i++) {
        RvLiveJob *job = g_hash_table_lookup(studio->jobs, &g_array_index(ids, gint64, i));
        if (job != NULL)
            g_ptr_array_add(list, rv_live_job_status(job));
    }
    g_autoptr(GPtrArray) rows = rv_store_ended_jobs(studio->store, user, limit, before);
    for (guint i = 0; i < rows->len; i++)
        g_ptr_array_add(list, from_row(g_ptr_array_index(rows, i)));
    return list;
}

void
rv_studio_count(RvStudio *studio, int *jobs, int *batches)
{
    *jobs = (int)g_hash_table_size(studio->jobs);
    *batches = rv_queue_count(studio->queue).batches;
}

guint64
rv_studio_ended(RvStudio *studio)
{
    return studio->ended;
}

int
rv_studio_user_jobs(RvStudio *studio, const char *user)
{
    GHashTableIter iter;
    gpointer value;
    int jobs = 0;
    g_hash_table_iter_init(&iter, studio->jobs);
    while (g_hash_table_iter_next(&iter, NULL, &value))
        jobs += g_strcmp0(((const RvLiveJob *)value)->row->user, user) == 0;
    return jobs;
}

GBytes *
rv_studio_preview(RvStudio *studio, const char *user, gint64 id)
{
    RvLiveJob *job = id != 0 ? rv_live_job_find(studio, user, id) : running_job(studio, user);
    RvUnit *unit = job != NULL ? current_unit(job) : NULL;
    if (unit == NULL)
        return NULL;
    g_mutex_lock(&unit->mutex);
    unit->preview_wanted_us = g_get_monotonic_time();
    GBytes *preview = unit->preview != NULL ? g_bytes_ref(unit->preview) : NULL;
    g_mutex_unlock(&unit->mutex);
    return preview;
}

/* ---- as JSON ---- */

void
rv_studio_status_add_json(const RvStudioStatus *s, JsonBuilder *json)
{
    json_builder_begin_object(json);
    rv_json_add_int(json, "id", s->id);
    rv_json_add_text(json, "name", s->name);
    rv_json_add_text(json, "kind", s->kind);
    rv_json_add_text(json, "state", rv_studio_state_name(s->state));
    rv_json_add_text(json, "phase", s->phase);
    rv_json_add_text(json, "model", s->model);
    rv_json_add_text(json, "prompt", s->prompt);
    rv_json_add_int(json, "position", s->position);
    rv_json_add_int(json, "ahead", s->ahead);
    rv_json_add_number(json, "progress", s->progress);
    rv_json_add_number(json, "elapsed", s->elapsed);
    json_builder_set_member_name(json, "eta");
    if (s->eta >= 0.0)
        json_builder_add_double_value(json, s->eta);
    else
        json_builder_add_null_value(json);
    rv_json_add_int(json, "step", s->step);
    rv_json_add_int(json, "steps", s->steps);
    rv_json_add_int(json, "batch", s->batch);
    rv_json_add_int(json, "batches", s->batches);
    rv_json_add_int(json, "pictures", s->pictures);
    rv_json_add_int(json, "preview", s->preview);
    rv_json_add_int(json, "devices", s->devices);
    rv_json_add_flag(json, "interrupted", s->was_interrupted);
    rv_json_add_flag(json, "held_up", s->is_held_up);
    rv_json_add_int(json, "created", s->created);
    rv_json_add_int(json, "began", s->began);
    rv_json_add_int(json, "ended", s->ended);
    rv_json_add_text(json, "error", s->error);
    json_builder_end_object(json);
}
