/* lora_private.h - private to this folder: an adapter's modules. */
#pragma once
#include "weights/lora.h"
#include "weights/safetensors.h"

typedef enum {
    RV_LORA_DOWN, /* [rank, in, kh, kw] */
    RV_LORA_UP,   /* [out, rank, 1, 1] */
    RV_LORA_MID,  /* [rank, rank, kh, kw] */
    RV_LORA_ALPHA,
    RV_LORA_SCALE, /* in place of alpha / rank */
    RV_LORA_DORA,
    RV_HADA_1A, /* [out, rank] */
    RV_HADA_1B, /* [rank, in * kh * kw] */
    RV_HADA_2A,
    RV_HADA_2B,
    RV_HADA_T1, /* [rank, rank, kh, kw]: then a is [rank, out] and b [rank, in] */
    RV_HADA_T2,
    RV_LOKR_1, /* [a, b] */
    RV_LOKR_1A,
    RV_LOKR_1B,
    RV_LOKR_2, /* [c, d, kh, kw] */
    RV_LOKR_2A,
    RV_LOKR_2B,
    RV_LOKR_T2, /* [rank, rank, kh, kw] */
    RV_LORA_DIFF,
    RV_LORA_DIFF_BIAS,
    RV_LORA_SLOTS,
} RvLoraSlot;

typedef enum { RV_LORA_PLAIN, RV_LORA_HADA, RV_LORA_KRON, RV_LORA_FULL, RV_LORA_KINDS } RvLoraKind;

typedef struct {
    char *key;                           /* as the file has it, without the slot's ending */
    const RvArray *slots[RV_LORA_SLOTS]; /* of the file; NULL: not there */
    RvLoraKind kind;
    int rank;
    float scale;
    /* once bound */
    RvPart part;
    gint64 out, in, taps; /* of the layer's weight: [out, in, taps] */
} RvLoraModule;

/* Checks that the module's matrices fit each other and settles kind, rank and scale. */
bool rv_lora_module_settle(RvLoraModule *module, const char *path, GError **error);
/* Whether they give a difference of this shape. */
bool rv_lora_module_fits(const RvLoraModule *module, gint64 out, gint64 in, gint64 taps);
/* to[out][in * taps] += weight * ... as lora.h says. */
void rv_lora_module_apply(const RvLoraModule *module, double weight, float *to);

/* A layer that adapters may change. */
typedef struct {
    RvPart part;
    char *weight, *bias; /* canonical names; bias NULL: none */
    gint64 out, in, taps;
} RvLoraLayer;

/* Layers by every spelling of their names that adapters use: parts' prefixes are "unet_", "te_" and "te2_",
 * dots are underscores. -> RvLoraLayer. Free with g_hash_table_unref. */
GHashTable *rv_lora_layers_new(const RvModel *model);
/* Brings a module's key to that form; free with g_free. */
char *rv_lora_normal_key(const char *key);
