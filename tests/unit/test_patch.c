/* Weights changed in place: compiled programs read the new numbers at the old addresses, and the old ones
 * come back bit for bit. */
#include <string.h>

#include "backends/cpu/cpu.h"
#include "tensor/internal.h"

#define WIDTH 24
#define LARGEST (3 * WIDTH * WIDTH * 9)

typedef struct {
    float numbers[LARGEST];
    float factor; /* of the patch */
    int applied;
    const char *failing;
} World;

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    World *world = self;
    *out = (RvArray) { .dtype = RV_F32, .rank = rank, .data = world->numbers + strlen(name) };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    return true;
}

static bool
multiply(void *self, const char *name, RvArray *array, void **owned, GError **error)
{
    World *world = self;
    world->applied++;
    if (world->failing != NULL && strcmp(world->failing, name) == 0)
        return rv_error_set(error, RV_ERROR_FAILED, name, NULL, "asked to fail");
    gsize count = (gsize)rv_array_count(array);
    float *changed = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        changed[i] = world->factor * ((const float *)array->data)[i];
    array->data = *owned = changed;
    return true;
}

static bool
ends_with(void *user, const char *name)
{
    return g_str_has_suffix(name, user);
}

/* Two linear layers in one op, and convolutions of both kinds. */
static RvProgram *
record(RvWeightSet *set, int size)
{
    g_autoptr(GError) error = NULL;
    RvProgram *p = rv_program_new(set);
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, size, size, WIDTH });
    RvTensor y = rv_linear(p, x, "to_q|to_k", (RvLinear) { .out = WIDTH, .no_bias = true });
    y = rv_conv2d(p, rv_slice(p, y, 0, WIDTH), "conv", (RvConv2d) { .out = WIDTH });
    rv_output(p, "y", rv_conv2d(p, y, "shrink", (RvConv2d) { .out = WIDTH, .stride = 2 }));
    rv_program_compile(p, &error);
    g_assert_no_error(error);
    g_autofree float *values = g_new(float, (gsize)(size * size * WIDTH));
    for (int i = 0; i < size * size * WIDTH; i++)
        values[i] = (float)(i % 17) * 0.125f;
    rv_program_write(p, "x", values, sizeof *values * (gsize)(size * size * WIDTH), &error);
    g_assert_no_error(error);
    return p;
}

static float *
result_of(RvProgram *p, gsize *bytes)
{
    g_autoptr(GError) error = NULL;
    *bytes = rv_program_slot_bytes(p, "y");
    float *values = g_malloc(*bytes);
    rv_program_run(p, &error);
    g_assert_no_error(error);
    rv_program_read(p, "y", values, *bytes, &error);
    g_assert_no_error(error);
    return values;
}

static void
test_repack(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree World *world = g_new0(World, 1);
    for (int i = 0; i < LARGEST; i++)
        world->numbers[i] = (float)(i % 13 - 6) * 0.03f;
    RvDevice *device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find, NULL, world });
    RvProgram *small = record(set, 4), *large = record(set, 32);
    gsize held = rv_weight_set_bytes(set), bytes;
    g_autofree float *before = result_of(large, &bytes);

    world->factor = 2.0f;
    rv_weight_set_set_patch(set, (RvWeightPatch) { multiply, world });
    g_assert_cmpuint(rv_weight_set_generation(set), ==, 0);
    g_assert_true(rv_weight_set_repack(set, ends_with, (gpointer) "to_q.weight", &error));
    g_assert_cmpuint(rv_weight_set_generation(set), ==, 1);
    g_assert_cmpint(world->applied, ==, 2); /* to_q and to_k share their memory; the others were left alone */
    g_assert_cmpuint(rv_weight_set_bytes(set), ==, held);
    g_autofree float *doubled = result_of(large, &bytes);
    g_assert_true(memcmp(before, doubled, bytes) != 0);

    g_autofree float *tiny = result_of(small, &bytes);
    rv_weight_set_set_patch(set, (RvWeightPatch) { 0 });
    g_assert_true(rv_weight_set_repack(set, ends_with, (gpointer) ".weight", &error));
    g_autofree float *tiny_before = result_of(small, &bytes);
    g_assert_true(memcmp(tiny, tiny_before, bytes) != 0);
    g_autofree float *after = result_of(large, &bytes);
    g_assert_cmpmem(before, bytes, after, bytes);

    world->failing = "conv.bias";
    rv_weight_set_set_patch(set, (RvWeightPatch) { multiply, world });
    g_assert_false(rv_weight_set_repack(set, ends_with, (gpointer) "conv.weight", &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_FAILED);
    rv_program_free(small);
    rv_program_free(large);
    rv_weight_set_free(set);
    rv_device_close(device);
}

