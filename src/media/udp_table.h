/* udp_table.h - who is behind which address of one public UDP port: peers, known by their ICE user fragment,
 * and paths, each a pair of addresses over which a peer has proved that it knows the peer's password.
 *
 * Only a binding request with the right message integrity (stun.h) makes a path, so that what others send
 * costs no memory; paths are bounded for each peer and in total, as are the attempts to prove. No sockets are
 * read or written here, but a path owns one. Not thread-safe: its owner (udp_mux.h) locks. */
#pragma once
#include <netinet/in.h>

#include "media/stun.h"

#define RV_UDP_PATH_SILENCE_US (30 * G_USEC_PER_SEC)

/* IPv4 as mapped IPv6. Zero it before filling it in: it is compared as bytes. */
typedef struct {
    struct in6_addr remote, local; /* local: zero if unknown */
    guint32 remote_port, scope;    /* host byte order; interface of a link-local remote, else 0 */
} RvUdpAddresses;

typedef struct {
    guint max_peers, max_paths, max_paths_of_peer;
    guint proofs; /* message integrities that are computed for one peer within a second */
} RvUdpLimits;

typedef enum {
    RV_UDP_DROP_NOT_STUN,        /* from an unknown address, and no binding request of ICE */
    RV_UDP_DROP_NO_PEER,         /* a binding request for nobody here */
    RV_UDP_DROP_UNAUTHENTICATED, /* whose sender did not know the password */
    RV_UDP_DROP_FULL,            /* too many paths, or attempts in this second */
    RV_UDP_DROP_OVERSIZE,
    RV_UDP_DROP_UNSENT, /* the system did not take it for sending */
    RV_UDP_DROPS
} RvUdpDrop;

const char *rv_udp_drop_name(RvUdpDrop drop); /* "no-peer" */

typedef struct RvUdpTable RvUdpTable;

typedef struct {
    char *ufrag, *password;
    int port; /* where its agent listens, on loopback */
    GPtrArray *paths;
    gint64 second;
    guint proofs; /* of that second */
} RvUdpPeer;

typedef struct {
    RvUdpAddresses addresses;
    RvUdpPeer *peer;
    guint64 id;
    int socket;      /* owned */
    gint64 heard_us; /* when the remote side last sent something */
} RvUdpPath;

RvUdpTable *rv_udp_table_new(const RvUdpLimits *limits);
void rv_udp_table_free(RvUdpTable *table);

/* NULL if there are too many, or one of this user fragment. */
RvUdpPeer *rv_udp_table_add_peer(RvUdpTable *table, const char *ufrag, const char *password, int port);
void rv_udp_table_remove_peer(RvUdpTable *table, RvUdpPeer *peer); /* with its paths */

/* The path by which a datagram goes on, or NULL. A path whose remote side now asks for another peer is no
 * longer its path. */
RvUdpPath *rv_udp_table_find(RvUdpTable *table, const RvUdpAddresses *addresses, const guint8 *data,
                             gsize size, gint64 now_us);
RvUdpPath *rv_udp_table_find_id(RvUdpTable *table, guint64 id);
/* For a datagram without a path: the peer that it opens one to, or NULL and why it must be dropped. */
RvUdpPeer *rv_udp_table_admit(RvUdpTable *table, const guint8 *data, gsize size, gint64 now_us,
                              RvUdpDrop *why);
/* After rv_udp_table_admit(). Takes the socket. */
RvUdpPath *rv_udp_table_add_path(RvUdpTable *table, RvUdpPeer *peer, const RvUdpAddresses *addresses,
                                 int socket, gint64 now_us);
/* Removes paths that were silent for too long. */
void rv_udp_table_expire(RvUdpTable *table, gint64 now_us);
guint rv_udp_table_peers(const RvUdpTable *table);
guint rv_udp_table_paths(const RvUdpTable *table);
