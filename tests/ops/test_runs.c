/* Programs as a device runs them: without waiting, observed, cancelled; memory that grows or runs out. */
#include <math.h>
#include <string.h>

#include "harness.h"

/* y = 2 x + 1 */
static RvTensor
record_line(RvProgram *p, RvShape shape)
{
    RvTensor x = rv_input_exact(p, "x", RV_F32, shape);
    RvTensor y = rv_convert(p, x, (RvConvert) { RV_F32, 2.0f, 1.0f });
    rv_output(p, "y", y);
    return y;
}

static void
compile(RvProgram *p)
{
    GError *error = NULL;
    rv_program_compile(p, &error);
    g_assert_no_error(error);
}

static void
fill(float *values, gsize count, float with)
{
    for (gsize i = 0; i < count; i++)
        values[i] = with + (float)(i % 1000);
}

static void
check_line(const float *y, gsize count, float with)
{
    for (gsize i = 0; i < count; i++)
        g_assert_cmpfloat(y[i], ==, 2.0f * (with + (float)(i % 1000)) + 1.0f);
}

/* Two runs are under way at a time; what goes in may be overwritten at once. */
static void
test_start_finish(void)
{
    enum { RUNS = 9 };
    const RvShape shape = { 1, 256, 256, 7 };
    const gsize count = (gsize)rv_shape_count(shape), bytes = count * sizeof(float);
    OpsCase *c = ops_case_new("start and finish");
    RvProgram *p = ops_program(c);
    GError *error = NULL;
    record_line(p, shape);
    compile(p);
    g_autofree float *x = g_new(float, count);
    float *y[2] = { g_new(float, count), g_new(float, count) };
    for (int i = 0; i < RUNS + 2; i++) {
        if (i >= 2) {
            rv_program_finish(p, &error);
            g_assert_no_error(error);
            check_line(y[i % 2], count, (float)(i - 2));
        }
        if (i >= RUNS)
            continue;
        fill(x, count, (float)i);
        memset(y[i % 2], 0xff, bytes);
        rv_program_start(p, &(RvSlotBytes) { "x", x, bytes }, 1, &(RvSlotBytes) { "y", y[i % 2], bytes }, 1,
                         &error);
        g_assert_no_error(error);
        memset(x, 0xff, bytes);
    }
    g_free(y[0]);
    g_free(y[1]);
    ops_case_free(c);
}

/* A read between start and finish sees that start's results; a write after it does not disturb it. */
static void
test_order(void)
{
    const RvShape shape = { 1, 64, 64, 8 };
    const gsize count = (gsize)rv_shape_count(shape), bytes = count * sizeof(float);
    OpsCase *c = ops_case_new("copies among runs");
    RvProgram *p = ops_program(c);
    GError *error = NULL;
    record_line(p, shape);
    compile(p);
    g_autofree float *x = g_new(float, count), *y = g_new(float, count), *z = g_new(float, count);
    fill(x, count, 5.0f);
    rv_program_start(p, &(RvSlotBytes) { "x", x, bytes }, 1, &(RvSlotBytes) { "y", y, bytes }, 1, &error);
    g_assert_no_error(error);
    fill(x, count, 9.0f);
    g_assert_true(rv_program_write(p, "x", x, bytes, &error));
    g_assert_true(rv_program_read(p, "y", z, bytes, &error));
    g_assert_true(rv_program_finish(p, &error));
    check_line(y, count, 5.0f);
    check_line(z, count, 5.0f);
    g_assert_true(rv_program_run(p, &error));
    g_assert_true(rv_program_read(p, "y", z, bytes, &error));
    check_line(z, count, 9.0f);
    ops_case_free(c);
}

