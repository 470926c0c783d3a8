#include "part.h"
#include "devices.h"
#include <math.h>
#include <string.h>

/* What a half-precision device may differ by: twice the worst of these models on an H200, and eight times
 * that for the three bits fewer of bfloat16. */
typedef struct {
    RvDType compute;
    double bound;
} Bound;

static const Bound bounds[] = { { RV_F32, PART_TOLERANCE }, { RV_F16, 6e-3 }, { RV_BF16, 5e-2 } };
/* 8-bit floats in all layers that can be, most of them linear: when the CPU multiplied such numbers instead,
 * the worst of these models was 0.13 away (norm), 0.15 (largest). */
#define F8_BOUND 0.2
#define CALIBRATION "test-reference"
static TestDevice device;

void
part_init(int *argc, char ***argv)
{
    const char *name = "cpu";
    int kept = 1;
    for (int i = 1; i < *argc; i++)
        if (g_str_has_prefix((*argv)[i], "--device="))
            name = strchr((*argv)[i], '=') + 1;
        else
            (*argv)[kept++] = (*argv)[i];
    (*argv)[kept] = NULL;
    *argc = kept;
    g_test_init(argc, argv, NULL);
    device = test_device(name);
}

bool
part_is_f8(void)
{
    return device.fp8 != RV_FP8_NONE;
}

static double
part_bound(void)
{
    if (part_is_f8())
        return F8_BOUND;
    for (gsize i = 0; i < G_N_ELEMENTS(bounds); i++)
        if (bounds[i].compute == device.compute)
            return bounds[i].bound;
    return 0.0;
}

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    const Part *part = self;
    return rv_model_get(part->model, part->which, name, rank, shape, out, error);
}

static void
on_op(const RvOp *op, double seconds, void *user)
{
    Part *part = user;
    part->f8_layers += (op->kind == RV_OP_LINEAR || op->kind == RV_OP_CONV2D) && op->factors == RV_F8_E4M3;
}

static void
open_weights(Part *part)
{
    part->weights = rv_weight_set_new(part->device, (RvWeightSource) { .find = find, .self = part });
    if (part_is_f8())
        rv_weight_set_set_calibration(part->weights, CALIBRATION);
}

static void
calibrate(Part *part, RvCalibrationStep step)
{
    GError *error = NULL;
    rv_device_calibrate(part->device, CALIBRATION, step, NULL, &error);
    g_assert_no_error(error);
}

void
part_calibrate(Part *part, void (*run)(Part *part, gconstpointer user), gconstpointer user)
{
    calibrate(part, RV_CALIBRATION_START);
    run(part, user);
    calibrate(part, RV_CALIBRATION_STOP);
    rv_weight_set_free(part->weights);
    open_weights(part);
}

void
part_count_f8(Part *part)
{
    rv_device_set_observer(part->device, on_op, part);
}

Part *
part_open(const char *path, RvPart which)
{
    GError *error = NULL;
    g_autofree char *relative = g_build_filename("reference", path, NULL);
    g_autofree char *full = golden_path(relative);
    Part *part = g_new0(Part, 1);
    part->which = which;
    g_autofree char *index = g_build_filename(full, "model_index.json", NULL);
    if (g_str_has_suffix(path, ".safetensors") || g_file_test(index, G_FILE_TEST_EXISTS))
        part->model = rv_model_open(full, NULL, &error);
    else
        part->model = rv_model_open_part(full, which, &error);
    g_assert_no_error(error);
    part->device = rv_device_open(
        device.backend, &(RvDeviceOptions) { .compute = device.compute, .threads = 2, .fp8 = device.fp8 },
        &error);
    g_assert_no_error(error);
    open_weights(part);
    return part;
}

void
part_close(Part *part)
{
    rv_weight_set_free(part->weights);
    rv_device_close(part->device);
    rv_model_close(part->model);
    g_free(part);
}

Golden *
part_golden(const char *model)
{
    g_autofree char *relative = g_build_filename("reference", model, "golden.safetensors", NULL);
    g_autofree char *path = golden_path(relative);
    return golden_open(path);
}

