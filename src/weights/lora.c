#include "weights/lora_private.h"

#include <string.h>

#include "base/error.h"

#define MAX_MODULES 20000
#define HASH_DIGITS 12
#define HASH_PIECE ((gsize)1 << 20)

struct RvLora {
    RvSafetensors *file;
    GPtrArray *modules;          /* RvLoraModule */
    GPtrArray *unknown;          /* char * */
    GHashTable *bound[RV_PARTS]; /* tensor's name -> GPtrArray of RvLoraModule, borrowed */
};

/* Longer endings first where one ends in another. */
static const struct {
    const char *ending;
    RvLoraSlot slot;
} endings[] = {
    { ".lora_down.weight", RV_LORA_DOWN },
    { ".lora_up.weight", RV_LORA_UP },
    { ".lora_mid.weight", RV_LORA_MID },
    { ".alpha", RV_LORA_ALPHA },
    { ".scale", RV_LORA_SCALE },
    { ".dora_scale", RV_LORA_DORA },
    { ".lora_A.weight", RV_LORA_DOWN },
    { ".lora_B.weight", RV_LORA_UP },
    { ".lora_A.default.weight", RV_LORA_DOWN },
    { ".lora_B.default.weight", RV_LORA_UP },
    { ".lora_magnitude_vector", RV_LORA_DORA },
    { ".lora_magnitude_vector.weight", RV_LORA_DORA },
    { ".lora_magnitude_vector.default.weight", RV_LORA_DORA },
    { ".lora_linear_layer.down.weight", RV_LORA_DOWN },
    { ".lora_linear_layer.up.weight", RV_LORA_UP },
    { "_lora.down.weight", RV_LORA_DOWN },
    { "_lora.up.weight", RV_LORA_UP },
    { ".lora.down.weight", RV_LORA_DOWN },
    { ".lora.up.weight", RV_LORA_UP },
    { ".hada_w1_a", RV_HADA_1A },
    { ".hada_w1_b", RV_HADA_1B },
    { ".hada_w2_a", RV_HADA_2A },
    { ".hada_w2_b", RV_HADA_2B },
    { ".hada_t1", RV_HADA_T1 },
    { ".hada_t2", RV_HADA_T2 },
    { ".lokr_w1", RV_LOKR_1 },
    { ".lokr_w1_a", RV_LOKR_1A },
    { ".lokr_w1_b", RV_LOKR_1B },
    { ".lokr_w2", RV_LOKR_2 },
    { ".lokr_w2_a", RV_LOKR_2A },
    { ".lokr_w2_b", RV_LOKR_2B },
    { ".lokr_t2", RV_LOKR_T2 },
    { ".diff", RV_LORA_DIFF },
    { ".diff_b", RV_LORA_DIFF_BIAS },
    { ".w_norm", RV_LORA_DIFF },
    { ".b_norm", RV_LORA_DIFF_BIAS },
};

/* Kinds that we know of and do not compute. */
static const struct {
    const char *ending, *kind;
} foreign[] = {
    { ".a1.weight", "GLoRA" },
    { ".b1.weight", "GLoRA" },
    { ".on_input", "IA3" },
    { ".oft_blocks", "OFT" },
    { ".oft_diag", "OFT" },
    { ".oft_R.weight", "OFT" },
    { ".lora_embedding_A", "LoRA of an embedding table" },
};

static bool
refuse_foreign(const char *name, const char *path, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(foreign); i++)
        if (g_str_has_suffix(name, foreign[i].ending))
            return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "use a LoRA, LoCon, LoHa or LoKr",
                                "\"%s\" belongs to a %s, which cannot be applied here", name,
                                foreign[i].kind);
    return true;
}

static RvLoraModule *
module_named(RvLora *lora, GHashTable *known, const char *key)
{
    RvLoraModule *module = g_hash_table_lookup(known, key);
    if (module != NULL)
        return module;
    module = g_new0(RvLoraModule, 1);
    module->key = g_strdup(key);
    g_ptr_array_add(lora->modules, module);
    g_hash_table_insert(known, module->key, module);
    return module;
}

static void
module_free(gpointer data)
{
    RvLoraModule *module = data;
    g_free(module->key);
    g_free(module);
}

