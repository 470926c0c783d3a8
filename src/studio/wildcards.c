#include "studio/wildcards.h"

#include <glib/gstdio.h>

#include "studio/studio_internal.h"
#include "text/wildcards.h"

#define MAX_FILE (4 << 20)
#define NEGATIVE_SEED 0x6e65676174697665u /* another lot than the prompt's */

char **
rv_studio_wildcard_folders(RvStudio *studio, const char *user)
{
    g_autofree char *folder = rv_studio_user_folder(user);
    GStrvBuilder *folders = g_strv_builder_new();
    g_autofree char *own = g_build_filename(studio->data, "users", folder, "wildcards", NULL);
    g_autofree char *shared = g_build_filename(studio->data, "wildcards", NULL);
    g_strv_builder_add_many(folders, own, shared, NULL);
    char **list = g_strv_builder_end(folders);
    g_strv_builder_unref(folders);
    return list;
}

typedef struct {
    RvLibrary *own;
    const RvLibrary *models;
} Libraries;

/* Names are looked up in lists of what is there: none leads elsewhere. */
static char *
read_wildcard(const char *name, void *user, GError **error)
{
    const Libraries *libraries = user;
    g_autoptr(GError) cause = NULL;
    char *text = NULL;
    gsize length;
    GStatBuf info;
    g_autofree char *own = rv_library_find(libraries->own, RV_NETWORK_WILDCARD, name, NULL);
    g_autofree char *path = own != NULL ? g_steal_pointer(&own)
                                        : rv_library_find(libraries->models, RV_NETWORK_WILDCARD, name, NULL);
    if (path == NULL) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, name, "put NAME.txt into DATA/wildcards",
                     "there is no wildcard of that name");
        return NULL;
    }
    if (g_stat(path, &info) != 0 || info.st_size > MAX_FILE ||
        !g_file_get_contents(path, &text, &length, &cause)) {
        rv_error_set(error, RV_ERROR_IO, name, "check the file", "cannot read the wildcard: %s",
                     cause != NULL ? cause->message : "too large");
        return NULL;
    }
    if (!g_utf8_validate(text, (gssize)length, NULL)) {
        g_free(text);
        rv_error_set(error, RV_ERROR_INVALID, name, "save it as UTF-8", "this wildcard is no UTF-8 text");
        return NULL;
    }
    return text;
}

bool
rv_prompts_have_wildcards(const RvStudioJob *job)
{
    return g_strcmp0(job->syntax, "plain") != 0 &&
           (rv_wildcards_in(job->prompt) || rv_wildcards_in(job->negative_prompt) ||
            rv_wildcards_in(job->hr_prompt) || rv_wildcards_in(job->hr_negative_prompt));
}

bool
rv_prompts_draw(RvDrawnPrompts *prompts, const RvStudioJob *job, guint64 seed, char **folders,
                const RvLibrary *library, GError **error)
{
    static const char *const none[] = { NULL };
    const struct {
        const char *from;
        char **to;
        guint64 seed;
    } texts[] = {
        { job->prompt, &prompts->prompt, seed },
        { job->negative_prompt, &prompts->negative, seed ^ NEGATIVE_SEED },
        { job->hr_prompt, &prompts->hr_prompt, seed },
        { job->hr_negative_prompt, &prompts->hr_negative, seed ^ NEGATIVE_SEED },
    };
    *prompts = (RvDrawnPrompts) { 0 };
    bool has = rv_prompts_have_wildcards(job), ok = true;
    Libraries libraries = { has ? rv_library_new(none) : NULL, library };
    for (; has && *folders != NULL; folders++)
        rv_library_add(libraries.own, RV_NETWORK_WILDCARD, *folders);
    for (gsize i = 0; ok && i < G_N_ELEMENTS(texts); i++) {
        if (texts[i].from == NULL)
            continue;
        *texts[i].to = has ? rv_wildcards_draw(texts[i].from, texts[i].seed, read_wildcard, &libraries, error)
                           : g_strdup(texts[i].from);
        ok = *texts[i].to != NULL;
    }
    rv_library_free(libraries.own);
    return ok;
}

void
rv_prompts_clear(RvDrawnPrompts *prompts)
{
    g_free(prompts->prompt);
    g_free(prompts->negative);
    g_free(prompts->hr_prompt);
    g_free(prompts->hr_negative);
    *prompts = (RvDrawnPrompts) { 0 };
}
