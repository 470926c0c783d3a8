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

/* The second image of a batch through one set, then another: each op takes the weights in use when it was
 * recorded. */
static bool
find_twos(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    static float twos[16] = { 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2 };
    *out = (RvArray) { .dtype = RV_F32, .rank = rank, .data = twos };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    return true;
}

typedef struct {
    RvDevice *device;
    RvWeightSet *ones, *twos;
    RvProgram *program;
} TwoSets;

static TwoSets
record_two_sets(void)
{
    TwoSets t = { .device = open_cpu() };
    t.ones = rv_weight_set_new(t.device, (RvWeightSource) { find_ones, NULL, NULL });
    t.twos = rv_weight_set_new(t.device, (RvWeightSource) { find_twos, NULL, NULL });
    RvProgram *p = t.program = rv_program_new(t.ones);
    rv_program_stage(p, "first");
    RvTensor batch = rv_input(p, "batch", RV_F32, (RvShape) { 2, 1, 2, 2 });
    RvTensor shift = rv_input_exact(p, "shift", RV_F32, (RvShape) { 1, 1, 2, 2 });
    RvTensor x = rv_linear(p, rv_image(p, batch, 1), "l", (RvLinear) { .out = 2 }); /* sum + 1 */
    rv_program_use(p, t.twos);
    rv_program_stage(p, "second");
    x = rv_linear(p, x, "l", (RvLinear) { .out = 2 }); /* 2 sum + 2 */
    rv_program_use_none(p, RV_F32);
    rv_output(p, "y", rv_add(p, x, shift));
    return t;
}

static void
two_sets_clear(TwoSets *t)
{
    rv_program_free(t->program);
    rv_weight_set_free(t->ones);
    rv_weight_set_free(t->twos);
    rv_device_close(t->device);
}

static void
note_stages(const RvOp *op, double seconds, void *user)
{
    g_string_append_printf(user, "%s:%s ", op->stage, rv_op_kind_name(op->kind));
}

static void
test_two_weight_sets(void)
{
    TwoSets t = record_two_sets();
    g_autoptr(GError) error = NULL;
    g_autoptr(GString) stages = g_string_new(NULL);
    float batch[8] = { 9, 9, 9, 9, 1, 2, 3, 4 }, shift[4] = { 0, 1, 2, 3 }, y[4];
    rv_program_compile(t.program, &error);
    g_assert_no_error(error);
    rv_device_set_observer(t.device, note_stages, stages);
    g_assert_true(rv_program_write(t.program, "batch", batch, sizeof batch, &error));
    g_assert_true(rv_program_write(t.program, "shift", shift, sizeof shift, &error));
    g_assert_true(rv_program_run(t.program, &error));
    g_assert_true(rv_program_read(t.program, "y", y, sizeof y, &error));
    const float want[4] = { 2 * 8 + 2, 2 * 8 + 3, 2 * 16 + 4, 2 * 16 + 5 };
    for (int i = 0; i < 4; i++)
        g_assert_cmpfloat(y[i], ==, want[i]);
    g_assert_cmpstr(stages->str, ==, "first:linear second:linear second:add ");
    two_sets_clear(&t);
}

static void
test_weights_without_a_set(void)
{
    TwoSets t = record_two_sets();
    RvProgram *p = rv_program_new(t.ones);
    rv_program_use_none(p, RV_F32);
    rv_output(p, "y",
              rv_linear(p, rv_input(p, "x", RV_F32, (RvShape) { 1, 1, 1, 2 }), "l", (RvLinear) { .out = 2 }));
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_program_compile(p, &error));
    g_assert_nonnull(strstr(error->message, "no weight set"));
    rv_program_free(p);
    two_sets_clear(&t);
}

