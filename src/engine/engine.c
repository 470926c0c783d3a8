#include "engine/engine.h"

#include "engine/choose.h"
#include "engine/source.h"

struct RvEngine {
    RvDevice *device;
    bool is_gpu, is_fp8;
    char *precision;
    const int *cancel;
    RvTurns *turns;
    bool has_turn;
};

static bool
begin_run(void *user)
{
    RvEngine *engine = user;
    return rv_turns_begin_step(engine->turns, engine->cancel);
}

static void
end_run(void *user)
{
    RvEngine *engine = user;
    rv_turns_end_step(engine->turns);
}

RvEngine *
rv_engine_open(const RvEngineOptions *options, GError **error)
{
    RvChosen chosen;
    RvEngine *engine = g_new0(RvEngine, 1);
    RvTurn turn = { begin_run, end_run, engine };
    if (!rv_engine_choose(options, options->turns != NULL ? turn : (RvTurn) { 0 }, &chosen, error)) {
        g_free(engine);
        return NULL;
    }
    rv_device_set_cancel(chosen.device, options->cancel);
    engine->device = chosen.device;
    engine->is_gpu = chosen.is_gpu;
    engine->precision = g_strdup(chosen.is_fp8 ? "fp8" : rv_precision_name(chosen.compute));
    engine->is_fp8 = chosen.is_fp8;
    engine->cancel = options->cancel;
    engine->turns = options->turns;
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

bool
rv_engine_is_fp8(const RvEngine *engine)
{
    return engine->is_fp8;
}

const int *
rv_engine_cancel(const RvEngine *engine)
{
    return engine->cancel;
}

static bool
cancelled(GError **error)
{
    return rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
}

static bool
is_cancelled(const RvEngine *engine, GError **error)
{
    return engine->cancel != NULL && g_atomic_int_get(engine->cancel) != 0 && !cancelled(error);
}

bool
rv_engine_begin_turn(RvEngine *engine, GError **error)
{
    if (engine->is_gpu)
        return !is_cancelled(engine, error);
    engine->has_turn = rv_turns_begin_step(engine->turns, engine->cancel);
    return engine->has_turn || cancelled(error);
}

void
rv_engine_end_turn(RvEngine *engine)
{
    if (engine->has_turn)
        rv_turns_end_step(engine->turns);
    engine->has_turn = false;
}

bool
rv_engine_pause(RvEngine *engine, GError **error)
{
    if (engine->has_turn && engine->turns != NULL) {
        rv_engine_end_turn(engine);
        return rv_engine_begin_turn(engine, error);
    }
    return !is_cancelled(engine, error);
}

#define CPU_RUNS 6
#define GPU_RUNS 40 /* its clock rises with work */
/* Large enough that the device, not what it takes to ask it, sets the time. */
#define CPU_MATRIX 2048
#define GPU_MATRIX 8192
/* Numbers drawn before they repeat; a prime, so that no two rows are alike. */
#define PATTERN 1000003
#define CPU_COPY ((gsize)256 << 20)
#define GPU_COPY ((gsize)1 << 30)

typedef struct {
    RvOpKind kind;
    double seconds;
} Timed;

static void
on_op(const RvOp *op, double seconds, void *user)
{
    Timed *timed = user;
    if (op->kind == timed->kind)
        timed->seconds += seconds;
}

/* The shortest time that ops of this kind take in a run. */
static double
fastest_run(RvEngine *engine, RvProgram *program, RvOpKind kind, GError **error)
{
    double best = 0.0;
    for (int i = 0; i < (engine->is_gpu ? GPU_RUNS : CPU_RUNS); i++) {
        Timed timed = { .kind = kind };
        rv_device_set_observer(engine->device, on_op, &timed);
        bool ok = rv_program_run(program, error);
        rv_device_set_observer(engine->device, NULL, NULL);
        if (!ok)
            return 0.0;
        best = i == 0 ? timed.seconds : MIN(best, timed.seconds);
    }
    return best;
}

static bool
measure_matmul(RvEngine *engine, RvWeightSet *set, double *flops, GError **error)
{
    RvProgram *p = rv_program_new(set);
    int size = engine->is_gpu ? GPU_MATRIX : CPU_MATRIX;
    RvShape shape = { 1, 1, size, size };
    rv_output(p, "y",
              rv_linear(p, rv_input(p, "x", RV_F32, shape), "ceiling",
                        (RvLinear) { .out = size, .no_bias = true }));
    g_autofree float *x = g_new(float, (gsize)rv_shape_count(shape));
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    for (gint64 i = 0; i < rv_shape_count(shape); i++)
        x[i] = i < PATTERN ? (float)g_rand_double_range(rand, -1.0, 1.0) : x[i % PATTERN];
    double seconds = 0.0;
    if (rv_program_compile(p, error) &&
        rv_program_write(p, "x", x, (gsize)rv_shape_count(shape) * sizeof *x, error))
        seconds = fastest_run(engine, p, RV_OP_LINEAR, error);
    *flops = seconds > 0.0 ? rv_program_flops(p) / seconds : 0.0;
    rv_program_free(p);
    return seconds > 0.0;
}

static bool
measure_copy(RvEngine *engine, RvWeightSet *set, double *rate, GError **error)
{
    RvProgram *p = rv_program_new(set);
    gsize bytes = engine->is_gpu ? GPU_COPY : CPU_COPY;
    RvShape shape = { 1, 1024, 1024, (int)(bytes / sizeof(float) >> 20) };
    rv_output(p, "y", rv_convert(p, rv_input_exact(p, "x", RV_F32, shape), (RvConvert) { .dtype = RV_F32 }));
    g_autofree float *x = g_new0(float, bytes / sizeof(float));
    double seconds = 0.0;
    if (rv_program_compile(p, error) && rv_program_write(p, "x", x, bytes, error))
        seconds = fastest_run(engine, p, RV_OP_CONVERT, error);
    *rate = seconds > 0.0 ? 2.0 * (double)bytes / seconds : 0.0;
    rv_program_free(p);
    return seconds > 0.0;
}

bool
rv_engine_measure_ceilings(RvEngine *engine, RvCeilings *ceilings, GError **error)
{
    RvRandomSource *random = rv_random_source_new(1);
    RvWeightSet *set = rv_weight_set_new(engine->device, rv_random_source_weights(random));
    bool ok = measure_matmul(engine, set, &ceilings->matmul_flops, error) &&
              measure_copy(engine, set, &ceilings->copy_bytes, error);
    rv_weight_set_free(set);
    rv_random_source_free(random);
    return ok;
}
