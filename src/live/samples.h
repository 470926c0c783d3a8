/* samples.h - a ring of recent measurements, one row each, and their quantiles. Private to src/live. */
#pragma once
#include "live/live.h"

typedef struct {
    int columns;
    guint capacity; /* rows kept at most; memory grows up to that and no further */
    guint allocated;
    guint next;  /* where the next row goes */
    guint count; /* rows held */
    gint64 *times;
    gint32 *values; /* allocated x columns, microseconds, at most 35 minutes; negative: none */
} RvSamples;

void rv_samples_init(RvSamples *samples, int columns, guint capacity);
void rv_samples_finish(RvSamples *samples);
void rv_samples_add(RvSamples *samples, gint64 time_us, const gint64 *row);

/* How many rows are not older than `since_us`. */
guint rv_samples_count_since(const RvSamples *samples, gint64 since_us);
/* Of one column, over the rows not older than `since_us`. */
void rv_samples_quantiles(const RvSamples *samples, int column, gint64 since_us, RvLiveQuantiles *quantiles);

/* ---- the figures that scheduling decides by: few samples, cheap to ask ---- */

#define RV_RECENT 256 /* the p99 of so many is their third largest: two outliers do not move it */
typedef struct {
    gint64 values[RV_RECENT];
    guint next, count;
    guint unseen; /* samples since the quantiles below were computed */
    gint64 p50, p99;
} RvRecent;

void rv_recent_add(RvRecent *recent, gint64 value);
/* Of the last RV_RECENT values, at most 8 samples old; 0 with none. */
gint64 rv_recent_p50(const RvRecent *recent);
gint64 rv_recent_p99(const RvRecent *recent);
