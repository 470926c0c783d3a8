/* Pictures of a trained model, the built-in one, in fp8 against fp16, on a GPU that has both: every layer
 * that can be multiplies 8-bit floats, however small it is. */
#include <math.h>

#include "engine/pipeline.h"

/* dB. When the CPU multiplied such numbers, these four pictures were 28.8, 33.7, 40.7 and 32.3 away. */
#define LEAST_PSNR 25.0
#define SIZE 256

static const char *const prompts[] = { "a red fox", "a lake at dawn", "a portrait of a woman",
                                       "a bowl of fruit" };

typedef struct {
    int linear, conv;
} Counted;

static void
on_op(const RvOp *op, double seconds, void *user)
{
    Counted *counted = user;
    counted->linear += op->kind == RV_OP_LINEAR && op->factors == RV_F8_E4M3;
    counted->conv += op->kind == RV_OP_CONV2D && op->factors == RV_F8_E4M3;
}

static RvResult *
draw(RvPipeline *pipeline, int index)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *note = NULL;
    RvRequest request = { .prompt = prompts[index],
                          .width = SIZE,
                          .height = SIZE,
                          .steps = 6,
                          .cfg_scale = -1.0,
                          .seed = (guint64)index + 1,
                          .images = 1,
                          .eta = -1.0,
                          .strength = -1.0 };
    rv_pipeline_complete(pipeline, &request, &note, &error);
    g_assert_no_error(error);
    RvResult *result = rv_pipeline_generate(pipeline, &request, &error);
    g_assert_no_error(error);
    return result;
}

static RvPipeline *
open_mini(const char *precision, RvEngine **engine)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *path = g_test_build_filename(G_TEST_DIST, "..", "models", "mini", NULL);
    RvEngineOptions options = { .device = "cuda", .precision = precision, .fp8 = RV_FP8_EACH };
    *engine = rv_engine_open(&options, &error);
    if (*engine == NULL)
        return NULL;
    RvPipeline *pipeline = rv_pipeline_open(*engine, path, &(RvPipelineOptions) { 0 }, &error);
    g_assert_no_error(error);
    return pipeline;
}

static double
psnr(const RvResult *a, const RvResult *b)
{
    const RvPicture *x = a->images[0].picture, *y = b->images[0].picture;
    double squares = 0.0;
    for (gsize i = 0; i < (gsize)3 * SIZE * SIZE; i++)
        squares += pow((double)x->rgb[i] - (double)y->rgb[i], 2.0);
    return squares > 0.0 ? 10.0 * log10(255.0 * 255.0 * 3.0 * SIZE * SIZE / squares) : 99.0;
}

static void
test_pictures(void)
{
    RvEngine *plain_engine = NULL, *engine = NULL;
    RvPipeline *plain = open_mini("fp16", &plain_engine);
    RvPipeline *pipeline = plain != NULL ? open_mini("fp8", &engine) : NULL;
    if (pipeline == NULL) {
        g_test_skip("no GPU with fp8");
        rv_pipeline_free(plain);
        rv_engine_close(plain_engine);
        return;
    }
    for (int i = 0; i < (int)G_N_ELEMENTS(prompts); i++) {
        g_autoptr(RvResult) want = draw(plain, i);
        g_autoptr(RvResult) got = draw(pipeline, i);
        double decibels = psnr(got, want);
        g_test_message("%s: %.1f dB", prompts[i], decibels);
        g_assert_cmpfloat(decibels, >=, LEAST_PSNR);
        g_assert_cmpfloat(decibels, <, 60.0); /* something was rounded */
    }
    Counted counted = { 0 };
    rv_device_set_observer(rv_engine_device(engine), on_op, &counted);
    g_autoptr(RvResult) observed = draw(pipeline, 0);
    g_test_message("runs in fp8: %d linear layers, %d convolutions", counted.linear, counted.conv);
    g_assert_cmpint(counted.linear, >, 0);
    g_assert_cmpint(counted.conv, >, 0);
    rv_pipeline_free(pipeline);
    rv_engine_close(engine);
    rv_pipeline_free(plain);
    rv_engine_close(plain_engine);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fp8/pictures", test_pictures);
    return g_test_run();
}
