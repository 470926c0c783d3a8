/* Fairness of the queue, with a worker that takes no time. */
#include "studio/queue.h"

#include <string.h>

typedef struct {
    const char *loaded;
    int switches;
} Device;

static bool
is_loaded(const char *model, void *user_data)
{
    return g_strcmp0(model, ((const Device *)user_data)->loaded) == 0;
}

static const char *
model_of(gint64 id)
{
    return id % 2 ? "odd" : "even";
}

/* Draws one batch; the id of its job. */
static gint64
draw(RvQueue *queue, Device *device)
{
    gint64 id = rv_queue_take(queue, device != NULL ? is_loaded : NULL, device);
    if (id != 0 && device != NULL && g_strcmp0(device->loaded, model_of(id)) != 0) {
        device->loaded = model_of(id);
        device->switches++;
    }
    rv_queue_return(queue, id, true);
    return id;
}

static void
test_users_take_turns(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    for (gint64 id = 1; id <= 100; id++)
        rv_queue_add(queue, id, "greedy", "m", 10, 1.0);
    g_assert_cmpint(draw(queue, NULL), ==, 1);
    rv_queue_add(queue, 1001, "late", "m", 2, 1.0);
    rv_queue_add(queue, 1002, "later", "m", 1, 1.0);
    const gint64 order[] = { 1, 1001, 1002, 1, 1001, 1 };
    for (gsize i = 0; i < G_N_ELEMENTS(order); i++)
        g_assert_cmpint(draw(queue, NULL), ==, order[i]);
    g_assert_false(rv_queue_has(queue, 1001) || rv_queue_has(queue, 1002));
}

static void
test_jobs_over_devices(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    RvQueuePlace place;
    rv_queue_add(queue, 1, "a", "m", 5, 1.0);
    rv_queue_add(queue, 2, "a", "m", 1, 1.0);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 1);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 2);
    for (int i = 0; i < 4; i++) /* devices that are left: the rest of its batches, and no more */
        g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 1);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 0);
    rv_queue_return(queue, 1, true);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 0);
    g_assert_true(rv_queue_place(queue, 1, 5, &place) && place.is_working);
    for (int i = 0; i < 3; i++)
        rv_queue_return(queue, 1, true);
    rv_queue_return(queue, 1, false); /* the last failed to begin: it remains */
    g_assert_true(rv_queue_place(queue, 1, 5, &place) && !place.is_working);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 1);
    rv_queue_return(queue, 1, true);
    g_assert_false(rv_queue_has(queue, 1));
}

/* Nobody's further batches go before another's first. */
static void
test_first_batches_first(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    rv_queue_add(queue, 1, "a", "m", 4, 1.0);
    rv_queue_add(queue, 2, "b", "m", 4, 1.0);
    const gint64 order[] = { 1, 2, 1, 2, 1, 2, 1, 2, 0 };
    for (gsize i = 0; i < G_N_ELEMENTS(order); i++)
        g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, order[i]);
}

static void
test_removed_while_in_work(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    rv_queue_add(queue, 1, "a", "m", 5, 1.0);
    rv_queue_add(queue, 2, "a", "m", 1, 1.0);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 1);
    g_assert_cmpint(rv_queue_take(queue, NULL, NULL), ==, 2);
    rv_queue_return(queue, 1, false); /* it failed to begin: nothing is lost */
    g_assert_cmpint(rv_queue_count(queue).batches, ==, 6);
    rv_queue_remove(queue, 2); /* in work */
    rv_queue_return(queue, 2, true);
    g_assert_cmpint(rv_queue_count(queue).jobs, ==, 1);
}

/* Two models in turns: far fewer switches than jobs, yet nobody waits for ever. */
static void
test_models_are_batched(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    Device device = { 0 };
    for (gint64 id = 1; id <= 1000; id++)
        rv_queue_add(queue, id, id % 3 ? "a" : "b", model_of(id), 1, 1.0);
    gint64 drawn = 0;
    for (; draw(queue, &device) != 0; drawn++)
        continue;
    g_assert_cmpint(drawn, ==, 1000);
    g_assert_cmpint(device.switches, <, 1000 / (RV_QUEUE_PATIENCE / 2));
}

