/* A link between two hosts of which one is a network namespace: delay, jitter, loss, rate. Not every kernel
 * has netem; this needs TUN devices alone, and root.
 *
 * network-link NAMESPACE NAME: makes the device NAME here and NAME in the namespace, prints "ready", and
 * carries packets between them until stdin ends. Lines on stdin set the link, the same both ways: DELAY_MS
 * JITTER_MS LOSS_PERCENT RATE_KBIT QUEUE_MS       (rate 0: no limit) Packets stay in order; what would wait
 * longer than QUEUE_MS for the rate is dropped, as routers do. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_PACKET 2048
#define MAX_WAITING 8192

typedef struct {
    gint64 leave_us;
    guint size;
    guint8 bytes[];
} Packet;

typedef struct {
    int from, to;
    GQueue waiting;      /* Packet */
    gint64 free_us;      /* when the rate lets the next packet begin */
    gint64 last_us;      /* when the newest packet leaves */
    guint64 lost, queue; /* dropped by chance, by the queue's end */
} Way;

typedef struct {
    double delay_ms, jitter_ms, loss, rate_kbit, queue_ms;
} Settings;

static void
fail(const char *what)
{
    fprintf(stderr, "network-link: %s: %s\n", what, g_strerror(errno));
    exit(77); /* not allowed here: tests are skipped */
}

static int
open_tun(const char *name)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    g_strlcpy(request.ifr_name, name, sizeof request.ifr_name);
    int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0)
        fail("no TUN device");
    return tun;
}

static int
open_tun_inside(const char *name, const char *namespace)
{
    g_autofree char *path = g_build_filename("/var/run/netns", namespace, NULL);
    int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), other = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0 || other < 0 || setns(other, CLONE_NEWNET) != 0)
        fail(path);
    int tun = open_tun(name);
    if (setns(own, CLONE_NEWNET) != 0)
        fail("the way back");
    close(own);
    close(other);
    return tun;
}

static void
take(Way *way, const Settings *link, const guint8 *bytes, guint size, gint64 now_us)
{
    if (g_random_double() * 100 < link->loss) {
        way->lost++;
        return;
    }
    gint64 begin_us = MAX(now_us, way->free_us);
    if (link->rate_kbit > 0 && (double)(begin_us - now_us) > link->queue_ms * 1000) {
        way->queue++;
        return;
    }
    if (way->waiting.length >= MAX_WAITING) {
        way->queue++;
        return;
    }
    if (link->rate_kbit > 0)
        way->free_us = begin_us + (gint64)(8000.0 * size / link->rate_kbit);
    double delay_ms = link->delay_ms + link->jitter_ms * g_random_double_range(-1, 1);
    Packet *packet = g_malloc(sizeof *packet + size);
    packet->leave_us = MAX(MAX(begin_us, way->free_us) + (gint64)(delay_ms * 1000), way->last_us);
    packet->size = size;
    memcpy(packet->bytes, bytes, size);
    way->last_us = packet->leave_us;
    g_queue_push_tail(&way->waiting, packet);
}

static void
read_packets(Way *way, const Settings *link)
{
    guint8 bytes[MAX_PACKET];
    for (gssize size; (size = read(way->from, bytes, sizeof bytes)) > 0;)
        take(way, link, bytes, (guint)size, g_get_monotonic_time());
}

/* Returns when the next one is due, G_MAXINT64 if there is none. */
static gint64
write_packets(Way *way)
{
    for (;;) {
        Packet *packet = g_queue_peek_head(&way->waiting);
        if (packet == NULL)
            return G_MAXINT64;
        if (packet->leave_us > g_get_monotonic_time())
            return packet->leave_us;
        if (write(way->to, packet->bytes, packet->size) < 0 && errno == EAGAIN)
            way->queue++;
        g_free(g_queue_pop_head(&way->waiting));
    }
}

/* False at the end of stdin. */
static bool
read_settings(Settings *link)
{
    char line[256];
    if (fgets(line, sizeof line, stdin) == NULL)
        return false;
    Settings next;
    if (sscanf(line, "%lf %lf %lf %lf %lf", &next.delay_ms, &next.jitter_ms, &next.loss, &next.rate_kbit,
               &next.queue_ms) == 5)
        *link = next;
    else
        fprintf(stderr, "network-link: five numbers, not %s", line);
    return true;
}

static void
carry(Way ways[2])
{
    Settings link = { 0 };
    struct pollfd polls[] = { { ways[0].from, POLLIN, 0 }, { ways[1].from, POLLIN, 0 }, { 0, POLLIN, 0 } };
    for (;;) {
        gint64 next_us = MIN(write_packets(&ways[0]), write_packets(&ways[1]));
        gint64 wait_us = MAX(next_us - g_get_monotonic_time(), 0);
        struct timespec wait = { wait_us / G_USEC_PER_SEC, wait_us % G_USEC_PER_SEC * 1000 };
        if (ppoll(polls, G_N_ELEMENTS(polls), next_us == G_MAXINT64 ? NULL : &wait, NULL) < 0 &&
            errno != EINTR)
            fail("waiting");
        for (int i = 0; i < 2; i++)
            read_packets(&ways[i], &link);
        if (polls[2].revents != 0 && !read_settings(&link))
            return;
    }
}

int
main(int argc, char **argv)
{
    if (argc != 3) {
        fputs("usage: network-link NAMESPACE NAME\n", stderr);
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0);
    int outside = open_tun(argv[2]), inside = open_tun_inside(argv[2], argv[1]);
    Way ways[2] = { { .from = outside, .to = inside }, { .from = inside, .to = outside } };
    g_queue_init(&ways[0].waiting);
    g_queue_init(&ways[1].waiting);
    puts("ready");
    fflush(stdout);
    carry(ways);
    for (int i = 0; i < 2; i++) {
        printf("%s: %" G_GUINT64_FORMAT " lost, %" G_GUINT64_FORMAT " over the queue\n",
               i == 0 ? "in" : "out", ways[i].lost, ways[i].queue);
        g_queue_clear_full(&ways[i].waiting, g_free);
    }
    return 0;
}
