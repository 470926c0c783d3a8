/* live.h - the scheduling of live frames: sessions, devices, order, pacing. Payloads are opaque.
 *
 *   transport ── push ──▶ mailbox (one deep, newest wins) ── when a device has credit ──▶ device
 *       ▲                                                                                   │ any thread
 *       └── on_show ◀── pacing ◀── order, with tombstones for what is lost ◀── rv_live_device_done()
 *
 * Promises:
 * - A session's shown frames are in the order in which they were pushed, each at most once. A newer frame
 * waits for an older one only while that is still being worked on, and not longer than the measured p99 of
 * the service time or half an interval, whichever ends first. Lost frames are never waited for.
 * - A session holds at most one frame in its mailbox, RV_LIVE_WINDOW in work or in order, and the last shown
 * one, whatever is pushed.
 * - A device gets at most `credit` frames at a time. One that fails, or does not answer in
 *   max(1 s, 4 x its p99), is taken out; its frames become tombstones; it is probed with growing pauses and
 * comes back when a probe is answered. Answers that come after their frame was given up are dropped. While
 * nothing works, nothing is shown: the last picture stays (rv_live_session_last()).
 * - Sessions that want more than there is share devices by served device time, in proportion to their weights
 *   (start-time fair queueing: Goyal, Vin, Cheng 1996).
 * - Only monotonic time is used.
 *
 * Threads: everything is called on, and calls back on, the thread of the clock's main context, except
 * rv_live_device_done(), rv_live_job_*() and the frame references, which are for any thread.
 * Callbacks may call any function of this header, closing their own session included.
 * Errors: base/error.h. All times are microseconds. */
#pragma once
#include "base/error.h"
#include "live/clock.h"
#include "live/frame.h"

#define RV_LIVE_WINDOW 32 /* frames of one session in work or waiting for their turn */

typedef struct RvLive RvLive;
typedef struct RvLiveDevice RvLiveDevice;
typedef struct RvLiveSession RvLiveSession;
typedef struct RvLiveJob RvLiveJob; /* one frame on one device */

/* ---- the scheduler ---- */

typedef struct {
    int max_sessions;      /* 0: 64 */
    gint64 hang_us;        /* least time after which a silent device is taken out; 0: 1 s */
    gint64 probe_first_us; /* pause before the first probe of a device that is out; 0: 250 ms; doubles ... */
    gint64 probe_most_us;  /* ... up to this; 0: 30 s */
} RvLiveOptions;

/* `clock` is borrowed and must outlive it; `options` may be NULL. */
RvLive *rv_live_new(RvClock *clock, const RvLiveOptions *options);
/* Closes sessions and removes devices. Devices may still answer later: that is harmless. Accepts NULL. */
void rv_live_free(RvLive *live);

/* ---- devices ---- */

/* How to use one device: a GPU's thread, an effect on the CPU, another machine. */
typedef struct {
    /* Starts a job; called on the loop; must not block. The device now owns one reference to `job` and
     * answers it exactly once with rv_live_device_done(), from any thread, possibly before start() returns.
     * Without a frame (rv_live_job_frame() is NULL) the job is a probe: "answer, with no result, once you can
     * work again". Jobs are answered in the order of their start if credit is more than 1. */
    void (*start)(void *device, RvLiveJob *job);
    /* The scheduler has given up `job` (device hung, session closed): answer it early if you can, with any
     * result or error; it is dropped. May be NULL. Called on the loop; must not block; `job` is borrowed and
     * may have been answered a moment ago. */
    void (*cancel)(void *device, RvLiveJob *job);
    /* The device was removed; no further calls. Unanswered jobs must still be answered (with any error). May
     * be NULL. */
    void (*free)(void *device);
} RvLiveDeviceClass;

typedef struct {
    const char *name;   /* "cuda:0", for statistics and logs; copied; NULL: "device" */
    int credit;         /* frames it may have at once, 1..4; 0: 1. 2 hides its upload and download */
    gint64 expected_us; /* service time to assume until measured (hang detection); 0: unknown */
} RvLiveDeviceOptions;

/* Takes `device` (class->free ends it); `class` must stay valid; `options` may be NULL. Usable at once: warm
 * it up first. */
RvLiveDevice *rv_live_add_device(RvLive *live, const RvLiveDeviceClass *class, void *device,
                                 const RvLiveDeviceOptions *options);
/* Its unanswered frames become tombstones. */
void rv_live_remove_device(RvLiveDevice *device);

/* Answers a job, on any thread. Takes the device's reference to `job`, and `result` and `error`.
 * Of a frame: exactly one of `result` and `error` is given. Of a probe: neither if all is well, or `error`.
 * `result` is a frame of its own (rv_frame_new_result()), not shared with other answers.
 * RV_ERROR_INVALID, RV_ERROR_UNSUPPORTED and RV_ERROR_CANCELLED blame the frame (bad JPEG ...): it becomes a
 * tombstone and the device stays. RV_ERROR_DEVICE and RV_ERROR_NO_MEMORY take the device out; so do three
 * other errors in a row. */
void rv_live_device_done(RvLiveJob *job, RvFrame *result, GError *error);

/* Any thread, while the job is unanswered. Borrowed: */
RvFrame *rv_live_job_frame(const RvLiveJob *job); /* what was pushed; NULL: a probe */
/* True once nobody wants the result any more (hung, session closed): work on it may be skipped. */
bool rv_live_job_is_given_up(const RvLiveJob *job);
/* The device's time belongs to others for now (they share it, or its model comes back), or no longer does:
 * what passes meanwhile is neither a hang nor service, but for two minutes at the most. Ended by the answer
 * at the latest. */
void rv_live_job_set_waiting(RvLiveJob *job, bool is_waiting);
/* The session's `user_data`, read when the job was started, NULL for a probe. The session may be gone by now:
 * whoever puts live objects there keeps them alive by other means. */
