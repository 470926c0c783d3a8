#include "weights/names.h"
#include "base/error.h"
#include <string.h>

typedef RvCanon (*Canon)(const char *name, const RvNaming *naming, GString *out, RvView *view);

/* One way in which a part is named inside a file that holds several. */
typedef struct {
    const char *prefix;
    RvPart part;
    Canon canon;
    bool openclip;
} Family;

static const Family families[] = {
    { "model.diffusion_model.", RV_PART_UNET, rv_canon_unet },
    { "first_stage_model.", RV_PART_VAE, rv_canon_vae },
    { "cond_stage_model.transformer.", RV_PART_TEXT, rv_canon_clip },
    { "cond_stage_model.model.", RV_PART_TEXT, rv_canon_openclip, true },
    { "conditioner.embedders.0.transformer.", RV_PART_TEXT, rv_canon_clip },
    { "conditioner.embedders.0.model.", RV_PART_TEXT2, rv_canon_openclip, true }, /* the SDXL refiner */
    { "conditioner.embedders.1.model.", RV_PART_TEXT2, rv_canon_openclip, true },
    { "text_encoder.", RV_PART_TEXT, rv_canon_clip },
    { "text_encoder_2.", RV_PART_TEXT2, rv_canon_clip },
    { "unet.", RV_PART_UNET, rv_canon_unet },
    { "vae.", RV_PART_VAE, rv_canon_vae },
    { "control_model.", RV_PART_CONTROLNET, rv_canon_controlnet },
    { "taesd.", RV_PART_TAESD, rv_canon_taesd }, /* our own single files with a tiny autoencoder */
};

static const Family whole_file[RV_PARTS] = {
    [RV_PART_TEXT] = { "", RV_PART_TEXT, rv_canon_clip },
    [RV_PART_TEXT2] = { "", RV_PART_TEXT2, rv_canon_clip },
    [RV_PART_UNET] = { "", RV_PART_UNET, rv_canon_unet },
    [RV_PART_VAE] = { "", RV_PART_VAE, rv_canon_vae },
    [RV_PART_TAESD] = { "", RV_PART_TAESD, rv_canon_taesd },
    [RV_PART_CONTROLNET] = { "", RV_PART_CONTROLNET, rv_canon_controlnet },
};

const char *
rv_part_name(RvPart part)
{
    static const char *const names[] = { "text_encoder", "text_encoder_2", "unet", "vae",
                                         "taesd",        "controlnet",     "file" };
    return names[part];
}

bool
rv_take_number(const char **name, const char *prefix, int *number)
{
    gsize length = strlen(prefix);
    const char *at = *name + length;
    if (strncmp(*name, prefix, length) != 0 || !g_ascii_isdigit(*at) ||
        (*at == '0' && g_ascii_isdigit(at[1])))
        return false;
    *number = 0;
    for (; g_ascii_isdigit(*at); at++) {
        *number = *number * 10 + (*at - '0');
        if (*number > 9999)
            return false;
    }
    if (*at != '.')
        return false;
    *name = at + 1;
    return true;
}

bool
rv_replace_front(const char *name, const char *const pairs[][2], gsize count, GString *out)
{
    for (gsize i = 0; i < count; i++) {
        if (g_str_has_prefix(name, pairs[i][0])) {
            g_string_append(out, pairs[i][1]);
            g_string_append(out, name + strlen(pairs[i][0]));
            return true;
        }
    }
    return false;
}

static void
free_binding(void *data)
{
    RvBinding *binding = data;
    g_free(binding->owned);
    g_free(binding);
}

RvNames *
rv_names_new(void)
{
    RvNames *names = g_new0(RvNames, 1);
    for (int part = 0; part < RV_PARTS; part++)
        names->bound[part] = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_binding);
    names->sources = g_array_new(false, true, sizeof(RvSource));
    names->markers = g_hash_table_new(g_str_hash, g_str_equal);
    return names;
}

void
rv_names_free(RvNames *names)
{
    if (!names)
        return;
    for (int part = 0; part < RV_PARTS; part++)
        g_hash_table_unref(names->bound[part]);
    g_array_unref(names->sources);
    g_hash_table_unref(names->markers);
    g_free(names);
}

/* A [rows, columns] matrix the other way round; NULL when there is no memory. */
static void *
transpose(const RvArray *from)
{
    gsize size = rv_dtype_size(from->dtype), rows = (gsize)from->shape[0], columns = (gsize)from->shape[1];
    char *to = g_try_malloc(MAX(rows * columns * size, 1));
    for (gsize r = 0; to && r < rows; r++)
        for (gsize c = 0; c < columns; c++)
            memcpy(to + (c * rows + r) * size, (const char *)from->data + (r * columns + c) * size, size);
    return to;
}

