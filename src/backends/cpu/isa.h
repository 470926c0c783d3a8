/* isa.h - inner loops for several instruction sets: each file kernels/NAME.c is compiled once a level
 * and exports one table of functions a level; the best level that the processor has is chosen at run
 * time. A new kernel file: list it in meson.build, declare its table's type in kernels/NAME.h with
 * CPU_DECLARE_KERNELS, define it in kernels/NAME.c as `const Type CPU_TABLE(name) = { ... };` and
 * reach it through name(). Kernel files may use gcc's vectors of CPU_LANES floats (kernels/vec.h) and
 * include nothing that defines non-inline functions. */
#pragma once

typedef enum {
    CPU_ISA_BASE,   /* what the compiler's baseline gives: SSE2 on x86-64, NEON on arm64 */
    CPU_ISA_AVX2,   /* AVX2, FMA, F16C */
    CPU_ISA_AVX512, /* AVX-512 F, BW, DQ, VL */
} CpuIsa;

/* The best level of this processor, or the limit set below. Never changes while programs exist:
 * packed weights depend on it. */
CpuIsa cpu_isa(void);
const char *cpu_isa_name(CpuIsa isa);
/* For tests: use no more than this level from now on. */
void cpu_isa_limit(CpuIsa isa);

#if defined(__x86_64__)
#define CPU_DECLARE_KERNELS(type, name)                                                                    \
    extern const type name##_base, name##_avx2, name##_avx512;                                             \
    static inline const type *name(void)                                                                   \
    {                                                                                                      \
        CpuIsa isa = cpu_isa();                                                                            \
        return isa == CPU_ISA_AVX512 ? &name##_avx512 : isa == CPU_ISA_AVX2 ? &name##_avx2 : &name##_base; \
    }
#else
#define CPU_DECLARE_KERNELS(type, name)  \
    extern const type name##_base;       \
    static inline const type *name(void) \
    {                                    \
        return &name##_base;             \
    }
#endif

/* Inside kernels/: the name of this compilation's table. CPU_ISA_SUFFIX comes from meson.build. */
#define CPU_PASTE2(a, b) a##_##b
#define CPU_PASTE(a, b) CPU_PASTE2(a, b)
#define CPU_TABLE(name) CPU_PASTE(name, CPU_ISA_SUFFIX)
