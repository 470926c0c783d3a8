/* The one UDP port: what counts as a binding request, who may open a path, and datagrams both ways over real
 * sockets. */
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "media/udp_mux.h"

#define PASSWORD "VOkJxbRl1RmTxUk/WvJxBt"
#define WAIT_MS 10000
#define SECOND G_USEC_PER_SEC

/* ---- requests ---- */

/* RFC 5769, 2.1: made by others. */
static const guint8 sample[] = { 0x00, 0x01, 0x00, 0x58, 0x21, 0x12, 0xa4, 0x42, 0xb7, 0xe7, 0xa7, 0x01,
                                 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae, 0x80, 0x22, 0x00, 0x10,
                                 0x53, 0x54, 0x55, 0x4e, 0x20, 0x74, 0x65, 0x73, 0x74, 0x20, 0x63, 0x6c,
                                 0x69, 0x65, 0x6e, 0x74, 0x00, 0x24, 0x00, 0x04, 0x6e, 0x00, 0x01, 0xff,
                                 0x80, 0x29, 0x00, 0x08, 0x93, 0x2f, 0xf9, 0xb1, 0x51, 0x26, 0x3b, 0x36,
                                 0x00, 0x06, 0x00, 0x09, 0x65, 0x76, 0x74, 0x6a, 0x3a, 0x68, 0x36, 0x76,
                                 0x59, 0x20, 0x20, 0x20, 0x00, 0x08, 0x00, 0x14, 0x9a, 0xea, 0xa7, 0x0c,
                                 0xbf, 0xd8, 0xcb, 0x56, 0x78, 0x1e, 0xf2, 0xb5, 0xb2, 0xd3, 0xf2, 0x49,
                                 0xc1, 0xb5, 0x71, 0xa2, 0x80, 0x28, 0x00, 0x04, 0xe5, 0x7a, 0x3b, 0xcf };

typedef struct {
    guint8 bytes[1024];
    gsize size;
} Request;

static void
put(Request *request, guint type, gconstpointer value, gsize size)
{
    const guint8 head[4] = { (guint8)(type >> 8), (guint8)type, (guint8)(size >> 8), (guint8)size };
    memcpy(request->bytes + request->size, head, 4);
    memcpy(request->bytes + request->size + 4, value, size);
    request->size += 4 + ((size + 3) & ~(gsize)3);
}

static void
set_length(Request *request, gsize size)
{
    request->bytes[2] = (guint8)((size - 20) >> 8);
    request->bytes[3] = (guint8)(size - 20);
}

static Request
begin_request(void)
{
    Request request = { .bytes = { 0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4 }, .size = 20 };
    return request;
}

static Request
make_request(const char *username, const char *password)
{
    Request request = begin_request();
    put(&request, 0x0006, username, strlen(username));
    set_length(&request, request.size + 24);
    guint8 digest[20];
    gsize size = sizeof digest;
    g_autoptr(GHmac) hmac = g_hmac_new(G_CHECKSUM_SHA1, (const guint8 *)password, strlen(password));
    g_hmac_update(hmac, request.bytes, (gssize)request.size);
    g_hmac_get_digest(hmac, digest, &size);
    put(&request, 0x0008, digest, sizeof digest);
    return request;
}

static void
test_sample_request(void)
{
    RvStunRequest request;
    g_assert_true(rv_stun_read_request(sample, sizeof sample, &request));
    g_assert_cmpstr(request.ufrag, ==, "evtj");
    g_assert_true(rv_stun_check_integrity(sample, &request, PASSWORD));
    g_assert_false(rv_stun_check_integrity(sample, &request, "VOkJxbRl1RmTxUk/WvJxBT"));
    for (gsize i = 0; i < sizeof sample;
         i++) { /* one bit wrong: no request, or not of who knows the password */
        guint8 changed[sizeof sample];
        memcpy(changed, sample, sizeof sample);
        changed[i] ^= 0x10;
        bool is_after = i >= sizeof sample - 8; /* the fingerprint, which integrity leaves out */
        if (rv_stun_read_request(changed, sizeof sample, &request) && !is_after)
            g_assert_false(rv_stun_check_integrity(changed, &request, PASSWORD));
    }
}