/* What is packed while a patch is set goes through it, and equals what is packed again under it. */
static void
test_patched_from_the_start(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree World *world = g_new0(World, 1);
    for (int i = 0; i < LARGEST; i++)
        world->numbers[i] = (float)(i % 11 - 5) * 0.05f;
    world->factor = 0.5f;
    RvDevice *device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    RvWeightSet *early = rv_weight_set_new(device, (RvWeightSource) { find, NULL, world });
    RvWeightSet *late = rv_weight_set_new(device, (RvWeightSource) { find, NULL, world });
    rv_weight_set_set_patch(early, (RvWeightPatch) { multiply, world });
    RvProgram *a = record(early, 16), *b = record(late, 16);
    rv_weight_set_set_patch(late, (RvWeightPatch) { multiply, world });
    g_assert_true(rv_weight_set_repack(late, ends_with, (gpointer) "", &error));
    gsize bytes;
    g_autofree float *x = result_of(a, &bytes), *y = result_of(b, &bytes);
    g_assert_cmpmem(x, bytes, y, bytes);
    rv_program_free(a);
    rv_program_free(b);
    rv_weight_set_free(early);
    rv_weight_set_free(late);
    rv_device_close(device);
}

/* ---- sleep ---- */

/* A back end that keeps weights elsewhere, as a GPU does, and whose memory is others' when asked for. */
static GHashTable *copies; /* chunk -> its bytes; NULL: nothing is kept */
static int resumes_left = -1;

static bool
keep_copy(void *device, void *chunk, gsize used, bool *is_kept, GError **error)
{
    *is_kept = copies != NULL;
    if (copies != NULL)
        g_hash_table_replace(copies, chunk, g_bytes_new(chunk, used));
    return true;
}

static bool
resume_copy(void *device, void *chunk, gsize bytes, GError **error)
{
    if (resumes_left >= 0 && resumes_left-- == 0)
        return rv_error_set(error, RV_ERROR_NO_MEMORY, "cpu", NULL, "others have it");
    GBytes *copy = copies != NULL ? g_hash_table_lookup(copies, chunk) : NULL;
    if (copy != NULL)
        memcpy(chunk, g_bytes_get_data(copy, NULL), g_bytes_get_size(copy));
    return true;
}

typedef struct {
    World *world;
    RvDevice *device;
    RvWeightSet *sets[2];
    RvProgram *programs[2];
    float *wanted[2];
    gsize bytes;
} Sleeper;

static void
sleeper_open(Sleeper *s)
{
    static RvBackend backend;
    g_autoptr(GError) error = NULL;
    backend = rv_cpu_backend;
    backend.keep = keep_copy;
    backend.resume = resume_copy;
    s->world = g_new0(World, 1);
    for (int i = 0; i < LARGEST; i++)
        s->world->numbers[i] = (float)(i % 13 - 6) * 0.03f;
    s->device = rv_device_open(&backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    for (int i = 0; i < 2; i++) {
        s->sets[i] = rv_weight_set_new(s->device, (RvWeightSource) { find, NULL, s->world });
        s->programs[i] = record(s->sets[i], 16);
        s->wanted[i] = result_of(s->programs[i], &s->bytes);
    }
}

static void
sleeper_close(Sleeper *s)
{
    for (int i = 0; i < 2; i++) {
        g_free(s->wanted[i]);
        rv_program_free(s->programs[i]);
        rv_weight_set_free(s->sets[i]);
    }
    rv_device_close(s->device);
    g_free(s->world);
}

static void
check_results(const Sleeper *s)
{
    gsize bytes;
    for (int i = 0; i < 2; i++) {
        g_autofree float *now = result_of(s->programs[i], &bytes);
        g_assert_cmpmem(now, bytes, s->wanted[i], s->bytes);
    }
}

static void
fall_asleep(Sleeper *s)
{
    g_autoptr(GError) error = NULL;
    rv_device_sleep(s->device, &error);
    g_assert_no_error(error);
    g_assert_true(rv_device_is_asleep(s->device));
}

static void
wake_up(Sleeper *s)
{
    g_autoptr(GError) error = NULL;
    rv_device_wake(s->device, &error);
    g_assert_no_error(error);
    g_assert_false(rv_device_is_asleep(s->device));
}

static void
refuse_while_asleep(Sleeper *s)
{
    g_autoptr(GError) ran = NULL, started = NULL, packed = NULL, compiled = NULL;
    g_assert_false(rv_program_run(s->programs[0], &ran));
    g_assert_error(ran, RV_ERROR, RV_ERROR_FAILED);
    g_assert_false(rv_program_start(s->programs[1], NULL, 0, NULL, 0, &started));
    g_assert_error(started, RV_ERROR, RV_ERROR_FAILED);
    g_assert_false(rv_weight_set_repack(s->sets[0], ends_with, (gpointer) "", &packed));
    g_assert_error(packed, RV_ERROR, RV_ERROR_FAILED);
    RvProgram *p = rv_program_new(s->sets[1]);
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, 4, 4, WIDTH });
    rv_output(p, "y", rv_linear(p, x, "other", (RvLinear) { .out = WIDTH }));
    g_assert_false(rv_program_compile(p, &compiled));
    g_assert_error(compiled, RV_ERROR, RV_ERROR_FAILED);
    rv_program_free(p);
}

