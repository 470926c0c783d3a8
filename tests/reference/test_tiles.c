/* Pictures worked in tiles against the same pictures in one piece. */
#include <math.h>

#include "engine/autoencoder.h"
#include "golden.h"
#include "weights/model.h"

typedef struct {
    RvModel *model;
    RvPart part;
} Source;

static bool
find(void *self, const char *name, int rank, const gint64 *shape, RvArray *out, GError **error)
{
    const Source *source = self;
    return rv_model_get(source->model, source->part, name, rank, shape, out, error);
}

static double
psnr(const guint8 *a, const guint8 *b, gsize count)
{
    double sum = 0.0;
    for (gsize i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum == 0.0 ? INFINITY : 10.0 * log10(255.0 * 255.0 * (double)count / sum);
}

/* A soft picture: what lies beyond a tile's overlap matters little for it, as for photographs. */
static guint8 *
soft_picture(int width, int height)
{
    guint8 *rgb = g_malloc((gsize)width * (gsize)height * 3);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                rgb[((gsize)y * (gsize)width + (gsize)x) * 3 + (gsize)c] = (guint8)lrint(
                    127.5 + 80.0 * sin(x / (19.0 + c)) * cos(y / (23.0 - c)) + 40.0 * sin((x + y) / 61.0));
    return rgb;
}

static void
check_tiles(const char *relative, RvPart part, bool tiling, int tile, int width, int height,
            double encode_bound, double decode_bound)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = golden_path(relative);
    g_autoptr(RvModel) model = rv_model_open_part(path, part, &error);
    g_assert_no_error(error);
    g_autoptr(RvEngine) engine = rv_engine_open(&(RvEngineOptions) { .device = "cpu" }, &error);
    g_assert_no_error(error);
    Source source = { model, part };
    RvAutoencoder *a = rv_autoencoder_new(engine, rv_model_vae_config(model), rv_model_taesd_config(model),
                                          (RvWeightSource) { find, NULL, &source }, RV_F32);
    rv_autoencoder_set_tiling(a, tiling);
    gsize count = (gsize)rv_autoencoder_channels(a) * (gsize)(width / 8) * (gsize)(height / 8);
    g_autofree guint8 *rgb = soft_picture(width, height);
    g_autofree float *whole = g_new(float, count), *tiled = g_new(float, count);
    g_assert_true(rv_autoencoder_encode(a, rgb, width, height, whole, &error));
    g_autoptr(RvPicture) whole_picture = rv_autoencoder_decode(a, whole, width, height, &error);
    g_assert_no_error(error);
    rv_autoencoder_set_limit(a, 40 * 1000, tile);
    g_assert_true(rv_autoencoder_encode(a, rgb, width, height, tiled, &error));
    g_autoptr(RvPicture) tiled_picture = rv_autoencoder_decode(a, whole, width, height, &error);
    g_assert_no_error(error);
    double sum = 0.0, gap = 0.0;
    for (gsize i = 0; i < count; i++) {
        sum += whole[i] * whole[i];
        gap += (whole[i] - tiled[i]) * (whole[i] - tiled[i]);
    }
    double decoded = psnr(whole_picture->rgb, tiled_picture->rgb, (gsize)width * (gsize)height * 3);
    g_test_message("%s: encoding differs by %.2e, decoding by %.1f dB", relative, sqrt(gap / sum), decoded);
    g_assert_cmpfloat(sqrt(gap / sum), <, encode_bound);
    g_assert_cmpfloat(sqrt(gap / sum), >, 0.0); /* it was tiled */
    g_assert_cmpfloat(decoded, >, decode_bound);
    rv_autoencoder_free(a);
}

/* TAESD comes in one width only, and that is slow here: tiles in one direction must do. */
static void
test_taesd(void)
{
    check_tiles("reference/tiny-sdxl/taesd", RV_PART_TAESD, false, 0, 808, 64, 1e-2, 45.0);
}

/* At the picture's edges tiles see the other edge, as the whole does. */
static void
test_seamless(void)
{
    check_tiles("reference/tiny-sdxl/taesd", RV_PART_TAESD, true, 72, 392, 120, 1e-2, 45.0);
}

/* Norms and the mid block's attention see one tile only, and with random weights that matters far more than
 * in a trained decoder: these bounds notice a tile in the wrong place, not a soft seam. */
static void
test_vae(void)
{
    check_tiles("reference/tiny-sd15/vae", RV_PART_VAE, false, 48, 416, 392, 0.3, 20.0);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/reference/tiles/taesd", test_taesd);
    g_test_add_func("/reference/tiles/seamless", test_seamless);
    g_test_add_func("/reference/tiles/vae", test_vae);
    return g_test_run();
}
