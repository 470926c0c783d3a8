/* activate.h - the activation of an op as an expression inside vectorised loops. */
#pragma once
#include "backends/cpu/kernels/math.h"
#include "tensor/op.h"

/* A kind of RvAct that is missing here or in SWITCH_ACT does not compile.
 * `act` must be a constant where it is inlined (SWITCH_ACT), or the loop keeps a switch. */
static inline __attribute__((always_inline)) float
activate(RvAct act, float x)
{
    switch (act) {
    case RV_ACT_SILU:
        return cpu_silu(x);
    case RV_ACT_GELU:
        return cpu_gelu(x);
    case RV_ACT_QUICK_GELU:
        return cpu_quick_gelu(x);
    case RV_ACT_RELU:
        return x < 0.0f ? 0.0f : x;
    case RV_ACT_TANH3:
        return cpu_tanh3(x);
    case RV_ACT_NONE:
        break;
    }
    return x;
}

/* Calls CALL(act) with `act` a constant, so that the loop inside CALL has no switch. */
#define SWITCH_ACT(act, CALL)    \
    switch (act) {               \
    case RV_ACT_SILU:            \
        CALL(RV_ACT_SILU);       \
        break;                   \
    case RV_ACT_GELU:            \
        CALL(RV_ACT_GELU);       \
        break;                   \
    case RV_ACT_QUICK_GELU:      \
        CALL(RV_ACT_QUICK_GELU); \
        break;                   \
    case RV_ACT_RELU:            \
        CALL(RV_ACT_RELU);       \
        break;                   \
    case RV_ACT_TANH3:           \
        CALL(RV_ACT_TANH3);      \
        break;                   \
    case RV_ACT_NONE:            \
        CALL(RV_ACT_NONE);       \
    }
