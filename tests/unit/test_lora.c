/* Every kind of adapter against its formula in float64, and files that are none. */
#include <math.h>
#include <string.h>

#include <glib/gstdio.h>

#include "base/error.h"
#include "tiny_model.h"
#include "weights/lora_private.h"

typedef struct {
    GRand *rand;
    RvArray arrays[RV_LORA_SLOTS];
    float *numbers[RV_LORA_SLOTS];
    RvLoraModule module;
} World;

static void
begin(World *w, guint32 seed)
{
    memset(w, 0, sizeof *w);
    w->rand = g_rand_new_with_seed(seed);
    w->module.key = (char *)"layer";
}

static void
end(World *w)
{
    for (int i = 0; i < RV_LORA_SLOTS; i++)
        g_free(w->numbers[i]);
    g_rand_free(w->rand);
}

/* Random numbers of a shape (zeros end it) in a slot. */
static const float *
put(World *w, RvLoraSlot slot, gint64 a, gint64 b, gint64 c, gint64 d)
{
    RvArray *array = &w->arrays[slot];
    const gint64 shape[] = { a, b, c, d };
    *array = (RvArray) { .dtype = RV_F32 };
    while (array->rank < 4 && shape[array->rank] > 0)
        array->shape[array->rank] = shape[array->rank], array->rank++;
    gint64 count = rv_array_count(array);
    w->numbers[slot] = g_new(float, (gsize)count);
    for (gint64 i = 0; i < count; i++)
        w->numbers[slot][i] = (float)g_rand_double_range(w->rand, -1.0, 1.0);
    array->data = w->numbers[slot];
    w->module.slots[slot] = array;
    return w->numbers[slot];
}

static void
put_scalar(World *w, RvLoraSlot slot, float value)
{
    put(w, slot, 1, 0, 0, 0);
    w->numbers[slot][0] = value;
}

/* Applies the module at weight 0.7 and compares with base + 0.7 * scale * delta. */
static void
check(World *w, gint64 out, gint64 in, gint64 taps, double scale, const double *delta)
{
    g_autoptr(GError) error = NULL;
    gint64 count = out * in * taps;
    g_autofree float *values = g_new(float, (gsize)count), *base = g_new(float, (gsize)count);
    for (gint64 i = 0; i < count; i++)
        values[i] = base[i] = (float)g_rand_double_range(w->rand, -1.0, 1.0);
    g_assert_true(rv_lora_module_settle(&w->module, "test", &error));
    g_assert_true(rv_lora_module_fits(&w->module, out, in, taps));
    g_assert_false(rv_lora_module_fits(&w->module, out + 1, in, taps));
    w->module.out = out, w->module.in = in, w->module.taps = taps;
    rv_lora_module_apply(&w->module, 0.7, values);
    for (gint64 i = 0; i < count; i++)
        g_assert_cmpfloat_with_epsilon((double)values[i], (double)base[i] + 0.7 * scale * delta[i], 1e-5);
}

static void
test_plain(void)
{
    World w;
    begin(&w, 1);
    const float *down = put(&w, RV_LORA_DOWN, 3, 5, 3, 3), *up = put(&w, RV_LORA_UP, 7, 3, 1, 1);
    put_scalar(&w, RV_LORA_ALPHA, 1.5f);
    double delta[7 * 5 * 9] = { 0 };
    for (int o = 0; o < 7; o++)
        for (int i = 0; i < 45; i++)
            for (int r = 0; r < 3; r++)
                delta[o * 45 + i] += (double)up[o * 3 + r] * (double)down[r * 45 + i];
    check(&w, 7, 5, 9, 0.5, delta);
    end(&w);
}

static void
test_middle(void)
{
    World w;
    begin(&w, 2);
    const float *down = put(&w, RV_LORA_DOWN, 2, 4, 1, 1), *up = put(&w, RV_LORA_UP, 6, 3, 1, 1),
                *mid = put(&w, RV_LORA_MID, 3, 2, 3, 3);
    double delta[6 * 4 * 9] = { 0 };
    for (int o = 0; o < 6; o++)
        for (int i = 0; i < 4; i++)
            for (int k = 0; k < 9; k++)
                for (int p = 0; p < 3; p++)
                    for (int q = 0; q < 2; q++)
                        delta[(o * 4 + i) * 9 + k] += (double)up[o * 3 + p] *
                                                      (double)mid[(p * 2 + q) * 9 + k] *
                                                      (double)down[q * 4 + i];
    check(&w, 6, 4, 9, 1.0, delta);
    end(&w);
}

