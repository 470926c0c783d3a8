/* Models that stay loaded: who goes first, what a budget means, what is loaded anew. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "studio/residents.h"
#include "weights/mapped.h"

/* A device on which each model takes ten times what its name's last digit says. */
typedef struct {
    GString *log; /* "+NAME" loaded, "-NAME" given up */
    gsize used, room;
    gsize grown; /* bytes more of each, once it was used */
} World;

typedef struct {
    char *name;
    gsize bytes;
} Loaded;

static gsize
size_of(const char *model)
{
    return (gsize)(model[strlen(model) - 1] - '0') * 10;
}

static gpointer
fake_load(gpointer painter, const char *model, const char *vae, GError **error)
{
    World *world = painter;
    if (world->used + size_of(model) > world->room) {
        rv_error_set(error, RV_ERROR_NO_MEMORY, model, NULL, "no room");
        return NULL;
    }
    Loaded *loaded = g_new(Loaded, 1);
    g_autofree char *base = g_path_get_basename(model);
    *loaded = (Loaded) { g_steal_pointer(&base), size_of(model) };
    world->used += loaded->bytes;
    g_string_append_printf(world->log, "+%s", loaded->name);
    return loaded;
}

static void
fake_unload(gpointer painter, gpointer model)
{
    World *world = painter;
    Loaded *loaded = model;
    world->used -= loaded->bytes;
    g_string_append_printf(world->log, "-%s", loaded->name);
    g_free(loaded->name);
    g_free(loaded);
}

static gsize
fake_estimate(gpointer painter, const char *model, const char *vae)
{
    return size_of(model);
}

static gsize
fake_bytes(gpointer painter, gpointer model)
{
    return ((const Loaded *)model)->bytes + ((const World *)painter)->grown;
}

static const RvPainterClass fake = {
    .load = fake_load, .unload = fake_unload, .estimate = fake_estimate, .bytes = fake_bytes
};

static RvResidents *
begin(World *world, gsize room, gsize budget)
{
    *world = (World) { g_string_new(NULL), 0, room, 0 };
    return rv_residents_new(&fake, world, budget);
}

static void
end(World *world, RvResidents *residents)
{
    rv_residents_free(residents);
    g_assert_cmpuint(world->used, ==, 0);
    g_string_free(world->log, TRUE);
}

static void
use(RvResidents *residents, const char *model)
{
    g_autoptr(GError) error = NULL;
    g_assert_nonnull(rv_residents_get(residents, model, NULL, &error));
    g_assert_no_error(error);
}

static void
expect(World *world, const char *log)
{
    g_assert_cmpstr(world->log->str, ==, log);
    g_string_set_size(world->log, 0);
}

static void
test_least_recently_used_goes(void)
{
    World world;
    RvResidents *residents = begin(&world, 1000, 30);
    use(residents, "a1");
    use(residents, "b1");
    use(residents, "c1");
    use(residents, "a1"); /* b is the oldest now */
    expect(&world, "+a1+b1+c1");
    use(residents, "d1");
    expect(&world, "-b1+d1");
    use(residents, "e2");
    expect(&world, "-c1-a1+e2");
    g_assert_true(rv_residents_has(residents, "d1", NULL) && rv_residents_has(residents, "e2", NULL));
    g_assert_false(rv_residents_has(residents, "a1", NULL));
    use(residents, "a1"); /* one that was given up comes again */
    expect(&world, "-d1+a1");
    end(&world, residents);
}

static void
test_budget_is_kept(void)
{
    World world;
    GRand *random = g_rand_new_with_seed(7);
    RvResidents *residents = begin(&world, 1000, 60);
    for (int i = 0; i < 2000; i++) {
        char name[] = { (char)('a' + g_rand_int_range(random, 0, 6)),
                        (char)('1' + g_rand_int_range(random, 0, 4)), 0 };
        use(residents, name);
        g_assert_true(rv_residents_has(residents, name, NULL));
        g_assert_cmpuint(world.used, <=, 60);
        g_assert_cmpuint(rv_residents_bytes(residents), ==, world.used);
    }
    use(residents, "x9"); /* more than all of it: alone */
    g_assert_cmpuint(world.used, ==, 90);
    g_rand_free(random);
    end(&world, residents);
}

