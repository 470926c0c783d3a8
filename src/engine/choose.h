/* choose.h - which device computes in which precision, from what the user asked for. */
#pragma once
#include "engine/engine.h"

typedef struct {
    RvDevice *device; /* the caller closes it */
    RvDType compute;
    bool is_gpu;
    bool is_fp8; /* compute is RV_F16, and layers that have a calibration may multiply 8-bit floats */
} RvChosen;

/* Opens the device; `turn`: as in RvDeviceOptions. "auto" is the first GPU when it can be used, else the CPU;
 * precision "auto" is fp16 on a GPU and fp32 on the CPU. */
bool rv_engine_choose(const RvEngineOptions *options, RvTurn turn, RvChosen *chosen, GError **error);
const char *rv_precision_name(RvDType compute); /* "fp32", "fp16", "bf16" */
