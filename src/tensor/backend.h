/* backend.h - what a back end provides: one table, no optional slots. A back end that lacks an op
 * fails in prepare with the op's name; nothing falls back to another device. */
#pragma once
#include "tensor/op.h"

#define RV_BACKEND_ABI 1

typedef struct {
    int index;       /* which of several devices */
    RvDType compute; /* RV_F32, RV_F16 or RV_BF16: the type of activations */
    int threads;     /* CPU: 0 means one per core that the process may use */
} RvDeviceOptions;

typedef struct {
    char name[128];
    RvDType compute;
    int threads;
    gint64 memory_free, memory_total; /* bytes; -1 unknown */
} RvDeviceInfo;

/* Called around each op of a run when one is set: seconds that the op took. For profiles and dumps. */
typedef void (*RvObserver)(const RvOp *op, double seconds, void *user);

typedef struct {
    RvOp **ops; /* in order; operands' addresses are final */
    int count;
} RvPlan;

typedef struct {
    int abi;
    const char *name; /* "cpu", "cuda" */
    bool (*open)(const RvDeviceOptions *options, void **device, GError **error);
    void (*close)(void *device);
    void (*describe)(void *device, RvDeviceInfo *info);
    /* Device memory, 64-byte aligned at least. Not zeroed. */
    void *(*alloc)(void *device, gsize bytes, GError **error);
    void (*free)(void *device, void *memory, gsize bytes);
    /* The device's one scratch region: its address never changes, it holds at least `bytes` afterwards. */
    void *(*scratch)(void *device, gsize bytes, GError **error);
    bool (*upload)(void *device, void *to, const void *from, gsize bytes, GError **error);
    bool (*download)(void *device, void *to, const void *from, gsize bytes, GError **error);
    /* Chooses how to run the op (shapes, types and weights are known, addresses are not), readies its
     * weights through rv_weight_set_get and sets op->workspace and op->state. */
    bool (*prepare)(void *device, RvOp *op, GError **error);
    void (*release)(void *device, RvOp *op);
    bool (*build)(void *device, const RvPlan *plan, void **exec, GError **error);
    void (*drop)(void *device, void *exec);
    /* Runs once and returns when the outputs may be downloaded. `cancel` may be NULL; when it turns
     * non-zero the run stops between ops with RV_ERROR_CANCELLED. */
    bool (*run)(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error);
} RvBackend;

/* Fills `memory` (device memory of the size asked for) with the packed form of op's weights. It is called
 * again when weights change, with a copy of the op that was packed first: it may read kind, shapes, types,
 * options and weights (whose numbers may have become F32), not addresses and not op->state. */
typedef bool (*RvPackFunc)(void *device, RvOp *op, void *memory, gsize bytes, GError **error);

/* The packed weight `key` of the op's weight set, made by `pack` the first time: programs of several
 * sizes share it. NULL on failure. Freed with the set. */
void *rv_weight_set_get(RvWeightSet *set, const char *key, gsize bytes, RvOp *op, RvPackFunc pack,
                        GError **error);