/* A part that computes in another type: operands are converted where it says, or the mistake is named. */
static void
test_parts_of_other_types(void)
{
    RvDevice *device = open_cpu();
    RvWeightSet *single = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
    RvWeightSet *half = rv_weight_set_new_typed(device, (RvWeightSource) { find_ones, NULL, NULL }, RV_BF16);
    g_assert_cmpint(rv_weight_set_compute(single), ==, RV_F32);
    g_assert_cmpint(rv_weight_set_compute(half), ==, RV_BF16);
    for (int converts = 0; converts < 2; converts++) {
        RvProgram *p = rv_program_new(single);
        RvTensor x = rv_act(p, rv_input(p, "x", RV_F32, (RvShape) { 1, 1, 2, 4 }), RV_ACT_RELU);
        rv_program_use(p, half);
        g_assert_cmpint(rv_program_compute(p), ==, RV_BF16);
        if (converts)
            x = rv_convert(p, x, (RvConvert) { .dtype = RV_BF16 });
        rv_output(p, "y", rv_linear(p, x, "l", (RvLinear) { .out = 4 }));
        g_autoptr(GError) error = NULL;
        g_assert_false(rv_program_compile(p, &error));
        g_assert_nonnull(strstr(error->message, converts ? "does not take BF16" : "computes in BF16"));
        rv_program_free(p);
    }
    rv_weight_set_free(single);
    rv_weight_set_free(half);
    rv_device_close(device);
}

