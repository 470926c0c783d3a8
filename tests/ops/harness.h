/* harness.h - one op, or a few, on a device against a float64 loop written in the test.
 *
 *     static void
 *     test_act(void)
 *     {
 *         OpsCase *c = ops_case_new("silu");
 *         RvShape shape = { 1, 3, 5, 7 };
 *         const float *x;
 *         RvTensor input = ops_input(c, shape, -4, 4, &x);
 *         g_autofree double *want = g_new(double, 105);
 *         for (int i = 0; i < 105; i++)
 *             want[i] = x[i] / (1 + exp(-x[i]));
 *         ops_check(c, rv_act(ops_program(c), input, RV_ACT_SILU), want, 1e-6);
 *         ops_case_free(c);
 *     }
 *
 * Programs run first op by op on a guarded copy of the back end (guard.h): outputs and workspaces hold
 * NaN before an op, and no byte of device memory may change but those. Then the whole program runs
 * once more, and must give the same bits. Command line: GTest's, and
 *     --device=NAME   what to test (devices.h); a GPU that is not there: skipped
 *     --threads=N     of the CPU
 *     --isa=NAME      use no more than this instruction set of the CPU: base, avx2, avx512
 *     --data-seed=N   of shapes and data; always the same without it
 *     --bench         run the benchmarks instead of the tests */
#pragma once
#include "tensor/program.h"

typedef struct OpsCase OpsCase;

void ops_init(int *argc, char ***argv);
void ops_add_test(const char *path, void (*test)(void));
void ops_add_bench(void (*bench)(void));
int ops_main(void); /* runs what was added; the program's exit status */

/* Integer in [low, high], number in [low, high). */
int ops_random_int(int low, int high);
float ops_random(float low, float high);
void ops_seed(guint64 seed); /* what follows is the same each time */

/* Of the devices of cases made from now on; 0 is the command line's choice. */
void ops_set_threads(int count);

/* The name and what follows is printed when the case fails. */
OpsCase *ops_case_new(const char *name_format, ...) G_GNUC_PRINTF(1, 2);
void ops_case_free(OpsCase *c);
RvProgram *ops_program(OpsCase *c);
RvDevice *ops_device(OpsCase *c);
RvWeightSet *ops_weights(OpsCase *c);
bool ops_is_gpu(void);
RvFp8 ops_fp8(void);             /* of calibrated layers */
RvDType ops_compute(OpsCase *c); /* the type of activations on the device */

/* A weight of uniform random numbers stored as `dtype` (F32, F16 or BF16) under `name`; returns the
 * values as stored. Lives as long as the case. */
const float *ops_weight(OpsCase *c, const char *name, RvDType dtype, float low, float high, int rank,
                        const gint64 *shape);
/* An input of uniform random numbers, *values as the device gets them (rounded to its compute type). */
RvTensor ops_input(OpsCase *c, RvShape shape, float low, float high, const float **values);
/* The same, as channels [before, before + shape.c) of a tensor with before + shape.c + after. */
RvTensor ops_input_slice(OpsCase *c, RvShape shape, int before, int after, float low, float high,
                         const float **values);
/* An input with values of the test's own, F32 (kept exact), I32 or U8; copied. */
RvTensor ops_input_values(OpsCase *c, RvDType dtype, RvShape shape, const void *values);
/* A copy in scratch memory, so that the op that reads it may run in place. */
RvTensor ops_copy(OpsCase *c, RvTensor x);

/* Compiles, runs, and holds each element to |got - want| <= bound * (|want| + rms of all want); a
 * half-precision device has a floor on the bound. NaN and infinities must match. Once for each case. */
void ops_check(OpsCase *c, RvTensor out, const double *want, double bound);
/* The same beyond slack[i], which element i may be away in any case. */
void ops_check_beyond(OpsCase *c, RvTensor out, const double *want, const double *slack, double bound);
/* Compiles, runs and returns the result as float32; the caller frees. For claims of the test's own. */
float *ops_result(OpsCase *c, RvTensor out);
/* Compiling or running fails with this code and a text that holds `text`. */
void ops_check_fails(OpsCase *c, RvTensor out, RvError code, const char *text);
/* Prints time, GFLOP/s and GB/s (operands moved once) of the program's ops, copies aside. */
void ops_bench(OpsCase *c, RvTensor out);
