/* program.h - a straight-line list of tensor ops, recorded once, compiled once, run many times.
 *
 * Recording never fails call by call: the first mistake sticks to the program and
 * rv_program_compile() reports it with the name of the layer being recorded. Compiling plans all
 * memory from the tensors' lifetimes and readies every op; running allocates nothing.
 * A device, its weight sets and its programs belong to one thread at a time. */
#pragma once
#include "tensor/backend.h"

typedef struct RvDevice RvDevice;
typedef struct RvProgram RvProgram;

/* Opens a device of the back end; compute type and threads as options say. */
RvDevice *rv_device_open(const RvBackend *backend, const RvDeviceOptions *options, GError **error);
void rv_device_close(RvDevice *device); /* after its weight sets and programs are gone; accepts NULL */
void rv_device_describe(RvDevice *device, RvDeviceInfo *info);
const char *rv_device_backend(const RvDevice *device); /* "cpu", "cuda" */
/* Nothing works on it any more in this process (a GPU's context is gone, perhaps by another's fault). */
bool rv_device_is_lost(RvDevice *device);
/* A device of this process was found lost, by rv_device_is_lost() or when a program failed. For GPUs that is
 * the end of CUDA in the whole process, on the other GPUs too: only a new process can work on. Any thread. */
bool rv_device_needs_new_process(void);
gsize rv_device_scratch(const RvDevice *device); /* bytes: the most that a program of it asked for */
/* A run stops between ops when *cancel is not 0. The pointer is borrowed; NULL removes it. */
void rv_device_set_cancel(RvDevice *device, const int *cancel);
void rv_device_set_observer(RvDevice *device, RvObserver observer, void *user);

/* Gives the memory of all weights and of scratch to other programs, all addresses kept: compiled programs are
 * good again, at once, after rv_device_wake(). Until then nothing of the device may be compiled, packed or
 * run (RV_ERROR_FAILED). Nothing is under way when these are called. keep: has the back end copy weights to
 * the host's memory, where it can (*all: everything is there): waking is a copy then. It may be called long
 * before sleeping, and again: only what changed is copied. Weights that are not kept are packed anew from
 * their source, which grows their generation. After a failed sleep, too, the device is asleep. After a failed
 * wake (RV_ERROR_NO_MEMORY: others have the memory still) it is as before and may be woken again. */
bool rv_device_keep(RvDevice *device, bool *all, GError **error);
bool rv_device_sleep(RvDevice *device, GError **error);
bool rv_device_wake(RvDevice *device, GError **error);
bool rv_device_is_asleep(const RvDevice *device);
gsize rv_device_unkept(const RvDevice *device); /* bytes of weights that rv_device_keep() would copy now */

/* Where weights come from. `find` fills *out with the array named `name`, whose shape must be
 * shape[0..rank) (leading and trailing ones aside); it sets the error otherwise. `done` (may be NULL) tells
 * that the array was packed and its pages may be dropped. The data stays valid while the source lives. */
typedef struct {
    bool (*find)(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error);
    void (*done)(void *self, const RvArray *array);
    void *self;
} RvWeightSource;

/* One model part's weights on one device, packed as its programs need them, shared by all of them. Ops on
 * them compute in the device's type, or, for a part that needs another (SDXL's own VAE overflows half
 * floats), in `compute`. */
RvWeightSet *rv_weight_set_new(RvDevice *device, RvWeightSource source);
RvWeightSet *rv_weight_set_new_typed(RvDevice *device, RvWeightSource source, RvDType compute);
RvDType rv_weight_set_compute(const RvWeightSet *set);
void rv_weight_set_free(RvWeightSet *set); /* after its programs; accepts NULL */
gsize rv_weight_set_bytes(const RvWeightSet *set);

/* Changes weights on their way from the source into the set (a LoRA's differences are added here). `apply`
 * either leaves *array alone or points it at numbers in *owned, which the set gives back with g_free; the
 * shape stays, the type may become F32 (an embedding table's must stay). A patch that is set later counts for
 * what is packed after it. `apply` NULL: none. */
