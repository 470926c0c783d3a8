#include "engine/engine.h"

#include <string.h>

#include "backends/cpu/cpu.h"
#include "engine/source.h"

struct RvEngine {
    RvDevice *device;
    char *precision;
    const int *cancel;
};

static bool
choose_backend(const RvEngineOptions *options, const RvBackend **backend, RvDeviceOptions *device,
               GError **error)
{
    const char *name = options->device == NULL ? "auto" : options->device;
    if (strcmp(name, "auto") == 0 || strcmp(name, "cpu") == 0) {
        *backend = &rv_cpu_backend;
        return true;
    }
    if (g_str_has_prefix(name, "cuda"))
        return rv_error_set(error, RV_ERROR_DEVICE, name, "use --device cpu",
                            "this build has no CUDA back end");
    return rv_error_set(error, RV_ERROR_USAGE, name, "use auto, cpu or cuda[:NUMBER]",
                        "there is no device of that name");
}

static bool
choose_precision(const RvEngineOptions *options, const RvBackend *backend, RvDeviceOptions *device,
                 GError **error)
{
    const char *name = options->precision == NULL ? "auto" : options->precision;
    if (strcmp(name, "auto") == 0 || strcmp(name, "fp32") == 0)
        device->compute = RV_F32;
    else if (strcmp(name, "fp16") == 0 || strcmp(name, "bf16") == 0 || strcmp(name, "fp8") == 0)
        return rv_error_set(error, RV_ERROR_DEVICE, backend->name, "use --precision fp32 or auto",
                            "this device computes in fp32 only, not %s", name);
    else
        return rv_error_set(error, RV_ERROR_USAGE, name, "use auto, fp32, fp16, bf16 or fp8",
                            "there is no precision of that name");
    return true;
}

RvEngine *
rv_engine_open(const RvEngineOptions *options, GError **error)
{
    RvDeviceOptions device_options = { .threads = options->threads };
    const RvBackend *backend = NULL;
    if (!choose_backend(options, &backend, &device_options, error) ||
        !choose_precision(options, backend, &device_options, error))
        return NULL;
    RvDevice *device = rv_device_open(backend, &device_options, error);
    if (device == NULL)
        return NULL;
    rv_device_set_cancel(device, options->cancel);
    RvEngine *engine = g_new0(RvEngine, 1);
    engine->device = device;
    engine->precision = g_strdup("fp32");
    engine->cancel = options->cancel;
    return engine;
}

void
rv_engine_close(RvEngine *engine)
{
    if (engine == NULL)
        return;
    rv_device_close(engine->device);
    g_free(engine->precision);
    g_free(engine);
}

RvDevice *
rv_engine_device(RvEngine *engine)
{
    return engine->device;
}

const char *
rv_engine_precision(const RvEngine *engine)
{
    return engine->precision;
}

const int *
rv_engine_cancel(const RvEngine *engine)
{
    return engine->cancel;
}

bool
rv_engine_check_cancel(const RvEngine *engine, GError **error)
{
    if (engine->cancel != NULL && g_atomic_int_get(engine->cancel) != 0)
        return rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
    return true;
}

#define CEILING_SIZE 2048
#define CEILING_RUNS 6
#define COPY_BYTES ((gsize)256 << 20)

static double
fastest_run(RvProgram *program, GError **error)
{
    double best = 0.0;
    for (int i = 0; i < CEILING_RUNS; i++) {
        gint64 start = g_get_monotonic_time();
        if (!rv_program_run(program, error))
            return 0.0;
        double seconds = (double)(g_get_monotonic_time() - start) * 1e-6;
        best = i == 0 ? seconds : MIN(best, seconds);
    }
    return best;
}

static bool
measure_matmul(RvEngine *engine, RvWeightSet *set, double *flops, GError **error)
{
    RvProgram *p = rv_program_new(set);
    RvShape shape = { 1, 1, CEILING_SIZE, CEILING_SIZE };
    rv_output(p, "y",
              rv_linear(p, rv_input(p, "x", RV_F32, shape), "ceiling",
                        (RvLinear) { .out = CEILING_SIZE, .no_bias = true }));
    g_autofree float *x = g_new(float, (gsize)rv_shape_count(shape));
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        x[i] = (float)g_rand_double_range(rand, -1.0, 1.0);
    double seconds = 0.0;
    if (rv_program_compile(p, error) &&
        rv_program_write(p, "x", x, (gsize)rv_shape_count(shape) * sizeof *x, error))
        seconds = fastest_run(p, error);
    *flops = seconds > 0.0 ? rv_program_flops(p) / seconds : 0.0;
    rv_program_free(p);
    return seconds > 0.0;
}

static bool
measure_copy(RvWeightSet *set, double *bytes, GError **error)
{
    RvProgram *p = rv_program_new(set);
    RvShape shape = { 1, 1024, 1024, (int)(COPY_BYTES / sizeof(float) >> 20) };
    rv_output(p, "y", rv_convert(p, rv_input(p, "x", RV_F32, shape), (RvConvert) { .dtype = RV_F32 }));
    g_autofree float *x = g_new0(float, COPY_BYTES / sizeof(float));
    double seconds = 0.0;
    if (rv_program_compile(p, error) && rv_program_write(p, "x", x, COPY_BYTES, error))
        seconds = fastest_run(p, error);
    *bytes = seconds > 0.0 ? 2.0 * (double)COPY_BYTES / seconds : 0.0;
    rv_program_free(p);
    return seconds > 0.0;
}

bool
rv_engine_measure_ceilings(RvEngine *engine, RvCeilings *ceilings, GError **error)
{
    RvRandomSource *random = rv_random_source_new(1);
    RvWeightSet *set = rv_weight_set_new(engine->device, rv_random_source_weights(random));
    bool ok = measure_matmul(engine, set, &ceilings->matmul_flops, error) &&
              measure_copy(set, &ceilings->copy_bytes, error);
    rv_weight_set_free(set);
    rv_random_source_free(random);
    return ok;
}
