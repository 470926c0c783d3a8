/* udp_mux.h - one public UDP port for all WebRTC peers.
 *
 * Each peer's ICE agent listens on a port of loopback only. What comes in at the public port is sent on to
 * the agent from a socket of its own for each pair of addresses that the peer talks over, so that the agent
 * sees distinct peer-reflexive candidates (RFC 8445, 7.3.1.3), and what the agent sends to that socket goes
 * back from the address that was asked. The agent does ICE and DTLS as ever; nothing is changed on the way.
 * Who may open a path, and the bounds: udp_table.h.
 *
 * A thread of its own reads in batches and sends at once. All functions on any thread. */
#pragma once
#include "base/error.h"
#include "media/udp_table.h"

#define RV_UDP_MAX_BYTES 2048 /* of a datagram; browsers send at most 1500 */

typedef struct RvUdpMux RvUdpMux;

typedef struct {
    guint peers, paths;
    guint64 received, received_bytes, sent, sent_bytes; /* forwarded: from peers, to peers */
    guint64 opened;                                     /* paths, ever */
    guint64 dropped[RV_UDP_DROPS];
} RvUdpStats;

/* Binds the port on all addresses, IPv6 and IPv4 or, where there is no IPv6, IPv4; 0: any port. RV_ERROR_IO.
 */
RvUdpMux *rv_udp_mux_new(int port, GError **error);
RvUdpMux *rv_udp_mux_ref(RvUdpMux *mux);
void rv_udp_mux_unref(RvUdpMux *mux); /* the last one ends the thread; accepts NULL */
int rv_udp_mux_port(const RvUdpMux *mux);
/* This machine's addresses that the port is reached at, as text, the likeliest first; loopback only if there
 * is no other, link-local ones never. Free with g_strfreev. */
GStrv rv_udp_mux_addresses(const RvUdpMux *mux);
/* From now on the peer of this local user fragment is served by the agent at this port of 127.0.0.1.
 * RV_ERROR_BUSY if there are too many. */
RvUdpPeer *rv_udp_mux_add(RvUdpMux *mux, const char *ufrag, const char *password, int port, GError **error);
/* What its agent has sent by now still goes out. */
void rv_udp_mux_remove(RvUdpMux *mux, RvUdpPeer *peer);
void rv_udp_mux_stats(RvUdpMux *mux, RvUdpStats *stats);
