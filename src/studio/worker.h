/* worker.h - the threads of one device: one that loads models and draws, one that writes the pictures, so
 * that the device need not wait for compression and disks.
 *
 * Functions are for the main loop; callbacks come there. */
#pragma once
#include "studio/painter.h"
#include "studio/studio.h"

typedef struct RvWorker RvWorker;

#define RV_WORKER_SAVING 2 /* units being written at most; then the device waits */

typedef struct {
    const RvPainterClass *painter;
    RvPainterOptions options; /* texts are copied; `cancel` is the worker's own */
    gsize budget;             /* bytes of loaded models; 0: as many as the device takes */
    /* The device is free for the next unit; this one is being written, or failed (`ok` false). */
    void (*on_drawn)(RvWorker *worker, RvUnit *unit, bool ok, void *user);
    /* The pictures are on disk, or unit->error says why not. After on_drawn. */
    void (*on_end)(RvWorker *worker, RvUnit *unit, void *user);
    void *user;
} RvWorkerOptions;

/* The device is opened with the first unit. */
RvWorker *rv_worker_new(const RvWorkerOptions *options);
/* Abandons what is in work. The threads end by then, or are left behind. Accepts NULL. */
void rv_worker_free(RvWorker *worker, gint64 deadline_us);

/* Takes a reference. Only when it is idle. */
void rv_worker_draw(RvWorker *worker, RvUnit *unit);
bool rv_worker_is_idle(const RvWorker *worker); /* nothing on the device, and little to write */
int rv_worker_in_work(const RvWorker *worker);  /* units: on the device and being written */
RvUnit *rv_worker_unit(const RvWorker *worker); /* on the device; borrowed; NULL */
/* Stops a unit on the device or being written. */
void rv_worker_stop(RvWorker *worker, RvUnit *unit, RvUnitStop how);

bool rv_worker_has_model(RvWorker *worker, const char *model, const char *vae);
gsize rv_worker_bytes(RvWorker *worker);
/* As rv_studio_memory(). */
bool rv_worker_memory(RvWorker *worker, RvStudioMemory *memory);
bool rv_worker_is_loading(RvWorker *worker);
bool rv_worker_is_held_up(RvWorker *worker); /* by live frames on its device */
const char *rv_worker_device(const RvWorker *worker);
/* After what is in work; `done` may be NULL. */
void rv_worker_unload(RvWorker *worker, void (*done)(const GError *error, void *user_data), void *user_data);
void rv_worker_load(RvWorker *worker, const char *model, const char *vae,
                    void (*done)(const GError *error, void *user_data), void *user_data);
