/* store.h - what lasts: jobs, pictures, users' documents and hashes of models in one SQLite file (WAL).
 *
 * Changes are made by a thread of the store, in order, many in one transaction when many wait; their
 * callbacks come on the main loop once they are on disk (the thread that opened the store runs that loop).
 * Reading is a plain call on the main loop and sees what was written to disk, documents also what is on its
 * way there. RV_ERROR_IO with "the disk is full" in a callback means that nothing of the change was done. */
#pragma once
#include "base/error.h"

typedef struct RvStore RvStore;
typedef void (*RvStoreDone)(const GError *error, void *user_data);

/* `path` is made when it is not there; one of an older version is brought up to date, one of a newer refused
 * with RV_ERROR_UNSUPPORTED. RV_ERROR_INVALID when it is damaged. */
RvStore *rv_store_open(const char *path, GError **error);
void rv_store_close(RvStore *store); /* writes what waits; callbacks do not come any more; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvStore, rv_store_close)
/* Waits until everything that was asked for before is on disk or failed; its callbacks come later. */
void rv_store_flush(RvStore *store);

/* ---- documents: a user's options, styles, form ..., one JSON text a name ---- */

/* A copy, free with g_free; NULL: there is none. */
char *rv_store_get_document(RvStore *store, const char *user, const char *name);
/* `json` NULL removes it; `done` may be NULL. */
void rv_store_set_document(RvStore *store, const char *user, const char *name, const char *json,
                           RvStoreDone done, void *user_data);

/* ---- jobs ---- */

typedef struct {
    gint64 id;
    char *user, *name, *kind, *state, *model, *prompt; /* name and model may be NULL */
    char *request;                                     /* JSON */
    gint64 place;                                      /* among the user's queued jobs */
    gint64 created, began, ended;                      /* seconds since 1970; 0: not yet */
    int batches, batches_done, pictures;
    bool was_interrupted;
    int error_code;             /* RvError */
    char *error, *info, *notes; /* NULL without; notes: a JSON array of text */
    double seconds;
    char *due; /* what is still to be made of its pictures; NULL: nothing */
    /* rv_store_add_job(): of that job nothing is due any more, in the same change; 0: of none. */
    gint64 settles;
} RvJobRow;
void rv_job_row_free(RvJobRow *row); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvJobRow, rv_job_row_free)

typedef struct {
    gint64 id, job; /* id 0: given by the store; job 0: of none */
    char *user;
    int part, batch, number; /* within the job */
    char *role;              /* "sample", "map", "grid" */
    char *path;              /* below the data folder, or the outputs' one when in_gallery */
    char *infotext;
    gint64 seed, subseed;
    int width, height;
    gint64 bytes, created; /* created: seconds since 1970 */
    bool in_gallery, favourite;
    gint64 trashed; /* when; 0: not */
} RvPictureRow;
void rv_picture_row_free(RvPictureRow *row); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvPictureRow, rv_picture_row_free)

/* A file that must be on disk before the row that speaks of it. */
typedef struct {
    char *path; /* absolute */
    GBytes *bytes;
} RvStoreFile;

gint64 rv_store_last_job(RvStore *store); /* the highest id there ever was; 0: none */
/* Writes `files` (RvStoreFile; may be NULL; a reference is taken), then the row. */
void rv_store_add_job(RvStore *store, const RvJobRow *row, GPtrArray *files, RvStoreDone done,
                      void *user_data);
/* What changes in a row: everything but id, user, name, kind, request, prompt, created. With `pictures`
 * (RvPictureRow; may be NULL; taken over, their ids are filled in before `done`) in one change. */
void rv_store_update_job(RvStore *store, const RvJobRow *row, GPtrArray *pictures, RvStoreDone done,
                         void *user_data);
/* Nothing is due of an ended job any more. */
void rv_store_settle_job(RvStore *store, gint64 id);
void rv_store_set_places(RvStore *store, const gint64 *ids, gsize n); /* place i for ids[i] */
/* Rows and their pictures' rows that are in no gallery; gallery rows stay, without a job. */
void rv_store_remove_jobs(RvStore *store, const gint64 *ids, gsize n, RvStoreDone done, void *user_data);
RvJobRow *rv_store_get_job(RvStore *store, const char *user, gint64 id);         /* NULL: none of this user */
RvJobRow *rv_store_find_job(RvStore *store, const char *user, const char *name); /* the newest */
/* Arrays of RvJobRow without `request`. Live: queued and running, of everybody, by place; with `request`. */
GPtrArray *rv_store_live_jobs(RvStore *store);
GPtrArray *rv_store_ended_jobs(RvStore *store, const char *user, int limit, gint64 before_id);
/* Ended ones of everybody with something due. */
GPtrArray *rv_store_due_jobs(RvStore *store);
/* Of everybody, that ended before then; ids. */
GArray *rv_store_old_jobs(RvStore *store, gint64 ended_before);

/* ---- pictures ---- */

GPtrArray *rv_store_job_pictures(RvStore *store, const char *user, gint64 job); /* RvPictureRow, in order */
/* Takes `row`. `settles`: of that job nothing is due any more, in the same change; 0: of none. */
void rv_store_add_picture(RvStore *store, RvPictureRow *row, gint64 settles, RvStoreDone done,
                          void *user_data);
bool rv_store_has_picture_path(RvStore *store, const char *path);

typedef enum { RV_GALLERY_ALL, RV_GALLERY_FAVOURITES, RV_GALLERY_TRASH } RvGalleryShelf;
typedef struct {
    RvGalleryShelf shelf;       /* ALL: but the trash */
    const char *search;         /* in the infotext, any case; NULL */
    const char *model;          /* by this model, as the infotext names it; NULL: any */
    const char *folder;         /* "txt2img-images"; NULL: any */
    gint64 from, until;         /* created, seconds since 1970; 0: any */
    gint64 before_id, after_id; /* paging: ids below (newest first) or above; 0 */
    int limit;
} RvGalleryFilter;
GPtrArray *rv_store_gallery(RvStore *store, const char *user, const RvGalleryFilter *filter);
int rv_store_gallery_count(RvStore *store, const char *user, const RvGalleryFilter *filter); /* limit aside */
RvPictureRow *rv_store_get_picture(RvStore *store, const char *user, gint64 id); /* NULL: none of this user */
/* -1 leaves as it is. */
void rv_store_mark_picture(RvStore *store, const char *user, gint64 id, int favourite, gint64 trashed,
                           RvStoreDone done, void *user_data);
void rv_store_remove_picture(RvStore *store, const char *user, gint64 id, RvStoreDone done, void *user_data);
/* Of everybody, put into the trash before then. */
GPtrArray *rv_store_old_trash(RvStore *store, gint64 trashed_before);

/* ---- hashes of model files ---- */

char *rv_store_get_hash(RvStore *store, const char *path, gint64 bytes,
                        gint64 modified); /* NULL: not known */
void rv_store_set_hash(RvStore *store, const char *path, gint64 bytes, gint64 modified, const char *sha256);
