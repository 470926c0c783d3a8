/* vec.h - CPU_LANES floats in one register, for kernel files (isa.h). Plain C operators work on Vec;
 * arrays of any alignment are read and written through vec_load and vec_store. */
#pragma once
#include <string.h>

#if defined(CPU_LANES)
/* Said by the build: a test runs 16 lanes on processors without such registers (tests/ops). */
#elif defined(__AVX512F__)
#define CPU_LANES 16
#elif defined(__AVX2__)
#define CPU_LANES 8
#else
#define CPU_LANES 4
#endif

typedef float Vec __attribute__((vector_size(4 * CPU_LANES)));
typedef Vec VecUnaligned __attribute__((aligned(4), may_alias));

static inline Vec
vec_load(const float *from)
{
    return *(const VecUnaligned *)from;
}

static inline void
vec_store(float *to, Vec value)
{
    *(VecUnaligned *)to = value;
}

static inline Vec
vec_all(float value)
{
    return value - (Vec) { 0 };
}

/* The first `count` < CPU_LANES lanes; the others are 0 or left alone. */
static inline Vec
vec_load_part(const float *from, int count)
{
    Vec value = { 0 };
    memcpy(&value, from, sizeof *from * (unsigned)count);
    return value;
}

static inline void
vec_store_part(float *to, Vec value, int count)
{
    memcpy(to, &value, sizeof *to * (unsigned)count);
}
