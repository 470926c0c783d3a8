#include "harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backends/cpu/isa.h"
#include "devices.h"
#include "guard.h"

typedef struct {
    char *name;
    RvArray array;
    float *values;
    void *data;
} CaseWeight;

typedef struct {
    char *name;
    void *data; /* as written to the slot */
    gsize bytes;
    float *values; /* what the test sees */
} CaseInput;

struct OpsCase {
    char *name;
    RvDevice *device;
    RvWeightSet *set;
    RvProgram *program;
    GPtrArray *weights; /* CaseWeight */
    GPtrArray *inputs;  /* CaseInput */
    RvDType compute;
};

static TestDevice device;
static RvDevice *shared; /* a GPU takes long to open: one for all cases */
static const RvBackend *tested;
static int threads, case_threads;
static guint64 random_state = 1;
static bool is_bench;
static void (*benches[8])(void);
static gsize bench_count;

static void
limit_isa(const char *name)
{
    for (CpuIsa isa = CPU_ISA_BASE; isa <= CPU_ISA_AVX512; isa++)
        if (strcmp(cpu_isa_name(isa), name) == 0) {
            cpu_isa_limit(isa);
            return;
        }
    g_error("no instruction set %s", name);
}

static bool
take_argument(const char *argument)
{
    const char *value = strchr(argument, '=');
    if (strcmp(argument, "--bench") == 0)
        is_bench = true;
    else if (g_str_has_prefix(argument, "--device="))
        device = test_device(value + 1);
    else if (g_str_has_prefix(argument, "--isa="))
        limit_isa(value + 1);
    else if (g_str_has_prefix(argument, "--threads="))
        threads = atoi(value + 1);
    else if (g_str_has_prefix(argument, "--data-seed="))
        random_state = g_ascii_strtoull(value + 1, NULL, 10);
    else
        return false;
    return true;
}

void
ops_init(int *argc, char ***argv)
{
    int kept = 1;
    device = test_device("cpu");
    for (int i = 1; i < *argc; i++)
        if (!take_argument((*argv)[i]))
            (*argv)[kept++] = (*argv)[i];
    (*argv)[kept] = NULL;
    *argc = kept;
    g_test_init(argc, argv, NULL);
    random_state = random_state * 2 + 1;
    tested = is_bench ? device.backend : guard_wrap(device.backend);
}

void
ops_add_test(const char *path, void (*test)(void))
{
    g_test_add_func(path, test);
}

void
ops_add_bench(void (*bench)(void))
{
    g_assert(bench_count < G_N_ELEMENTS(benches));
    benches[bench_count++] = bench;
}

static gpointer
copy_share(gpointer data)
{
    guint8 *block = data;
    gsize half = (gsize)32 << 20;
    for (int i = 0; i < 8; i++)
        memcpy(block + (i % 2 == 0 ? half : 0), block + (i % 2 == 0 ? 0 : half), half);
    return NULL;
}

/* Bytes read and written in a second when every thread copies memory of its own. */
static double
host_copy_rate(int count)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) workers = g_ptr_array_new();
    for (int i = 0; i < count; i++) {
        guint8 *block = g_malloc((gsize)64 << 20);
        memset(block, 1, (gsize)64 << 20);
        g_ptr_array_add(blocks, block);
    }
    gint64 start = g_get_monotonic_time();
    for (int i = 0; i < count; i++)
        g_ptr_array_add(workers, g_thread_new("copy", copy_share, blocks->pdata[i]));
    for (int i = 0; i < count; i++)
        g_thread_join(workers->pdata[i]);
    double seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
    return (double)count * 8 * 2 * (double)((gsize)32 << 20) / seconds;
}

static void
run_benches(void)
{
    RvDevice *opened =
        rv_device_open(tested, &(RvDeviceOptions) { .compute = device.compute, .threads = threads }, NULL);
    g_assert_nonnull(opened);
    RvDeviceInfo info;
    rv_device_describe(opened, &info);
    rv_device_close(opened);
    if (info.threads > 0)
        g_print("%s, %s, %d threads; the host copies %.1f GB/s (read + written)\n", info.name,
                cpu_isa_name(cpu_isa()), info.threads, host_copy_rate(info.threads) * 1e-9);
    else
        g_print("%s, %s\n", info.name, device.name);
    for (gsize i = 0; i < bench_count; i++)
        benches[i]();
}

