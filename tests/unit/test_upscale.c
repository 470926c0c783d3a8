/* Upscaling networks against naive loops in float64, under each spelling of their names; latents against
 * numbers that torch gives. */
#include <math.h>
#include <string.h>

#include <glib/gstdio.h>

#include "engine/latent_resize.h"
#include "engine/upscale.h"
#include "engine/upscaler_file.h"
#include "weights/safetensors.h"

#define FEATURES 6
#define GROWTH 4

typedef struct {
    GPtrArray *names; /* BasicSR's */
    GArray *specs;
    GHashTable *numbers; /* name -> float * */
    GRand *rand;
} Weights;

static void
add(Weights *w, const char *name, int rank, gint64 a, gint64 b, gint64 k, double size)
{
    RvTensorSpec spec = { g_strdup(name), RV_F32, rank, { a, b, k, k } };
    gsize count = (gsize)(a * MAX(b, 1) * MAX(k * k, 1));
    float *numbers = g_new(float, count);
    for (gsize i = 0; i < count; i++)
        numbers[i] = (float)g_rand_double_range(w->rand, -size, size);
    g_array_append_val(w->specs, spec);
    g_hash_table_insert(w->numbers, g_strdup(name), numbers);
}

static void
add_conv(Weights *w, const char *name, int in, int out)
{
    g_autofree char *weight = g_strconcat(name, ".weight", NULL), *bias = g_strconcat(name, ".bias", NULL);
    add(w, weight, 4, out, in, 3, 1.0 / sqrt(3.0 * in));
    add(w, bias, 1, out, 0, 0, 0.1);
}

static Weights *
weights_new(void)
{
    Weights *w = g_new0(Weights, 1);
    w->specs = g_array_new(FALSE, TRUE, sizeof(RvTensorSpec));
    w->numbers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    w->rand = g_rand_new_with_seed(5);
    return w;
}

static void
weights_free(Weights *w)
{
    for (guint i = 0; i < w->specs->len; i++)
        g_free((char *)(guintptr)g_array_index(w->specs, RvTensorSpec, i).name);
    g_array_unref(w->specs);
    g_hash_table_unref(w->numbers);
    g_rand_free(w->rand);
    g_free(w);
}

static Weights *
make_rrdb(int fold, int ups)
{
    Weights *w = weights_new();
    add_conv(w, "conv_first", 3 * fold * fold, FEATURES);
    for (int r = 1; r <= 3; r++)
        for (int c = 1; c <= 5; c++) {
            g_autofree char *name = g_strdup_printf("body.0.rdb%d.conv%d", r, c);
            add_conv(w, name, FEATURES + (c - 1) * GROWTH, c < 5 ? GROWTH : FEATURES);
        }
    add_conv(w, "conv_body", FEATURES, FEATURES);
    for (int i = 1; i <= ups; i++) {
        g_autofree char *name = g_strdup_printf("conv_up%d", i);
        add_conv(w, name, FEATURES, FEATURES);
    }
    add_conv(w, "conv_hr", FEATURES, FEATURES);
    add_conv(w, "conv_last", FEATURES, 3);
    return w;
}

static bool
fill(void *user, gsize index, gint64 first, gint64 count, void *to, GError **error)
{
    const Weights *w = user;
    const char *name = g_ptr_array_index(w->names, index);
    memcpy(to, (const float *)g_hash_table_lookup(w->numbers, name) + first, (gsize)count * sizeof(float));
    return true;
}

static void
write_weights(Weights *w, const char *path, char *(*spell)(const char *name))
{
    g_autoptr(GError) error = NULL;
    g_autofree RvTensorSpec *specs = g_memdup2(w->specs->data, w->specs->len * sizeof *specs);
    g_autoptr(GPtrArray) spelt = g_ptr_array_new_with_free_func(g_free);
    w->names = g_ptr_array_new();
    for (guint i = 0; i < w->specs->len; i++) {
        g_ptr_array_add(w->names, (gpointer)(guintptr)specs[i].name);
        g_ptr_array_add(spelt, spell(specs[i].name));
        specs[i].name = g_ptr_array_index(spelt, i);
    }
    rv_safetensors_write(path, specs, w->specs->len, NULL, fill, w, &error);
    g_assert_no_error(error);
    g_ptr_array_unref(w->names);
}