/* More than one piece of any staging memory, and not a multiple of one. */
static void
test_large_transfer(void)
{
    const RvShape shape = { 1, 1023, 1021, 13 };
    const gsize count = (gsize)rv_shape_count(shape), bytes = count * sizeof(float);
    OpsCase *c = ops_case_new("large transfers");
    RvProgram *p = ops_program(c);
    GError *error = NULL;
    record_line(p, shape);
    compile(p);
    g_autofree float *x = g_new(float, count), *y = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        x[i] = (float)(i % 8191);
    g_assert_true(rv_program_write(p, "x", x, bytes, &error));
    memset(x, 0, bytes);
    g_assert_true(rv_program_run(p, &error));
    g_assert_true(rv_program_read(p, "y", y, bytes, &error));
    for (gsize i = 0; i < count; i++)
        g_assert_cmpfloat(y[i], ==, 2.0f * (float)(i % 8191) + 1.0f);
    ops_case_free(c);
}

static RvProgram *
chain(OpsCase *c, RvWeightSet *set, RvShape shape)
{
    RvProgram *p = set != NULL ? rv_program_new(set) : ops_program(c);
    RvTensor x = rv_input(p, "x", RV_F32, shape);
    for (int i = 0; i < 4; i++)
        x = rv_act(p, rv_add(p, x, x), RV_ACT_SILU);
    rv_output(p, "y", x);
    compile(p);
    return p;
}

static float *
run_chain(RvProgram *p, gsize count)
{
    GError *error = NULL;
    float *x = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        x[i] = (float)(i % 200) * 0.01f - 1.0f;
    rv_program_write(p, "x", x, count * sizeof *x, &error);
    g_assert_no_error(error);
    rv_program_run(p, &error);
    g_assert_no_error(error);
    rv_program_read(p, "y", x, count * sizeof *x, &error);
    g_assert_no_error(error);
    return x;
}

static bool
no_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    return rv_error_set(error, RV_ERROR_NOT_FOUND, name, NULL, "none");
}

/* A plan stays valid when a larger one makes the scratch memory grow, and gives the same bits again. */
static void
test_scratch_grows(void)
{
    const RvShape small = { 1, 16, 16, 8 }, large = { 1, 1024, 1024, 16 };
    const gsize count = (gsize)rv_shape_count(small);
    OpsCase *c = ops_case_new("scratch memory that grows");
    RvWeightSet *set = rv_weight_set_new(ops_device(c), (RvWeightSource) { .find = no_weight });
    RvProgram *first = chain(c, NULL, small);
    g_autofree float *before = run_chain(first, count);
    RvProgram *second = chain(c, set, large);
    g_autofree float *huge = run_chain(second, (gsize)rv_shape_count(large));
    g_autofree float *after = run_chain(first, count);
    g_assert_cmpmem(before, count * sizeof(float), after, count * sizeof(float));
    g_assert_cmpmem(before, 200 * sizeof(float), huge, 200 * sizeof(float));
    rv_program_free(second);
    rv_weight_set_free(set);
    ops_case_free(c);
}

static void
count_op(const RvOp *op, double seconds, void *user)
{
    g_assert_true(seconds >= 0.0 && seconds < 10.0);
    ++*(int *)user;
}

static void
test_observer(void)
{
    OpsCase *c = ops_case_new("observer");
    RvProgram *p = chain(c, NULL, (RvShape) { 1, 32, 32, 8 });
    g_autofree float *alone = run_chain(p, 8192);
    int ops = 0;
    rv_device_set_observer(ops_device(c), count_op, &ops);
    for (int i = 1; i < 3; i++) {
        g_autofree float *observed = run_chain(p, 8192);
        g_assert_cmpint(ops, ==,
                        i * (ops_compute(c) == RV_F32 ? 8 : 10)); /* types other than F32 are converted */
        g_assert_cmpmem(alone, 8192 * sizeof(float), observed, 8192 * sizeof(float));
    }
    ops_case_free(c);
}

