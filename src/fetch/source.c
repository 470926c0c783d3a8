#include "fetch/source.h"

#include <string.h>

#include "store/files.h"

#define STABILITY "Stability AI's own licence, which limits commercial use: read it on the model's page"
#define OPENRAIL "CreativeML OpenRAIL-M: free use but for the cases that it lists"
#define OPENRAIL_PP "CreativeML OpenRAIL++-M: free use but for the cases that it lists"
#define MIT "MIT"

static const struct {
    const char *name, *repo, *licence;
} short_names[] = {
    { "sd-turbo", "stabilityai/sd-turbo", STABILITY },
    { "sdxl-turbo", "stabilityai/sdxl-turbo", STABILITY },
    { "sd15", "stable-diffusion-v1-5/stable-diffusion-v1-5", OPENRAIL },
    { "sdxl", "stabilityai/stable-diffusion-xl-base-1.0", OPENRAIL_PP },
    { "taesd", "madebyollin/taesd", MIT },
    { "taesdxl", "madebyollin/taesdxl", MIT },
    { "sdxl-vae-fp16-fix", "madebyollin/sdxl-vae-fp16-fix", MIT },
};

void
rv_fetch_source_clear(RvFetchSource *source)
{
    g_free(source->repo);
    g_free(source->file);
    g_free(source->url);
    g_free(source->name);
    *source = (RvFetchSource) { 0 };
}

char *
rv_fetch_short_names(void)
{
    GString *text = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(short_names); i++)
        g_string_append_printf(text, "  %-18s %s\n", short_names[i].name, short_names[i].repo);
    return g_string_free(text, FALSE);
}

char *
rv_fetch_file_url(const char *hub, const char *repo, const char *path)
{
    g_autofree char *escaped = g_uri_escape_string(path, "/", FALSE);
    return g_strdup_printf("%s/%s/resolve/main/%s", hub, repo, escaped);
}

/* OWNER/NAME of letters, digits, ".", "_" and "-". */
static bool
is_repo(const char *text)
{
    const char *slash = strchr(text, '/');
    return rv_path_is_plain(text) && slash != NULL && strchr(slash + 1, '/') == NULL &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") == strlen(text);
}

static bool
need_safetensors(const char *path, const char *text, GError **error)
{
    return (g_str_has_suffix(path, ".safetensors") && rv_path_is_plain(path)) ||
           rv_error_set(error, RV_ERROR_UNSUPPORTED, text, "name a file that ends in .safetensors",
                        "only safetensors files are fetched (others may run code when they are read)");
}

static bool
parse_repo(const char *text, const char *hub, RvFetchSource *source, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text + strlen("hf:"), ":", 2);
    if (parts[0] == NULL || !is_repo(parts[0]))
        return rv_error_set(error, RV_ERROR_USAGE, text, "write hf:OWNER/REPO or hf:OWNER/REPO:FILE",
                            "this names no repository");
    source->repo = g_strdup(parts[0]);
    if (parts[1] == NULL) {
        source->name = g_path_get_basename(parts[0]);
        return true;
    }
    if (!need_safetensors(parts[1], text, error))
        return false;
    source->file = g_strdup(parts[1]);
    source->url = rv_fetch_file_url(hub, source->repo, source->file);
    source->name = g_path_get_basename(parts[1]);
    return true;
}

static bool
parse_address(const char *text, const char *hub, RvFetchSource *source, GError **error)
{
    g_autoptr(GUri) uri = g_uri_parse(text, G_URI_FLAGS_NONE, NULL);
    if (uri == NULL)
        return rv_error_set(error, RV_ERROR_USAGE, text, "check it", "this is no address");
    if (g_uri_get_userinfo(uri) != NULL)
        return rv_error_set(error, RV_ERROR_USAGE, "pull", "give a token in HF_TOKEN",
                            "the address holds a user or a password");
    source->name = g_path_get_basename(g_uri_get_path(uri));
    if (!need_safetensors(source->name, text, error))
        return false;
    if (!g_str_has_prefix(text, RV_HUB "/")) {
        source->url = g_strdup(text);
        return true;
    }
    /* a link to the page of a file means the file */
    g_autoptr(GString) url = g_string_new(text + strlen(RV_HUB));
    g_string_replace(url, "/blob/", "/resolve/", 1);
    source->url = g_strconcat(hub, url->str, NULL);
    return true;
}

bool
rv_fetch_source_parse(const char *text, const char *hub, RvFetchSource *source, GError **error)
{
    *source = (RvFetchSource) { 0 };
    for (gsize i = 0; i < G_N_ELEMENTS(short_names); i++)
        if (strcmp(text, short_names[i].name) == 0) {
            source->repo = g_strdup(short_names[i].repo);
            source->name = g_strdup(text);
            source->licence = short_names[i].licence;
            return true;
        }
    if (g_str_has_prefix(text, "hf:"))
        return parse_repo(text, hub, source, error);
    if (g_str_has_prefix(text, "https://"))
        return parse_address(text, hub, source, error);
    return rv_error_set(error, RV_ERROR_USAGE, text,
                        "write hf:OWNER/REPO, hf:OWNER/REPO:FILE, https://..., or a name that reverie models "
                        "--help lists",
                        "this says not where to get a model");
}