/* ---- the naive network: planes [c][h][w] in float64 ---- */

typedef struct {
    int c, h, w;
    double *v;
} Planes;

static Planes
planes(int c, int h, int w)
{
    return (Planes) { c, h, w, g_new0(double, (gsize)(c * h * w)) };
}

static double
at(const Planes *p, int c, int y, int x)
{
    return y < 0 || x < 0 || y >= p->h || x >= p->w ? 0.0 : p->v[(c * p->h + y) * p->w + x];
}

static Planes
conv(const Weights *w, const char *name, Planes x, bool free_x)
{
    g_autofree char *weight = g_strconcat(name, ".weight", NULL), *bias = g_strconcat(name, ".bias", NULL);
    const float *k = g_hash_table_lookup(w->numbers, weight), *b = g_hash_table_lookup(w->numbers, bias);
    int out = 0;
    for (guint i = 0; i < w->specs->len; i++)
        if (strcmp(g_array_index(w->specs, RvTensorSpec, i).name, weight) == 0)
            out = (int)g_array_index(w->specs, RvTensorSpec, i).shape[0];
    Planes y = planes(out, x.h, x.w);
    for (int o = 0; o < out; o++)
        for (int r = 0; r < x.h; r++)
            for (int s = 0; s < x.w; s++) {
                double sum = (double)b[o];
                for (int i = 0; i < x.c; i++)
                    for (int dy = 0; dy < 3; dy++)
                        for (int dx = 0; dx < 3; dx++)
                            sum += (double)k[((o * x.c + i) * 3 + dy) * 3 + dx] *
                                   at(&x, i, r + dy - 1, s + dx - 1);
                y.v[(o * y.h + r) * y.w + s] = sum;
            }
    if (free_x)
        g_free(x.v);
    return y;
}

static Planes
leaky(Planes x)
{
    for (int i = 0; i < x.c * x.h * x.w; i++)
        x.v[i] = x.v[i] > 0.0 ? x.v[i] : 0.2 * x.v[i];
    return x;
}

static Planes
joined(Planes a, Planes b)
{
    Planes y = planes(a.c + b.c, a.h, a.w);
    memcpy(y.v, a.v, sizeof(double) * (gsize)(a.c * a.h * a.w));
    memcpy(y.v + a.c * a.h * a.w, b.v, sizeof(double) * (gsize)(b.c * b.h * b.w));
    g_free(a.v);
    g_free(b.v);
    return y;
}

static Planes
copy(Planes x)
{
    return (Planes) { x.c, x.h, x.w, g_memdup2(x.v, sizeof(double) * (gsize)(x.c * x.h * x.w)) };
}

static void
add_scaled(Planes to, Planes from, double factor)
{
    for (int i = 0; i < to.c * to.h * to.w; i++)
        to.v[i] = factor * to.v[i] + from.v[i];
}

static Planes
naive_rrdb(const Weights *w, Planes x, int ups)
{
    Planes first = conv(w, "conv_first", x, true), y = copy(first);
    for (int r = 1; r <= 3; r++) {
        Planes all = copy(y);
        for (int c = 1; c <= 5; c++) {
            g_autofree char *name = g_strdup_printf("body.0.rdb%d.conv%d", r, c);
            Planes next = conv(w, name, all, c == 5);
            all = c < 5 ? joined(all, leaky(next)) : next;
        }
        add_scaled(all, y, 0.2);
        g_free(y.v);
        y = all;
    }
    add_scaled(y, first, 0.2);
    y = conv(w, "conv_body", y, true);
    add_scaled(y, first, 1.0);
    g_free(first.v);
    for (int u = 1; u <= ups; u++) {
        Planes big = planes(y.c, 2 * y.h, 2 * y.w);
        for (int c = 0; c < y.c; c++)
            for (int r = 0; r < big.h; r++)
                for (int s = 0; s < big.w; s++)
                    big.v[(c * big.h + r) * big.w + s] = at(&y, c, r / 2, s / 2);
        g_free(y.v);
        g_autofree char *name = g_strdup_printf("conv_up%d", u);
        y = leaky(conv(w, name, big, true));
    }
    return conv(w, "conv_last", leaky(conv(w, "conv_hr", y, true)), true);
}