/* Nothing is kept: the weights come from their source again. */
static void
test_sleep_cold(void)
{
    Sleeper s;
    bool all;
    copies = NULL;
    sleeper_open(&s);
    g_assert_true(rv_device_keep(s.device, &all, NULL));
    g_assert_false(all);
    fall_asleep(&s);
    refuse_while_asleep(&s);
    wake_up(&s);
    check_results(&s);
    g_assert_cmpuint(rv_weight_set_generation(s.sets[1]), >=, 1);
    guint generation = rv_weight_set_generation(s.sets[1]);
    wake_up(&s); /* awake already */
    g_assert_cmpuint(rv_weight_set_generation(s.sets[1]), ==, generation);
    sleeper_close(&s);
}

/* What is kept comes back without its source; what changed since is kept anew. */
static void
test_sleep_warm(void)
{
    Sleeper s;
    bool all;
    g_autoptr(GError) error = NULL;
    copies = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_bytes_unref);
    sleeper_open(&s);
    for (int i = 0; i < 3; i++) {
        g_assert_true(rv_device_keep(s.device, &all, NULL) && all);
        fall_asleep(&s);
        wake_up(&s);
        check_results(&s);
    }
    g_assert_cmpuint(rv_weight_set_generation(s.sets[0]), ==, 0);
    s.world->factor = 2.0f;
    rv_weight_set_set_patch(s.sets[1], (RvWeightPatch) { multiply, s.world });
    g_assert_true(rv_weight_set_repack(s.sets[1], ends_with, (gpointer) "to_q.weight", &error));
    g_free(s.wanted[1]);
    s.wanted[1] = result_of(s.programs[1], &s.bytes);
    g_assert_true(memcmp(s.wanted[0], s.wanted[1], s.bytes) != 0);
    fall_asleep(&s); /* the copy is out of date: packed anew, as the patch says */
    s.world->applied = 0;
    wake_up(&s);
    g_assert_cmpint(s.world->applied, >, 0);
    g_assert_true(rv_device_keep(s.device, &all, NULL) && all);
    g_free(s.wanted[1]);
    s.wanted[1] = result_of(s.programs[1], &s.bytes);
    fall_asleep(&s);
    wake_up(&s);
    check_results(&s);
    sleeper_close(&s);
    g_clear_pointer(&copies, g_hash_table_unref);
}

/* Others have the memory: all of it stays theirs, and the device is woken later. */
static void
test_wake_fails(void)
{
    for (int is_kept = 0; is_kept < 2; is_kept++)
        for (int good = 0; good < 2; good++) {
            Sleeper s;
            bool all;
            g_autoptr(GError) error = NULL;
            copies = is_kept ? g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_bytes_unref) : NULL;
            sleeper_open(&s);
            g_assert_true(rv_device_keep(s.device, &all, NULL) && all == (is_kept == 1));
            fall_asleep(&s);
            resumes_left = good;
            g_assert_false(rv_device_wake(s.device, &error));
            g_assert_error(error, RV_ERROR, RV_ERROR_NO_MEMORY);
            resumes_left = -1;
            g_assert_true(rv_device_is_asleep(s.device));
            refuse_while_asleep(&s);
            wake_up(&s);
            check_results(&s);
            sleeper_close(&s);
            g_clear_pointer(&copies, g_hash_table_unref);
        }
}

/* A device may be closed as it sleeps. */
static void
test_close_asleep(void)
{
    Sleeper s;
    copies = NULL;
    sleeper_open(&s);
    fall_asleep(&s);
    sleeper_close(&s);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/sleep/cold", test_sleep_cold);
    g_test_add_func("/sleep/warm", test_sleep_warm);
    g_test_add_func("/sleep/wake-fails", test_wake_fails);
    g_test_add_func("/sleep/closed-asleep", test_close_asleep);
    g_test_add_func("/patch/repack", test_repack);
    g_test_add_func("/patch/from-the-start", test_patched_from_the_start);
    return g_test_run();
}
