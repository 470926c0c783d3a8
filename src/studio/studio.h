/* studio.h - picture jobs of several users on the devices of this machine: one fair queue, kept on disk.
 *
 * Everything here is for the main loop's thread (the default main context) and never blocks on a device;
 * each device has a thread of its own, which opens models, draws and writes files. Callbacks come on the main
 * loop, never from within the call that caused them.
 *
 * Users are names (as rv_auth_check() gives them; "" is the one of a server without log-ins). A user sees,
 * cancels and moves only jobs of that name: others' are RV_ERROR_NOT_FOUND.
 *
 * The order: users take turns, one batch each; among a user's jobs the order of submission, unless moved. A
 * user whose next job needs the model that is loaded is preferred for a bounded number of turns.
 *
 * A job that was accepted is kept: it runs again after a crash from the first batch whose pictures were not
 * yet written. When the disk is full the queue stands and goes on once there is room. */
#pragma once
#include <json-glib/json-glib.h>

#include "engine/turns.h"
#include "studio/job.h"
#include "studio/result.h"

typedef struct RvStudio RvStudio;
typedef struct RvStore RvStore;

typedef struct {
    const char *data;           /* folder: reverie.db, jobs/, outputs/ */
    const char *outputs;        /* NULL: DATA/outputs */
    const char *const *folders; /* of models, in order of precedence, NULL-terminated */
    const char *model;          /* the default's path; NULL: jobs must name one */
    const char *vae;            /* its VAE unless the job says one; NULL */
    const char *device;         /* "auto", "cpu", "cuda:0,1" */
    const char *precision;
    int threads;
    RvTurnsTable *turns; /* of devices that live frames are drawn on too; borrowed; NULL */
    gsize model_bytes;   /* of memory for models that stay loaded; 0: half of what is free at the start */
    const struct RvPainterClass *painter; /* what draws (painter.h); NULL: the engine */
    void *painter_user;
} RvStudioOptions;

/* Opens the store and takes up what was queued. Devices are opened at the first job. */
RvStudio *rv_studio_new(const RvStudioOptions *options, GError **error);
/* No further job is taken or begun; what is on a device stops and stays queued. */
void rv_studio_refuse(RvStudio *studio);
int rv_studio_in_work(RvStudio *studio); /* batches on devices and being written */
/* Running jobs stop and stay queued. Returns by `deadline_us` (g_get_monotonic_time()). Accepts NULL. */
void rv_studio_free(RvStudio *studio, gint64 deadline_us);
const char *rv_studio_outputs(RvStudio *studio); /* the folder that gallery rows' paths are below */
RvStore *rv_studio_store(RvStudio *studio);      /* users' documents and gallery (store/store.h); borrowed */

/* ---- jobs ---- */

/* Who wants to hear of a job; functions may be NULL. */
typedef struct {
    /* The job is on disk (error NULL), or was not accepted: then on_done does not come. */
    void (*on_accepted)(gint64 id, const GError *error, void *user);
    /* The end: pictures with their bytes, or the error. `result` is borrowed: take a reference. */
    void (*on_done)(RvStudioResult *result, void *user);
    void *user;
} RvStudioWaiter;

/* Takes `job`, whatever comes of it; `waiter` may be NULL. The id (above 0), or 0 with RV_ERROR_USAGE
 * (nonsense, or over the limits), RV_ERROR_NOT_FOUND (model), RV_ERROR_BUSY (too many jobs of this user, or
 * the name is taken, or the server stops), RV_ERROR_IO (disk full). */
gint64 rv_studio_submit(RvStudio *studio, const char *user, RvStudioJob *job, const RvStudioWaiter *waiter,
                        GError **error);
/* Adds a waiter to a job that has not ended; its on_accepted is not called. False: no such live job. */
bool rv_studio_wait(RvStudio *studio, const char *user, gint64 id, const RvStudioWaiter *waiter);
/* No callback comes to this waiter->user any more, of any job. */
void rv_studio_forget(RvStudio *studio, const void *waiter_user);

typedef enum {
    RV_STUDIO_CANCEL,           /* ends it; pictures of finished batches stay, it counts as cancelled */
    RV_STUDIO_CANCEL_IF_QUEUED, /* only if nothing was drawn yet */
    RV_STUDIO_INTERRUPT,        /* ends it with the pictures as far as they were drawn: done */
    RV_STUDIO_SKIP,             /* the same with the batch that runs; the next batches follow */
} RvStudioStop;
/* `id` 0: the user's job that runs now. RV_ERROR_NOT_FOUND: no such live job of this user. */
bool rv_studio_stop(RvStudio *studio, const char *user, gint64 id, RvStudioStop how, GError **error);
/* To `place` (0: first) among the user's own queued jobs. */
bool rv_studio_move(RvStudio *studio, const char *user, gint64 id, int place, GError **error);
/* The id of the user's job with this name (the newest of them); 0: none. */
gint64 rv_studio_find_job(RvStudio *studio, const char *user, const char *name);