/* Each copy ends where its memory ends, so that the address sanitizer sees what reads on. */
static bool
reads(const guint8 *bytes, gsize size)
{
    RvStunRequest request;
    g_autofree guint8 *exact = g_memdup2(bytes, size);
    return rv_stun_read_request(exact, size, &request);
}

static void
test_no_request(void)
{
    for (gsize size = 0; size < sizeof sample; size++)
        g_assert_false(reads(sample, size));
    static const char *const usernames[] = { "", ":", "evtj", "evtj:", ":h6vY", "ev tj:h6vY" };
    for (gsize i = 0; i < G_N_ELEMENTS(usernames); i++) {
        Request request = make_request(usernames[i], PASSWORD);
        g_assert_false(reads(request.bytes, request.size));
    }
    g_autofree char *fragment = g_strnfill(RV_STUN_UFRAG_MAX, 'a'),
                    *longest = g_strconcat(fragment, ":b", NULL), *longer = g_strconcat("a", longest, NULL);
    Request most = make_request(longest, PASSWORD), over = make_request(longer, PASSWORD);
    g_assert_true(reads(most.bytes, most.size));
    g_assert_false(reads(over.bytes, over.size));
    Request nul = make_request("evtj:h6vY", PASSWORD);
    nul.bytes[25] = '\0';
    g_assert_false(reads(nul.bytes, nul.size));
    Request unsigned_ = begin_request();
    put(&unsigned_, 0x0006, "evtj:h6vY", 9);
    set_length(&unsigned_, unsigned_.size);
    g_assert_false(reads(unsigned_.bytes, unsigned_.size));
    unsigned_.bytes[23] = 0xff; /* an attribute that is longer than the message */
    g_assert_false(reads(unsigned_.bytes, unsigned_.size));
    Request anonymous = begin_request();
    put(&anonymous, 0x0008, sample, 20);
    set_length(&anonymous, anonymous.size);
    g_assert_false(reads(anonymous.bytes, anonymous.size));
}

static void
test_garbage(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    for (int round = 0; round < 20000; round++) {
        Request request = make_request("evtj:h6vY", PASSWORD);
        int changes = g_rand_int_range(random, 0, 6);
        for (int i = 0; i < changes; i++)
            request.bytes[g_rand_int_range(random, 0, (int)request.size)] = (guint8)g_rand_int(random);
        gsize size = (gsize)g_rand_int_range(random, 0, 200);
        reads(request.bytes, size);
    }
}

/* ---- the table ---- */

static const RvUdpLimits few = { .max_peers = 3, .max_paths = 5, .max_paths_of_peer = 3, .proofs = 10 };

static RvUdpAddresses
address(guint port)
{
    RvUdpAddresses addresses = { .remote_port = port };
    addresses.remote.s6_addr[15] = 1;
    return addresses;
}

/* As the mux does: what path this datagram takes, made if need be. `why` says why there is none. */
static RvUdpPath *
take(RvUdpTable *table, guint port, const Request *request, gint64 now_us, RvUdpDrop *why)
{
    RvUdpAddresses from = address(port);
    RvUdpPath *path = rv_udp_table_find(table, &from, request->bytes, request->size, now_us);
    RvUdpPeer *peer =
        path != NULL ? NULL : rv_udp_table_admit(table, request->bytes, request->size, now_us, why);
    return peer == NULL ? path : rv_udp_table_add_path(table, peer, &from, dup(STDERR_FILENO), now_us);
}

