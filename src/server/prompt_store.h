/* prompt_store.h - prompts encoded beside the frames: a thread with text encoders of its own, and what it
 * made.
 *
 * A drawer asks for the prompts of a frame and never waits: while one of them is being encoded it goes on
 * with what it had. Any thread may ask. */
#pragma once
#include "engine/conditioning.h"
#include "server/state.h"

typedef struct RvPromptStore RvPromptStore;

typedef struct {
    const char *model, *models_dir, *vae; /* as the drawers' */
    const char *device, *precision;
    const int *cancel;
} RvPromptStoreOptions;

RvPromptStore *rv_prompt_store_new(const RvPromptStoreOptions *options); /* copies the texts */
/* Gives up the text encoders until the next prompt that is not known. Accepts NULL. */
void rv_prompt_store_park(RvPromptStore *store);
/* Ends the thread after what it is encoding, or leaves it behind at `deadline_us`. Accepts NULL. */
void rv_prompt_store_close(RvPromptStore *store, gint64 deadline_us);

/* The prompts, weighed and mixed: a new reference. NULL without an error while one of them is being encoded
 * (it is asked for by this call), with one if a prompt cannot be encoded. */
RvConditioning *rv_prompt_store_get(RvPromptStore *store, const RvParameters *parameters, GError **error);
/* The same, but waits for the encoder. */
RvConditioning *rv_prompt_store_wait(RvPromptStore *store, const RvParameters *parameters, GError **error);
/* Prompts that are being encoded or wait for it. */
int rv_prompt_store_pending(RvPromptStore *store);
/* How long the last prompt took to encode; 0: none was. */
gint64 rv_prompt_store_encode_us(RvPromptStore *store);
