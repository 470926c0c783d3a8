/* internal.h - the scheduler's parts. Everything here runs on the loop's thread unless it says otherwise.
 *
 * live.c      creation, and the pump: answers, devices, order, dispatch, in that order, then one alarm
 * job.c       jobs and the inbox through which their answers come from other threads
 * device.c    a device's credit, hangs, failures, probes
 * session.c   a session's mailbox and life
 * order.c     the ring of dispatched frames: shows, tombstones, late ones
 * pace.c      when to grab and when to show
 * dispatch.c  which session's frame goes to which device
 * stats.c     counters and quantiles */
#pragma once
#include "live/live.h"
#include "live/samples.h"

#define RV_STATS_SPAN_US (60 * G_USEC_PER_SEC)

typedef struct RvInbox RvInbox;

struct RvLive {
    RvClock *clock;
    RvAlarm *alarm;
    RvInbox *inbox;
    RvLiveOptions options;
    GPtrArray *sessions;   /* RvLiveSession, owned; closed ones until the pump has ended */
    GPtrArray *devices;    /* RvLiveDevice, owned; removed ones until the pump has ended */
    RvLiveCounters closed; /* sums of sessions that are gone */
    double virtual_time;   /* of fair queueing: the start tag of the session served last */
    gint64 wake_us;        /* when the pump must run next, gathered while it runs */
    bool is_pumping, pump_again;
};

/* ---- job.c ---- */

struct RvLiveJob {
    gatomicrefcount references;
    RvInbox *inbox;
    RvFrame *frame; /* NULL: a probe */
    void *user_data;
    gint given_up; /* atomic */
    gint answered; /* atomic: guards against a second answer */
    /* under the inbox's mutex: */
    gint64 waits_since_us; /* for others on its device; 0: it does not */
    gint64 waited_us;      /* before that */
    /* set by rv_live_device_done() */
    RvFrame *result;
    GError *error;
    gint64 answered_us;
    /* the loop's */
    RvLiveDevice *device;   /* NULL: removed */
    RvLiveSession *session; /* NULL: a probe, or nobody waits for it */
    int entry;              /* its place in session->entries */
    gint64 started_us;
    gint64 charged_us; /* device time billed to the session in advance */
    bool is_overdue;   /* its device was taken out over it */
};

RvInbox *rv_inbox_new(RvClock *clock, RvAlarm *alarm);
/* Answers that come later are dropped where they are made. */
void rv_inbox_close_and_unref(RvInbox *inbox);
/* The oldest answered job, with the device's reference to it, or NULL. */
RvLiveJob *rv_inbox_take(RvInbox *inbox);

/* A job with two references: the scheduler's and the device's. Refers to `frame`. */
RvLiveJob *rv_job_new(RvInbox *inbox, RvFrame *frame, void *user_data);
void rv_job_unref(RvLiveJob *job);
void rv_job_give_up(RvLiveJob *job);
/* How long it has waited for others; `is_waiting`: it still does (may be NULL). */
gint64 rv_job_waited(RvLiveJob *job, bool *is_waiting);

/* ---- device.c ---- */

struct RvLiveDevice {
    RvLive *live;
    const RvLiveDeviceClass *class;
    void *device;
    char *name;
    int credit;
    gint64 expected_us;
    bool is_removed;
    RvLiveDeviceState state;
    GQueue jobs;      /* unanswered RvLiveJob in the order of their start, one reference each */
    RvLiveJob *probe; /* borrowed from jobs; NULL: none unanswered */
    gint64 last_start_us, last_answer_us, last_sample_us;
    gint64 probe_us; /* OUT: when to probe */
    gint64 pause_us; /* before the probe after this one */
    int errors_in_a_row, good_in_a_row;
    RvRecent recent; /* service times */
    RvSamples samples;
    guint64 served, failed, late_answers, taken_out, brought_back;
    gint64 busy_us;
    char *last_error;
};

