#include "engine/networks.h"

#include <string.h>

#include <glib/gstdio.h>

#include "weights/safetensors.h"

#define KEPT 8 /* adapters that stay open although nothing uses them */

/* An open adapter, and its hash on the way. */
typedef struct {
    RvLora *lora;
    char *path, *name;
    gint64 bytes, modified;
    GThread *hashing; /* NULL: done */
    char *hash;
} Adapter;

typedef struct {
    Adapter *adapter;
    double text_weight, unet_weight;
} Active;

typedef struct {
    RvNetworks *networks;
    RvPart part;
    RvWeightSet *weights; /* NULL: not attached */
} Attached;

struct RvNetworks {
    const RvModel *model;
    const RvLibrary *library;
    GPtrArray *adapters; /* Adapter, the last used at the end */
    GArray *active;      /* Active, in the order of merging */
    Attached attached[RV_PARTS];
};

static gpointer
hash_thread(gpointer data)
{
    return rv_lora_hash(data);
}

static void
finish_hash(Adapter *adapter)
{
    if (adapter->hashing != NULL)
        adapter->hash = g_thread_join(g_steal_pointer(&adapter->hashing));
}

static void
adapter_free(gpointer data)
{
    Adapter *adapter = data;
    finish_hash(adapter);
    rv_lora_close(adapter->lora);
    g_free(adapter->path);
    g_free(adapter->name);
    g_free(adapter->hash);
    g_free(adapter);
}

RvNetworks *
rv_networks_new(const RvModel *model, const RvLibrary *library)
{
    RvNetworks *networks = g_new0(RvNetworks, 1);
    networks->model = model;
    networks->library = library;
    networks->adapters = g_ptr_array_new_with_free_func(adapter_free);
    networks->active = g_array_new(FALSE, FALSE, sizeof(Active));
    return networks;
}

void
rv_networks_free(RvNetworks *networks)
{
    if (networks == NULL)
        return;
    g_array_unref(networks->active);
    g_ptr_array_unref(networks->adapters);
    g_free(networks);
}

static double
weight_for(const Active *active, RvPart part)
{
    return part == RV_PART_UNET ? active->unet_weight : active->text_weight;
}

/* RvWeightPatch.apply: the base's numbers, then each adapter's difference. */
static bool
merge(void *self, const char *name, RvArray *array, void **owned, GError **error)
{
    const Attached *attached = self;
    const GArray *active = attached->networks->active;
    float *values = NULL;
    for (guint i = 0; i < active->len; i++) {
        const Active *one = &g_array_index(active, Active, i);
        double weight = weight_for(one, attached->part);
        if (weight == 0.0 || !rv_lora_touches(one->adapter->lora, attached->part, name))
            continue;
        if (values == NULL) {
            gsize count = (gsize)rv_array_count(array);
            values = g_try_new(float, count);
            if (values == NULL)
                return rv_error_set(error, RV_ERROR_NO_MEMORY, name, "free memory",
                                    "out of memory while a LoRA was merged");
            rv_convert_to_f32(array->dtype, array->data, values, count);
        }
        rv_lora_apply(one->adapter->lora, attached->part, name, weight, values);
    }
    if (values == NULL)
        return true;
    array->dtype = RV_F32;
    array->data = *owned = values;
    return true;
}

void
rv_networks_attach(RvNetworks *networks, RvPart part, RvWeightSet *weights)
{
    Attached *attached = &networks->attached[part];
    *attached = (Attached) { networks, part, weights };
    rv_weight_set_set_patch(weights, (RvWeightPatch) { merge, attached });
}

/* ---- opening ---- */

static Adapter *
known_adapter(RvNetworks *networks, const char *path, const GStatBuf *status)
{
    for (guint i = 0; i < networks->adapters->len; i++) {
        Adapter *adapter = g_ptr_array_index(networks->adapters, i);
        if (strcmp(adapter->path, path) != 0 || adapter->bytes != (gint64)status->st_size ||
            adapter->modified != (gint64)status->st_mtime)
            continue;
        adapter = g_ptr_array_steal_index(networks->adapters, i);
        g_ptr_array_add(networks->adapters, adapter);
        return adapter;
    }
    return NULL;
}

