/* wgmma_rows.cuh - d [64, N] (+)= a [64, 16] b [16, N] of F16 numbers by one warpgroup: a in registers as
 * mma.sync lays it out, b in shared memory as matrix_descriptor() (hopper.cuh) describes it. */
#pragma once
#include "backends/cuda/hopper.cuh"

#if ON_HOPPER

#define ROWS_NAMES_24                                                                                      \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, " \
    "%22, "                                                                                                \
    "%23"
#define ROWS_NAMES_36 ROWS_NAMES_24 ", %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35"
#define ROWS_NAMES_64                                                                                       \
    ROWS_NAMES_36 ", %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, " \
                  "%53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define ROWS_FOUR(IO, i) IO(d[i]), IO(d[i + 1]), IO(d[i + 2]), IO(d[i + 3])
#define ROWS_ADD(x) "+f"(x)
#define ROWS_MAKE(x) "=f"(x)
#define ROWS_OPERANDS_24(IO)                                                                    \
    ROWS_FOUR(IO, 0), ROWS_FOUR(IO, 4), ROWS_FOUR(IO, 8), ROWS_FOUR(IO, 12), ROWS_FOUR(IO, 16), \
        ROWS_FOUR(IO, 20)
#define ROWS_OPERANDS_36(IO) ROWS_OPERANDS_24(IO), ROWS_FOUR(IO, 24), ROWS_FOUR(IO, 28), ROWS_FOUR(IO, 32)
#define ROWS_OPERANDS_64(IO)                                                                          \
    ROWS_OPERANDS_36(IO), ROWS_FOUR(IO, 36), ROWS_FOUR(IO, 40), ROWS_FOUR(IO, 44), ROWS_FOUR(IO, 48), \
        ROWS_FOUR(IO, 52), ROWS_FOUR(IO, 56), ROWS_FOUR(IO, 60)

/* COUNT numbers of d; A to B: the numbers of the operands after them; IO: ADD or MAKE, the latter with SCALE
 * 0; TURNED: the rows of b follow its depth. */
#define ROWS_PRODUCT(NAME, N, COUNT, A0, A1, A2, A3, B, IO, SCALE, TURNED)                            \
    __device__ __forceinline__ void NAME(float(&d)[COUNT], const uint32_t(&a)[4], uint64_t b)         \
    {                                                                                                 \
        asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, " #SCALE ", 0;\n"                              \
                     "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" ROWS_NAMES_##COUNT    \
                     "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3 "}, %" #B ", p, 1, 1, " #TURNED ";\n}" \
                     : ROWS_OPERANDS_##COUNT(IO)                                                      \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));                           \
    }

/* b as [128, 16]; the first makes d */
ROWS_PRODUCT(rows_make_128, 128, 64, 64, 65, 66, 67, 68, ROWS_MAKE, 0, 0)
ROWS_PRODUCT(rows_times_128, 128, 64, 64, 65, 66, 67, 68, ROWS_ADD, 1, 0)
/* b as [16, N], 64 columns side by side */
ROWS_PRODUCT(rows_times_48, 48, 24, 24, 25, 26, 27, 28, ROWS_ADD, 1, 1)
ROWS_PRODUCT(rows_times_72, 72, 36, 36, 37, 38, 39, 40, ROWS_ADD, 1, 1)

#endif /* ON_HOPPER */
