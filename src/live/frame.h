/* frame.h - one picture on its way through the server, shared by reference.
 *
 * The payload is opaque to src/live: JPEG bytes, an RvPicture, a GstBuffer ... Whoever makes a frame
 * says how to free it. References may be taken and dropped on any thread; the fields are written
 * only before the frame is handed on (to rv_live_session_push() or rv_live_device_done()). */
#pragma once
#include <glib.h>
#include <stdbool.h>

/* What a result spent its time on, in microseconds. A device fills in the middle ones as far as it knows
 * them; src/live fills in WAIT, SERVICE and HOLD of what it shows. */
typedef enum {
    RV_STAGE_WAIT,     /* in the mailbox: pushed until started on a device */
    RV_STAGE_DECODE,   /* compressed bytes to pixels */
    RV_STAGE_UPLOAD,   /* pixels to the device */
    RV_STAGE_RENDER,   /* the engine, or the effect */
    RV_STAGE_DOWNLOAD, /* pixels from the device */
    RV_STAGE_ENCODE,   /* pixels to compressed bytes */
    RV_STAGE_SERVICE,  /* started until answered: includes the five above and any queue of the device's own */
    RV_STAGE_HOLD,     /* answered until shown: order and pacing */
    RV_STAGE_COUNT
} RvStage;

const char *rv_stage_name(RvStage stage); /* "wait", "decode" ... as in /metrics */

typedef struct {
    gatomicrefcount references; /* private: rv_frame_ref(), rv_frame_unref() */
    void *data;                 /* the payload */
    gsize bytes;                /* its size, for statistics */
    GDestroyNotify free_data;   /* may be NULL; called on whatever thread drops the last reference */
    guint64 sequence;           /* the sender's number, echoed; src/live orders by arrival, not by this */
    gint64 capture_us;          /* the sender's clock, echoed */
    gint64 born_us;             /* when the age starts, on this machine's monotonic clock: capture if the
                                 * transport knows the sender's offset, else 0, which becomes the time of push */
    guint32 revision;           /* of a result: which live parameters it was drawn with */
    gint64 stage_us[RV_STAGE_COUNT];
} RvFrame;

/* A new frame with one reference; takes `data`. All other fields are zero. */
RvFrame *rv_frame_new(void *data, gsize bytes, GDestroyNotify free_data);
/* The same for a result: sequence, capture_us, born_us and revision are those of `source`. */
RvFrame *rv_frame_new_result(const RvFrame *source, void *data, gsize bytes, GDestroyNotify free_data);
RvFrame *rv_frame_ref(RvFrame *frame);
void rv_frame_unref(RvFrame *frame); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvFrame, rv_frame_unref)
