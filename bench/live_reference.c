/* live_reference.c - the queue rules of two projects of the field, for comparison on the same traces.
 *
 * "heap": transformirror-web. A queue of three frames before every worker (send and receive high-water marks
 * of its sockets), the newest frame is refused when all are full; results pass a heap that always keeps two;
 * they leave when the client sends its next frame; a result older than what was sent is dropped. "cursor":
 * i2i-realtime. Batches of four, unbounded queues, workers in turn; results are put in order by index: a gap
 * is waited for until the index is more than ten ahead, then the cursor jumps there; a result more than ten
 * behind moves the cursor back. */
#include "live_trace.h"

#include <stdlib.h>

#define QUEUE 3
#define BATCH 4
#define BATCH_GAIN 0.95 /* a batch takes this share of its frames' single times */
#define GAP 10

typedef struct {
    int queue[QUEUE];
    int queued;
    int running; /* -1: idle */
    gint64 done_us;
} Worker;

static void
begin(const LiveTrace *trace, Worker *worker, gint64 now)
{
    worker->running = worker->queue[0];
    worker->queued--;
    for (int i = 0; i < worker->queued; i++)
        worker->queue[i] = worker->queue[i + 1];
    worker->done_us = now + trace->service_us[worker->running];
}

/* The worker that is done first, not after `until_us`, or NULL. */
static Worker *
first_done(Worker *workers, int count, gint64 until_us)
{
    Worker *first = NULL;
    for (int i = 0; i < count; i++) {
        Worker *worker = &workers[i];
        if (worker->running >= 0 && worker->done_us <= until_us &&
            (first == NULL || worker->done_us < first->done_us))
            first = worker;
    }
    return first;
}

static int
compare_frames(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

typedef struct {
    int heap[64];
    int in_heap;
    GArray *leaving; /* int: frames that wait for the client's next message */
} Heap;

static void
heap_put(Heap *heap, int frame)
{
    heap->heap[heap->in_heap++] = frame;
    qsort(heap->heap, (size_t)heap->in_heap, sizeof(int), compare_frames);
    if (heap->in_heap <= 2)
        return;
    g_array_append_val(heap->leaving, heap->heap[0]);
    for (int i = 0; i + 1 < heap->in_heap; i++)
        heap->heap[i] = heap->heap[i + 1];
    heap->in_heap--;
}

static void
flush(Heap *heap, gint64 now, int *newest, GArray *shows)
{
    for (guint i = 0; i < heap->leaving->len; i++) {
        int frame = g_array_index(heap->leaving, int, i);
        if (frame < *newest)
            continue;
        live_show_add(shows, frame, now);
        *newest = frame;
    }
    g_array_set_size(heap->leaving, 0);
}

static void
advance(const LiveTrace *trace, Worker *workers, int count, gint64 now, Heap *heap)
{
    for (Worker *worker; (worker = first_done(workers, count, now)) != NULL;) {
        if (!trace->is_lost[worker->running])
            heap_put(heap, worker->running);
        worker->running = -1;
        if (worker->queued > 0)
            begin(trace, worker, worker->done_us);
    }
}

void
live_reference_heap(const LiveTrace *trace, int devices, GArray *shows)
{
    g_autofree Worker *workers = g_new0(Worker, devices);
    for (int i = 0; i < devices; i++)
        workers[i].running = -1;
    Heap heap = { .leaving = g_array_new(FALSE, FALSE, sizeof(int)) };
    int turn = 0, newest = -1;
    for (int frame = 0; frame < trace->frames; frame++) {
        gint64 now = trace->arrival_us[frame];
        advance(trace, workers, devices, now, &heap);
        flush(&heap, now, &newest, shows);
        for (int i = 0; i < devices; i++) {
            Worker *worker = &workers[(turn + i) % devices];
            if (worker->queued == QUEUE)
                continue;
            worker->queue[worker->queued++] = frame;
            if (worker->running < 0)
                begin(trace, worker, now);
            turn = (turn + i + 1) % devices;
            break;
        }
    }
    g_array_unref(heap.leaving);
}

typedef struct {
    gint64 done_us;
    int first; /* frame of the batch */
} Batch;

static int
compare_batches(const void *a, const void *b)
{
    const Batch *x = a, *y = b;
    return x->done_us < y->done_us ? -1 : x->done_us > y->done_us;
}

typedef struct {
    int next;
    bool *is_kept; /* by frame */
    GArray *shows;
} Cursor;

static void
cursor_put(Cursor *cursor, const LiveTrace *trace, int frame, gint64 now)
{
    int ahead = frame - cursor->next;
    if (ahead < 0 && ahead >= -GAP)
        return;
    cursor->is_kept[frame] = true;
    if (ahead > GAP || ahead < 0)
        cursor->next = frame;
    while (cursor->next < trace->frames && cursor->is_kept[cursor->next]) {
        cursor->is_kept[cursor->next] = false;
        live_show_add(cursor->shows, cursor->next++, now);
    }
}

void
live_reference_cursor(const LiveTrace *trace, int devices, GArray *shows)
{
    int count = trace->frames / BATCH;
    g_autofree Batch *batches = g_new(Batch, count);
    g_autofree gint64 *free_us = g_new0(gint64, devices);
    for (int i = 0; i < count; i++) {
        double service = 0;
        for (int k = 0; k < BATCH; k++)
            service += (double)trace->service_us[i * BATCH + k];
        gint64 start = MAX(free_us[i % devices], trace->arrival_us[i * BATCH + BATCH - 1]);
        batches[i] = (Batch) { start + (gint64)(service * BATCH_GAIN), i * BATCH };
        free_us[i % devices] = batches[i].done_us;
    }
    qsort(batches, (size_t)count, sizeof *batches, compare_batches);
    Cursor cursor = { 0, g_new0(bool, trace->frames), shows };
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < BATCH; k++) {
            if (!trace->is_lost[batches[i].first + k])
                cursor_put(&cursor, trace, batches[i].first + k, batches[i].done_us);
        }
    }
    g_free(cursor.is_kept);
}