/* ---- comparison ---- */

static RvPicture *
make_picture(int width, int height)
{
    g_autoptr(GError) error = NULL;
    RvPicture *p = rv_picture_new(width, height, false, &error);
    for (int i = 0; i < 3 * width * height; i++)
        p->rgb[i] = (guint8)(i * 37 % 256);
    return p;
}

/* [3 * fold^2] planes of the picture, in torch's order. */
static Planes
folded(const RvPicture *p, int fold)
{
    Planes x = planes(3 * fold * fold, p->height / fold, p->width / fold);
    for (int k = 0; k < x.c; k++)
        for (int r = 0; r < x.h; r++)
            for (int s = 0; s < x.w; s++)
                x.v[(k * x.h + r) * x.w + s] =
                    p->rgb[3 * ((r * fold + k / fold % fold) * p->width + s * fold + k % fold) +
                           k / (fold * fold)] /
                    255.0;
    return x;
}

static void
compare(const char *path, const RvPicture *picture, int scale, const Planes *want)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvEngine) engine = rv_engine_open(&(RvEngineOptions) { .device = "cpu", .threads = 1 }, &error);
    g_assert_no_error(error);
    RvUpscalers *upscalers = rv_upscalers_new(engine, NULL);
    g_autoptr(RvPicture) out =
        rv_upscalers_run(upscalers, picture, path, picture->width * scale, picture->height * scale, &error);
    g_assert_no_error(error);
    int worst = 0;
    for (int y = 0; y < out->height; y++)
        for (int x = 0; x < out->width; x++)
            for (int c = 0; c < 3; c++) {
                double value = CLAMP(at(want, c, y, x), 0.0, 1.0) * 255.0;
                worst = MAX(worst, abs((int)lrint(value) - out->rgb[3 * (y * out->width + x) + c]));
            }
    g_assert_cmpint(worst, <=, 1);
    rv_upscalers_free(upscalers);
}

static char *
as_it_is(const char *name)
{
    return g_strdup(name);
}

static char *
wrapped(const char *name)
{
    return g_strconcat("params_ema.", name, NULL);
}

