/* source.h - what `models pull` is told to get: a short name, a repository or a file of one, an address. */
#pragma once
#include "base/error.h"

#define RV_HUB "https://huggingface.co"

typedef struct {
    char *repo;          /* "OWNER/NAME", or NULL for a plain address */
    char *file;          /* path inside the repository, or NULL: the whole model */
    char *url;           /* of a single file, or NULL for a whole model */
    char *name;          /* what it is called here: "sdxl-turbo", "model.safetensors" */
    const char *licence; /* one sentence, or NULL: not known to us */
} RvFetchSource;

/* "sdxl-turbo", "hf:OWNER/REPO", "hf:OWNER/REPO:FILE", "https://...". `hub` stands in for RV_HUB, also in
 * addresses. Only safetensors: RV_ERROR_UNSUPPORTED for other files. Wrong text is RV_ERROR_USAGE. */
bool rv_fetch_source_parse(const char *text, const char *hub, RvFetchSource *source, GError **error);
void rv_fetch_source_clear(RvFetchSource *source);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RvFetchSource, rv_fetch_source_clear)

/* HUB/REPO/resolve/main/PATH, escaped; free with g_free. */
char *rv_fetch_file_url(const char *hub, const char *repo, const char *path);
/* "name  OWNER/REPO" lines of the short names; free with g_free. */
char *rv_fetch_short_names(void);
