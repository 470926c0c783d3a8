/* What the store promises: rows come back, changes are on disk when they say so, versions, damage, locks,
 * paths. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/files.h"
#include "store/store.h"

static char *folder;

static char *
in_folder(const char *name)
{
    return g_build_filename(folder, name, NULL);
}

static RvStore *
open_store(const char *name)
{
    g_autofree char *path = in_folder(name);
    g_autoptr(GError) error = NULL;
    RvStore *store = rv_store_open(path, &error);
    g_assert_no_error(error);
    return store;
}

static int delivered;

static void
on_done(const GError *error, void *user_data)
{
    g_assert_no_error(error);
    delivered++;
}

static void
wait_for(int count)
{
    while (delivered < count)
        g_main_context_iteration(NULL, TRUE);
}

static RvJobRow
make_row(gint64 id, const char *user)
{
    return (RvJobRow) { .id = id,
                        .user = (char *)user,
                        .name = (char *)"mine",
                        .kind = (char *)"txt2img",
                        .state = (char *)"queued",
                        .prompt = (char *)"ein Schaf; DROP TABLE jobs --'\"",
                        .request = (char *)"{\"a\":1}",
                        .place = -id,
                        .created = 1000,
                        .batches = 3 };
}

static RvPictureRow *
make_picture(gint64 job, const char *user, const char *path, const char *infotext)
{
    RvPictureRow *row = g_new0(RvPictureRow, 1);
    *row = (RvPictureRow) { .job = job,
                            .user = g_strdup(user),
                            .role = g_strdup("sample"),
                            .path = g_strdup(path),
                            .infotext = g_strdup(infotext),
                            .seed = 4294967295,
                            .width = 64,
                            .height = 48,
                            .bytes = 123,
                            .created = 2000,
                            .in_gallery = true };
    return row;
}

static void
test_job_comes_back(void)
{
    delivered = 0;
    RvStore *store = open_store("jobs.db");
    for (gint64 id = 1; id <= 3; id++) {
        RvJobRow row = make_row(id, id == 3 ? "bert" : "anna");
        rv_store_add_job(store, &row, NULL, on_done, NULL);
    }
    RvJobRow row = make_row(2, "anna");
    row.state = (char *)"done";
    row.began = 1500;
    row.ended = 1600;
    row.batches_done = 3;
    row.pictures = 1;
    row.info = (char *)"{}";
    row.seconds = 1.25;
    row.was_interrupted = true;
    GPtrArray *pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_row_free);
    g_ptr_array_add(pictures, make_picture(2, "anna", "anna/txt2img-images/d/0.png", "a 100% sheep"));
    rv_store_update_job(store, &row, pictures, on_done, NULL);
    wait_for(4);
    rv_store_close(store);

    store = open_store("jobs.db"); /* as after a restart */
    g_autoptr(RvJobRow) back = rv_store_get_job(store, "anna", 2);
    g_assert_nonnull(back);
    g_assert_cmpstr(back->state, ==, "done");
    g_assert_cmpstr(back->prompt, ==, "ein Schaf; DROP TABLE jobs --'\"");
    g_assert_cmpstr(back->info, ==, "{}");
    g_assert_cmpstr(back->request, ==, "{\"a\":1}");
    g_assert_true(back->began == 1500 && back->ended == 1600 && back->batches == 3 &&
                  back->batches_done == 3 && back->seconds == 1.25 && back->was_interrupted &&
                  back->error == NULL);
    g_assert_null(rv_store_get_job(store, "bert", 2)); /* another's */
    g_autoptr(GPtrArray) live = rv_store_live_jobs(store);
    g_assert_cmpuint(live->len, ==, 2);
    g_assert_cmpint(((RvJobRow *)live->pdata[0])->id, ==, 3); /* by place */
    g_autoptr(GPtrArray) rows = rv_store_job_pictures(store, "anna", 2);
    g_assert_cmpuint(rows->len, ==, 1);
    g_assert_cmpint(((RvPictureRow *)rows->pdata[0])->seed, ==, 4294967295);
    g_autoptr(GPtrArray) theirs = rv_store_job_pictures(store, "bert", 2);
    g_assert_cmpuint(theirs->len, ==, 0);
    /* Numbers are never given twice, even when the last job is gone. */
    const gint64 ids[] = { 3, 2 };
    rv_store_remove_jobs(store, ids, 2, NULL, NULL);
    rv_store_flush(store);
    g_assert_cmpint(rv_store_last_job(store), ==, 3);
    g_assert_null(rv_store_get_job(store, "anna", 2));
    RvGalleryFilter all = { 0 };
    g_assert_cmpint(rv_store_gallery_count(store, "anna", &all), ==, 1); /* what is in the gallery stays */
    rv_store_close(store);
}