static void
test_growth_counts(void)
{
    World world;
    RvResidents *residents = begin(&world, 1000, 50);
    use(residents, "a1");
    use(residents, "b1");
    use(residents, "c1");
    world.grown = 10;
    rv_residents_trim(residents);
    expect(&world, "+a1+b1+c1-a1");
    g_assert_cmpuint(rv_residents_bytes(residents), ==, 40);
    end(&world, residents);
}

static void
test_held_ones_stay(void)
{
    World world;
    RvResidents *residents = begin(&world, 1000, 20);
    gpointer refiner = rv_residents_get(residents, "a1", NULL, NULL);
    rv_residents_hold(residents, refiner);
    use(residents, "b1");
    use(residents, "c1");
    expect(&world, "+a1+b1-b1+c1");
    rv_residents_let_go(residents);
    use(residents, "d1");
    expect(&world, "-a1+d1");
    end(&world, residents);
}

static void
test_device_without_room(void)
{
    World world;
    g_autoptr(GError) error = NULL;
    RvResidents *residents = begin(&world, 30, 0);
    use(residents, "a1");
    use(residents, "b2");
    use(residents, "c1");
    expect(&world, "+a1+b2-a1-b2+c1");
    g_assert_null(rv_residents_get(residents, "d9", NULL, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_NO_MEMORY);
    end(&world, residents);
}

static void
test_changed_files_are_read_again(void)
{
    World world;
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *model = g_build_filename(folder, "m1", NULL),
                    *part = g_build_filename(model, "unet", NULL);
    g_autofree char *file = g_build_filename(part, "w.safetensors", NULL);
    g_assert_cmpint(g_mkdir_with_parents(part, 0700), ==, 0);
    g_assert_true(g_file_set_contents(file, "one", -1, NULL));
    RvResidents *residents = begin(&world, 1000, 0);
    use(residents, model);
    use(residents, model);
    expect(&world, "+m1");
    g_assert_true(g_file_set_contents(file, "two", -1, NULL)); /* another file of the same size */
    use(residents, model);
    expect(&world, "-m1+m1");
    gpointer held = rv_residents_get(residents, model, NULL, NULL);
    rv_residents_hold(residents, held);
    g_assert_true(g_file_set_contents(file, "three", -1, NULL));
    g_assert_true(rv_residents_get(residents, model, NULL, NULL) == held); /* in use: not now */
    rv_residents_let_go(residents);
    use(residents, model);
    expect(&world, "-m1+m1");
    end(&world, residents);
    g_unlink(file);
    g_rmdir(part);
    g_rmdir(model);
    g_rmdir(folder);
}

static void
test_torn_files_are_read_again(void)
{
    World world;
    g_autofree char *folder = g_dir_make_tmp("reverie-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "t.safetensors", NULL);
    RvResidents *residents = begin(&world, 1000, 0);
    g_autofree char *bytes = g_malloc0(50000);
    g_assert_true(g_file_set_contents(path, bytes, 50000, NULL));
    int file = g_open(path, O_RDONLY, 0);
    const volatile char *map = mmap(NULL, 50000, PROT_READ, MAP_PRIVATE, file, 0);
    rv_mapped_guard((const void *)map, 50000, path);
    use(residents, "a1");
    g_assert_cmpint(truncate(path, 100), ==, 0);
    g_assert_cmpint(map[45000], ==, 0);
    use(residents, "a1");
    use(residents, "a1");
    expect(&world, "+a1-a1+a1");
    rv_mapped_release((const void *)map);
    munmap((void *)map, 50000);
    close(file);
    end(&world, residents);
    g_unlink(path);
    g_rmdir(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/residents/least-recently-used-goes", test_least_recently_used_goes);
    g_test_add_func("/residents/budget-is-kept", test_budget_is_kept);
    g_test_add_func("/residents/growth-counts", test_growth_counts);
    g_test_add_func("/residents/held-ones-stay", test_held_ones_stay);
    g_test_add_func("/residents/device-without-room", test_device_without_room);
    g_test_add_func("/residents/changed-files-are-read-again", test_changed_files_are_read_again);
    g_test_add_func("/residents/torn-files-are-read-again", test_torn_files_are_read_again);
    return g_test_run();
}