static RvShape
shape_of(Golden *golden, const char *name)
{
    RvArray a = golden_array(golden, name);
    const gint64 *s = a.shape;
    switch (a.rank) {
    case 1:
        return (RvShape) { (int)s[0], 1, 1, 1 };
    case 2:
        return (RvShape) { (int)s[0], 1, 1, (int)s[1] };
    case 3:
        return (RvShape) { (int)s[0], 1, (int)s[1], (int)s[2] };
    case 4:
        return (RvShape) { (int)s[0], (int)s[2], (int)s[3], (int)s[1] };
    default:
        g_error("%s has rank %d", name, a.rank);
    }
}

/* NCHW to NHWC; everything but pictures is the same in both. */
static float *
to_nhwc(Golden *golden, const char *name, float scale)
{
    const RvShape s = shape_of(golden, name);
    const float *from = golden_get(golden, name, NULL, NULL);
    const bool is_picture = golden_array(golden, name).rank == 4;
    const gsize pixels = (gsize)s.h * (gsize)s.w, channels = (gsize)s.c;
    float *to = g_new(float, (gsize)rv_shape_count(s));
    for (gsize n = 0; n < (gsize)s.n; n++)
        for (gsize i = 0; i < pixels; i++)
            for (gsize c = 0; c < channels; c++) {
                gsize source = is_picture ? c * pixels + i : i * channels + c;
                to[n * pixels * channels + i * channels + c] = scale * from[n * pixels * channels + source];
            }
    return to;
}

RvTensor
part_input(RvProgram *p, Golden *golden, const char *name)
{
    return rv_input(p, name, RV_F32, shape_of(golden, name));
}

RvTensor
part_input_tokens(RvProgram *p, Golden *golden, const char *name)
{
    RvShape s = shape_of(golden, name);
    s.w = s.c, s.c = 1;
    RvDType dtype = golden_array(golden, name).dtype == RV_I32 ? RV_I32 : RV_F32;
    return rv_input_exact(p, name, dtype, s);
}

void
part_compile(RvProgram *p)
{
    GError *error = NULL;
    rv_program_compile(p, &error);
    g_assert_no_error(error);
}

void
part_run(RvProgram *p)
{
    GError *error = NULL;
    rv_program_run(p, &error);
    g_assert_no_error(error);
}

static void
write_bytes(RvProgram *p, const char *slot, const void *data, gsize bytes)
{
    GError *error = NULL;
    rv_program_write(p, slot, data, bytes, &error);
    g_assert_no_error(error);
}

void
part_write(RvProgram *p, Golden *golden, const char *name)
{
    RvArray a = golden_array(golden, name);
    gsize count = (gsize)rv_array_count(&a);
    if (a.dtype == RV_I32) {
        write_bytes(p, name, a.data, count * sizeof(gint32));
        return;
    }
    g_autofree float *values = to_nhwc(golden, name, 1.0f);
    write_bytes(p, name, values, count * sizeof(float));
}

void
part_write_floats(RvProgram *p, const char *slot, const float *values, gsize count)
{
    write_bytes(p, slot, values, count * sizeof(float));
}

void
part_compare(RvProgram *p, Golden *golden, const char *name, float scale)
{
    GError *error = NULL;
    gsize count = (gsize)rv_shape_count(shape_of(golden, name));
    g_autofree float *want = to_nhwc(golden, name, scale);
    g_autofree float *got = g_new0(float, count);
    rv_program_read(p, name, got, count * sizeof(float), &error);
    g_assert_no_error(error);
    double square = 0.0, reference = 0.0;
    for (gsize i = 0; i < count; i++) {
        square += pow((double)got[i] - (double)want[i], 2.0);
        reference += pow((double)want[i], 2.0);
    }
    double norm = sqrt(square / reference), largest = golden_relative_difference(got, want, count);
    g_test_message("%s: relative difference %.2g (norm), %.2g (largest)", name, norm, largest);
    g_assert_cmpfloat(norm, <=, part_bound()); /* a NaN fails */
    g_assert_cmpfloat(largest, <=, part_bound());
}
