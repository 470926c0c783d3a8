/* internal.h - shared by the CUDA back end's files only. */
#pragma once
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "backends/cuda/kernels.h"
#include "backends/cuda/tuning.h"
#include "tensor/backend.h"

typedef struct CudaArena CudaArena;
typedef struct CudaChunk CudaChunk;
typedef struct CudaCounters CudaCounters;
typedef struct CudaNotes CudaNotes;
typedef struct CudaRanges CudaRanges;
typedef struct CudaStaging CudaStaging;

/* One opened GPU. All ops are enqueued on `stream`, in order, so they may share the workspaces below. */
typedef struct {
    int index;
    int sm; /* compute capability as one number: 75, 80, 86, 89, 90, 100, 120 */
    int multiprocessors;
    gsize shared_memory; /* bytes that one block may ask for */
    RvDType compute;     /* the device's; an op computes in the type of its output (CONVERT: of its input) */
    RvFp8 fp8;           /* f8.h */
    RvTurn turn;
    char name[128];
    cudaStream_t stream, upload_stream, download_stream;
    cublasLtHandle_t lt;
    cudnnHandle_t dnn; /* bound to `stream` */
    void *lt_workspace;
    gsize lt_workspace_bytes;
    CudaCounters *counters; /* workspaces that must be zero (counters.h) */
    CudaTuning *tuning;     /* NULL where no choice can be kept */
    CudaRanges *ranges;
    CudaArena *arena;
    GHashTable *chunks; /* address -> CudaChunk */
    CudaStaging *staging;
    CudaFault *fault;       /* pinned: what a kernel found wrong with its operands' values */
    unsigned *fault_claim;  /* device memory, 0 until a kernel has something to report */
    unsigned *norm_tickets; /* device memory, zero between kernels (norm.c) */
    int norm_ticket_count;
    CudaNotes *notes;         /* NULL unless somebody calibrates */
    GHashTable *calibrations; /* name -> CudaTuning: what was noted; NULL until it is asked for */
    float *f8_ones;           /* device memory, CUDA_F8_MOST_ROWS times 1; NULL without fp8 */
    void *f8_room;            /* a layer's weights on their way to E4M3 */
    gsize f8_room_bytes;
} CudaDevice;

#define CUDA_F8_MOST_ROWS (1 << 18)

/* How one kind of op is readied and run; one file per op. `prepare` and `release` may be NULL; prepare may
 * allocate, time candidates and wait. `run` only enqueues on the stream given, in a form that a CUDA graph
 * can capture: no allocation, no waiting. Outputs are written in full; workspace_data holds op->workspace
 * bytes, not zeroed. Kernels keep the operands' addresses, which are final when `run` is called. */
typedef struct {
    bool (*prepare)(CudaDevice *device, RvOp *op, GError **error);
    bool (*run)(CudaDevice *device, const RvOp *op, cudaStream_t stream, GError **error);
    void (*release)(CudaDevice *device, RvOp *op); /* only called when op->state is set; frees it */
} CudaOp;

extern const CudaOp cuda_conv2d, cuda_linear, cuda_attention, cuda_group_norm, cuda_layer_norm, cuda_act,
    cuda_glu, cuda_add, cuda_mix, cuda_concat, cuda_embed, cuda_pick, cuda_sinusoid, cuda_convert;

/* True when the call went well; else a one-line error with the library's own text: RV_ERROR_NO_MEMORY when
 * memory is what is missing, RV_ERROR_DEVICE otherwise. */
bool cuda_check(cudaError_t status, const char *what, GError **error);
bool cuda_check_cublas(cublasStatus_t status, const char *what, GError **error);
bool cuda_check_cudnn(cudnnStatus_t status, const char *what, GError **error);
/* After a kernel launch. */
bool cuda_check_launch(const RvOp *op, GError **error);

/* Makes the device the calling thread's current one. */
bool cuda_bind(CudaDevice *device, GError **error);

