/* What serving costs: `reverie serve --effect invert` is started, sent frames over a WebSocket one at a time,
 * and its processor time per frame (user and system, all threads) is compared with libjpeg-turbo's own for
 * the same pictures (decode the frame, encode the inverted one), measured in this process in the same run: to
 * and from RGB, and to and from the planes inside a JPEG, which is what the server does when nobody needs
 * RGB.
 *
 * bench-serving REVERIE [SIZE [FRAMES [QUALITY [FPS]]]]; FPS 0, the default: the next frame when one is back.
 */
#include <gio/gio.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <turbojpeg.h>
#include <unistd.h>

#define WARM_UP 20

typedef struct {
    GSubprocess *process;
    GSocketConnection *connection;
    GInputStream *in;
    GOutputStream *out;
    int port;
} Server;

static void
must(bool done, const char *what)
{
    if (done)
        return;
    fprintf(stderr, "bench-serving: %s failed\n", what);
    exit(1);
}

/* Structure at several scales with a little noise, as a camera would send. */
static guint8 *
draw(int size)
{
    guint8 *rgb = g_malloc(3 * (gsize)size * (gsize)size), *to = rgb;
    guint32 random = 1;
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++)
            for (int c = 0; c < 3; c++) {
                random = random * 1664525 + 1013904223;
                double value = 128 + 50 * sin(x * 0.013 + c) + 40 * sin(y * 0.07 + x * 0.05 * c) +
                               20 * sin(x * y * 0.0005) + (random >> 28);
                *to++ = (guint8)CLAMP(value, 0, 255);
            }
    return rgb;
}

static guint8 *
compress(const guint8 *rgb, int size, int quality, unsigned long *bytes)
{
    tjhandle handle = tjInitCompress();
    unsigned char *data = NULL;
    *bytes = 0;
    must(tjCompress2(handle, rgb, size, 0, size, TJPF_RGB, &data, bytes, TJSAMP_420, quality, 0) == 0,
         "encoding");
    tjDestroy(handle);
    return data;
}

static double
thread_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* libjpeg-turbo alone, handles and buffers kept. */
typedef struct {
    const char *name;
    bool has_planes;
    tjhandle decoder, encoder;
    guint8 *samples; /* RGB, or planes one behind the other */
    unsigned char *out;
    int size, quality;
    double seconds; /* processor time so far */
} Turbo;

static void
turbo_open(Turbo *turbo, const char *name, bool has_planes, int size, int quality)
{
    gsize pixels = (gsize)size * (gsize)size;
    *turbo = (Turbo) { .name = name, .has_planes = has_planes, .size = size, .quality = quality };
    turbo->decoder = tjInitDecompress();
    turbo->encoder = tjInitCompress();
    turbo->samples = g_malloc(3 * pixels);
    turbo->out = tjAlloc((int)tjBufSize(size, size, TJSAMP_420));
}

static void
turbo_close(Turbo *turbo)
{
    tjDestroy(turbo->decoder);
    tjDestroy(turbo->encoder);
    g_free(turbo->samples);
    tjFree(turbo->out);
}

static int
turbo_decode(Turbo *turbo, guint8 *planes[3], const guint8 *jpeg, unsigned long bytes)
{
    return turbo->has_planes ? tjDecompressToYUVPlanes(turbo->decoder, jpeg, bytes, planes, turbo->size, NULL,
                                                       turbo->size, TJFLAG_FASTDCT)
                             : tjDecompress2(turbo->decoder, jpeg, bytes, turbo->samples, turbo->size, 0,
                                             turbo->size, TJPF_RGB, TJFLAG_FASTDCT);
}

static int
turbo_encode(Turbo *turbo, guint8 *planes[3])
{
    unsigned long written = tjBufSize(turbo->size, turbo->size, TJSAMP_420);
    const guint8 *from[3] = { planes[0], planes[1], planes[2] };
    return turbo->has_planes
               ? tjCompressFromYUVPlanes(turbo->encoder, from, turbo->size, NULL, turbo->size, TJSAMP_420,
                                         &turbo->out, &written, turbo->quality, TJFLAG_NOREALLOC)
               : tjCompress2(turbo->encoder, turbo->samples, turbo->size, 0, turbo->size, TJPF_RGB,
                             &turbo->out, &written, TJSAMP_420, turbo->quality, TJFLAG_NOREALLOC);
}

/* Decodes `jpeg` and encodes its inverse; inverting is not counted. Between two served frames, so that caches
 * are as cold and cores as busy as the server finds them. */
static void
turbo_frame(Turbo *turbo, const guint8 *jpeg, unsigned long bytes)
{
    gsize pixels = (gsize)turbo->size * (gsize)turbo->size;
    gsize samples = turbo->has_planes ? pixels * 3 / 2 : 3 * pixels;
    guint8 *planes[3] = { turbo->samples, turbo->samples + pixels, turbo->samples + pixels * 5 / 4 };
    double from = thread_seconds();
    must(turbo_decode(turbo, planes, jpeg, bytes) == 0, "decoding");
    turbo->seconds += thread_seconds() - from;
    for (gsize i = 0; i < samples; i++)
        turbo->samples[i] = 255 - turbo->samples[i];
    from = thread_seconds();
    must(turbo_encode(turbo, planes) == 0, "encoding");
    turbo->seconds += thread_seconds() - from;
}