static void
test_hada(void)
{
    World w;
    begin(&w, 3);
    const float *a1 = put(&w, RV_HADA_1A, 5, 2, 0, 0), *b1 = put(&w, RV_HADA_1B, 2, 12, 0, 0),
                *a2 = put(&w, RV_HADA_2A, 5, 3, 0, 0), *b2 = put(&w, RV_HADA_2B, 3, 12, 0, 0);
    put_scalar(&w, RV_LORA_ALPHA, 4.0f);
    double delta[60];
    for (int i = 0; i < 60; i++) {
        double x = 0.0, y = 0.0;
        for (int r = 0; r < 2; r++)
            x += (double)a1[i / 12 * 2 + r] * (double)b1[r * 12 + i % 12];
        for (int r = 0; r < 3; r++)
            y += (double)a2[i / 12 * 3 + r] * (double)b2[r * 12 + i % 12];
        delta[i] = x * y;
    }
    check(&w, 5, 12, 1, 2.0, delta); /* the rank is that of the first factor */
    end(&w);
}

/* a[p][o] t[p][q][k] b[q][i] */
static double
tucker(const float *a, const float *t, const float *b, int ranks[2], int out, int in, int o, int i, int k)
{
    double sum = 0.0;
    for (int p = 0; p < ranks[0]; p++)
        for (int q = 0; q < ranks[1]; q++)
            sum += (double)a[p * out + o] * (double)t[(p * ranks[1] + q) * 9 + k] * (double)b[q * in + i];
    return sum;
}

static void
test_hada_tucker(void)
{
    World w;
    begin(&w, 4);
    const float *a1 = put(&w, RV_HADA_1A, 2, 4, 0, 0), *b1 = put(&w, RV_HADA_1B, 3, 5, 0, 0),
                *t1 = put(&w, RV_HADA_T1, 2, 3, 3, 3), *a2 = put(&w, RV_HADA_2A, 2, 4, 0, 0),
                *b2 = put(&w, RV_HADA_2B, 3, 5, 0, 0), *t2 = put(&w, RV_HADA_T2, 2, 3, 3, 3);
    double delta[4 * 5 * 9];
    int ranks[] = { 2, 3 };
    for (int o = 0; o < 4; o++)
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 9; k++)
                delta[(o * 5 + i) * 9 + k] =
                    tucker(a1, t1, b1, ranks, 4, 5, o, i, k) * tucker(a2, t2, b2, ranks, 4, 5, o, i, k);
    check(&w, 4, 5, 9, 1.0, delta);
    end(&w);
}

static void
test_kron(void)
{
    World w;
    begin(&w, 5);
    const float *w1 = put(&w, RV_LOKR_1, 2, 3, 0, 0), *w2 = put(&w, RV_LOKR_2, 4, 5, 3, 3);
    put_scalar(&w, RV_LORA_ALPHA, 77.0f); /* without a rank it means nothing */
    double delta[8 * 15 * 9];
    for (int o = 0; o < 8; o++)
        for (int i = 0; i < 15; i++)
            for (int k = 0; k < 9; k++)
                delta[(o * 15 + i) * 9 + k] =
                    (double)w1[o / 4 * 3 + i / 5] * (double)w2[(o % 4 * 5 + i % 5) * 9 + k];
    check(&w, 8, 15, 9, 1.0, delta);
    end(&w);

    begin(&w, 6);
    const float *a = put(&w, RV_LOKR_1A, 2, 1, 0, 0), *b = put(&w, RV_LOKR_1B, 1, 3, 0, 0),
                *c = put(&w, RV_LOKR_2A, 4, 2, 0, 0), *d = put(&w, RV_LOKR_2B, 2, 5, 0, 0);
    put_scalar(&w, RV_LORA_ALPHA, 3.0f);
    for (int o = 0; o < 8; o++)
        for (int i = 0; i < 15; i++) {
            double second = 0.0;
            for (int r = 0; r < 2; r++)
                second += (double)c[o % 4 * 2 + r] * (double)d[r * 5 + i % 5];
            delta[o * 15 + i] = (double)a[o / 4] * (double)b[i / 5] * second;
        }
    check(&w, 8, 15, 1, 1.5, delta);
    end(&w);
}

