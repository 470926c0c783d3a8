/* test_tuning.c - choices kept from run to run: several handles, damaged files, no folder. */
#include "backends/cuda/tuning.h"

#include <glib/gstdio.h>
#include <string.h>

#define GPU "Card 1 sm90"

static char *cache;

static char *
file_path(void)
{
    return g_build_filename(cache, "reverie", "tuning", "Card-1-sm90.txt", NULL);
}

static void
wipe(void)
{
    g_autofree char *path = file_path();
    g_unlink(path);
}

static void
store(CudaTuning *tuning, const char *key, gint32 choice)
{
    cuda_tuning_store(tuning, key, &choice, sizeof choice);
}

static gint32
find(const CudaTuning *tuning, const char *key)
{
    const gint32 *choice = cuda_tuning_find(tuning, key, sizeof *choice);
    return choice != NULL ? *choice : -1;
}

static void
test_kept(void)
{
    wipe();
    CudaTuning *tuning = cuda_tuning_open("tuning", GPU);
    g_assert_cmpint(find(tuning, "conv 3x3"), ==, -1);
    store(tuning, "conv 3x3", 7);
    g_assert_cmpint(find(tuning, "conv 3x3"), ==, 7);
    g_assert_null(cuda_tuning_find(tuning, "conv 3x3", 8));
    cuda_tuning_close(tuning);
    tuning = cuda_tuning_open("tuning", GPU);
    g_assert_cmpint(find(tuning, "conv 3x3"), ==, 7);
    g_assert_cmpint(find(tuning, "conv 1x1"), ==, -1);
    cuda_tuning_close(tuning);
    tuning = cuda_tuning_open("tuning", "Card 2 sm90");
    g_assert_cmpint(find(tuning, "conv 3x3"), ==, -1);
    cuda_tuning_close(tuning);
}

/* Two that were opened before either wrote. */
static void
test_several_handles(void)
{
    wipe();
    CudaTuning *one = cuda_tuning_open("tuning", GPU), *two = cuda_tuning_open("tuning", GPU);
    store(one, "frame", 1);
    store(one, "both", 1);
    cuda_tuning_save(one);
    store(two, "prompt", 2);
    store(two, "both", 2);
    cuda_tuning_save(two);
    g_assert_cmpint(find(two, "frame"), ==, 1);
    store(one, "later", 3);
    cuda_tuning_close(one);
    cuda_tuning_close(two);
    CudaTuning *next = cuda_tuning_open("tuning", GPU);
    g_assert_cmpint(find(next, "frame"), ==, 1);
    g_assert_cmpint(find(next, "prompt"), ==, 2);
    g_assert_cmpint(find(next, "later"), ==, 3);
    g_assert_cmpint(find(next, "both"), ==, 1); /* who wrote last */
    cuda_tuning_close(next);
}

static gpointer
store_many(gpointer data)
{
    CudaTuning *tuning = cuda_tuning_open("tuning", GPU);
    for (int i = 0; i < 50; i++) {
        g_autofree char *key = g_strdup_printf("%s %d", (const char *)data, i);
        store(tuning, key, i);
        cuda_tuning_save(tuning);
    }
    cuda_tuning_close(tuning);
    return NULL;
}

/* A handle in each thread, as with several GPUs. */
static void
test_threads(void)
{
    static char *const names[] = { "a", "b", "c" };
    GThread *threads[G_N_ELEMENTS(names)];
    wipe();
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        threads[i] = g_thread_new(names[i], store_many, names[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        g_thread_join(threads[i]);
    CudaTuning *tuning = cuda_tuning_open("tuning", GPU);
    for (int i = 0; i < 50 * (int)G_N_ELEMENTS(names); i++) {
        g_autofree char *key = g_strdup_printf("%s %d", names[i / 50], i % 50);
        g_assert_cmpint(find(tuning, key), ==, i % 50);
    }
    cuda_tuning_close(tuning);
}

static void
test_damaged(void)
{
    static const char *const texts[] = { "",
                                         "\377\376\0garbage",
                                         "[choices\nx=00",
                                         "[choices]\nframe=0\n",
                                         "[choices]\nframe=zz000000\n",
                                         "[other]\nframe=01000000\n" };
    g_autofree char *path = file_path();
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_assert_true(g_file_set_contents(path, texts[i], -1, NULL));
        CudaTuning *tuning = cuda_tuning_open("tuning", GPU);
        g_assert_cmpint(find(tuning, "frame"), ==, -1);
        store(tuning, "frame", 5);
        cuda_tuning_close(tuning);
        tuning = cuda_tuning_open("tuning", GPU);
        g_assert_cmpint(find(tuning, "frame"), ==, 5);
        cuda_tuning_close(tuning);
    }
}

/* The file's place is a folder: nothing can be kept, which is said, and choices last as long as the handle.
 */
static void
test_not_writable(void)
{
    g_autofree char *path = file_path();
    wipe();
    g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
    CudaTuning *tuning = cuda_tuning_open("tuning", GPU);
    store(tuning, "frame", 5);
    g_test_expect_message(G_LOG_DOMAIN, G_LOG_LEVEL_MESSAGE, "tuning is not kept*");
    cuda_tuning_save(tuning);
    g_test_assert_expected_messages();
    g_assert_cmpint(find(tuning, "frame"), ==, 5);
    cuda_tuning_close(tuning);
    g_rmdir(path);
}

static void
clean_up(void)
{
    g_autofree char *tuning = g_build_filename(cache, "reverie", "tuning", NULL);
    g_autofree char *reverie = g_build_filename(cache, "reverie", NULL);
    g_autofree char *other = g_build_filename(tuning, "Card-2-sm90.txt", NULL);
    wipe();
    g_unlink(other);
    g_rmdir(tuning);
    g_rmdir(reverie);
    g_rmdir(cache);
    g_free(cache);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    cache = g_dir_make_tmp("reverie-tuning-XXXXXX", NULL);
    g_setenv("XDG_CACHE_HOME", cache, TRUE);
    g_test_add_func("/tuning/kept", test_kept);
    g_test_add_func("/tuning/several-handles", test_several_handles);
    g_test_add_func("/tuning/threads", test_threads);
    g_test_add_func("/tuning/damaged", test_damaged);
    g_test_add_func("/tuning/not-writable", test_not_writable);
    int failed = g_test_run();
    clean_up();
    return failed;
}
