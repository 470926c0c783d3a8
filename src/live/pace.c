/* pace.c - when a frame is grabbed and when its result is shown.
 *
 * Every started frame gets a slot. Without pacing it is in the past. With it the slots follow a second-order
 * loop: the next slot is one mean interval after the last, corrected by 1/8 of its distance from the target,
 * which is the start plus the p99 of the service time, less what nobody sees. So the jitter of the service
 * hides behind the hold, and the jitter of the starts is filtered. No slot is more than half an interval
 * after its target, nor ever MOST_HOLD_US: where frames are slow, evenness is not worth much latency. A frame
 * later than its slot is shown at once and does not move other slots. */
#include "live/internal.h"

#include <stdlib.h>
#include <string.h>

#define CORRECTION 8          /* the loop's gain is 1 / CORRECTION */
#define AVERAGE 16            /* moving averages over about this many */
#define STAGGER_PERCENT 90    /* of an even spread of starts over the devices */
#define SPREAD_PERCENT 95     /* of the mean interval: starts are not closer when pacing */
#define MOST_SPREAD_US 100000 /* of slower cameras starts may be closer: pauses are not waited for */
#define UNSEEN 24             /* a frame that is late by an interval over this is not seen to be */
#define MOST_HOLD_US 50000

/* A pause (camera off, device out) counts little, also after the first frame. */
static gint64
average(gint64 mean, gint64 value)
{
    if (mean == 0)
        return CLAMP(value, 1, MOST_SPREAD_US);
    return MAX(mean + (MIN(value, 4 * mean) - mean) / AVERAGE, 1);
}

/* What of the time since the last push was our own waiting, if the client may have waited for us: one that
 * sends the next frame when it has the last one back would be held longer and longer else. */
static gint64
own_waiting(const RvLiveSession *session)
{
    if (session->mailbox != NULL || session->count > 0 || session->last == NULL)
        return 0;
    return session->last->stage_us[RV_STAGE_WAIT] + session->last->stage_us[RV_STAGE_HOLD];
}

void
rv_pace_pushed(RvLiveSession *session)
{
    gint64 now = rv_clock_now(session->live->clock);
    if (session->last_push_us > 0) {
        gint64 interval = now - session->last_push_us - own_waiting(session);
        session->push_interval_us = average(session->push_interval_us, MIN(interval, MOST_SPREAD_US));
    }
    session->last_push_us = now;
}

gint64
rv_pace_interval(const RvLiveSession *session)
{
    return MAX(session->start_interval_us, session->options.interval_us);
}

/* How long after its start a frame is to be shown: p99 of what it takes, less what is not seen, but never two
 * intervals more than the median: a heavy tail is not worth any latency. */
static gint64
hold_target(const RvLiveSession *session)
{
    gint64 p99 = rv_recent_p99(&session->turnaround), p50 = rv_recent_p50(&session->turnaround);
    gint64 interval = rv_pace_interval(session);
    gint64 most = p50 + MIN(2 * interval, MOST_HOLD_US);
    gint64 unseen = MIN(interval / UNSEEN, (p99 - p50) / 4);
    return MIN(p99 - unseen, most);
}

/* The time between starts that keeps all working devices busy (`count`: how many); 0: unknown. */
static gint64
device_interval(const RvLive *live, int *count)
{
    double rate = 0;
    int measured = 0;
    *count = 0;
    for (guint i = 0; i < live->devices->len; i++) {
        const RvLiveDevice *device = live->devices->pdata[i];
        gint64 median = rv_recent_p50(&device->recent);
        if (device->is_removed || device->state != RV_LIVE_DEVICE_WORKING)
            continue;
        (*count)++;
        measured += median > 0;
        rate += median > 0 ? 1.0 / (double)median : 0;
    }
    /* Those not measured yet are taken to be like the others. */
    return measured > 0 ? (gint64)(measured / (rate * *count)) : 0;
}

/* The least interval that a session alone could have: that of its camera or of the devices. It depends on
 * nothing that pacing does, so waiting cannot prolong it. */
