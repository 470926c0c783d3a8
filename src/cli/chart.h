/* chart.h - the statistics of a run's frame times, and the chart that artists compare providers with. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    double min, median, p99, max, mean; /* milliseconds */
} RvTimings;

/* Of `count` >= 1 samples in milliseconds; p99 is the smallest sample that 99 % do not exceed. */
RvTimings rv_timings_of(const double *samples_ms, int count);

/* An SVG: a dot per frame (x: time since the first frame, y: milliseconds on a fixed axis of 0 to 250),
 * lines for median, p99 and slowest, a histogram at the right. Frames above the axis are drawn at its top
 * in another colour. */
bool rv_chart_write(const char *path, const char *title, const double *samples_ms, int count, GError **error);
