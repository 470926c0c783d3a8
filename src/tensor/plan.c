#include "tensor/internal.h"

#define ALIGNMENT ((gsize)64)

static int
larger_first(gconstpointer a, gconstpointer b, gpointer data)
{
    const RvSpan *spans = data;
    const RvSpan *x = &spans[*(const int *)a], *y = &spans[*(const int *)b];
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return *(const int *)a - *(const int *)b;
}

static int
lower_first(gconstpointer a, gconstpointer b, gpointer data)
{
    const RvSpan *spans = data;
    gsize x = spans[*(const int *)a].offset, y = spans[*(const int *)b].offset;
    return x < y ? -1 : x > y;
}

/* The lowest offset at which `span` fits among the placed spans that live at the same time. */
static gsize
lowest_gap(const RvSpan *spans, const int *placed, int count, const RvSpan *span)
{
    g_autofree int *alive = g_new(int, (gsize)count + 1);
    int n = 0;
    for (int i = 0; i < count; i++)
        if (spans[placed[i]].first <= span->last && span->first <= spans[placed[i]].last)
            alive[n++] = placed[i];
    g_qsort_with_data(alive, n, sizeof *alive, lower_first, (gpointer)spans);
    gsize offset = 0;
    for (int i = 0; i < n; i++) {
        const RvSpan *other = &spans[alive[i]];
        if (offset + span->bytes <= other->offset)
            break;
        offset = MAX(offset, other->offset + other->bytes);
    }
    return offset;
}

gsize
rv_plan_place(RvSpan *spans, int count)
{
    g_autofree int *order = g_new(int, (gsize)count + 1);
    gsize total = 0;
    for (int i = 0; i < count; i++) {
        spans[i].bytes = (spans[i].bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        order[i] = i;
    }
    g_qsort_with_data(order, count, sizeof *order, larger_first, spans);
    for (int i = 0; i < count; i++) {
        RvSpan *span = &spans[order[i]];
        span->offset = lowest_gap(spans, order, i, span);
        total = MAX(total, span->offset + span->bytes);
    }
    return total;
}
