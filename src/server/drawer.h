/* drawer.h - what makes a shown picture of a camera's: an effect, or a model on a device.
 *
 * A drawer belongs to one thread, which opens it, draws with it and closes it; only make and free are for
 * others. Drawing is a call to start a frame and one to wait for it: threads, order and time are src/live's
 * and mirror_device.c's. */
#pragma once
#include "media/raster.h"
#include "server/prompt_store.h"

typedef struct RvDrawer RvDrawer;

typedef struct {
    /* Loads whatever is needed and draws as `parameters` say, so that the first frame takes no longer than
     * the next. */
    bool (*open)(RvDrawer *drawer, const RvParameters *parameters, GError **error);
    /* `frame` has the drawer's size and is read before this returns. At most `depth` frames are under way.
     * RV_ERROR_DEVICE and RV_ERROR_NO_MEMORY, here and of finish: close it and open it anew. */
    bool (*start)(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error);
    RvPicture *(*finish)(RvDrawer *drawer, GError **error); /* the oldest that is under way */
    /* Instead of these two: changes `frame` in place, RGB or planes. Cannot fail, and takes no longer than to
     * go over the samples once, so small frames are drawn on the main loop instead (never while the thread
     * draws). */
    void (*draw)(RvDrawer *drawer, RvRaster *frame, const RvParameters *parameters);
    /* Gives the device's memory to others and takes it back; nothing is under way. sleep: false when it would
     * not pay, or failed: close it then, as after a failed wake. Both may be NULL: it never sleeps. */
    bool (*sleep)(RvDrawer *drawer);
    bool (*wake)(RvDrawer *drawer, GError **error);
    /* Nothing works on the device any more: close it. NULL: never. */
    bool (*is_lost)(RvDrawer *drawer);
    void (*close)(RvDrawer *drawer); /* also after a failed open */
    void (*free)(RvDrawer *drawer);
} RvDrawerClass;

struct RvDrawer {
    const RvDrawerClass *class;
    const char *name;   /* "cuda:0", "invert"; owned by the drawer */
    int width, height;  /* of its pictures, once open */
    gsize device_bytes; /* once open */
    int depth;          /* once open: 2 when the device works while its thread does other things, else 1;
                         * 1 for one that draws in place */
    gint64 expected_us; /* once open: what a frame takes; 0: nobody knows */
};

RvDrawer *rv_drawer_invert_new(int width, int height);

typedef struct {
    const char *model; /* path */
    const char *models_dir, *vae;
    const char *name; /* of the drawer; NULL: as the device */
    const char *device, *precision;
    int threads;
    int width, height;      /* 0: the model's own */
    const int *cancel;      /* not 0: give up */
    RvPromptStore *prompts; /* borrowed; shared by the drawers of one model */
} RvEngineDrawerOptions;
RvDrawer *rv_drawer_engine_new(const RvEngineDrawerOptions *options); /* copies the texts */

/* A frame on its way through a drawer, with what all drawers have in common: passthrough, opacity over the
 * camera's picture, mirroring. */
typedef struct {
    RvRaster *camera; /* to pass on or to mix with; may be NULL */
    RvRaster *drawn;  /* NULL: under way in the drawer */
    RvParameters *parameters;
} RvDrawing;

/* Whether frames may come as planes; without, they are RGB. */
bool rv_drawer_takes_planes(const RvDrawer *drawer);
/* In the drawer's thread. start takes `frame`, of any size, and cuts it to the drawer's; after a failure
 * there is nothing to finish. finish gives the oldest drawing's picture and clears the drawing. A frame that
 * came as RGB goes as RGB. */
bool rv_drawer_start(RvDrawer *drawer, RvRaster *frame, RvParameters *parameters, RvDrawing *drawing,
                     GError **error);
RvRaster *rv_drawer_finish(RvDrawer *drawer, RvDrawing *drawing, GError **error);
void rv_drawing_clear(RvDrawing *drawing);
