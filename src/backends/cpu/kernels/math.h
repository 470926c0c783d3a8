/* math.h - exp and the activations as straight-line scalar code that gcc turns into vector code in any
 * loop (no table, no call, no branch). NaN stays NaN. tests/ops/test_elementwise.c holds the
 * activations to 1e-6 of the value plus 4e-7 * min(1, |x|), at listed points from 1e-6 to the far tails. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

/* e^x, exact range reduction (Cody and Waite) and a degree-6 polynomial; 0 below -103.97, inf above 88.73. */
static inline float
cpu_exp(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 88.8f ? 88.8f : x;
    float shifted = x * 0x1.715476p+0f + 0x1.8p+23f; /* the sum's low bits are round(x / ln 2) */
    float n = shifted - 0x1.8p+23f;
    float r = x - n * 0x1.62e400p-1f;
    r = r - n * 0x1.7f7d1cp-20f;
    float p = 0x1.6c16c2p-10f;
    p = p * r + 0x1.111112p-7f;
    p = p * r + 0x1.555556p-5f;
    p = p * r + 0x1.555556p-3f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    /* 2^n in two factors, so that both are normal numbers from n = -150 to 128 */
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    int32_t whole = bits - 0x4b400000;
    int32_t half = whole >> 1;
    uint32_t first_bits = (uint32_t)(half + 127) << 23, second_bits = (uint32_t)(whole - half + 127) << 23;
    float first, second;
    memcpy(&first, &first_bits, sizeof first);
    memcpy(&second, &second_bits, sizeof second);
    return p * first * second;
}

static inline float
cpu_silu(float x)
{
    return x / (1.0f + cpu_exp(-x));
}

static inline float
cpu_quick_gelu(float x)
{
    return x / (1.0f + cpu_exp(-1.702f * x));
}

/* x * Phi(x) with erfc by Abramowitz and Stegun 7.1.26 (absolute error 1.5e-7). */
static inline float
cpu_gelu(float x)
{
    float z = fabsf(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    float tail = 0.5f * p * t * cpu_exp(-z * z); /* Phi(-|x|) */
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

static inline float
cpu_tanh(float x)
{
    float square = x * x;
    float series = x * (1.0f + square * (-0.33333333f + square * (0.13333333f - square * 0.053968254f)));
    float e = cpu_exp(-2.0f * fabsf(x));
    float whole = copysignf((1.0f - e) / (1.0f + e), x);
    return square < 0.04f ? series : whole;
}

static inline float
cpu_tanh3(float x)
{
    return 3.0f * cpu_tanh(x * (1.0f / 3.0f));
}
