#include "cli/pull.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json_build.h"
#include "base/json_check.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "fetch/file.h"
#include "fetch/hub.h"
#include "fetch/source.h"
#include "weights/model.h"
#include "weights/safetensors.h"

static char *mirror, *sha256, *variant;
static int retries = 6, timeout = 30;
static double retry_wait = 1.0;

const GOptionEntry rv_pull_entries[] = {
    { "mirror", 0, 0, G_OPTION_ARG_STRING, &mirror,
      "Stands in for " RV_HUB " (also $REVERIE_MIRROR, $HF_ENDPOINT)", "URL" },
    { "sha256", 0, 0, G_OPTION_ARG_STRING, &sha256, "What a single file's checksum must be", "HEX" },
    { "variant", 0, 0, G_OPTION_ARG_STRING, &variant, "fp16: half the bytes, where the repository has it",
      "V" },
    { "retries", 0, 0, G_OPTION_ARG_INT, &retries, "Of failures in a row (default 6)", "N" },
    { "retry-wait", 0, 0, G_OPTION_ARG_DOUBLE, &retry_wait,
      "Before the first retry, then doubled (default 1)", "SECONDS" },
    { "timeout", 0, 0, G_OPTION_ARG_INT, &timeout,
      "A connection that brings nothing for so long is dropped "
      "(default 30)",
      "SECONDS" },
    { 0 },
};

typedef struct {
    RvFetchOptions fetch;
    RvFetchSource source;
    char *hub, *token, *folder; /* folder: where models go */
    RvProgressBar bar;
    gint64 done, total; /* bytes of the files before this one; of all, -1: unknown */
    bool began;         /* the first progress was seen */
    gint64 bytes;
    JsonBuilder *json;
} Pull;

static void
pull_clear(Pull *pull)
{
    rv_fetch_source_clear(&pull->source);
    rv_progress_bar_end(&pull->bar);
    g_free(pull->hub);
    g_free(pull->token);
    g_free(pull->folder);
    g_clear_object(&pull->json);
    g_clear_pointer(&mirror, g_free);
    g_clear_pointer(&sha256, g_free);
    g_clear_pointer(&variant, g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Pull, pull_clear)

char *
rv_pull_names(void)
{
    return rv_fetch_short_names();
}

static void
on_note(void *user, const char *text)
{
    Pull *pull = user;
    if (pull->bar.is_shown)
        fputs("\r\033[K", stderr);
    rv_console_note("%s", text);
}

static void
on_progress(void *user, gint64 done, gint64 total)
{
    Pull *pull = user;
    double now = (double)(pull->done + done) * 1e-6;
    if (!pull->began)
        pull->bar.already = now;
    pull->began = true;
    rv_progress_bar_update(&pull->bar, now, (double)(pull->total >= 0 ? pull->total : total) * 1e-6, "MB");
}

static bool
check_safetensors(const char *path, GError **error)
{
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, error);
    return file != NULL;
}

static bool
check_json(const char *path, GError **error)
{
    g_autoptr(JsonParser) parser = json_parser_new();
    g_autofree char *text = NULL;
    gsize size = 0;
    return (g_file_get_contents(path, &text, &size, NULL) && rv_json_is_shallow(text, size) &&
            json_parser_load_from_data(parser, text, (gssize)size, NULL)) ||
           rv_error_set(error, RV_ERROR_INVALID, path, "get it again", "it is not JSON");
}

static bool
is_loopback(const char *host)
{
    g_autoptr(GInetAddress) address = host != NULL ? g_inet_address_new_from_string(host) : NULL;
    return g_strcmp0(host, "localhost") == 0 || (address != NULL && g_inet_address_get_is_loopback(address));
}

/* The mirror, and the token if the way there is private. */
static bool
find_hub(Pull *pull, GError **error)
{
    const char *const given[] = { mirror, g_getenv("REVERIE_MIRROR"), g_getenv("HF_ENDPOINT"), RV_HUB };
    gsize i = 0;
    while (given[i] == NULL || *given[i] == '\0')
        i++;
    pull->hub = g_strdup(given[i]);
    for (gsize n = strlen(pull->hub); n > 0 && pull->hub[n - 1] == '/'; n--)
        pull->hub[n - 1] = '\0';
    g_autoptr(GUri) uri = g_uri_parse(pull->hub, G_URI_FLAGS_NONE, NULL);
    bool is_http = g_str_has_prefix(pull->hub, "http://");
    if (uri == NULL || (!is_http && !g_str_has_prefix(pull->hub, "https://")) ||
        g_uri_get_userinfo(uri) != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--mirror", "write https://HOST or http://HOST:PORT",
                            "this is no address of a mirror");
    const char *token = g_getenv("HF_TOKEN");
    if (token == NULL || *token == '\0')
        return true;
    if (is_http && !is_loopback(g_uri_get_host(uri))) {
        rv_console_note("the token stays here, since everybody on the way to %s could read it", pull->hub);
        return true;
    }
    pull->token = g_strstrip(g_strdup(token));
    return true;
}

static bool
check_options(GError **error)
{
    if (sha256 != NULL && (strlen(sha256) != 64 || strspn(sha256, "0123456789abcdefABCDEF") != 64))
        return rv_error_set(error, RV_ERROR_USAGE, "--sha256", "give 64 hex digits", "this is no SHA-256");
    if (retries < 0 || timeout < 1 || timeout > 3600 || !(retry_wait >= 0 && retry_wait <= 60))
        return rv_error_set(error, RV_ERROR_USAGE, "pull", "see reverie models --help",
                            "--retries, --retry-wait or --timeout is out of range");
    return true;
}

