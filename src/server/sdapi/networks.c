/* networks.c - LoRAs, embeddings and upscalers: what their files say about themselves. Files are opened in a
 * thread, and again only when they changed. */
#include <string.h>

#include "engine/embeddings.h"
#include "engine/upscaler_file.h"
#include "server/json_text.h"
#include "server/sdapi/handlers.h"
#include "server/sdapi/user_data.h"
#include "server/server.h"
#include "studio/studio.h"
#include "weights/model.h"
#include "weights/safetensors.h"

#define MOST_KNOWN 4096

/* ---- what is known of a file ---- */

typedef struct {
    gint64 bytes, modified;
    JsonObject *facts;
} Known;

static GMutex known_mutex;
static GHashTable *known_files; /* path -> Known */

static void
known_free(gpointer data)
{
    Known *known = data;
    json_object_unref(known->facts);
    g_free(known);
}

static JsonObject *
recall(const RvLibraryFile *file)
{
    g_mutex_lock(&known_mutex);
    const Known *known = known_files != NULL ? g_hash_table_lookup(known_files, file->path) : NULL;
    bool is_same = known != NULL && known->bytes == file->bytes && known->modified == file->modified;
    JsonObject *facts = is_same ? json_object_ref(known->facts) : NULL;
    g_mutex_unlock(&known_mutex);
    return facts;
}

static void
remember(const RvLibraryFile *file, JsonObject *facts)
{
    Known *known = g_new(Known, 1);
    *known = (Known) { file->bytes, file->modified, json_object_ref(facts) };
    json_object_seal(facts);
    g_mutex_lock(&known_mutex);
    if (known_files == NULL)
        known_files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, known_free);
    if (g_hash_table_size(known_files) >= MOST_KNOWN)
        g_hash_table_remove_all(known_files);
    g_hash_table_insert(known_files, g_strdup(file->path), known);
    g_mutex_unlock(&known_mutex);
}

static JsonObject *
facts_of(const RvLibraryFile *file, void (*read)(const char *path, JsonObject *facts))
{
    JsonObject *facts = recall(file);
    if (facts != NULL)
        return facts;
    facts = json_object_new();
    read(file->path, facts);
    remember(file, facts);
    return facts;
}

/* ---- lists, made in a thread ---- */

typedef struct {
    GPtrArray *files; /* RvLibraryFile */
    GPtrArray *names; /* of upscalers */
    char *model;      /* path of the user's; NULL: none */
} Listing;

static void
listing_free(gpointer data)
{
    Listing *listing = data;
    g_ptr_array_unref(listing->files);
    g_clear_pointer(&listing->names, g_ptr_array_unref);
    g_free(listing->model);
    g_free(listing);
}

static void
serve(const RvCall *call, RvNetworkKind kind, RvReply (*work)(RvTask *task))
{
    RvTask *task = rv_task_new(call);
    Listing *listing = g_new0(Listing, 1);
    g_autoptr(RvLibrary) library = rv_server_library(call->server);
    g_autoptr(JsonObject) options = rv_user_options(call->server, call->user);
    RvStudio *studio = rv_server_studio(call->server);
    listing->files = rv_library_list_whole(library, kind);
    listing->names = rv_server_upscalers(call->server);
    listing->model = rv_studio_find_model(studio, rv_fields_text(options, "sd_model_checkpoint"), NULL);
    task->data = listing;
    task->free_data = listing_free;
    rv_task_run(task, work, NULL);
}

/* ---- LoRAs ---- */

/* Texts that are JSON objects become objects, as A1111 gives them. */
static void
read_lora(const char *path, JsonObject *facts)
{
    JsonObject *metadata = json_object_new();
    g_autoptr(RvSafetensors) file = rv_safetensors_open(path, NULL);
    GHashTableIter iter;
    gpointer key, value;
    json_object_set_object_member(facts, "metadata", metadata);
    if (file == NULL)
        return;
    g_hash_table_iter_init(&iter, rv_safetensors_metadata_table(file));
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        const char *text = value;
        JsonObject *object = *text == '{' ? rv_json_parse_object(text, strlen(text), NULL) : NULL;
        if (object != NULL)
            json_object_set_object_member(metadata, key, object);
        else if (strcmp(key, "ssmd_cover_images") == 0)
            json_object_set_null_member(metadata, key); /* megabytes, which A1111 leaves out as well */
        else
            json_object_set_string_member(metadata, key, text);
    }
    const char *alias = rv_safetensors_metadata(file, "ss_output_name");
    if (alias != NULL && *alias != '\0')
        json_object_set_string_member(facts, "alias", alias);
}

static RvReply
list_loras(RvTask *task)
{
    const Listing *listing = task->data;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < listing->files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(listing->files, i);
        g_autoptr(JsonObject) facts = facts_of(file, read_lora);
        JsonObject *item = json_object_new();
        const char *alias = rv_fields_text(facts, "alias");
        json_object_set_string_member(item, "name", file->name);
        json_object_set_string_member(item, "alias", alias != NULL ? alias : file->name);
        json_object_set_string_member(item, "path", file->path);
        json_object_set_object_member(item, "metadata",
                                      json_object_ref(json_object_get_object_member(facts, "metadata")));
        json_array_add_object_element(list, item);
    }
    return rv_reply_array(list);
}

