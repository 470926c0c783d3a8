/* udp_socket.h - the system's side of udp_mux.c: sockets, and datagrams in batches (recvmmsg, sendmmsg). */
#pragma once
#include <sys/socket.h>

#include "media/udp_table.h"

/* A socket at *port of all addresses (0: any, which is filled in) that tells at which a datagram came in; one
 * of IPv6 that takes IPv4 too (*is_dual) where there is IPv6. -1 and errno. */
int rv_udp_socket_public(int *port, int buffer_bytes, bool *is_dual);
/* A socket that talks to a port of 127.0.0.1 only. -1 and errno. */
int rv_udp_socket_to_loopback(int port);
/* As text, for people and SDP; IPv4 first. Free with g_strfreev. */
GStrv rv_udp_own_addresses(bool with_ipv6);

#define RV_UDP_CONTROL_BYTES 64 /* one address */

typedef struct {
    struct mmsghdr *messages;
    struct iovec *parts;
    struct sockaddr_storage *names;
    guint8 (*controls)[RV_UDP_CONTROL_BYTES];
    guint8 *bytes;
    int count;
    gsize size; /* of each */
} RvUdpBatch;

void rv_udp_batch_init(RvUdpBatch *batch, int count, gsize size);
void rv_udp_batch_clear(RvUdpBatch *batch); /* accepts a zeroed one */
/* What waits at the socket, without waiting for more: a number of datagrams, or -1. */
int rv_udp_batch_receive(RvUdpBatch *batch, int socket);
/* A received datagram, or NULL if it is longer than the batch has room for. */
const guint8 *rv_udp_batch_get(const RvUdpBatch *batch, int i, gsize *size, RvUdpAddresses *addresses);
/* Sends the `n` received datagrams on, over `addresses`; those that the system refuses are lost. The number
 * and the bytes of those that it took. */
int rv_udp_batch_send(RvUdpBatch *batch, int n, int socket, bool is_dual, const RvUdpAddresses *addresses,
                      gsize *bytes);
