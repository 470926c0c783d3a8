/* devices.h - the devices that ops and model parts are tested on, by name: "cpu", "cuda-f16", "cuda-bf16",
 * "cuda-f32". */
#pragma once
#include "tensor/backend.h"

typedef struct {
    const char *name;
    const RvBackend *backend;
    RvDType compute;
} TestDevice;

/* Aborts when there is no device of that name. Where it cannot be opened, a GPU's test says so in TAP and
 * ends the process as skipped. */
TestDevice test_device(const char *name);
