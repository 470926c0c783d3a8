/* drawer.h - what makes a shown picture of a camera's: an effect, or a model on a device.
 *
 * A drawer belongs to one thread, which opens it, draws with it and closes it; only make and free are for
 * others. Drawing is a plain call: threads, order and time are src/live's and mirror_device.c's. */
#pragma once
#include "media/picture.h"
#include "server/prompt_store.h"

typedef struct RvDrawer RvDrawer;

typedef struct {
    /* Loads whatever is needed and draws once, so that the first frame takes no longer than the next. */
    bool (*open)(RvDrawer *drawer, GError **error);
    /* `frame` has the drawer's size. RV_ERROR_DEVICE and RV_ERROR_NO_MEMORY: open it anew. */
    RvPicture *(*draw)(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters,
                       GError **error);
    void (*close)(RvDrawer *drawer); /* also after a failed open */
    void (*free)(RvDrawer *drawer);
} RvDrawerClass;

struct RvDrawer {
    const RvDrawerClass *class;
    /* Instead of draw() where the camera's picture is needed no more; cannot fail. NULL: there is no such
     * way. */
    void (*draw_in_place)(RvDrawer *drawer, RvPicture *frame, const RvParameters *parameters);
    const char *name;   /* "cuda:0", "invert"; owned by the drawer */
    int width, height;  /* of its pictures, once open */
    gsize device_bytes; /* once open */
};

RvDrawer *rv_drawer_invert_new(int width, int height);

typedef struct {
    const char *model; /* path */
    const char *models_dir, *vae;
    const char *device, *precision;
    int threads;
    int width, height;      /* 0: the model's own */
    const int *cancel;      /* not 0: give up */
    RvPromptStore *prompts; /* borrowed; shared by the drawers of one model */
} RvEngineDrawerOptions;
RvDrawer *rv_drawer_engine_new(const RvEngineDrawerOptions *options); /* copies the texts */

/* Draws `frame`, which it takes and which has the drawer's size, with all that drawers have in common:
 * passthrough, opacity over the camera's picture, mirroring. In the drawer's thread. */
RvPicture *rv_drawer_draw(RvDrawer *drawer, RvPicture *frame, const RvParameters *parameters, GError **error);
