/* rows.cuh - operands as rows of vectors: which width of vector addresses allow, and division by a row's
 * length. */
#pragma once
#include "kernels.h"
#include "values.cuh"

/* n / divisor for n < 2^31 (Granlund and Montgomery, "Division by invariant integers using multiplication").
 */
typedef struct {
    unsigned divisor, multiplier, shift;
} Divisor;

static inline Divisor
divisor_of(unsigned d)
{
    unsigned shift = 0;
    while (shift < 31 && (1u << shift) < d)
        shift++;
    uint64_t multiplier = ((((uint64_t)1 << shift) - d) << 32) / d + 1;
    return Divisor { d, (unsigned)multiplier, shift };
}

static __device__ __forceinline__ unsigned
divide(unsigned n, Divisor by)
{
    return (__umulhi(n, by.multiplier) + n) >> by.shift;
}

static inline int
type_size(int type)
{
    return type == F16 || type == BF16 ? 2 : type == U8 || type == F8_E4M3 ? 1 : 4;
}

/* Whether vectors of eight from multiples of eight channels are aligned as load_eight wants it. */
static inline bool
takes_eight(const CudaView *view)
{
    uintptr_t alignment = type_size(view->dtype) == 1 ? 8 : 16;
    return view->data == nullptr ||
           ((uintptr_t)view->data % alignment == 0 && (view->pixels <= 1 || view->stride % 8 == 0));
}

static inline bool
is_dense(const CudaView *view)
{
    return view->stride == view->channels || view->pixels == 1;
}

template <int V>
static __device__ __forceinline__ void
load_vector(const void *from, int type, int64_t i, float x[V])
{
    if constexpr (V == 8)
        load_eight(from, type, i, x);
    else
        x[0] = load_value(from, type, i);
}

template <int V>
static __device__ __forceinline__ void
store_vector(void *to, int type, int64_t i, const float x[V])
{
    if constexpr (V == 8)
        store_eight(to, type, i, x);
    else
        store_value(to, type, i, x[0]);
}

/* To a result, in E4M3 too. */
template <int V>
static __device__ __forceinline__ void
store_result(const CudaView &out, int64_t i, const float x[V])
{
    if (out.dtype != F8_E4M3)
        store_vector<V>(out.data, out.dtype, i, x);
    else if constexpr (V == 8)
        *(uint2 *)((uint8_t *)out.data + i) = pack_f8(x, out.factor);
    else
        ((__nv_fp8_e4m3 *)out.data)[i] = __nv_fp8_e4m3(x[0] * out.factor);
}