typedef struct {
    bool (*apply)(void *self, const char *name, RvArray *array, void **owned, GError **error);
    void *self;
} RvWeightPatch;
void rv_weight_set_set_patch(RvWeightSet *set, RvWeightPatch patch);
/* Packs again, from the source and through the patch and into the same device memory, whatever was packed
 * from a weight that is wanted: compiled programs stay valid and read the new numbers. What they computed
 * earlier from the old ones (prepared keys and values) is stale; the generation tells: it grows with each
 * call. After a failure the set holds some of the new numbers; pack again. */
typedef bool (*RvWeightWanted)(void *user, const char *name);
bool rv_weight_set_repack(RvWeightSet *set, RvWeightWanted wanted, void *user, GError **error);
guint rv_weight_set_generation(const RvWeightSet *set);

/* What layers of this set multiply may become 8-bit floats (RvDeviceOptions.fp8), as it is written under this
 * name, which stands for exactly these weights; before anything is recorded. The set copies the name. */
void rv_weight_set_set_calibration(RvWeightSet *set, const char *calibration);
const char *rv_weight_set_calibration(const RvWeightSet *set); /* borrowed; NULL: none */
/* START and STOP: programs compiled between them take notes whenever they run; give them up after STOP, and
 * the weight sets that they used. */
bool rv_device_calibrate(RvDevice *device, const char *calibration, RvCalibrationStep step, bool *is_known,
                         GError **error);

RvProgram *rv_program_new(RvWeightSet *weights); /* borrows */
void rv_program_free(RvProgram *program);        /* accepts NULL; waits for its runs under way */

/* What is recorded from here on takes its weights from `weights` (of the same device; borrowed) and computes
 * in their type. Tensors of another type go through rv_convert first. */
void rv_program_use(RvProgram *program, RvWeightSet *weights);
/* What is recorded from here on, until the next rv_program_use, has no weights and computes in `compute`. */
void rv_program_use_none(RvProgram *program, RvDType compute);
RvDType rv_program_compute(const RvProgram *program); /* the type of results recorded now */
/* What is recorded from here on belongs to this part of the program, for profiles. */
void rv_program_stage(RvProgram *program, const char *name);

/* Convolutions of kernels above 1 that are recorded from here on are circular (op.h), but for those with
 * pad_end: what they draw has edges that fit each other. */
void rv_program_set_circular(RvProgram *program, bool circular);

/* Weight names are relative to the scopes entered: enter "down_blocks.0", then "resnets.1"; an empty scope
 * adds nothing. */
void rv_program_enter(RvProgram *program, const char *scope_format, ...) G_GNUC_PRINTF(2, 3);
void rv_program_leave(RvProgram *program);
/* Makes the program fail to compile with this text (a model's own checks). */
void rv_program_fail(RvProgram *program, RvError code, const char *format, ...) G_GNUC_PRINTF(3, 4);

RvShape rv_shape(const RvProgram *program, RvTensor tensor);
static inline bool
rv_is_none(RvTensor tensor)
{
    return tensor.index == 0;
}

/* A named slot that the host writes before a run (F32, I32 or U8; floats arrive as F32 and are
 * converted to the compute type, in every run, unless `exact`), at a fixed device address. An exact slot of
 * F16 or BF16 is filled by rv_program_copy, or by bytes of that type. */
RvTensor rv_input(RvProgram *program, const char *name, RvDType dtype, RvShape shape);
RvTensor rv_input_exact(RvProgram *program, const char *name, RvDType dtype, RvShape shape);
/* A named result, read by the host as F32 (or U8 when the tensor is U8); exact: in the tensor's own type. */
void rv_output(RvProgram *program, const char *name, RvTensor tensor);
void rv_output_exact(RvProgram *program, const char *name, RvTensor tensor);