static bool
take_tensor(RvLora *lora, GHashTable *known, const RvFileTensor *tensor, GError **error)
{
    const char *path = rv_lora_path(lora);
    for (gsize i = 0; i < G_N_ELEMENTS(endings); i++) {
        if (!g_str_has_suffix(tensor->name, endings[i].ending))
            continue;
        g_autofree char *key = g_strndup(tensor->name, strlen(tensor->name) - strlen(endings[i].ending));
        RvLoraModule *module = module_named(lora, known, key);
        if (!tensor->readable)
            return rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "convert the file to F16 or F32",
                                "\"%s\" is of the type %s", tensor->name, tensor->dtype_name);
        if (module->slots[endings[i].slot] != NULL)
            return rv_error_set(error, RV_ERROR_INVALID, path, "get the file again",
                                "\"%s\" is there twice under different names", key);
        module->slots[endings[i].slot] = &tensor->array;
        if (lora->modules->len > MAX_MODULES)
            return rv_error_set(error, RV_ERROR_INVALID, path, "get the file again", "more than %d modules",
                                MAX_MODULES);
        return true;
    }
    if (!refuse_foreign(tensor->name, path, error))
        return false;
    g_ptr_array_add(lora->unknown, g_strdup(tensor->name));
    return true;
}

static bool
read_modules(RvLora *lora, GError **error)
{
    gsize count;
    const RvFileTensor *tensors = rv_safetensors_tensors(lora->file, &count);
    g_autoptr(GHashTable) known = g_hash_table_new(g_str_hash, g_str_equal);
    for (gsize i = 0; i < count; i++)
        if (!take_tensor(lora, known, &tensors[i], error))
            return false;
    if (lora->modules->len == 0)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, rv_lora_path(lora),
                            "give a LoRA, LoCon, LoHa or LoKr", "there is no adapter in this file");
    for (guint i = 0; i < lora->modules->len; i++)
        if (!rv_lora_module_settle(g_ptr_array_index(lora->modules, i), rv_lora_path(lora), error))
            return false;
    return true;
}

RvLora *
rv_lora_open(const char *path, GError **error)
{
    RvSafetensors *file = rv_safetensors_open(path, error);
    if (file == NULL)
        return NULL;
    g_autoptr(RvLora) lora = g_new0(RvLora, 1);
    lora->file = file;
    lora->modules = g_ptr_array_new_with_free_func(module_free);
    lora->unknown = g_ptr_array_new_with_free_func(g_free);
    return read_modules(lora, error) ? g_steal_pointer(&lora) : NULL;
}

void
rv_lora_close(RvLora *lora)
{
    if (lora == NULL)
        return;
    for (int i = 0; i < RV_PARTS; i++)
        g_clear_pointer(&lora->bound[i], g_hash_table_unref);
    g_ptr_array_unref(lora->modules);
    g_ptr_array_unref(lora->unknown);
    rv_safetensors_close(lora->file);
    g_free(lora);
}

const char *
rv_lora_path(const RvLora *lora)
{
    return rv_safetensors_path(lora->file);
}

guint
rv_lora_modules(const RvLora *lora)
{
    return lora->modules->len;
}

int
rv_lora_rank(const RvLora *lora)
{
    int rank = 0;
    for (guint i = 0; i < lora->modules->len; i++)
        rank = MAX(rank, ((const RvLoraModule *)g_ptr_array_index(lora->modules, i))->rank);
    return rank;
}

const char *
rv_lora_kind(const RvLora *lora)
{
    static const char *const names[RV_LORA_KINDS] = { "LoRA", "LoHa", "LoKr", "difference" };
    const RvLoraModule *first = g_ptr_array_index(lora->modules, 0);
    for (guint i = 1; i < lora->modules->len; i++)
        if (((const RvLoraModule *)g_ptr_array_index(lora->modules, i))->kind != first->kind)
            return "mixed";
    return names[first->kind];
}

const char *
rv_lora_alias(const RvLora *lora)
{
    return rv_safetensors_metadata(lora->file, "ss_output_name");
}

gsize
rv_lora_bytes(const RvLora *lora)
{
    return rv_safetensors_size(lora->file);
}

char *
rv_lora_hash(const RvLora *lora)
{
    const char *stated = rv_safetensors_metadata(lora->file, "sshs_model_hash");
    if (stated != NULL && strlen(stated) >= HASH_DIGITS &&
        strspn(stated, "0123456789abcdefABCDEF") >= HASH_DIGITS)
        return g_ascii_strdown(stated, HASH_DIGITS);
    gsize count, last = 0;
    const RvFileTensor *tensors = rv_safetensors_tensors(lora->file, &count);
    g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA256);
    /* ranges lie side by side: the lowest address is the first byte behind the header */
    const guint8 *start = NULL;
    for (gsize i = 0; i < count; i++) {
        const guint8 *data = tensors[i].array.data;
        if (tensors[i].bytes == 0 || data == NULL)
            continue;
        if (start == NULL || data < start)
            start = data;
    }
    for (gsize i = 0; i < count && start != NULL; i++)
        if (tensors[i].bytes > 0 && tensors[i].array.data != NULL)
            last = MAX(last, (gsize)((const guint8 *)tensors[i].array.data - start) + tensors[i].bytes);
    for (gsize done = 0; done < last; done += HASH_PIECE)
        g_checksum_update(sum, start + done, (gssize)MIN(HASH_PIECE, last - done));
    return g_strndup(g_checksum_get_string(sum), HASH_DIGITS);
}