int
ops_main(void)
{
    int status = 0;
    if (is_bench)
        run_benches();
    else
        status = g_test_run();
    rv_device_close(shared);
    shared = NULL;
    return status;
}

/* Vigna's xorshift64*: https://doi.org/10.1145/2845077 */
static guint32
random_bits(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (guint32)((random_state * G_GUINT64_CONSTANT(0x2545F4914F6CDD1D)) >> 32);
}

int
ops_random_int(int low, int high)
{
    return low + (int)(random_bits() % (guint32)(high - low + 1));
}

float
ops_random(float low, float high)
{
    return low + (high - low) * (float)(random_bits() >> 8) * 0x1p-24f;
}

void
ops_seed(guint64 seed)
{
    random_state = seed * 2 + 1;
}

void
ops_set_threads(int count)
{
    case_threads = count;
}

static bool
find_weight(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    OpsCase *c = self;
    for (guint i = 0; i < c->weights->len; i++) {
        const CaseWeight *weight = c->weights->pdata[i];
        if (strcmp(weight->name, name) != 0)
            continue;
        g_assert_cmpint(rank, ==, weight->array.rank);
        for (int d = 0; d < rank; d++)
            g_assert_cmpint(shape[d], ==, weight->array.shape[d]);
        *out = weight->array;
        return true;
    }
    return rv_error_set(error, RV_ERROR_NOT_FOUND, name, NULL, "the test has no such weight");
}

static void
weight_free(gpointer data)
{
    CaseWeight *weight = data;
    g_free(weight->name);
    g_free(weight->values);
    g_free(weight->data);
    g_free(weight);
}

static void
input_free(gpointer data)
{
    CaseInput *input = data;
    g_free(input->name);
    g_free(input->data);
    g_free(input->values);
    g_free(input);
}

RvFp8
ops_fp8(void)
{
    return device.fp8;
}

bool
ops_is_gpu(void)
{
    return strcmp(device.backend->name, "cpu") != 0;
}

static RvDevice *
open_device(void)
{
    GError *error = NULL;
    RvDeviceOptions options = { .compute = device.compute,
                                .threads = case_threads > 0 ? case_threads : threads,
                                .fp8 = device.fp8 };
    if (shared != NULL)
        return shared;
    RvDevice *opened = rv_device_open(tested, &options, &error);
    g_assert_no_error(error);
    if (ops_is_gpu())
        shared = opened;
    return opened;
}

OpsCase *
ops_case_new(const char *name_format, ...)
{
    OpsCase *c = g_new0(OpsCase, 1);
    va_list args;
    va_start(args, name_format);
    c->name = g_strdup_vprintf(name_format, args);
    va_end(args);
    c->compute = device.compute;
    c->weights = g_ptr_array_new_with_free_func(weight_free);
    c->inputs = g_ptr_array_new_with_free_func(input_free);
    c->device = open_device();
    c->set = rv_weight_set_new(c->device, (RvWeightSource) { .find = find_weight, .self = c });
    c->program = rv_program_new(c->set);
    return c;
}

void
ops_case_free(OpsCase *c)
{
    rv_program_free(c->program);
    rv_weight_set_free(c->set);
    rv_device_set_observer(c->device, NULL, NULL);
    if (c->device != shared)
        rv_device_close(c->device);
    g_ptr_array_free(c->weights, TRUE);
    g_ptr_array_free(c->inputs, TRUE);
    g_free(c->name);
    g_free(c);
}

RvProgram *
ops_program(OpsCase *c)
{
    return c->program;
}

RvWeightSet *
ops_weights(OpsCase *c)
{
    return c->set;
}

RvDevice *
ops_device(OpsCase *c)
{
    return c->device;
}

RvDType
ops_compute(OpsCase *c)
{
    return c->compute;
}

/* Random numbers rounded to `dtype`; *stored (may be NULL) receives them in that type. */
static float *
random_values(gsize count, RvDType dtype, float low, float high, void **stored)
{
    float *values = g_new(float, count);
    void *data = g_malloc(count * rv_dtype_size(dtype));
    for (gsize i = 0; i < count; i++)
        values[i] = ops_random(low, high);
    rv_convert_from_f32(dtype, values, data, count);
    rv_convert_to_f32(dtype, data, values, count);
    if (stored != NULL)
        *stored = data;
    else
        g_free(data);
    return values;
}