void rv_device_free(RvLiveDevice *device);
bool rv_device_has_credit(const RvLiveDevice *device);
/* Gives it `job` (both references are the device's: one for the queue, one for the adapter). */
void rv_device_start(RvLiveDevice *device, RvLiveJob *job);
/* Takes an answered job off the device: its statistics, its state. Returns the time served. */
gint64 rv_device_answered(RvLiveDevice *device, RvLiveJob *job);
/* Takes out what is overdue, sends probes that are due. */
void rv_device_check(RvLiveDevice *device);

/* ---- session.c, order.c ---- */

typedef enum { RV_ENTRY_WORKING, RV_ENTRY_READY, RV_ENTRY_LOST } RvEntryState;

/* A dispatched frame. */
typedef struct {
    RvEntryState state;
    RvFrame *source;
    RvFrame *result; /* READY */
    RvLiveJob *job;  /* WORKING; borrowed from the device's queue */
    gint64 pushed_us, started_us, answered_us;
    gint64 slot_us; /* when pacing wants to show it */
} RvEntry;

struct RvLiveSession {
    RvLive *live;
    RvLiveSessionOptions options; /* without the name */
    char *name;
    bool is_closed, is_blocked;
    RvFrame *mailbox;  /* NULL: empty */
    gint64 mailbox_us; /* when it was pushed */
    RvFrame *last;     /* shown */
    RvEntry entries[RV_LIVE_WINDOW];
    int first, count; /* the ring's occupied part */
    double virtual_time;
    gint64 device_us;
    RvLiveCounters counters;
    bool is_held; /* a due picture was missing since the last show */
    /* pacing: */
    gint64 last_push_us, last_start_us, last_show_us, last_slot_us; /* 0: none yet */
    gint64 push_interval_us, start_interval_us;                     /* moving averages; 0: unknown */
    RvRecent turnaround;                                            /* started until answered */
    RvSamples samples;                                              /* one row (RvColumn) a shown frame */
    gint64 second_us; /* pushes are counted by seconds: when this one began, */
    guint pushes_now, pushes_before;
};

typedef enum {
    RV_COLUMN_AGE,
    RV_COLUMN_INTERVAL,
    RV_COLUMN_STAGE,
    RV_COLUMNS = RV_COLUMN_STAGE + RV_STAGE_COUNT
} RvColumn;

void rv_session_free(RvLiveSession *session);

/* Appends a frame that was just started. */
void rv_order_append(RvLiveSession *session, RvFrame *source, gint64 pushed_us, RvLiveJob *job);
/* `job` was answered with a result (taken) or, NULL, was lost. */
void rv_order_settle(RvLiveJob *job, RvFrame *result);
/* Shows what is due, gives up what is overtaken, and asks to be woken for the rest. */
void rv_order_release(RvLiveSession *session);
/* Drops everything; jobs in work are given up. */
void rv_order_clear(RvLiveSession *session);

/* ---- pace.c ---- */

void rv_pace_pushed(RvLiveSession *session);
/* The earliest time to grab from the mailbox. */
gint64 rv_pace_grab_time(const RvLiveSession *session);
/* A frame starts now; returns its slot. */
gint64 rv_pace_started(RvLiveSession *session);
/* The time to show a frame that is ready and next in order. */
gint64 rv_pace_due(const RvLiveSession *session, const RvEntry *entry);
/* How long a ready frame waits for an older one in work. */
gint64 rv_pace_give_up_time(const RvLiveSession *session, const RvEntry *older, const RvEntry *ready);
/* Typical time between two shown frames; 0: unknown. */
gint64 rv_pace_interval(const RvLiveSession *session);

/* ---- stats.c, dispatch.c, live.c ---- */

void rv_counters_add(RvLiveCounters *sum, const RvLiveCounters *counters);

/* Starts frames while there are any and devices have credit. */
void rv_dispatch(RvLive *live);
/* The device time that `session` had in advance was `service_us` in truth. */
void rv_dispatch_settle(RvLiveSession *session, const RvLiveJob *job, gint64 service_us);
/* A session that wanted nothing wants something again: its unused share is not saved up. */
void rv_dispatch_activate(RvLiveSession *session);
void rv_live_pump(RvLive *live);
/* While pumping: run again at `time_us` at the latest. */
void rv_live_wake_at(RvLive *live, gint64 time_us);
