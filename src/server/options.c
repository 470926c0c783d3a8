#include "server/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gio/gio.h>
#include <glib/gstdio.h>

#include "live/live.h"

#define MAX_SIDE 4096
#define MIN_SIDE 64
#define MAX_CONFIG_BYTES (1 << 20)

typedef enum { TEXT, FOLDER, FLAG, NUMBER } Kind;

typedef struct {
    const char *name;
    Kind kind;
    gsize offset; /* in RvServeOptions */
    const char *value_name, *fallback, *help;
    int min, max; /* of numbers */
} Row;

#define AT(field) G_STRUCT_OFFSET(RvServeOptions, field)

static const Row rows[] = {
    { "listen", TEXT, AT(listen), "HOST:PORT", "127.0.0.1:7860",
      "Where to serve; port 0 takes a free one (default: 127.0.0.1:7860)" },
    { "data", FOLDER, AT(data), "DIR", NULL,
      "Where settings and certificates are kept (default: ~/.local/share/reverie)" },
    { "outputs", FOLDER, AT(outputs), "DIR", NULL,
      "Where users' pictures are kept (default: outputs in --data)" },
    { "record", FOLDER, AT(record), "DIR", NULL,
      "Record what mirrors are sent and shown, as films in this folder; POST /api/recording stops and goes "
      "on" },
    { "record-limit", NUMBER, AT(record_limit), "MB", "2048",
      "A recorded file's size, after which another begins (default: 2048)", 1, 1 << 20 },
    { "models", FOLDER, AT(models), "DIR", NULL, "Where names of models are looked up" },
    { "model", FOLDER, AT(model), "M", NULL,
      "Model: folder, .safetensors file, or a name in --models (default: mini)" },
    { "device", TEXT, AT(device), "D", "auto", "auto, cpu, cuda, cuda:0,1 (default: auto)" },
    { "precision", TEXT, AT(precision), "P", "auto", "auto, fp32, fp16, bf16, fp8 (default: auto)" },
    { "vae", FOLDER, AT(vae), "VAE", NULL,
      "Autoencoder: model, taesd, or a file or folder (default: the model's)" },
    { "size", TEXT, AT(size), "WxH", NULL,
      "Pictures of the mirror (default: the model's own; --effect: 1024x1024)" },
    { "effect", TEXT, AT(effect), "NAME", NULL, "Instead of a model: invert (tests networks and latency)" },
    { "users", FOLDER, AT(users), "FILE", NULL, "Lines name:password that may log in" },
    { "token", TEXT, AT(token), "TOKEN", NULL,
      "A secret that lets in: Bearer, password, or ?token= in a page's address" },
    { "tls-cert", FOLDER, AT(tls_cert), "F", NULL, "Certificate chain, PEM: serves https" },
    { "tls-key", FOLDER, AT(tls_key), "F", NULL, "Its private key, PEM" },
    { "tls-self-signed", FLAG, AT(tls_self_signed), NULL, NULL,
      "Serve https with a certificate made at the first start" },
    { "udp-port", NUMBER, AT(udp_port), "N", "0", "The one UDP port of all WebRTC (default: any free ones)",
      0, 65535 },
    { "public-address", TEXT, AT(public_address), "ADDRESS[:PORT]", NULL,
      "Address that WebRTC peers are told beside this machine's own, and port if --udp-port is mapped to "
      "another" },
    { "osc", NUMBER, AT(osc), "PORT", "0", "UDP port for OSC messages (default: none)", 0, 65535 },
    { "pace", TEXT, AT(pace), "P", "smooth", "off, smooth, or latency-budget=MS (default: smooth)" },
    { "threads", NUMBER, AT(threads), "N", "0", "CPU threads of the engine (default: one per core)", 0,
      1024 },
    { "model-memory", NUMBER, AT(model_memory), "MB", "0",
      "Memory for models that stay loaded for pictures (default: half of what is free; on GPUs as it fits)",
      0, 1 << 24 },
    { "share", TEXT, AT(share), "RULE", "mirror-first",
      "Of a device between live frames and pictures: mirror-first, fair, or off (default: mirror-first)" },
    { "unload-after", TEXT, AT(unload_after), "MIN", "0",
      "Give up all models when nothing was asked for so long, and load them at the next request (default: "
      "never)" },
    { "exit-when-idle", TEXT, AT(exit_when_idle), "MIN", "0",
      "End when nothing was asked for so long (default: never)" },
    { "max-clients", NUMBER, AT(max_clients), "N", "64", "Mirrors at a time (default: 64)", 1, 10000 },
    { "allowed-hosts", TEXT, AT(allowed_hosts), "NAMES", NULL,
      "Names under which pages may be opened, besides addresses and this machine's own; commas between; * is "
      "any" },
    { "insecure", FLAG, AT(insecure), NULL, NULL, "Let everybody in who can connect, on any address" },
    { "web", FOLDER, AT(web), "DIR", NULL, "Serve the pages from this folder instead of from the program" },
    { "log", TEXT, AT(log), "FORMAT", "text", "text or json, one line an event, on stderr (default: text)" },
    { "config", FOLDER, AT(config), "FILE", NULL, "File of lines NAME=VALUE" },
};