/* Device memory, 256-byte aligned; NULL and an error that says what is needed and what is free. */
void *cuda_alloc(CudaDevice *device, gsize bytes, GError **error);
void cuda_free(CudaDevice *device, void *memory);
/* Says that so many bytes are needed (`what`: " more", for example), and what is free. */
void cuda_set_out_of_memory(CudaDevice *device, gsize bytes, const char *what, GError **error);

/* The scratch region: a reserved address range that memory is mapped into as it grows. Growing waits for the
 * device. */
CudaArena *cuda_arena_new(CudaDevice *device, GError **error);
void cuda_arena_free(CudaArena *arena); /* accepts NULL */
void *cuda_arena_grow(CudaArena *arena, gsize bytes, GError **error);
/* Gives its memory back, waiting for the device. */
bool cuda_arena_trim(CudaArena *arena, GError **error);

/* Weights: the slots of RvBackend (chunk.c). */
void *cuda_chunk_new(CudaDevice *device, gsize bytes, GError **error);
void cuda_chunk_free(CudaDevice *device, void *memory); /* accepts NULL */
bool cuda_chunk_keep(CudaDevice *device, void *memory, gsize used, bool *is_kept, GError **error);
bool cuda_chunk_suspend(CudaDevice *device, void *memory, GError **error);
bool cuda_chunk_resume(CudaDevice *device, void *memory, GError **error);

/* Pinned memory between the host's pages and the device, filled by several threads. */
CudaStaging *cuda_staging_new(CudaDevice *device, GError **error);
void cuda_staging_free(CudaStaging *staging); /* accepts NULL */
/* memcpy by several threads where that pays. */
void cuda_copy_host(CudaDevice *device, void *to, const void *from, gsize bytes);
/* Copies; the memory on the host may be reused at return, the device's is ready for what is enqueued on
 * `device->stream` from then on. */
bool cuda_upload(CudaDevice *device, void *to, const void *from, gsize bytes, GError **error);
/* Waits for what is enqueued on `device->stream`, then copies. */
bool cuda_download(CudaDevice *device, void *to, const void *from, gsize bytes, GError **error);

typedef enum {
    CUDA_PLAIN,          /* elements in the order of the file */
    CUDA_OIHW_TO_OHWI,   /* convolution weights: [out, in, h, w] becomes [out, h, w, in] */
    CUDA_OIHW_TO_SPREAD, /* 3x3 after a resize to twice the size: [in, 4, 4, out], see cuda_doubling() */
    CUDA_OIHW_TO_TWICE,  /* the same as [out, 4, 4, in] */
} CudaLayout;

/* Writes a weight's elements to device memory as `to_type` (RV_F32, RV_F16 or RV_BF16; rounds to nearest
 * even, as rv_convert_from_f32 does): through pinned staging, converted and permuted on the GPU. For pack
 * functions. */
bool cuda_load_weight(CudaDevice *device, const RvArray *from, CudaLayout layout, RvDType to_type, void *to,
                      GError **error);

/* A compiled plan (exec.c): the slots of RvBackend. */
bool cuda_exec_build(void *device, const RvPlan *plan, void **exec, GError **error);
void cuda_exec_drop(void *device, void *exec);
bool cuda_exec_run(void *device, void *exec, const int *cancel, RvObserver observer, void *user,
                   GError **error);
bool cuda_exec_start(void *device, void *exec, const int *cancel, const RvTransfer *in, int ins,
                     const RvTransfer *out, int outs, GError **error);
bool cuda_exec_finish(void *device, void *exec, GError **error);

const CudaOp *cuda_op_of(RvOpKind kind); /* NULL when the back end lacks the op */

/* An operand as kernels take it. */
CudaView cuda_view(const RvOperand *operand);
/* False with an error that names op and type unless every present operand is F32, F16 or BF16. */
bool cuda_wants_floats(const RvOp *op, GError **error);
bool cuda_refuse_dtype(const RvOp *op, RvDType dtype, GError **error);