static gint64
natural_interval(const RvLiveSession *session)
{
    int count;
    return MAX(session->push_interval_us, device_interval(session->live, &count));
}

gint64
rv_pace_grab_time(const RvLiveSession *session)
{
    if (session->last_start_us == 0)
        return G_MININT64;
    gint64 time = session->last_start_us;
    int count;
    gint64 spread = device_interval(session->live, &count) * STAGGER_PERCENT / 100;
    /* Several devices would all start at once for who pushes faster than they work, and finish at once. */
    if (count > 1 && session->push_interval_us < spread)
        time += spread;
    if (session->options.pace != RV_PACE_OFF)
        time = MAX(time, session->last_start_us + natural_interval(session) * SPREAD_PERCENT / 100);
    if (session->options.interval_us > 0)
        time = MAX(time, session->last_slot_us + session->options.interval_us - hold_target(session));
    return time;
}

static gint64
next_slot(const RvLiveSession *session, gint64 now)
{
    gint64 earliest = session->last_slot_us + session->options.interval_us;
    if (session->options.pace == RV_PACE_OFF)
        return session->options.interval_us > 0 ? MAX(now, earliest) : now;
    gint64 target = now + hold_target(session);
    gint64 expected = session->last_slot_us + rv_pace_interval(session);
    gint64 offset = target - expected;
    bool is_locked = session->start_interval_us > 0 && llabs(offset) <= rv_pace_interval(session);
    gint64 slot = is_locked ? expected + offset / CORRECTION : target;
    slot = MIN(slot, target + MIN(natural_interval(session) / 2, MOST_HOLD_US));
    return session->options.interval_us > 0 ? MAX(slot, earliest) : slot;
}

gint64
rv_pace_started(RvLiveSession *session)
{
    gint64 now = rv_clock_now(session->live->clock);
    if (session->last_start_us > 0)
        session->start_interval_us = average(session->start_interval_us, now - session->last_start_us);
    session->last_start_us = now;
    session->last_slot_us = next_slot(session, now);
    return session->last_slot_us;
}

gint64
rv_pace_due(const RvLiveSession *session, const RvEntry *entry)
{
    if (session->options.pace == RV_PACE_BUDGET)
        return MIN(entry->slot_us, entry->source->born_us + session->options.budget_us);
    return entry->slot_us;
}

gint64
rv_pace_give_up_time(const RvLiveSession *session, const RvEntry *older, const RvEntry *ready)
{
    gint64 usual = older->started_us + rv_recent_p99(&older->job->device->recent);
    gint64 patience = MIN(usual, ready->answered_us + rv_pace_interval(session) / 2);
    if (session->options.pace != RV_PACE_OFF)
        patience = MIN(patience, ready->slot_us);
    return MAX(patience, rv_pace_due(session, ready));
}

bool
rv_pace_parse(const char *text, RvPace *pace, gint64 *budget_us, GError **error)
{
    const char *budget = "latency-budget";
    *budget_us = 0;
    if (g_str_equal(text, "off") || g_str_equal(text, "smooth")) {
        *pace = g_str_equal(text, "off") ? RV_PACE_OFF : RV_PACE_SMOOTH;
        return true;
    }
    if (!g_str_has_prefix(text, budget))
        return rv_error_set(error, RV_ERROR_USAGE, "pace", "use off, smooth or latency-budget MS",
                            "no pace '%s'", text);
    const char *number = text + strlen(budget);
    char *end = NULL;
    double milliseconds = *number == ' ' || *number == '=' ? g_ascii_strtod(number + 1, &end) : 0;
    if (end == NULL || end == number + 1 || *end != '\0' || !(milliseconds >= 1 && milliseconds <= 60000))
        return rv_error_set(error, RV_ERROR_USAGE, "pace",
                            "give 1 to 60000 milliseconds, as in 'latency-budget 100'",
                            "'%s' has no usable latency budget", text);
    *pace = RV_PACE_BUDGET;
    *budget_us = (gint64)(milliseconds * 1000);
    return true;
}
