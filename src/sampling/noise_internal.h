/* noise_internal.h - the two generators behind noise.h. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct {
    guint32 state[624];
    int next;
    bool has_spare; /* the sine half of the last pair drawn one by one */
    double spare;
} RvMersenne;

void rv_mersenne_init(RvMersenne *mersenne, guint32 seed);
void rv_mersenne_normal(RvMersenne *mersenne, float *out, gsize count);

/* One call of a Philox generator. `offset` counts the 4-number blocks that each thread has used;
 * returns how many blocks of it this call used. `threads` is how many run at once on the GPU. */
void rv_philox_nv(guint64 seed, guint32 offset, float *out, gsize count);
guint64 rv_philox_cuda(guint64 seed, guint64 offset, gsize threads, float *out, gsize count);
