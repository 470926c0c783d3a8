/* config_read.h - private to this folder: where the config structs come from. */
#pragma once
#include "weights/config.h"
#include "weights/names.h"
#include <json-glib/json-glib.h>

typedef union {
    RvClipConfig clip;
    RvUnetConfig unet;
    RvVaeConfig vae;
    RvTaesdConfig taesd;
    RvControlnetConfig controlnet;
} RvConfig;

/* From a part's config.json. Ranges are checked; what our models cannot do is RV_ERROR_UNSUPPORTED.
 * The UNet's time_ids and pooled_dim are settled by rv_config_settle_pooled. */
bool rv_config_read(const char *path, RvPart part, RvConfig *out, GError **error);
/* The same of an object that was read; `path` is for messages. */
bool rv_config_parse(JsonObject *object, const char *path, RvPart part, RvConfig *out, GError **error);

/* What single files do not say, and the rest of the model does. */
typedef struct {
    bool is_sd15;    /* 8 heads at every level; else heads are 64 wide */
    bool quick_gelu; /* of this text part */
    float vae_scale;
} RvGuess;

/* From names and shapes. */
bool rv_config_deduce(const RvNames *names, RvPart part, const RvGuess *guess, RvConfig *out,
                      const char *path, GError **error);

/* Splits the added embedding's width, given as pooled_dim with time_ids 0, into the pooled text (`projection`
 * wide if known, else 0) and the time ids. */
void rv_config_settle_pooled(RvUnetConfig *unet, int projection, bool refiner);

/* Every tensor that a part of this config has, by canonical name. */
typedef void (*RvExpect)(void *user, const char *name, int rank, const gint64 *shape);
void rv_config_expect(RvPart part, const RvConfig *config, RvExpect expect, void *user);

/* Equal but for trailing ones, which 1x1 convolutions have and matrices do not. */
bool rv_shapes_match(int rank, const gint64 *shape, int rank2, const gint64 *shape2);
