/* devices.h - the devices that ops and model parts are tested on, by name: "cpu", "cuda-f16", "cuda-bf16",
 * "cuda-f32", "cuda-f8" (float16; layers that a test calibrates multiply 8-bit floats, their weights with one
 * scale), "cuda-f8-each" (with one for each output). */
#pragma once
#include "tensor/backend.h"

typedef struct {
    const char *name;
    const RvBackend *backend;
    RvDType compute;
    RvFp8 fp8;
} TestDevice;

/* Aborts when there is no device of that name. Where it cannot be opened, a GPU's test says so in TAP and
 * ends the process as skipped. */
TestDevice test_device(const char *name);
