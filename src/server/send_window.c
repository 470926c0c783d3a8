#include "server/send_window.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define SEND_BUFFER_BYTES (192 * 1024) /* the kernel doubles it; about two frames of 1024x1024 */
#define TLS_RECORD_BYTES 16384
#define TLS_RECORD_OVERHEAD 22 /* of TLS 1.3 */
#define EMPTY_US 20000 /* a send queue empty so long after a frame: the library holds nothing either */
#define DEAD_MS 20000  /* without an acknowledgement of what was sent: the peer is gone */
#define QUEUE_LIMIT_BYTES (400 * 1024)

bool
rv_tcp_counts(GSocket *socket, RvTcpCounts *counts)
{
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    *counts = (RvTcpCounts) { 0 };
    socklen_t size = sizeof info;
    if (socket == NULL || getsockopt(g_socket_get_fd(socket), IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < G_STRUCT_OFFSET(struct tcp_info, tcpi_min_rtt) + sizeof info.tcpi_min_rtt)
        return false;
    *counts = (RvTcpCounts) { info.tcpi_bytes_acked, info.tcpi_bytes_received, info.tcpi_min_rtt };
    return true;
}

static int
kernel_queue(const RvSendWindow *window)
{
    int queued = 0;
    if (window->socket == NULL || ioctl(g_socket_get_fd(window->socket), SIOCOUTQ, &queued) != 0)
        return 0;
    return queued;
}

void
rv_send_window_init(RvSendWindow *window, GSocket *socket, bool is_tls, bool has_acks)
{
    *window = (RvSendWindow) { .socket = socket, .is_tls = is_tls, .has_acks = has_acks };
    if (socket != NULL) {
        g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1, NULL);
        g_socket_set_option(socket, SOL_SOCKET, SO_SNDBUF, SEND_BUFFER_BYTES, NULL);
        g_socket_set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_MS, NULL);
    }
    RvTcpCounts counts;
    if (rv_tcp_counts(socket, &counts))
        window->acked_base = counts.acked + (guint64)kernel_queue(window);
}

void
rv_send_window_sent(RvSendWindow *window, guint64 id, gsize bytes, bool is_frame, gint64 now_us)
{
    window->handed += bytes;
    if (window->is_tls)
        window->handed += (bytes / TLS_RECORD_BYTES + 1) * TLS_RECORD_OVERHEAD;
    if (!is_frame)
        return;
    g_assert(window->count < RV_SEND_WINDOW);
    window->frames[window->count++] = (RvSentFrame) { id, window->handed, now_us };
}

/* Drops the `count` oldest frames; returns how long the newest of them was on the way. */
static gint64
arrived(RvSendWindow *window, int count, gint64 now_us)
{
    if (count == 0)
        return -1;
    gint64 delivery_us = now_us - window->frames[count - 1].sent_us;
    window->count -= count;
    memmove(window->frames, window->frames + count, (gsize)window->count * sizeof *window->frames);
    return delivery_us;
}

gint64
rv_send_window_acked(RvSendWindow *window, guint64 id, gint64 now_us)
{
    for (int i = 0; i < window->count; i++)
        if (window->frames[i].id == id)
            return arrived(window, i + 1, now_us);
    return -1;
}

gint64
rv_send_window_poll(RvSendWindow *window, gint64 now_us)
{
    RvTcpCounts counts;
    if (window->has_acks || window->count == 0)
        return -1;
    if (!rv_tcp_counts(window->socket, &counts))
        return arrived(window, window->count, now_us);
    guint64 acked = counts.acked - MIN(counts.acked, window->acked_base);
    bool is_empty =
        kernel_queue(window) == 0 && now_us - window->frames[window->count - 1].sent_us > EMPTY_US;
    /* The two counts drift apart (pings, TLS): where everything has surely arrived they are made equal. */
    if (acked > window->handed || is_empty) {
        window->acked_base = counts.acked - MIN(counts.acked, window->handed);
        acked = window->handed;
    }
    int count = 0;
    while (count < window->count && window->frames[count].mark <= acked)
        count++;
    return arrived(window, count, now_us);
}

bool
rv_send_window_has_room(const RvSendWindow *window)
{
    return window->count < RV_SEND_WINDOW && kernel_queue(window) < QUEUE_LIMIT_BYTES;
}

gint64
rv_send_window_oldest_us(const RvSendWindow *window, gint64 now_us)
{
    return window->count == 0 ? 0 : now_us - window->frames[0].sent_us;
}
