#include "server/socket_guard.h"

#include "server/send_window.h"

#define PERIOD_US 50000

struct RvSocketGuard {
    GSocket *socket;
    guint64 from; /* TCP's count at the last reset; under the lock */
    bool has_cut; /* under the lock */
};

static GMutex lock;
static GCond changed;
static GPtrArray *guards; /* under the lock; made with the thread, which lasts as long as the process */

static guint64
received_bytes(const RvSocketGuard *guard)
{
    RvTcpCounts counts;
    rv_tcp_counts(guard->socket, &counts);
    return counts.received;
}

static gpointer
watch(gpointer data)
{
    g_mutex_lock(&lock);
    for (;;) {
        while (guards->len == 0)
            g_cond_wait(&changed, &lock);
        for (guint i = 0; i < guards->len; i++) {
            RvSocketGuard *guard = g_ptr_array_index(guards, i);
            if (received_bytes(guard) <= guard->from + RV_SOCKET_GUARD_BYTES)
                continue;
            guard->has_cut = true;
            g_socket_shutdown(guard->socket, TRUE, TRUE, NULL);
        }
        g_mutex_unlock(&lock);
        g_usleep(PERIOD_US);
        g_mutex_lock(&lock);
    }
    return NULL;
}

RvSocketGuard *
rv_socket_guard_new(GSocket *socket)
{
    RvSocketGuard *guard = g_new0(RvSocketGuard, 1);
    guard->socket = g_object_ref(socket);
    guard->from = received_bytes(guard);
    g_mutex_lock(&lock);
    if (guards == NULL) {
        guards = g_ptr_array_new();
        g_thread_unref(g_thread_new("socket-guard", watch, NULL));
    }
    g_ptr_array_add(guards, guard);
    g_cond_signal(&changed);
    g_mutex_unlock(&lock);
    return guard;
}

void
rv_socket_guard_reset(RvSocketGuard *guard)
{
    guint64 received = received_bytes(guard);
    g_mutex_lock(&lock);
    guard->from = received;
    g_mutex_unlock(&lock);
}

bool
rv_socket_guard_has_cut(RvSocketGuard *guard)
{
    g_mutex_lock(&lock);
    bool has_cut = guard->has_cut;
    g_mutex_unlock(&lock);
    return has_cut;
}

void
rv_socket_guard_free(RvSocketGuard *guard)
{
    if (guard == NULL)
        return;
    g_mutex_lock(&lock);
    g_ptr_array_remove_fast(guards, guard);
    g_mutex_unlock(&lock);
    g_object_unref(guard->socket);
    g_free(guard);
}
