#include "engine/upscaler_file.h"

#include <string.h>

#include "weights/safetensors.h"

#define MOST_FEATURES 1024
#define MOST_BLOCKS 256
#define MOST_SCALE 8

struct RvUpscalerFile {
    RvSafetensors *opened;
    char *path;
    RvUpscalerConfig config;
    GHashTable *arrays; /* BasicSR's name -> RvArray, borrowed from the file or owned by `made` */
    GPtrArray *made;
};

static const RvArray *
array_of(const RvUpscalerFile *file, const char *name)
{
    return g_hash_table_lookup(file->arrays, name);
}

static gint64
dimension(const RvUpscalerFile *file, const char *name, int index, int rank)
{
    const RvArray *array = array_of(file, name);
    return array != NULL && array->rank == rank ? array->shape[index] : 0;
}

/* "A.N.rest": the number and the rest. */
static bool
take_number(const char *name, const char *prefix, int *number, const char **rest)
{
    char *end;
    if (!g_str_has_prefix(name, prefix) || !g_ascii_isdigit(name[strlen(prefix)]))
        return false;
    *number = (int)MIN(g_ascii_strtoull(name + strlen(prefix), &end, 10), 100000);
    *rest = end;
    return *end == '.';
}

/* The old names count modules in one row: the last ones' numbers depend on how often the size doubles. */
static char *
old_tail(int number, const char *rest, int ups)
{
    static const char *const tails[] = { "conv_hr", "conv_last" };
    for (int i = 0; i < ups; i++)
        if (number == 3 * (i + 1))
            return g_strdup_printf("conv_up%d%s", i + 1, rest);
    for (int i = 0; i < 2; i++)
        if (number == 3 * ups + 2 + 2 * i)
            return g_strdup_printf("%s%s", tails[i], rest);
    return NULL;
}

/* BasicSR's name of a tensor of an RRDBNet, or NULL. */
static char *
rrdb_name(const char *name, int ups, int trunk)
{
    static const char *const between[][2] = { { "trunk_conv.", "conv_body." },
                                              { "upconv1.", "conv_up1." },
                                              { "upconv2.", "conv_up2." },
                                              { "HRconv.", "conv_hr." } };
    int number;
    const char *rest;
    g_autoptr(GString) text = g_string_new(NULL);
    if (take_number(name, "model.1.sub.", &number, &rest) && number == trunk)
        return g_strdup_printf("conv_body%s", rest);
    if (take_number(name, "model.1.sub.", &number, &rest) ||
        take_number(name, "RRDB_trunk.", &number, &rest)) {
        g_string_printf(text, "body.%d%s", number, rest);
        g_string_replace(text, ".RDB", ".rdb", 1);
        g_string_replace(text, ".0.weight", ".weight", 1);
        g_string_replace(text, ".0.bias", ".bias", 1);
        return g_string_free(g_steal_pointer(&text), FALSE);
    }
    if (take_number(name, "model.", &number, &rest))
        return number == 0 ? g_strdup_printf("conv_first%s", rest) : old_tail(number, rest, ups);
    for (gsize i = 0; i < G_N_ELEMENTS(between); i++)
        if (g_str_has_prefix(name, between[i][0]))
            return g_strdup_printf("%s%s", between[i][1], name + strlen(between[i][0]));
    return g_strdup(name);
}

/* Names without what training wrapped around them. */
static const char *
bare(const char *name)
{
    static const char *const wraps[] = { "params_ema.", "params.", "module." };
    for (gsize i = 0; i < G_N_ELEMENTS(wraps); i++)
        if (g_str_has_prefix(name, wraps[i]))
            return name + strlen(wraps[i]);
    return name;
}

static void
scan_old(const RvFileTensor *tensors, gsize count, int *ups, int *trunk)
{
    int last = 0, number;
    const char *rest;
    *trunk = -1;
    for (gsize i = 0; i < count; i++) {
        if (take_number(bare(tensors[i].name), "model.1.sub.", &number, &rest))
            *trunk = MAX(*trunk, number);
        if (take_number(bare(tensors[i].name), "model.", &number, &rest))
            last = MAX(last, number);
    }
    *ups = last >= 4 ? (last - 4) / 3 : 0;
}

static void
bind_rrdb(RvUpscalerFile *file, const RvFileTensor *tensors, gsize count)
{
    int ups, trunk;
    scan_old(tensors, count, &ups, &trunk);
    for (gsize i = 0; i < count; i++) {
        char *name = rrdb_name(bare(tensors[i].name), ups, trunk);
        if (name != NULL && tensors[i].readable)
            g_hash_table_replace(file->arrays, name, (gpointer)(guintptr)&tensors[i].array);
        else
            g_free(name);
    }
}

static bool
configure_rrdb(RvUpscalerFile *file, GError **error)
{
    RvUpscalerConfig *c = &file->config;
    gint64 in = dimension(file, "conv_first.weight", 1, 4);
    c->kind = RV_UPSCALER_RRDB;
    c->features = (int)dimension(file, "conv_first.weight", 0, 4);
    c->growth = (int)dimension(file, "body.0.rdb1.conv1.weight", 0, 4);
    c->unshuffle = in == 48 ? 4 : in == 12 ? 2 : 1;
    for (;; c->blocks++) {
        g_autofree char *name = g_strdup_printf("body.%d.rdb1.conv1.weight", c->blocks);
        if (c->blocks > MOST_BLOCKS || array_of(file, name) == NULL)
            break;
    }
    for (;; c->ups++) {
        g_autofree char *name = g_strdup_printf("conv_up%d.weight", c->ups + 1);
        if (c->ups > 3 || array_of(file, name) == NULL)
            break;
    }
    c->scale = (1 << c->ups) / c->unshuffle;
    if ((in != 3 && in != 12 && in != 48) || c->features < 1 || c->features > MOST_FEATURES ||
        c->growth < 1 || c->growth > MOST_FEATURES || c->blocks > MOST_BLOCKS || c->scale < 1 ||
        c->scale > MOST_SCALE)
        return rv_error_set(error, RV_ERROR_INVALID, file->path, "get the file again",
                            "the upscaler's shapes are impossible");
    return true;
}

