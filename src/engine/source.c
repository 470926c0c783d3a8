#include "engine/source.h"

#include <string.h>

/* Larger than any tensor of the families we run (the token embedding of 49408 x 1280). */
#define RANDOM_ELEMENTS ((gsize)64 << 20)
#define RANDOM_DEVIATION 0.02f

struct RvRandomSource {
    guint16 *normal; /* float16, mean 0 */
    guint16 *ones;
    float *zeros;
    gsize small; /* elements of ones and zeros */
    GHashTable *names;
    gint64 parameters;
};

RvRandomSource *
rv_random_source_new(guint32 seed)
{
    RvRandomSource *source = g_new0(RvRandomSource, 1);
    source->small = 1 << 16;
    source->normal = g_new(guint16, RANDOM_ELEMENTS);
    source->ones = g_new(guint16, source->small);
    source->zeros = g_new0(float, source->small);
    source->names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    /* A period of prime length, repeated: neighbouring rows differ, and making it costs nothing. */
    enum { PERIOD = 1000003 };
    g_autofree float *period = g_new(float, PERIOD);
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    for (int i = 0; i < PERIOD; i++) {
        double sum = -6.0;
        for (int j = 0; j < 12; j++)
            sum += g_rand_double(rand);
        period[i] = (float)sum * RANDOM_DEVIATION;
    }
    rv_convert_from_f32(RV_F16, period, source->normal, PERIOD);
    for (gsize i = PERIOD; i < RANDOM_ELEMENTS; i += PERIOD)
        memcpy(source->normal + i, source->normal,
               MIN((gsize)PERIOD, RANDOM_ELEMENTS - i) * sizeof *source->normal);
    const float one = 1.0f;
    for (gsize i = 0; i < source->small; i++)
        rv_convert_from_f32(RV_F16, &one, &source->ones[i], 1);
    return source;
}

void
rv_random_source_free(RvRandomSource *source)
{
    if (source == NULL)
        return;
    g_hash_table_destroy(source->names);
    g_free(source->normal);
    g_free(source->ones);
    g_free(source->zeros);
    g_free(source);
}

static bool
random_find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    RvRandomSource *source = self;
    *out = (RvArray) { .dtype = RV_F16, .rank = rank, .data = source->normal };
    memcpy(out->shape, shape, sizeof *shape * (gsize)rank);
    gsize count = (gsize)rv_array_count(out);
    if (rank == 1 && g_str_has_suffix(name, ".bias")) {
        out->dtype = RV_F32;
        out->data = source->zeros;
    } else if (rank == 1) {
        out->data = source->ones;
    }
    if (count > (rank == 1 ? source->small : RANDOM_ELEMENTS))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, name, NULL,
                            "a random tensor of %zu elements is too large", count);
    if (g_hash_table_add(source->names, g_strdup(name)))
        source->parameters += (gint64)count;
    return true;
}

RvWeightSource
rv_random_source_weights(RvRandomSource *source)
{
    return (RvWeightSource) { random_find, NULL, source };
}

gint64
rv_random_source_parameters(const RvRandomSource *source)
{
    return source->parameters;
}
