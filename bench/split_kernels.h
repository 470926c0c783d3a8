/* split_kernels.h - the kernels of split_exchange.c. */
#pragma once
#include <cuda_runtime.h>
#include <stddef.h>

#define SPLIT_MOST_BLOCKS 128

#ifdef __cplusplus
extern "C" {
#endif

/* One GPU's side of an exchange: block i stores its share of `from` into the other GPU's memory, sets flag i
 * there to the run's number (release, system scope) and waits until the other's block i has done so here
 * (acquire). After 1 s *failed becomes 1, and nothing waits for long any more. */
typedef struct {
    const void *from;     /* 16-byte aligned, as `to` */
    void *to;             /* the other GPU's */
    size_t bytes;         /* rounded up to 16; 0: flags only */
    unsigned *own, *peer; /* SPLIT_MOST_BLOCKS flags of this exchange, here and there */
    const unsigned *run;
    unsigned *failed;
} SplitExchange;

cudaError_t split_exchange(const SplitExchange *exchange, cudaStream_t stream);
cudaError_t split_next_run(unsigned *run, cudaStream_t stream);
/* 16-byte words that tell where they are and from which GPU. */
cudaError_t split_fill(void *to, size_t bytes, int gpu, cudaStream_t stream);
/* Adds the words that are not what split_fill wrote to *wrong. */
cudaError_t split_compare(const void *words, size_t bytes, int gpu, unsigned *wrong, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
