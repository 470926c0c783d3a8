/* names.h - private to this folder: from the tensors of any layout to one set of names.
 *
 * Canonical names are those of diffusers and transformers ("down_blocks.0.resnets.0.conv1.weight",
 * "text_model.encoder.layers.0.self_attn.q_proj.weight"). The layer works on lists of (name, type, shape);
 * where the tensors have data, the canonical arrays are views of it, and copies only where a matrix is
 * stored the other way round. */
#pragma once
#include "weights/part.h"
#include "weights/safetensors.h"

typedef enum {
    RV_NAME_UNKNOWN, /* left over */
    RV_NAME_IGNORED, /* known, and not needed: buffers, averaged copies */
    RV_NAME_BOUND,
} RvNameState;

typedef struct {
    const RvFileTensor *tensor;
    RvPart part; /* the part that it was given for or found to be in; RV_PART_NONE: none */
    RvNameState state;
    bool needed; /* the configs ask for it (or for a slice of it) */
} RvSource;

typedef struct {
    RvArray array; /* as the models want it; `array.data` is NULL when the list has no data */
    bool readable;
    gsize source; /* index into `sources` */
    void *owned;  /* the copy behind array.data, if it is one */
} RvBinding;

typedef struct {
    GHashTable *bound[RV_PARTS]; /* canonical name -> RvBinding */
    GArray *sources;             /* of RvSource */
    GHashTable *markers;         /* set of names that carry meaning: "v_pred", "ztsnr" */
    bool openclip[RV_PARTS];     /* the part came in OpenCLIP's names */
} RvNames;

RvNames *rv_names_new(void);
void rv_names_free(RvNames *names); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvNames, rv_names_free)

/* Binds the tensors of one file. `part` is the part that the file holds, or RV_PART_NONE when prefixes and
 * structure tell. The tensors must outlive `names`. `path` is for messages. Fails when two tensors claim one
 * name. */
bool rv_names_add(RvNames *names, const RvFileTensor *tensors, gsize count, RvPart part, const char *path,
                  GError **error);

const RvBinding *rv_names_find(const RvNames *names, RvPart part, const char *name);
bool rv_names_has_part(const RvNames *names, RvPart part);
void rv_names_drop_part(RvNames *names, RvPart part); /* forgets a part, sources included */

/* ---- between names.c and the files that know one kind of name each ---- */

/* How a stored tensor becomes the canonical one. */
typedef enum {
    RV_VIEW_WHOLE,
    RV_VIEW_THIRDS,     /* rows 3n -> three tensors of n rows (query, key, value) */
    RV_VIEW_TRANSPOSED, /* a matrix stored [in, out] */
    RV_VIEW_MATRIX,     /* [c, d, 1, 1] -> [c, d] */
} RvView;

#define RV_MAX_BLOCKS 64

/* Where an LDM UNet's numbered block lives in diffusers' counting. */
typedef struct {
    int level, index;
    bool downsampler; /* input block: it is the level's downsampler */
    int upsampler;    /* output block: sub-module number of its upsampler, 0: none */
} RvLdmBlock;

typedef struct {
    GHashTable *raw; /* set of the names without prefix */
    int inputs, outputs;
    RvLdmBlock input[RV_MAX_BLOCKS], output[RV_MAX_BLOCKS];
    bool middle_without_attention;
    int vae_levels;     /* up levels of an LDM VAE's decoder */
    bool decoder_shift; /* original TAESD: the decoder's first layer is a clamp without weights */
    const char *bare;   /* prefix to put before the names ("encoder." for taesd_encoder files), or "" */
    int last_layer;     /* OpenCLIP: highest layer in use */
} RvNaming;

typedef enum { RV_CANON_UNKNOWN, RV_CANON_IGNORE, RV_CANON_OK } RvCanon;

/* Each turns a name without prefix into the canonical one; for RV_VIEW_THIRDS `out` holds "%s" where
 * q_proj, k_proj, v_proj go. */
RvCanon rv_canon_unet(const char *name, const RvNaming *naming, GString *out, RvView *view);
RvCanon rv_canon_controlnet(const char *name, const RvNaming *naming, GString *out, RvView *view);
RvCanon rv_canon_vae(const char *name, const RvNaming *naming, GString *out, RvView *view);
RvCanon rv_canon_taesd(const char *name, const RvNaming *naming, GString *out, RvView *view);
RvCanon rv_canon_clip(const char *name, const RvNaming *naming, GString *out, RvView *view);
RvCanon rv_canon_openclip(const char *name, const RvNaming *naming, GString *out, RvView *view);

void rv_naming_scan_unet(RvNaming *naming);
void rv_naming_scan_vae(RvNaming *naming);
bool rv_naming_is_ldm_unet(const RvNaming *naming);

/* Takes "PREFIX<number>." off the front of *name. */
bool rv_take_number(const char **name, const char *prefix, int *number);
/* Replaces the front of `name` by the first pair {from, to} that fits, into `out`; false if none does. */
bool rv_replace_front(const char *name, const char *const pairs[][2], gsize count, GString *out);
