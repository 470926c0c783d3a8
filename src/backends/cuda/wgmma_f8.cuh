/* wgmma_f8.cuh - d [64, N] (+)= a [64, 32] b [N, 32]^T of E4M3 numbers by one warpgroup, both in shared memory as
 * matrix_descriptor() (hopper.cuh) describes them; `adds` 0 overwrites d. N is 128 or 160. */
#pragma once
#include "backends/cuda/hopper.cuh"

#if ON_HOPPER

#define F8_NAMES_64                                                                                               \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, "   \
    "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, "   \
    "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define F8_NAMES_80 \
    F8_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define F8_EIGHT(i)                                                                                               \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),   \
        "+f"(d[i + 7])
#define F8_OPERANDS_64 \
    F8_EIGHT(0), F8_EIGHT(8), F8_EIGHT(16), F8_EIGHT(24), F8_EIGHT(32), F8_EIGHT(40), F8_EIGHT(48), F8_EIGHT(56)
#define F8_OPERANDS_80 F8_OPERANDS_64, F8_EIGHT(64), F8_EIGHT(72)

template <int N> __device__ __forceinline__ void product_f8(float (&d)[N / 2], uint64_t a, uint64_t b, int adds);

/* COUNT numbers of d; A, B, P: the numbers of the operands after them. */
#define F8_PRODUCT(N, COUNT, A, B, P)                                                                             \
    template <> __device__ __forceinline__ void product_f8<N>(float (&d)[N / 2], uint64_t a, uint64_t b, int adds) \
    {                                                                                                             \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P ", 0;\n"                                             \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" F8_NAMES_##COUNT "}, %" #A      \
                     ", %" #B ", p, 1, 1;\n}"                                                                     \
                     : F8_OPERANDS_##COUNT                                                                        \
                     : "l"(a), "l"(b), "r"(adds));                                                                \
    }

F8_PRODUCT(128, 64, 64, 65, 66)
F8_PRODUCT(160, 80, 80, 81, 82)

#endif /* ON_HOPPER */
