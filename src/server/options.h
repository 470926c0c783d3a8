/* options.h - the settings of `reverie serve`: one table gives the flags, the environment variables, the
 * keys of the configuration file and --help.
 *
 * A flag wins over the environment, the environment over the file, the file over the default. */
#pragma once
#include <glib.h>
#include <stdbool.h>

#include "base/error.h"
#include "engine/share.h"
#include "media/sdp_answer.h"

typedef struct {
    char *listen, *data, *models, *model, *device, *precision, *vae, *size, *effect;
    char *outputs, *record;
    char *users, *token, *tls_cert, *tls_key, *public_address, *config, *pace, *web, *log, *allowed_hosts;
    gboolean tls_self_signed, insecure;
    char *share, *unload_after, *exit_when_idle;
    int udp_port, osc, threads, max_clients, model_memory, record_limit;
    /* What they mean, once finished. */
    char *host;            /* of `listen`, without brackets */
    int port;              /* 0: any free one */
    RvSdpHost public_host; /* of `public_address`; address NULL: none */
    bool is_loopback;      /* only this machine can connect */
    int width, height;     /* of the mirror's pictures; 0: the model's own */
    RvShareRule share_rule;
    double unload_after_s, exit_when_idle_s; /* 0: never */
    char **folders;      /* of models, in order of precedence; set by who starts the server; owned */
    char *default_model; /* path of the model for pictures; likewise; NULL: each job must name one */
    char **given;        /* as typed, by row of the table */
} RvServeOptions;

/* Entries for an option parser that fill `options`, which must not move; ends with an empty entry. Free with
 * g_free. */
GOptionEntry *rv_serve_options_entries(RvServeOptions *options);
/* Adds what environment and file say and the defaults, and checks everything that can be checked without
 * starting; RV_ERROR_USAGE or RV_ERROR_NOT_FOUND. */
bool rv_serve_options_finish(RvServeOptions *options, GError **error);
void rv_serve_options_clear(RvServeOptions *options);

/* One line NAME=VALUE of a configuration file: comments, blank lines, `export`, quotes and keys in any
 * case with - or _ and with or without REVERIE_ are understood. False when the line is none; a comment
 * gives true with NULL in *key. */
bool rv_config_line_parse(const char *line, char **key, char **value);
/* "HOST:PORT", "[V6]:PORT", ":PORT" or "PORT". */
bool rv_listen_parse(const char *text, char **host, int *port, GError **error);
bool rv_host_is_loopback(const char *host);
