/* webrtc_internal.h - shared by webrtc.c (life, threads), webrtc_negotiate.c, webrtc_send.c and
 * webrtc_receive.c.
 *
 * A peer is reference-counted: the owner, its negotiation thread and everything posted to the main loop hold
 * one. Fields without a lock are written before the pipeline runs, or on the main loop only. */
#pragma once
#include <gst/gst.h>

#include "media/bitrate.h"
#include "media/sdp_offer.h"
#include "media/webrtc.h"

/* A frame to send, with what is to be called when it is no longer read; `done` NULL: none. */
typedef struct {
    const guint8 *rgb;
    int width, height;
    GDestroyNotify done;
    void *data;
} RvOutgoing;

struct RvWebrtc {
    gatomicrefcount references;
    RvWebrtcOptions options; /* strings copied, mux referenced */
    RvSdpOffer *offer;
    RvUdpPeer *at_mux; /* NULL: not there, or not yet */

    GstElement *pipeline, *rtc; /* owned; rtc by the pipeline */
    GstElement *source, *encoder;
    const char *bitrate_property; /* of the encoder; in kbit/s if bitrate_unit is 1000 */
    int bitrate_unit;
    guint bus_watch;

    bool is_answered, is_closed, has_ended; /* main loop */
    guint timer;                            /* main loop */

    RvBitrate bitrate; /* main loop */
    RvWebrtcStats stats;
    gint64 connected_us; /* main loop; 0: not yet */
    gint64 started_us;

    GMutex lock;
    GCond gathered;
    bool has_gathered;       /* under the lock */
    gint64 packet_us;        /* under the lock: when the peer's last packet came */
    RvOutgoing outgoing;     /* under the lock: newest frame to send, not yet converted */
    bool is_converting;      /* under the lock */
    RvPicture *arrived;      /* under the lock: newest camera frame, not yet delivered */
    gint64 resent_us;        /* of the bucket below; streaming thread of the sender */
    double resend_allowance; /* bytes that may be sent again now */
    int width, height;       /* of the frames sent; the converting thread's */
    gint target_bitrate;     /* atomic: as last set */
};

RvWebrtc *rv_webrtc_ref(RvWebrtc *peer);
void rv_webrtc_unref(RvWebrtc *peer);
/* Calls function(peer) on the main loop. */
void rv_webrtc_post(RvWebrtc *peer, void (*function)(RvWebrtc *peer));

/* Makes the pipeline with its sender; the receiver is added when the peer's stream begins. */
bool rv_webrtc_build(RvWebrtc *peer, GError **error);
bool rv_webrtc_add_sender(RvWebrtc *peer, GError **error);
void rv_webrtc_add_receiver(RvWebrtc *peer, GstPad *pad); /* streaming thread */
void rv_webrtc_set_bitrate(RvWebrtc *peer, int bitrate);

/* Blocks until the answer is complete: in a thread of its own. Free with g_free. */
char *rv_webrtc_negotiate(RvWebrtc *peer, GError **error);
