/* painter.h - what a worker drives: a device that models are loaded on and that draws batches with them. The
 * engine is one (painter_engine.c); tests bring another.
 *
 * All calls come from the worker's thread. */
#pragma once
#include "engine/turns.h"
#include "studio/unit.h"

typedef struct {
    const char *device, *precision, *models_dir;
    const char *const *folders; /* of models, NULL-terminated */
    int threads;
    const int *cancel; /* not 0: give up with RV_ERROR_CANCELLED */
    RvTurns *turns;    /* of the device, when live frames are drawn on it too; NULL */
    void *user;        /* of tests */
} RvPainterOptions;

/* What a unit draws with, loaded. */
typedef struct {
    gpointer model;          /* NULL: the job needs none */
    gpointer refiner, hires; /* as the unit's; NULL: none */
} RvPainterModels;

typedef struct RvPainterClass {
    gpointer (*open)(const RvPainterOptions *options, GError **error);
    void (*close)(gpointer painter); /* accepts NULL */
    gpointer (*load)(gpointer painter, const char *model, const char *vae, GError **error);
    void (*unload)(gpointer painter, gpointer model); /* accepts NULL */
    /* Bytes that a model will take at least, before it is loaded; and takes, loaded. */
    gsize (*estimate)(gpointer painter, const char *model, const char *vae);
    gsize (*bytes)(gpointer painter, gpointer model);
    /* Gives the device's memory to others and takes it back, under the models that are loaded. sleep: false
     * when it would not pay, or failed: close it then, as after a failed wake. NULL: never. */
    bool (*sleep)(gpointer painter);
    bool (*wake)(gpointer painter, GError **error);
    /* Nothing works on the device any more: close it. NULL: never. */
    bool (*is_lost)(gpointer painter);
    /* The device's own memory; false when it uses the host's. */
    bool (*memory)(gpointer painter, gint64 *free_bytes, gint64 *total_bytes);
    /* Adds to the unit's drawn and notes. */
    bool (*draw)(gpointer painter, const RvPainterModels *models, RvUnit *unit, GError **error);
} RvPainterClass;

extern const RvPainterClass rv_painter_engine;
