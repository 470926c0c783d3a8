/* backend.h - what a back end provides: one table, no optional slots. A back end that lacks an op
 * fails in prepare with the op's name; nothing falls back to another device. */
#pragma once
#include "tensor/op.h"

#define RV_BACKEND_ABI 5

/* Whether layers that have a calibration multiply 8-bit floats. */
typedef enum {
    RV_FP8_NONE,
    RV_FP8_FASTER, /* those where it is faster and costs little */
    RV_FP8_ONE,    /* for tests: all that can be, linear ones with one scale for their weights */
    RV_FP8_EACH,   /* for tests: the same with a scale for each output */
} RvFp8;

/* The turns of those who work on the same hardware: whoever has one has it to himself. All NULL: nobody else
 * does. */
typedef struct {
    bool (*begin)(void *user); /* waits for a turn; false: cancelled, it did not begin */
    void (*end)(void *user);
    void *user;
} RvTurn;

typedef struct {
    int index;       /* which of several devices */
    RvDType compute; /* RV_F32, RV_F16 or RV_BF16: the type of activations, unless a weight set has its own */
    int threads;     /* CPU: 0 means one per core that the process may use */
    RvFp8 fp8;       /* NONE unless compute is F16 */
    bool background; /* work of this device gives way to that of others on the same hardware, where it can */
    /* On a device that overlaps: taken for each run, and while ways to run an op are timed. Another leaves it
     * alone: its caller has the turn while it prepares and runs. */
    RvTurn turn;
} RvDeviceOptions;

typedef struct {
    char name[128];
    RvDType compute;
    int threads;
    gint64 memory_free, memory_total; /* bytes; -1 unknown */
    bool overlaps; /* start returns before the work is done; preparing ops keeps nobody from working */
} RvDeviceInfo;

/* Of the layers that name one calibration (RvOp.calibration). */
typedef enum {
    RV_CALIBRATION_FIND,   /* whether there is one, perhaps from an earlier process */
    RV_CALIBRATION_START,  /* layers that are prepared from now on compute in their type and take notes */
    RV_CALIBRATION_STOP,   /* the notes become the calibration; layers prepared from now on go by it */
    RV_CALIBRATION_CANCEL, /* the notes are thrown away */
} RvCalibrationStep;

/* Called around each op of a run when one is set: seconds that the op took. For profiles and dumps. */
typedef void (*RvObserver)(const RvOp *op, double seconds, void *user);

typedef struct {
    RvOp **ops; /* in order; operands' addresses are final */
    int count;
} RvPlan;

/* Bytes to a slot of the device before a run, or from one after it. */
typedef struct {
    void *device; /* the slot's address */
    void *host;   /* the caller's memory */
    gsize bytes;
} RvTransfer;

typedef struct {
    int abi;
    const char *name; /* "cpu", "cuda" */
    bool (*open)(const RvDeviceOptions *options, void **device, GError **error);
    void (*close)(void *device);
    void (*describe)(void *device, RvDeviceInfo *info);
    /* Nothing works on it any more in this process, perhaps because of other work on the same hardware.
     * Cheap.
     */
    bool (*is_lost)(void *device);
    /* Device memory, 64-byte aligned at least. Not zeroed. */
    void *(*alloc)(void *device, gsize bytes, GError **error);
    void (*free)(void *device, void *memory, gsize bytes);
    /* The device's one scratch region: its address never changes, it holds at least `bytes` afterwards. */
    void *(*scratch)(void *device, gsize bytes, GError **error);
    /* Gives up the scratch region's memory, not its address; scratch() brings it back. Nothing is under way.
     */
    bool (*trim)(void *device, GError **error);
    /* Memory of weights: as alloc and free, but it can be given to others for a while, its address kept.
     * Nothing is under way during the calls but chunk.
     * keep: sets *is_kept when the first `used` bytes of a chunk are copied to where resume finds them: on
     * the host, for a device with memory of its own, while there is room. A copy goes by the next keep.
     * suspend: the memory is free, the contents are gone but for what was kept. Nothing may run on the chunk.
     * resume: there is memory again, with what was kept; RV_ERROR_NO_MEMORY leaves it suspended. */
    void *(*chunk)(void *device, gsize bytes, GError **error);
    void (*chunk_free)(void *device, void *chunk, gsize bytes);
    bool (*keep)(void *device, void *chunk, gsize used, bool *is_kept, GError **error);
    bool (*suspend)(void *device, void *chunk, gsize bytes, GError **error);
    bool (*resume)(void *device, void *chunk, gsize bytes, GError **error);
    /* Copies are ordered among the runs as they are called: after those started before, ahead of those
     * started later. When upload returns `from` may change; when download returns `to` is filled. */
    bool (*upload)(void *device, void *to, const void *from, gsize bytes, GError **error);
    bool (*download)(void *device, void *to, const void *from, gsize bytes, GError **error);
    /* Between device memories, `from` perhaps another device's on the same hardware, which has finished with
     * it. May return before the bytes are moved. */
    bool (*copy)(void *device, void *to, const void *from, gsize bytes, GError **error);
    /* Chooses how to run the op (shapes, types and weights are known, addresses are not), readies its
     * weights through rv_weight_set_get and sets op->workspace and op->state. The op computes in the type of
     * its output (CONVERT: of its input), which need not be the device's: RV_ERROR_UNSUPPORTED when it
     * cannot. */
    bool (*prepare)(void *device, RvOp *op, GError **error);
    void (*release)(void *device, RvOp *op);
    /* *is_known may be NULL. A device that has no 8-bit floats knows every calibration. Nothing is under way.
     */
    bool (*calibrate)(void *device, const char *calibration, RvCalibrationStep step, bool *is_known,
                      GError **error);
    bool (*build)(void *device, const RvPlan *plan, void **exec, GError **error);
    void (*drop)(void *device, void *exec);
    /* Runs once and returns when the outputs may be downloaded. `cancel` may be NULL; when it turns
     * non-zero the run stops between ops with RV_ERROR_CANCELLED. */
    bool (*run)(void *device, void *exec, const int *cancel, RvObserver observer, void *user, GError **error);
    /* The same without waiting: moves `in` to the slots, runs, moves the slots to `out`. What `in` names may
     * change as soon as start returns; what `out` names is filled when finish returns. At most
     * RV_STARTS_UNDER_WAY runs of an exec are started and not finished. After a failed start that run does
     * not count. A device that works inside start heeds `cancel`, one that only enqueues may leave it alone.
     */
    bool (*start)(void *device, void *exec, const int *cancel, const RvTransfer *in, int ins,
                  const RvTransfer *out, int outs, GError **error);
    /* Waits for the oldest start that is not finished. After a failure it counts as finished. */
    bool (*finish)(void *device, void *exec, GError **error);
} RvBackend;

#define RV_STARTS_UNDER_WAY 2

/* Fills `memory` (device memory of the size asked for) with the packed form of op's weights. It is called
 * again when weights change, with a copy of the op that was packed first: it may read kind, shapes, types,
 * options and weights (whose numbers may have become F32), not addresses and not op->state. */
typedef bool (*RvPackFunc)(void *device, RvOp *op, void *memory, gsize bytes, GError **error);

/* The packed weight `key` of the op's weight set, made by `pack` the first time: programs of several
 * sizes share it. All ops of a set compute in one type. NULL on failure. Freed with the set. */
void *rv_weight_set_get(RvWeightSet *set, const char *key, gsize bytes, RvOp *op, RvPackFunc pack,
                        GError **error);