const float *
ops_weight(OpsCase *c, const char *name, RvDType dtype, float low, float high, int rank, const gint64 *shape)
{
    CaseWeight *weight = g_new0(CaseWeight, 1);
    weight->name = g_strdup(name);
    weight->array = (RvArray) { .dtype = dtype, .rank = rank };
    memcpy(weight->array.shape, shape, sizeof *shape * (gsize)rank);
    gsize count = (gsize)rv_array_count(&weight->array);
    weight->values = random_values(count, dtype, low, high, &weight->data);
    weight->array.data = weight->data;
    g_ptr_array_add(c->weights, weight);
    return weight->values;
}

static CaseInput *
add_input(OpsCase *c, void *data, gsize bytes)
{
    CaseInput *input = g_new0(CaseInput, 1);
    input->name = g_strdup_printf("input%u", c->inputs->len);
    input->data = data;
    input->bytes = bytes;
    g_ptr_array_add(c->inputs, input);
    return input;
}

RvTensor
ops_input(OpsCase *c, RvShape shape, float low, float high, const float **values)
{
    return ops_input_slice(c, shape, 0, 0, low, high, values);
}

RvTensor
ops_input_slice(OpsCase *c, RvShape shape, int before, int after, float low, float high, const float **values)
{
    RvShape whole = shape;
    whole.c += before + after;
    gsize count = (gsize)rv_shape_count(whole);
    float *data = random_values(count, c->compute, low, high, NULL);
    CaseInput *input = add_input(c, data, count * sizeof(float));
    input->values = g_new(float, (gsize)rv_shape_count(shape));
    for (gint64 p = 0; p < rv_shape_pixels(shape); p++)
        memcpy(input->values + p * shape.c, data + p * whole.c + before, sizeof(float) * (gsize)shape.c);
    *values = input->values;
    RvTensor tensor = rv_input(c->program, input->name, RV_F32, whole);
    return before + after == 0 ? tensor : rv_slice(c->program, tensor, before, shape.c);
}

RvTensor
ops_input_values(OpsCase *c, RvDType dtype, RvShape shape, const void *values)
{
    gsize bytes = (gsize)rv_shape_count(shape) * rv_dtype_size(dtype);
    CaseInput *input = add_input(c, g_memdup2(values, bytes), bytes);
    return rv_input_exact(c->program, input->name, dtype, shape);
}

RvTensor
ops_copy(OpsCase *c, RvTensor x)
{
    return rv_convert(c->program, x, (RvConvert) { .dtype = c->compute });
}

static bool
compile_and_write(OpsCase *c, RvTensor out, GError **error)
{
    rv_output(c->program, "out", out);
    if (!rv_program_compile(c->program, error))
        return false;
    for (guint i = 0; i < c->inputs->len; i++) {
        const CaseInput *input = c->inputs->pdata[i];
        if (!rv_program_write(c->program, input->name, input->data, input->bytes, error))
            return false;
    }
    return true;
}

/* The slot "out" as it is: U8 when `size` is 1, else F32. */
static void *
run_once(OpsCase *c, gsize count, gsize size)
{
    GError *error = NULL;
    rv_program_run(c->program, &error);
    g_assert_no_error(error);
    void *result = g_malloc(count * size);
    rv_program_read(c->program, "out", result, count * size, &error);
    g_assert_no_error(error);
    return result;
}

/* Whether the slot "out" is U8 shows in the size that it takes. */
static gsize
output_size(OpsCase *c, gsize count)
{
    g_autofree guint8 *bytes = g_malloc(count);
    return rv_program_read(c->program, "out", bytes, count, NULL) ? 1 : sizeof(float);
}

float *
ops_result(OpsCase *c, RvTensor out)
{
    GError *error = NULL;
    if (!compile_and_write(c, out, &error))
        g_error("%s: %s", c->name, error->message);
    gsize count = (gsize)rv_shape_count(rv_shape(c->program, out)), size = output_size(c, count);
    g_autofree guint8 *guarded = run_once(c, count, size), *whole = run_once(c, count, size);
    if (memcmp(guarded, whole, count * size) != 0)
        g_error("%s: two runs differ", c->name);
    float *result = g_new(float, count);
    rv_convert_to_f32(size == 1 ? RV_U8 : RV_F32, whole, result, count);
    return result;
}