typedef struct {
    gint64 id;
    char *name, *kind, *model, *prompt; /* name may be NULL; model: as in infotexts, or NULL */
    RvStudioState state;
    int position;        /* in the queue: batches of others that run before, plus 1; 0: running or ended */
    int ahead;           /* jobs of anybody that will have ended before */
    double progress;     /* 0 to 1 */
    double elapsed, eta; /* seconds since it began, until it ends; eta below 0: not known */
    const char *phase;   /* "queued", "loading", "text", "encode", "sample", "decode", "save", "ended" */
    int step, steps;     /* of the sampler in this batch */
    int devices;         /* that draw it now */
    bool is_held_up;     /* it waits for live frames, which go first on its device */
    int batch, batches;  /* batch: the one in work, from 0 */
    int pictures;        /* that are finished */
    bool was_interrupted, was_skipped;
    gint64 created, began, ended; /* seconds since 1970; 0: not yet */
    int preview;                  /* rises with every new preview; 0: none yet */
    char *error;                  /* of a failed one */
} RvStudioStatus;
void rv_studio_status_free(RvStudioStatus *status); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvStudioStatus, rv_studio_status_free)

/* Live and ended jobs alike; NULL: no such job of this user. */
RvStudioStatus *rv_studio_status(RvStudio *studio, const char *user, gint64 id);
/* What runs now: the user's own job if one runs, else whoever's, with what is private left out (name, prompt
 * NULL; id 0); NULL: nothing. */
RvStudioStatus *rv_studio_now(RvStudio *studio, const char *user);
/* The user's jobs, live ones first in their order, then ended ones, the newest first, at most `limit` of
 * these older than job `before` (0: from the newest). Array of RvStudioStatus. */
GPtrArray *rv_studio_list(RvStudio *studio, const char *user, int limit, gint64 before);
/* From a request to the first evaluation of the sampler, less the encoding of its texts, in milliseconds: of
 * the last 512 jobs that found a device free and their model loaded. */
typedef struct {
    guint64 count; /* that there were */
    double p50, p99, max;
} RvStudioStarts;
RvStudioStarts rv_studio_starts(RvStudio *studio);
/* Live jobs of everybody, and the batches that they are made of. */
void rv_studio_count(RvStudio *studio, int *jobs, int *batches);
/* Jobs that have ended since the start: who looks now and then sees short ones by it. */
guint64 rv_studio_ended(RvStudio *studio);
int rv_studio_user_jobs(RvStudio *studio, const char *user); /* live ones */
/* Why the queue stands ("the disk is full ..."); NULL: it does not. Borrowed. */
const char *rv_studio_paused(RvStudio *studio);
/* The last preview of a live job of this user, a JPEG; a new reference, or NULL. Asking makes the worker draw
 * further ones for a while. */
GBytes *rv_studio_preview(RvStudio *studio, const char *user, gint64 id);
/* Of an ended job, with the pictures' bytes read from disk by a thread; the callback gets NULL with an error.
 * `cancellable` may be NULL. */
void rv_studio_load_result(RvStudio *studio, const char *user, gint64 id, GCancellable *cancellable,
                           void (*done)(RvStudioResult *result, const GError *error, void *user_data),
                           void *user_data);

/* A picture made elsewhere (a grid of several) into the user's outputs and gallery, by a thread. */
typedef struct {
    RvStudioRole role;
    const char *folder;         /* one of A1111's: "txt2img-grids" */
    const char *prefix;         /* of the file's name: "grid"; NULL: a number alone begins it */
    const char *folder_pattern; /* as a job's; NULL: "[date]" */
    const char *name_pattern;   /* NULL: "[seed]" */
    const char *styles;         /* may be NULL */
    bool no_number;
    int prompt_words;
    GBytes *bytes;        /* a reference is taken */
    const char *infotext; /* may be NULL */
    gint64 seed, job;     /* job: that it belongs to; 0: none */
    bool settles;         /* with it nothing more is due of the job */
    bool is_again;        /* a crash may have left its file, unknown to the store: then that one is taken */
} RvStudioKeep;
/* `done` may be NULL; the path is absolute. */
void rv_studio_keep_picture(RvStudio *studio, const char *user, const RvStudioKeep *what,
                            void (*done)(const char *path, const GError *error, void *user_data),
                            void *user_data);