static char *
between(const char *name)
{
    g_autoptr(GString) text = g_string_new(name);
    g_string_replace(text, "conv_body", "trunk_conv", 0);
    g_string_replace(text, "body.", "RRDB_trunk.", 0);
    g_string_replace(text, "rdb", "RDB", 0);
    g_string_replace(text, "conv_up", "upconv", 0);
    g_string_replace(text, "conv_hr", "HRconv", 0);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* One block, two doublings: modules 0, 1.sub, 3, 6, 8, 10. */
static char *
old(const char *name)
{
    static const char *const pairs[][2] = { { "conv_first.", "model.0." }, { "conv_body.", "model.1.sub.1." },
                                            { "conv_up1.", "model.3." },   { "conv_up2.", "model.6." },
                                            { "conv_hr.", "model.8." },    { "conv_last.", "model.10." } };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++)
        if (g_str_has_prefix(name, pairs[i][0]))
            return g_strconcat(pairs[i][1], name + strlen(pairs[i][0]), NULL);
    g_autoptr(GString) text = g_string_new(name);
    g_string_replace(text, "body.", "model.1.sub.", 0);
    g_string_replace(text, "rdb", "RDB", 0);
    g_string_replace(text, ".weight", ".0.weight", 0);
    g_string_replace(text, ".bias", ".0.bias", 0);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *folder, *file;

static void
test_rrdb(void)
{
    static char *(*const spellings[])(const char *) = { as_it_is, wrapped, between, old };
    Weights *w = make_rrdb(1, 2);
    g_autoptr(RvPicture) picture = make_picture(9, 7);
    Planes want = naive_rrdb(w, folded(picture, 1), 2);
    for (gsize i = 0; i < G_N_ELEMENTS(spellings); i++) {
        write_weights(w, file, spellings[i]);
        compare(file, picture, 4, &want);
    }
    g_free(want.v);
    weights_free(w);
}

static void
test_folded(void)
{
    Weights *w = make_rrdb(2, 2);
    g_autoptr(RvPicture) picture = make_picture(10, 8);
    Planes want = naive_rrdb(w, folded(picture, 2), 2);
    write_weights(w, file, as_it_is);
    compare(file, picture, 2, &want);
    g_free(want.v);
    weights_free(w);
}

static void
test_compact(void)
{
    Weights *w = weights_new();
    add_conv(w, "body.0", 3, FEATURES);
    add(w, "body.1.weight", 1, FEATURES, 0, 0, 0.5);
    add_conv(w, "body.2", FEATURES, FEATURES);
    add(w, "body.3.weight", 1, FEATURES, 0, 0, 0.5);
    add_conv(w, "body.4", FEATURES, 12);
    write_weights(w, file, wrapped);
    g_autoptr(RvPicture) picture = make_picture(9, 7);
    Planes x = folded(picture, 1), y = conv(w, "body.0", x, false);
    for (int i = 1; i < 4; i += 2) {
        g_autofree char *slopes_name = g_strdup_printf("body.%d.weight", i),
                        *name = g_strdup_printf("body.%d", i + 1);
        const float *slopes = g_hash_table_lookup(w->numbers, slopes_name);
        for (int j = 0; j < y.c * y.h * y.w; j++)
            y.v[j] = y.v[j] > 0.0 ? y.v[j] : (double)slopes[j / (y.h * y.w)] * y.v[j];
        y = conv(w, name, y, true);
    }
    Planes want = planes(3, 14, 18);
    for (int c = 0; c < 3; c++)
        for (int r = 0; r < 14; r++)
            for (int s = 0; s < 18; s++)
                want.v[(c * 14 + r) * 18 + s] =
                    at(&y, c * 4 + r % 2 * 2 + s % 2, r / 2, s / 2) + at(&x, c, r / 2, s / 2);
    compare(file, picture, 2, &want);
    g_free(x.v);
    g_free(y.v);
    g_free(want.v);
    weights_free(w);
}

/* Tiles of a picture larger than one give what the whole would: this network looks 16 pixels far at the most.
 */
static void
test_tiles(void)
{
    Weights *w = weights_new();
    add_conv(w, "body.0", 3, 4);
    add(w, "body.1.weight", 1, 4, 0, 0, 0.5);
    add_conv(w, "body.2", 4, 3);
    write_weights(w, file, as_it_is);
    g_autoptr(RvPicture) picture = make_picture(230, 200);
    Planes x = folded(picture, 1), y = conv(w, "body.0", x, false);
    const float *slopes = g_hash_table_lookup(w->numbers, "body.1.weight");
    for (int j = 0; j < y.c * y.h * y.w; j++)
        y.v[j] = y.v[j] > 0.0 ? y.v[j] : (double)slopes[j / (y.h * y.w)] * y.v[j];
    Planes want = conv(w, "body.2", y, true);
    add_scaled(want, x, 1.0);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvEngine) engine = rv_engine_open(&(RvEngineOptions) { .device = "cpu", .threads = 1 }, &error);
    RvUpscalers *upscalers = rv_upscalers_new(engine, NULL);
    /* a factor of 1 runs once for a picture that must grow by a pixel; the rest is Lanczos */
    g_autoptr(RvPicture) out = rv_upscalers_run(upscalers, picture, file, 231, 200, &error);
    g_autoptr(RvPicture) expected = rv_picture_new(230, 200, false, &error);
    for (int i = 0; i < 230 * 200; i++)
        for (int c = 0; c < 3; c++)
            expected->rgb[3 * i + c] = (guint8)lrint(CLAMP(want.v[c * 230 * 200 + i], 0.0, 1.0) * 255.0);
    g_autoptr(RvPicture) resized = rv_picture_resize(expected, 231, 200, RV_FILTER_LANCZOS, &error);
    for (int i = 0; i < 3 * 231 * 200; i++)
        g_assert_cmpint(abs(out->rgb[i] - resized->rgb[i]), <=, 2);
    rv_upscalers_free(upscalers);
    g_free(x.v);
    g_free(want.v);
    weights_free(w);
}