static bool
set_view(RvBinding *binding, RvView view, const char *path, GError **error)
{
    RvArray *array = &binding->array;
    if (view == RV_VIEW_MATRIX && array->rank == 4 && array->shape[2] == 1 && array->shape[3] == 1)
        array->rank = 2;
    if (view != RV_VIEW_TRANSPOSED || array->rank != 2)
        return true;
    if (array->data) {
        binding->owned = transpose(array);
        if (!binding->owned)
            return rv_error_set(error, RV_ERROR_NO_MEMORY, path, "free some memory",
                                "no memory for a text projection");
        array->data = binding->owned;
    }
    gint64 rows = array->shape[0];
    array->shape[0] = array->shape[1];
    array->shape[1] = rows;
    return true;
}

static bool
bind(RvNames *names, RvPart part, const char *canonical, gsize source, RvView view, const char *path,
     GError **error)
{
    const RvFileTensor *tensor = g_array_index(names->sources, RvSource, source).tensor;
    RvBinding *binding = g_new0(RvBinding, 1);
    binding->source = source;
    binding->readable = tensor->readable;
    if (tensor->readable)
        binding->array = tensor->array;
    if (g_hash_table_contains(names->bound[part], canonical)) {
        free_binding(binding);
        return rv_error_set(error, RV_ERROR_INVALID, path, "use a file that holds each weight once",
                            "two tensors for %s/%s", rv_part_name(part), canonical);
    }
    g_hash_table_insert(names->bound[part], g_strdup(canonical), binding);
    return set_view(binding, view, path, error);
}

/* Query, key and value out of one matrix [3n, k] or vector [3n]: views, nothing is copied. */
static bool
bind_thirds(RvNames *names, RvPart part, const char *pattern, gsize source, const char *path, GError **error)
{
    static const char *const thirds[] = { "q_proj", "k_proj", "v_proj" };
    const char *slot = strstr(pattern, "%s");
    for (int i = 0; i < 3; i++) {
        g_autofree char *name =
            g_strdup_printf("%.*s%s%s", (int)(slot - pattern), pattern, thirds[i], slot + 2);
        if (!bind(names, part, name, source, RV_VIEW_WHOLE, path, error))
            return false;
        RvBinding *binding = g_hash_table_lookup(names->bound[part], name);
        RvArray *array = &binding->array;
        if (!binding->readable || array->rank < 1 || array->shape[0] % 3)
            continue;
        array->shape[0] /= 3;
        if (array->data)
            array->data = (const char *)array->data +
                          (gsize)i * (gsize)rv_array_count(array) * rv_dtype_size(array->dtype);
    }
    return true;
}

/* Buffers and copies that no inference needs, and names that say something by being there. */
static RvNameState
classify_extra(RvNames *names, const char *name)
{
    static const char *const ignored[] = {
        "model_ema.",
        "alphas_cumprod",
        "betas",
        "sqrt_",
        "log_one_minus_",
        "posterior_",
        "logvar",
        "scale_factor",
        "denoiser.sigmas",
        "cond_stage_model.logit_scale",
        "embedding_manager",
        "lvlb_weights",
        "model.model_ema",
        "global_step",
    };
    if (!strcmp(name, "v_pred") || !strcmp(name, "ztsnr")) {
        g_hash_table_add(names->markers, (void *)(guintptr)name);
        return RV_NAME_IGNORED;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(ignored); i++)
        if (g_str_has_prefix(name, ignored[i]))
            return RV_NAME_IGNORED;
    return RV_NAME_UNKNOWN;
}

/* What a file without prefixes holds, by names that only one part has. */
static RvPart
guess_part(GHashTable *raw)
{
    static const struct {
        const char *name;
        RvPart part;
    } signs[] = {
        { "controlnet_cond_embedding.conv_in.weight", RV_PART_CONTROLNET },
        { "input_hint_block.0.weight", RV_PART_CONTROLNET },
        { "input_blocks.0.0.weight", RV_PART_UNET },
        { "down_blocks.0.resnets.0.conv1.weight", RV_PART_UNET },
        { "encoder.layers.0.weight", RV_PART_TAESD },
        { "decoder.layers.0.weight", RV_PART_TAESD },
        { "encoder.0.weight", RV_PART_TAESD },
        { "decoder.1.weight", RV_PART_TAESD },
        { "1.conv.0.weight", RV_PART_TAESD },
        { "3.conv.0.weight", RV_PART_TAESD },
        { "decoder.conv_in.weight", RV_PART_VAE },
        { "encoder.conv_in.weight", RV_PART_VAE },
        { "text_model.embeddings.token_embedding.weight", RV_PART_TEXT },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(signs); i++)
        if (g_hash_table_contains(raw, signs[i].name))
            return signs[i].part;
    return RV_PART_NONE;
}

/* OpenCLIP-H has 24 layers and Stable Diffusion 2 takes the output of the 23rd, as its diffusers folder says
 * by storing 23; a file with the whole encoder is read the same way. */