/* ---- a model's layers ---- */

static void
bind_name(RvLora *lora, RvPart part, const char *name, RvLoraModule *module)
{
    if (lora->bound[part] == NULL)
        lora->bound[part] =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_ptr_array_unref);
    GPtrArray *modules = g_hash_table_lookup(lora->bound[part], name);
    if (modules == NULL) {
        modules = g_ptr_array_new();
        g_hash_table_insert(lora->bound[part], g_strdup(name), modules);
    }
    g_ptr_array_add(modules, module);
}

static void
bind_module(RvLora *lora, RvLoraModule *module, const RvLoraLayer *layer)
{
    bool has_bias = module->slots[RV_LORA_DIFF_BIAS] != NULL && layer->bias != NULL;
    module->part = layer->part;
    module->out = layer->out;
    module->in = layer->in;
    module->taps = layer->taps;
    if (module->kind != RV_LORA_FULL || module->slots[RV_LORA_DIFF] != NULL)
        bind_name(lora, layer->part, layer->weight, module);
    if (has_bias)
        bind_name(lora, layer->part, layer->bias, module);
}

/* Counts the modules that are bound. Without `error` those of other shapes are passed over; with it the first
 * one ends the search: below 0. */
static int
bind_modules(RvLora *lora, const RvModel *model, GError **error)
{
    g_autoptr(GHashTable) layers = rv_lora_layers_new(model);
    int found = 0;
    for (guint i = 0; i < lora->modules->len; i++) {
        RvLoraModule *module = g_ptr_array_index(lora->modules, i);
        g_autofree char *key = rv_lora_normal_key(module->key);
        const RvLoraLayer *layer = g_hash_table_lookup(layers, key);
        if (layer == NULL) {
            g_ptr_array_add(lora->unknown, g_strdup(module->key));
        } else if (rv_lora_module_fits(module, layer->out, layer->in, layer->taps)) {
            bind_module(lora, module, layer);
            found++;
        } else if (error != NULL) {
            rv_error_set(error, RV_ERROR_INVALID, rv_lora_path(lora), "use it with the family it is for",
                         "\"%s\" does not fit this model's layer %s", module->key, layer->weight);
            return -1;
        }
    }
    return found;
}

bool
rv_lora_bind(RvLora *lora, const RvModel *model, GError **error)
{
    GError *misfit = NULL;
    int found = bind_modules(lora, model, &misfit);
    if (misfit != NULL)
        g_propagate_error(error, misfit);
    return found > 0 ||
           (found == 0 &&
            rv_error_set(error, RV_ERROR_INVALID, rv_lora_path(lora), "use it with the family it is for",
                         "none of its %u modules has a layer in this model, \"%s\" for one",
                         lora->modules->len, ((RvLoraModule *)g_ptr_array_index(lora->modules, 0))->key));
}

void
rv_lora_bind_what_fits(RvLora *lora, const RvModel *model)
{
    bind_modules(lora, model, NULL);
}

const GPtrArray *
rv_lora_unknown(const RvLora *lora)
{
    return lora->unknown;
}

bool
rv_lora_touches(const RvLora *lora, RvPart part, const char *name)
{
    return lora->bound[part] != NULL && g_hash_table_contains(lora->bound[part], name);
}

void
rv_lora_each(const RvLora *lora, RvPart part, void (*visit)(void *user, const char *name), void *user)
{
    GHashTableIter iter;
    gpointer name;
    if (lora->bound[part] == NULL)
        return;
    g_hash_table_iter_init(&iter, lora->bound[part]);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        visit(user, name);
}

static void
add_bias(const RvLoraModule *module, double weight, float *values)
{
    const RvArray *array = module->slots[RV_LORA_DIFF_BIAS];
    gsize count = (gsize)rv_array_count(array);
    g_autofree float *difference = g_new(float, count);
    rv_convert_to_f32(array->dtype, array->data, difference, count);
    for (gsize i = 0; i < count; i++)
        values[i] += (float)weight * difference[i];
}

void
rv_lora_apply(const RvLora *lora, RvPart part, const char *name, double weight, float *values)
{
    const GPtrArray *modules =
        lora->bound[part] != NULL ? g_hash_table_lookup(lora->bound[part], name) : NULL;
    bool is_bias = g_str_has_suffix(name, ".bias");
    for (guint i = 0; modules != NULL && i < modules->len; i++) {
        const RvLoraModule *module = g_ptr_array_index(modules, i);
        if (is_bias)
            add_bias(module, weight, values);
        else
            rv_lora_module_apply(module, weight, values);
    }
}