static void
test_refused(void)
{
    g_autoptr(GError) error = NULL;
    Weights *w = weights_new();
    add_conv(w, "other", 3, 3);
    write_weights(w, file, as_it_is);
    g_assert_null(rv_upscaler_file_open(file, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
    g_clear_error(&error);
    add_conv(w, "body.0", 3, 4);
    add_conv(w, "body.2", 4, 7); /* no multiple of three colours */
    write_weights(w, file, as_it_is);
    g_assert_null(rv_upscaler_file_open(file, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
    weights_free(w);
}

/* torch.nn.functional.interpolate of [0, 1, 4, 9] to six: computed by its documented formulas with half-pixel
 * centres, cubic with a = -0.75. */
static void
test_latents(void)
{
    const float line[] = { 0, 1, 4, 9 };
    float out[6];
    static const double linear[] = { 0, 0.5, 1.5, 3.5, 6.5, 9 };
    rv_latent_resize(line, 1, 1, 4, 1, 6, RV_LATENT_BILINEAR, out);
    for (int i = 0; i < 6; i++)
        g_assert_cmpfloat_with_epsilon((double)out[i], linear[i], 1e-5);
    static const double nearest[] = { 0, 0, 1, 4, 4, 9 }, exact[] = { 0, 1, 1, 4, 9, 9 };
    rv_latent_resize(line, 1, 1, 4, 1, 6, RV_LATENT_NEAREST, out);
    for (int i = 0; i < 6; i++)
        g_assert_cmpfloat((double)out[i], ==, nearest[i]);
    rv_latent_resize(line, 1, 1, 4, 1, 6, RV_LATENT_NEAREST_EXACT, out);
    for (int i = 0; i < 6; i++)
        g_assert_cmpfloat((double)out[i], ==, exact[i]);
    const float flat[] = { 3, 3, 3, 3, 3, 3 };
    float large[5 * 7];
    for (int mode = RV_LATENT_BILINEAR; mode <= RV_LATENT_NEAREST_EXACT; mode++) {
        rv_latent_resize(flat, 1, 2, 3, 5, 7, (RvLatentMode)mode, large);
        for (int i = 0; i < 35; i++)
            g_assert_cmpfloat_with_epsilon((double)large[i], 3.0, 1e-5);
    }
    RvLatentMode mode;
    g_assert_true(rv_latent_mode_parse("latent (Bicubic)", &mode) && mode == RV_LATENT_BICUBIC);
    g_assert_false(rv_latent_mode_parse("Lanczos", &mode));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    folder = g_dir_make_tmp("upscale-XXXXXX", NULL);
    file = g_build_filename(folder, "net.safetensors", NULL);
    g_test_add_func("/upscale/rrdb", test_rrdb);
    g_test_add_func("/upscale/folded", test_folded);
    g_test_add_func("/upscale/compact", test_compact);
    g_test_add_func("/upscale/tiles", test_tiles);
    g_test_add_func("/upscale/refused", test_refused);
    g_test_add_func("/upscale/latents", test_latents);
    int result = g_test_run();
    g_remove(file);
    g_rmdir(folder);
    g_free(file);
    g_free(folder);
    return result;
}