static void
report_file(Pull *pull, const char *path, const RvFetchResult *result)
{
    JsonBuilder *json = pull->json;
    json_builder_begin_object(json);
    rv_json_add_text(json, "path", path);
    rv_json_add_int(json, "bytes", result->bytes);
    rv_json_add_int(json, "resumed", result->resumed);
    rv_json_add_flag(json, "present", result->present);
    if (result->sha256[0] != '\0') {
        rv_json_add_text(json, "sha256", result->sha256);
    }
    json_builder_end_object(json);
}

static bool
get_file(Pull *pull, const char *url, const char *path, const char *sum, gint64 size, GError **error)
{
    const RvFetchFile file = { .url = url,
                               .path = path,
                               .sha256 = sum,
                               .size = size,
                               .check = g_str_has_suffix(path, ".safetensors") ? check_safetensors
                                        : g_str_has_suffix(path, ".json")      ? check_json
                                                                               : NULL };
    RvFetchResult result;
    GError *cause = NULL;
    if (!rv_fetch_file(&pull->fetch, &file, &result, &cause)) {
        rv_progress_bar_end(&pull->bar);
        g_autofree char *part = g_strconcat(path, ".part", NULL);
        if (g_error_matches(cause, RV_ERROR, RV_ERROR_CANCELLED) && g_file_test(part, G_FILE_TEST_EXISTS))
            rv_console_note("what has arrived is kept in %s; the same command goes on from there", part);
        g_propagate_error(error, cause);
        return false;
    }
    report_file(pull, path, &result);
    pull->bytes += result.bytes;
    pull->done += result.bytes;
    return true;
}

static bool
get_folder(Pull *pull, const char *folder, GError **error)
{
    if (sha256 != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "--sha256", "leave it out: the repository says the sums",
                            "one checksum cannot be that of a whole folder");
    g_autoptr(GPtrArray) files = rv_hub_list(&pull->fetch, pull->hub, pull->source.repo, variant, error);
    if (files == NULL)
        return false;
    pull->total = 0;
    for (guint i = 0; i < files->len; i++)
        pull->total += MAX(((const RvHubFile *)g_ptr_array_index(files, i))->size, 0);
    for (guint i = 0; i < files->len; i++) {
        const RvHubFile *file = g_ptr_array_index(files, i);
        g_autofree char *url = rv_fetch_file_url(pull->hub, pull->source.repo, file->path);
        g_autofree char *path = g_build_filename(folder, file->path, NULL);
        if (!get_file(pull, url, path, file->sha256, file->size, error))
            return false;
    }
    g_autofree char *index = g_build_filename(folder, "model_index.json", NULL);
    if (!g_file_test(index, G_FILE_TEST_EXISTS))
        return true; /* a single part: its files were looked at one by one */
    g_autoptr(RvModel) model = rv_model_open(folder, &(RvModelOptions) { .variant = variant }, error);
    return model != NULL && rv_model_check(model, error);
}

static bool
finish(Pull *pull, const char *path, double seconds, GError **error)
{
    rv_progress_bar_end(&pull->bar);
    JsonBuilder *json = pull->json;
    json_builder_end_array(json);
    rv_json_add_text(json, "path", path);
    rv_json_add_int(json, "bytes", pull->bytes);
    rv_json_add_number(json, "seconds", seconds);
    json_builder_end_object(json);
    if (rv_generate_options.json)
        return rv_console_print_json(json, false, error);
    g_autofree char *size = g_format_size((guint64)pull->bytes);
    printf("%s: %s\n", path, size);
    return true;
}

static void
prepare(Pull *pull)
{
    const RvFetchSource *source = &pull->source;
    bool at_hub = source->repo != NULL || g_str_has_prefix(source->url, pull->hub);
    pull->fetch = (RvFetchOptions) {
        .token = pull->token,
        .trusted = pull->hub,
        .allow_http = at_hub && g_str_has_prefix(pull->hub, "http://"),
        .retries = retries,
        .wait = retry_wait,
        .stall_seconds = timeout,
        .cancel = rv_console_cancel_flag(),
        .user = pull,
        .note = on_note,
        .progress = on_progress,
    };
    if (source->repo != NULL)
        rv_console_note("%s: licence: %s", source->repo,
                        source->licence != NULL ? source->licence : "read it on the model's page");
    rv_progress_bar_begin(&pull->bar, source->name);
    json_builder_begin_object(pull->json);
    rv_json_add_text(pull->json, "name", source->name);
    rv_json_begin_array(pull->json, "files");
}

bool
rv_models_pull(const char *text, GError **error)
{
    g_auto(Pull) pull = { .total = -1, .json = json_builder_new() };
    gint64 start = g_get_monotonic_time();
    if (!check_options(error) || !find_hub(&pull, error) ||
        !rv_fetch_source_parse(text, pull.hub, &pull.source, error))
        return false;
    g_auto(GStrv) folders = rv_model_folders(rv_generate_options.models_dir);
    g_autofree char *path = g_build_filename(folders[0], pull.source.name, NULL);
    prepare(&pull);
    bool ok = pull.source.url != NULL ? get_file(&pull, pull.source.url, path, sha256, -1, error)
                                      : get_folder(&pull, path, error);
    return ok && finish(&pull, path, (double)(g_get_monotonic_time() - start) * 1e-6, error);
}