/* Of a job that is done something is due (its `due`), and whoever submitted it is gone, with the server that
 * was, or before. It is settled by rv_studio_settle(), by a picture that is kept (`settles`), or by a job
 * that `follows` it: each with what it stands for, whole or not at all. */
typedef void (*RvStudioOnDue)(const char *user, gint64 id, const char *due, void *user_data);
/* Of those that ended before, and from now on; once for each as long as the studio lives. */
void rv_studio_on_due(RvStudio *studio, RvStudioOnDue on_due, void *user_data);
/* It is made, or cannot be: the next studio does not tell of it. */
void rv_studio_settle(RvStudio *studio, gint64 id);

/* ---- events ---- */

typedef struct {
    guint64 sequence; /* rises from 1 */
    const char *user; /* whom it is for; NULL: everybody */
    const char *name; /* "job" (a status changed), "progress", "picture", "queue" (length, paused),
                       * "models" (files that can be chosen came, went or changed) */
    const char *data; /* a JSON object */
} RvStudioEvent;
typedef void (*RvStudioOnEvent)(const RvStudioEvent *event, void *user_data);
/* Events for `user` from now on, and before that those kept after sequence `since` (G_MAXUINT64: none). */
void rv_studio_watch(RvStudio *studio, const char *user, guint64 since, RvStudioOnEvent on_event,
                     void *user_data);
void rv_studio_unwatch(RvStudio *studio, void *user_data);
/* A status as events and routes show it: a member of whatever `json` is in. */
void rv_studio_status_add_json(const RvStudioStatus *status, JsonBuilder *json);

/* ---- models ---- */

typedef struct {
    char *path;   /* absolute */
    char *name;   /* "sub_name": below its folder, without ending, "/" as "_" */
    char *stem;   /* the file's or folder's name without ending */
    char *title;  /* "sub/name.safetensors", with " [10 hex]" once the hash is known */
    char *sha256; /* NULL until it was computed, in the background; folders have none */
    char *family; /* "sd15" ...; NULL until it was looked at */
    gint64 bytes, modified;
    bool is_loaded; /* on a device */
} RvStudioModel;
/* The models in the folders, by name; array of RvStudioModel, good until freed with g_ptr_array_unref. */
GPtrArray *rv_studio_models(RvStudio *studio);
/* By title (with or without its hash), name, stem, file name, 10-hex or whole sha256, or the path of a listed
 * one; NULL is the default. The path, free with g_free; RV_ERROR_NOT_FOUND. */
char *rv_studio_find_model(RvStudio *studio, const char *name, GError **error);
/* The same as a listed model's title; free with g_free. NULL when there is no such model. */
char *rv_studio_model_title(RvStudio *studio, const char *name);
/* Looks into the folders again, also at files that were still being written a moment ago. */
void rv_studio_refresh_models(RvStudio *studio);
/* Gives up all loaded models and what else is taken of the devices; `done` comes when their memory is free.
 * Jobs load them again. */
void rv_studio_unload(RvStudio *studio, void (*done)(void *user_data), void *user_data);
/* Loads a model (NULL: the default) on a device that is idle. `done` may be NULL. */
void rv_studio_load(RvStudio *studio, const char *model, void (*done)(const GError *error, void *user_data),
                    void *user_data);
bool rv_studio_is_loading(RvStudio *studio);
/* Of a device that has memory of its own, as it was after its last batch. */
typedef struct {
    gint64 free_bytes, total_bytes; /* of everybody's */
    gsize models, peak;             /* of the studio's models and scratch; the most there ever was */
    int failures;                   /* batches that found too little of it */
} RvStudioMemory;
/* False: device `index` (from 0) does not exist, was not opened yet or uses the host's memory. */
bool rv_studio_memory(RvStudio *studio, guint index, RvStudioMemory *memory);
/* Bytes of weights and scratch on the devices, of the studio's models. */
gsize rv_studio_device_bytes(RvStudio *studio);

/* ---- limits, set by an admin ---- */

typedef struct {
    int jobs_per_user;           /* live ones */
    int max_side;                /* pixels, of pictures; after hires */
    int max_batch, max_pictures; /* batch_size; pictures of one job */
    int max_steps;
    int keep_jobs_hours; /* ended jobs, and their pictures that were not saved */
} RvStudioLimits;
RvStudioLimits rv_studio_limits(RvStudio *studio);
/* RV_ERROR_USAGE for nonsense. */
bool rv_studio_set_limits(RvStudio *studio, const RvStudioLimits *limits, GError **error);
void rv_studio_limits_add_json(const RvStudioLimits *limits, JsonBuilder *json); /* an object */
/* Those that are members change; all or none. */
bool rv_studio_limits_read_json(RvStudioLimits *limits, JsonObject *object, GError **error);