static void
start(Server *server, const char *binary, int size, const char *data)
{
    g_autofree char *dimensions = g_strdup_printf("%dx%d", size, size);
    server->process = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE,
                                       NULL, binary, "serve", "--effect", "invert", "--size", dimensions,
                                       "--listen", "127.0.0.1:0", "--pace", "off", "--data", data, NULL);
    must(server->process != NULL, "starting the server");
    g_autoptr(GDataInputStream) lines =
        g_data_input_stream_new(g_subprocess_get_stdout_pipe(server->process));
    g_autofree char *line = g_data_input_stream_read_line(lines, NULL, NULL, NULL);
    must(line != NULL && strrchr(line, ':') != NULL, "the server's start");
    server->port = atoi(strrchr(line, ':') + 1);
}

static void
open_socket(Server *server)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    server->connection =
        g_socket_client_connect_to_host(client, "127.0.0.1", (guint16)server->port, NULL, NULL);
    must(server->connection != NULL, "connecting");
    g_socket_set_option(g_socket_connection_get_socket(server->connection), IPPROTO_TCP, TCP_NODELAY, 1,
                        NULL);
    server->in = g_io_stream_get_input_stream(G_IO_STREAM(server->connection));
    server->out = g_io_stream_get_output_stream(G_IO_STREAM(server->connection));
    g_autofree char *request = g_strdup_printf(
        "GET /ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        server->port);
    must(g_output_stream_write_all(server->out, request, strlen(request), NULL, NULL, NULL), "asking");
    char seen[4] = "";
    while (memcmp(seen, "\r\n\r\n", 4) != 0) {
        memmove(seen, seen + 1, 3);
        must(g_input_stream_read(server->in, seen + 3, 1, NULL, NULL) == 1, "the WebSocket handshake");
    }
}

/* One binary message, masked with zeros. Lengths must take the shortest form. */
static void
send_frame(Server *server, const guint8 *jpeg, gsize size)
{
    guint8 head[14] = { 0x82, 0x80 | (size < 65536 ? 126 : 127) };
    int digits = size < 65536 ? 2 : 8;
    must(size > 125, "a frame so small");
    for (int i = 0; i < digits; i++)
        head[2 + i] = (guint8)((guint64)size >> 8 * (digits - 1 - i));
    must(g_output_stream_write_all(server->out, head, (gsize)digits + 6, NULL, NULL, NULL) &&
             g_output_stream_write_all(server->out, jpeg, size, NULL, NULL, NULL),
         "sending");
}

static void
read_exactly(Server *server, void *to, gsize size)
{
    gsize count;
    must(g_input_stream_read_all(server->in, to, size, &count, NULL, NULL) && count == size, "receiving");
}

/* The next binary message's size; pings in between are skipped. */
static gsize
receive_frame(Server *server)
{
    for (;;) {
        guint8 head[2], wide[8];
        read_exactly(server, head, 2);
        gsize size = head[1], digits = size == 126 ? 2 : size == 127 ? 8 : 0;
        read_exactly(server, wide, digits);
        for (gsize i = 0; i < digits; i++)
            size = (i == 0 ? 0 : size << 8) | wide[i];
        g_autofree guint8 *payload = g_malloc(size + 1);
        read_exactly(server, payload, size);
        if ((head[0] & 15) == 2)
            return size;
    }
}

/* User and system time of the server, all threads. */
static double
process_seconds(const Server *server)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/stat", g_subprocess_get_identifier(server->process));
    g_autofree char *text = NULL;
    unsigned long user = 0, kernel = 0;
    must(g_file_get_contents(path, &text, NULL, NULL) &&
             sscanf(strrchr(text, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                    &kernel) == 2,
         "reading /proc");
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* What the server adds to codecs and effect, from its own statistics (the last 256 frames of a session); the
 * first session's. */
static void
print_residence(const Server *server)
{
    g_autoptr(GSocketClient) client = g_socket_client_new();
    g_autoptr(GSocketConnection) connection =
        g_socket_client_connect_to_host(client, "127.0.0.1", (guint16)server->port, NULL, NULL);
    must(connection != NULL, "asking for statistics");
    static const char request[] = "GET /api/stats HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    must(g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection)), request,
                                   strlen(request), NULL, NULL, NULL),
         "asking for statistics");
    g_autofree char *reply = g_malloc0(65536);
    gsize size;
    must(g_input_stream_read_all(g_io_stream_get_input_stream(G_IO_STREAM(connection)), reply, 65535, &size,
                                 NULL, NULL),
         "reading statistics");
    const char *at = strstr(reply, "\"residence\"");
    printf("residence                ");
    for (const char *const *name = (const char *const[]) { "p50", "p95", "p99", "max", NULL }; *name != NULL;
         name++) {
        g_autofree char *key = g_strdup_printf("\"%s\":", *name);
        const char *value = at != NULL ? strstr(at, key) : NULL;
        must(value != NULL, "finding the residence");
        printf(" %s %.2f", *name, g_ascii_strtod(value + strlen(key), NULL));
    }
    printf(" ms beyond codecs and effect\n");
}

