/* studio_starts.c - how soon a job that need not wait is in the sampler: what queue, store and threads cost.
 */
#include "studio/studio_internal.h"

void
rv_live_job_kick(RvLiveJob *job)
{
    RvStudio *studio = job->studio;
    job->asked_us = job->spec->asked_us > 0 ? job->spec->asked_us : g_get_monotonic_time();
    studio->submitting = job->id;
    rv_studio_kick(studio);
    studio->submitting = 0;
}

void
rv_live_job_note_begin(RvLiveJob *job, RvWorker *worker)
{
    job->was_free = job->next_unit == 0 && job->asked_us > 0 && job->studio->submitting == job->id &&
                    job->model != NULL && rv_worker_has_model(worker, job->model, job->vae);
}

void
rv_live_job_note_start(RvLiveJob *job, RvUnit *unit)
{
    RvStarts *starts = &job->studio->starts;
    g_mutex_lock(&unit->mutex);
    gint64 sampling_us = unit->sampling_us;
    double text = unit->text_seconds;
    g_mutex_unlock(&unit->mutex);
    if (!job->was_free || unit->index != 0 || sampling_us == 0)
        return;
    starts->ms[starts->count++ % RV_STARTS_KEPT] = (double)(sampling_us - job->asked_us) * 1e-3 - text * 1e3;
}

static int
by_size(gconstpointer a, gconstpointer b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

RvStudioStarts
rv_studio_starts(RvStudio *studio)
{
    const RvStarts *starts = &studio->starts;
    guint n = (guint)MIN(starts->count, RV_STARTS_KEPT);
    RvStudioStarts result = { .count = starts->count };
    if (n == 0)
        return result;
    g_autofree double *sorted = g_memdup2(starts->ms, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_size);
    result.p50 = sorted[n / 2];
    result.p99 = sorted[n * 99 / 100];
    result.max = sorted[n - 1];
    return result;
}
