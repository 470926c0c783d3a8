/* internal.h - shared by the tensor folder's files only. */
#pragma once
#include "tensor/program.h"

struct RvDevice {
    const RvBackend *backend;
    void *state;
    RvDType compute;
    RvTurn turn; /* of each run; all NULL on a device that does not overlap */
    gsize scratch;
    GPtrArray *sets; /* RvWeightSet, borrowed */
    bool is_asleep;
    const int *cancel;
    RvObserver observer;
    void *observer_user;
};

typedef struct {
    guint8 *memory;
    gsize bytes, used;
    bool is_kept;      /* the back end's copy is what the memory holds, or held */
    bool is_suspended; /* without memory */
} RvChunk;

/* Packed weights, and the op that they were first packed for, without addresses: to pack them again. */
typedef struct {
    void *memory;
    gsize bytes;
    RvPackFunc pack;
    RvOp op; /* owns its names; the weights' data is the source's */
} RvPacked;

struct RvWeightSet {
    RvDevice *device;
    RvDType compute;
    RvWeightSource source;
    RvWeightPatch patch;
    char *calibration;  /* NULL: none */
    GHashTable *packed; /* key -> RvPacked */
    GArray *chunks;     /* RvChunk: device memory that packed weights are cut from */
    gsize bytes;
    guint generation;
    bool is_lost; /* some of it must be packed again */
};

RvPacked *rv_packed_new(const RvOp *op, RvPackFunc pack, void *memory, gsize bytes);
void rv_packed_free(gpointer packed);
/* Packs, with the set's patch, into packed->memory; what was kept of it is out of date then. */
bool rv_weight_set_pack(RvWeightSet *set, const RvPacked *packed, GError **error);

bool rv_device_check_awake(const RvDevice *device, GError **error);

/* Bytes that live from the op `first` to the op `last`; placed by rv_plan_place. */
typedef struct {
    gsize bytes;
    int first, last;
    gsize offset;
} RvSpan;

/* Gives every span an offset (64-byte aligned) such that spans alive at the same op never overlap;
 * returns the bytes needed in all. Largest first, at the lowest offset free during its life. */
gsize rv_plan_place(RvSpan *spans, int count);

typedef struct {
    RvDType dtype;
    RvShape shape;
    int pixel_stride;
    int storage;
    gsize offset; /* bytes into the storage */
} RvValue;

typedef struct {
    gsize bytes;
    int first, last; /* ops between which the bytes are needed */
    bool is_slot;    /* input or output: own memory for the program's life */
    int alias;       /* another storage that an in-place op shares; own index otherwise */
    void *memory;
} RvStorage;

typedef struct {
    char *name;
    int value;
} RvSlot;

typedef struct {
    RvOp *op;
    int in[RV_OP_INPUTS]; /* value indices, 0 absent */
    int out;
} RvRecord;

struct RvProgram {
    RvDevice *device;
    RvWeightSet *weights;     /* of what is recorded now */
    RvDType compute;          /* likewise */
    const char *stage;        /* likewise */
    bool circular;            /* likewise: convolutions wrap around */
    GArray *values;           /* RvValue; [0] is none */
    GArray *storages;         /* RvStorage */
    GArray *records;          /* RvRecord */
    GArray *inputs, *outputs; /* RvSlot */
    GString *scope;
    GArray *scope_lengths; /* gsize */
    GError *failure;       /* the first mistake */
    void *exec;
    gsize scratch;
    guint prepared; /* ops that the back end has readied */
    int under_way;  /* runs started and not finished */
    bool is_compiled;
};

void rv_program_fail_at(RvProgram *program, const char *name, RvError code, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
/* A new value with storage of its own. */
RvTensor rv_program_add_value(RvProgram *program, RvDType dtype, RvShape shape);
/* Sets RvOp.feeder and RvOp.reader of what is recorded. */
void rv_program_pair(RvProgram *program);
