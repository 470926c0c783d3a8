/* attention.h - softmax(q k^T * scale) v for some queries of one head of one image, one build for each
 * instruction set. Scores exist only for a few queries and a block of keys at a time, with a running
 * maximum and sum for each query (online softmax: Milakov and Gimelshein, arXiv:1805.02867;
 * FlashAttention: Dao et al., arXiv:2205.14135). */
#pragma once
#include "backends/cpu/isa.h"
#include "tensor/op.h"

/* Addresses are of the head's first channel of the image's first token; strides are in elements. */
typedef struct {
    const float *q, *k, *v;
    float *out;
    int q_stride, k_stride, v_stride, out_stride;
    int width;       /* channels of the head */
    int first, rows; /* queries [first, first + rows) */
    int keys;
    bool causal; /* query i sees keys 0 to i */
    float scale;
} AttentionPart;

typedef struct {
    gsize (*space)(int width, int rows); /* bytes that run() needs, a multiple of 64 */
    void (*run)(const AttentionPart *part, void *space);
} AttentionKernels;

CPU_DECLARE_KERNELS(AttentionKernels, attention_kernels)
