/* activation.cuh - RvAct of tensor/op.h, which is a C header, on one number. */
#pragma once
#include <math.h>

enum { ACT_NONE = 0, ACT_SILU, ACT_GELU, ACT_QUICK_GELU, ACT_RELU, ACT_TANH3 };

/* x / (1 + e^-kx). The fast form is good to about 1e-6 of the result, far below a half float's spacing. */
static __device__ __forceinline__ float
sigmoid_times(float x, float k, bool is_exact)
{
    return is_exact ? x / (1.0f + expf(-k * x)) : __fdividef(x, 1.0f + __expf(-k * x));
}

/* The complement of the error function for the fast form: Abramowitz and Stegun, 7.1.26, absolute
 * error 1.5e-7. */
static __device__ __forceinline__ float
gelu(float x, bool is_exact)
{
    if (is_exact)
        return 0.5f * x * erfcf(-0.70710678f * x);
    float z = fabsf(x) * 0.70710678f, t = __fdividef(1.0f, 1.0f + 0.3275911f * z);
    float sum = 1.061405429f;
    sum = sum * t - 1.453152027f;
    sum = sum * t + 1.421413741f;
    sum = sum * t - 0.284496736f;
    sum = sum * t + 0.254829592f;
    float half_erfc = 0.5f * sum * t * __expf(-z * z);
    return x * (x > 0.0f ? 1.0f - half_erfc : half_erfc);
}

static __device__ __forceinline__ float
activate(float x, int act, bool is_exact)
{
    switch (act) {
    case ACT_SILU:
        return sigmoid_times(x, 1.0f, is_exact);
    case ACT_GELU:
        return gelu(x, is_exact);
    case ACT_QUICK_GELU:
        return sigmoid_times(x, 1.702f, is_exact);
    case ACT_RELU:
        return x < 0.0f ? 0.0f : x; /* NaN stays */
    case ACT_TANH3:
        return 3.0f * tanhf(x * (1.0f / 3.0f));
    default:
        return x;
    }
}

/* Not repeated for every number of a vector: for kernels that mostly have no activation, or SiLU. */
static __device__ __noinline__ float
activate_rarely(float x, int act, bool is_exact)
{
    return activate(x, act, is_exact);
}

template <int V>
static __device__ __forceinline__ void
activate_vector(float x[V], int act, bool is_exact)
{
    if (act == ACT_SILU && !is_exact) {
#pragma unroll
        for (int i = 0; i < V; i++)
            x[i] = sigmoid_times(x[i], 1.0f, false);
    } else if (act != ACT_NONE) {
#pragma unroll
        for (int i = 0; i < V; i++)
            x[i] = activate_rarely(x[i], act, is_exact);
    }
}
