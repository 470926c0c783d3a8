#include <glib/gstdio.h>
#include <string.h>

#include "base/error.h"
#include "media/recorder.h"
#include "media/video.h"

/* As in test_video.c: GStreamer makes GLib's table of quarks grow. */
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *
__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *
__lsan_default_suppressions(void)
{
    return "leak:call_init\n";
}

#define WIDTH 64
#define HEIGHT 48
#define QUEUE 32 /* frames that wait at most */

typedef struct {
    GMutex gate; /* held: the recorder's thread stands still after a frame, as on a slow disk */
    int written, lost, failed, ended, released;
    char *message;
} Watcher;

static void
on_written(gsize bytes, void *user)
{
    Watcher *watcher = user;
    g_assert_cmpuint(bytes, >, 0);
    g_atomic_int_inc(&watcher->written);
    g_mutex_lock(&watcher->gate);
    g_mutex_unlock(&watcher->gate);
}

static void
on_lost(void *user)
{
    g_atomic_int_inc(&((Watcher *)user)->lost);
}

static void
on_failed(const GError *error, void *user)
{
    Watcher *watcher = user;
    g_free(watcher->message);
    watcher->message = g_strdup(error->message);
    g_atomic_int_inc(&watcher->failed);
}

static void
on_ended(void *user)
{
    g_atomic_int_set(&((Watcher *)user)->ended, 1);
}

static Watcher *released_for;

static void
release(gpointer raster)
{
    rv_raster_free(raster);
    g_atomic_int_inc(&released_for->released);
}

static void
wait_for(int *value, int least)
{
    gint64 until_us = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    while (g_atomic_int_get(value) < least) {
        g_assert_cmpint(g_get_monotonic_time(), <, until_us);
        g_usleep(1000);
    }
}

static RvRecorder *
open_recorder(Watcher *watcher, const char *stem, gint64 start_us)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(rv_recorder_check(&error));
    g_assert_no_error(error);
    released_for = watcher;
    RvRecorderOptions options = { .stem = stem,
                                  .start_us = start_us,
                                  .file_bytes = 1 << 20,
                                  .events = { on_written, on_lost, on_failed, on_ended, watcher } };
    return rv_recorder_new(&options);
}

/* A grey of its own for each frame. */
static bool
push_grey(RvRecorder *recorder, int index, gint64 time_us)
{
    RvRaster *raster = rv_raster_new_picture(rv_picture_new(WIDTH, HEIGHT, false, NULL));
    memset(raster->picture->rgb, 20 + 5 * index, 3 * WIDTH * HEIGHT);
    RvRecorderFrame frame = { .time_us = time_us, .raster = raster, .owner = raster, .release = release };
    return rv_recorder_push(recorder, &frame);
}

static void
check_greys(const char *path, int count)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvVideoReader) reader = rv_video_reader_open(path, NULL, &error);
    g_assert_no_error(error);
    for (int i = 0; i < count; i++) {
        g_autoptr(RvPicture) frame = NULL;
        g_assert_true(rv_video_reader_next(reader, &frame, &error));
        g_assert_no_error(error);
        g_assert_nonnull(frame);
        g_assert_cmpint(frame->width, ==, WIDTH);
        g_assert_cmpint(abs(frame->rgb[0] - (20 + 5 * i)), <=, 2);
    }
    g_autoptr(RvPicture) after = NULL;
    g_assert_true(rv_video_reader_next(reader, &after, &error));
    g_assert_null(after);
}

/* Pixels without a JPEG, as WebRTC's, and a disk that stands still. */
static void
test_full_queue(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-recorder-XXXXXX", NULL);
    g_autofree char *stem = g_build_filename(folder, "film", NULL), *path = g_strconcat(stem, ".mkv", NULL);
    Watcher watcher = { 0 };
    gint64 start_us = g_get_monotonic_time();
    g_mutex_lock(&watcher.gate);
    RvRecorder *recorder = open_recorder(&watcher, stem, start_us);
    g_assert_true(push_grey(recorder, 0, start_us));
    wait_for(&watcher.written, 1);
    int taken = 1;
    while (taken <= QUEUE && push_grey(recorder, taken, start_us + taken * 40000))
        taken++;
    g_assert_cmpint(taken, ==, QUEUE); /* the one that is being written counts */
    g_assert_false(rv_recorder_has_room(recorder, 1));
    for (int i = 0; i < 3; i++)
        g_assert_false(push_grey(recorder, 99, start_us + 9000000));
    g_assert_cmpint(g_atomic_int_get(&watcher.released), >=, 3);
    g_mutex_unlock(&watcher.gate);
    rv_recorder_close(recorder);
    wait_for(&watcher.ended, 1);
    g_assert_cmpint(watcher.written, ==, taken);
    g_assert_cmpint(watcher.released, ==, taken + 4);
    g_assert_cmpint(watcher.lost + watcher.failed, ==, 0);
    check_greys(path, taken);
    g_unlink(path);
    g_rmdir(folder);
}

static void
test_no_folder(void)
{
    Watcher watcher = { 0 };
    RvRecorder *recorder = open_recorder(&watcher, "/nowhere/at/all", 0);
    for (int i = 0; i < 3; i++)
        g_assert_true(push_grey(recorder, i, 1000 * i));
    rv_recorder_close(recorder);
    wait_for(&watcher.ended, 1);
    g_assert_cmpint(watcher.failed, ==, 1);
    g_assert_cmpint(watcher.lost, ==, 2);
    g_assert_cmpint(watcher.written, ==, 0);
    g_assert_cmpint(watcher.released, ==, 3);
    g_assert_nonnull(strstr(watcher.message, "/nowhere/at/all.mkv"));
    g_free(watcher.message);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recorder/full-queue", test_full_queue);
    g_test_add_func("/recorder/no-folder", test_no_folder);
    return g_test_run();
}
