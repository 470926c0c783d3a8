#include <glib/gstdio.h>
#include <gst/gst.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "media/video.h"

/* GLib's table of quarks, allocated while libglib is loaded, outlives the many quarks of GStreamer: a bare
 * gst_init() "leaks" it too. Only whole stacks tell it from real leaks. */
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *
__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0:malloc_context_size=12"; /* longer ones take ten times as long */
}

const char *
__lsan_default_suppressions(void)
{
    return "leak:call_init\n";
}

#define WIDTH 64
#define HEIGHT 48

/* Frame `index`: a grey of its own, so that frames can be told apart after lossy compression. */
static RvPicture *
make_frame(int index)
{
    RvPicture *frame = rv_picture_new(WIDTH, HEIGHT, false, NULL);
    memset(frame->rgb, 20 + 10 * index, 3 * WIDTH * HEIGHT);
    return frame;
}

static int
frame_index(const RvPicture *frame)
{
    int sum = 0;
    for (int i = 0; i < 3 * frame->width * frame->height; i++)
        sum += frame->rgb[i];
    return (sum / (3 * frame->width * frame->height) - 20 + 5) / 10;
}

static void
write_frames(const char *path, gint64 first, int count)
{
    g_autoptr(GError) error = NULL;
    RvVideoWriterOptions options = { WIDTH, HEIGHT, 25, 1, first };
    g_autoptr(RvVideoWriter) writer = rv_video_writer_open(path, &options, &error);
    g_assert_no_error(error);
    for (int i = 0; i < count; i++) {
        g_autoptr(RvPicture) frame = make_frame((int)first + i);
        g_assert_true(rv_video_writer_add(writer, frame, &error));
        g_assert_no_error(error);
    }
    g_assert_true(rv_video_writer_finish(writer, &error));
    g_assert_no_error(error);
}

static void
remove_folder(const char *folder)
{
    GDir *entries = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(entries)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_remove(path);
    }
    g_dir_close(entries);
    g_rmdir(folder);
}

static guint
count_entries(const char *folder)
{
    guint count = 0;
    GDir *entries = g_dir_open(folder, 0, NULL);
    while (g_dir_read_name(entries) != NULL)
        count++;
    g_dir_close(entries);
    return count;
}

static void
assert_frames(RvVideoReader *reader, int first, int end)
{
    g_autoptr(GError) error = NULL;
    for (int i = first; i < end; i++) {
        g_autoptr(RvPicture) frame = NULL;
        g_assert_true(rv_video_reader_next(reader, &frame, &error));
        g_assert_no_error(error);
        g_assert_nonnull(frame);
        g_assert_cmpint(frame->width, ==, WIDTH);
        g_assert_cmpint(frame->height, ==, HEIGHT);
        g_assert_cmpint(frame_index(frame), ==, i);
    }
}

static void
assert_end(RvVideoReader *reader)
{
    for (int twice = 0; twice < 2; twice++) {
        g_autoptr(GError) error = NULL;
        RvPicture *frame;
        g_assert_true(rv_video_reader_next(reader, &frame, &error));
        g_assert_null(frame);
    }
}

static bool
can_write(const char *ending)
{
    const char *encoder = strcmp(ending, "webm") == 0 ? "vp8enc" : "x264enc";
    g_autoptr(GError) error = NULL;
    gst_init_check(NULL, NULL, &error);
    GstElementFactory *factory = gst_element_factory_find(encoder);
    if (factory == NULL)
        return false;
    gst_object_unref(factory);
    return true;
}