static void
test_difference(void)
{
    World w;
    begin(&w, 7);
    const float *diff = put(&w, RV_LORA_DIFF, 6, 4, 0, 0);
    double delta[24];
    for (int i = 0; i < 24; i++)
        delta[i] = (double)diff[i];
    check(&w, 6, 4, 1, 1.0, delta);
    end(&w);
}

static void
check_dora(bool by_output)
{
    enum { OUT = 4, IN = 6 };
    World w;
    g_autoptr(GError) error = NULL;
    begin(&w, 8);
    const float *down = put(&w, RV_LORA_DOWN, 2, IN, 0, 0), *up = put(&w, RV_LORA_UP, OUT, 2, 0, 0);
    const float *magnitude =
        by_output ? put(&w, RV_LORA_DORA, OUT, 1, 0, 0) : put(&w, RV_LORA_DORA, 1, IN, 0, 0);
    float values[OUT * IN], base[OUT * IN];
    double sum[OUT * IN];
    for (int i = 0; i < OUT * IN; i++) {
        values[i] = base[i] = (float)g_rand_double_range(w.rand, -1.0, 1.0);
        sum[i] = (double)base[i];
        for (int r = 0; r < 2; r++)
            sum[i] += (double)up[i / IN * 2 + r] * (double)down[r * IN + i % IN];
    }
    g_assert_true(rv_lora_module_settle(&w.module, "test", &error));
    g_assert_true(rv_lora_module_fits(&w.module, OUT, IN, 1));
    w.module.out = OUT, w.module.in = IN, w.module.taps = 1;
    rv_lora_module_apply(&w.module, 0.5, values);
    for (int i = 0; i < OUT * IN; i++) {
        double norm = 0.0;
        int group = by_output ? i / IN : i % IN;
        for (int j = 0; j < OUT * IN; j++)
            if ((by_output ? j / IN : j % IN) == group)
                norm += sum[j] * sum[j];
        double whole = (double)magnitude[group] * sum[i] / sqrt(norm);
        g_assert_cmpfloat_with_epsilon((double)values[i], 0.5 * (double)base[i] + 0.5 * whole, 1e-5);
    }
    end(&w);
}

static void
test_dora(void)
{
    check_dora(true);
    check_dora(false);
}

static void
test_misfits(void)
{
    static const struct {
        RvLoraSlot a, b;
        gint64 shape[2][4];
    } cases[] = {
        { RV_LORA_DOWN, RV_LORA_UP, { { 3, 4 }, { 5, 2 } } },     /* ranks differ */
        { RV_LORA_DOWN, RV_LORA_ALPHA, { { 3, 4 }, { 1 } } },     /* one half */
        { RV_HADA_1A, RV_HADA_1B, { { 3, 2 }, { 2, 4 } } },       /* one factor */
        { RV_LOKR_1, RV_LOKR_2A, { { 3, 2 }, { 2, 4 } } },        /* half a second factor */
        { RV_LORA_DIFF_BIAS, RV_LORA_DOWN, { { 3 }, { 2, 4 } } }, /* fine: only the difference counts */
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        World w;
        g_autoptr(GError) error = NULL;
        begin(&w, 9);
        const gint64(*s)[4] = cases[i].shape;
        put(&w, cases[i].a, s[0][0], s[0][1], s[0][2], s[0][3]);
        put(&w, cases[i].b, s[1][0], s[1][1], s[1][2], s[1][3]);
        bool ok = rv_lora_module_settle(&w.module, "some.safetensors", &error);
        g_assert_true(ok == (i + 1 == G_N_ELEMENTS(cases)));
        if (!ok)
            g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
        end(&w);
    }
    World w;
    g_autoptr(GError) error = NULL;
    begin(&w, 10);
    put(&w, RV_LORA_DOWN, 2, 3, 0, 0);
    put(&w, RV_LORA_UP, 3, 2, 0, 0);
    put_scalar(&w, RV_LORA_ALPHA, NAN);
    g_assert_false(rv_lora_module_settle(&w.module, "some.safetensors", &error));
    end(&w);
}

