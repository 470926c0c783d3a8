/* internal.h - shared by the CPU back end's files only. */
#pragma once
#include "backends/cpu/cpu.h"

typedef struct {
    int threads;
    void *arena; /* reserved address range; pages come into being when touched */
    gsize arena_reserved, arena_bytes;
} CpuDevice;

/* How one kind of op is readied and run; one file per op. `prepare` and `release` may be NULL. Outputs
 * are written in full; workspace_data holds op->workspace bytes, not zeroed. */
typedef struct {
    bool (*prepare)(CpuDevice *device, RvOp *op, GError **error);
    bool (*run)(CpuDevice *device, const RvOp *op, GError **error);
    void (*release)(RvOp *op);
} CpuOp;

extern const CpuOp cpu_conv2d, cpu_linear, cpu_attention, cpu_group_norm, cpu_layer_norm, cpu_act, cpu_glu,
    cpu_add, cpu_mix, cpu_concat, cpu_embed, cpu_pick, cpu_sinusoid, cpu_convert;

void *cpu_alloc(gsize bytes); /* 64-byte aligned, huge pages where they help; NULL when out of memory */
void cpu_free(void *memory, gsize bytes);
