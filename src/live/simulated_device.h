/* simulated_device.h - a device that computes nothing and takes the time it is told to: for tests and
 * benchmarks of the scheduler. Works its jobs off one after another, as a GPU does. One thread: the clock's.
 */
#pragma once
#include "live/live.h"

typedef struct RvSimulatedDevice RvSimulatedDevice;

typedef struct {
    gint64 service_us;
    bool is_error; /* answers with `error` instead of a result */
    RvError error;
} RvSimulatedService;

/* What a frame costs; for a probe `frame` is NULL. */
typedef RvSimulatedService (*RvSimulatedFunc)(const RvFrame *frame, void *data);

extern const RvLiveDeviceClass rv_simulated_device_class; /* its `free` frees the device */

/* `clock` is borrowed. */
RvSimulatedDevice *rv_simulated_device_new(RvClock *clock, RvSimulatedFunc func, void *data);
/* Answers nothing before `until_us` (RV_NEVER: not until it is called again). */
void rv_simulated_device_hang(RvSimulatedDevice *device, gint64 until_us);
/* From now on: whether it answers jobs that are cancelled at once. */
void rv_simulated_device_set_heeds_cancel(RvSimulatedDevice *device, bool heeds_cancel);
int rv_simulated_device_in_hand(const RvSimulatedDevice *device);
