/* samples.c - rings of measurements and their quantiles. */
#include "live/samples.h"

#include <stdlib.h>
#include <string.h>

void
rv_samples_init(RvSamples *samples, int columns, guint capacity)
{
    memset(samples, 0, sizeof *samples);
    samples->columns = columns;
    samples->capacity = capacity;
}

void
rv_samples_finish(RvSamples *samples)
{
    g_free(samples->times);
    g_free(samples->values);
    memset(samples, 0, sizeof *samples);
}

void
rv_samples_add(RvSamples *samples, gint64 time_us, const gint64 *row)
{
    if (samples->count == samples->allocated && samples->allocated < samples->capacity) {
        samples->allocated = MIN(samples->capacity, MAX(64, 2 * samples->allocated));
        samples->times = g_renew(gint64, samples->times, samples->allocated);
        samples->values =
            g_renew(gint32, samples->values, (gsize)samples->allocated * (gsize)samples->columns);
        samples->next = samples->count;
    }
    samples->times[samples->next] = time_us;
    gint32 *values = samples->values + (gsize)samples->next * (gsize)samples->columns;
    for (int c = 0; c < samples->columns; c++)
        values[c] = (gint32)CLAMP(row[c], -1, G_MAXINT32);
    samples->next = (samples->next + 1) % samples->capacity;
    samples->count = MIN(samples->count + 1, samples->capacity);
}

/* Of the row added `back` rows before the newest. */
static guint
row_index(const RvSamples *samples, guint back)
{
    return (samples->next + samples->capacity - 1 - back) % samples->capacity;
}

guint
rv_samples_count_since(const RvSamples *samples, gint64 since_us)
{
    guint low = 0, high = samples->count; /* times only grow, so the recent rows are a prefix */
    while (low < high) {
        guint middle = (low + high) / 2;
        if (samples->times[row_index(samples, middle)] >= since_us)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int
compare_values(const void *a, const void *b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;
    return x < y ? -1 : x > y;
}

/* Nearest rank: the smallest value that at least `percent` % of the sorted values do not exceed. */
static gint64
nearest_rank(const gint64 *sorted, guint count, guint percent)
{
    return sorted[(count * percent + 99) / 100 - 1];
}

void
rv_samples_quantiles(const RvSamples *samples, int column, gint64 since_us, RvLiveQuantiles *quantiles)
{
    g_assert(column >= 0 && column < samples->columns);
    memset(quantiles, 0, sizeof *quantiles);
    guint count = rv_samples_count_since(samples, since_us);
    if (count == 0)
        return;
    g_autofree gint64 *sorted = g_new(gint64, count);
    guint rows = count;
    count = 0;
    for (guint i = 0; i < rows; i++) {
        gsize row = row_index(samples, i);
        gint32 value = samples->values[row * (gsize)samples->columns + (gsize)column];
        if (value >= 0)
            sorted[count++] = value;
    }
    if (count == 0)
        return;
    qsort(sorted, count, sizeof *sorted, compare_values);
    quantiles->count = count;
    quantiles->p50 = nearest_rank(sorted, count, 50);
    quantiles->p95 = nearest_rank(sorted, count, 95);
    quantiles->p99 = nearest_rank(sorted, count, 99);
    quantiles->max = sorted[count - 1];
}

void
rv_recent_add(RvRecent *recent, gint64 value)
{
    recent->values[recent->next] = value;
    recent->next = (recent->next + 1) % RV_RECENT;
    recent->count = MIN(recent->count + 1, RV_RECENT);
    recent->unseen++;
    if (recent->unseen < 8 && recent->count > 32)
        return;
    gint64 sorted[RV_RECENT];
    memcpy(sorted, recent->values, recent->count * sizeof *sorted);
    qsort(sorted, recent->count, sizeof *sorted, compare_values);
    recent->p50 = nearest_rank(sorted, recent->count, 50);
    recent->p99 = nearest_rank(sorted, recent->count, 99);
    recent->unseen = 0;
}

gint64
rv_recent_p50(const RvRecent *recent)
{
    return recent->p50;
}

gint64
rv_recent_p99(const RvRecent *recent)
{
    return recent->p99;
}