typedef struct {
    int size, frames, quality;
    double fps; /* 0: one at a time */
    guint8 *jpeg;
    unsigned long bytes;
    Turbo turbos[2];
} Bench;

typedef struct {
    double served, wall; /* seconds a frame: of the server's processor time, of a round */
    double returned;     /* mean bytes of a frame that came back */
} Outcome;

static void
one_round(Server *server, Bench *bench, gint64 due_us, Outcome *sum)
{
    while (bench->fps > 0 && g_get_monotonic_time() < due_us)
        g_usleep((gulong)MAX(due_us - g_get_monotonic_time(), 1));
    send_frame(server, bench->jpeg, bench->bytes);
    sum->returned += (double)receive_frame(server);
    for (gsize i = 0; i < G_N_ELEMENTS(bench->turbos); i++)
        turbo_frame(&bench->turbos[i], bench->jpeg, bench->bytes);
}

static Outcome
measure(Server *server, Bench *bench)
{
    Outcome sum = { 0 };
    double from = 0;
    gint64 start_us = g_get_monotonic_time(), measured_us = 0;
    for (int i = 0; i < WARM_UP + bench->frames; i++) {
        if (i == WARM_UP) {
            sum = (Outcome) { 0 };
            bench->turbos[0].seconds = bench->turbos[1].seconds = 0;
            from = process_seconds(server);
            measured_us = g_get_monotonic_time();
        }
        gint64 due_us = bench->fps > 0 ? start_us + (gint64)(i * 1e6 / bench->fps) : 0;
        one_round(server, bench, due_us, &sum);
    }
    return (Outcome) { .served = (process_seconds(server) - from) / bench->frames,
                       .wall = (double)(g_get_monotonic_time() - measured_us) / 1e6 / bench->frames,
                       .returned = sum.returned / bench->frames };
}

static void
print_row(const char *name, double seconds)
{
    printf("%-24s %6.2f ms of one core a frame  %6.1f frames/s per core\n", name, seconds * 1e3, 1 / seconds);
}

static void
print_outcome(const Bench *bench, const Outcome *outcome)
{
    printf("%dx%d, %lu bytes in, %.0f out, %d frames (%.1f ms a round)\n", bench->size, bench->size,
           bench->bytes, outcome->returned, bench->frames, outcome->wall * 1e3);
    print_row("reverie", outcome->served);
    for (gsize i = 0; i < G_N_ELEMENTS(bench->turbos); i++)
        print_row(bench->turbos[i].name, bench->turbos[i].seconds / bench->frames);
    for (gsize i = 0; i < G_N_ELEMENTS(bench->turbos); i++)
        printf("overhead over %-10s %6.1f %%\n", i == 0 ? "RGB" : "planes",
               100 * (outcome->served * bench->frames / bench->turbos[i].seconds - 1));
    /* A machine too busy for the rate makes the server lower its quality, which costs it less. */
    if (outcome->returned < 0.99 * (double)bench->bytes)
        printf("NOT COMPARABLE: the server lowered its quality, because it or this program had to wait\n");
}

int
main(int argc, char **argv)
{
    must(argc >= 2, "usage: bench-serving REVERIE [SIZE [FRAMES [QUALITY [FPS]]]]:");
    Bench bench = { .size = argc > 2 ? atoi(argv[2]) : 1024,
                    .frames = argc > 3 ? atoi(argv[3]) : 400,
                    .quality = argc > 4 ? atoi(argv[4]) : 85,
                    .fps = argc > 5 ? atof(argv[5]) : 0 };
    g_autofree guint8 *rgb = draw(bench.size);
    bench.jpeg = compress(rgb, bench.size, bench.quality, &bench.bytes);
    turbo_open(&bench.turbos[0], "libjpeg-turbo, RGB", false, bench.size, bench.quality);
    turbo_open(&bench.turbos[1], "libjpeg-turbo, planes", true, bench.size, bench.quality);
    g_autofree char *data = g_dir_make_tmp("reverie-bench-XXXXXX", NULL);
    Server server;
    start(&server, argv[1], bench.size, data);
    open_socket(&server);
    Outcome outcome = measure(&server, &bench);
    print_outcome(&bench, &outcome);
    print_residence(&server);
    g_subprocess_send_signal(server.process, 15);
    g_subprocess_wait(server.process, NULL, NULL);
    tjFree(bench.jpeg);
    turbo_close(&bench.turbos[0]);
    turbo_close(&bench.turbos[1]);
    return 0;
}