void
rv_sdapi_loras(const RvCall *call)
{
    serve(call, RV_NETWORK_LORA, list_loras);
}

/* ---- embeddings ---- */

static void
read_embedding(const char *path, JsonObject *facts)
{
    RvEmbeddingFile file = { 0 };
    if (rv_embedding_file_read(&file, path, NULL)) {
        json_object_set_int_member(facts, "vectors", file.vectors);
        json_object_set_int_member(facts, "shape", file.widths[0] + file.widths[1]);
    }
    rv_embedding_file_clear(&file);
}

/* Numbers of a vector for the model's text encoders together; 0: not known, then every width passes. */
static gint64
model_width(const char *path)
{
    gint64 width = 0;
    g_autoptr(RvModel) model = path != NULL ? rv_model_open(path, NULL, NULL) : NULL;
    static const RvPart parts[] = { RV_PART_TEXT, RV_PART_TEXT2 };
    for (gsize i = 0; model != NULL && i < G_N_ELEMENTS(parts); i++) {
        const RvClipConfig *config = rv_model_clip_config(model, parts[i]);
        width += config != NULL ? config->hidden_size : 0;
    }
    return width;
}

static JsonObject *
embedding_item(JsonObject *facts)
{
    static const char *const unknown[] = { "step", "sd_checkpoint", "sd_checkpoint_name" },
                             *const numbers[] = { "shape", "vectors" };
    JsonObject *item = json_object_new();
    for (gsize i = 0; i < G_N_ELEMENTS(unknown); i++)
        json_object_set_null_member(item, unknown[i]);
    for (gsize i = 0; i < G_N_ELEMENTS(numbers); i++)
        if (rv_fields_has(facts, numbers[i]))
            json_object_set_int_member(item, numbers[i], rv_fields_integer(facts, numbers[i]));
        else
            json_object_set_null_member(item, numbers[i]);
    return item;
}

/* Skipped: made for another kind of model than the user's, or not readable. */
static RvReply
list_embeddings(RvTask *task)
{
    const Listing *listing = task->data;
    JsonObject *answer = json_object_new(), *loaded = json_object_new(), *skipped = json_object_new();
    gint64 width = listing->files->len > 0 ? model_width(listing->model) : 0;
    for (guint i = 0; i < listing->files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(listing->files, i);
        g_autoptr(JsonObject) facts = facts_of(file, read_embedding);
        bool fits =
            rv_fields_has(facts, "shape") && (width == 0 || rv_fields_integer(facts, "shape") == width);
        json_object_set_object_member(fits ? loaded : skipped, file->name, embedding_item(facts));
    }
    json_object_set_object_member(answer, "loaded", loaded);
    json_object_set_object_member(answer, "skipped", skipped);
    return rv_reply_object(answer);
}

void
rv_sdapi_embeddings(const RvCall *call)
{
    serve(call, RV_NETWORK_EMBEDDING, list_embeddings);
}

/* ---- upscalers ---- */

static void
read_upscaler(const char *path, JsonObject *facts)
{
    g_autoptr(RvUpscalerFile) file = rv_upscaler_file_open(path, NULL);
    if (file != NULL)
        json_object_set_int_member(facts, "scale", rv_upscaler_file_config(file)->scale);
}

static const RvLibraryFile *
file_of(const GPtrArray *files, const char *name)
{
    for (guint i = 0; i < files->len; i++)
        if (strcmp(((const RvLibraryFile *)g_ptr_array_index(files, i))->name, name) == 0)
            return g_ptr_array_index(files, i);
    return NULL;
}

/* Those that are built in enlarge by any factor: A1111 says 4. */
static RvReply
list_upscalers(RvTask *task)
{
    const Listing *listing = task->data;
    JsonArray *list = json_array_new();
    for (guint i = 0; i < listing->names->len; i++) {
        const char *name = g_ptr_array_index(listing->names, i);
        const RvLibraryFile *file = file_of(listing->files, name);
        g_autoptr(JsonObject) facts = file != NULL ? facts_of(file, read_upscaler) : NULL;
        JsonObject *item = json_object_new();
        gint64 scale = facts != NULL && rv_fields_has(facts, "scale") ? rv_fields_integer(facts, "scale") : 4;
        json_object_set_string_member(item, "name", name);
        json_object_set_string_member(item, "model_name", file != NULL ? name : NULL);
        json_object_set_string_member(item, "model_path", file != NULL ? file->path : NULL);
        json_object_set_null_member(item, "model_url");
        json_object_set_int_member(item, "scale", scale);
        json_array_add_object_element(list, item);
    }
    return rv_reply_array(list);
}

void
rv_sdapi_upscalers(const RvCall *call)
{
    serve(call, RV_NETWORK_UPSCALER, list_upscalers);
}
