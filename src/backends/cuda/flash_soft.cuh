/* flash_soft.cuh - the softmax of flash attention in the registers of a warpgroup: weights are powers of two
 * of scores relative to a base of their row, which only follows the row's largest score when that has grown
 * too far, and are rounded to F16, the same numbers in the weighted sum and in what it is divided by. */
#pragma once
#include "backends/cuda/flash_head.cuh"

#if ON_HOPPER

#define SOFT_HIGHEST 15.0f /* exponents of weights stay below this ... */
#define SOFT_FRESH 4.0f    /* ... and the largest one has this when its row's base is set */

/* Of the two rows of a thread. */
struct SoftRows {
    float base[2]; /* the score that stands for a weight of 1 */
    float shrink[2];
    uint32_t bias[2]; /* less the base: two F16 numbers */
};

/* The largest of a and two floats' bits, which for positive numbers are ordered as the numbers. */
static __device__ __forceinline__ int
bits_max3(int a, float x, float y)
{
    int largest;
    asm("{\n.reg .s32 u, v;\nmov.b32 u, %2;\nmov.b32 v, %3;\nmax.s32 u, u, v;\nmax.s32 %0, u, %1;\n}"
        : "=r"(largest)
        : "r"(a), "f"(x), "f"(y));
    return largest;
}

/* Powers of two of 32 * part * a and b, exponents below 16, as two F16 numbers, without the special function
 * unit: sum and clamp make fixed-point numbers of 10 bits behind the point, whose halves are an F16 number's
 * exponent and a line for its fraction; the fraction is replaced by a cubic, exact at 0. */
static __device__ __forceinline__ uint32_t
powers_by_cubic(float a, float b, float part)
{
    float x, y;
    asm("fma.rn.sat.f32 %0, %1, %2, %3;" : "=f"(x) : "f"(a), "f"(part), "f"(15.0f / 32.0f));
    asm("fma.rn.sat.f32 %0, %1, %2, %3;" : "=f"(y) : "f"(b), "f"(part), "f"(15.0f / 32.0f));
    uint32_t line = __byte_perm(__float_as_uint(x + 256.0f), __float_as_uint(y + 256.0f), 0x5410);
    uint32_t one = (line & 0x03ff03ffu) | 0x3c003c00u;
    __half2 m = *(__half2 *)&one;
    __half2 c = __hfma2(m, __float2half2_rn(0.07897949219f), __float2half2_rn(-0.01222229004f));
    c = __hfma2(m, c, __float2half2_rn(0.4838867188f));
    c = __hfma2(m, c, __float2half2_rn(0.44921875f));
    return *(uint32_t *)&c + line - one;
}

/* Two eighths of the pairs go that way, spread over rows and columns. */
static __device__ constexpr bool
is_by_cubic(int k, int j)
{
    return (k * 4 + j + k / 2) * 2 % 8 < 2;
}

/* Scores: times scale less the base when IS_RAW, so that they are exponents; else less the base already, by
 * the product that made them, and exponents when they are multiplied by `scale`. Whether any row of the warp
 * got another base, to which `shrink` takes earlier sums. */
template <bool IS_RAW>
static __device__ __forceinline__ bool
settle(SoftRows &rows, float (&s)[KEYS / 2], float scale, bool is_first)
{
    float unit = IS_RAW ? 1.0f : 1.0f / scale, highest = SOFT_HIGHEST * unit;
    int top[4] = { 0, 0, 0, 0 }; /* short chains */
#pragma unroll
    for (int i = 0; i < KEYS / 2; i += 2) {
        if (IS_RAW) {
            s[i] = fmaf(s[i], scale, -rows.base[i / 2 % 2]);
            s[i + 1] = fmaf(s[i + 1], scale, -rows.base[i / 2 % 2]);
        }
        top[i / 2 % 4] = bits_max3(top[i / 2 % 4], s[i], s[i + 1]);
    }
    bool is_settled = max(max(top[0], top[1]), max(top[2], top[3])) <= __float_as_int(highest) && !is_first;
    if (__all_sync(~0u, is_settled))
        return false;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        float largest = -INFINITY, rise = 0.0f;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            largest = fmaxf(largest, fmaxf(s[j * 4 + half * 2], s[j * 4 + half * 2 + 1]));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, 2));
        if (is_first || largest > highest)
            rise = largest - SOFT_FRESH * unit;
        float base = rows.base[half] + rise;
        if (!IS_RAW) {
            __half high = __float2half_rn(-base);
            __half low = __float2half_rn(-base - __half2float(high));
            base = -(__half2float(high) + __half2float(low));
            rows.bias[half] = (uint32_t)__half_as_ushort(low) << 16 | __half_as_ushort(high);
        }
        rise = base - rows.base[half];
        rows.shrink[half] = is_first ? 0.0f : power_of_two(-rise * (IS_RAW ? 1.0f : scale));
        rows.base[half] = base;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++) {
            s[j * 4 + half * 2] -= rise;
            s[j * 4 + half * 2 + 1] -= rise;
        }
    }
    return true;
}

/* p: the weights as the left side of products. */
template <bool IS_RAW>
static __device__ __forceinline__ void
weights(uint32_t (&p)[KEYS / 16][4], const float (&s)[KEYS / 2], float scale)
{
#pragma unroll
    for (int k = 0; k < KEYS / 16; k++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            float a = s[k * 8 + j * 2], b = s[k * 8 + j * 2 + 1];
            if (is_by_cubic(k, j))
                p[k][j] = powers_by_cubic(a, b, IS_RAW ? 1.0f / 32.0f : scale / 32.0f);
            else if (IS_RAW)
                p[k][j] = Pair<__half>::pack(power_of_two(a), power_of_two(b));
            else
                p[k][j] = Pair<__half>::pack(power_of_two(a * scale), power_of_two(b * scale));
        }
}

#endif /* ON_HOPPER */
