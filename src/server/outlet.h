/* outlet.h - from shown pictures to JPEGs for one receiver: one waits at most (newest wins), one is being
 * encoded at most, and none is begun while the receiver has no room.
 *
 * Everything on the main loop; encoding itself in the JPEG pool. Callbacks must not close the outlet. */
#pragma once
#include "media/jpeg_codec.h"
#include "server/client.h"
#include "server/rate.h"

typedef struct RvOutlet RvOutlet;

typedef struct {
    RvShown *shown; /* borrowed */
    GBytes *jpeg;   /* borrowed */
    int quality;
    gint64 encode_us; /* from leaving the slot until encoded */
    gint64 codec_us;  /* of that, what encoding itself took */
} RvOutletPicture;

typedef struct {
    /* Whether another picture may be sent now; asked again on every picture and rv_outlet_resume(). */
    bool (*has_room)(void *user);
    RvRateStep (*rate)(void *user);
    void (*send)(const RvOutletPicture *picture, void *user);
    void *user;
} RvOutletOptions;

RvOutlet *rv_outlet_new(RvJpegPool *pool, const RvOutletOptions *options);
void rv_outlet_close(RvOutlet *outlet); /* no callback comes after; accepts NULL */
/* True if an older picture still waited and was replaced. */
bool rv_outlet_show(RvOutlet *outlet, RvShown *shown);
void rv_outlet_resume(RvOutlet *outlet);           /* there may be room again */
bool rv_outlet_is_waiting(const RvOutlet *outlet); /* a picture waits for room */