/* ---- files ---- */

static bool
fill_halves(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    for (gint64 i = 0; i < count; i++)
        ((float *)to)[i] = 0.5f;
    return true;
}

static char *
write_file(const char *const *names, gsize count, const char *key, const char *value)
{
    g_autoptr(GError) error = NULL;
    RvTensorSpec specs[8];
    g_autoptr(GHashTable) metadata = g_hash_table_new(g_str_hash, g_str_equal);
    if (key != NULL)
        g_hash_table_insert(metadata, (gpointer)(guintptr)key, (gpointer)(guintptr)value);
    for (gsize i = 0; i < count; i++)
        specs[i] = (RvTensorSpec) { names[i], RV_F32, 2, { 2, 2 } };
    char *path = g_build_filename(tiny_folder, "adapter.safetensors", NULL);
    rv_safetensors_write(path, specs, count, metadata, fill_halves, NULL, &error);
    g_assert_no_error(error);
    return path;
}

static void
check_refused(const char *const *names, gsize count, RvError code, const char *word)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = write_file(names, count, NULL, NULL);
    g_assert_null(rv_lora_open(path, &error));
    g_assert_error(error, RV_ERROR, (int)code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, word));
}

static void
test_files(void)
{
    const char *none[] = { "model.weight" }, *ia3[] = { "lora_unet_x.on_input" },
               *twice[] = { "unet.a.lora_A.weight", "unet.a.lora.down.weight" };
    check_refused(none, 1, RV_ERROR_UNSUPPORTED, "no adapter");
    check_refused(ia3, 1, RV_ERROR_UNSUPPORTED, "IA3");
    check_refused(twice, 2, RV_ERROR_INVALID, "twice");

    const char *good[] = { "lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight" };
    g_autoptr(GError) error = NULL;
    g_autofree char *path = write_file(good, 2, "ss_output_name", "style");
    g_autoptr(RvLora) lora = rv_lora_open(path, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(rv_lora_alias(lora), ==, "style");
    g_autofree char *hash = rv_lora_hash(lora);
    /* sha256 of eight float32 0.5 */
    guint8 bytes[32];
    for (int i = 0; i < 8; i++)
        memcpy(bytes + 4 * i, &(float) { 0.5f }, 4);
    g_autofree char *want = g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, sizeof bytes);
    want[12] = '\0';
    g_assert_cmpstr(hash, ==, want);
    g_autofree char *stated_path = write_file(good, 2, "sshs_model_hash", "0123456789ABCDEF0123");
    g_autoptr(RvLora) stated = rv_lora_open(stated_path, &error);
    g_autofree char *stated_hash = rv_lora_hash(stated);
    g_assert_cmpstr(stated_hash, ==, "0123456789ab");
}

static void
test_no_layer(void)
{
    const char *names[] = { "lora_unet_elsewhere.lora_down.weight", "lora_unet_elsewhere.lora_up.weight" };
    g_autoptr(GError) error = NULL;
    g_autofree char *path = write_file(names, 2, NULL, NULL), *folder = tiny_make("model");
    g_autoptr(RvModel) model = rv_model_open(folder, NULL, &error);
    g_assert_no_error(error);
    g_autoptr(RvLora) lora = rv_lora_open(path, &error);
    g_assert_false(rv_lora_bind(lora, model, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    g_assert_nonnull(strstr(error->message, "lora_unet_elsewhere"));
    g_assert_cmpuint(rv_lora_unknown(lora)->len, ==, 1);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    tiny_begin();
    g_test_add_func("/lora/plain", test_plain);
    g_test_add_func("/lora/middle", test_middle);
    g_test_add_func("/lora/hada", test_hada);
    g_test_add_func("/lora/hada-tucker", test_hada_tucker);
    g_test_add_func("/lora/kron", test_kron);
    g_test_add_func("/lora/difference", test_difference);
    g_test_add_func("/lora/dora", test_dora);
    g_test_add_func("/lora/misfits", test_misfits);
    g_test_add_func("/lora/files", test_files);
    g_test_add_func("/lora/no-layer", test_no_layer);
    int result = g_test_run();
    tiny_end();
    return result;
}
