/* send_window.h - which frames are still on their way to a receiver: two at most.
 *
 * A receiver that acknowledges frames says so itself. For one that does not, TCP's own acknowledgement
 * (TCP_INFO, tcpi_bytes_acked) stands in: unlike the free space of socket buffers it also covers what the
 * HTTP library still holds. The kernel's send queue (SIOCOUTQ) is a second guard for both. */
#pragma once
#include <gio/gio.h>
#include <stdbool.h>

#define RV_SEND_WINDOW 2

typedef struct {
    guint64 id;     /* what the receiver acknowledges */
    guint64 mark;   /* bytes handed over up to and with this frame */
    gint64 sent_us; /* handed over */
} RvSentFrame;

typedef struct {
    GSocket *socket;       /* borrowed; may be NULL: only acknowledgements count */
    bool is_tls, has_acks; /* has_acks: the receiver acknowledges frames */
    guint64 handed;        /* bytes given to the library, with what TLS adds */
    guint64 acked_base;    /* what TCP had acknowledged before the first */
    int count;             /* frames on the way, oldest first */
    RvSentFrame frames[RV_SEND_WINDOW];
} RvSendWindow;

/* What TCP itself knows. */
typedef struct {
    guint64 acked, received; /* payload bytes since the connection began */
    gint64 least_round_trip_us;
} RvTcpCounts;

/* False, and zeros, on sockets that are not TCP, or NULL. */
bool rv_tcp_counts(GSocket *socket, RvTcpCounts *counts);

/* Also makes the socket fit for live frames: no Nagle delay, a small send buffer. */
void rv_send_window_init(RvSendWindow *window, GSocket *socket, bool is_tls, bool has_acks);
/* `bytes` were handed to the library; `is_frame`: as frame `id` (there must be room), else something small.
 */
void rv_send_window_sent(RvSendWindow *window, guint64 id, gsize bytes, bool is_frame, gint64 now_us);
/* The receiver acknowledged `id` and what was sent before. Returns how long it was on the way, -1 if it was
 * not. */
gint64 rv_send_window_acked(RvSendWindow *window, guint64 id, gint64 now_us);
/* Asks the kernel, for receivers that do not acknowledge. Returns the delivery time of the newest frame that
 * has arrived since (as late as it was asked), -1 if none. */
gint64 rv_send_window_poll(RvSendWindow *window, gint64 now_us);
bool rv_send_window_has_room(const RvSendWindow *window);
/* How long the oldest frame has been on the way; 0 when none is. */
gint64 rv_send_window_oldest_us(const RvSendWindow *window, gint64 now_us);
