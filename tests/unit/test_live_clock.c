/* test_live_clock.c - the clocks, frames and samples; devices on real threads. */
#include "live/samples.h"
#include "test_live_world.h"

#include <stdlib.h>

typedef struct {
    RvClock *clock;
    RvAlarm *alarm;
    GArray *times; /* gint64: when the alarm went off */
    gint64 again_us;
} Bell;

static void
on_alarm(void *data)
{
    Bell *bell = data;
    gint64 now = rv_clock_now(bell->clock);
    g_array_append_val(bell->times, now);
    if (bell->again_us > 0) {
        rv_alarm_set(bell->alarm, now + bell->again_us);
        bell->again_us = 0;
    }
}

static Bell
bell_new(RvClock *clock)
{
    return (Bell) { .clock = clock, .times = g_array_new(FALSE, FALSE, sizeof(gint64)) };
}

static void
bell_finish(Bell *bell)
{
    rv_alarm_free(bell->alarm);
    g_array_unref(bell->times);
}

static void
test_virtual_clock(void)
{
    RvClock *clock = rv_clock_new_virtual(1000);
    Bell bell = bell_new(clock);
    bell.alarm = rv_alarm_new(clock, on_alarm, &bell);
    rv_clock_virtual_run(clock, 2000);
    g_assert_cmpuint(bell.times->len, ==, 0);
    rv_alarm_set(bell.alarm, 2500);
    rv_alarm_set(bell.alarm, 3000);
    bell.again_us = 500;
    rv_clock_virtual_run(clock, 2999);
    g_assert_cmpuint(bell.times->len, ==, 0);
    rv_clock_virtual_run(clock, 10000);
    g_assert_cmpuint(bell.times->len, ==, 2);
    g_assert_cmpint(g_array_index(bell.times, gint64, 0), ==, 3000);
    g_assert_cmpint(g_array_index(bell.times, gint64, 1), ==, 3500);
    g_assert_cmpint(rv_clock_now(clock), ==, 10000);
    rv_alarm_set(bell.alarm, 20000);
    rv_alarm_wake(bell.alarm); /* does not unset it */
    rv_clock_virtual_run(clock, 20000);
    g_assert_cmpuint(bell.times->len, ==, 4);
    rv_alarm_set(bell.alarm, 5); /* past: at once */
    rv_clock_virtual_run(clock, 20000);
    g_assert_cmpint(g_array_index(bell.times, gint64, 4), ==, 20000);
    rv_alarm_set(bell.alarm, 30000);
    rv_alarm_set(bell.alarm, RV_NEVER);
    rv_clock_virtual_run(clock, 40000);
    g_assert_cmpuint(bell.times->len, ==, 5);
    bell_finish(&bell);
    rv_clock_free(clock);
    rv_clock_free(NULL);
}

static void
test_real_clock(void)
{
    GMainContext *context = g_main_context_new();
    RvClock *clock = rv_clock_new_real(context);
    Bell bell = bell_new(clock);
    bell.alarm = rv_alarm_new(clock, on_alarm, &bell);
    gint64 start = rv_clock_now(clock);
    bell.again_us = 3 * MS;
    rv_alarm_set(bell.alarm, start + 5 * MS);
    while (bell.times->len < 2)
        g_main_context_iteration(context, TRUE);
    g_assert_cmpint(g_array_index(bell.times, gint64, 0), >=, start + 5 * MS);
    g_assert_cmpint(g_array_index(bell.times, gint64, 1), >=, start + 8 * MS);
    g_assert_cmpint(g_array_index(bell.times, gint64, 1), <,
                    start + 2 * G_USEC_PER_SEC); /* a loaded machine */
    rv_alarm_set(bell.alarm, rv_clock_now(clock) + 3600 * (gint64)G_USEC_PER_SEC);
    rv_alarm_wake(bell.alarm);
    while (bell.times->len < 3)
        g_main_context_iteration(context, TRUE);
    rv_alarm_set(bell.alarm, RV_NEVER);
    g_assert_false(g_main_context_iteration(context, FALSE));
    bell_finish(&bell);
    rv_clock_free(clock);
    g_main_context_unref(context);
}

static int freed;

static void
count_free(void *data)
{
    freed++;
    g_free(data);
}

