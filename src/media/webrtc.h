/* webrtc.h - one WebRTC peer that sends its camera and is sent video, over GStreamer's webrtcbin.
 *
 * The peer offers, we answer with all candidates in the answer (no trickle). VP8 or H.264, NACK with bounded
 * retransmission, picture loss indication, bitrate from transport-wide feedback and round trips
 * (bitrate.h). Whatever goes wrong in GStreamer ends this peer only.
 *
 * All functions and callbacks on the thread of the default main context. */
#pragma once
#include "base/error.h"
#include "media/picture.h"
#include "media/sdp_answer.h"
#include "media/udp_mux.h"

typedef struct RvWebrtc RvWebrtc;

typedef struct {
    const char *codec;     /* "vp8", "h264"; NULL: as the offer prefers */
    RvUdpMux *mux;         /* the port that all peers share; NULL: each has any free ones, UDP and TCP */
    RvSdpHost public_host; /* told beside our own addresses; address NULL: none; port 0: as ours */
    /* Once: the answer, or an error after which only rv_webrtc_close() may be called. */
    void (*on_answer)(const char *sdp, const GError *error, void *user);
    /* A camera frame; takes `picture`. */
    void (*on_frame)(RvPicture *picture, void *user);
    /* Once, when the peer has gone or failed; rv_webrtc_close() is still to be called (from here, if you
     * like). */
    void (*on_ended)(const char *why, void *user);
    void *user;
} RvWebrtcOptions;

typedef struct {
    const char *codec;   /* "VP8" */
    const char *encoder; /* "vp8enc"; NULL before the answer */
    int bitrate;         /* what the encoder may use, bits per second */
    double sent_bps, received_bps, loss;
    gint64 round_trip_us;
    guint64 frames_in, frames_out;
} RvWebrtcStats;

/* RV_ERROR_INVALID for offers (sdp_offer.h); RV_ERROR_FAILED when plugins are missing. */
RvWebrtc *rv_webrtc_answer(const char *offer, gsize size, const RvWebrtcOptions *options, GError **error);
void rv_webrtc_close(RvWebrtc *peer); /* no callback comes after; accepts NULL */
/* Sends an RGB frame, [height, width, 3], packed, which stays as it is until `done` is called (on any
 * thread). A frame that is not yet encoded is replaced. Sizes are even. */
void rv_webrtc_send(RvWebrtc *peer, const guint8 *rgb, int width, int height, GDestroyNotify done,
                    void *data);
void rv_webrtc_stats(const RvWebrtc *peer, RvWebrtcStats *stats);