void *rv_live_job_user_data(const RvLiveJob *job);

/* ---- sessions ---- */

typedef enum {
    RV_PACE_OFF,    /* shown the moment the result is there and in order: lowest age */
    RV_PACE_SMOOTH, /* held to (start + p99 of the service time), filtered to an even interval */
    RV_PACE_BUDGET, /* as SMOOTH, but nothing is held beyond an age of `budget_us` */
} RvPace;

/* "off", "smooth", "latency-budget MS" (also "latency-budget=MS") into the two settings below. */
bool rv_pace_parse(const char *text, RvPace *pace, gint64 *budget_us, GError **error);

typedef struct {
    const char *name; /* for statistics and logs; copied; NULL: "session" */
    double weight;    /* share of the devices when they are scarce; 0: 1 */
    RvPace pace;
    gint64 budget_us;   /* of RV_PACE_BUDGET; must be positive then */
    gint64 interval_us; /* least time between shown frames; 0: as they come. The newest frame is grabbed as
                         * late as this allows: (next show - p99 of the service time) */

    /* A result is due: send it now. `result` is borrowed (take a reference to keep it). Its stage_us
     * are complete, sequence, capture_us and born_us are the source's. */
    void (*on_show)(RvLiveSession *session, RvFrame *result, void *user_data);
    /* A dispatched frame will never be shown (failed, lost, late). May be NULL. `source` is what was pushed.
     */
    void (*on_lost)(RvLiveSession *session, RvFrame *source, void *user_data);
    void *user_data;
} RvLiveSessionOptions;

/* RV_ERROR_BUSY: too many sessions; RV_ERROR_USAGE: an option is out of range. */
RvLiveSession *rv_live_session_new(RvLive *live, const RvLiveSessionOptions *options, GError **error);
/* No callback comes after this; frames in work are given up. Accepts NULL. */
void rv_live_session_close(RvLiveSession *session);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvLiveSession, rv_live_session_close)

/* A new frame from the camera; takes `frame`. Replaces the one in the mailbox (which counts as dropped). */
void rv_live_session_push(RvLiveSession *session, RvFrame *frame);

/* While blocked nothing is started for this session (its client does not read, its encoder is busy): the
 * mailbox goes on taking the newest. Results in work are still shown. */
void rv_live_session_set_blocked(RvLiveSession *session, bool is_blocked);
void rv_live_session_set_pace(RvLiveSession *session, RvPace pace, gint64 budget_us);
void rv_live_session_set_interval(RvLiveSession *session, gint64 interval_us);
void rv_live_session_set_weight(RvLiveSession *session, double weight);

/* The last shown result, borrowed; NULL before the first. What to show to a new viewer, and while nothing
 * works. */
RvFrame *rv_live_session_last(const RvLiveSession *session);
void *rv_live_session_user_data(const RvLiveSession *session);

/* ---- statistics ---- */

/* pushed = shown + dropped + late + failed + those in the mailbox, in work or in order. */
typedef struct {
    guint64 pushed;
    guint64 shown;
    guint64 dropped; /* replaced in the mailbox by a newer one, or there when the session closed */
    guint64 late;    /* answered, or still in work, when a newer one was shown */
    guint64 failed;  /* lost with their device, or refused by it */
    guint64 held;    /* not frames: how often the last picture had to stay because a due one was missing
                      * (late, failed, or overdue by half an interval) */
} RvLiveCounters;

/* Of the last minute, at most RV_LIVE_SAMPLES samples; all 0 with no sample. Quantiles are nearest-rank. */
#define RV_LIVE_SAMPLES 4096
typedef struct {
    guint count;
    gint64 p50, p95, p99, max;
} RvLiveQuantiles;

typedef struct {
    const char *name; /* borrowed */
    RvLiveCounters counters;
    RvLiveQuantiles age;      /* born_us until shown */
    RvLiveQuantiles interval; /* between shown frames */
    RvLiveQuantiles service;  /* started until answered */
    RvLiveQuantiles stage[RV_STAGE_COUNT];
    double fps_in, fps_shown; /* over the last second */
    gint64 device_us;         /* device time served, in all */
    int in_work;              /* frames on devices */
    int waiting;              /* answered, waiting for order or pace */
} RvLiveSessionStats;

typedef enum {
    RV_LIVE_DEVICE_WORKING,
    RV_LIVE_DEVICE_OUT,     /* failed or hung: pausing before the next probe */
    RV_LIVE_DEVICE_PROBING, /* a probe is unanswered */
} RvLiveDeviceState;

typedef struct {
    const char *name; /* borrowed */
    RvLiveDeviceState state;
    RvLiveQuantiles service;
    guint64 served, failed, late_answers; /* results, errors, answers to jobs that were given up */
    guint64 taken_out, brought_back;      /* how often */
    gint64 busy_us;                       /* device time served, in all */
    int in_work;
    const char *last_error; /* borrowed; NULL: none yet */
} RvLiveDeviceStats;

void rv_live_session_stats(const RvLiveSession *session, RvLiveSessionStats *stats);
void rv_live_device_stats(const RvLiveDevice *device, RvLiveDeviceStats *stats);
/* Sums over all sessions, closed ones included (counters of /metrics never fall). */
void rv_live_counters(const RvLive *live, RvLiveCounters *counters);
/* Devices that work now: 0 means that pictures stand still. */
int rv_live_working_devices(const RvLive *live);
/* Calls `func` for every open session / device. */
void rv_live_foreach_session(RvLive *live, void (*func)(RvLiveSession *session, void *data), void *data);
void rv_live_foreach_device(RvLive *live, void (*func)(RvLiveDevice *device, void *data), void *data);
