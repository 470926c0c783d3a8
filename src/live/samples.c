/* samples.c - rings of measurements and their quantiles. */
#include "live/samples.h"

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

/* Reorders values[low..high] so that values[index] is what sorting would put there, with none larger before
 * it and none smaller behind (Hoare's FIND). Sorting a minute of frames would hold up the loop for
 * milliseconds. */
static gint64
put_in_place(gint64 *values, int low, int high, int index)
{
    while (low < high) {
        gint64 pivot = values[index];
        int i = low, j = high;
        while (i <= j) {
            while (values[i] < pivot)
                i++;
            while (pivot < values[j])
                j--;
            if (i > j)
                break;
            gint64 kept = values[i];
            values[i++] = values[j];
            values[j--] = kept;
        }
        if (j < index)
            low = i;
        if (index < i)
            high = j;
    }
    return values[index];
}

/* Nearest rank: where the smallest value stands that at least `percent` % of the values do not exceed. */
static int
rank_index(int count, int percent)
{
    return (count * percent + 99) / 100 - 1;
}

void
rv_samples_quantiles(const RvSamples *samples, int column, gint64 since_us, RvLiveQuantiles *quantiles)
{
    g_assert(column >= 0 && column < samples->columns);
    memset(quantiles, 0, sizeof *quantiles);
    guint count = rv_samples_count_since(samples, since_us);
    if (count == 0)
        return;
    g_autofree gint64 *values = g_new(gint64, count);
    guint rows = count;
    count = 0;
    for (guint i = 0; i < rows; i++) {
        gsize row = row_index(samples, i);
        gint32 value = samples->values[row * (gsize)samples->columns + (gsize)column];
        if (value >= 0)
            values[count++] = value;
    }
    if (count == 0)
        return;
    int last = (int)count - 1;
    int ranks[] = { rank_index((int)count, 50), rank_index((int)count, 95), rank_index((int)count, 99) };
    quantiles->count = count;
    quantiles->p50 = put_in_place(values, 0, last, ranks[0]);
    quantiles->p95 = put_in_place(values, ranks[0], last, ranks[1]);
    quantiles->p99 = put_in_place(values, ranks[1], last, ranks[2]);
    quantiles->max = put_in_place(values, ranks[2], last, last);
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
    gint64 values[RV_RECENT];
    int count = (int)recent->count, median = rank_index(count, 50);
    memcpy(values, recent->values, recent->count * sizeof *values);
    recent->p50 = put_in_place(values, 0, count - 1, median);
    recent->p99 = put_in_place(values, median, count - 1, rank_index(count, 99));
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