/* SDXL's refiner works beside the model that an adapter is made for, and shares its second text encoder. */
static bool
is_beside(const RvNetworks *networks)
{
    return rv_model_traits(networks->model)->variant == RV_VARIANT_REFINER;
}

static void
note_unknown(const RvNetworks *networks, const Adapter *adapter, GPtrArray *notes)
{
    const GPtrArray *unknown = rv_lora_unknown(adapter->lora);
    if (unknown->len == 0 || is_beside(networks))
        return;
    g_ptr_array_add(notes, g_strdup_printf("%s: %u of its keys fit no layer of this model and do nothing, "
                                           "\"%s\" for one",
                                           adapter->name, unknown->len,
                                           (const char *)g_ptr_array_index(unknown, 0)));
}

static Adapter *
open_adapter(RvNetworks *networks, const char *path, GPtrArray *notes, GError **error)
{
    GStatBuf status = { 0 };
    g_stat(path, &status);
    Adapter *adapter = known_adapter(networks, path, &status);
    if (adapter != NULL) {
        note_unknown(networks, adapter, notes);
        return adapter;
    }
    g_autoptr(RvLora) lora = rv_lora_open(path, error);
    if (lora == NULL)
        return NULL;
    if (is_beside(networks))
        rv_lora_bind_what_fits(lora, networks->model);
    else if (!rv_lora_bind(lora, networks->model, error))
        return NULL;
    adapter = g_new0(Adapter, 1);
    adapter->lora = g_steal_pointer(&lora);
    adapter->path = g_strdup(path);
    adapter->name = g_path_get_basename(path);
    adapter->bytes = (gint64)status.st_size;
    adapter->modified = (gint64)status.st_mtime;
    if (g_str_has_suffix(adapter->name, ".safetensors"))
        adapter->name[strlen(adapter->name) - strlen(".safetensors")] = '\0';
    adapter->hashing = g_thread_new("lora-hash", hash_thread, adapter->lora);
    g_ptr_array_add(networks->adapters, adapter);
    note_unknown(networks, adapter, notes);
    return adapter;
}

/* A name by its file, else by the name that its training gave it. */
static char *
find_lora(const RvLibrary *library, const char *name)
{
    char *path = rv_library_find(library, RV_NETWORK_LORA, name, NULL);
    if (path != NULL || library == NULL)
        return path;
    g_autoptr(GPtrArray) files = rv_library_list(library, RV_NETWORK_LORA);
    for (guint i = 0; i < files->len; i++) {
        const RvLibraryFile *file = g_ptr_array_index(files, i);
        g_autoptr(RvSafetensors) opened = rv_safetensors_open(file->path, NULL);
        if (opened != NULL && g_strcmp0(rv_safetensors_metadata(opened, "ss_output_name"), name) == 0)
            return g_strdup(file->path);
    }
    return NULL;
}

/* ---- what is wanted ---- */

static void
add_active(GArray *list, Adapter *adapter, double text_weight, double unet_weight)
{
    Active active = { adapter, text_weight, unet_weight };
    g_array_append_val(list, active);
}

static bool
add_tags(RvNetworks *networks, const GPtrArray *tags, GArray *list, GPtrArray *notes, GError **error)
{
    for (guint i = 0; tags != NULL && i < tags->len; i++) {
        const RvPromptNetwork *tag = g_ptr_array_index(tags, i);
        if (strcmp(tag->kind, "lora") != 0 && strcmp(tag->kind, "lyco") != 0) {
            g_ptr_array_add(
                notes, g_strdup_printf("<%s:%s> is not supported and does nothing", tag->kind, tag->name));
            continue;
        }
        g_autofree char *path = find_lora(networks->library, tag->name);
        if (path == NULL) {
            g_ptr_array_add(notes, g_strdup_printf("there is no LoRA \"%s\"", tag->name));
            continue;
        }
        Adapter *adapter = open_adapter(networks, path, notes, error);
        if (adapter == NULL)
            return false;
        add_active(list, adapter, (double)tag->text_weight, (double)tag->unet_weight);
    }
    return true;
}

static bool
add_uses(RvNetworks *networks, const RvLoraUse *uses, int count, GArray *list, GPtrArray *notes,
         GError **error)
{
    for (int i = 0; i < count; i++) {
        g_autofree char *path = rv_library_resolve(networks->library, RV_NETWORK_LORA, uses[i].name, error);
        Adapter *adapter = path != NULL ? open_adapter(networks, path, notes, error) : NULL;
        if (adapter == NULL)
            return false;
        add_active(list, adapter, uses[i].text_weight, uses[i].unet_weight);
    }
    return true;
}