static void
test_start_and_finish(void)
{
    TwoSets t = record_two_sets();
    RvProgram *p = t.program;
    g_autoptr(GError) error = NULL;
    rv_program_compile(p, &error);
    g_assert_no_error(error);
    float batch[8] = { 0, 0, 0, 0, 1, 2, 3, 4 }, shift[4] = { 0 }, first[4], second[4];
    RvSlotBytes in[2] = { { "batch", batch, sizeof batch }, { "shift", shift, sizeof shift } },
                out = { "y", first, sizeof first };
    g_assert_true(rv_program_start(p, in, 2, &out, 1, &error));
    memset(batch, 0, sizeof batch); /* the caller's again */
    shift[0] = 5;
    out.host = second;
    g_assert_true(rv_program_start(p, in + 1, 1, &out, 1, &error)); /* the batch stays what it was */
    g_assert_true(rv_program_finish(p, &error));
    g_assert_cmpfloat(first[0], ==, 18);
    g_assert_true(rv_program_finish(p, &error));
    g_assert_cmpfloat(second[0], ==, 23);
    g_assert_cmpfloat(second[2], ==, first[2]);

    in[0].bytes--;
    g_assert_false(rv_program_start(p, in, 1, &out, 1, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_FAILED);
    g_clear_error(&error);
    int cancel = 1;
    rv_device_set_cancel(t.device, &cancel);
    g_assert_false(rv_program_start(p, NULL, 0, &out, 1, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_clear_error(&error);
    cancel = 0;
    g_assert_true(rv_program_start(p, NULL, 0, &out, 1, &error)); /* freed while it is under way */
    two_sets_clear(&t);
}

static void
test_compiles_in_pieces(void)
{
    TwoSets t = record_two_sets();
    g_autoptr(GError) error = NULL;
    bool is_done = false;
    int pieces = 0;
    for (; !is_done; pieces++) {
        rv_program_compile_some(t.program, 0, &is_done, &error);
        g_assert_no_error(error);
    }
    g_assert_cmpint(pieces, ==, 4); /* three ops and the plan */
    g_assert_true(rv_program_run(t.program, &error));
    RvProgram *half = rv_program_new(t.ones); /* given up half way */
    RvTensor x = rv_input(half, "x", RV_F32, (RvShape) { 1, 1, 1, 2 });
    rv_output(half, "y", rv_act(half, rv_act(half, x, RV_ACT_RELU), RV_ACT_SILU));
    g_assert_true(rv_program_compile_some(half, 0, &is_done, &error));
    g_assert_false(is_done);
    rv_program_free(half);
    two_sets_clear(&t);
}

static void
test_copies_between_programs(void)
{
    TwoSets from = record_two_sets(), to = record_two_sets();
    g_autoptr(GError) error = NULL;
    g_assert_true(rv_program_compile(from.program, &error) && rv_program_compile(to.program, &error));
    float batch[8] = { 0, 0, 0, 0, 1, 2, 3, 4 }, none[8] = { 0 }, shift[4] = { 0 }, y[4];
    g_assert_true(rv_program_write(from.program, "batch", batch, sizeof batch, &error) &&
                  rv_program_write(from.program, "shift", shift, sizeof shift, &error) &&
                  rv_program_run(from.program, &error));
    g_assert_true(rv_program_write(to.program, "batch", none, sizeof none, &error));
    g_assert_true(rv_program_copy(from.program, "y", to.program, "shift", &error));
    g_assert_true(rv_program_run(to.program, &error));
    g_assert_true(rv_program_read(to.program, "y", y, sizeof y, &error));
    g_assert_cmpfloat(y[0], ==, 18 + 2 * 2 + 2);
    g_assert_cmpfloat(y[2], ==, 34 + 2 * 2 + 2);
    g_assert_true(rv_program_copy(from.program, "batch", to.program, "batch", &error)); /* an input */
    g_assert_false(rv_program_copy(from.program, "y", to.program, "batch", &error));
    g_clear_error(&error);
    g_assert_false(rv_program_copy(from.program, "nothing", to.program, "shift", &error));
    two_sets_clear(&from);
    two_sets_clear(&to);
}

static RvOp *prepared[16];
static int prepared_count;

/* Keeps what may run in place apart. */
static bool
note_and_prepare(void *device, RvOp *op, GError **error)
{
    prepared[prepared_count++] = op;
    op->apart = op->kind == RV_OP_ACT;
    return rv_cpu_backend.prepare(device, op, error);
}

/* Who reads what alone: a back end hands tensors on in forms of its own between such ops. */
static void
test_pairs(void)
{
    RvBackend backend = rv_cpu_backend;
    backend.prepare = note_and_prepare;
    g_autoptr(GError) error = NULL;
    RvDevice *device = rv_device_open(&backend, &(RvDeviceOptions) { .threads = 1 }, &error);
    RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
    rv_weight_set_set_calibration(set, "these ones");
    RvProgram *p = rv_program_new(set);
    RvTensor x = rv_input(p, "x", RV_F32, (RvShape) { 1, 4, 4, 8 });
    RvTensor norm = rv_group_norm(p, x, "norm", (RvNorm) { .groups = 2 });  /* 0 */
    RvTensor first = rv_linear(p, norm, "first", (RvLinear) { .out = 8 });  /* 1 */
    RvTensor acted = rv_act(p, first, RV_ACT_SILU);                         /* 2 */
    RvTensor twice = rv_conv2d(p, acted, "twice", (RvConv2d) { .out = 8 }); /* 3 */
    RvTensor part = rv_linear(p, rv_slice(p, twice, 0, 4), "part", (RvLinear) { .out = 8, .add = twice });
    RvTensor seen = rv_linear(p, part, "seen", (RvLinear) { .out = 8 });                   /* 5 */
    RvTensor added = rv_add(p, rv_linear(p, seen, "last", (RvLinear) { .out = 8 }), seen); /* 6, 7 */
    rv_output(p, "added", added);
    rv_output(p, "part", part);
    prepared_count = 0;
    g_assert_true(rv_program_compile(p, &error));
    g_assert_no_error(error);
    g_assert_cmpint(prepared_count, ==, 8);
    const int feeders[] = {
        -1, 0, 1, 2, -1, -1, -1, 6
    }; /* of a slice, of what the host or two ops read: none */
    for (int i = 0; i < 8; i++) {
        g_assert_true(prepared[i]->feeder == (feeders[i] < 0 ? NULL : prepared[feeders[i]]));
        if (feeders[i] >= 0)
            g_assert_true(prepared[feeders[i]]->reader == prepared[i]);
        bool is_layer = prepared[i]->kind == RV_OP_LINEAR || prepared[i]->kind == RV_OP_CONV2D;
        g_assert_cmpstr(prepared[i]->calibration, ==, is_layer ? "these ones" : NULL);
    }
    g_assert_true(prepared[4]->reader == NULL && prepared[7]->reader == NULL);
    g_assert_true(prepared[2]->out.data != prepared[2]->in[0].data);
    rv_program_free(p);
    rv_weight_set_free(set);
    rv_device_close(device);
}

typedef struct {
    bool has_turn, cannot_begin;
    int begun;
} Turns;

static Turns turns;

static bool
begin_turn(void *user)
{
    Turns *t = user;
    g_assert_false(t->has_turn);
    t->begun++;
    t->has_turn = !t->cannot_begin;
    return t->has_turn;
}

static void
end_turn(void *user)
{
    Turns *t = user;
    g_assert_true(t->has_turn);
    t->has_turn = false;
}

static void
describe_overlapping(void *device, RvDeviceInfo *info)
{
    rv_cpu_backend.describe(device, info);
    info->overlaps = true;
}

static bool
prepare_without_turn(void *device, RvOp *op, GError **error)
{
    g_assert_false(turns.has_turn);
    return rv_cpu_backend.prepare(device, op, error);
}

static bool
run_in_turn(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error)
{
    g_assert_true(turns.has_turn);
    return rv_cpu_backend.run(device, exec, cancel, observer, user, error);
}

/* On a device that overlaps runs take turns, what is prepared for them keeps nobody waiting. */
static void
test_runs_take_turns(void)
{
    RvBackend backend = rv_cpu_backend;
    backend.describe = describe_overlapping;
    backend.prepare = prepare_without_turn;
    backend.run = run_in_turn;
    RvDeviceOptions options = { .threads = 1, .turn = { begin_turn, end_turn, &turns } };
    for (int overlaps = 0; overlaps < 2; overlaps++) {
        g_autoptr(GError) error = NULL;
        float x[8] = { 1 }, y[8];
        turns = (Turns) { 0 };
        RvDevice *device = rv_device_open(overlaps ? &backend : &rv_cpu_backend, &options, &error);
        RvWeightSet *set = rv_weight_set_new(device, (RvWeightSource) { find_ones, NULL, NULL });
        RvProgram *p = rv_program_new(set);
        RvTensor in = rv_input(p, "x", RV_F32, (RvShape) { 1, 1, 1, 8 });
        rv_output(p, "y", rv_linear(p, in, "layer", (RvLinear) { .out = 8 }));
        g_assert_true(rv_program_compile(p, &error) && rv_program_write(p, "x", x, sizeof x, &error));
        g_assert_cmpint(turns.begun, ==, 0);
        g_assert_true(rv_program_run(p, &error));
        g_assert_true(rv_program_run_and_read(p, "y", y, sizeof y, &error));
        g_assert_cmpfloat(y[0], ==, 2);
        g_assert_cmpint(turns.begun, ==, overlaps ? 2 : 0);
        g_assert_false(turns.has_turn);
        turns.cannot_begin = true;
        g_assert_true(rv_program_run(p, &error) == !overlaps);
        if (overlaps)
            g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
        rv_program_free(p);
        rv_weight_set_free(set);
        rv_device_close(device);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tensor/plan/never-overlaps", test_plan_never_overlaps);
    g_test_add_func("/tensor/record/first-mistake-sticks", test_first_mistake_sticks);
    g_test_add_func("/tensor/record/shapes-that-do-not-fit", test_shapes_that_do_not_fit);
    g_test_add_func("/tensor/program/computes", test_program_computes);
    g_test_add_func("/tensor/program/two-weight-sets", test_two_weight_sets);
    g_test_add_func("/tensor/program/weights-without-a-set", test_weights_without_a_set);
    g_test_add_func("/tensor/program/parts-of-other-types", test_parts_of_other_types);
    g_test_add_func("/tensor/program/start-and-finish", test_start_and_finish);
    g_test_add_func("/tensor/program/pieces", test_compiles_in_pieces);
    g_test_add_func("/tensor/program/pairs", test_pairs);
    g_test_add_func("/tensor/program/turns", test_runs_take_turns);
    g_test_add_func("/tensor/program/copies", test_copies_between_programs);
    return g_test_run();
}
