/* studio_folders.c - models and what lies beside them come and go while the server runs: everybody is told.
 */
#include "base/json_build.h"
#include "studio/folder_watch.h"
#include "studio/studio_internal.h"

static const char *const names[RV_NETWORK_KINDS] = {
    [RV_NETWORK_LORA] = "lora",
    [RV_NETWORK_EMBEDDING] = "embedding",
    [RV_NETWORK_CONTROLNET] = "controlnet",
    [RV_NETWORK_UPSCALER] = "upscaler",
    [RV_NETWORK_VAE] = "vae",
    [RV_NETWORK_WILDCARD] = "wildcard",
};

struct RvStudioFolders {
    RvFolderWatch *watch;
    guint marks[RV_NETWORK_KINDS + 1]; /* of the lists as they were told; the last: of checkpoints */
};

static guint
mark_of(const char *path, gint64 bytes, gint64 modified)
{
    return g_str_hash(path) * 31 + g_int64_hash(&bytes) * 7 + g_int64_hash(&modified) + 1;
}

static guint
mark_of_kind(RvStudio *studio, RvNetworkKind kind)
{
    guint mark = 0;
    g_autoptr(GPtrArray) files = rv_library_list_whole(studio->library, kind);
    for (guint i = 0; i < files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(files, i);
        mark = mark * 33 + mark_of(file->path, file->bytes, file->modified);
    }
    return mark;
}

/* Which lists are others than they were; `json` NULL: only takes note. */
static bool
compare(RvStudio *studio, JsonBuilder *json)
{
    RvStudioFolders *folders = studio->folders;
    bool is_changed = false;
    for (int i = 0; i <= RV_NETWORK_KINDS; i++) {
        guint mark = i < RV_NETWORK_KINDS ? mark_of_kind(studio, (RvNetworkKind)i)
                                          : rv_model_list_revision(studio->models);
        if (mark == folders->marks[i])
            continue;
        folders->marks[i] = mark;
        is_changed = true;
        if (json != NULL)
            json_builder_add_string_value(json, i < RV_NETWORK_KINDS ? names[i] : "checkpoint");
    }
    return is_changed;
}

void
rv_studio_folders_tell(RvStudio *studio)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_begin_array(json, "changed");
    bool is_changed = compare(studio, json);
    json_builder_end_array(json);
    json_builder_end_object(json);
    if (is_changed)
        rv_studio_tell(studio, NULL, "models", json);
}

static void
on_changed(void *user)
{
    RvStudio *studio = user;
    rv_model_list_look(studio->models);
    rv_studio_folders_tell(studio);
}

void
rv_studio_folders_begin(RvStudio *studio, const char *const *folders)
{
    studio->folders = g_new0(RvStudioFolders, 1);
    studio->folders->watch = rv_folder_watch_new(folders, on_changed, studio);
    compare(studio, NULL);
}

void
rv_studio_folders_end(RvStudio *studio)
{
    rv_folder_watch_free(studio->folders->watch);
    g_clear_pointer(&studio->folders, g_free);
}
