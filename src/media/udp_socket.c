#include "media/udp_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

static bool
set_option(int socket_, int level, int name, int value)
{
    return setsockopt(socket_, level, name, &value, sizeof value) == 0;
}

/* ---- sockets ---- */

static int
open_family(int family)
{
    return socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static bool
bind_port(int socket_, int family, int *port)
{
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons((guint16)*port) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons((guint16)*port) };
    bool is_six = family == AF_INET6;
    struct sockaddr *address = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
    socklen_t size = is_six ? sizeof six : sizeof four;
    if (bind(socket_, address, size) != 0 || getsockname(socket_, address, &size) != 0)
        return false;
    *port = ntohs(is_six ? six.sin6_port : four.sin_port);
    return true;
}

static int
open_public(int family, int *port)
{
    int socket_ = open_family(family);
    if (socket_ < 0)
        return -1;
    bool is_set = family == AF_INET6 ? set_option(socket_, IPPROTO_IPV6, IPV6_V6ONLY, 0) &&
                                           set_option(socket_, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                                     : set_option(socket_, IPPROTO_IP, IP_PKTINFO, 1);
    if (is_set && bind_port(socket_, family, port))
        return socket_;
    int cause = errno;
    close(socket_);
    errno = cause;
    return -1;
}

int
rv_udp_socket_public(int *port, int buffer_bytes, bool *is_dual)
{
    int socket_ = open_public(AF_INET6, port);
    *is_dual = socket_ >= 0;
    if (socket_ < 0 && errno != EADDRINUSE)
        socket_ = open_public(AF_INET, port);
    if (socket_ < 0)
        return -1;
    set_option(socket_, SOL_SOCKET, SO_RCVBUF, buffer_bytes);
    set_option(socket_, SOL_SOCKET, SO_SNDBUF, buffer_bytes);
    return socket_;
}

int
rv_udp_socket_to_loopback(int port)
{
    struct sockaddr_in local = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in agent = local;
    agent.sin_port = htons((guint16)port);
    int socket_ = open_family(AF_INET);
    if (socket_ >= 0 && bind(socket_, (struct sockaddr *)&local, sizeof local) == 0 &&
        connect(socket_, (struct sockaddr *)&agent, sizeof agent) == 0)
        return socket_;
    int cause = errno;
    if (socket_ >= 0)
        close(socket_);
    errno = cause;
    return -1;
}

/* ---- addresses ---- */

static bool
is_told(const struct ifaddrs *entry, int family, bool is_loopback)
{
    if (entry->ifa_addr == NULL || entry->ifa_addr->sa_family != family || !(entry->ifa_flags & IFF_UP) ||
        ((entry->ifa_flags & IFF_LOOPBACK) != 0) != is_loopback)
        return false;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)entry->ifa_addr;
    return family == AF_INET || !IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr);
}

static void
append_addresses(GStrvBuilder *to, const struct ifaddrs *list, int family, bool is_loopback)
{
    for (const struct ifaddrs *entry = list; entry != NULL; entry = entry->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        if (!is_told(entry, family, is_loopback))
            continue;
        const void *bytes =
            family == AF_INET
                ? &((const struct sockaddr_in *)(const void *)entry->ifa_addr)->sin_addr
                : (const void *)&((const struct sockaddr_in6 *)(const void *)entry->ifa_addr)->sin6_addr;
        if (inet_ntop(family, bytes, text, sizeof text) != NULL)
            g_strv_builder_add(to, text);
    }
}

GStrv
rv_udp_own_addresses(bool with_ipv6)
{
    struct ifaddrs *list = NULL;
    g_autoptr(GStrvBuilder) told = g_strv_builder_new();
    if (getifaddrs(&list) != 0)
        list = NULL;
    append_addresses(told, list, AF_INET, false);
    if (with_ipv6)
        append_addresses(told, list, AF_INET6, false);
    GStrv addresses = g_strv_builder_end(told);
    if (addresses[0] == NULL) {
        g_autoptr(GStrvBuilder) loopback = g_strv_builder_new();
        append_addresses(loopback, list, AF_INET, true);
        g_strfreev(addresses);
        addresses = g_strv_builder_end(loopback);
    }
    if (list != NULL)
        freeifaddrs(list);
    return addresses;
}

static void
map_four(struct in6_addr *to, const struct in_addr *address)
{
    memset(to, 0, sizeof *to);
    to->s6_addr[10] = to->s6_addr[11] = 0xff;
    memcpy(to->s6_addr + 12, address, 4);
}

static void
read_remote(const struct sockaddr_storage *name, RvUdpAddresses *addresses)
{
    const struct sockaddr_in *four = (const struct sockaddr_in *)name;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)name;
    if (name->ss_family == AF_INET) {
        map_four(&addresses->remote, &four->sin_addr);
        addresses->remote_port = ntohs(four->sin_port);
        return;
    }
    addresses->remote = six->sin6_addr;
    addresses->remote_port = ntohs(six->sin6_port);
    addresses->scope = six->sin6_scope_id;
}

static void
read_local(struct msghdr *message, RvUdpAddresses *addresses)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        struct in_pktinfo four;
        struct in6_pktinfo six;
        if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO) {
            memcpy(&four, CMSG_DATA(part), sizeof four);
            map_four(&addresses->local, &four.ipi_addr);
        } else if (part->cmsg_level == IPPROTO_IPV6 && part->cmsg_type == IPV6_PKTINFO) {
            memcpy(&six, CMSG_DATA(part), sizeof six);
            addresses->local = six.ipi6_addr;
        }
    }
}

