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
} Part;

/* g_test_init, after taking --device=NAME. First in main. */
void part_init(int *argc, char ***argv);
/* `path` below tests/data/reference: a model folder, a single file, or the folder of this part. */
Part *part_open(const char *path, RvPart part);
void part_close(Part *part);
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
