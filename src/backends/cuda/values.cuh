/* values.cuh - numbers of any type as floats, eight at a time where addresses allow. The type is an argument,
 * the same for all threads: a branch that costs nothing beside a memory access, and no kernel exists four
 * times. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <stdint.h>

/* RvDType of base/array.h, which is a C header. */
enum { F32 = 0, F16 = 1, BF16 = 2, F8_E4M3 = 3, F64 = 4, U8 = 7 };

static __device__ __forceinline__ float
load_value(const void *from, int type, int64_t i)
{
    switch (type) {
    case F16:
        return __half2float(((const __half *)from)[i]);
    case BF16:
        return __bfloat162float(((const __nv_bfloat16 *)from)[i]);
    case U8:
        return (float)((const uint8_t *)from)[i];
    case F64:
        return (float)((const double *)from)[i];
    case F8_E4M3:
        return (float)((const __nv_fp8_e4m3 *)from)[i];
    default:
        return ((const float *)from)[i];
    }
}

/* Rounds half to even and saturates; NaN becomes 0. */
static __device__ __forceinline__ unsigned
to_byte(float x)
{
    return (unsigned)__float2int_rn(fminf(fmaxf(x, 0.0f), 255.0f));
}

static __device__ __forceinline__ void
store_value(void *to, int type, int64_t i, float x)
{
    switch (type) {
    case F16:
        ((__half *)to)[i] = __float2half_rn(x);
        break;
    case BF16:
        ((__nv_bfloat16 *)to)[i] = __float2bfloat16_rn(x);
        break;
    case U8:
        ((uint8_t *)to)[i] = (uint8_t)to_byte(x);
        break;
    default:
        ((float *)to)[i] = x;
    }
}

/* Eight numbers times `factor` as E4M3, rounded to nearest even; what is larger than 448 becomes 448. */
static __device__ __forceinline__ uint2
pack_f8(const float x[8], float factor)
{
    unsigned pairs[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        pairs[i] = __nv_cvt_float2_to_fp8x2(make_float2(x[2 * i] * factor, x[2 * i + 1] * factor),
                                            __NV_SATFINITE, __NV_E4M3);
    return make_uint2(pairs[0] | pairs[1] << 16, pairs[2] | pairs[3] << 16);
}

static __device__ __forceinline__ void
unpack_half(uint4 bits, float x[8])
{
    const __half2 *pairs = (const __half2 *)&bits;
#pragma unroll
    for (int i = 0; i < 4; i++) {
        float2 pair = __half22float2(pairs[i]);
        x[2 * i] = pair.x, x[2 * i + 1] = pair.y;
    }
}

static __device__ __forceinline__ void
unpack_bfloat(uint4 bits, float x[8])
{
    const unsigned words[4] = { bits.x, bits.y, bits.z, bits.w };
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = __uint_as_float(words[i] << 16);
        x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
}

/* Elements [i, i + 8); the address is a multiple of 16 bytes (8 for U8). */
static __device__ __forceinline__ void
load_eight(const void *from, int type, int64_t i, float x[8])
{
    if (type == F16) {
        unpack_half(*(const uint4 *)((const __half *)from + i), x);
    } else if (type == BF16) {
        unpack_bfloat(*(const uint4 *)((const __nv_bfloat16 *)from + i), x);
    } else if (type == U8) {
        uint2 bytes = *(const uint2 *)((const uint8_t *)from + i);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            x[k] = (float)(bytes.x >> (8 * k) & 255u);
            x[4 + k] = (float)(bytes.y >> (8 * k) & 255u);
        }
    } else {
        const float4 *quads = (const float4 *)((const float *)from + i);
        float4 a = quads[0], b = quads[1];
        x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w;
        x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
    }
}

static __device__ __forceinline__ void
store_eight(void *to, int type, int64_t i, const float x[8])
{
    if (type == F16) {
        uint4 bits;
        __half2 *pairs = (__half2 *)&bits;
#pragma unroll
        for (int k = 0; k < 4; k++)
            pairs[k] = __floats2half2_rn(x[2 * k], x[2 * k + 1]);
        *(uint4 *)((__half *)to + i) = bits;
    } else if (type == BF16) {
        uint4 bits;
        __nv_bfloat162 *pairs = (__nv_bfloat162 *)&bits;
#pragma unroll
        for (int k = 0; k < 4; k++)
            pairs[k] = __floats2bfloat162_rn(x[2 * k], x[2 * k + 1]);
        *(uint4 *)((__nv_bfloat16 *)to + i) = bits;
    } else if (type == U8) {
        uint2 bytes = make_uint2(0, 0);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            bytes.x |= to_byte(x[k]) << (8 * k);
            bytes.y |= to_byte(x[4 + k]) << (8 * k);
        }
        *(uint2 *)((uint8_t *)to + i) = bytes;
    } else {
        float4 *quads = (float4 *)((float *)to + i);
        quads[0] = make_float4(x[0], x[1], x[2], x[3]);
        quads[1] = make_float4(x[4], x[5], x[6], x[7]);
    }
}
