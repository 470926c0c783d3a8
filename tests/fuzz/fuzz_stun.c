/* Datagrams of any bytes at the one UDP port: whether they are binding requests, and whom they let in. */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "media/udp_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const RvUdpLimits limits = { .max_peers = 2, .max_paths = 2, .max_paths_of_peer = 2, .proofs = 4 };
    RvUdpTable *table = rv_udp_table_new(&limits);
    rv_udp_table_add_peer(table, "evtj", "VOkJxbRl1RmTxUk/WvJxBt", 1);
    rv_udp_table_add_peer(table, "aaaa", "another", 1);
    RvUdpAddresses from;
    RvUdpDrop why;
    memset(&from, 0, sizeof from);
    for (gint64 now_us = 0; now_us < 3; now_us++) {
        if (rv_udp_table_find(table, &from, data, size, now_us) != NULL)
            continue;
        RvUdpPeer *peer = rv_udp_table_admit(table, data, size, now_us, &why);
        if (peer != NULL)
            rv_udp_table_add_path(table, peer, &from, dup(STDERR_FILENO), now_us);
        else
            g_assert(why == RV_UDP_DROP_NOT_STUN || why == RV_UDP_DROP_NO_PEER ||
                     why == RV_UDP_DROP_UNAUTHENTICATED || why == RV_UDP_DROP_FULL);
    }
    g_assert(rv_udp_table_paths(table) <= 1);
    rv_udp_table_free(table);
    return 0;
}
