#include "engine/embeddings.h"

#include <string.h>

/* One file that was read. */
typedef struct {
    char *name, *path, *label;
    gint64 bytes, modified;
    char *problem; /* why it cannot be used here; NULL: it can */
    RvEmbeddingFile file;
    GArray *ids[2]; /* gint32: the name in each encoder's tokens */
} Entry;

struct RvEmbeddings {
    const RvLibrary *library;
    const RvTextEncoder *encoders[2];
    GPtrArray *entries; /* Entry: all that were read */
    GPtrArray *usable;  /* of these, borrowed */
    GArray *names[2];   /* RvEmbeddingName of the usable ones */
    guint generation;
};

static void
entry_free(gpointer data)
{
    Entry *entry = data;
    rv_embedding_file_clear(&entry->file);
    for (int i = 0; i < 2; i++)
        if (entry->ids[i] != NULL)
            g_array_unref(entry->ids[i]);
    g_free(entry->name);
    g_free(entry->path);
    g_free(entry->label);
    g_free(entry->problem);
    g_free(entry);
}

RvEmbeddings *
rv_embeddings_new(const RvLibrary *library, const RvTextEncoder *first, const RvTextEncoder *second)
{
    RvEmbeddings *e = g_new0(RvEmbeddings, 1);
    e->library = library;
    e->encoders[0] = first;
    e->encoders[1] = second;
    e->entries = g_ptr_array_new_with_free_func(entry_free);
    e->usable = g_ptr_array_new();
    for (int i = 0; i < 2; i++)
        e->names[i] = g_array_new(FALSE, FALSE, sizeof(RvEmbeddingName));
    return e;
}

void
rv_embeddings_free(RvEmbeddings *e)
{
    if (e == NULL)
        return;
    for (int i = 0; i < 2; i++)
        g_array_unref(e->names[i]);
    g_ptr_array_unref(e->usable);
    g_ptr_array_unref(e->entries);
    g_free(e);
}

/* A single tensor goes to the encoder that it fits when there is one encoder only. */
static char *
find_problem(const RvEmbeddings *e, const RvEmbeddingFile *file)
{
    for (int i = 0; i < 2 && e->encoders[i] != NULL; i++) {
        const RvClipConfig *config = rv_text_encoder_config(e->encoders[i]);
        if (file->widths[i] != config->hidden_size)
            return g_strdup_printf("was made for another family: its vectors are %d wide, not %d",
                                   file->widths[i], config->hidden_size);
        if (file->vectors > config->positions - 2)
            return g_strdup_printf("has %d vectors, more than the %d of a prompt's chunk", file->vectors,
                                   config->positions - 2);
    }
    return NULL;
}

static Entry *
read_entry(RvEmbeddings *e, const RvLibraryFile *found)
{
    g_autoptr(GError) error = NULL;
    Entry *entry = g_new0(Entry, 1);
    entry->name = g_strdup(found->name);
    entry->path = g_strdup(found->path);
    entry->bytes = found->bytes;
    entry->modified = found->modified;
    if (!rv_embedding_file_read(&entry->file, found->path, &error))
        entry->problem = g_strdup_printf("cannot be read: %s", error->message);
    else
        entry->problem = find_problem(e, &entry->file);
    for (int i = 0; i < 2 && e->encoders[i] != NULL; i++) {
        entry->ids[i] = g_array_new(FALSE, FALSE, sizeof(gint32));
        rv_tokenizer_encode(rv_text_encoder_tokenizer(e->encoders[i]), found->name, entry->ids[i]);
        if (entry->ids[i]->len == 0 && entry->problem == NULL)
            entry->problem = g_strdup("has a name without tokens");
    }
    g_autofree char *plain = g_strdup(found->name);
    char *end = plain;
    for (const char *at = plain; *at != '\0'; at++)
        if (*at != ':' && *at != ',')
            *end++ = *at;
    *end = '\0';
    entry->label = g_strdup_printf("%s: %s", plain, entry->file.hash != NULL ? entry->file.hash : "");
    return entry;
}

static bool
is_known(RvEmbeddings *e, const RvLibraryFile *file, Entry **known)
{
    for (guint i = 0; i < e->entries->len; i++) {
        Entry *entry = g_ptr_array_index(e->entries, i);
        if (strcmp(entry->name, file->name) != 0)
            continue;
        *known = entry;
        if (strcmp(entry->path, file->path) == 0 && entry->bytes == file->bytes &&
            entry->modified == file->modified)
            return true;
        g_ptr_array_remove_index(e->entries, i);
        return false;
    }
    return false;
}

static void
list_usable(RvEmbeddings *e)
{
    g_ptr_array_set_size(e->usable, 0);
    g_array_set_size(e->names[0], 0);
    g_array_set_size(e->names[1], 0);
    for (guint i = 0; i < e->entries->len; i++) {
        Entry *entry = g_ptr_array_index(e->entries, i);
        if (entry->problem != NULL)
            continue;
        g_ptr_array_add(e->usable, entry);
        for (int j = 0; j < 2 && e->encoders[j] != NULL; j++) {
            RvEmbeddingName name = { (const gint32 *)(void *)entry->ids[j]->data, entry->ids[j]->len,
                                     (guint)entry->file.vectors };
            g_array_append_val(e->names[j], name);
        }
    }
    e->generation++;
}

void
rv_embeddings_load(RvEmbeddings *e, const char *prompt, GPtrArray *notes)
{
    if (e->library == NULL || *prompt == '\0')
        return;
    g_autofree char *text = g_utf8_strdown(prompt, -1);
    g_autoptr(GPtrArray) files = rv_library_list(e->library, RV_NETWORK_EMBEDDING);
    bool changed = false;
    for (guint i = 0; i < files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(files, i);
        g_autofree char *name = g_utf8_strdown(file->name, -1);
        Entry *entry = NULL;
        if (strstr(text, name) == NULL)
            continue;
        if (!is_known(e, file, &entry)) {
            entry = read_entry(e, file);
            g_ptr_array_add(e->entries, entry);
            changed = true;
        }
        if (entry->problem != NULL && notes != NULL)
            g_ptr_array_add(notes, g_strdup_printf("the embedding \"%s\" %s", entry->name, entry->problem));
    }
    if (changed)
        list_usable(e);
}

guint
rv_embeddings_generation(const RvEmbeddings *e)
{
    return e->generation;
}

const RvEmbeddingName *
rv_embeddings_names(const RvEmbeddings *e, int encoder, guint *count)
{
    *count = e->names[encoder]->len;
    return (const RvEmbeddingName *)(void *)e->names[encoder]->data;
}

const float *
rv_embeddings_vectors(const RvEmbeddings *e, int encoder, guint index)
{
    return ((const Entry *)g_ptr_array_index(e->usable, index))->file.values[encoder];
}

const char *
rv_embeddings_label(const RvEmbeddings *e, guint index)
{
    return ((const Entry *)g_ptr_array_index(e->usable, index))->label;
}
