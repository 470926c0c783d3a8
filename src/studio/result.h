/* result.h - what came of a job. Results are counted references to data that does not change; any thread. */
#pragma once
#include "base/error.h"

typedef enum {
    RV_STUDIO_QUEUED,
    RV_STUDIO_RUNNING,
    RV_STUDIO_DONE, /* also when it was interrupted: pictures are there as far as they were drawn */
    RV_STUDIO_FAILED,
    RV_STUDIO_CANCELLED, /* before it drew anything, or by DELETE */
} RvStudioState;
const char *rv_studio_state_name(RvStudioState state); /* "queued" ... */
bool rv_studio_state_parse(const char *name, RvStudioState *state);

typedef enum {
    RV_STUDIO_SAMPLE, /* a picture that was asked for */
    RV_STUDIO_MAP,    /* what a ControlNet saw */
    RV_STUDIO_GRID,   /* several in one */
} RvStudioRole;
const char *rv_studio_role_name(RvStudioRole role);  /* "sample", "map", "grid" */
RvStudioRole rv_studio_role_parse(const char *name); /* whatever it is not is a sample */

typedef struct {
    RvStudioRole role;
    int part;       /* of the job's parts; 0 without */
    GBytes *bytes;  /* the file, infotext within; NULL when it is gone from disk */
    char *path;     /* of the file, absolute */
    char *infotext; /* never NULL */
    gint64 seed, subseed;
    int width, height;
    gint64 gallery_id; /* 0: not in the gallery */
} RvStudioPicture;

typedef struct {
    gatomicrefcount count;
    gint64 id;
    char *user, *name; /* name: the client's own, or NULL */
    RvStudioState state;
    bool was_interrupted;
    GPtrArray *pictures; /* RvStudioPicture, samples in order, maps last; never NULL */
    char *info;          /* A1111's `info`, a JSON text, of the samples; NULL unless done */
    GPtrArray *notes;    /* char *: what was asked for in vain; never NULL */
    GError *error;       /* of a failed one */
    char *extra;         /* the job's */
    double seconds;      /* on the device */
} RvStudioResult;

RvStudioResult *rv_studio_result_new(gint64 id, const char *user); /* empty, with one reference */
RvStudioResult *rv_studio_result_ref(RvStudioResult *result);
void rv_studio_result_unref(RvStudioResult *result); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvStudioResult, rv_studio_result_unref)
void rv_studio_picture_free(RvStudioPicture *picture); /* accepts NULL */
