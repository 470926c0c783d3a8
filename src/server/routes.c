/* routes.c - the table. A new address is a row here and a handler; nothing else. */
#include "server/server_internal.h"
#include "server/transports.h"

#define PARAMETER(PATH, NAME, HELP)                                                                      \
    {                                                                                                    \
        "GET,POST", PATH, RV_AUTH_REQUIRED, true, rv_control_parameter, .parameter = NAME, .help = HELP, \
                                                                        .takes_text = true               \
    }

const RvRoute rv_routes[] = {
    { "GET", "/healthz", RV_AUTH_NONE, false, rv_health_alive, .help = "200 while the process lives" },
    { "GET", "/readyz", RV_AUTH_NONE, false, rv_health_ready,
      .help = "200 once pictures can be drawn, else 503" },
    { "GET", "/metrics", RV_AUTH_REQUIRED, false, rv_health_metrics, .help = "Prometheus text" },

    { "GET", "/", RV_AUTH_REQUIRED, false, rv_pages_get, .parameter = "index.html",
      .help = "Page: where to go" },
    { "GET", "/mirror", RV_AUTH_REQUIRED, false, rv_pages_get, .parameter = "mirror.html",
      .help = "Page: the mirror; ?autoconnect&camera&debug&prompt&transport=auto|webrtc|ws" },
    { "GET", "/view", RV_AUTH_REQUIRED, false, rv_pages_get, .parameter = "view.html",
      .help = "Page: what a mirror shows, for OBS and projectors" },
    { "GET", "/studio", RV_AUTH_REQUIRED, false, rv_pages_get, .parameter = "studio.html",
      .help = "Page: the studio" },
    { "GET", "/static/{path}", RV_AUTH_NONE, false, rv_pages_file, .help = "Files of the pages" },

    { "GET", "/ws", RV_AUTH_REQUIRED, true, .socket = rv_websocket_open,
      .help = "WebSocket: JPEG frames both ways; subprotocol reverie.1 adds a header" },
    { "GET", "/", RV_AUTH_REQUIRED, true, .socket = rv_websocket_open,
      .help = "WebSocket: the same, for GenDJ's clients" },
    { "GET", RV_ANY_PATH, RV_AUTH_REQUIRED, true, .socket = rv_websocket_open,
      .help = "WebSocket: the same, at every address that is nothing else" },
    { "POST", "/offer", RV_AUTH_REQUIRED, true, rv_offer_post,
      .help = "WebRTC: {\"sdp\",\"type\":\"offer\"} in, the answer out; ?effect=invert&codec=vp8|h264" },
    { "GET", "/stream.mjpeg", RV_AUTH_REQUIRED, false, rv_mjpeg_get,
      .help = "What a mirror shows, as MJPEG; ?client=ID&quality=1..100" },

    { "GET,POST", "/api/state", RV_AUTH_REQUIRED, false, rv_control_state,
      .help = "Live parameters and figures; POST changes those in its JSON" },
    { "GET", "/api/stats", RV_AUTH_REQUIRED, false, rv_health_stats,
      .help = "Figures of the last minute, per session and device" },
    { "GET,POST", "/api/recording", RV_AUTH_REQUIRED, false, rv_control_recording,
      .help = "Films of what mirrors are sent and shown (--record); POST {\"on\":true|false}" },
    { "GET", "/api/events", RV_AUTH_REQUIRED, false, rv_events_get,
      .help = "Server-sent events: state at every change, stats every second" },
    { "GET", "/api/routes", RV_AUTH_REQUIRED, false, rv_health_routes, .help = "This list" },

    { "GET", "/api/v1/tokens", RV_AUTH_REQUIRED, false, rv_tokens_get,
      .help = "?prompt=TEXT: tokens of a prompt and the chunks that they fill, {\"count\",\"chunks\"}" },
    { "GET,POST", "/set", RV_AUTH_REQUIRED, true, rv_control_set, .takes_text = true,
      .help = "?prompt=TEXT, as in transformirror-web" },
    PARAMETER("/prompt/{text}", "prompt", "The prompt (of a pair: the first); also ?msg=TEXT"),
    PARAMETER("/secondprompt/{text}", "prompt/1", "The second prompt of a pair"),
    PARAMETER("/blend/{x}", "crossfade", "From the first prompt (0) to the second (1)"),
    PARAMETER("/crossfade/{x}", "crossfade", "The same"),
    PARAMETER("/seed/{n}", "seed", "The noise"),
    PARAMETER("/fixed_seed/{bool}", "fixed_seed", "The same noise in every picture"),
    PARAMETER("/steps/{n}", "steps", "1 to 50"),
    PARAMETER("/strength/{x}", "strength", "How much of the camera's picture is redrawn, 0 to 1"),
    PARAMETER("/smooth_strength/{bool}", "smooth_strength", "Strength works evenly, not in whole steps"),
    PARAMETER("/opacity/{x}", "opacity", "Of the drawn picture over the camera's, 0 to 1"),
    PARAMETER("/passthrough/{bool}", "passthrough", "The camera's picture as it is"),
    PARAMETER("/mirror/{bool}", "mirror", "Flip left and right"),
    PARAMETER("/paused/{bool}", "paused", "Hold the last picture"),
    PARAMETER("/compel/{bool}", "compel", "Read weights and blends in prompts"),
    PARAMETER("/mode/{name}", "mode", "hard (2 steps, 0.7) or soft (3 steps, 0.5)"),
    PARAMETER("/ramp_ms/{n}", "ramp_ms", "How long prompts take to change"),
    PARAMETER("/pace/{name}", "pace", "off, smooth, or latency-budget=MS"),
    { "GET,POST", "/debug/{bool}", RV_AUTH_REQUIRED, true, rv_control_debug, .takes_text = true,
      .help = "More in the logs" },
    { "GET,POST", "/directory/{name}", RV_AUTH_REQUIRED, true, rv_control_ignored, .takes_text = true,
      .help = "Taken for i2i-realtime's sake: pictures come from cameras" },
    { "GET,POST", "/batch_size/{n}", RV_AUTH_REQUIRED, true, rv_control_ignored, .takes_text = true,
      .help = "Taken for i2i-realtime's sake: frames are drawn one by one" },
    { 0 },
};

const RvRoute *const rv_route_tables[] = { rv_routes, rv_studio_routes, rv_sdapi_routes, NULL };
