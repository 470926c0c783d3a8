/* networks.h - LoRAs merged into a pipeline's resident weights: several at a time, undone exactly.
 *
 * Merging packs the weights concerned again, from the model's file and through the adapters, into the memory
 * that they already have; programs stay compiled, and without adapters the packed bits are the first ones
 * again. Adapters stay mapped while they are used, and a few after that. */
#pragma once
#include "engine/library.h"
#include "engine/request.h"
#include "tensor/program.h"
#include "weights/lora.h"

typedef struct RvNetworks RvNetworks;

/* `model` and `library` are borrowed; model NULL (random weights): asking for an adapter is an error. Of
 * SDXL's refiner adapters change what they fit, be it nothing. */
RvNetworks *rv_networks_new(const RvModel *model, const RvLibrary *library);
void rv_networks_free(RvNetworks *networks); /* before the weight sets; accepts NULL */
/* The part's weights go through the networks from now on. */
void rv_networks_attach(RvNetworks *networks, RvPart part, RvWeightSet *weights);

/* Puts the weights into the state that `tags` (RvPromptNetwork, of which "lora" and "lyco" count; NULL: none)
 * and `uses` ask for; nothing is done for parts that are in it. A tag that names no LoRA, and modules without
 * a layer, become sentences in `notes` (char *); anything else is an error, after which no adapter is merged.
 */
bool rv_networks_apply(RvNetworks *networks, const GPtrArray *tags, const RvLoraUse *uses, int use_count,
                       GPtrArray *notes, GError **error);

/* A1111's "Lora hashes" of what is merged, "name: 0123456789ab, other: ..."; NULL: nothing. Free with g_free.
 */
char *rv_networks_hashes(RvNetworks *networks);
