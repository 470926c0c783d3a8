/* clock_virtual.c - a clock that only moves when it is told to. */
#include "live/clock_private.h"

typedef struct {
    RvClock clock;
    gint64 now_us;
    GPtrArray *alarms; /* in the order of their creation; not owned */
} VirtualClock;

typedef struct {
    RvAlarm alarm;
    gint64 time_us;
    bool is_awake;
} VirtualAlarm;

static gint64
virtual_now(const RvClock *clock)
{
    return ((const VirtualClock *)clock)->now_us;
}

static RvAlarm *
virtual_alarm_new(RvClock *clock)
{
    VirtualAlarm *alarm = g_new0(VirtualAlarm, 1);
    alarm->time_us = RV_NEVER;
    g_ptr_array_add(((VirtualClock *)clock)->alarms, alarm);
    return &alarm->alarm;
}

static void
virtual_alarm_set(RvAlarm *alarm, gint64 time_us)
{
    ((VirtualAlarm *)alarm)->time_us = time_us;
}

static void
virtual_alarm_wake(RvAlarm *alarm)
{
    ((VirtualAlarm *)alarm)->is_awake = true;
}

static void
virtual_alarm_free(RvAlarm *alarm)
{
    g_ptr_array_remove(((VirtualClock *)alarm->clock)->alarms, alarm);
    g_free(alarm);
}

static void
virtual_free(RvClock *clock)
{
    g_ptr_array_unref(((VirtualClock *)clock)->alarms);
    g_free(clock);
}

RvClock *
rv_clock_new_virtual(gint64 start_us)
{
    static const RvClockClass class = { virtual_free,      virtual_now,        virtual_alarm_new,
                                        virtual_alarm_set, virtual_alarm_wake, virtual_alarm_free };
    VirtualClock *clock = g_new0(VirtualClock, 1);
    clock->clock.class = &class;
    clock->now_us = start_us;
    clock->alarms = g_ptr_array_new();
    return &clock->clock;
}

static gint64
due_time(const VirtualClock *clock, const VirtualAlarm *alarm)
{
    return alarm->is_awake ? clock->now_us : MAX(alarm->time_us, clock->now_us);
}

void
rv_clock_virtual_run(RvClock *base, gint64 until_us)
{
    VirtualClock *clock = (VirtualClock *)base;
    g_assert(base->class->now == virtual_now);
    for (;;) {
        VirtualAlarm *first = NULL;
        for (guint i = 0; i < clock->alarms->len; i++) {
            VirtualAlarm *alarm = clock->alarms->pdata[i];
            if (first == NULL || due_time(clock, alarm) < due_time(clock, first))
                first = alarm;
        }
        if (first == NULL || due_time(clock, first) > until_us ||
            (due_time(clock, first) == RV_NEVER && !first->is_awake))
            break;
        clock->now_us = due_time(clock, first);
        if (first->is_awake)
            first->is_awake = false;
        else
            first->time_us = RV_NEVER;
        first->alarm.func(first->alarm.data);
    }
    clock->now_us = MAX(clock->now_us, until_us);
}
