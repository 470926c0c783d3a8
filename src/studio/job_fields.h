/* job_fields.h - the plain fields of jobs and ControlNet units as tables, from which copying, freeing, JSON
 * and the checks of ranges follow. */
#pragma once
#include "studio/job.h"

typedef enum {
    RV_JOB_TEXT,
    RV_JOB_INT,
    RV_JOB_LONG,
    RV_JOB_NUMBER,
    RV_JOB_BOOL,
    RV_JOB_INPUT
} RvJobFieldKind;

typedef struct {
    const char *name; /* in JSON */
    RvJobFieldKind kind;
    gsize offset;
    double least, most; /* of numbers */
} RvJobField;

extern const RvJobField rv_job_fields[], rv_control_fields[]; /* end with a row without a name */

static inline char **
rv_job_text_at(gpointer object, const RvJobField *field)
{
    return (char **)(void *)((char *)object + field->offset);
}

static inline int *
rv_job_int_at(gpointer object, const RvJobField *field)
{
    return (int *)(void *)((char *)object + field->offset);
}

static inline gint64 *
rv_job_long_at(gpointer object, const RvJobField *field)
{
    return (gint64 *)(void *)((char *)object + field->offset);
}

static inline double *
rv_job_number_at(gpointer object, const RvJobField *field)
{
    return (double *)(void *)((char *)object + field->offset);
}

static inline bool *
rv_job_bool_at(gpointer object, const RvJobField *field)
{
    return (bool *)(void *)((char *)object + field->offset);
}

static inline RvStudioInput *
rv_job_input_at(gpointer object, const RvJobField *field)
{
    return (RvStudioInput *)(void *)((char *)object + field->offset);
}