static void
test_who_may_open(void)
{
    RvUdpTable *table = rv_udp_table_new(&few);
    RvUdpPeer *peer = rv_udp_table_add_peer(table, "evtj", PASSWORD, 1);
    g_assert_nonnull(peer);
    g_assert_null(rv_udp_table_add_peer(table, "evtj", "another", 2));
    Request good = make_request("evtj:h6vY", PASSWORD), stranger = make_request("abcd:h6vY", PASSWORD),
            forged = make_request("evtj:h6vY", "guess"), media = { .bytes = { 0x80, 0x60 }, .size = 100 };
    RvUdpDrop why;
    g_assert_null(take(table, 1, &media, SECOND, &why));
    g_assert_cmpint(why, ==, RV_UDP_DROP_NOT_STUN);
    g_assert_null(take(table, 1, &stranger, SECOND, &why));
    g_assert_cmpint(why, ==, RV_UDP_DROP_NO_PEER);
    g_assert_null(take(table, 1, &forged, SECOND, &why));
    g_assert_cmpint(why, ==, RV_UDP_DROP_UNAUTHENTICATED);
    g_assert_cmpuint(rv_udp_table_paths(table), ==, 0);
    RvUdpPath *path = take(table, 1, &good, SECOND, &why);
    g_assert_nonnull(path);
    g_assert_true(path->peer == peer);
    g_assert_true(take(table, 1, &media, SECOND, &why) == path);
    g_assert_true(rv_udp_table_find_id(table, path->id) == path);
    g_assert_null(take(table, 2, &media, SECOND, &why));
    rv_udp_table_remove_peer(table, peer);
    g_assert_cmpuint(rv_udp_table_paths(table) + rv_udp_table_peers(table), ==, 0);
    g_assert_null(take(table, 1, &good, SECOND, &why));
    g_assert_cmpint(why, ==, RV_UDP_DROP_NO_PEER);
    rv_udp_table_free(table);
}

static void
test_bounds(void)
{
    RvUdpTable *table = rv_udp_table_new(&few);
    RvUdpPeer *first = rv_udp_table_add_peer(table, "aaaa", PASSWORD, 1);
    rv_udp_table_add_peer(table, "bbbb", PASSWORD, 1);
    rv_udp_table_add_peer(table, "cccc", PASSWORD, 1);
    g_assert_null(rv_udp_table_add_peer(table, "dddd", PASSWORD, 1));
    Request a = make_request("aaaa:x", PASSWORD), b = make_request("bbbb:x", PASSWORD),
            forged = make_request("cccc:x", "guess"), c = make_request("cccc:x", PASSWORD);
    RvUdpDrop why;
    for (guint port = 1; port <= 3; port++)
        g_assert_nonnull(take(table, port, &a, SECOND, &why));
    g_assert_null(take(table, 4, &a, SECOND, &why)); /* too many of this peer */
    g_assert_cmpint(why, ==, RV_UDP_DROP_FULL);
    for (guint i = 0; i < few.proofs; i++) { /* a flood for one peer ... */
        g_assert_null(take(table, 100 + i, &forged, SECOND, &why));
        g_assert_cmpint(why, ==, RV_UDP_DROP_UNAUTHENTICATED);
    }
    g_assert_null(take(table, 5, &c, SECOND, &why)); /* ... stops this one for a second ... */
    g_assert_cmpint(why, ==, RV_UDP_DROP_FULL);
    g_assert_nonnull(take(table, 6, &b, SECOND, &why)); /* ... and no other */
    g_assert_nonnull(take(table, 5, &c, 2 * SECOND, &why));
    g_assert_null(take(table, 7, &b, SECOND, &why)); /* too many in total */
    g_assert_cmpint(why, ==, RV_UDP_DROP_FULL);
    rv_udp_table_remove_peer(table, first);
    g_assert_nonnull(take(table, 7, &b, SECOND, &why));
    rv_udp_table_free(table);
}

static void
test_silence(void)
{
    RvUdpTable *table = rv_udp_table_new(&few);
    rv_udp_table_add_peer(table, "aaaa", PASSWORD, 1);
    Request a = make_request("aaaa:x", PASSWORD), media = { .bytes = { 0x80 }, .size = 9 };
    RvUdpDrop why;
    g_assert_nonnull(take(table, 1, &a, 0, &why));
    g_assert_nonnull(take(table, 2, &a, 0, &why));
    g_assert_nonnull(take(table, 1, &media, RV_UDP_PATH_SILENCE_US / 2, &why));
    rv_udp_table_expire(table, RV_UDP_PATH_SILENCE_US - 1);
    g_assert_cmpuint(rv_udp_table_paths(table), ==, 2);
    rv_udp_table_expire(table, RV_UDP_PATH_SILENCE_US);
    g_assert_cmpuint(rv_udp_table_paths(table), ==, 1);
    g_assert_null(take(table, 2, &media, RV_UDP_PATH_SILENCE_US, &why));
    g_assert_nonnull(take(table, 1, &media, RV_UDP_PATH_SILENCE_US, &why));
    rv_udp_table_free(table);
}

