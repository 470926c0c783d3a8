/* transports.h - the ways frames come in and pictures go out; handlers for the route table.
 * All run on the main loop. docs/protocol.md says what goes over the wire. */
#pragma once
#include "server/route.h"

/* Offered to clients in the handshake; a client need not ask for any. */
#define RV_WS_PROTOCOL "reverie.1"

/* `/ws`, and an upgrade of `/`: JPEG frames both ways. Query: effect=invert; watch=ID to only see what
 * client ID (0: the newest) is shown. Without permessage-deflate. */
void rv_websocket_open(const RvCall *call, SoupWebsocketConnection *connection);

/* `GET /stream.mjpeg`: what a client is shown, for OBS and projectors. Query: client=ID, quality=1..100. */
void rv_mjpeg_get(const RvCall *call);

/* `POST /offer` {"sdp","type":"offer"} -> {"sdp","type":"answer"}: WebRTC. Query: effect=invert, codec=vp8 or
 * h264. */
void rv_offer_post(const RvCall *call);