static double
bound_floor(RvDType compute)
{
    return compute == RV_F16 ? 4e-3 : compute == RV_BF16 ? 3e-2 : 0.0;
}

void
ops_check(OpsCase *c, RvTensor out, const double *want, double bound)
{
    ops_check_beyond(c, out, want, NULL, bound);
}

void
ops_check_beyond(OpsCase *c, RvTensor out, const double *want, const double *slack, double bound)
{
    g_autofree float *got = ops_result(c, out);
    gsize count = (gsize)rv_shape_count(rv_shape(c->program, out)), worst = 0;
    double squares = 0.0, worst_ratio = -1.0;
    for (gsize i = 0; i < count; i++)
        squares += isfinite(want[i]) ? want[i] * want[i] : 0.0;
    double rms = sqrt(squares / (double)count);
    for (gsize i = 0; i < count; i++) {
        double distance = fabs((double)got[i] - want[i]) - (slack != NULL ? slack[i] : 0.0);
        double ratio = MAX(distance, 0.0) / (fabs(want[i]) + rms + 1e-30);
        if (isnan(want[i]) || isinf(want[i]))
            ratio = isnan(want[i]) ? (isnan(got[i]) ? 0.0 : INFINITY)
                                   : ((double)got[i] == want[i] ? 0.0 : INFINITY);
        else if (!isfinite(got[i]))
            ratio = INFINITY;
        if (ratio > worst_ratio)
            worst_ratio = ratio, worst = i;
    }
    g_test_message("%s: error %.2g of %.2g", c->name, worst_ratio, bound);
    if (worst_ratio > MAX(bound, bound_floor(c->compute)))
        g_error("%s: element %zu of %zu is %.9g, not %.9g (error %.3g, bound %.3g)", c->name, worst, count,
                (double)got[worst], want[worst], worst_ratio, bound);
}

void
ops_check_fails(OpsCase *c, RvTensor out, RvError code, const char *text)
{
    g_autoptr(GError) error = NULL;
    bool ok = compile_and_write(c, out, &error) && rv_program_run(c->program, &error);
    if (ok)
        g_error("%s: no error", c->name);
    g_assert_error(error, RV_ERROR, (int)code);
    if (strstr(error->message, text) == NULL)
        g_error("%s: the error \"%s\" does not say \"%s\"", c->name, error->message, text);
}

typedef struct {
    double seconds, flops, bytes;
} Measured;

static double
moved_bytes(const RvOp *op)
{
    double bytes = (double)rv_shape_count(op->out.shape) * (double)rv_dtype_size(op->out.dtype);
    for (int i = 0; i < RV_OP_INPUTS; i++)
        if (op->in[i].data != NULL)
            bytes += (double)rv_shape_count(op->in[i].shape) * (double)rv_dtype_size(op->in[i].dtype);
    for (int i = 0; i < RV_OP_WEIGHTS; i++)
        if (op->weight[i].array.data != NULL && op->kind != RV_OP_EMBED)
            bytes += (double)rv_array_count(&op->weight[i].array) * sizeof(float);
    return bytes;
}

static void
on_op(const RvOp *op, double seconds, void *user)
{
    Measured *measured = user;
    bool is_copy = op->kind == RV_OP_CONVERT && op->in[0].dtype != RV_U8 && op->out.dtype != RV_U8;
    if (is_copy && op->convert.scale == 1.0f)
        return;
    measured->seconds += seconds;
    measured->flops += op->flops;
    measured->bytes += moved_bytes(op);
}

void
ops_bench(OpsCase *c, RvTensor out)
{
    GError *error = NULL;
    if (!compile_and_write(c, out, &error))
        g_error("%s: %s", c->name, error->message);
    Measured best = { .seconds = INFINITY };
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC / 2;
    for (int i = 0; i < 3 || (i < 1000 && g_get_monotonic_time() < end); i++) {
        Measured measured = { 0 };
        rv_device_set_observer(c->device, on_op, &measured);
        rv_program_run(c->program, &error);
        g_assert_no_error(error);
        if (measured.seconds < best.seconds)
            best = measured;
    }
    g_print("%-44s %9.3f ms %8.1f GFLOP/s %7.1f GB/s\n", c->name, best.seconds * 1e3,
            best.flops / best.seconds * 1e-9, best.bytes / best.seconds * 1e-9);
}