static void
test_an_address_changes_hands(void)
{
    RvUdpTable *table = rv_udp_table_new(&few);
    RvUdpPeer *old = rv_udp_table_add_peer(table, "aaaa", PASSWORD, 1),
              *new = rv_udp_table_add_peer(table, "bbbb", "secret", 2);
    Request a = make_request("aaaa:x", PASSWORD), b = make_request("bbbb:x", "secret"),
            forged = make_request("bbbb:x", PASSWORD);
    RvUdpDrop why;
    g_assert_true(take(table, 1, &a, 0, &why)->peer == old);
    g_assert_true(take(table, 1, &forged, 0, &why)->peer == old);
    g_assert_true(take(table, 1, &b, 0, &why)->peer == new);
    g_assert_cmpuint(rv_udp_table_paths(table), ==, 1);
    g_assert_cmpuint(old->paths->len, ==, 0);
    rv_udp_table_free(table);
}

/* ---- real sockets ---- */

static int
open_socket(int family)
{
    int socket_ = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (family == AF_INET)
        g_assert_cmpint(bind(socket_, (struct sockaddr *)&four, sizeof four), ==, 0);
    return socket_;
}

static int
port_of(int socket_)
{
    struct sockaddr_in name;
    socklen_t size = sizeof name;
    g_assert_cmpint(getsockname(socket_, (struct sockaddr *)&name, &size), ==, 0);
    return ntohs(name.sin_port);
}

static void
send_to(int socket_, const char *host, int port, gconstpointer data, gsize size)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((guint16)port) };
    inet_pton(AF_INET, host, &to.sin_addr);
    g_assert_cmpint(sendto(socket_, data, size, 0, (struct sockaddr *)&to, sizeof to), ==, (gssize)size);
}

/* A datagram's text and sender; free with g_free. NULL if none comes. */
static char *
receive(int socket_, struct sockaddr_in *from, int wait_ms)
{
    char bytes[4096];
    socklen_t size = sizeof *from;
    struct pollfd wait = { .fd = socket_, .events = POLLIN };
    if (poll(&wait, 1, wait_ms) != 1)
        return NULL;
    gssize n = recvfrom(socket_, bytes, sizeof bytes, 0, (struct sockaddr *)from, &size);
    return n < 0 ? NULL : g_strndup(bytes, (gsize)n);
}

static void
expect(int socket_, const char *text, struct sockaddr_in *from)
{
    g_autofree char *got = receive(socket_, from, WAIT_MS);
    g_assert_cmpstr(got, ==, text);
}

typedef struct {
    RvUdpMux *mux;
    RvUdpPeer *peer;
    Request request;
    int agent, port;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->mux = rv_udp_mux_new(0, &error);
    g_assert_no_error(error);
    f->port = rv_udp_mux_port(f->mux);
    f->agent = open_socket(AF_INET);
    f->peer = rv_udp_mux_add(f->mux, "evtj", PASSWORD, port_of(f->agent), &error);
    g_assert_no_error(error);
    f->request = make_request("evtj:h6vY", PASSWORD);
}

static void
clean_up(Fixture *f, gconstpointer data)
{
    rv_udp_mux_unref(f->mux);
    close(f->agent);
}

/* Opens a path; where the agent sees it. */
static struct sockaddr_in
knock(Fixture *f, int client, const char *host)
{
    struct sockaddr_in seen;
    send_to(client, host, f->port, f->request.bytes, f->request.size);
    g_autofree char *got = receive(f->agent, &seen, WAIT_MS);
    g_assert_nonnull(got);
    return seen;
}

