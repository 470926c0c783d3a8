/* f8.h - layers that multiply 8-bit floats (E4M3, "FP8 formats for deep learning", Micikevicius et al. 2022):
 * out = act(scale[channel] * (x w) + bias + add) in float16, x and w in E4M3.
 *
 * Weights are scaled by the largest magnitude of each output channel when they are packed, activations by the
 * largest one that calibration has seen at the layer; both factors are in scale[]. x becomes E4M3 where the
 * op before stores it, if that op knows how, or in a pass of its own. A layer stays in float16 when it has no
 * calibration, when rounding costs it too much, when its shape does not suit the libraries or when that is no
 * faster. */
#pragma once
#include "backends/cuda/f8_kernels.h"
#include "backends/cuda/internal.h"

/* The state of a linear layer's or convolution's op begins with this. */
typedef struct {
    struct CudaF8 *f8;            /* NULL: computed in its type */
    struct CudaLayerNotes *notes; /* NULL: nobody calibrates; else in device memory */
    gsize workspace;              /* of the op itself; what the notes need lies behind it */
} CudaLayer;

typedef struct CudaF8 CudaF8;

#define CUDA_F8_OLDEST 89 /* compute capability */

/* For the op's prepare: *f8 is NULL when the layer stays as it is. `conv`: described, bias only saying
 * whether there is one; `microseconds`: of the layer in its type. Packs the weights; sets op->workspace,
 * op->factors and op->error. */
bool cuda_f8_new(CudaF8 **f8, CudaDevice *device, RvOp *op, const CudaConv *conv, double microseconds,
                 GError **error);
void cuda_f8_free(CudaF8 *f8); /* accepts NULL */
/* conv: the layer in float16 with its addresses. */
bool cuda_f8_run(const CudaF8 *f8, CudaDevice *device, const RvOp *op, const CudaConv *conv,
                 cudaStream_t stream, GError **error);
/* Where op's result goes: its own place, as E4M3 if the layer that reads it wants that. For ops whose kernels
 * can store it. */
CudaView cuda_f8_out(CudaDevice *device, const RvOp *op);
/* Whether the attention, which is prepared, can store E4M3 (attention.c). */
bool cuda_attention_stores_f8(const RvOp *op);
/* For the prepare of an op that may run in place: keeps it apart from its input if it may store E4M3. */
void cuda_f8_keep_apart(CudaDevice *device, RvOp *op);

/* Calibration (f8_notes.c). */
bool cuda_calibrate(void *device, const char *calibration, RvCalibrationStep step, bool *is_known,
                    GError **error);
typedef struct {
    float largest; /* of the layer's inputs */
    float each;    /* relative error of its result without its addend when inputs and weights are rounded,
                      with a scale for each output; */
    float one;     /* with one scale for all of them */
} CudaF8Record;
/* NULL: the layer is not in its calibration. */
const CudaF8Record *cuda_f8_record(CudaDevice *device, const RvOp *op);
/* Has the layer take notes if somebody calibrates it: sets layer->notes and adds to op->workspace, last in
 * the op's prepare. */
bool cuda_f8_take_notes(CudaLayer *layer, CudaDevice *device, RvOp *op, const CudaConv *conv, GError **error);
/* `rerun` is the layer's own way, with other addresses. */
typedef bool (*CudaRerun)(CudaDevice *device, const RvOp *op, const CudaConv *conv, cudaStream_t stream,
                          GError **error);
/* After the layer has run as usual on `conv`. */
bool cuda_f8_note(const CudaLayer *layer, CudaDevice *device, const RvOp *op, const CudaConv *conv,
                  CudaRerun rerun, cudaStream_t stream, GError **error);
bool cuda_f8_open(CudaDevice *device, GError **error);
void cuda_f8_close(CudaDevice *device);