/* One whose model is not loaded waits RV_QUEUE_PATIENCE turns of others, not more. */
static void
test_patience_ends(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    Device device = { .loaded = "odd" };
    for (gint64 id = 1; id <= 199; id += 2)
        rv_queue_add(queue, id, "many", "odd", 1, 1.0);
    rv_queue_add(queue, 2, "few", "even", 1, 1.0);
    int turns = 0;
    while (draw(queue, &device) != 2)
        turns++;
    g_assert_cmpint(turns, <=, RV_QUEUE_PATIENCE + 1);

    g_autoptr(RvQueue) own = rv_queue_new(); /* and so within one user's jobs */
    device.loaded = "odd";
    rv_queue_add(own, 2, "a", "even", 1, 1.0);
    for (gint64 id = 1; id <= 199; id += 2)
        rv_queue_add(own, id, "a", "odd", 1, 1.0);
    for (turns = 0; draw(own, &device) != 2; turns++)
        continue;
    g_assert_cmpint(turns, <=, RV_QUEUE_PATIENCE + 1);
}

/* Random load in virtual time: between two batches of one user who waits, no other gets more than a bound. */
static void
test_random_load_is_fair(void)
{
    static const char *const users[] = { "a", "b", "c", "d", "e" };
    g_autoptr(RvQueue) queue = rv_queue_new();
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    Device device = { 0 };
    int since[G_N_ELEMENTS(users)] = { 0 };
    GHashTable *owner = g_hash_table_new(g_int64_hash, g_int64_equal);
    static gint64 ids[3000];
    for (int next = 0, turn = 0; turn < 20000; turn++) {
        if (next < 3000 && g_rand_int_range(random, 0, 4) == 0) {
            int drawn = g_rand_int_range(random, 0, 12), user = MIN(drawn, 4); /* the last asks for most */
            ids[next] = next + 1;
            g_hash_table_insert(owner, &ids[next], GINT_TO_POINTER(user));
            rv_queue_add(queue, ids[next], users[user], model_of(ids[next]), g_rand_int_range(random, 1, 6),
                         1.0);
            next++;
        }
        gint64 id = draw(queue, &device);
        for (gsize u = 0; u < G_N_ELEMENTS(users); u++) {
            bool is_served = id != 0 && GPOINTER_TO_INT(g_hash_table_lookup(owner, &id)) == (int)u;
            since[u] = is_served || rv_queue_user_jobs(queue, users[u]) == 0 ? 0 : since[u] + 1;
            g_assert_cmpint(since[u], <=, RV_QUEUE_PATIENCE + (int)G_N_ELEMENTS(users));
        }
    }
    g_hash_table_unref(owner);
}

static void
test_places(void)
{
    g_autoptr(RvQueue) queue = rv_queue_new();
    RvQueuePlace place;
    for (gint64 id = 1; id <= 10; id++)
        rv_queue_add(queue, id, "a", "m", 1, 2.0);
    rv_queue_add(queue, 20, "b", "m", 1, 4.0);
    g_assert_true(rv_queue_place(queue, 20, 1, &place));
    g_assert_cmpint(place.ahead, ==, 1); /* not ten */
    g_assert_cmpfloat(place.seconds, ==, 8.0);
    g_assert_true(rv_queue_place(queue, 10, 1, &place));
    g_assert_cmpint(place.ahead, ==, 10);
    g_assert_cmpfloat(place.seconds, ==, 24.0);
    rv_queue_move(queue, 10, 0);
    g_assert_true(rv_queue_place(queue, 10, 2, &place));
    g_assert_cmpint(place.ahead, ==, 0);
    g_assert_cmpfloat(place.seconds, ==, 2.0); /* both users at once on two devices */
    g_assert_cmpint(draw(queue, NULL), ==, 10);
    rv_queue_move(queue, 1, 1000); /* past the end is the end */
    g_autoptr(GArray) ids = rv_queue_list(queue, "a");
    g_assert_cmpint(g_array_index(ids, gint64, ids->len - 1), ==, 1);
    rv_queue_set_seconds(queue, 20, 0.0);
    g_assert_true(rv_queue_place(queue, 20, 1, &place));
    g_assert_cmpfloat(place.seconds, <, 0.0); /* not known */
    g_assert_false(rv_queue_place(queue, 99, 1, &place));
    rv_queue_remove(queue, 99);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/queue/users-take-turns", test_users_take_turns);
    g_test_add_func("/queue/one-job-one-device", test_jobs_over_devices);
    g_test_add_func("/queue/first_batches_first", test_first_batches_first);
    g_test_add_func("/queue/removed_while_in_work", test_removed_while_in_work);
    g_test_add_func("/queue/models-are-batched", test_models_are_batched);
    g_test_add_func("/queue/patience-ends", test_patience_ends);
    g_test_add_func("/queue/random-load-is-fair", test_random_load_is_fair);
    g_test_add_func("/queue/places", test_places);
    return g_test_run();
}
