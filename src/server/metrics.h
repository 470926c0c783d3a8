/* metrics.h - counters and histograms in Prometheus' text form (exposition format 0.0.4). Main loop only. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_HISTOGRAM_BUCKETS 14

typedef struct {
    guint64 counts[RV_HISTOGRAM_BUCKETS + 1]; /* the last: above all bounds */
    guint64 count;
    double sum; /* seconds */
} RvHistogram;

void rv_histogram_add(RvHistogram *histogram, gint64 us);

/* "# HELP" and "# TYPE" of what follows; kind is "counter", "gauge" or "histogram". */
void rv_metrics_head(GString *to, const char *name, const char *kind, const char *help);
/* One sample; `labels` as `a="b",c="d"`, or NULL. */
void rv_metrics_sample(GString *to, const char *name, const char *labels, double value);
void rv_metrics_histogram(GString *to, const char *name, const char *labels, const RvHistogram *histogram);
/* Of this process: resident memory, CPU seconds, open files. */
void rv_metrics_process(GString *to);
/* A label's value with quotes, backslashes and line ends escaped; free with g_free. */
char *rv_metrics_escape(const char *text);
gint64 rv_resident_bytes(void);
