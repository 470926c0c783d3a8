/* clock_private.h - what a clock is made of; for the two clocks only. */
#pragma once
#include "live/clock.h"

typedef struct {
    void (*free)(RvClock *clock);
    gint64 (*now)(const RvClock *clock);
    RvAlarm *(*alarm_new)(RvClock *clock);
    void (*alarm_set)(RvAlarm *alarm, gint64 time_us);
    void (*alarm_wake)(RvAlarm *alarm);
    void (*alarm_free)(RvAlarm *alarm);
} RvClockClass;

struct RvClock {
    const RvClockClass *class;
    int alarms; /* not yet freed */
};

struct RvAlarm {
    RvClock *clock;
    RvAlarmFunc func;
    void *data;
};