static int
count(RvStore *store, const char *user, RvGalleryFilter filter)
{
    g_autoptr(GPtrArray) rows = rv_store_gallery(store, user, &filter);
    return (int)rows->len;
}

static void
test_gallery(void)
{
    RvStore *store = open_store("gallery.db");
    for (int i = 1; i <= 10; i++) {
        g_autofree char *path =
            g_strdup_printf("anna/%s/d/%d.png", i % 2 ? "txt2img-images" : "txt2img-grids", i);
        g_autofree char *text = g_strdup_printf("100%% picture_%d\nSteps: 1, Model: %s%s", i,
                                                i % 5 ? "one" : "two", i % 2 ? ", RNG: NV" : "");
        rv_store_add_picture(store, make_picture(0, "anna", path, text), 0, NULL, NULL);
    }
    rv_store_flush(store);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { 0 }), ==, 10);
    g_assert_cmpint(count(store, "bert", (RvGalleryFilter) { 0 }), ==, 0);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .limit = 3, .before_id = 3 }), ==, 2);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .after_id = 8 }), ==, 2);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .search = "PICTURE_1" }), ==, 2); /* 1 and 10 */
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .search = "picture%1" }), ==,
                    0); /* no wildcards */
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .search = "100%" }), ==, 10);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .folder = "txt2img-grids" }), ==, 5);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .model = "two" }), ==, 2);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .model = "tw" }), ==, 0);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .until = 2000 }), ==, 0);
    rv_store_mark_picture(store, "bert", 4, 1, 99, NULL, NULL); /* not his */
    rv_store_mark_picture(store, "anna", 5, 1, -1, NULL, NULL);
    rv_store_mark_picture(store, "anna", 6, -1, 77, NULL, NULL);
    rv_store_flush(store);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { 0 }), ==, 9);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .shelf = RV_GALLERY_FAVOURITES }), ==, 1);
    g_assert_cmpint(count(store, "anna", (RvGalleryFilter) { .shelf = RV_GALLERY_TRASH }), ==, 1);
    g_autoptr(GPtrArray) old = rv_store_old_trash(store, 78);
    g_assert_cmpuint(old->len, ==, 1);
    rv_store_close(store);
}

static void
test_documents(void)
{
    RvStore *store = open_store("documents.db");
    g_assert_null(rv_store_get_document(store, "anna", "options"));
    rv_store_set_document(store, "anna", "options", "{\"x\":1}", NULL, NULL);
    g_autofree char *soon = rv_store_get_document(store, "anna", "options"); /* before it is on disk */
    g_assert_cmpstr(soon, ==, "{\"x\":1}");
    g_assert_null(rv_store_get_document(store, "bert", "options"));
    rv_store_set_document(store, "anna", "gone", "{}", NULL, NULL);
    rv_store_set_document(store, "anna", "gone", NULL, NULL, NULL);
    rv_store_close(store);
    store = open_store("documents.db");
    g_autofree char *later = rv_store_get_document(store, "anna", "options");
    g_assert_cmpstr(later, ==, "{\"x\":1}");
    g_assert_null(rv_store_get_document(store, "anna", "gone"));
    rv_store_set_hash(store, "/m", 5, 6, "abc");
    rv_store_flush(store);
    g_autofree char *hash = rv_store_get_hash(store, "/m", 5, 6);
    g_assert_cmpstr(hash, ==, "abc");
    g_assert_null(rv_store_get_hash(store, "/m", 5, 7)); /* the file changed */
    rv_store_close(store);
}

static void
expect_refusal(const char *name, RvError code)
{
    g_autofree char *path = in_folder(name);
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_store_open(path, &error));
    g_assert_error(error, RV_ERROR, (int)code);
}