/* PReLU's slopes as a diagonal matrix. */
static bool
make_diagonal(RvUpscalerFile *file, const char *name, const RvArray *slopes)
{
    gint64 width = slopes->rank == 1 ? slopes->shape[0] : 0;
    if (width < 1 || width > MOST_FEATURES)
        return false;
    g_autofree float *values = g_new(float, (gsize)width);
    float *matrix = g_new0(float, (gsize)(width * width));
    rv_convert_to_f32(slopes->dtype, slopes->data, values, (gsize)width);
    for (gint64 i = 0; i < width; i++)
        matrix[i * width + i] = values[i];
    RvArray *array = g_new0(RvArray, 1);
    *array = (RvArray) { .dtype = RV_F32, .rank = 2, .shape = { width, width }, .data = matrix };
    g_ptr_array_add(file->made, matrix);
    g_ptr_array_add(file->made, array);
    g_hash_table_replace(file->arrays, g_strdup(name), array);
    return true;
}

static bool
configure_compact(RvUpscalerFile *file, const RvFileTensor *tensors, gsize count, GError **error)
{
    RvUpscalerConfig *c = &file->config;
    int last = 0, number;
    const char *rest;
    bool ok = true;
    c->kind = RV_UPSCALER_COMPACT;
    c->unshuffle = 1;
    for (gsize i = 0; i < count; i++) {
        const char *name = bare(tensors[i].name);
        if (!tensors[i].readable)
            continue;
        if (take_number(name, "body.", &number, &rest)) {
            last = MAX(last, number);
            if (number % 2 == 1 && strcmp(rest, ".weight") == 0) {
                ok = ok && make_diagonal(file, name, &tensors[i].array);
                continue;
            }
        }
        g_hash_table_replace(file->arrays, g_strdup(name), (gpointer)(guintptr)&tensors[i].array);
    }
    g_autofree char *name = g_strdup_printf("body.%d.weight", last);
    gint64 out = dimension(file, name, 0, 4);
    c->features = (int)dimension(file, "body.0.weight", 0, 4);
    c->blocks = last / 2 - 1;
    for (c->scale = 1; c->scale <= MOST_SCALE && 3 * c->scale * c->scale != out;)
        c->scale++;
    if (!ok || last % 2 != 0 || c->blocks < 0 || c->blocks > MOST_BLOCKS || c->features < 1 ||
        c->features > MOST_FEATURES || c->scale > MOST_SCALE)
        return rv_error_set(error, RV_ERROR_INVALID, file->path, "get the file again",
                            "the upscaler's shapes are impossible");
    return true;
}

RvUpscalerFile *
rv_upscaler_file_open(const char *path, GError **error)
{
    RvSafetensors *opened = rv_safetensors_open(path, error);
    if (opened == NULL)
        return NULL;
    g_autoptr(RvUpscalerFile) file = g_new0(RvUpscalerFile, 1);
    file->opened = opened;
    file->path = g_strdup(path);
    file->arrays = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    file->made = g_ptr_array_new_with_free_func(g_free);
    gsize count;
    const RvFileTensor *tensors = rv_safetensors_tensors(opened, &count);
    bind_rrdb(file, tensors, count);
    if (array_of(file, "body.0.rdb1.conv1.weight") != NULL && array_of(file, "conv_first.weight") != NULL)
        return configure_rrdb(file, error) ? g_steal_pointer(&file) : NULL;
    g_hash_table_remove_all(file->arrays);
    for (gsize i = 0; i < count; i++)
        if (strcmp(bare(tensors[i].name), "body.0.weight") == 0)
            return configure_compact(file, tensors, count, error) ? g_steal_pointer(&file) : NULL;
    rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "give an ESRGAN, Real-ESRGAN or compact upscaler",
                 "there is no upscaler that we know in this file");
    return NULL;
}

void
rv_upscaler_file_close(RvUpscalerFile *file)
{
    if (file == NULL)
        return;
    g_hash_table_unref(file->arrays);
    g_ptr_array_unref(file->made);
    rv_safetensors_close(file->opened);
    g_free(file->path);
    g_free(file);
}

const RvUpscalerConfig *
rv_upscaler_file_config(const RvUpscalerFile *file)
{
    return &file->config;
}

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    const RvUpscalerFile *file = self;
    const RvArray *array = array_of(file, name);
    bool fits = array != NULL && array->rank == rank;
    for (int i = 0; fits && i < rank; i++)
        fits = array->shape[i] == shape[i];
    if (!fits)
        return rv_error_set(error, RV_ERROR_INVALID, file->path, "get the file again", "%s %s", name,
                            array == NULL ? "is missing" : "has the wrong shape");
    *out = *array;
    return true;
}

RvWeightSource
rv_upscaler_file_weights(RvUpscalerFile *file)
{
    return (RvWeightSource) { .find = find, .self = file };
}