/* ---- merging ---- */

static bool
same_for(const GArray *a, const GArray *b, RvPart part)
{
    bool same = a->len == b->len;
    for (guint i = 0; same && i < a->len; i++) {
        const Active *x = &g_array_index(a, Active, i), *y = &g_array_index(b, Active, i);
        same = x->adapter == y->adapter && weight_for(x, part) == weight_for(y, part);
    }
    return same;
}

static void
add_name(void *user, const char *name)
{
    g_hash_table_add(user, g_strdup(name));
}

static bool
is_in(void *user, const char *name)
{
    return g_hash_table_contains(user, name);
}

static void
add_names(GHashTable *names, const GArray *list, RvPart part)
{
    for (guint i = 0; i < list->len; i++) {
        const Active *active = &g_array_index(list, Active, i);
        if (weight_for(active, part) != 0.0)
            rv_lora_each(active->adapter->lora, part, add_name, names);
    }
}

static bool
switch_to(RvNetworks *networks, const GArray *list, GError **error)
{
    g_autoptr(GArray) old = g_array_copy(networks->active);
    g_array_set_size(networks->active, 0);
    if (list->len > 0)
        g_array_append_vals(networks->active, list->data, list->len);
    for (int part = 0; part < RV_PARTS; part++) {
        RvWeightSet *weights = networks->attached[part].weights;
        g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        add_names(names, old, (RvPart)part);
        add_names(names, list, (RvPart)part);
        if (weights == NULL || same_for(old, list, (RvPart)part) || g_hash_table_size(names) == 0)
            continue;
        if (!rv_weight_set_repack(weights, is_in, names, error)) {
            g_array_set_size(networks->active, 0);
            for (int i = 0; i < RV_PARTS; i++) {
                g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
                add_names(all, old, (RvPart)i);
                add_names(all, list, (RvPart)i);
                if (networks->attached[i].weights != NULL)
                    rv_weight_set_repack(networks->attached[i].weights, is_in, all, NULL);
            }
            return false;
        }
    }
    return true;
}

static bool
is_active(const RvNetworks *networks, const Adapter *adapter)
{
    for (guint i = 0; i < networks->active->len; i++)
        if (g_array_index(networks->active, Active, i).adapter == adapter)
            return true;
    return false;
}

static void
close_unused(RvNetworks *networks)
{
    for (guint i = 0; i < networks->adapters->len && networks->adapters->len > KEPT;)
        if (is_active(networks, g_ptr_array_index(networks->adapters, i)))
            i++;
        else
            g_ptr_array_remove_index(networks->adapters, i);
}

bool
rv_networks_apply(RvNetworks *networks, const GPtrArray *tags, const RvLoraUse *uses, int use_count,
                  GPtrArray *notes, GError **error)
{
    g_autoptr(GArray) list = g_array_new(FALSE, FALSE, sizeof(Active));
    if (networks->model == NULL && use_count > 0)
        return rv_error_set(error, RV_ERROR_USAGE, "--lora", "use a model from a file",
                            "random weights take no LoRA");
    bool ok = networks->model == NULL || (add_tags(networks, tags, list, notes, error) &&
                                          add_uses(networks, uses, use_count, list, notes, error));
    if (!ok) {
        g_array_set_size(list, 0);
        switch_to(networks, list, NULL);
    } else {
        ok = switch_to(networks, list, error);
    }
    close_unused(networks);
    return ok;
}

char *
rv_networks_hashes(RvNetworks *networks)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < networks->active->len; i++) {
        Adapter *adapter = g_array_index(networks->active, Active, i).adapter;
        finish_hash(adapter);
        g_autofree char *name = g_strdup(adapter->name);
        char *end = name;
        for (const char *at = name; *at != '\0'; at++)
            if (*at != ':' && *at != ',')
                *end++ = *at;
        *end = '\0';
        if (adapter->hash != NULL)
            g_string_append_printf(text, "%s%s: %s", text->len > 0 ? ", " : "", name, adapter->hash);
    }
    return text->len > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}