static void
test_film_survives(gconstpointer data)
{
    const char *ending = data;
    if (!can_write(ending)) {
        g_test_skip("no encoder for this kind of film");
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *name = g_strdup_printf("a film.%s", ending);
    g_autofree char *path = g_build_filename(folder, name, NULL);
    write_frames(path, 0, 20);
    g_assert_cmpuint(count_entries(folder), ==, 1);

    g_autoptr(GError) error = NULL;
    RvVideoReader *reader = rv_video_reader_open(path, NULL, &error);
    g_assert_no_error(error);
    const RvVideoInfo *info = rv_video_reader_get_info(reader);
    g_assert_cmpint(info->width, ==, WIDTH);
    g_assert_cmpint(info->height, ==, HEIGHT);
    g_assert_cmpint(info->rate_numerator, ==, 25 * info->rate_denominator);
    g_assert_cmpint(info->frames, >=, 19);
    g_assert_cmpint(info->frames, <=, 21);
    assert_frames(reader, 0, 20);
    assert_end(reader);
    rv_video_reader_close(reader);

    reader = rv_video_reader_open(path, NULL, &error);
    g_assert_true(rv_video_reader_skip(reader, 7, &error));
    assert_frames(reader, 7, 9);
    g_assert_true(rv_video_reader_skip(reader, 100, &error));
    assert_end(reader);
    rv_video_reader_close(reader);

    RvPictureLimits limits = { .pixels = 100 };
    reader = rv_video_reader_open(path, &limits, &error);
    RvPicture *frame;
    g_assert_true(reader == NULL || !rv_video_reader_next(reader, &frame, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    rv_video_reader_close(reader);
    remove_folder(folder);
}

static void
test_unfinished_film_goes_away(void)
{
    if (!can_write("webm")) {
        g_test_skip("no encoder");
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.webm", NULL);
    g_autoptr(GError) error = NULL;
    RvVideoWriterOptions options = { WIDTH, HEIGHT, 25, 1, 0 };
    RvVideoWriter *writer = rv_video_writer_open(path, &options, &error);
    g_autoptr(RvPicture) frame = make_frame(0);
    g_assert_true(rv_video_writer_add(writer, frame, &error));
    rv_video_writer_close(writer);
    g_assert_cmpuint(count_entries(folder), ==, 0);

    writer = rv_video_writer_open(path, &options, &error);
    g_assert_false(rv_video_writer_finish(writer, &error)); /* no frames */
    g_assert_error(error, RV_ERROR, RV_ERROR_FAILED);
    rv_video_writer_close(writer);
    g_assert_cmpuint(count_entries(folder), ==, 0);
    g_rmdir(folder);
}

/* A limit on file sizes stands for a full disk. Noise, so that the film grows past it. */
static void
test_disk_full(void)
{
    if (!can_write("webm")) {
        g_test_skip("no encoder");
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.webm", NULL);
    g_autoptr(GError) error = NULL;
    RvVideoWriterOptions options = { WIDTH, HEIGHT, 25, 1, 0 };
    RvVideoWriter *writer = rv_video_writer_open(path, &options, &error);
    g_assert_no_error(error);
    struct rlimit old, small = { 4096, 0 };
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    bool done = true;
    for (int i = 0; i < 100 && done; i++) {
        g_autoptr(RvPicture) frame = make_frame(0);
        for (int k = 0; k < 3 * WIDTH * HEIGHT; k++)
            frame->rgb[k] = (guint8)g_rand_int_range(random, 0, 256);
        done = rv_video_writer_add(writer, frame, &error);
    }
    done = done && rv_video_writer_finish(writer, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    g_assert_false(done);
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    rv_video_writer_close(writer);
    g_assert_cmpuint(count_entries(folder), ==, 0);
    g_rmdir(folder);
}

static void
assert_not_writable(const char *path, RvVideoWriterOptions options, RvError code)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_video_writer_open(path, &options, &error));
    g_assert_error(error, RV_ERROR, (int)code);
}

static void
test_writer_errors(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *film = g_build_filename(folder, "a.webm", NULL);
    g_autofree char *missing = g_build_filename(folder, "no", "a.webm", NULL);
    g_autofree char *taken = g_build_filename(folder, "file", NULL);
    g_file_set_contents(taken, "x", 1, NULL);
    assert_not_writable(film, (RvVideoWriterOptions) { 63, 48, 25, 1, 0 }, RV_ERROR_USAGE);
    assert_not_writable(film, (RvVideoWriterOptions) { 64, 48, 0, 1, 0 }, RV_ERROR_USAGE);
    assert_not_writable(missing, (RvVideoWriterOptions) { 64, 48, 25, 1, 0 }, RV_ERROR_IO);
    assert_not_writable(taken, (RvVideoWriterOptions) { 64, 48, 25, 1, 0 }, RV_ERROR_IO);
    g_assert_cmpuint(count_entries(folder), ==, 1);
    remove_folder(folder);
}

static void
assert_not_readable(const char *path, RvError code)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_video_reader_open(path, NULL, &error));
    g_assert_error(error, RV_ERROR, (int)code);
    g_assert_null(strchr(error->message, '\n'));
}

static void
test_reader_errors(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    assert_not_readable(folder, RV_ERROR_INVALID); /* no frames in it */
    g_autofree char *path = g_build_filename(folder, "a.mp4", NULL);
    assert_not_readable(path, RV_ERROR_NOT_FOUND);
    g_file_set_contents(path, "", 0, NULL);
    assert_not_readable(path, RV_ERROR_INVALID);
    g_file_set_contents(path, "this is text, no film; this is text, no film; this is text, no film", -1,
                        NULL);
    assert_not_readable(path, RV_ERROR_INVALID);
    g_file_set_contents(path,
                        "\0\0\0\x18"
                        "ftypmp42\0\0\0\0mp42isom\0\0\0\x08moov",
                        32, NULL);
    assert_not_readable(path, RV_ERROR_INVALID);
    remove_folder(folder);
}

/* A film cut at any place ends early or fails; it never hangs. */
static void
test_truncated_film(void)
{
    if (!can_write("webm")) {
        g_test_skip("no encoder");
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.webm", NULL);
    write_frames(path, 0, 20);
    g_autofree char *bytes = NULL;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    for (int part = 2; part < 8; part += 2) {
        g_file_set_contents(path, bytes, (gssize)(size * (gsize)part / 8), NULL);
        g_autoptr(GError) error = NULL;
        g_autoptr(RvVideoReader) reader = rv_video_reader_open(path, NULL, &error);
        RvPicture *frame = NULL;
        while (reader != NULL && rv_video_reader_next(reader, &frame, &error) && frame != NULL)
            rv_picture_free(frame);
        if (reader == NULL)
            g_assert_nonnull(error);
    }
    remove_folder(folder);
}

static void
test_folder(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *inside = g_build_filename(folder, "frames", NULL);
    write_frames(inside, 0, 3);
    write_frames(inside, 3, 2); /* goes on where it stopped */
    g_assert_cmpuint(count_entries(inside), ==, 5);
    g_autofree char *last = rv_video_frame_path(inside, 4);
    g_assert_true(g_str_has_suffix(last, "/frame-000005.png"));
    g_assert_true(g_file_test(last, G_FILE_TEST_IS_REGULAR));

    g_autoptr(GError) error = NULL;
    g_autoptr(RvVideoReader) reader = rv_video_reader_open(inside, NULL, &error);
    g_assert_no_error(error);
    const RvVideoInfo *info = rv_video_reader_get_info(reader);
    g_assert_cmpint(info->frames, ==, 5);
    g_assert_cmpint(info->width, ==, WIDTH);
    g_assert_cmpint(info->rate_numerator, ==, 0);
    assert_frames(reader, 0, 2);
    g_assert_true(rv_video_reader_skip(reader, 2, &error));
    assert_frames(reader, 4, 5);
    assert_end(reader);
    g_assert_true(rv_video_reader_skip(reader, 9, &error));
    assert_end(reader);
    remove_folder(inside);
    g_rmdir(folder);
}

static void
test_folder_order_is_natural(void)
{
    static const char *const names[] = {
        "a-2.png", "a-10.jpg", "a-010.webp", "b.PNG", "b1c2.png", "b1c10.png"
    };
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autoptr(GError) error = NULL;
    for (int i = G_N_ELEMENTS(names) - 1; i >= 0; i--) {
        g_autoptr(RvPicture) frame = make_frame(i);
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        g_assert_true(rv_picture_save(frame, path, NULL, &error));
    }
    g_autofree char *hidden = g_build_filename(folder, ".a-1.png", NULL), *other = NULL;
    other = g_build_filename(folder, "notes.txt", NULL);
    g_file_set_contents(hidden, "x", 1, NULL);
    g_file_set_contents(other, "x", 1, NULL);
    g_autoptr(RvVideoReader) reader = rv_video_reader_open(folder, NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(rv_video_reader_get_info(reader)->frames, ==, 6);
    assert_frames(reader, 0, 6);

    g_autofree char *broken = g_build_filename(folder, "a-3.png", NULL);
    g_file_set_contents(broken, "x", 1, NULL);
    g_autoptr(RvVideoReader) second = rv_video_reader_open(folder, NULL, &error);
    assert_frames(second, 0, 1);
    RvPicture *frame;
    g_assert_false(rv_video_reader_next(second, &frame, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "a-3.png"));
    remove_folder(folder);
}

/* In a process of its own, which finds no plugins at all. */
static void
test_missing_plugin(void)
{
    if (!g_test_subprocess()) {
        g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_INHERIT_STDERR);
        g_test_trap_assert_passed();
        return;
    }
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *registry = g_build_filename(folder, "registry", NULL);
    g_autofree char *film = g_build_filename(folder, "a.webm", NULL);
    g_setenv("GST_REGISTRY", registry, TRUE);
    g_setenv("GST_PLUGIN_SYSTEM_PATH_1_0", folder, TRUE);
    g_autoptr(GError) error = NULL;
    RvVideoWriterOptions options = { WIDTH, HEIGHT, 25, 1, 0 };
    g_assert_null(rv_video_writer_open(film, &options, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_assert_nonnull(strstr(error->message, "install gstreamer1.0-plugins-base"));
    g_clear_error(&error);
    g_assert_false(g_file_test(film, G_FILE_TEST_EXISTS));
    g_file_set_contents(film, "x", 1, NULL);
    g_assert_null(rv_video_reader_open(film, NULL, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    remove_folder(folder);
}

static void
test_film_names(void)
{
    g_assert_true(rv_video_path_is_film("x.mp4"));
    g_assert_true(rv_video_path_is_film("dir/x.MKV"));
    g_assert_false(rv_video_path_is_film("frames"));
    g_assert_false(rv_video_path_is_film("mp4"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    static const char *const endings[] = { "webm", "mp4", "mkv", "mov" };
    for (gsize i = 0; i < G_N_ELEMENTS(endings); i++) {
        g_autofree char *path = g_strdup_printf("/video/film/%s", endings[i]);
        g_test_add_data_func(path, endings[i], test_film_survives);
    }
    g_test_add_func("/video/film/unfinished", test_unfinished_film_goes_away);
    g_test_add_func("/video/film/disk-full", test_disk_full);
    g_test_add_func("/video/film/truncated", test_truncated_film);
    g_test_add_func("/video/film/names", test_film_names);
    g_test_add_func("/video/film/missing-plugin", test_missing_plugin);
    g_test_add_func("/video/writer-errors", test_writer_errors);
    g_test_add_func("/video/reader-errors", test_reader_errors);
    g_test_add_func("/video/folder", test_folder);
    g_test_add_func("/video/folder/order", test_folder_order_is_natural);
    return g_test_run();
}
