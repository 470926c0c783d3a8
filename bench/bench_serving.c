/* What serving costs: `reverie serve --effect invert` is started, sent frames over a WebSocket one at a
 * time, and its processor time per frame is compared with libjpeg-turbo's own for the same pictures (decode
 * the frame, encode the inverted one), measured in this process in the same run.
 *
 * bench-serving REVERIE [SIZE [FRAMES [QUALITY]]] */
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

typedef struct {
    tjhandle decoder, encoder;
    guint8 *rgb;
    unsigned char *out;
    int size, quality;
    double seconds; /* processor time so far */
} Turbo;

/* Decodes `jpeg` and encodes its inverse, handles and buffers kept. Between two served frames, so that
 * caches are as cold and cores as busy as the server finds them. */
static void
turbo_frame(Turbo *turbo, const guint8 *jpeg, unsigned long bytes)
{
    gsize samples = 3 * (gsize)turbo->size * (gsize)turbo->size;
    double from = thread_seconds();
    must(tjDecompress2(turbo->decoder, jpeg, bytes, turbo->rgb, turbo->size, 0, turbo->size, TJPF_RGB,
                       TJFLAG_FASTDCT) == 0,
         "decoding");
    turbo->seconds += thread_seconds() - from;
    for (gsize i = 0; i < samples; i++)
        turbo->rgb[i] = 255 - turbo->rgb[i];
    unsigned long written = tjBufSize(turbo->size, turbo->size, TJSAMP_420);
    from = thread_seconds();
    must(tjCompress2(turbo->encoder, turbo->rgb, turbo->size, 0, turbo->size, TJPF_RGB, &turbo->out, &written,
                     TJSAMP_420, turbo->quality, TJFLAG_NOREALLOC) == 0,
         "encoding");
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

/* The p99 of what the server adds to codecs and effect, from its own statistics; the first session's. */
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
    const char *at = strstr(reply, "\"residence\""), *p50 = at != NULL ? strstr(at, "\"p50\":") : NULL,
               *p99 = at != NULL ? strstr(at, "\"p99\":") : NULL;
    must(p50 != NULL && p99 != NULL, "finding the residence");
    printf("residence      %6.2f ms p50, %.2f ms p99 beyond codecs and effect\n",
           g_ascii_strtod(p50 + 6, NULL), g_ascii_strtod(p99 + 6, NULL));
}

int
main(int argc, char **argv)
{
    must(argc >= 2, "usage: bench-serving REVERIE [SIZE [FRAMES [QUALITY]]]:");
    int size = argc > 2 ? atoi(argv[2]) : 1024, frames = argc > 3 ? atoi(argv[3]) : 400;
    int quality = argc > 4 ? atoi(argv[4]) : 85;
    g_autofree guint8 *rgb = draw(size);
    unsigned long bytes;
    guint8 *jpeg = compress(rgb, size, quality, &bytes);
    g_autofree char *data = g_dir_make_tmp("reverie-bench-XXXXXX", NULL);
    Server server;
    start(&server, argv[1], size, data);
    open_socket(&server);
    gsize returned = 0;
    double from = 0, wall = 0;
    Turbo turbo = { tjInitDecompress(),
                    tjInitCompress(),
                    g_malloc(3 * (gsize)size * (gsize)size),
                    tjAlloc((int)tjBufSize(size, size, TJSAMP_420)),
                    size,
                    quality,
                    0 };
    for (int i = -WARM_UP; i < frames; i++) {
        if (i == 0) {
            turbo.seconds = 0;
            from = process_seconds(&server);
            wall = (double)g_get_monotonic_time();
        }
        send_frame(&server, jpeg, bytes);
        returned = receive_frame(&server);
        turbo_frame(&turbo, jpeg, bytes);
    }
    double served = (process_seconds(&server) - from) / frames;
    wall = ((double)g_get_monotonic_time() - wall) / 1e6 / frames;
    double own = turbo.seconds / frames;
    print_residence(&server);
    g_subprocess_send_signal(server.process, 15);
    g_subprocess_wait(server.process, NULL, NULL);
    printf("%dx%d, %lu bytes in, %zu out, %d frames one at a time (%.1f ms a round)\n", size, size, bytes,
           returned, frames, wall * 1e3);
    printf("reverie        %6.2f ms of one core a frame  %6.1f frames/s per core\n", served * 1e3,
           1 / served);
    printf("libjpeg-turbo  %6.2f ms of one core a frame  %6.1f frames/s per core\n", own * 1e3, 1 / own);
    printf("overhead       %6.1f %%\n", 100 * (served / own - 1));
    tjFree(jpeg);
    tjFree(turbo.out);
    g_free(turbo.rgb);
    tjDestroy(turbo.decoder);
    tjDestroy(turbo.encoder);
    return 0;
}
