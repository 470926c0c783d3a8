/* clock.h - monotonic time and one alarm each, real or simulated, so that scheduling can be tested exactly.
 *
 * Microseconds on an arbitrary, never stepping clock (the wall clock is not used anywhere in src/live).
 * The real clock is g_get_monotonic_time() and a timerfd (GLib 2.74's own timeouts are rounded up to
 * milliseconds). The virtual clock stands still until rv_clock_virtual_run() moves it. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_NEVER G_MAXINT64

typedef struct RvClock RvClock;
typedef struct RvAlarm RvAlarm;
typedef void (*RvAlarmFunc)(void *data);

/* `context` runs the alarms' functions (NULL: the default main context). */
RvClock *rv_clock_new_real(GMainContext *context);
RvClock *rv_clock_new_virtual(gint64 start_us);
void rv_clock_free(RvClock *clock); /* accepts NULL; after all its alarms are freed */
gint64 rv_clock_now(const RvClock *clock);

/* Runs everything that is due up to `until_us`, in time order (alarms of the same time in the order of
 * their creation), and leaves the clock there. Virtual clocks only. */
void rv_clock_virtual_run(RvClock *clock, gint64 until_us);

/* An alarm calls `func` on the clock's context each time it goes off; it is not set yet. */
RvAlarm *rv_alarm_new(RvClock *clock, RvAlarmFunc func, void *data);
/* Goes off once at `time_us` (at once if past), instead of when it was set before; RV_NEVER: not at all. */
void rv_alarm_set(RvAlarm *alarm, gint64 time_us);
/* Goes off as soon as possible, besides what is set. Any thread (real clock), or the test's own (virtual). */
void rv_alarm_wake(RvAlarm *alarm);
void rv_alarm_free(RvAlarm *alarm); /* accepts NULL; `func` is not called any more */
