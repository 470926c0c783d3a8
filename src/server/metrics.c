#include "server/metrics.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const gint64 bounds_us[RV_HISTOGRAM_BUCKETS] = {
    1000, 2000, 5000, 10000, 15000, 20000, 30000, 40000, 60000, 100000, 200000, 500000, 1000000, 5000000
};

void
rv_histogram_add(RvHistogram *histogram, gint64 us)
{
    int bucket = 0;
    while (bucket < RV_HISTOGRAM_BUCKETS && us > bounds_us[bucket])
        bucket++;
    histogram->counts[bucket]++;
    histogram->count++;
    histogram->sum += (double)MAX(us, 0) * 1e-6;
}

void
rv_metrics_head(GString *to, const char *name, const char *kind, const char *help)
{
    g_string_append_printf(to, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

void
rv_metrics_sample(GString *to, const char *name, const char *labels, double value)
{
    char number[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(number, sizeof number, "%.15g", value);
    if (labels != NULL)
        g_string_append_printf(to, "%s{%s} %s\n", name, labels, number);
    else
        g_string_append_printf(to, "%s %s\n", name, number);
}

void
rv_metrics_histogram(GString *to, const char *name, const char *labels, const RvHistogram *histogram)
{
    guint64 below = 0;
    g_autofree char *bucket = g_strconcat(name, "_bucket", NULL), *sum = g_strconcat(name, "_sum", NULL),
                    *count = g_strconcat(name, "_count", NULL);
    for (int i = 0; i <= RV_HISTOGRAM_BUCKETS; i++) {
        char bound[G_ASCII_DTOSTR_BUF_SIZE] = "+Inf";
        if (i < RV_HISTOGRAM_BUCKETS)
            g_ascii_formatd(bound, sizeof bound, "%g", (double)bounds_us[i] * 1e-6);
        g_autofree char *with_bound = g_strdup_printf("%s,le=\"%s\"", labels, bound);
        below += histogram->counts[i];
        rv_metrics_sample(to, bucket, with_bound, (double)below);
    }
    rv_metrics_sample(to, sum, labels, histogram->sum);
    rv_metrics_sample(to, count, labels, (double)histogram->count);
}

char *
rv_metrics_escape(const char *text)
{
    GString *escaped = g_string_new(NULL);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\n')
            g_string_append(escaped, "\\n");
        else if (*c == '"' || *c == '\\')
            g_string_append_printf(escaped, "\\%c", *c);
        else
            g_string_append_c(escaped, *c);
    }
    return g_string_free(escaped, FALSE);
}

gint64
rv_resident_bytes(void)
{
    g_autofree char *text = NULL;
    long pages = 0;
    if (!g_file_get_contents("/proc/self/statm", &text, NULL, NULL) || sscanf(text, "%*d %ld", &pages) != 1)
        return 0;
    return (gint64)pages * sysconf(_SC_PAGESIZE);
}

/* There with a sanitizer, whose malloc glibc knows nothing of. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

/* Without what malloc keeps for later: where this grows something is lost. */
static gsize
heap_bytes(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    struct mallinfo2 heap = mallinfo2();
    return heap.uordblks + heap.hblkhd;
}

static int
open_files(void)
{
    int n = 0;
    g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
    while (folder != NULL && g_dir_read_name(folder) != NULL)
        n++;
    return n;
}

void
rv_metrics_process(GString *to)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    rv_metrics_head(to, "process_resident_memory_bytes", "gauge", "Memory in use.");
    rv_metrics_sample(to, "process_resident_memory_bytes", NULL, (double)rv_resident_bytes());
    rv_metrics_head(to, "reverie_heap_bytes", "gauge", "Memory that malloc has given out.");
    rv_metrics_sample(to, "reverie_heap_bytes", NULL, (double)heap_bytes());
    rv_metrics_head(to, "process_cpu_seconds_total", "counter", "CPU time used.");
    rv_metrics_sample(to, "process_cpu_seconds_total", NULL, seconds);
    rv_metrics_head(to, "process_open_fds", "gauge", "Open files and sockets.");
    rv_metrics_sample(to, "process_open_fds", NULL, open_files());
    rv_metrics_head(to, "reverie_build_info", "gauge", "The version.");
    rv_metrics_sample(to, "reverie_build_info", "version=\"" REVERIE_VERSION "\"", 1.0);
}
