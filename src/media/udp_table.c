#include "media/udp_table.h"

#include <string.h>
#include <unistd.h>

struct RvUdpTable {
    RvUdpLimits limits;
    GHashTable *peers;        /* user fragment -> RvUdpPeer, owned */
    GHashTable *by_addresses; /* RvUdpAddresses -> RvUdpPath, owned */
    GHashTable *by_id;        /* -> RvUdpPath */
    guint64 last_id;
};

const char *
rv_udp_drop_name(RvUdpDrop drop)
{
    static const char *const names[RV_UDP_DROPS] = { "not-stun", "no-peer",  "unauthenticated",
                                                     "full",     "oversize", "unsent" };
    return names[drop];
}

/* FNV-1a. Nobody gets in who is not authenticated, so collisions by intent are no concern. */
static guint
hash_addresses(gconstpointer key)
{
    const guint8 *bytes = key;
    guint32 hash = 2166136261u;
    for (gsize i = 0; i < sizeof(RvUdpAddresses); i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

static gboolean
equal_addresses(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(RvUdpAddresses)) == 0;
}

static void
free_peer(gpointer data)
{
    RvUdpPeer *peer = data;
    g_ptr_array_unref(peer->paths);
    g_free(peer->ufrag);
    g_free(peer->password);
    g_free(peer);
}

static void
free_path(gpointer data)
{
    RvUdpPath *path = data;
    close(path->socket);
    g_free(path);
}

RvUdpTable *
rv_udp_table_new(const RvUdpLimits *limits)
{
    RvUdpTable *table = g_new0(RvUdpTable, 1);
    table->limits = *limits;
    table->peers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_peer);
    table->by_addresses = g_hash_table_new_full(hash_addresses, equal_addresses, NULL, free_path);
    table->by_id = g_hash_table_new(g_int64_hash, g_int64_equal);
    return table;
}

void
rv_udp_table_free(RvUdpTable *table)
{
    g_hash_table_unref(table->by_id);
    g_hash_table_unref(table->by_addresses);
    g_hash_table_unref(table->peers);
    g_free(table);
}

RvUdpPeer *
rv_udp_table_add_peer(RvUdpTable *table, const char *ufrag, const char *password, int port)
{
    if (g_hash_table_size(table->peers) >= table->limits.max_peers ||
        g_hash_table_contains(table->peers, ufrag))
        return NULL;
    RvUdpPeer *peer = g_new0(RvUdpPeer, 1);
    peer->ufrag = g_strdup(ufrag);
    peer->password = g_strdup(password);
    peer->port = port;
    peer->paths = g_ptr_array_new();
    g_hash_table_insert(table->peers, peer->ufrag, peer);
    return peer;
}

/* Of the tables; the peer's own list is the caller's. */
static void
forget_path(RvUdpTable *table, RvUdpPath *path)
{
    g_hash_table_remove(table->by_id, &path->id);
    g_hash_table_remove(table->by_addresses, &path->addresses);
}

static void
remove_path(RvUdpTable *table, RvUdpPath *path)
{
    g_ptr_array_remove_fast(path->peer->paths, path);
    forget_path(table, path);
}

void
rv_udp_table_remove_peer(RvUdpTable *table, RvUdpPeer *peer)
{
    for (guint i = 0; i < peer->paths->len; i++)
        forget_path(table, g_ptr_array_index(peer->paths, i));
    g_hash_table_remove(table->peers, peer->ufrag);
}

/* A router may give a remote address to another peer before the path has expired. */
static bool
is_for_another(RvUdpTable *table, const RvUdpPath *path, const guint8 *data, gsize size)
{
    RvStunRequest request;
    if (!rv_stun_read_request(data, size, &request) || strcmp(request.ufrag, path->peer->ufrag) == 0)
        return false;
    const RvUdpPeer *other = g_hash_table_lookup(table->peers, request.ufrag);
    return other != NULL && rv_stun_check_integrity(data, &request, other->password);
}

RvUdpPath *
rv_udp_table_find(RvUdpTable *table, const RvUdpAddresses *addresses, const guint8 *data, gsize size,
                  gint64 now_us)
{
    RvUdpPath *path = g_hash_table_lookup(table->by_addresses, addresses);
    if (path == NULL)
        return NULL;
    if (is_for_another(table, path, data, size)) {
        remove_path(table, path);
        return NULL;
    }
    path->heard_us = now_us;
    return path;
}

RvUdpPath *
rv_udp_table_find_id(RvUdpTable *table, guint64 id)
{
    return g_hash_table_lookup(table->by_id, &id);
}

static bool
may_prove(RvUdpPeer *peer, guint limit, gint64 now_us)
{
    gint64 second = now_us / G_USEC_PER_SEC;
    if (second != peer->second) {
        peer->second = second;
        peer->proofs = 0;
    }
    return peer->proofs++ < limit;
}

RvUdpPeer *
rv_udp_table_admit(RvUdpTable *table, const guint8 *data, gsize size, gint64 now_us, RvUdpDrop *why)
{
    RvStunRequest request;
    *why = RV_UDP_DROP_NOT_STUN;
    if (!rv_stun_read_request(data, size, &request))
        return NULL;
    *why = RV_UDP_DROP_NO_PEER;
    RvUdpPeer *peer = g_hash_table_lookup(table->peers, request.ufrag);
    if (peer == NULL)
        return NULL;
    *why = RV_UDP_DROP_FULL;
    if (g_hash_table_size(table->by_id) >= table->limits.max_paths ||
        peer->paths->len >= table->limits.max_paths_of_peer || !may_prove(peer, table->limits.proofs, now_us))
        return NULL;
    *why = RV_UDP_DROP_UNAUTHENTICATED;
    return rv_stun_check_integrity(data, &request, peer->password) ? peer : NULL;
}

RvUdpPath *
rv_udp_table_add_path(RvUdpTable *table, RvUdpPeer *peer, const RvUdpAddresses *addresses, int socket,
                      gint64 now_us)
{
    RvUdpPath *path = g_new0(RvUdpPath, 1);
    *path = (RvUdpPath) { *addresses, peer, ++table->last_id, socket, now_us };
    g_ptr_array_add(peer->paths, path);
    g_hash_table_insert(table->by_id, &path->id, path);
    g_hash_table_insert(table->by_addresses, &path->addresses, path);
    return path;
}

void
rv_udp_table_expire(RvUdpTable *table, gint64 now_us)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, table->by_addresses);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        RvUdpPath *path = value;
        if (now_us - path->heard_us < RV_UDP_PATH_SILENCE_US)
            continue;
        g_ptr_array_remove_fast(path->peer->paths, path);
        g_hash_table_remove(table->by_id, &path->id);
        g_hash_table_iter_remove(&iter);
    }
}

guint
rv_udp_table_peers(const RvUdpTable *table)
{
    return g_hash_table_size(table->peers);
}

guint
rv_udp_table_paths(const RvUdpTable *table)
{
    return g_hash_table_size(table->by_id);
}
