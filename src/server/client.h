/* client.h - what transports (WebSocket, WebRTC, MJPEG) see of the mirror: a client pushes camera frames
 * in and is called with every picture to show, in order, never an older one after a newer.
 *
 * Everything here happens on the main loop's thread (the default main context); codecs run in threads of
 * the transport, which post their results to the loop. Times are microseconds of g_get_monotonic_time(),
 * but for `captured_us`, which is the client's own clock and is handed back as it came.
 * A client never blocks and holds a bounded number of frames: pushing while the mailbox is full replaces
 * the frame in it. */
#pragma once
#include "media/raster.h"

typedef struct RvServer RvServer;
typedef struct RvClient RvClient;

/* What travels with a frame. */
typedef struct {
    guint64 sequence;   /* the client's number of this frame; any, but rising */
    gint64 captured_us; /* on the client's clock; 0: not known */
    gint64 arrived_us;  /* when its last byte was here; 0: now */
    gint64 decode_us;   /* what decoding took */
} RvFrameStamp;

/* A picture to show. Reference-counted, so that an encoder thread may keep it; the contents are read-only. */
typedef struct {
    RvRaster *raster;   /* planes only where the client pushed planes */
    RvFrameStamp stamp; /* of the frame that it was made from */
    guint32 revision;   /* of the live parameters that it was made with */
    /* Where the time went: arrived_us (stamp) -> pushed -> started on a device -> finished -> shown now. */
    gint64 pushed_us, started_us, finished_us, shown_us;
    gint64 render_us;    /* the device's own work, within started to finished */
    bool is_passthrough; /* the camera's own picture, because the parameters ask for it */
} RvShown;

RvShown *rv_shown_ref(RvShown *shown); /* any thread */
void rv_shown_unref(RvShown *shown);   /* any thread; accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvShown, rv_shown_unref)

typedef struct {
    const char *transport; /* "ws", "webrtc": for logs and statistics; copied */
    const char *address;   /* of the peer, for logs; may be NULL; copied */
    const char *effect;    /* NULL: what the server runs; "invert": colours inverted, no model */
    /* Frames come and go as JPEGs, which the transport gives to rv_client_record_...(); what other transports
     * carry is recorded without them. */
    bool has_jpegs;
    void (*on_shown)(RvShown *shown, void *user);
    /* The server stops: close the connection and the client soon. NULL for WebSockets, which the server
     * closes itself. */
    void (*on_stop)(void *user);
    void *user;
} RvClientOptions;

/* NULL with RV_ERROR_BUSY (too many clients, or the server is stopping), RV_ERROR_USAGE (unknown effect). */
RvClient *rv_client_open(RvServer *server, const RvClientOptions *options, GError **error);
void rv_client_close(RvClient *client); /* no callback comes after; accepts NULL */

guint64 rv_client_id(const RvClient *client); /* as in /api/stats and the logs */
/* Takes `raster` (any size of 16 to 8192 a side, the mirror crops and scales), whatever the result.
 * RV_ERROR_INVALID for a size out of range, RV_ERROR_BUSY while the server stops. */
bool rv_client_push(RvClient *client, RvRaster *raster, const RvFrameStamp *stamp, GError **error);
/* Whether planes are worked on as they are; else they would only be converted. */
bool rv_client_takes_planes(const RvClient *client);
/* Size of the pictures that will be shown, pixels. */
void rv_client_output_size(const RvClient *client, int *width, int *height);

/* For recordings (recording.h), while they are on: a JPEG as it came, `offset` bytes into `message`, and one
 * as it was sent, of `shown`. */
void rv_client_record_input(RvClient *client, GBytes *message, gsize offset, gint64 arrived_us);
void rv_client_record_output(RvClient *client, RvShown *shown, GBytes *jpeg);

/* What only the transport knows, for /metrics and /api/stats. */
typedef enum {
    RV_CLIENT_BYTES_IN,
    RV_CLIENT_BYTES_OUT,
    RV_CLIENT_FRAMES_IN,   /* messages that held a frame, decoded or not */
    RV_CLIENT_BAD_INPUT,   /* messages that were no picture, or nothing that is understood */
    RV_CLIENT_SKIPPED_IN,  /* replaced before they were decoded */
    RV_CLIENT_SKIPPED_OUT, /* shown pictures not sent because the client is behind */
    RV_CLIENT_FRAMES_OUT,
    RV_CLIENT_CUT_OFF, /* connections ended for what came, or for silence */
    RV_CLIENT_N_COUNTERS
} RvClientCounter;
void rv_client_count(RvClient *client, RvClientCounter counter, guint64 amount);

/* AGE: capture to screen, as the client itself measured it. RESIDENCE: from the last byte of a frame until
 * its picture is handed to the network, less decoding, the device's own work and encoding: what the server
 * adds. */
typedef enum {
    RV_CLIENT_DECODE,
    RV_CLIENT_ENCODE,
    RV_CLIENT_AGE,
    RV_CLIENT_RESIDENCE,
    RV_CLIENT_N_TIMES
} RvClientTime;
void rv_client_time(RvClient *client, RvClientTime time, gint64 us);

/* Watchers see what a client is shown, without a camera of their own: /view and the MJPEG stream. */
typedef struct RvWatch RvWatch;
/* `client_id` 0 is whichever client was opened last; when it leaves, the watch goes on with another. */
RvWatch *rv_watch_open(RvServer *server, guint64 client_id, void (*on_shown)(RvShown *shown, void *user),
                       void *user, GError **error);
void rv_watch_close(RvWatch *watch); /* accepts NULL */