static void
reply(int agent, const struct sockaddr_in *to, const char *text)
{
    g_assert_cmpint(sendto(agent, text, strlen(text), 0, (const struct sockaddr *)to, sizeof *to), >, 0);
}

static void
test_both_ways(Fixture *f, gconstpointer data)
{
    struct sockaddr_in from;
    int one = open_socket(AF_INET), two = open_socket(AF_INET);
    struct sockaddr_in seen_one = knock(f, one, "127.0.0.1"), seen_two = knock(f, two, "127.0.0.1");
    g_assert_cmpint(seen_one.sin_port, !=, seen_two.sin_port);
    reply(f->agent, &seen_two, "to two");
    reply(f->agent, &seen_one, "to one");
    expect(one, "to one", &from);
    g_assert_cmpint(ntohs(from.sin_port), ==, f->port);
    expect(two, "to two", &from);
    send_to(two, "127.0.0.1", f->port, "media", 5);
    expect(f->agent, "media", &from);
    g_assert_cmpint(from.sin_port, ==, seen_two.sin_port);
    for (int i = 0; i < 100; i++) /* more than a batch, in order */
        reply(f->agent, &seen_one, "again");
    for (int i = 0; i < 100; i++)
        expect(one, "again", &from);
    RvUdpStats stats;
    rv_udp_mux_stats(f->mux, &stats);
    g_assert_cmpuint(stats.peers, ==, 1);
    g_assert_cmpuint(stats.paths, ==, 2);
    g_assert_cmpuint(stats.received, ==, 3);
    g_assert_cmpuint(stats.sent, ==, 102);
    close(one);
    close(two);
}

/* A machine has several addresses: the answer comes from the one that was asked. */
static void
test_answers_come_from_the_address_asked(Fixture *f, gconstpointer data)
{
    struct sockaddr_in from;
    int client = open_socket(AF_INET);
    struct sockaddr_in first = knock(f, client, "127.0.0.1"), second = knock(f, client, "127.0.0.2");
    g_assert_cmpint(first.sin_port, !=, second.sin_port);
    reply(f->agent, &second, "2");
    expect(client, "2", &from);
    g_assert_cmpint(from.sin_addr.s_addr, ==, inet_addr("127.0.0.2"));
    reply(f->agent, &first, "1");
    expect(client, "1", &from);
    g_assert_cmpint(from.sin_addr.s_addr, ==, inet_addr("127.0.0.1"));
    close(client);
}

static void
test_ipv6(Fixture *f, gconstpointer data)
{
    struct sockaddr_in6 to = { .sin6_family = AF_INET6,
                               .sin6_port = htons((guint16)f->port),
                               .sin6_addr = in6addr_loopback };
    struct sockaddr_in seen;
    int client = open_socket(AF_INET6);
    if (client < 0 ||
        sendto(client, f->request.bytes, f->request.size, 0, (struct sockaddr *)&to, sizeof to) < 0) {
        g_test_skip("no IPv6 here");
        return;
    }
    g_autofree char *got = receive(f->agent, &seen, WAIT_MS);
    g_assert_nonnull(got);
    reply(f->agent, &seen, "six");
    struct pollfd wait = { .fd = client, .events = POLLIN };
    char bytes[8] = "";
    g_assert_cmpint(poll(&wait, 1, WAIT_MS), ==, 1);
    g_assert_cmpint(recv(client, bytes, sizeof bytes, 0), ==, 3);
    g_assert_cmpstr(bytes, ==, "six");
    close(client);
}

static guint64
dropped(Fixture *f, RvUdpDrop why)
{
    RvUdpStats stats;
    rv_udp_mux_stats(f->mux, &stats);
    return stats.dropped[why];
}

