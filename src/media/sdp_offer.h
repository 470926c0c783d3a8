/* sdp_offer.h - reads a WebRTC offer and refuses everything that webrtcbin would abort on or that this server
 * does not do: it takes exactly one video section, bundled, with ICE and DTLS. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#define RV_SDP_MAX_BYTES (64 * 1024)

/* Header extensions of RTP that we answer. */
#define RV_RTP_TWCC "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
#define RV_RTP_PLAYOUT_DELAY "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
#define RV_RTP_COLOUR_SPACE "http://www.webrtc.org/experiments/rtp-hdrext/color-space"

typedef enum { RV_VIDEO_VP8, RV_VIDEO_H264 } RvVideoCodec;

const char *rv_video_codec_name(RvVideoCodec codec); /* as in rtpmap: "VP8" */

typedef struct {
    RvVideoCodec codec; /* the wanted one, else the first in the offer that we speak */
    int payload_type;
    int twcc_id;          /* of the transport-wide sequence number's header extension; 0: not offered */
    int playout_delay_id; /* likewise */
    int colour_space_id;  /* likewise */
    bool may_send;        /* the peer wants to see something (sendrecv, recvonly) */
    bool may_receive;     /* the peer sends its camera (sendrecv, sendonly) */
    char *sdp; /* owned: the offer's lines that matter, candidates only with addresses (not mDNS names) */
} RvSdpOffer;

/* `codec`: "vp8", "h264" or NULL. Text need not end in NUL. Offers that are malformed, and
 * well-formed ones that we cannot serve, fail with RV_ERROR_INVALID. */
RvSdpOffer *rv_sdp_offer_parse(const char *text, gsize size, const char *codec, GError **error);
void rv_sdp_offer_free(RvSdpOffer *offer); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvSdpOffer, rv_sdp_offer_free)
