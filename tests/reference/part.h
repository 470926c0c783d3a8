/* part.h - one part of a reference model on a device (--device=NAME of
 * devices.h, the CPU without it), and comparison with what diffusers computed. */
#pragma once
#include "golden.h"
#include "tensor/program.h"
#include "weights/model.h"

/* "within 1e-4 relative" in float32, both of the norm and of the largest element */
#define PART_TOLERANCE 1e-4

typedef struct {
    RvModel *model;
    RvPart which;
    RvDevice *device;
    RvWeightSet *weights;
    int f8_layers; /* of the runs since part_count_f8: those that multiplied 8-bit floats */
} Part;

/* g_test_init, after taking --device=NAME. First in main. */
void part_init(int *argc, char ***argv);
/* `path` below tests/data/reference: a model folder, a single file, or the folder of this part. */
Part *part_open(const char *path, RvPart part);
void part_close(Part *part);
/* Whether layers multiply 8-bit floats once part_calibrate has seen them run. */
bool part_is_f8(void);
/* Runs once to see how large the layers' inputs get; its programs are gone when it returns. The part's
 * weights are made anew. */
void part_calibrate(Part *part, void (*run)(Part *part, gconstpointer user), gconstpointer user);
/* Runs go op by op from now on, and layers in 8-bit floats are counted. */
void part_count_f8(Part *part);
/* golden.safetensors of a model folder below tests/data/reference. */
Golden *part_golden(const char *model);

/* An F32 input slot shaped like a golden tensor: NCHW becomes [n,h,w,c], [n,t,c] becomes [n,1,t,c],
 * [n,c] becomes [n,1,1,c]. The slot has the tensor's name. */
RvTensor part_input(RvProgram *program, Golden *golden, const char *name);
/* The same for numbers of which each is a token, [n,t] -> F32 or I32 [n,1,t,1]. */
RvTensor part_input_tokens(RvProgram *program, Golden *golden, const char *name);

void part_compile(RvProgram *program);
void part_run(RvProgram *program);
/* Fills a slot that part_input or part_input_tokens made. */
void part_write(RvProgram *program, Golden *golden, const char *name);
void part_write_floats(RvProgram *program, const char *slot, const float *values, gsize count);
/* Reads output `name` (named as the golden tensor), prints both relative differences and fails if
 * either exceeds PART_TOLERANCE (a half-precision device: part.c). The golden numbers are multiplied by
 * `scale` first. */
void part_compare(RvProgram *program, Golden *golden, const char *name, float scale);
