/* studio_internal.h - what the files of the studio share. */
#pragma once
#include "engine/library.h"
#include "store/store.h"
#include "studio/model_list.h"
#include "studio/painter.h"
#include "studio/queue.h"
#include "studio/studio.h"
#include "studio/worker.h"

/* A job that has not ended: its row, as it should be on disk, and how far it is. */
typedef struct {
    RvStudio *studio;
    gint64 id;
    RvJobRow *row;
    RvStudioJob *spec;
    char *model, *vae, *hash; /* of its next batch, as a unit has them; model NULL: needs none */
    char *refiner, *hires_model, *hires_vae, *refiner_title, *hires_title;
    GArray *waiters;     /* RvStudioWaiter; the first is the submitter's when has_submitter */
    GPtrArray *pictures; /* RvStudioPicture that are on disk and in the store */
    GPtrArray *notes;
    GPtrArray *units; /* RvUnit on devices or being written, by index */
    GPtrArray *done;  /* RvUnit that ended and are not in the store yet, by index */
    int next_unit;    /* the first that was not given to a worker */
    int resumed;      /* so many units to begin yet may have been written before a crash */
    bool has_submitter, is_accepted, is_committing, is_ending, was_skipped;
    bool is_at_fault;  /* devices were lost with it, again and again */
    bool has_ended;    /* and the row on disk says so */
    RvStudioState end; /* what it will be, once it ends */
    GError *error;
    guint retry; /* source: the store took nothing, and is tried again */
    gint64 began_us;
    gint64 asked_us; /* when its request came; 0: before a restart */
    bool was_free;   /* a device with its model took it at once */
} RvLiveJob;

#define RV_STARTS_KEPT 512
/* How long jobs took from their request to the sampler, the texts left out; ms. */
typedef struct {
    double ms[RV_STARTS_KEPT]; /* a ring */
    guint64 count;
} RvStarts;

typedef struct RvEventLog RvEventLog;
typedef struct RvStudioFolders RvStudioFolders;

struct RvStudio {
    RvStore *store;
    RvModelList *models;
    RvLibrary *library;
    RvStudioFolders *folders;
    RvQueue *queue;
    GPtrArray *workers;
    GHashTable *jobs;  /* id -> RvLiveJob */
    guint64 ended;     /* jobs that are no longer in it */
    GHashTable *rates; /* model -> seconds per work of a batch, double */
    RvEventLog *events;
    RvStudioLimits limits;
    char *data, *outputs, *vae, *paused;
    char *stall;      /* what the store said when it last took no job's pictures; NULL: it took them */
    gint64 opened_us; /* g_get_real_time() */
    gint64 next_id;
    gint64 submitting; /* job that is being submitted; 0 */
    RvStarts starts;
    RvStudioOnDue on_due; /* NULL: nobody makes anything of ended jobs */
    void *on_due_user;
    GQueue due;                    /* RvJobRow to tell of */
    guint tick, purge, due_source; /* sources */
    guint64 revision;              /* of the queue, for events */
    bool is_stopping;
    bool has_blamed; /* a job, for a device that was lost */
};

/* ---- studio_submit.c ---- */
RvLiveJob *rv_live_job_new(RvStudio *studio, const char *user, RvStudioJob *spec, gint64 id);
void rv_live_job_free(gpointer job);
RvLiveJob *rv_live_job_find(RvStudio *studio, const char *user, gint64 id); /* NULL */
/* Resolves model and VAE of the part that comes next. */
bool rv_live_job_resolve(RvLiveJob *job, GError **error);
/* The part that batch `index` of the job belongs to, and its number there. */
RvStudioJob *rv_live_job_part(RvLiveJob *job, int index, int *part, int *batch);
int rv_studio_job_batches(const RvStudioJob *spec);
void rv_studio_recover(RvStudio *studio); /* takes up what the store has */

/* ---- wildcards.c ---- */
/* Folders of the user's wildcards and of everybody's, in this order. Free with g_strfreev. */
char **rv_studio_wildcard_folders(RvStudio *studio, const char *user);

/* ---- studio_run.c ---- */
void rv_studio_kick(RvStudio *studio); /* gives idle devices work */
void rv_studio_on_drawn(RvWorker *worker, RvUnit *unit, bool ok, void *user);
void rv_studio_on_end(RvWorker *worker, RvUnit *unit, void *user);
double rv_studio_estimate(RvStudio *studio, const RvLiveJob *job); /* seconds of a batch; 0: not known */
void rv_studio_check_disk(RvStudio *studio);
void rv_studio_purge(RvStudio *studio);
/* Paths of files below the folder, written since then (seconds since 1970), that no row knows: what a crash
 * left of batches. */
GPtrArray *rv_studio_leftovers(RvStudio *studio, const char *folder, gint64 since);
char *rv_studio_user_folder(const char *user); /* a safe file name */

void rv_studio_set_paused(RvStudio *studio, const char *why); /* NULL: goes on */

/* ---- studio_folders.c ---- */
void rv_studio_folders_begin(RvStudio *studio, const char *const *folders);
void rv_studio_folders_end(RvStudio *studio);
/* An event to everybody when a list is another than it was. */
void rv_studio_folders_tell(RvStudio *studio);

/* ---- studio_starts.c ---- */
/* A new job: gives it to a device that is idle, if there is one. */
void rv_live_job_kick(RvLiveJob *job);
/* Before and after its first batch. */
void rv_live_job_note_begin(RvLiveJob *job, RvWorker *worker);
void rv_live_job_note_start(RvLiveJob *job, RvUnit *unit);

/* ---- studio_due.c ---- */
/* Soon: that something is due of this job that ended; nothing if nothing is. */
void rv_studio_tell_due(RvStudio *studio, const RvJobRow *row);
void rv_studio_due_clear(RvStudio *studio);

/* ---- studio_commit.c ---- */
/* Writes to the store what is due; ends the job when all is. */
void rv_live_job_commit(RvLiveJob *job);

/* ---- studio_result.c ---- */
RvStudioResult *rv_live_job_result(RvLiveJob *job);
char *rv_studio_build_info(const RvStudioJob *spec, GPtrArray *pictures);
char *rv_studio_notes_json(GPtrArray *notes); /* NULL when there are none */

/* ---- studio_status.c ---- */
RvStudioStatus *rv_live_job_status(RvLiveJob *job);

/* ---- studio_events.c ---- */
RvEventLog *rv_event_log_new(void);
void rv_event_log_free(RvEventLog *log);
bool rv_event_log_has_watchers(const RvEventLog *log);
void rv_studio_tell(RvStudio *studio, const char *user, const char *name, JsonBuilder *json);
void rv_studio_tell_job(RvLiveJob *job, const char *name); /* its status */
void rv_studio_tell_queue(RvStudio *studio);
