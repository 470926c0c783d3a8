/* engine.h - which device computes, and in which precision.
 *
 * An engine and everything opened on it belong to one thread at a time. */
#pragma once
#include "engine/turns.h"
#include "tensor/program.h"

typedef struct RvEngine RvEngine;

typedef struct {
    const char *device;    /* "auto" (or NULL), "cpu", "cuda", "cuda:0" */
    const char *precision; /* "auto" (or NULL), "fp32", "fp16", "bf16", "fp8" */
    int threads;           /* 0: one per core that the process may use */
    const int *cancel;     /* work stops with RV_ERROR_CANCELLED when *cancel is not 0; may be NULL */
    bool background;       /* gives way to other engines' work on the same GPU */
    RvTurns *turns;        /* of a device that live frames are drawn on too; NULL: nobody else counts */
    RvFp8 fp8;             /* of precision fp8: RV_FP8_NONE is RV_FP8_FASTER; tests want more layers */
} RvEngineOptions;

/* "cuda:0,1" is cuda:0 and cuda:1: the devices of a list as names for RvEngineOptions, in its order. NULL is
 * "auto". Free with g_strfreev. */
char **rv_engine_split_devices(const char *list);

RvEngine *rv_engine_open(const RvEngineOptions *options, GError **error);
void rv_engine_close(RvEngine *engine); /* after its pipelines; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvEngine, rv_engine_close)

/* Gives the device's memory to other programs, and takes it back under everything that was opened on the
 * engine, which is as it was: what is compiled stays, weights wait in pinned memory of the host, as far as at
 * most half of what is available there suffices, or are read again. Not worth while for a CPU, whose weights
 * are better closed; REVERIE_SLEEP=always and never decide otherwise. Until the device is awake again nothing
 * may be drawn. Errors as rv_device_sleep() and rv_device_wake(). */
bool rv_engine_can_sleep(const RvEngine *engine);
bool rv_engine_sleep(RvEngine *engine, GError **error);
bool rv_engine_wake(RvEngine *engine, GError **error);

RvDevice *rv_engine_device(RvEngine *engine);            /* borrowed */
const char *rv_engine_precision(const RvEngine *engine); /* "fp32" ... as it was chosen */
bool
rv_engine_is_fp8(const RvEngine *engine); /* UNets multiply 8-bit floats (calibrate.h), the rest is fp16 */
const int *rv_engine_cancel(const RvEngine *engine);

/* Around work on an engine with turns: waits until the device is free for it. On a GPU only runs of programs
 * need it to themselves: they take their turns, these do nothing. */
bool rv_engine_begin_turn(RvEngine *engine, GError **error); /* RV_ERROR_CANCELLED: it did not begin */
void rv_engine_end_turn(RvEngine *engine);                   /* nothing if none began */
/* Between two steps of work: whoever else shares the device may go first. RV_ERROR_CANCELLED once the
 * engine's cancel flag is set. */
bool rv_engine_pause(RvEngine *engine, GError **error);

/* Ceilings of this device, measured now: a large matrix product and a large copy (bytes read plus written).
 */
typedef struct {
    double matmul_flops; /* per second */
    double copy_bytes;   /* per second */
} RvCeilings;
bool rv_engine_measure_ceilings(RvEngine *engine, RvCeilings *ceilings, GError **error);
