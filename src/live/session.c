/* session.c - a session's life and its mailbox. */
#include "live/internal.h"

static bool
check_options(const RvLiveSessionOptions *options, GError **error)
{
    if (options->pace < RV_PACE_OFF || options->pace > RV_PACE_BUDGET)
        return rv_error_set(error, RV_ERROR_USAGE, "pace", "use off, smooth or latency-budget MS",
                            "no such pace");
    if (options->pace == RV_PACE_BUDGET && options->budget_us <= 0)
        return rv_error_set(error, RV_ERROR_USAGE, "pace", "give the milliseconds, as in latency-budget 100",
                            "a latency budget must be positive");
    if (!(options->weight >= 0 && options->weight <= 1e6) || options->interval_us < 0)
        return rv_error_set(error, RV_ERROR_USAGE, "session",
                            "use a weight of 0 to 1000000 and an interval >= 0",
                            "weight or interval is out of range");
    return true;
}

static guint
count_open(const RvLive *live)
{
    guint open = 0;
    for (guint i = 0; i < live->sessions->len; i++)
        open += !((const RvLiveSession *)live->sessions->pdata[i])->is_closed;
    return open;
}

RvLiveSession *
rv_live_session_new(RvLive *live, const RvLiveSessionOptions *options, GError **error)
{
    if (!check_options(options, error))
        return NULL;
    if (count_open(live) >= (guint)live->options.max_sessions) {
        rv_error_set(error, RV_ERROR_BUSY, "sessions", "try again when one has ended",
                     "%d live sessions are open already", live->options.max_sessions);
        return NULL;
    }
    RvLiveSession *session = g_new0(RvLiveSession, 1);
    session->live = live;
    session->name = g_strdup(options->name != NULL ? options->name : "session");
    session->options = *options;
    session->options.name = NULL;
    rv_live_session_set_weight(session, options->weight);
    session->second_us = rv_clock_now(live->clock);
    rv_samples_init(&session->samples, RV_COLUMNS, RV_LIVE_SAMPLES);
    g_ptr_array_add(live->sessions, session);
    return session;
}

void
rv_session_free(RvLiveSession *session)
{
    rv_frame_unref(session->last);
    rv_samples_finish(&session->samples);
    g_free(session->name);
    g_free(session);
}

static void
empty_mailbox(RvLiveSession *session)
{
    if (session->mailbox == NULL)
        return;
    session->counters.dropped++;
    g_clear_pointer(&session->mailbox, rv_frame_unref);
}

void
rv_live_session_close(RvLiveSession *session)
{
    if (session == NULL)
        return;
    g_assert(!session->is_closed);
    session->is_closed = true;
    empty_mailbox(session);
    rv_order_clear(session);
    rv_live_pump(session->live); /* frees it, now or when the running pump ends */
}

/* For fps_in: pushes of this second and the one before. */
static void
count_push(RvLiveSession *session, gint64 now)
{
    gint64 seconds = (now - session->second_us) / G_USEC_PER_SEC;
    if (seconds > 0) {
        session->pushes_before = seconds == 1 ? session->pushes_now : 0;
        session->pushes_now = 0;
        session->second_us += seconds * G_USEC_PER_SEC;
    }
    session->pushes_now++;
    session->counters.pushed++;
}

void
rv_live_session_push(RvLiveSession *session, RvFrame *frame)
{
    g_assert(!session->is_closed);
    gint64 now = rv_clock_now(session->live->clock);
    if (frame->born_us <= 0 || frame->born_us > now)
        frame->born_us = now;
    count_push(session, now);
    rv_pace_pushed(session);
    if (session->mailbox == NULL)
        rv_dispatch_activate(session);
    empty_mailbox(session);
    session->mailbox = frame;
    session->mailbox_us = now;
    rv_live_pump(session->live);
}

void
rv_live_session_set_blocked(RvLiveSession *session, bool is_blocked)
{
    if (session->is_blocked && !is_blocked)
        rv_dispatch_activate(session);
    session->is_blocked = is_blocked;
    rv_live_pump(session->live);
}

void
rv_live_session_set_pace(RvLiveSession *session, RvPace pace, gint64 budget_us)
{
    g_assert(pace != RV_PACE_BUDGET || budget_us > 0);
    session->options.pace = pace;
    session->options.budget_us = budget_us;
    rv_live_pump(session->live);
}

void
rv_live_session_set_interval(RvLiveSession *session, gint64 interval_us)
{
    session->options.interval_us = MAX(interval_us, 0);
    rv_live_pump(session->live);
}

void
rv_live_session_set_weight(RvLiveSession *session, double weight)
{
    session->options.weight = weight > 0 ? weight : 1;
}

RvFrame *
rv_live_session_last(const RvLiveSession *session)
{
    return session->last;
}

void *
rv_live_session_user_data(const RvLiveSession *session)
{
    return session->options.user_data;
}