static void
scan_openclip(RvNaming *naming, RvPart part, const RvFileTensor *tensors, gsize count, const Family *family)
{
    int layers = 0;
    gint64 width = 0;
    gsize skip = strlen(family->prefix);
    naming->last_layer = G_MAXINT;
    for (gsize i = 0; i < count; i++) {
        int layer;
        if (!g_str_has_prefix(tensors[i].name, family->prefix))
            continue;
        const char *at = tensors[i].name + skip;
        if (!strcmp(at, "token_embedding.weight") && tensors[i].readable && tensors[i].array.rank == 2)
            width = tensors[i].array.shape[1];
        if (rv_take_number(&at, "transformer.resblocks.", &layer))
            layers = MAX(layers, layer + 1);
    }
    if (part == RV_PART_TEXT && layers == 24 && width == 1024)
        naming->last_layer = 22;
}

/* Looks over all names of one family before they are turned one by one. */
static void
scan_family(RvNaming *naming, const Family *family, const RvFileTensor *tensors, gsize count)
{
    gsize skip = strlen(family->prefix);
    naming->raw = g_hash_table_new(g_str_hash, g_str_equal);
    naming->bare = "";
    for (gsize i = 0; i < count; i++)
        if (g_str_has_prefix(tensors[i].name, family->prefix))
            g_hash_table_add(naming->raw, (void *)(guintptr)(tensors[i].name + skip));
    if ((family->canon == rv_canon_unet || family->canon == rv_canon_controlnet) &&
        rv_naming_is_ldm_unet(naming))
        rv_naming_scan_unet(naming);
    if (family->canon == rv_canon_vae)
        rv_naming_scan_vae(naming);
    if (family->canon == rv_canon_openclip)
        scan_openclip(naming, family->part, tensors, count, family);
    if (family->canon == rv_canon_taesd) {
        bool encoder = g_hash_table_contains(naming->raw, "0.weight");
        if (encoder || g_hash_table_contains(naming->raw, "1.weight"))
            naming->bare = encoder ? "encoder." : "decoder.";
        naming->decoder_shift = !encoder && !g_hash_table_contains(naming->raw, "decoder.0.weight");
    }
}

static bool
add_family(RvNames *names, const Family *family, const RvFileTensor *tensors, gsize count, gsize first,
           const char *path, GError **error)
{
    RvNaming naming = { 0 };
    g_autoptr(GString) out = g_string_new(NULL);
    gsize skip = strlen(family->prefix);
    bool ok = true;
    scan_family(&naming, family, tensors, count);
    for (gsize i = 0; ok && i < count; i++) {
        RvSource *source = &g_array_index(names->sources, RvSource, first + i);
        RvView view;
        if (source->state != RV_NAME_UNKNOWN || !g_str_has_prefix(tensors[i].name, family->prefix))
            continue;
        g_string_truncate(out, 0);
        RvCanon canon = family->canon(tensors[i].name + skip, &naming, out, &view);
        source->part = family->part;
        source->state = canon == RV_CANON_OK       ? RV_NAME_BOUND
                        : canon == RV_CANON_IGNORE ? RV_NAME_IGNORED
                                                   : RV_NAME_UNKNOWN;
        if (canon != RV_CANON_OK)
            continue;
        names->openclip[family->part] |= family->openclip;
        if (view == RV_VIEW_THIRDS)
            ok = bind_thirds(names, family->part, out->str, first + i, path, error);
        else
            ok = bind(names, family->part, out->str, first + i, view, path, error);
    }
    g_hash_table_unref(naming.raw);
    return ok;
}

bool
rv_names_add(RvNames *names, const RvFileTensor *tensors, gsize count, RvPart part, const char *path,
             GError **error)
{
    g_autoptr(GHashTable) raw = g_hash_table_new(g_str_hash, g_str_equal);
    gsize first = names->sources->len;
    for (gsize i = 0; i < count; i++) {
        RvSource source = { &tensors[i], part, RV_NAME_UNKNOWN, false };
        source.state = classify_extra(names, tensors[i].name);
        g_array_append_val(names->sources, source);
        g_hash_table_add(raw, (void *)(guintptr)tensors[i].name);
    }
    for (gsize f = 0; f < G_N_ELEMENTS(families); f++)
        if ((part == RV_PART_NONE || part == families[f].part) &&
            !add_family(names, &families[f], tensors, count, first, path, error))
            return false;
    if (part == RV_PART_NONE)
        part = guess_part(raw);
    return part == RV_PART_NONE || add_family(names, &whole_file[part], tensors, count, first, path, error);
}

const RvBinding *
rv_names_find(const RvNames *names, RvPart part, const char *name)
{
    return g_hash_table_lookup(names->bound[part], name);
}

bool
rv_names_has_part(const RvNames *names, RvPart part)
{
    return g_hash_table_size(names->bound[part]) > 0;
}

void
rv_names_drop_part(RvNames *names, RvPart part)
{
    g_hash_table_remove_all(names->bound[part]);
    for (guint i = 0; i < names->sources->len; i++) {
        RvSource *source = &g_array_index(names->sources, RvSource, i);
        if (source->part == part)
            source->state = RV_NAME_IGNORED;
    }
}