static char **
text_at(RvServeOptions *options, const Row *row)
{
    return (char **)((char *)options + row->offset);
}

static gboolean *
flag_at(RvServeOptions *options, const Row *row)
{
    return (gboolean *)(void *)((char *)options + row->offset);
}

GOptionEntry *
rv_serve_options_entries(RvServeOptions *options)
{
    GOptionEntry *entries = g_new0(GOptionEntry, G_N_ELEMENTS(rows) + 1);
    options->given = g_new0(char *, G_N_ELEMENTS(rows));
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        entries[i] = (GOptionEntry) {
            .long_name = rows[i].name,
            .arg = rows[i].kind == FLAG     ? G_OPTION_ARG_NONE
                   : rows[i].kind == FOLDER ? G_OPTION_ARG_FILENAME
                                            : G_OPTION_ARG_STRING,
            .arg_data =
                rows[i].kind == FLAG ? (gpointer)flag_at(options, &rows[i]) : (gpointer)&options->given[i],
            .description = rows[i].help,
            .arg_description = rows[i].value_name,
        };
    return entries;
}

/* ---- the file ---- */

bool
rv_config_line_parse(const char *line, char **key, char **value)
{
    *key = *value = NULL;
    g_autofree char *text = g_strstrip(g_strdup(line));
    char *name = text;
    if (*name == '\0' || *name == '#')
        return true;
    if (g_str_has_prefix(name, "export "))
        name = g_strchug(name + strlen("export "));
    char *equals = strchr(name, '=');
    if (equals == NULL || equals == name)
        return false;
    *equals = '\0';
    g_strchomp(name);
    char *content = g_strchug(equals + 1);
    gsize length = strlen(content);
    if (length >= 2 && (content[0] == '"' || content[0] == '\'') && content[length - 1] == content[0]) {
        content[length - 1] = '\0';
        content++;
    }
    g_autofree char *lower = g_ascii_strdown(name, -1);
    g_strdelimit(lower, "_", '-');
    *key = g_strdup(g_str_has_prefix(lower, "reverie-") ? lower + strlen("reverie-") : lower);
    *value = g_strdup(content);
    return true;
}

static const Row *
find_row(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* NAME -> value, as the file has them. */
static bool
read_file(const char *path, GHashTable *values, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) wrong = NULL;
    GStatBuf status;
    if (g_stat(path, &status) == 0 && (S_ISCHR(status.st_mode) || status.st_size > MAX_CONFIG_BYTES))
        return rv_error_set(error, RV_ERROR_INVALID, path, "check the path", "this is no configuration");
    if (!g_file_get_contents(path, &text, NULL, &wrong))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the path",
                            "cannot read the configuration: %s", wrong->message);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        char *key, *value;
        g_autofree char *where = g_strdup_printf("%s:%u", path, i + 1);
        if (!g_utf8_validate(lines[i], -1, NULL) || !rv_config_line_parse(lines[i], &key, &value))
            return rv_error_set(error, RV_ERROR_USAGE, where, "write NAME=VALUE", "this line is no setting");
        if (key == NULL)
            continue;
        bool is_known = find_row(key) != NULL && strcmp(key, "config") != 0;
        if (!is_known) {
            rv_error_set(error, RV_ERROR_USAGE, where, "see reverie serve --help",
                         "there is no setting \"%s\"", key);
            g_free(key);
            g_free(value);
            return false;
        }
        g_hash_table_replace(values, key, value);
    }
    return true;
}

/* ---- values ---- */

static char *
environment_name(const Row *row)
{
    g_autofree char *upper = g_ascii_strup(row->name, -1);
    return g_strconcat("REVERIE_", g_strdelimit(upper, "-", '_'), NULL);
}