static void
test_cancel(void)
{
    OpsCase *c = ops_case_new("cancel");
    RvProgram *p = chain(c, NULL, (RvShape) { 1, 32, 32, 8 });
    int cancel = 1;
    GError *error = NULL;
    g_assert_true(rv_program_run(p, &error)); /* the guarded one, which heeds nothing */
    rv_device_set_cancel(ops_device(c), &cancel);
    g_assert_false(rv_program_run(p, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_clear_error(&error);
    cancel = 0;
    g_assert_true(rv_program_run(p, &error));
    rv_device_set_cancel(ops_device(c), NULL);
    ops_case_free(c);
}

/* An ordinary error that says what is needed and what is free; the device goes on. */
static void
test_out_of_memory(void)
{
    if (!ops_is_gpu()) {
        g_test_skip("the host promises more memory than it has");
        return;
    }
    for (int kind = 0; kind < 2; kind++) {
        OpsCase *c = ops_case_new("out of memory");
        RvProgram *p = ops_program(c);
        RvShape shape = { 1, 1 << 15, 1 << 15, 256 };
        if (kind == 0) {
            rv_output(p, "y", rv_act(p, rv_input(p, "x", RV_F32, shape), RV_ACT_RELU));
        } else { /* in scratch memory: a large tensor from a small one */
            RvTensor x = rv_sinusoid(p, rv_input_exact(p, "t", RV_F32, (RvShape) { 1, 1 << 15, 1 << 13, 1 }),
                                     (RvSinusoid) { .width = 1 << 12 });
            rv_output(p, "y", rv_pick(p, x, rv_input_exact(p, "i", RV_I32, (RvShape) { 1, 1, 1, 1 })));
        }
        g_autoptr(GError) error = NULL;
        g_assert_false(rv_program_compile(p, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_NO_MEMORY);
        g_test_message("%s", error->message);
        g_assert_nonnull(strstr(error->message, "MB are free"));
        ops_case_free(c);
        test_cancel();
    }
}

/* Weights leave the device and come back, kept and not kept, under a compiled program. */
static void
test_sleep(void)
{
    enum { CHANNELS = 64 };
    const RvShape shape = { 1, 32, 32, CHANNELS };
    const gsize count = (gsize)rv_shape_count(shape), bytes = count * sizeof(float);
    const gint64 wide[] = { CHANNELS, CHANNELS, 3, 3 };
    OpsCase *c = ops_case_new("sleep and wake");
    RvProgram *p = ops_program(c);
    g_autofree float *x = g_new(float, count), *before = g_new(float, count), *after = g_new(float, count);
    ops_weight(c, "layer.weight", RV_F32, -0.1f, 0.1f, 4, wide);
    ops_weight(c, "layer.bias", RV_F32, -1, 1, 1, wide);
    RvTensor y = rv_conv2d(p, rv_input(p, "x", RV_F32, shape), "layer", (RvConv2d) { .out = CHANNELS });
    rv_output(p, "y", rv_act(p, y, RV_ACT_SILU));
    compile(p);
    fill(x, count, 0.0f);
    for (gsize i = 0; i < count; i++)
        x[i] *= 1e-3f;
    g_assert_true(rv_program_write(p, "x", x, bytes, NULL) && rv_program_run(p, NULL) &&
                  rv_program_read(p, "y", before, bytes, NULL));
    for (int i = 0; i < 6; i++) {
        GError *error = NULL;
        bool all = false;
        if (i % 3 > 0)
            rv_device_keep(ops_device(c), &all, &error);
        g_assert_no_error(error);
        g_assert_true(all == (i % 3 > 0 && ops_is_gpu()));
        rv_device_sleep(ops_device(c), &error);
        g_assert_no_error(error);
        g_assert_false(rv_program_run(p, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_FAILED);
        g_clear_error(&error);
        rv_device_wake(ops_device(c), &error);
        g_assert_no_error(error);
        memset(after, 0xff, bytes);
        g_assert_true(rv_program_run(p, &error) && rv_program_read(p, "y", after, bytes, &error));
        g_assert_cmpmem(after, bytes, before, bytes);
    }
    ops_case_free(c);
}

int
main(int argc, char **argv)
{
    ops_init(&argc, &argv);
    ops_add_test("/runs/start-finish", test_start_finish);
    ops_add_test("/runs/order", test_order);
    ops_add_test("/runs/large-transfer", test_large_transfer);
    ops_add_test("/runs/scratch-grows", test_scratch_grows);
    ops_add_test("/runs/observer", test_observer);
    ops_add_test("/runs/cancel", test_cancel);
    ops_add_test("/runs/out-of-memory", test_out_of_memory);
    ops_add_test("/runs/sleep", test_sleep);
    return ops_main();
}