static void
test_frames(void)
{
    freed = 0;
    RvFrame *frame = rv_frame_new(g_malloc(3), 3, count_free);
    frame->sequence = 7;
    frame->capture_us = 8;
    frame->born_us = 9;
    frame->revision = 10;
    frame->stage_us[RV_STAGE_RENDER] = 11;
    RvFrame *result = rv_frame_new_result(frame, NULL, 0, NULL);
    g_assert_cmpuint(result->sequence, ==, 7);
    g_assert_cmpint(result->capture_us, ==, 8);
    g_assert_cmpint(result->born_us, ==, 9);
    g_assert_cmpuint(result->revision, ==, 10);
    g_assert_cmpint(result->stage_us[RV_STAGE_RENDER], ==, 0);
    rv_frame_unref(result);
    g_assert_true(rv_frame_ref(frame) == frame);
    rv_frame_unref(frame);
    g_assert_cmpint(freed, ==, 0);
    rv_frame_unref(frame);
    g_assert_cmpint(freed, ==, 1);
    rv_frame_unref(NULL);
    g_assert_cmpstr(rv_stage_name(RV_STAGE_WAIT), ==, "wait");
    g_assert_cmpstr(rv_stage_name(RV_STAGE_HOLD), ==, "hold");
}

/* Against sorting, over random sizes, with the ring wrapping. */
static void
test_quantiles(void)
{
    RvSamples samples;
    rv_samples_init(&samples, 2, 300);
    RvLiveQuantiles q;
    rv_samples_quantiles(&samples, 0, 0, &q);
    g_assert_cmpuint(q.count, ==, 0);
    for (int i = 1; i <= 1000; i++) {
        rv_samples_add(&samples, i * 10, (gint64[]) { i * 7919 % 1000, i % 2 == 0 ? i : -1 });
        gint64 since = MAX(i * 10 - 1990, 0);
        guint expected = (guint)MIN(i, 200);
        g_assert_cmpuint(rv_samples_count_since(&samples, since), ==, expected);
    }
    rv_samples_quantiles(&samples, 1, 10000 - 10 * 199, &q); /* even numbers of 801 to 1000 */
    g_assert_cmpuint(q.count, ==, 100);
    g_assert_cmpint(q.p50, ==, 900);
    g_assert_cmpint(q.p95, ==, 990);
    g_assert_cmpint(q.p99, ==, 998);
    g_assert_cmpint(q.max, ==, 1000);
    rv_samples_quantiles(&samples, 0, 0, &q);
    g_assert_cmpuint(q.count, ==, 300);
    rv_samples_quantiles(&samples, 0, 20000, &q);
    g_assert_cmpuint(q.count, ==, 0);
    rv_samples_add(&samples, 10010, (gint64[]) { G_MAXINT64, 0 });
    rv_samples_quantiles(&samples, 0, 10010, &q);
    g_assert_cmpint(q.max, ==, G_MAXINT32);
    rv_samples_finish(&samples);
}

static int
compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

/* Against sorting: every size, few and many different values. */
static void
test_quantiles_of_random_values(void)
{
    GRand *random = g_rand_new_with_seed(5);
    for (int count = 1; count <= 400; count++) {
        RvSamples samples;
        rv_samples_init(&samples, 1, 400);
        int values[400], range = g_rand_int_range(random, 1, count % 2 ? 5 : 100000);
        for (int i = 0; i < count; i++) {
            values[i] = g_rand_int_range(random, 0, range);
            rv_samples_add(&samples, i, (gint64[]) { values[i] });
        }
        qsort(values, (size_t)count, sizeof *values, compare);
        RvLiveQuantiles q;
        rv_samples_quantiles(&samples, 0, 0, &q);
        g_assert_cmpint(q.p50, ==, values[(count * 50 + 99) / 100 - 1]);
        g_assert_cmpint(q.p95, ==, values[(count * 95 + 99) / 100 - 1]);
        g_assert_cmpint(q.p99, ==, values[(count * 99 + 99) / 100 - 1]);
        g_assert_cmpint(q.max, ==, values[count - 1]);
        rv_samples_finish(&samples);
    }
    g_rand_free(random);
}

static void
test_recent(void)
{
    RvRecent recent = { 0 };
    g_assert_cmpint(rv_recent_p99(&recent), ==, 0);
    rv_recent_add(&recent, 5);
    g_assert_cmpint(rv_recent_p50(&recent), ==, 5);
    g_assert_cmpint(rv_recent_p99(&recent), ==, 5);
    for (int i = 0; i < 2 * RV_RECENT; i++)
        rv_recent_add(&recent, 100 + (i % 128 == 0 ? 900 : 0));
    g_assert_cmpint(rv_recent_p50(&recent), ==, 100);
    g_assert_cmpint(rv_recent_p99(&recent), ==, 100); /* two outliers in 256 */
}

