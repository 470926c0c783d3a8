#include "media/udp_mux.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "media/udp_socket.h"

#define BATCH 32       /* datagrams read at once */
#define PUBLIC_TURNS 4 /* batches of the public port before the peers' turn */
#define EVENTS 64
#define SWEEP_MS 5000
#define BUFFER_BYTES (4 << 20) /* of the public socket, as far as the system allows */

/* What epoll tells of, beside the numbers of paths, which count from 1. */
#define PUBLIC_EVENT 0
#define STOP_EVENT G_MAXUINT64

static const RvUdpLimits limits = {
    .max_peers = 1024, .max_paths = 1024, .max_paths_of_peer = 16, .proofs = 100
};

struct RvUdpMux {
    gatomicrefcount references;
    int public_socket, epoll, stop, port;
    bool is_dual; /* the public socket is one of IPv6 that takes IPv4, too */
    GThread *thread;

    GMutex lock; /* of all that follows */
    RvUdpTable *table;
    RvUdpStats stats;
    gint64 swept_us;
    RvUdpBatch batch;
};

static void
drop(RvUdpMux *mux, RvUdpDrop why)
{
    mux->stats.dropped[why]++;
}

static bool
watch(RvUdpMux *mux, int socket_, guint64 id)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = id };
    return epoll_ctl(mux->epoll, EPOLL_CTL_ADD, socket_, &event) == 0;
}

static RvUdpPath *
open_path(RvUdpMux *mux, RvUdpPeer *peer, const RvUdpAddresses *addresses, gint64 now_us)
{
    int socket_ = rv_udp_socket_to_loopback(peer->port);
    if (socket_ < 0)
        return NULL;
    RvUdpPath *path = rv_udp_table_add_path(mux->table, peer, addresses, socket_, now_us);
    if (!watch(mux, socket_, path->id))
        drop(mux, RV_UDP_DROP_UNSENT); /* the path stays deaf until it expires */
    mux->stats.opened++;
    return path;
}

static RvUdpPath *
path_of(RvUdpMux *mux, const RvUdpAddresses *addresses, const guint8 *data, gsize size, gint64 now_us)
{
    RvUdpDrop why;
    RvUdpPath *path = rv_udp_table_find(mux->table, addresses, data, size, now_us);
    if (path != NULL)
        return path;
    RvUdpPeer *peer = rv_udp_table_admit(mux->table, data, size, now_us, &why);
    if (peer != NULL) {
        path = open_path(mux, peer, addresses, now_us);
        why = RV_UDP_DROP_FULL; /* of sockets */
    }
    if (path == NULL)
        drop(mux, why);
    return path;
}

static void
to_agent(RvUdpMux *mux, int i, gint64 now_us)
{
    RvUdpAddresses addresses;
    gsize size;
    const guint8 *data = rv_udp_batch_get(&mux->batch, i, &size, &addresses);
    if (data == NULL) {
        drop(mux, RV_UDP_DROP_OVERSIZE);
        return;
    }
    RvUdpPath *path = path_of(mux, &addresses, data, size, now_us);
    if (path == NULL)
        return;
    if (send(path->socket, data, size, MSG_DONTWAIT) < 0) {
        drop(mux, RV_UDP_DROP_UNSENT);
        return;
    }
    mux->stats.received++;
    mux->stats.received_bytes += size;
}

static void
read_public(RvUdpMux *mux, gint64 now_us)
{
    for (int turn = 0, n = BATCH; turn < PUBLIC_TURNS && n == BATCH; turn++) {
        n = rv_udp_batch_receive(&mux->batch, mux->public_socket);
        for (int i = 0; i < n; i++)
            to_agent(mux, i, now_us);
    }
}

static void
read_agent(RvUdpMux *mux, const RvUdpPath *path)
{
    int n = rv_udp_batch_receive(&mux->batch, path->socket);
    gsize bytes = 0;
    int sent = n <= 0 ? 0
                      : rv_udp_batch_send(&mux->batch, n, mux->public_socket, mux->is_dual, &path->addresses,
                                          &bytes);
    mux->stats.sent += (guint64)sent;
    mux->stats.sent_bytes += bytes;
    if (n > sent)
        mux->stats.dropped[RV_UDP_DROP_UNSENT] += (guint64)(n - sent);
}

static void
sweep(RvUdpMux *mux, gint64 now_us)
{
    if (now_us - mux->swept_us < SWEEP_MS * 1000)
        return;
    mux->swept_us = now_us;
    rv_udp_table_expire(mux->table, now_us);
}