static void
test_refusals(void)
{
    RvStore *store = open_store("one.db");
    expect_refusal("one.db", RV_ERROR_BUSY); /* one server at a time */
    rv_store_close(store);
    g_autofree char *path = in_folder("one.db"), *bad = in_folder("bad.db");
    sqlite3 *db;
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    sqlite3_exec(db, "PRAGMA user_version = 999", NULL, NULL, NULL);
    sqlite3_close(db);
    expect_refusal("one.db", RV_ERROR_UNSUPPORTED);
    g_assert_true(
        g_file_set_contents(bad, "this is no database, but a text that is long enough to look at", -1, NULL));
    expect_refusal("bad.db", RV_ERROR_INVALID);
    expect_refusal("no/such/folder.db", RV_ERROR_IO);
}

/* Of ended jobs, and not settled, by itself, by a picture or by a job that follows: only these are told of.
 */
static void
test_due(void)
{
    delivered = 0;
    RvStore *store = open_store("due.db");
    for (gint64 id = 1; id <= 6; id++) {
        RvJobRow row = make_row(id, "anna");
        row.due = id == 6 ? NULL : (char *)"{\"a\":\"ü\"}";
        row.settles = id == 6 ? 5 : 0;
        rv_store_add_job(store, &row, NULL, on_done, NULL);
        if (id == 1)
            continue; /* goes on */
        row.ended = 1600;
        GPtrArray *pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_row_free);
        RvPictureRow *picture = make_picture(id, "anna", "anna/0.png", "");
        g_free(picture->role);
        picture->role = g_strdup("sample");
        g_ptr_array_add(pictures, picture);
        rv_store_update_job(store, &row, pictures, on_done, NULL);
    }
    rv_store_settle_job(store, 4);
    rv_store_add_picture(store, make_picture(3, "anna", "anna/grid.png", ""), 3, on_done, NULL);
    wait_for(12);
    rv_store_close(store);
    store = open_store("due.db");
    g_autoptr(GPtrArray) rows = rv_store_due_jobs(store);
    g_assert_cmpuint(rows->len, ==, 1);
    const RvJobRow *row = g_ptr_array_index(rows, 0);
    g_assert_cmpint(row->id, ==, 2);
    g_assert_cmpstr(row->user, ==, "anna");
    g_assert_cmpstr(row->due, ==, "{\"a\":\"ü\"}");
    rv_store_close(store);
}

/* A file of the first version is brought up to date, with what is in it. */
static void
test_older_version(void)
{
    delivered = 0;
    RvStore *store = open_store("old.db");
    RvJobRow row = make_row(1, "anna");
    rv_store_add_job(store, &row, NULL, on_done, NULL);
    wait_for(1);
    rv_store_close(store);
    g_autofree char *path = in_folder("old.db");
    sqlite3 *db;
    g_assert_cmpint(sqlite3_open(path, &db), ==, SQLITE_OK);
    g_assert_cmpint(sqlite3_exec(db,
                                 "DROP INDEX jobs_due; ALTER TABLE jobs DROP COLUMN due;"
                                 " PRAGMA user_version = 1",
                                 NULL, NULL, NULL),
                    ==, SQLITE_OK);
    sqlite3_close(db);
    for (int i = 0; i < 2; i++) {
        store = open_store("old.db");
        g_autoptr(RvJobRow) back = rv_store_get_job(store, "anna", 1);
        g_assert_true(back != NULL && back->due == NULL && back->batches == 3);
        rv_store_close(store);
    }
}

/* A job whose pictures cannot be written is not accepted, and its neighbours are. */
static void
on_refused(const GError *error, void *user_data)
{
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    delivered++;
}

static void
file_free(gpointer data)
{
    RvStoreFile *file = data;
    g_free(file->path);
    g_bytes_unref(file->bytes);
    g_free(file);
}

static void
test_one_failure_is_one(void)
{
    delivered = 0;
    RvStore *store = open_store("failure.db");
    g_autofree char *plain = in_folder("plain");
    g_assert_true(g_file_set_contents(plain, "x", -1, NULL));
    GPtrArray *files = g_ptr_array_new_with_free_func(file_free);
    RvStoreFile *file = g_new(RvStoreFile, 1);
    *file = (RvStoreFile) { g_build_filename(plain, "below-a-file", NULL), g_bytes_new("y", 1) };
    g_ptr_array_add(files, file);
    RvJobRow first = make_row(1, "a"), second = make_row(2, "a"), third = make_row(3, "a");
    rv_store_add_job(store, &first, NULL, on_done, NULL);
    rv_store_add_job(store, &second, files, on_refused, NULL);
    rv_store_add_job(store, &third, NULL, on_done, NULL);
    g_ptr_array_unref(files);
    wait_for(3);
    g_autoptr(GPtrArray) live = rv_store_live_jobs(store);
    g_assert_cmpuint(live->len, ==, 2);
    rv_store_close(store);
}

