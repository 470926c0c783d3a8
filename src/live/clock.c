/* clock.c - the common part of clocks, and the real one. */
#include "live/clock.h"

#include "live/clock_private.h"
#include <errno.h>
#include <glib-unix.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

gint64
rv_clock_now(const RvClock *clock)
{
    return clock->class->now(clock);
}

void
rv_clock_free(RvClock *clock)
{
    if (clock == NULL)
        return;
    g_assert(clock->alarms == 0);
    clock->class->free(clock);
}

RvAlarm *
rv_alarm_new(RvClock *clock, RvAlarmFunc func, void *data)
{
    RvAlarm *alarm = clock->class->alarm_new(clock);
    alarm->clock = clock;
    alarm->func = func;
    alarm->data = data;
    clock->alarms++;
    return alarm;
}

void
rv_alarm_set(RvAlarm *alarm, gint64 time_us)
{
    alarm->clock->class->alarm_set(alarm, time_us);
}

void
rv_alarm_wake(RvAlarm *alarm)
{
    alarm->clock->class->alarm_wake(alarm);
}

void
rv_alarm_free(RvAlarm *alarm)
{
    if (alarm == NULL)
        return;
    alarm->clock->alarms--;
    alarm->clock->class->alarm_free(alarm);
}

/* ---- the real clock: g_get_monotonic_time() is CLOCK_MONOTONIC, which timerfd knows too ---- */

typedef struct {
    RvClock clock;
    GMainContext *context;
} RealClock;

typedef struct {
    RvAlarm alarm;
    GSource *source;
    int timer;
    int event;        /* rv_alarm_wake() writes to it */
    gint64 wanted_us; /* when the alarm is to go off; RV_NEVER: not */
    gint64 set_us;    /* when the timer will, not later than that */
} RealAlarm;

typedef struct {
    GSource source;
    RealAlarm *alarm;
    gpointer timer_tag, event_tag;
} RealSource;

/* False: there was nothing. */
static bool
empty(int descriptor)
{
    guint64 count;
    gssize got;
    while ((got = read(descriptor, &count, sizeof count)) < 0 && errno == EINTR) {
    }
    return got > 0;
}

/* A timer that goes off sooner is left alone, and set on when it does. So the deadlines of hangs, set and
 * taken back with every frame, cost a system call in a second. */
static void
set_timer(RealAlarm *real)
{
    if (real->wanted_us >= real->set_us)
        return;
    struct itimerspec when = { .it_value = { (time_t)(real->wanted_us / G_USEC_PER_SEC),
                                             (long)(real->wanted_us % G_USEC_PER_SEC) * 1000 } };
    int status = timerfd_settime(real->timer, TFD_TIMER_ABSTIME, &when, NULL);
    g_assert(status == 0);
    real->set_us = real->wanted_us;
}

static gboolean
real_dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    const RealSource *own = (RealSource *)source;
    RealAlarm *real = own->alarm;
    bool is_due = g_source_query_unix_fd(source, own->event_tag) != 0 && empty(real->event);
    if (g_source_query_unix_fd(source, own->timer_tag) != 0 && empty(real->timer)) {
        real->set_us = RV_NEVER;
        if (g_get_monotonic_time() >= real->wanted_us) {
            real->wanted_us = RV_NEVER;
            is_due = true;
        }
        set_timer(real);
    }
    if (is_due)
        real->alarm.func(real->alarm.data);
    return G_SOURCE_CONTINUE;
}

static RvAlarm *
real_alarm_new(RvClock *clock)
{
    static GSourceFuncs funcs = { .dispatch = real_dispatch };
    RealAlarm *real = g_new0(RealAlarm, 1);
    real->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    real->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (real->timer < 0 || real->event < 0)
        g_error("no file descriptor for a timer: %s", g_strerror(errno));
    real->source = g_source_new(&funcs, sizeof(RealSource));
    RealSource *own = (RealSource *)real->source;
    own->alarm = real;
    real->set_us = real->wanted_us = RV_NEVER;
    g_source_set_static_name(real->source, "live");
    g_source_set_priority(real->source, G_PRIORITY_HIGH);
    /* Otherwise the main context takes the descriptors out and in around each dispatch, and wakes itself
     * for it. */
    g_source_set_can_recurse(real->source, TRUE);
    own->timer_tag = g_source_add_unix_fd(real->source, real->timer, G_IO_IN);
    own->event_tag = g_source_add_unix_fd(real->source, real->event, G_IO_IN);
    g_source_attach(real->source, ((RealClock *)clock)->context);
    return &real->alarm;
}

static void
real_alarm_set(RvAlarm *alarm, gint64 time_us)
{
    RealAlarm *real = (RealAlarm *)alarm;
    real->wanted_us = MAX(time_us, 1); /* zero would disarm the timer */
    set_timer(real);
}

static void
real_alarm_wake(RvAlarm *alarm)
{
    guint64 one = 1;
    /* It can only fail with EAGAIN, when the counter is full: then it is awake anyway. */
    while (write(((RealAlarm *)alarm)->event, &one, sizeof one) < 0 && errno == EINTR) {
    }
}

static void
real_alarm_free(RvAlarm *alarm)
{
    RealAlarm *real = (RealAlarm *)alarm;
    g_source_destroy(real->source);
    g_source_unref(real->source);
    close(real->timer);
    close(real->event);
    g_free(real);
}

static gint64
real_now(const RvClock *clock)
{
    return g_get_monotonic_time();
}

static void
real_free(RvClock *clock)
{
    g_main_context_unref(((RealClock *)clock)->context);
    g_free(clock);
}

RvClock *
rv_clock_new_real(GMainContext *context)
{
    static const RvClockClass class = { real_free,      real_now,        real_alarm_new,
                                        real_alarm_set, real_alarm_wake, real_alarm_free };
    RealClock *real = g_new0(RealClock, 1);
    real->clock.class = &class;
    real->context = g_main_context_ref(context != NULL ? context : g_main_context_default());
    return &real->clock;
}
