/* wgmma_tiles.cuh - d [64, N] (+)= a [64, 16] b [N, 16]^T by one warpgroup, a and b in shared memory as
 * matrix_descriptor() (hopper.cuh) describes them; `adds` 0 overwrites d. */
#pragma once
#include "backends/cuda/hopper.cuh"

#if ON_HOPPER

template <typename T, int N>
__device__ __forceinline__ void product_tile(float (&d)[N / 2], uint64_t a, uint64_t b, int adds);

#define TILE_NAMES_32                                                                                        \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
    "%22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TILE_NAMES_40 TILE_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define TILE_NAMES_80                                                                                   \
    TILE_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, " \
                  "%56, %57, %58, %59, %60, %61, %62, %63, %64, %65, %66, %67, %68, %69, %70, %71, "    \
                  "%72, %73, %74, %75, %76, %77, %78, %79"
#define TILE_EIGHT(i)                                                                                 \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]),       \
        "+f"(d[i + 6]), "+f"(d[i + 7])
#define TILE_OPERANDS_32 TILE_EIGHT(0), TILE_EIGHT(8), TILE_EIGHT(16), TILE_EIGHT(24)
#define TILE_OPERANDS_40 TILE_OPERANDS_32, TILE_EIGHT(32)
#define TILE_OPERANDS_80 \
    TILE_OPERANDS_40, TILE_EIGHT(40), TILE_EIGHT(48), TILE_EIGHT(56), TILE_EIGHT(64), TILE_EIGHT(72)

/* COUNT numbers of d; A, B, P: the numbers of the operands after them. */
#define TILE_PRODUCT(T, NAME, N, COUNT, A, B, P)                                                              \
    template <>                                                                                               \
    __device__ __forceinline__ void product_tile<T, N>(float (&d)[N / 2], uint64_t a, uint64_t b, int adds)   \
    {                                                                                                         \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P ", 0;\n"                                        \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." #NAME "." #NAME " {"                   \
                     TILE_NAMES_##COUNT "}, %" #A ", %" #B ", p, 1, 1, 0, 0;\n}"                              \
                     : TILE_OPERANDS_##COUNT                                                                  \
                     : "l"(a), "l"(b), "r"(adds));                                                            \
    }
#define TILE_PRODUCTS(N, COUNT, A, B, P)                                                                      \
    TILE_PRODUCT(__half, f16, N, COUNT, A, B, P)                                                              \
    TILE_PRODUCT(__nv_bfloat16, bf16, N, COUNT, A, B, P)

TILE_PRODUCTS(64, 32, 32, 33, 34)
TILE_PRODUCTS(80, 40, 40, 41, 42)
TILE_PRODUCTS(160, 80, 80, 81, 82)

#endif /* ON_HOPPER */
