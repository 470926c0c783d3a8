/* fast_math.cuh - what the special function unit makes by itself: two units in the last place, numbers below
 * float32's normal ones are 0. */
#pragma once

static __device__ __forceinline__ float
power_of_two(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

static __device__ __forceinline__ float
reciprocal(float x)
{
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
