/* device.cuh - number types, activations, and the matrix instructions as functions. */
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "backends/cuda/matrix.h"

enum { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F8_E4M3 };
enum { ACT_NONE, ACT_SILU, ACT_GELU, ACT_QUICK_GELU, ACT_RELU, ACT_TANH3 };

template <typename T>
__device__ __forceinline__ float
to_float(T x)
{
    return (float)x;
}

template <typename T>
__device__ __forceinline__ T
from_float(float x)
{
    return (T)x;
}

template <>
__device__ __forceinline__ __half
from_float<__half>(float x)
{
    return __float2half_rn(x);
}

template <>
__device__ __forceinline__ __nv_bfloat16
from_float<__nv_bfloat16>(float x)
{
    return __float2bfloat16_rn(x);
}

template <typename T> struct Pair;
template <> struct Pair<__half> {
    static __device__ __forceinline__ uint32_t pack(float low, float high)
    {
        __half2 pair = __floats2half2_rn(low, high);
        return *(uint32_t *)&pair;
    }
    static __device__ __forceinline__ float2 unpack(uint32_t bits)
    {
        return __half22float2(*(__half2 *)&bits);
    }
};
template <> struct Pair<__nv_bfloat16> {
    static __device__ __forceinline__ uint32_t pack(float low, float high)
    {
        __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
        return *(uint32_t *)&pair;
    }
    static __device__ __forceinline__ float2 unpack(uint32_t bits)
    {
        return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
    }
};

/* Not inlined: copies of all activations in unrolled loops would overflow the instruction cache. */
static __device__ __noinline__ float
activate_seldom(int act, float x)
{
    switch (act) {
    case ACT_GELU:
        return 0.5f * x * erfcf(-x * 0.70710678f);
    case ACT_QUICK_GELU:
        return x / (1.0f + __expf(-1.702f * x));
    case ACT_TANH3:
        return 3.0f * tanhf(x * (1.0f / 3.0f));
    default:
        return x;
    }
}

static __device__ __forceinline__ float
activate(int act, float x)
{
    if (act == ACT_NONE)
        return x;
    if (act == ACT_RELU)
        return x < 0.0f ? 0.0f : x;
    if (act == ACT_SILU)
        return x / (1.0f + __expf(-x));
    return activate_seldom(act, x);
}

/* One branch for all of them. */
template <int count>
static __device__ __forceinline__ void
activate_all(int act, float (&x)[count])
{
    if (act == ACT_NONE)
        return;
    if (act == ACT_RELU) {
#pragma unroll
        for (int i = 0; i < count; i++)
            x[i] = x[i] < 0.0f ? 0.0f : x[i];
    } else if (act == ACT_SILU) {
#pragma unroll
        for (int i = 0; i < count; i++)
            x[i] = x[i] / (1.0f + __expf(-x[i]));
    } else {
#pragma unroll
        for (int i = 0; i < count; i++)
            x[i] = activate_seldom(act, x[i]);
    }
}

__device__ __forceinline__ uint32_t
shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes to shared memory, zeros when not `valid`; asynchronous where the chip can. */
__device__ __forceinline__ void
copy16(uint32_t to, const void *from, bool valid)
{
#if __CUDA_ARCH__ >= 800
    int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
#else
    uint4 value = valid ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(value.x), "r"(value.y),
                 "r"(value.z), "r"(value.w)
                 : "memory");
#endif
}

__device__ __forceinline__ void
copies_commit()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/* Waits until no more than `left` of the committed groups are under way. */
template <int left>
__device__ __forceinline__ void
copies_wait()
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}

__device__ __forceinline__ void
load_matrix4(uint32_t (&r)[4], uint32_t from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}

__device__ __forceinline__ void
load_matrix4_transposed(uint32_t (&r)[4], uint32_t from)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(from)
                 : "memory");
}

/* d += a b for a [16, 16], b [16, 8]: fragments as the PTX manual draws them for m16n8k16. */
template <typename T>
__device__ __forceinline__ void multiply(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

template <>
__device__ __forceinline__ void
multiply<__half>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b0));
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[2]), "r"(a[3]), "r"(b1));
#endif
}

template <>
__device__ __forceinline__ void
multiply<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
                 "{%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#endif
}