static socklen_t
write_remote(struct sockaddr_storage *name, bool is_dual, const RvUdpAddresses *addresses)
{
    memset(name, 0, sizeof *name);
    if (is_dual) {
        struct sockaddr_in6 *six = (struct sockaddr_in6 *)name;
        six->sin6_family = AF_INET6;
        six->sin6_port = htons((guint16)addresses->remote_port);
        six->sin6_addr = addresses->remote;
        six->sin6_scope_id = addresses->scope;
        return sizeof *six;
    }
    struct sockaddr_in *four = (struct sockaddr_in *)name;
    four->sin_family = AF_INET;
    four->sin_port = htons((guint16)addresses->remote_port);
    memcpy(&four->sin_addr, addresses->remote.s6_addr + 12, 4);
    return sizeof *four;
}

/* The address to send from. The bytes of the control message, 0 for none. */
static gsize
write_local(guint8 control[RV_UDP_CONTROL_BYTES], bool is_dual, const RvUdpAddresses *addresses)
{
    static const struct in6_addr unknown;
    struct in6_pktinfo six = { .ipi6_addr = addresses->local, .ipi6_ifindex = addresses->scope };
    struct in_pktinfo four = { .ipi_ifindex = 0 };
    if (memcmp(&addresses->local, &unknown, sizeof unknown) == 0)
        return 0;
    memcpy(&four.ipi_spec_dst, addresses->local.s6_addr + 12, 4);
    gsize size = is_dual ? sizeof six : sizeof four;
    struct cmsghdr *part = (struct cmsghdr *)(void *)control;
    memset(control, 0, RV_UDP_CONTROL_BYTES);
    part->cmsg_level = is_dual ? IPPROTO_IPV6 : IPPROTO_IP;
    part->cmsg_type = is_dual ? IPV6_PKTINFO : IP_PKTINFO;
    part->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(part), is_dual ? (const void *)&six : &four, size);
    return CMSG_SPACE(size);
}

/* ---- batches ---- */

void
rv_udp_batch_init(RvUdpBatch *batch, int count, gsize size)
{
    gsize n = (gsize)count;
    *batch = (RvUdpBatch) { .messages = g_new0(struct mmsghdr, n),
                            .parts = g_new0(struct iovec, n),
                            .names = g_new0(struct sockaddr_storage, n),
                            .controls = g_malloc0_n(n, RV_UDP_CONTROL_BYTES),
                            .bytes = g_malloc_n(n, size),
                            .count = count,
                            .size = size };
}

void
rv_udp_batch_clear(RvUdpBatch *batch)
{
    g_free(batch->messages);
    g_free(batch->parts);
    g_free(batch->names);
    g_free(batch->controls);
    g_free(batch->bytes);
}

int
rv_udp_batch_receive(RvUdpBatch *batch, int socket_)
{
    for (int i = 0; i < batch->count; i++) {
        batch->parts[i] = (struct iovec) { batch->bytes + (gsize)i * batch->size, batch->size };
        batch->messages[i].msg_hdr = (struct msghdr) { .msg_name = &batch->names[i],
                                                       .msg_namelen = sizeof batch->names[i],
                                                       .msg_iov = &batch->parts[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = batch->controls[i],
                                                       .msg_controllen = RV_UDP_CONTROL_BYTES };
    }
    return recvmmsg(socket_, batch->messages, (unsigned)batch->count, MSG_DONTWAIT, NULL);
}

const guint8 *
rv_udp_batch_get(const RvUdpBatch *batch, int i, gsize *size, RvUdpAddresses *addresses)
{
    struct mmsghdr *message = &batch->messages[i];
    if (message->msg_hdr.msg_flags & MSG_TRUNC)
        return NULL;
    memset(addresses, 0, sizeof *addresses);
    read_remote(&batch->names[i], addresses);
    read_local(&message->msg_hdr, addresses);
    *size = message->msg_len;
    return batch->parts[i].iov_base;
}

int
rv_udp_batch_send(RvUdpBatch *batch, int n, int socket_, bool is_dual, const RvUdpAddresses *addresses,
                  gsize *bytes)
{
    socklen_t name_size = write_remote(&batch->names[0], is_dual, addresses);
    gsize control_size = write_local(batch->controls[0], is_dual, addresses);
    for (int i = 0; i < n; i++) {
        batch->parts[i].iov_len = batch->messages[i].msg_len;
        batch->messages[i].msg_hdr =
            (struct msghdr) { .msg_name = &batch->names[0],
                              .msg_namelen = name_size,
                              .msg_iov = &batch->parts[i],
                              .msg_iovlen = 1,
                              .msg_control = control_size > 0 ? batch->controls[0] : NULL,
                              .msg_controllen = control_size };
    }
    int sent = 0;
    for (int from = 0, now; from < n; from += MAX(now, 1)) { /* one that is refused is left out */
        now = sendmmsg(socket_, batch->messages + from, (unsigned)(n - from), MSG_DONTWAIT);
        for (int i = from; i < from + now; i++, sent++)
            *bytes += batch->messages[i].msg_len;
    }
    return sent;
}
