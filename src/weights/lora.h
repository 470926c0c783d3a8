/* lora.h - adapters: small files that change the weights of a model that they were made for.
 *
 * Kinds: LoRA (Hu et al. 2021) and LoCon (the same for convolutions, with or without a middle kernel), LoHa
 * (Hyeon-Woo et al. 2022), LoKr (Edalati et al. 2022), full differences (`diff`, `diff_b`, `w_norm`,
 * `b_norm`) and, on any of them, DoRA's magnitudes (Liu et al. 2024). With d the difference that a module's
 * matrices give and s = alpha / rank (1 without alpha), a weight W becomes W + weight * s * d or with DoRA W
 * + weight * (magnitude * (W + s * d) / norm(W + s * d) - W) where norm goes over the inputs of each output,
 * or over the outputs of each input, as the magnitude's shape says. Names may be kohya's (of LDM's or
 * diffusers' UNet), LyCORIS', peft's and those of diffusers' older versions; text encoders' are
 * transformers'.
 *
 * Files are untrusted: shapes are checked against each other and the model before anything is computed.
 * Threads: an open adapter does not change, but for rv_lora_bind(). */
#pragma once
#include "weights/model.h"

typedef struct RvLora RvLora;

/* NOT_FOUND, INVALID (malformed, matrices that do not fit each other), UNSUPPORTED (kinds that we do not
 * know: GLoRA, IA3, OFT; no adapter at all). The file stays mapped. */
RvLora *rv_lora_open(const char *path, GError **error);
void rv_lora_close(RvLora *lora); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvLora, rv_lora_close)

const char *rv_lora_path(const RvLora *lora);
guint rv_lora_modules(const RvLora *lora);
int rv_lora_rank(const RvLora *lora);         /* the largest; 0: full differences only */
const char *rv_lora_kind(const RvLora *lora); /* "LoRA", "LoHa", "LoKr", "difference"; "mixed" */
/* The name in its metadata (ss_output_name), which prompts may use too; NULL: none. */
const char *rv_lora_alias(const RvLora *lora);
gsize rv_lora_bytes(const RvLora *lora); /* of the file */
/* 12 hexadecimal digits as A1111 shows them: SHA-256 of what follows the header, from the metadata
 * (sshs_model_hash) when it is there; else the whole file is read. NULL when that fails. Free with g_free. */
char *rv_lora_hash(const RvLora *lora);

/* Finds each module's layer in the model. Modules without one are listed by rv_lora_unknown(). INVALID when a
 * module does not fit its layer's shape (an adapter for another family), or when none has a layer. */
bool rv_lora_bind(RvLora *lora, const RvModel *model, GError **error);
/* The same for a model beside the one that it was made for: modules that fit no layer do nothing, and all
 * may.
 */
void rv_lora_bind_what_fits(RvLora *lora, const RvModel *model);
const GPtrArray *rv_lora_unknown(const RvLora *lora); /* char *, the modules' names in the file */
/* Whether a bound adapter changes this tensor; `visit` gets the names of all that it changes in a part. */
bool rv_lora_touches(const RvLora *lora, RvPart part, const char *name);
void rv_lora_each(const RvLora *lora, RvPart part, void (*visit)(void *user, const char *name), void *user);
/* Applies it to `values`, the tensor's present numbers in float32, [out, inputs of each output]. */
void rv_lora_apply(const RvLora *lora, RvPart part, const char *name, double weight, float *values);