static bool
parse_flag(const char *text, bool *value)
{
    static const char *const yes[] = { "1", "true", "yes", "on", NULL }, *const no[] = { "",   "0",   "false",
                                                                                         "no", "off", NULL };
    g_autofree char *lower = g_ascii_strdown(text, -1);
    *value = g_strv_contains(yes, lower);
    return *value || g_strv_contains(no, lower);
}

static bool
apply(RvServeOptions *options, const Row *row, const char *text, const char *where, GError **error)
{
    if (*text == '\0' && row->kind != FLAG) { /* as if it was not given */
        if (row->fallback == NULL)
            g_clear_pointer(text_at(options, row), g_free);
        if (row->fallback == NULL)
            return true;
        text = row->fallback;
    }
    if (row->kind == FLAG) {
        bool value;
        if (!parse_flag(text, &value))
            return rv_error_set(error, RV_ERROR_USAGE, where, "use true or false",
                                "\"%s\" is neither yes nor no", text);
        *flag_at(options, row) = value;
        return true;
    }
    if (row->kind == NUMBER) {
        char *end = NULL;
        gint64 number = g_ascii_strtoll(text, &end, 10);
        if (end == text || *end != '\0' || number < row->min || number > row->max)
            return rv_error_set(error, RV_ERROR_USAGE, where, "correct it",
                                "\"%s\" is no number from %d to %d", text, row->min, row->max);
        *(int *)(void *)((char *)options + row->offset) = (int)number;
        return true;
    }
    g_free(*text_at(options, row));
    *text_at(options, row) = g_strdup(text);
    return true;
}

static bool
collect(RvServeOptions *options, GError **error)
{
    const char *path = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++)
        if (strcmp(rows[i].name, "config") == 0)
            path = options->given[i] != NULL ? options->given[i] : g_getenv("REVERIE_CONFIG");
    g_autoptr(GHashTable) file = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    if (path != NULL && *path != '\0' && !read_file(path, file, error))
        return false;
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Row *row = &rows[i];
        g_autofree char *name = environment_name(row), *flag = g_strconcat("--", row->name, NULL);
        const char *environment = g_getenv(name), *in_file = g_hash_table_lookup(file, row->name);
        bool is_set = row->kind == FLAG && *flag_at(options, row);
        if (is_set)
            continue;
        if (options->given[i] != NULL ? !apply(options, row, options->given[i], flag, error)
            : environment != NULL && *environment != '\0' ? !apply(options, row, environment, name, error)
            : in_file != NULL                             ? !apply(options, row, in_file, path, error)
            : row->fallback != NULL                       ? !apply(options, row, row->fallback, flag, error)
                                                          : false)
            return false;
    }
    return true;
}

bool
rv_host_is_loopback(const char *host)
{
    if (g_ascii_strcasecmp(host, "localhost") == 0)
        return true;
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(host);
    return address != NULL && g_inet_address_get_is_loopback(address);
}

bool
rv_listen_parse(const char *text, char **host, int *port, GError **error)
{
    const char *colon = strrchr(text, ':'), *digits = colon != NULL ? colon + 1 : text;
    char *end = NULL;
    guint64 number = g_ascii_strtoull(digits, &end, 10);
    g_autofree char *name = colon != NULL ? g_strndup(text, (gsize)(colon - text)) : g_strdup("127.0.0.1");
    gsize length = strlen(name);
    if (length >= 2 && name[0] == '[' && name[length - 1] == ']') {
        memmove(name, name + 1, length - 2);
        name[length - 2] = '\0';
    }
    g_autoptr(GInetAddress) address = g_inet_address_new_from_string(*name != '\0' ? name : "0.0.0.0");
    bool is_name = strcmp(name, "localhost") == 0;
    if (!g_ascii_isdigit(*digits) || *end != '\0' || number > 65535 || (address == NULL && !is_name))
        return rv_error_set(error, RV_ERROR_USAGE, "--listen",
                            "write ADDRESS:PORT, such as 127.0.0.1:7860 or [::]:7860",
                            "\"%s\" is no address to listen on", text);
    *host = g_strdup(*name == '\0' ? "0.0.0.0" : is_name ? "127.0.0.1" : name);
    *port = (int)number;
    return true;
}

static bool
parse_size(RvServeOptions *options, GError **error)
{
    int used = 0;
    if (options->size == NULL) {
        options->width = options->height = options->effect != NULL ? 1024 : 0;
        return true;
    }
    bool ok = sscanf(options->size, "%5dx%5d%n", &options->width, &options->height, &used) == 2 &&
              options->size[used] == '\0';
    if (!ok || options->width < MIN_SIDE || options->height < MIN_SIDE || options->width > MAX_SIDE ||
        options->height > MAX_SIDE || options->width % 8 != 0 || options->height % 8 != 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--size",
                            "write WIDTHxHEIGHT, multiples of 8 from 64 to 4096", "\"%s\" is no size",
                            options->size);
    return true;
}

