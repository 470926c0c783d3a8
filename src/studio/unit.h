/* unit.h - one batch of one job on its way through a device's thread and the one that writes its pictures.
 *
 * What to do does not change once a worker has it. How it goes may be asked and steered by any thread. What
 * came of it is the worker's until it gives the unit back. */
#pragma once
#include "media/picture.h"
#include "studio/job.h"
#include "studio/result.h"

typedef enum {
    RV_UNIT_QUEUED,
    RV_UNIT_LOADING,
    RV_UNIT_TEXT,
    RV_UNIT_ENCODE,
    RV_UNIT_SAMPLE,
    RV_UNIT_DECODE,
    RV_UNIT_SAVE,
} RvUnitPhase;
const char *rv_unit_phase_name(RvUnitPhase phase);

typedef enum {
    RV_UNIT_GO,
    RV_UNIT_FINISH, /* no further step; the pictures as they are */
    RV_UNIT_ABANDON,
} RvUnitStop;

/* A picture as it was drawn. */
typedef struct {
    RvStudioRole role;
    RvPicture *picture;
    char *infotext;
    gint64 seed, subseed;
} RvDrawn;

typedef struct {
    gatomicrefcount count;
    /* What to do. */
    gint64 job;
    RvStudioJob *spec; /* the part; seeds are set */
    int part, batch;   /* of the job's parts; of the part */
    int index;         /* over all batches of the job */
    char *model, *vae; /* paths; model NULL: none is needed; vae as RvPipelineOptions' */
    char *hash;        /* first ten digits of the model's; NULL: not known */
    char *refiner, *hires_model, *hires_vae; /* paths; NULL: none */
    char *refiner_title, *hires_title;       /* "STEM [HASH]", as infotexts name them */
    char **wildcards;                        /* folders that wildcards lie in beside the models' */
    char *user;                              /* whose; "" of a server without log-ins */
    char *
        outputs; /* the folder of all outputs, which `folder` lies in; NULL: the samples are not kept there */
    char *folder;     /* where the samples go, absolute; folders of the job's pattern come below */
    char *job_folder; /* where everything else goes */
    bool is_numbered; /* samples are called as the job's pattern says; else sample-JOB-BATCH-NUMBER.png */
    GPtrArray
        *leftovers; /* files below the folder that a crash may have left of this batch, absolute; or NULL */
    /* How it goes. */
    GMutex mutex;
    RvUnitPhase phase;
    int step, steps;
    GBytes *preview;
    int previews;
    gint64 preview_wanted_us; /* asked for last */
    gint64 sampling_us;       /* when the sampler began, monotonic; 0: not yet */
    double text_seconds;      /* what the texts took before */
    char *blocked;            /* why it cannot go on (the disk is full); NULL */
    gint stop;                /* RvUnitStop, atomic */
    /* What came of it. */
    GPtrArray *drawn;    /* RvDrawn; empty once they are written */
    GPtrArray *pictures; /* RvStudioPicture */
    GPtrArray *notes;    /* char * */
    GError *error;
    double seconds; /* of drawing */
    gint64 began;   /* seconds since 1970 */
} RvUnit;

RvUnit *rv_unit_new(void); /* with one reference; fields are filled by whoever makes it */
RvUnit *rv_unit_ref(RvUnit *unit);
void rv_unit_unref(RvUnit *unit); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvUnit, rv_unit_unref)

void rv_unit_set_phase(RvUnit *unit, RvUnitPhase phase, int step, int steps);
/* Only the first counts. */
void rv_unit_set_sampling(RvUnit *unit, gint64 sampling_us, double text_seconds);
void rv_unit_set_preview(RvUnit *unit, GBytes *bytes); /* takes the bytes */
/* Has somebody asked for previews lately? */
bool rv_unit_wants_preview(RvUnit *unit);
void rv_unit_set_blocked(RvUnit *unit, const char *why); /* NULL: goes on */
RvUnitStop rv_unit_stopped(RvUnit *unit);
/* Before it is drawn once more. */
void rv_unit_forget_drawn(RvUnit *unit);
/* Takes the picture. */
void rv_unit_add_drawn(RvUnit *unit, RvStudioRole role, RvPicture *picture, const char *infotext, gint64 seed,
                       gint64 subseed);

/* save.c: writes what was drawn, in the format that the job asks for. While there is no room it waits and
 * tries again. RV_ERROR_CANCELLED when it is abandoned meanwhile. */
bool rv_unit_save(RvUnit *unit, GError **error);
