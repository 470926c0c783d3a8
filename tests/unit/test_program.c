/* The planner against brute force, and the rules of recording: sticky errors, in-place, no allocation. */
#include <string.h>

#include "backends/cpu/cpu.h"
#include "tensor/internal.h"

static void
test_plan_never_overlaps(void)
{
    for (guint32 seed = 0; seed < 300; seed++) {
        g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
        int count = g_rand_int_range(rand, 1, 60);
        g_autofree RvSpan *spans = g_new0(RvSpan, (gsize)count);
        for (int i = 0; i < count; i++) {
            spans[i].bytes = (gsize)g_rand_int_range(rand, 0, 5000);
            spans[i].first = g_rand_int_range(rand, 0, 40);
            spans[i].last = spans[i].first + g_rand_int_range(rand, 0, 10);
        }
        gsize total = rv_plan_place(spans, count), peak = 0;
        for (int op = 0; op < 60; op++) {
            gsize alive = 0;
            for (int i = 0; i < count; i++)
                alive += spans[i].first <= op && op <= spans[i].last ? spans[i].bytes : 0;
            peak = MAX(peak, alive);
        }
        g_assert_cmpuint(total, >=, peak);
        g_assert_cmpuint(total, <=, 2 * peak + 64);
        for (int i = 0; i < count; i++) {
            g_assert_cmpuint(spans[i].offset % 64, ==, 0);
            g_assert_cmpuint(spans[i].offset + spans[i].bytes, <=, total);
            for (int j = 0; j < i; j++)
                g_assert_true(spans[i].last < spans[j].first || spans[j].last < spans[i].first ||
                              spans[i].offset + spans[i].bytes <= spans[j].offset ||
                              spans[j].offset + spans[j].bytes <= spans[i].offset);
        }
    }
}

static bool
find_ones(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    static float ones[64 * 64 * 9];
    if (strstr(name, "missing") != NULL)
        return rv_error_set(error, RV_ERROR_INVALID, name, "use a complete model", "a tensor is missing");
    for (gsize i = 0; i < G_N_ELEMENTS(ones); i++)
        ones[i] = 1.0f;
    *out = (RvArray) { .dtype = RV_F32, .rank = rank, .data = ones };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    g_assert_cmpint(rv_array_count(out), <=, (gint64)G_N_ELEMENTS(ones));
    return true;
}

static RvDevice *
open_cpu(void)
{
    g_autoptr(GError) error = NULL;
    RvDevice *device = rv_device_open(&rv_cpu_backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    g_assert_no_error(error);
    return device;
}

static void
test_first_mistake_sticks(void)
{
    RvDevice *device = open_cpu();
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
    RvProgram *p = rv_program_new(set);
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, 4, 4, 8 });
    rv_program_enter(p, "block.%d", 3);
    RvTensor y = rv_linear(p, x, "missing_layer", (RvLinear) { .out = 8 });
    g_assert_true(rv_is_none(y));
    y = rv_concat(p, y, rv_slice(p, x, 7, 9));
    rv_program_leave(p);
    rv_output(p, "y", y);
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_program_compile(p, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "block.3.missing_layer.weight"));
    rv_program_free(p);
    rv_weight_set_free(set);
    rv_device_close(device);
}

static void
test_shapes_that_do_not_fit(void)
{
    RvDevice *device = open_cpu();
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
    for (int i = 0; i < 7; i++) {
        RvProgram *p = rv_program_new(set);
        RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, 4, 4, 8 }),
                 y = rv_input(p, "y", RV_F32, (RvShape) { 1, 4, 3, 8 });
        RvTensor ids = rv_input(p, "ids", RV_I32, (RvShape) { 1, 1, 5, 1 });
        if (i == 0)
            rv_add(p, x, y);
        else if (i == 1)
            rv_concat(p, x, y);
        else if (i == 2)
            rv_attention(p, x, x, x, (RvAttention) { .heads = 3 });
        else if (i == 3)
            rv_group_norm(p, x, "n", (RvNorm) { .groups = 5 });
        else if (i == 4)
            rv_reshape(p, x, (RvShape) { 1, 4, 4, 9 });
        else if (i == 5)
            rv_conv2d(p, x, "c", (RvConv2d) { .out = 4, .kernel = 9, .pad_end = true });
        else
            rv_pick(p, x, ids);
        g_autoptr(GError) error = NULL;
        g_assert_false(rv_program_compile(p, &error));
        g_assert_nonnull(error);
        rv_program_free(p);
    }
    rv_weight_set_free(set);
    rv_device_close(device);
}

/* y = relu-free chain whose values are known; in-place reuse and views must not disturb them. */
static void
test_program_computes(void)
{
    RvDevice *device = open_cpu();
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
    RvProgram *p = rv_program_new(set);
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, 1, 2, 4 });
    RvTensor a = rv_linear(p, x, "l", (RvLinear) { .out = 4 });            /* sum(x) + 1 */
    RvTensor b = rv_add(p, a, x);                                          /* a dies here */
    RvTensor c = rv_concat(p, rv_slice(p, b, 2, 2), rv_slice(p, b, 0, 2)); /* halves swapped */
    rv_output(p, "b", b);
    rv_output(p, "c", rv_act(p, c, RV_ACT_RELU));
    rv_output(p, "x", x);
    g_autoptr(GError) error = NULL;
    rv_program_compile(p, &error);
    g_assert_no_error(error);
    const float in[8] = { 1, 2, 3, 4, -1, -2, -3, -5 };
    float got_b[8], got_c[8], got_x[8];
    for (int run = 0; run < 2; run++) {
        g_assert_true(rv_program_write(p, "x", in, sizeof in, &error));
        g_assert_true(rv_program_run(p, &error));
        g_assert_true(rv_program_read(p, "b", got_b, sizeof got_b, &error));
        g_assert_true(rv_program_read(p, "c", got_c, sizeof got_c, &error));
        g_assert_true(rv_program_read(p, "x", got_x, sizeof got_x, &error));
        const float want_b[8] = { 12, 13, 14, 15, -11, -12, -13, -15 };
        const float want_c[8] = { 14, 15, 12, 13, 0, 0, 0, 0 };
        for (int i = 0; i < 8; i++) {
            g_assert_cmpfloat(got_b[i], ==, want_b[i]);
            g_assert_cmpfloat(got_c[i], ==, want_c[i]);
            g_assert_cmpfloat(got_x[i], ==, in[i]);
        }
    }
    g_assert_false(rv_program_write(p, "x", in, 4, &error));
    g_clear_error(&error);
    g_assert_false(rv_program_read(p, "nothing", got_b, sizeof got_b, &error));
    g_clear_error(&error);

    int cancel = 1;
    rv_device_set_cancel(device, &cancel);
    g_assert_false(rv_program_run(p, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    rv_program_free(p);
    rv_weight_set_free(set);
    rv_device_close(device);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tensor/plan/never-overlaps", test_plan_never_overlaps);
    g_test_add_func("/tensor/record/first-mistake-sticks", test_first_mistake_sticks);
    g_test_add_func("/tensor/record/shapes-that-do-not-fit", test_shapes_that_do_not_fit);
    g_test_add_func("/tensor/program/computes", test_program_computes);
    return g_test_run();
}