/* Minutes, with a fraction if need be, as seconds. */
static bool
parse_minutes(const char *text, const char *option, double *seconds, GError **error)
{
    char *end = NULL;
    double minutes = text != NULL ? g_ascii_strtod(text, &end) : 0.0;
    if (text != NULL && (end == text || *end != '\0' || !(minutes >= 0.0 && minutes <= 60.0 * 24 * 365)))
        return rv_error_set(error, RV_ERROR_USAGE, option, "give minutes; 0 is never",
                            "\"%s\" is no number of minutes", text);
    *seconds = minutes * 60.0;
    return true;
}

static bool
parse_sharing(RvServeOptions *options, GError **error)
{
    if (options->share == NULL || !rv_share_parse(options->share, &options->share_rule))
        return rv_error_set(error, RV_ERROR_USAGE, "--share", "use mirror-first, fair or off",
                            "there is no rule \"%s\"", options->share != NULL ? options->share : "");
    return parse_minutes(options->unload_after, "--unload-after", &options->unload_after_s, error) &&
           parse_minutes(options->exit_when_idle, "--exit-when-idle", &options->exit_when_idle_s, error);
}

static bool
check_access(const RvServeOptions *options, GError **error)
{
    if ((options->tls_cert == NULL) != (options->tls_key == NULL))
        return rv_error_set(error, RV_ERROR_USAGE, "--tls-cert", "give both --tls-cert and --tls-key",
                            "a certificate needs its key");
    if (options->tls_cert != NULL && options->tls_self_signed)
        return rv_error_set(error, RV_ERROR_USAGE, "--tls-self-signed", "leave one of them out",
                            "there is a certificate already");
    if (options->token != NULL && strlen(options->token) < 8)
        return rv_error_set(error, RV_ERROR_USAGE, "--token", "use 8 characters or more",
                            "this token can be guessed");
    if (!options->is_loopback && options->users == NULL && options->token == NULL && !options->insecure)
        return rv_error_set(error, RV_ERROR_USAGE, options->listen,
                            "add --token or --users (or --insecure, if the network is trusted)",
                            "everybody who can connect would be let in");
    return true;
}

static bool
parse_public_address(RvServeOptions *options, GError **error)
{
    if (options->public_address == NULL)
        return true;
    if (!rv_sdp_host_parse(options->public_address, &options->public_host, error))
        return false;
    return options->public_host.port == 0 || options->udp_port != 0 ||
           rv_error_set(error, RV_ERROR_USAGE, "--public-address", "give --udp-port, or leave the port out",
                        "a port is told only for --udp-port");
}

bool
rv_serve_options_finish(RvServeOptions *options, GError **error)
{
    if (!collect(options, error) || !rv_listen_parse(options->listen, &options->host, &options->port, error))
        return false;
    options->is_loopback = rv_host_is_loopback(options->host);
    if (options->data == NULL)
        options->data = g_build_filename(g_get_user_data_dir(), "reverie", NULL);
    if (options->effect != NULL && strcmp(options->effect, "invert") != 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--effect", "use invert", "there is no effect \"%s\"",
                            options->effect);
    RvPace pace;
    gint64 budget_us;
    if (!rv_pace_parse(options->pace, &pace, &budget_us, error))
        return false;
    if (strcmp(options->log, "text") != 0 && strcmp(options->log, "json") != 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--log", "use text or json", "\"%s\" is no format of logs",
                            options->log);
    if (options->web != NULL && !g_file_test(options->web, G_FILE_TEST_IS_DIR))
        return rv_error_set(error, RV_ERROR_NOT_FOUND, options->web, "check --web",
                            "there is no such folder");
    return parse_size(options, error) && parse_public_address(options, error) &&
           parse_sharing(options, error) && check_access(options, error);
}

void
rv_serve_options_clear(RvServeOptions *options)
{
    for (gsize i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].kind == TEXT || rows[i].kind == FOLDER)
            g_clear_pointer(text_at(options, &rows[i]), g_free);
        if (options->given != NULL)
            g_free(options->given[i]);
    }
    g_clear_pointer(&options->given, g_free);
    g_clear_pointer(&options->host, g_free);
    g_clear_pointer(&options->public_host.address, g_free);
    g_clear_pointer(&options->folders, g_strfreev);
    g_clear_pointer(&options->default_model, g_free);
}