RvTensor rv_conv2d(RvProgram *program, RvTensor x, const char *name, RvConv2d options);
RvTensor rv_linear(RvProgram *program, RvTensor x, const char *names, RvLinear options);
RvTensor rv_attention(RvProgram *program, RvTensor q, RvTensor k, RvTensor v, RvAttention options);
RvTensor rv_group_norm(RvProgram *program, RvTensor x, const char *name, RvNorm options);
RvTensor rv_layer_norm(RvProgram *program, RvTensor x, const char *name, RvNorm options);
RvTensor rv_act(RvProgram *program, RvTensor x, RvAct act);
RvTensor rv_glu(RvProgram *program, RvTensor x);
RvTensor rv_add(RvProgram *program, RvTensor a, RvTensor b);
RvTensor rv_mix(RvProgram *program, RvTensor a, RvTensor x, RvTensor b, RvTensor y); /* a, b may be none: 1 */
RvTensor rv_concat(RvProgram *program, RvTensor a, RvTensor b);
/* table [rows, width]; positions [tokens, width] is a weight name, or NULL */
RvTensor rv_embed(RvProgram *program, RvTensor ids, const char *table, int rows, int width,
                  const char *positions);
RvTensor rv_pick(RvProgram *program, RvTensor x, RvTensor index);
RvTensor rv_sinusoid(RvProgram *program, RvTensor x, RvSinusoid options);
RvTensor rv_convert(RvProgram *program, RvTensor x, RvConvert options);
/* Views: no op, no bytes moved. A slice takes channels [from, from + count), an image one of the batch
 * ([1,h,w,c]). A reshape keeps the bytes. */
RvTensor rv_slice(RvProgram *program, RvTensor x, int from, int count);
RvTensor rv_image(RvProgram *program, RvTensor x, int index);
RvTensor rv_reshape(RvProgram *program, RvTensor x, RvShape shape);

/* Plans memory, readies ops and weights. Once. */
bool rv_program_compile(RvProgram *program, GError **error);
/* The same in pieces, between the runs of other programs: works until `until_us` (monotonic time), on one op
 * at least, and says whether all is done. The last piece, in which the back end builds the plan, is not
 * divided. */
bool rv_program_compile_some(RvProgram *program, gint64 until_us, bool *is_done, GError **error);
/* Sizes must be the slot's exactly. */
bool rv_program_write(RvProgram *program, const char *input, const void *data, gsize bytes, GError **error);
/* Bytes of the input or output of that name; 0 when there is none. */
gsize rv_program_slot_bytes(const RvProgram *program, const char *name);
bool rv_program_run(RvProgram *program, GError **error);
bool rv_program_read(RvProgram *program, const char *output, void *data, gsize bytes, GError **error);

/* From one program's output (or input) to another's input of the same bytes, without the host. */
bool rv_program_copy(const RvProgram *from, const char *slot, RvProgram *to, const char *input,
                     GError **error);

/* A run without waiting for it. `host` of an input is read before start returns; that of an output must stay
 * and is filled when finish returns. Inputs that are not named keep what they hold. At most
 * RV_STARTS_UNDER_WAY runs of a program are under way; writes, reads and copies between them are ordered as
 * they are called. */
typedef struct {
    const char *slot;
    void *host;
    gsize bytes; /* the slot's exactly */
} RvSlotBytes;
bool rv_program_start(RvProgram *program, const RvSlotBytes *in, int ins, const RvSlotBytes *out, int outs,
                      GError **error);
bool rv_program_finish(RvProgram *program, GError **error); /* the oldest run that is under way */
/* rv_program_run() and rv_program_read() with one wait for the device instead of two. */
bool rv_program_run_and_read(RvProgram *program, const char *output, void *data, gsize bytes, GError **error);

double rv_program_flops(const RvProgram *program);
gsize rv_program_scratch(const RvProgram *program); /* bytes planned, after compile */
