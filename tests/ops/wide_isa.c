/* In place of backends/cpu/isa.c: the back end takes its path for AVX-512 on any processor. The kernels that
 * are linked under that name are the same sources with 16 lanes, which the compiler makes of smaller
 * registers: the arithmetic, the tiles and the indices run, not the machine's own instructions. */
#include "backends/cpu/isa.h"

CpuIsa
cpu_isa(void)
{
    return CPU_ISA_AVX512;
}

const char *
cpu_isa_name(CpuIsa isa)
{
    return "avx512";
}

void
cpu_isa_limit(CpuIsa isa)
{
}
