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

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/patch/repack", test_repack);
    g_test_add_func("/patch/from-the-start", test_patched_from_the_start);
    return g_test_run();
}
