#include "golden.h"
#include <json-glib/json-glib.h>
#include <math.h>
#include <string.h>

struct Golden {
    char *bytes;
    gsize length;
    gsize data;         /* offset of the first tensor's bytes */
    JsonParser *parser; /* the header */
    GHashTable *floats; /* name -> float32 copy */
};

char *
golden_path(const char *relative)
{
    char *made = g_test_build_filename(G_TEST_BUILT, "data", relative, NULL);
    if (g_file_test(made, G_FILE_TEST_EXISTS))
        return made;
    g_free(made);
    return g_test_build_filename(G_TEST_DIST, "data", relative, NULL);
}

Golden *
golden_open(const char *path)
{
    Golden *golden = g_new0(Golden, 1);
    GError *error = NULL;
    g_file_get_contents(path, &golden->bytes, &golden->length, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(golden->length, >=, 8);
    guint64 header;
    memcpy(&header, golden->bytes, 8);
    header = GUINT64_FROM_LE(header);
    g_assert_cmpuint(header, <=, golden->length - 8);
    golden->data = 8 + (gsize)header;
    golden->parser = json_parser_new();
    json_parser_load_from_data(golden->parser, golden->bytes + 8, (gssize)header, &error);
    g_assert_no_error(error);
    golden->floats = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return golden;
}

void
golden_close(Golden *golden)
{
    if (golden == NULL)
        return;
    g_hash_table_destroy(golden->floats);
    g_object_unref(golden->parser);
    g_free(golden->bytes);
    g_free(golden);
}

static JsonObject *
entries(const Golden *golden)
{
    return json_node_get_object(json_parser_get_root(golden->parser));
}

bool
golden_has(const Golden *golden, const char *name)
{
    return json_object_has_member(entries(golden), name);
}

static RvDType
dtype_by_name(const char *name)
{
    static const RvDType all[] = { RV_F32, RV_F16, RV_BF16, RV_F8_E4M3, RV_F64, RV_I32, RV_I64, RV_U8 };
    for (guint i = 0; i < G_N_ELEMENTS(all); i++)
        if (g_str_equal(rv_dtype_name(all[i]), name))
            return all[i];
    g_error("golden: no such dtype: %s", name);
}

RvArray
golden_array(Golden *golden, const char *name)
{
    if (!golden_has(golden, name))
        g_error("golden: no such tensor: %s", name);
    JsonObject *entry = json_object_get_object_member(entries(golden), name);
    JsonArray *shape = json_object_get_array_member(entry, "shape");
    JsonArray *range = json_object_get_array_member(entry, "data_offsets");
    gsize from = (gsize)json_array_get_int_element(range, 0),
          to = (gsize)json_array_get_int_element(range, 1);
    RvArray array = { .dtype = dtype_by_name(json_object_get_string_member(entry, "dtype")) };
    array.rank = (int)json_array_get_length(shape);
    g_assert_cmpint(array.rank, <=, RV_MAX_RANK);
    for (int i = 0; i < array.rank; i++)
        array.shape[i] = json_array_get_int_element(shape, (guint)i);
    g_assert_cmpuint(to, <=, golden->length - golden->data);
    g_assert_cmpuint(to - from, ==, (gsize)rv_array_count(&array) * rv_dtype_size(array.dtype));
    array.data = golden->bytes + golden->data + from;
    return array;
}

const float *
golden_get(Golden *golden, const char *name, gsize *count, gint64 shape[RV_MAX_RANK])
{
    RvArray array = golden_array(golden, name);
    gsize elements = (gsize)rv_array_count(&array);
    if (count != NULL)
        *count = elements;
    if (shape != NULL)
        memcpy(shape, array.shape, sizeof array.shape);
    float *floats = g_hash_table_lookup(golden->floats, name);
    if (floats == NULL) {
        floats = g_new0(float, MAX(elements, 1));
        rv_convert_to_f32(array.dtype, array.data, floats, elements);
        g_hash_table_insert(golden->floats, g_strdup(name), floats);
    }
    return floats;
}

double
golden_difference(const float *a, const float *b, gsize count)
{
    double largest = 0;
    for (gsize i = 0; i < count; i++) {
        double difference = fabs((double)a[i] - (double)b[i]);
        if (isnan(difference))
            return INFINITY;
        largest = fmax(largest, difference);
    }
    return largest;
}

double
golden_relative_difference(const float *a, const float *b, gsize count)
{
    double scale = 0;
    for (gsize i = 0; i < count; i++)
        scale = fmax(scale, fabs((double)b[i]));
    double difference = golden_difference(a, b, count);
    return difference == 0 ? 0 : difference / scale;
}
