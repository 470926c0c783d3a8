#include "backends/cpu/isa.h"

static CpuIsa limit = CPU_ISA_AVX512;

static CpuIsa
detect(void)
{
#if defined(__x86_64__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("f16c"))
        return CPU_ISA_BASE;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return CPU_ISA_AVX512;
    return CPU_ISA_AVX2;
#else
    return CPU_ISA_BASE;
#endif
}

CpuIsa
cpu_isa(void)
{
    CpuIsa best = detect();
    return best < limit ? best : limit;
}

const char *
cpu_isa_name(CpuIsa isa)
{
    static const char *const names[] = { "base", "avx2", "avx512" };
    return names[isa];
}

void
cpu_isa_limit(CpuIsa isa)
{
    limit = isa;
}