/* Events of paths that have gone meanwhile find nothing. */
static bool
handle(RvUdpMux *mux, const struct epoll_event *events, int n)
{
    bool goes_on = true;
    gint64 now_us = g_get_monotonic_time();
    g_mutex_lock(&mux->lock);
    for (int i = 0; i < n; i++) {
        guint64 id = events[i].data.u64;
        const RvUdpPath *path = NULL;
        if (id == STOP_EVENT)
            goes_on = false;
        else if (id == PUBLIC_EVENT)
            read_public(mux, now_us);
        else if ((path = rv_udp_table_find_id(mux->table, id)) != NULL)
            read_agent(mux, path);
    }
    sweep(mux, now_us);
    g_mutex_unlock(&mux->lock);
    return goes_on;
}

static gpointer
forward(gpointer data)
{
    RvUdpMux *mux = data;
    struct epoll_event events[EVENTS];
    int n;
    do
        n = epoll_wait(mux->epoll, events, EVENTS, SWEEP_MS);
    while (n < 0 ? errno == EINTR : handle(mux, events, n));
    return NULL;
}

static void
free_mux(RvUdpMux *mux)
{
    for (int *file = (int[]) { mux->public_socket, mux->epoll, mux->stop, -2 }; *file != -2; file++)
        if (*file >= 0)
            close(*file);
    if (mux->table != NULL)
        rv_udp_table_free(mux->table);
    rv_udp_batch_clear(&mux->batch);
    g_mutex_clear(&mux->lock);
    g_free(mux);
}

RvUdpMux *
rv_udp_mux_new(int port, GError **error)
{
    RvUdpMux *mux = g_new0(RvUdpMux, 1);
    g_atomic_ref_count_init(&mux->references);
    g_mutex_init(&mux->lock);
    mux->epoll = epoll_create1(EPOLL_CLOEXEC);
    mux->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    mux->port = port;
    mux->public_socket = rv_udp_socket_public(&mux->port, BUFFER_BYTES, &mux->is_dual);
    if (mux->epoll < 0 || mux->stop < 0 || mux->public_socket < 0 ||
        !watch(mux, mux->public_socket, PUBLIC_EVENT) || !watch(mux, mux->stop, STOP_EVENT)) {
        rv_error_set(error, RV_ERROR_IO, NULL, "stop what uses it, or choose another with --udp-port",
                     "cannot open UDP port %d: %s", port, g_strerror(errno));
        free_mux(mux);
        return NULL;
    }
    mux->table = rv_udp_table_new(&limits);
    rv_udp_batch_init(&mux->batch, BATCH, RV_UDP_MAX_BYTES);
    mux->swept_us = g_get_monotonic_time();
    mux->thread = g_thread_new("udp-mux", forward, mux);
    return mux;
}

RvUdpMux *
rv_udp_mux_ref(RvUdpMux *mux)
{
    g_atomic_ref_count_inc(&mux->references);
    return mux;
}

void
rv_udp_mux_unref(RvUdpMux *mux)
{
    if (mux == NULL || !g_atomic_ref_count_dec(&mux->references))
        return;
    eventfd_write(mux->stop, 1);
    g_thread_join(mux->thread);
    free_mux(mux);
}

int
rv_udp_mux_port(const RvUdpMux *mux)
{
    return mux->port;
}

GStrv
rv_udp_mux_addresses(const RvUdpMux *mux)
{
    return rv_udp_own_addresses(mux->is_dual);
}

RvUdpPeer *
rv_udp_mux_add(RvUdpMux *mux, const char *ufrag, const char *password, int port, GError **error)
{
    g_mutex_lock(&mux->lock);
    RvUdpPeer *peer = rv_udp_table_add_peer(mux->table, ufrag, password, port);
    g_mutex_unlock(&mux->lock);
    if (peer == NULL)
        rv_error_set(error, RV_ERROR_BUSY, NULL, "use the WebSocket transport",
                     "no place for another WebRTC peer at the UDP port");
    return peer;
}

void
rv_udp_mux_remove(RvUdpMux *mux, RvUdpPeer *peer)
{
    g_mutex_lock(&mux->lock);
    for (guint i = 0; i < peer->paths->len; i++)
        read_agent(mux, g_ptr_array_index(peer->paths, i));
    rv_udp_table_remove_peer(mux->table, peer);
    g_mutex_unlock(&mux->lock);
}

void
rv_udp_mux_stats(RvUdpMux *mux, RvUdpStats *stats)
{
    g_mutex_lock(&mux->lock);
    *stats = mux->stats;
    stats->peers = rv_udp_table_peers(mux->table);
    stats->paths = rv_udp_table_paths(mux->table);
    g_mutex_unlock(&mux->lock);
}