static void
test_paths(void)
{
    static const char *const bad[] = { "",     "/etc/passwd", "../x", "a/../b", "a//b", "a/.b",
                                       ".tmp", "a\\b",        "a/",   "\xff",   "./a",  NULL };
    for (gsize i = 0; bad[i] != NULL; i++)
        g_assert_false(rv_path_is_plain(bad[i]));
    g_assert_true(rv_path_is_plain("anna/txt2img-images/2026-11-22/00001-1.png"));
    g_autofree char *root = in_folder("root"), *file = in_folder("root/a/b.png"),
                    *secret = in_folder("secret");
    g_autofree char *link = in_folder("root/a/link.png"), *folder_link = in_folder("root/c"),
                    *pipe = in_folder("root/a/pipe");
    g_autoptr(GBytes) bytes = g_bytes_new("picture", 7);
    g_autoptr(GError) error = NULL;
    g_assert_true(rv_file_write(file, bytes, &error));
    g_assert_true(g_file_set_contents(secret, "secret", -1, NULL));
    g_assert_cmpint(symlink(secret, link), ==, 0);
    g_assert_cmpint(symlink(folder, folder_link), ==, 0);
    g_assert_cmpint(mkfifo(pipe, 0600), ==, 0);
    g_autoptr(GBytes) back = rv_file_read_below(root, "a/b.png", 100, &error);
    g_assert_no_error(error);
    g_assert_true(g_bytes_equal(back, bytes));
    g_assert_null(rv_file_read_below(root, "a/link.png", 100, NULL));
    g_assert_null(rv_file_read_below(root, "c/secret", 100, NULL));
    g_assert_null(rv_file_read_below(root, "a/pipe", 100, NULL));
    g_assert_null(rv_file_read_below(root, "a", 100, NULL));
    g_assert_null(rv_file_read_below(root, "../secret", 100, NULL));
    g_assert_null(rv_file_read_below(root, "a/b.png", 6, NULL)); /* over the limit */
    g_assert_false(rv_file_remove_below(root, "c/secret", NULL));
    g_assert_true(rv_folder_make_below(root, "a/new/deep", &error));
    g_assert_true(rv_folder_make_below(root, "a/new/deep", &error));
    g_assert_false(rv_folder_make_below(root, "c/new", &error)); /* a link */
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(rv_folder_make_below(root, "a/b.png/new", &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_clear_error(&error);
    g_assert_false(rv_folder_make_below(root, "../new", NULL));
    g_assert_true(g_file_test(secret, G_FILE_TEST_EXISTS));
    bool exists;
    g_assert_false(rv_file_write_new(file, bytes, &exists, &error));
    g_assert_true(exists && error == NULL);
    g_assert_false(rv_file_write_new_below(root, "a/b.png", bytes, &exists, &error));
    g_assert_true(exists && error == NULL);
    g_assert_true(rv_file_write_new_below(root, "a/new/below/d.png", bytes, &exists, &error));
    g_autoptr(GBytes) below = rv_file_read_below(root, "a/new/below/d.png", 100, &error);
    g_assert_true(below != NULL && g_bytes_equal(below, bytes));
    g_assert_false(rv_file_write_new_below(root, "c/new.png", bytes, &exists, &error)); /* through the link */
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_false(exists);
    g_clear_error(&error);
    g_assert_false(rv_file_write_new_below(root, "a/../../new.png", bytes, &exists, NULL));
    g_assert_true(rv_file_remove_below(root, "a/b.png", NULL));
    g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("reverie-store-XXXXXX", NULL);
    g_test_add_func("/store/job-comes-back", test_job_comes_back);
    g_test_add_func("/store/gallery", test_gallery);
    g_test_add_func("/store/documents", test_documents);
    g_test_add_func("/store/refusals", test_refusals);
    g_test_add_func("/store/due", test_due);
    g_test_add_func("/store/older-version", test_older_version);
    g_test_add_func("/store/one-failure-is-one", test_one_failure_is_one);
    g_test_add_func("/store/paths", test_paths);
    int code = g_test_run();
    g_autofree char *remove = g_strdup_printf("rm -r '%s'", folder);
    code |= system(remove) != 0;
    g_free(folder);
    return code;
}