/* Whatever comes in meanwhile, what has a path goes on, and nothing else does. */
static void
test_flood(Fixture *f, gconstpointer data)
{
    struct sockaddr_in from;
    char junk[3000] = { 0 };
    Request forged = make_request("evtj:h6vY", "guess"), stranger = make_request("nobody:h6vY", PASSWORD);
    int client = open_socket(AF_INET), attacker = open_socket(AF_INET);
    struct sockaddr_in seen = knock(f, client, "127.0.0.1");
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 20; i++)
            send_to(attacker, "127.0.0.1", f->port, junk, (gsize)i * 7);
        send_to(attacker, "127.0.0.1", f->port, junk, sizeof junk);
        send_to(attacker, "127.0.0.1", f->port, forged.bytes, forged.size);
        send_to(attacker, "127.0.0.1", f->port, stranger.bytes, stranger.size);
        send_to(client, "127.0.0.1", f->port, "ping", 4);
        expect(f->agent, "ping", &from);
        reply(f->agent, &seen, "pong");
        expect(client, "pong", &from);
    }
    RvUdpStats stats;
    rv_udp_mux_stats(f->mux, &stats);
    g_assert_cmpuint(stats.paths, ==, 1);
    g_assert_cmpuint(stats.received, ==, 201);
    g_assert_cmpuint(dropped(f, RV_UDP_DROP_NOT_STUN), ==, 200 * 20);
    g_assert_cmpuint(dropped(f, RV_UDP_DROP_OVERSIZE), ==, 200);
    g_assert_cmpuint(dropped(f, RV_UDP_DROP_NO_PEER), ==, 200);
    g_assert_cmpuint(dropped(f, RV_UDP_DROP_UNAUTHENTICATED) + dropped(f, RV_UDP_DROP_FULL), ==, 200);
    close(client);
    close(attacker);
}

/* Its last words go out; then it is unknown. */
static void
test_a_peer_goes(Fixture *f, gconstpointer data)
{
    struct sockaddr_in from;
    int client = open_socket(AF_INET);
    struct sockaddr_in seen = knock(f, client, "127.0.0.1");
    reply(f->agent, &seen, "bye");
    rv_udp_mux_remove(f->mux, f->peer);
    expect(client, "bye", &from);
    send_to(client, "127.0.0.1", f->port, f->request.bytes, f->request.size);
    for (int i = 0; i < 1000 && dropped(f, RV_UDP_DROP_NO_PEER) == 0; i++)
        g_usleep(10000);
    g_assert_cmpuint(dropped(f, RV_UDP_DROP_NO_PEER), ==, 1);
    g_autofree char *got = receive(f->agent, &from, 0);
    g_assert_null(got);
    close(client);
}

static void
test_a_port_in_use_is_refused(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_udp_mux_new(f->port, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_IO);
    g_assert_nonnull(strstr(error->message, "--udp-port"));
}

static void
test_addresses(Fixture *f, gconstpointer data)
{
    g_auto(GStrv) own = rv_udp_mux_addresses(f->mux);
    g_assert_nonnull(own[0]);
    for (int i = 0; own[i] != NULL; i++)
        g_assert_false(g_str_has_prefix(own[i], "fe80"));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/stun/sample", test_sample_request);
    g_test_add_func("/stun/no-request", test_no_request);
    g_test_add_func("/stun/garbage", test_garbage);
    g_test_add_func("/udp-table/who-may-open", test_who_may_open);
    g_test_add_func("/udp-table/bounds", test_bounds);
    g_test_add_func("/udp-table/silence", test_silence);
    g_test_add_func("/udp-table/address-changes-hands", test_an_address_changes_hands);
#define WITH_MUX(path, test) g_test_add(path, Fixture, NULL, set_up, test, clean_up)
    WITH_MUX("/udp-mux/both-ways", test_both_ways);
    WITH_MUX("/udp-mux/from-the-address-asked", test_answers_come_from_the_address_asked);
    WITH_MUX("/udp-mux/ipv6", test_ipv6);
    WITH_MUX("/udp-mux/flood", test_flood);
    WITH_MUX("/udp-mux/a-peer-goes", test_a_peer_goes);
    WITH_MUX("/udp-mux/port-in-use", test_a_port_in_use_is_refused);
    WITH_MUX("/udp-mux/addresses", test_addresses);
    return g_test_run();
}
