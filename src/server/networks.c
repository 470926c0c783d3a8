/* networks.c - /api/v1/networks: LoRAs, embeddings and checkpoints for browsing, with the picture that lies
 * beside each file under A1111's names for it (NAME.preview.png, NAME.png, ...). Files are found by the names
 * that the library lists, never by paths that clients give. */
#include <string.h>

#include "base/json_build.h"
#include "server/picture_file.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "server/studio_routes.h"

typedef struct {
    const char *kind, *name, *title, *path;
} Network;

typedef void (*OnNetwork)(const Network *network, void *user);

static const struct {
    const char *name;
    RvNetworkKind kind;
} kinds[] = { { "lora", RV_NETWORK_LORA }, { "embedding", RV_NETWORK_EMBEDDING } };

static void
for_each(const RvCall *call, OnNetwork on_network, void *user)
{
    g_autoptr(RvLibrary) library = rv_server_library(call->server);
    g_autoptr(GPtrArray) models = rv_studio_models(rv_server_studio(call->server));
    for (gsize k = 0; k < G_N_ELEMENTS(kinds); k++) {
        g_autoptr(GPtrArray) files = rv_library_list_whole(library, kinds[k].kind);
        for (guint i = 0; i < files->len; i++) {
            const RvLibraryFile *file = g_ptr_array_index(files, i);
            on_network(&(Network) { kinds[k].name, file->name, file->name, file->path }, user);
        }
    }
    for (guint i = 0; i < models->len; i++) {
        const RvStudioModel *model = g_ptr_array_index(models, i);
        on_network(&(Network) { "checkpoint", model->name, model->title, model->path }, user);
    }
}

/* The picture beside a file, as a name in the file's folder; NULL when there is none. Free with g_free. */
static char *
find_picture(const char *path)
{
    static const char *const endings[] = { ".preview.png", ".png",          ".preview.jpg",
                                           ".jpg",         ".preview.webp", ".webp" };
    g_autofree char *base = g_path_get_basename(path), *folder = g_path_get_dirname(path);
    char *dot = strrchr(base, '.');
    if (dot != NULL && !g_file_test(path, G_FILE_TEST_IS_DIR))
        *dot = '\0';
    for (gsize i = 0; i < G_N_ELEMENTS(endings); i++) {
        g_autofree char *name = g_strconcat(base, endings[i], NULL);
        g_autofree char *full = g_build_filename(folder, name, NULL);
        if (g_file_test(full, G_FILE_TEST_IS_REGULAR))
            return g_steal_pointer(&name);
    }
    return NULL;
}

/* ---- the list ---- */

static void
add_network(const Network *network, void *user)
{
    JsonBuilder *json = user;
    g_autofree char *picture = find_picture(network->path),
                    *name = g_uri_escape_string(network->name, NULL, FALSE);
    g_autofree char *url =
        picture != NULL ? g_strdup_printf("/api/v1/networks/%s/%s", network->kind, name) : NULL;
    json_builder_begin_object(json);
    rv_json_add_text(json, "kind", network->kind);
    rv_json_add_text(json, "name", network->name);
    rv_json_add_text(json, "title", network->title);
    rv_json_add_text(json, "thumbnail", url);
    json_builder_end_object(json);
}

void
rv_networks_list(const RvCall *call)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_begin_array(json, "networks");
    for_each(call, add_network, json);
    json_builder_end_array(json);
    json_builder_end_object(json);
    rv_answer_json(call, 200, json);
}

/* ---- a picture ---- */

typedef struct {
    const char *wanted; /* "KIND/NAME" */
    char *path;         /* of the network's file; NULL: not found */
} Wanted;

static void
compare(const Network *network, void *user)
{
    Wanted *wanted = user;
    gsize length = strlen(network->kind);
    if (wanted->path == NULL && strncmp(wanted->wanted, network->kind, length) == 0 &&
        wanted->wanted[length] == '/' && strcmp(wanted->wanted + length + 1, network->name) == 0)
        wanted->path = g_strdup(network->path);
}

void
rv_networks_picture(const RvCall *call)
{
    Wanted wanted = { call->argument != NULL ? call->argument : "", NULL };
    for_each(call, compare, &wanted);
    g_autofree char *path = wanted.path, *picture = path != NULL ? find_picture(path) : NULL;
    if (picture == NULL) {
        rv_answer_problem(call, 404, "NotFound", "there is no picture of this network");
        return;
    }
    g_autofree char *folder = g_path_get_dirname(path);
    rv_picture_file_send(call, folder, picture, RV_THUMBNAIL);
}
