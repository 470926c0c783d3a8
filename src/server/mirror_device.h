/* mirror_device.h - a drawer in a thread of its own, as a device of src/live. Its frames' data are RvRaster.
 */
#pragma once
#include "engine/turns.h"
#include "live/live.h"
#include "server/drawer.h"

typedef struct RvMirrorDevice RvMirrorDevice;

/* Of results that the device answers: the data of their frames. */
typedef struct {
    RvRaster *raster;
    bool is_passthrough;
} RvDrawn;

typedef struct {
    RvLive *live;
    RvTurns *turns; /* of a device that the studio draws on too; NULL */
    RvState *state; /* snapshots are taken of it when a frame is started */
    /* On the main loop, once: the drawer is open and warm, and the device takes frames; or it failed. */
    void (*on_open)(RvMirrorDevice *device, const GError *error, void *user);
    void *user;
} RvMirrorDeviceOptions;

/* Takes `drawer` and opens it in the background. */
RvMirrorDevice *rv_mirror_device_new(RvDrawer *drawer, const RvMirrorDeviceOptions *options);
const RvDrawer *rv_mirror_device_drawer(const RvMirrorDevice *device); /* its size is good after on_open */
bool rv_mirror_device_is_open(const RvMirrorDevice *device);
/* Has the drawer sleep once nothing is under way, or closes it (one that cannot sleep, or sleeps already), so
 * that its memory is free; the next frame wakes it or opens it again.
 * `done` comes on the main loop, unless the device is closed before. */
void rv_mirror_device_park(RvMirrorDevice *device, void (*done)(void *user), void *user);
/* No frame is drawn any more, and the thread ends; rv_mirror_device_close() is still to be called. Of several
 * devices all are ended before one that hangs is waited for. Accepts NULL. */
void rv_mirror_device_end(RvMirrorDevice *device);
/* The same, and waits for the thread until `deadline_us` (monotonic); one that hangs is left behind. Frees
 * `device`; call before rv_live_free(). Accepts NULL. */
void rv_mirror_device_close(RvMirrorDevice *device, gint64 deadline_us);
