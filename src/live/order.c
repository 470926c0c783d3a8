/* order.c - the dispatched frames of a session, in the order in which they were pushed.
 *
 * A frame enters when it is started on a device and leaves from the front only: shown, or as a tombstone
 * (failed, or late: overtaken by a newer one). All of the session's callbacks are made here. */
#include "live/internal.h"

#include <string.h>

static RvEntry *
entry_at(RvLiveSession *session, int position)
{
    g_assert(position < session->count);
    return &session->entries[(session->first + position) % RV_LIVE_WINDOW];
}

void
rv_order_append(RvLiveSession *session, RvFrame *source, gint64 pushed_us, RvLiveJob *job)
{
    g_assert(session->count < RV_LIVE_WINDOW);
    job->entry = (session->first + session->count) % RV_LIVE_WINDOW;
    session->count++;
    session->entries[job->entry] = (RvEntry) { .state = RV_ENTRY_WORKING,
                                               .source = rv_frame_ref(source),
                                               .job = job,
                                               .pushed_us = pushed_us,
                                               .started_us = job->started_us,
                                               .slot_us = rv_pace_started(session) };
}

static void
detach(RvEntry *entry)
{
    if (entry->job != NULL)
        entry->job->session = NULL;
    entry->job = NULL;
}

void
rv_order_settle(RvLiveJob *job, RvFrame *result)
{
    RvLiveSession *session = job->session;
    RvEntry *entry = &session->entries[job->entry];
    g_assert(entry->job == job && entry->state == RV_ENTRY_WORKING);
    detach(entry);
    entry->result = result;
    entry->answered_us = job->answered_us;
    entry->state = result != NULL ? RV_ENTRY_READY : RV_ENTRY_LOST;
    if (result != NULL)
        rv_recent_add(&session->turnaround, MAX(entry->answered_us - entry->started_us, 0));
}

static RvEntry
take_front(RvLiveSession *session)
{
    RvEntry entry = *entry_at(session, 0);
    memset(entry_at(session, 0), 0, sizeof entry);
    session->first = (session->first + 1) % RV_LIVE_WINDOW;
    session->count--;
    return entry;
}

static void
release_entry(RvEntry *entry)
{
    rv_frame_unref(entry->source);
    rv_frame_unref(entry->result);
}

static void
note_hold(RvLiveSession *session)
{
    if (!session->is_held)
        session->counters.held++;
    session->is_held = true;
}

static void
bury_front(RvLiveSession *session)
{
    RvEntry entry = take_front(session);
    if (entry.state == RV_ENTRY_LOST)
        session->counters.failed++;
    else
        session->counters.late++;
    note_hold(session);
    if (entry.job != NULL)
        rv_job_give_up(entry.job);
    detach(&entry);
    if (session->options.on_lost != NULL)
        session->options.on_lost(session, entry.source, session->options.user_data);
    release_entry(&entry);
}

static void
record_show(RvLiveSession *session, const RvEntry *entry, gint64 now)
{
    gint64 row[RV_COLUMNS] = { 0 };
    RvFrame *result = entry->result;
    result->stage_us[RV_STAGE_WAIT] = entry->started_us - entry->pushed_us;
    result->stage_us[RV_STAGE_SERVICE] = entry->answered_us - entry->started_us;
    result->stage_us[RV_STAGE_HOLD] = now - entry->answered_us;
    row[RV_COLUMN_AGE] = now - entry->source->born_us;
    row[RV_COLUMN_INTERVAL] = session->last_show_us > 0 ? now - session->last_show_us : -1;
    memcpy(row + RV_COLUMN_STAGE, result->stage_us, sizeof result->stage_us);
    rv_samples_add(&session->samples, now, row);
}

static void
show_front(RvLiveSession *session, gint64 now)
{
    RvEntry entry = take_front(session);
    gint64 interval = rv_pace_interval(session);
    if (session->options.pace != RV_PACE_OFF && interval > 0 && now > entry.slot_us + interval / 2)
        note_hold(session);
    session->is_held = false;
    record_show(session, &entry, now);
    session->counters.shown++;
    session->last_show_us = now;
    rv_frame_unref(session->last);
    session->last = rv_frame_ref(entry.result);
    if (session->options.on_show != NULL)
        session->options.on_show(session, entry.result, session->options.user_data);
    release_entry(&entry);
}

/* The position of the oldest frame behind the front that has a result, or 0. */
static int
next_ready(RvLiveSession *session)
{
    for (int i = 1; i < session->count; i++) {
        if (entry_at(session, i)->state == RV_ENTRY_READY)
            return i;
    }
    return 0;
}

/* What the front is waiting for is over at the returned time; *is_shown tells what happens to it then. */
static gint64
front_time(RvLiveSession *session, bool *is_shown)
{
    const RvEntry *front = entry_at(session, 0);
    int ready = next_ready(session);
    *is_shown = false;
    if (front->state == RV_ENTRY_LOST)
        return G_MININT64;
    if (front->state == RV_ENTRY_WORKING)
        return ready == 0 ? RV_NEVER : rv_pace_give_up_time(session, front, entry_at(session, ready));
    gint64 due = rv_pace_due(session, front);
    /* Of two that are due in the same instant the older would not be seen; but without pacing all are passed
     * on. */
    gint64 now = rv_clock_now(session->live->clock);
    bool is_overtaken = session->options.pace != RV_PACE_OFF && ready > 0 && now > due &&
                        now >= rv_pace_due(session, entry_at(session, ready));
    *is_shown = !is_overtaken;
    return due;
}

void
rv_order_release(RvLiveSession *session)
{
    while (!session->is_closed && session->count > 0) {
        gint64 now = rv_clock_now(session->live->clock);
        bool is_shown;
        gint64 time = front_time(session, &is_shown);
        if (now < time) {
            rv_live_wake_at(session->live, time);
            return;
        }
        if (is_shown)
            show_front(session, now);
        else
            bury_front(session);
    }
}

void
rv_order_clear(RvLiveSession *session)
{
    while (session->count > 0) {
        RvEntry entry = take_front(session);
        session->counters.dropped++;
        RvLiveJob *job = entry.job;
        detach(&entry);
        release_entry(&entry);
        if (job == NULL)
            continue;
        rv_job_give_up(job);
        if (job->device->class->cancel != NULL)
            job->device->class->cancel(job->device->device, job);
    }
}
