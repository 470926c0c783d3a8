/* op.h - the operations a model is written in: about fifteen coarse ones over NHWC activations.
 *
 * An activation is [n, h, w, c] with c innermost; its bytes equal [n, tokens = h*w, c], so attention
 * needs no copies. Fusion is an option of an op (`act`, `add`, `up_h`), never an optimiser's guess:
 * every op computes out = act(op(x) + bias + add). Zero means the default in every options struct. */
#pragma once
#include "base/array.h"
#include "base/error.h"

typedef struct {
    int n, h, w, c;
} RvShape;

typedef enum {
    RV_ACT_NONE = 0,
    RV_ACT_SILU,       /* x * sigmoid(x) */
    RV_ACT_GELU,       /* x * Phi(x), exact (erf) */
    RV_ACT_QUICK_GELU, /* x * sigmoid(1.702 x) */
    RV_ACT_RELU,
    RV_ACT_TANH3, /* 3 * tanh(x / 3): the clamp before TAESD's decoder */
} RvAct;

typedef struct {
    int index; /* 0 means none */
} RvTensor;

/* Weight NAME.weight [out, in, k, k]; NAME.bias [out]. Cross-correlation with zero padding, or with what lies
 * at the other edge (torch's padding_mode "circular"). */
typedef struct {
    int out;        /* output channels; required */
    int kernel;     /* 0: 3 */
    int stride;     /* 0: 1 */
    bool pad_end;   /* pad right and bottom only (the VAE's downsampling); else (kernel - 1) / 2 around */
    bool circular;  /* the picture goes on at its other edge; not with pad_end */
    int up_h, up_w; /* nearest-neighbour resize of x to this size before the convolution; 0: none */
    bool no_bias;
    RvAct act;
    RvTensor add; /* [n,h,w,out], or [n,1,1,out] added to every pixel */
} RvConv2d;

/* Weight NAME.weight [out, in] or [out, in, 1, 1]; NAME.bias [out]. Several names joined by '|' are
 * stacked along the outputs ("to_q|to_k|to_v" gives 3 * out channels). */
typedef struct {
    int out; /* outputs of each name; required */
    bool no_bias;
    RvAct act;
    RvTensor add; /* as in RvConv2d */
} RvLinear;

/* softmax(q k^T * scale) v for each head; head i owns channels [i*c/heads, (i+1)*c/heads).
 * q [n,h,w,c]; k, v [n,*,*,c] with their own token count. q, k, v may be channel slices. */
typedef struct {
    int heads; /* required */
    bool causal;
    float scale; /* 0: 1 / sqrt(c / heads) */
} RvAttention;

typedef struct {
    int groups; /* group norm: required */
    float eps;  /* 0: 1e-5 */
    RvAct act;
} RvNorm;

/* The transformer's timestep embedding (diffusers get_timestep_embedding): frequencies
 * exp(-ln(10000) * i / (width/2 - shift)); [sin | cos], or [cos | sin] with flip_sin_to_cos. */
typedef struct {
    int width; /* even; required */
    bool flip_sin_to_cos;
    float shift; /* diffusers' freq_shift (downscale_freq_shift) */
} RvSinusoid;

/* out = clamp(x * scale + shift) in another type; RV_U8 rounds half to even and saturates. */
typedef struct {
    RvDType dtype;
    float scale; /* 0: 1 */
    float shift;
} RvConvert;

typedef enum {
    RV_OP_CONV2D,
    RV_OP_LINEAR,
    RV_OP_ATTENTION,
    RV_OP_GROUP_NORM,
    RV_OP_LAYER_NORM,
    RV_OP_ACT,
    RV_OP_GLU,      /* GEGLU: x[..., :c/2] * gelu(x[..., c/2:]) */
    RV_OP_ADD,      /* a + b; b like a, or [n,1,1,c], or [1,...] added to every image */
    RV_OP_MIX,      /* a*x + b*y; a, b: F32 one element, or a mask [n or 1, h, w, 1]; absent: 1 */
    RV_OP_CONCAT,   /* along channels */
    RV_OP_EMBED,    /* table rows by I32 ids [n,1,t,1], plus a position table's rows */
    RV_OP_PICK,     /* one token of each image: x [n,h,w,c], I32 index [n,1,1,1] -> [n,1,1,c] */
    RV_OP_SINUSOID, /* F32 [n,h,w,1] -> [n,h,w,width] */
    RV_OP_CONVERT,
    RV_OP_KINDS,
} RvOpKind;

const char *rv_op_kind_name(RvOpKind kind);

#define RV_OP_INPUTS 4
#define RV_OP_WEIGHTS 6

/* What a back end sees of an input or output. */
typedef struct {
    RvDType dtype;
    RvShape shape;
    int pixel_stride; /* elements from one pixel (token) to the next: shape.c, more for a channel slice */
    void *data;       /* in device memory; fixed once the program is built; NULL for an absent operand */
} RvOperand;

typedef struct {
    char *name; /* full name, the key of caches and the subject of errors */
    RvArray array;
} RvOpWeight;

typedef struct RvWeightSet RvWeightSet;

/* One recorded operation. `feeder` and `reader` say who else deals with a tensor: a back end may pass it on
 * in a form of its own between two ops of which both know it. Inputs by kind:
 *   CONV2D, LINEAR: [0] x, [1] add (may be absent); weights: LINEAR name i at [2i] weight, [2i+1] bias
 *   ATTENTION: q, k, v    GROUP_NORM, LAYER_NORM: x; weights [0] weight [1] bias
 *   ADD, CONCAT: a, b     MIX: [0] x, [1] y, [2] a, [3] b    PICK: x, index
 *   EMBED: ids; weights [0] table [rows, c], [1] positions [t, c]    others: x */
typedef struct RvOp {
    RvOpKind kind;
    char *name;        /* layer name, for errors, dumps and profiles */
    const char *stage; /* the part of the program that it belongs to (rv_program_stage); "" for none */
    RvOperand in[RV_OP_INPUTS];
    RvOperand out;
    RvOpWeight weight[RV_OP_WEIGHTS]; /* array.data NULL when absent */
    RvWeightSet *weights; /* borrowed: where packed weights are cached; NULL for ops without any */
    /* LINEAR, CONV2D, borrowed: where it is written how 8-bit floats may do; NULL: they may not. */
    const char *calibration;
    struct RvOp *feeder; /* all of in[0] is its result, which nobody else reads; NULL: there is no such op */
    struct RvOp *reader; /* the op whose feeder this one is; NULL: none */
    union {
        RvConv2d conv2d;
        RvLinear linear;
        RvAttention attention;
        RvNorm norm;
        RvAct act;
        RvSinusoid sinusoid;
        RvConvert convert;
    };
    gsize workspace;      /* set by the back end's prepare: scratch bytes during this op */
    bool apart;           /* set by prepare: out must not lie where in[0] lies */
    RvDType factors;      /* set by prepare where it is not out's type: what its products multiply */
    float error;          /* set by prepare: relative, what that costs as far as it was measured; else 0 */
    void *workspace_data; /* its address, 64-byte aligned, before build */
    void *state;          /* the back end's own; freed by its release */
    double flops;         /* multiply and add count as two; 0 for memory-bound ops */
} RvOp;

static inline gint64
rv_shape_pixels(RvShape s)
{
    return (gint64)s.n * s.h * s.w;
}

static inline gint64
rv_shape_count(RvShape s)
{
    return rv_shape_pixels(s) * s.c;
}
