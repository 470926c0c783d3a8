/* lora_names.c - the many spellings of a layer's name in adapters. */
#include <string.h>

#include "weights/convert_private.h"
#include "weights/lora_private.h"

typedef struct {
    const RvModel *model;
    RvPart part;
    GHashTable *layers;
} Collector;

static void
layer_free(gpointer data)
{
    RvLoraLayer *layer = data;
    g_free(layer->weight);
    g_free(layer->bias);
    g_free(layer);
}

static void
add_spelling(GHashTable *layers, const char *prefix, const char *name, const RvLoraLayer *layer)
{
    g_autofree char *key = g_strconcat(prefix, name, NULL);
    RvLoraLayer *copy = g_memdup2(layer, sizeof *layer);
    copy->weight = g_strdup(layer->weight);
    copy->bias = g_strdup(layer->bias);
    g_strdelimit(key, ".", '_');
    g_hash_table_replace(layers, g_steal_pointer(&key), copy);
}

/* Old versions of diffusers name the attention processors' layers by their role. */
static const char *const roles[][2] = {
    { "to_out.0", "to_out" },
    { "self_attn.q_proj", "self_attn.to_q" },
    { "self_attn.k_proj", "self_attn.to_k" },
    { "self_attn.v_proj", "self_attn.to_v" },
    { "self_attn.out_proj", "self_attn.to_out" },
};

static void
add_layer(Collector *c, const char *name, const RvLoraLayer *layer)
{
    static const char *const prefixes[RV_PARTS] = {
        [RV_PART_TEXT] = "te_", [RV_PART_TEXT2] = "te2_", [RV_PART_UNET] = "unet_"
    };
    const char *prefix = prefixes[c->part];
    add_spelling(c->layers, prefix, name, layer);
    if (c->part != RV_PART_UNET && g_str_has_prefix(name, "text_model."))
        add_spelling(c->layers, prefix, name + strlen("text_model."), layer);
    for (gsize i = 0; i < G_N_ELEMENTS(roles); i++)
        if (g_str_has_suffix(name, roles[i][0])) {
            g_autofree char *front = g_strndup(name, strlen(name) - strlen(roles[i][0]));
            g_autofree char *other = g_strconcat(front, roles[i][1], NULL);
            add_spelling(c->layers, prefix, other, layer);
        }
    if (c->part != RV_PART_UNET)
        return;
    g_autoptr(GString) ldm = g_string_new(NULL);
    g_autofree char *dotted = g_strconcat(name, ".", NULL);
    if (rv_ldm_unet_name(&c->model->config[c->part].unet, dotted, ldm) && ldm->len > 1) {
        g_string_truncate(ldm, ldm->len - 1);
        add_spelling(c->layers, prefix, ldm->str, layer);
    }
}

static void
collect(void *user, const char *name, int rank, const gint64 *shape)
{
    Collector *c = user;
    if (!g_str_has_suffix(name, ".weight") || rank < 1 || strstr(name, "_embedding.weight") != NULL)
        return;
    g_autofree char *stem = g_strndup(name, strlen(name) - strlen(".weight"));
    g_autofree char *bias = g_strconcat(stem, ".bias", NULL);
    RvArray array;
    RvLoraLayer layer = {
        .part = c->part,
        .weight = (char *)(guintptr)name,
        .bias = rv_model_find(c->model, c->part, bias, &array) ? bias : NULL,
        .out = shape[0],
        .in = rank > 1 ? shape[1] : 1,
        .taps = rank > 2 ? shape[2] * (rank > 3 ? shape[3] : 1) : 1,
    };
    add_layer(c, stem, &layer);
}

GHashTable *
rv_lora_layers_new(const RvModel *model)
{
    static const RvPart parts[] = { RV_PART_TEXT, RV_PART_TEXT2, RV_PART_UNET };
    GHashTable *layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, layer_free);
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
        Collector c = { model, parts[i], layers };
        if (model->has[parts[i]])
            rv_config_expect(parts[i], &model->config[parts[i]], collect, &c);
    }
    return layers;
}

/* The front of a key tells the part; without one it is the UNet's. */
static const char *const fronts[][2] = {
    { "lora_unet_", "unet_" },       { "lycoris_unet_", "unet_" }, { "lora_te1_", "te_" },
    { "lora_te2_", "te2_" },         { "lora_te_", "te_" },        { "lycoris_te1_", "te_" },
    { "lycoris_te2_", "te2_" },      { "lycoris_te_", "te_" },     { "lycoris_", "unet_" },
    { "text_encoder_2_", "te2_" },   { "text_encoder_", "te_" },   { "model_diffusion_model_", "unet_" },
    { "diffusion_model_", "unet_" }, { "unet_", "unet_" },
};

char *
rv_lora_normal_key(const char *key)
{
    g_autofree char *flat = g_strdelimit(g_strdup(key), ".", '_');
    const char *at = flat, *base = "base_model_model_";
    if (g_str_has_prefix(at, base))
        at += strlen(base);
    g_autoptr(GString) normal = g_string_new(NULL);
    if (!rv_replace_front(at, fronts, G_N_ELEMENTS(fronts), normal))
        g_string_append_printf(normal, "unet_%s", at);
    g_string_replace(normal, "_processor_", "_", 0);
    return g_string_free(g_steal_pointer(&normal), FALSE);
}
