#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "media/output.h"
#include "media/picture.h"

static RvPicture *
load(const char *name)
{
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "data", "media", name, NULL);
    g_autoptr(GError) error = NULL;
    RvPicture *picture = rv_picture_load(path, NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(picture);
    return picture;
}

static int
largest_difference(const guint8 *a, const guint8 *b, gsize count)
{
    int largest = 0;
    for (gsize i = 0; i < count; i++)
        largest = MAX(largest, ABS(a[i] - b[i]));
    return largest;
}

static gsize
pixels_of(const RvPicture *picture)
{
    return (gsize)picture->width * (gsize)picture->height;
}

static void
assert_same(const RvPicture *a, const RvPicture *b, int tolerance)
{
    g_assert_cmpint(a->width, ==, b->width);
    g_assert_cmpint(a->height, ==, b->height);
    g_assert_cmpint(largest_difference(a->rgb, b->rgb, 3 * pixels_of(a)), <=, tolerance);
    g_assert_cmpint(a->alpha != NULL, ==, b->alpha != NULL);
    if (a->alpha != NULL)
        g_assert_cmpint(largest_difference(a->alpha, b->alpha, pixels_of(a)), <=, tolerance);
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
test_save_formats(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autoptr(RvPicture) picture = load("baseline.ppm");
    const struct {
        const char *name;
        RvPictureSaveOptions options;
        int tolerance;
    } cases[] = {
        { "a.png", { 0 }, 0 },
        { "b.JPG", { .quality = 98 }, 40 },
        { "c.webp", { .quality = 98 }, 40 },
        { "d.webp", { .lossless = true }, 0 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_build_filename(folder, cases[i].name, NULL);
        g_autoptr(GError) error = NULL;
        for (int twice = 0; twice < 2; twice++) {
            g_assert_true(rv_picture_save(picture, path, &cases[i].options, &error));
            g_assert_no_error(error);
        }
        g_autoptr(RvPicture) back = rv_picture_load(path, NULL, &error);
        g_assert_no_error(error);
        assert_same(picture, back, cases[i].tolerance);
        g_assert_cmpuint(count_entries(folder), ==, 1);
        g_remove(path);
    }
    g_rmdir(folder);
}

static void
assert_not_saved(const RvPicture *picture, const char *path, RvError code)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_picture_save(picture, path, NULL, &error));
    g_assert_error(error, RV_ERROR, (int)code);
}

static void
test_save_fails_clean(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autoptr(RvPicture) picture = load("rgb.png");
    g_autofree char *unknown = g_build_filename(folder, "a.tiff", NULL);
    g_autofree char *missing = g_build_filename(folder, "no", "a.png", NULL);
    g_autofree char *taken = g_build_filename(folder, "taken.png", NULL);
    g_mkdir(taken, 0700);
    assert_not_saved(picture, unknown, RV_ERROR_USAGE);
    assert_not_saved(picture, missing, RV_ERROR_IO);
    assert_not_saved(picture, taken, RV_ERROR_IO);
    g_assert_cmpuint(count_entries(folder), ==, 1);
    g_rmdir(taken);
    g_rmdir(folder);
}

/* A limit on file sizes stands for a full disk: write() fails in the same place. */
static void
test_disk_full_leaves_old_file(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.png", NULL);
    g_file_set_contents(path, "old", -1, NULL);
    g_autoptr(RvPicture) picture = load("rgb.png");
    struct rlimit old, small = { 100, 100 };
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    g_autoptr(GError) error = NULL;
    bool done = rv_picture_save(picture, path, NULL, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    g_assert_false(done);
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_assert_nonnull(strstr(error->message, "make room"));
    g_autofree char *kept = NULL;
    g_assert_true(g_file_get_contents(path, &kept, NULL, NULL));
    g_assert_cmpstr(kept, ==, "old");
    g_assert_cmpuint(count_entries(folder), ==, 1);
    g_remove(path);
    g_rmdir(folder);
}

static void
test_output_to_special_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvOutput) output = rv_output_open("/dev/null", &error);
    g_assert_no_error(error);
    g_assert_true(rv_output_write(output, "x", 1, &error));
    g_assert_true(rv_output_commit(output, &error));
    struct stat status;
    g_assert_cmpint(stat("/dev/null", &status), ==, 0);
    g_assert_true(S_ISCHR(status.st_mode));

    g_autoptr(RvOutput) full = rv_output_open("/dev/full", &error);
    g_assert_no_error(error);
    g_assert_false(rv_output_write(full, "x", 1, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
}

static void
test_saved_mode_follows_umask(void)
{
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.png", NULL);
    g_autoptr(RvPicture) picture = load("rgb.png");
    mode_t old = umask(022);
    g_assert_true(rv_picture_save(picture, path, NULL, NULL));
    umask(old);
    struct stat status;
    g_assert_cmpint(stat(path, &status), ==, 0);
    g_assert_cmpint(status.st_mode & 0777, ==, 0644);
    g_remove(path);
    g_rmdir(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/picture/save/formats", test_save_formats);
    g_test_add_func("/picture/save/fails-clean", test_save_fails_clean);
    g_test_add_func("/picture/save/disk-full", test_disk_full_leaves_old_file);
    g_test_add_func("/picture/save/special-file", test_output_to_special_file);
    g_test_add_func("/picture/save/mode", test_saved_mode_follows_umask);
    return g_test_run();
}