/* ---- real threads ---- */

typedef struct {
    GThread *thread;
    GAsyncQueue *jobs;
    guint seed;
} Worker;

static int stop; /* its address ends a worker */

static void *
work(void *data)
{
    Worker *worker = data;
    GRand *random = g_rand_new_with_seed(worker->seed);
    for (RvLiveJob *job; (job = g_async_queue_pop(worker->jobs)) != (void *)&stop;) {
        g_usleep((gulong)g_rand_int_range(random, 0, 400));
        RvFrame *source = rv_live_job_frame(job);
        if (source == NULL)
            rv_live_device_done(job, NULL, NULL);
        else if (rv_live_job_is_given_up(job) || g_rand_int_range(random, 0, 50) == 0)
            rv_live_device_done(job, NULL, g_error_new(RV_ERROR, RV_ERROR_INVALID, "no"));
        else
            rv_live_device_done(job, rv_frame_new_result(source, g_malloc(8), 8, g_free), NULL);
    }
    g_rand_free(random);
    return NULL;
}

static void
worker_start(void *device, RvLiveJob *job)
{
    g_async_queue_push(((Worker *)device)->jobs, job);
}

typedef struct {
    guint64 shown, last;
} Viewer;

static void
on_show(RvLiveSession *session, RvFrame *result, void *user_data)
{
    Viewer *viewer = user_data;
    g_assert_cmpuint(result->sequence, >, viewer->last);
    viewer->last = result->sequence;
    viewer->shown++;
}

static void
test_threads(void)
{
    static const RvLiveDeviceClass class = { .start = worker_start };
    enum { WORKERS = 4, VIEWERS = 3, FRAMES = 3000 };
    GMainContext *context = g_main_context_new();
    RvClock *clock = rv_clock_new_real(context);
    RvLive *live = rv_live_new(clock, NULL);
    Worker workers[WORKERS];
    Viewer viewers[VIEWERS] = { 0 };
    RvLiveSession *sessions[VIEWERS];
    for (guint i = 0; i < WORKERS; i++) {
        workers[i].seed = i;
        workers[i].jobs = g_async_queue_new();
        workers[i].thread = g_thread_new("worker", work, &workers[i]);
        rv_live_add_device(live, &class, &workers[i], &(RvLiveDeviceOptions) { .credit = 2 });
    }
    for (int i = 0; i < VIEWERS; i++) {
        RvLiveSessionOptions options = {
            .pace = (RvPace)i, .budget_us = MS, .on_show = on_show, .user_data = &viewers[i]
        };
        sessions[i] = rv_live_session_new(live, &options, NULL);
    }
    for (guint64 n = 1; n <= FRAMES; n++) {
        for (int i = 0; i < VIEWERS; i++) {
            RvFrame *frame = rv_frame_new(g_malloc(8), 8, g_free);
            frame->sequence = n;
            rv_live_session_push(sessions[i], frame);
        }
        g_usleep(100);
        while (g_main_context_iteration(context, FALSE)) {
        }
    }
    for (int i = 0; i < VIEWERS; i++)
        g_assert_cmpuint(viewers[i].shown, >, 100);
    rv_live_free(live); /* with jobs in work */
    for (guint i = 0; i < WORKERS; i++)
        g_async_queue_push(workers[i].jobs, &stop);
    for (guint i = 0; i < WORKERS; i++) {
        g_thread_join(workers[i].thread);
        g_async_queue_unref(workers[i].jobs);
    }
    rv_clock_free(clock);
    g_main_context_unref(context);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    allow_warnings();
    g_test_add_func("/live/clock/virtual", test_virtual_clock);
    g_test_add_func("/live/clock/real", test_real_clock);
    g_test_add_func("/live/clock/frames", test_frames);
    g_test_add_func("/live/clock/quantiles", test_quantiles);
    g_test_add_func("/live/clock/quantiles_of_random_values", test_quantiles_of_random_values);
    g_test_add_func("/live/clock/recent", test_recent);
    g_test_add_func("/live/clock/threads", test_threads);
    return g_test_run();
}
