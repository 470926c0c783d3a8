/* Frames as one program against the same pictures from the pipeline, which asks the sampler between
 * evaluations. */
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/framer.h"
#include "golden.h"
#include "sampling/linear.h"
#include "sampling/names.h"

typedef struct {
    RvEngine *engine;
    RvPipeline *pipeline;
    RvFramer *framer;
    RvPicture *camera;
} World;

static RvPicture *
camera_picture(int width, int height)
{
    RvPicture *picture = rv_picture_new(width, height, false, NULL);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                picture->rgb[((gsize)y * (gsize)width + (gsize)x) * 3 + (gsize)c] =
                    (guint8)((x * (c + 3) + (y / 8 % 2) * 70 + (x * y) % 19) & 255);
    return picture;
}

static World
open_path(const char *path, const char *vae, const char *tokenizer, int width, int height)
{
    g_autoptr(GError) error = NULL;
    World w = { .camera = camera_picture(width, height) };
    w.engine = rv_engine_open(&(RvEngineOptions) { .device = "cpu", .threads = 1 }, &error);
    g_assert_no_error(error);
    w.pipeline =
        rv_pipeline_open(w.engine, path, &(RvPipelineOptions) { .vae = vae, .tokenizer = tokenizer }, &error);
    g_assert_no_error(error);
    w.framer = rv_framer_new(w.pipeline);
    return w;
}

static World
open_world(const char *model, const char *vae, int width, int height)
{
    g_autofree char *path = strcmp(model, "mini") == 0
                                ? g_test_build_filename(G_TEST_DIST, "..", "models", "mini", NULL)
                                : golden_path(model);
    return open_path(path, vae, NULL, width, height);
}

static void
close_world(World *w)
{
    rv_framer_free(w->framer);
    rv_pipeline_free(w->pipeline);
    rv_engine_close(w->engine);
    rv_picture_free(w->camera);
}

static RvRequest
request_of(const World *w)
{
    return (RvRequest) { .prompt = "a lighthouse in the fog",
                         .width = w->camera->width,
                         .height = w->camera->height,
                         .steps = 2,
                         .cfg_scale = 1.0,
                         .seed = 11,
                         .images = 1,
                         .clip_skip = 1,
                         .eta = -1.0,
                         .init = w->camera,
                         .strength = 0.7 };
}

static RvPicture *
framed(World *w, const RvRequest *request)
{
    g_autoptr(GError) error = NULL;
    rv_framer_start(w->framer, request, &error);
    g_assert_no_error(error);
    RvPicture *picture = rv_framer_finish(w->framer, &error);
    g_assert_no_error(error);
    return picture;
}

static RvPicture *
generated(World *w, const RvRequest *request)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(RvResult) result = rv_pipeline_generate(w->pipeline, request, &error);
    g_assert_no_error(error);
    return g_steal_pointer(&result->images[0].picture);
}

static int
largest_gap(const RvPicture *a, const RvPicture *b)
{
    int gap = 0;
    g_assert_cmpint(a->width, ==, b->width);
    g_assert_cmpint(a->height, ==, b->height);
    for (gsize i = 0; i < (gsize)a->width * (gsize)a->height * 3; i++)
        gap = MAX(gap, ABS(a->rgb[i] - b->rgb[i]));
    return gap;
}

static void
expect_same(World *w, const RvRequest *request)
{
    g_autoptr(RvPicture) one = framed(w, request), other = generated(w, request);
    g_assert_cmpint(largest_gap(one, other), <=, 1);
}

static void
test_every_sampler(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 40, 32);
    int drawn = 0;
    for (int kind = 0; kind < RV_SAMPLER_COUNT; kind++)
        for (int steps = 1; steps <= 4; steps++)
            for (double strength = 0.5; strength <= 1.0; strength += 0.5) {
                RvRequest request = request_of(&w);
                g_autoptr(GError) error = NULL;
                request.sampler = rv_sampler_info((RvSamplerKind)kind)->name;
                request.steps = steps;
                request.strength = strength;
                if (!rv_framer_check(w.framer, &request, &error)) {
                    g_test_message("%s, %d steps, %g: %s", request.sampler, steps, strength, error->message);
                    g_assert_true(g_error_matches(error, RV_ERROR, RV_ERROR_USAGE) ||
                                  kind == RV_SAMPLER_RESTART);
                    continue;
                }
                g_test_message("%s, %d steps, %g", request.sampler, steps, strength);
                expect_same(&w, &request);
                drawn++;
            }
    g_assert_cmpint(drawn, >, 20 * 6);
    close_world(&w);
}

static void
check_model(const char *model, const char *vae, int width, int height)
{
    World w = open_world(model, vae, width, height);
    RvRequest request = request_of(&w);
    expect_same(&w, &request);
    request.seed = 12;
    request.subseed = 5;
    request.subseed_strength = 0.25;
    expect_same(&w, &request);
    request.prompt = "two cats, (on a roof:1.3)";
    request.steps = 3;
    expect_same(&w, &request);
    request.sampler = "euler_a";
    request.noise_seed_delta = 31337;
    request.seed_width = 64;
    request.seed_height = 80;
    request.s_noise = 1.1;
    expect_same(&w, &request);
    request.a1111 = true;
    request.sampler = "dpmpp_sde";
    expect_same(&w, &request);
    request.sampler = "heun";
    request.s_churn = 5.0;
    expect_same(&w, &request);
    request = request_of(&w);
    request.cfg_scale = 3.5;
    request.negative_prompt = "blurry";
    expect_same(&w, &request);
    request.prompt = "a red cube AND a blue sphere :0.7";
    expect_same(&w, &request);
    request.cfg_scale = 1.0;
    request.sampler = "lcm";
    request.noise = RV_NOISE_NV;
    expect_same(&w, &request);
    close_world(&w);
}

static void
test_models(void)
{
    check_model("reference/tiny-sd15", NULL, 64, 64);
    check_model("reference/tiny-sd15", NULL, 96, 40);
    check_model("reference/tiny-sd21", NULL, 64, 64);
    check_model("reference/tiny-sdxl", NULL, 64, 96);
    check_model("reference/tiny-sdxl", "taesd", 128, 64);
    check_model("mini", NULL, 128, 192);
}

/* A mirror's frames of a single file are those of the folder whose scheduler is as the published one: two
 * steps at 0.7 are one evaluation. A1111's two stay for whoever does not ask. */
static void
test_single_file(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *file = golden_path("reference/tiny-sdxl.safetensors"),
                    *tokenizer = golden_path("reference/tiny-sdxl/tokenizer"),
                    *folder = g_dir_make_tmp("reverie-XXXXXX", &error),
                    *turbo = g_build_filename(folder, "tiny-sdxl-turbo.safetensors", NULL);
    g_assert_cmpint(symlink(file, turbo), ==, 0);
    World single = open_path(turbo, NULL, tokenizer, 64, 64),
          whole = open_world("reference/tiny-sdxl", NULL, 64, 64);
    RvRequest request = request_of(&single), same = request_of(&whole);
    request.diffusers = true;
    same.sampler = "euler_a";
    same.schedule = "trailing";
    g_autoptr(RvResult) frame = rv_pipeline_generate(single.pipeline, &request, &error);
    g_autoptr(RvResult) want = rv_pipeline_generate(whole.pipeline, &same, &error);
    request.diffusers = false;
    g_autoptr(RvResult) a1111 = rv_pipeline_generate(single.pipeline, &request, &error);
    g_assert_no_error(error);
    g_assert_cmpint(frame->evaluations, ==, 1);
    g_assert_cmpint(want->evaluations, ==, 1);
    g_assert_cmpint(a1111->evaluations, ==, 2);
    g_assert_cmpint(largest_gap(frame->images[0].picture, want->images[0].picture), <=, 1);
    request.diffusers = true;
    expect_same(&single, &request);
    close_world(&single);
    close_world(&whole);
    g_remove(turbo);
    g_rmdir(folder);
}

/* Prompt, strength and seed change from frame to frame, with a frame always under way. */
static void
test_two_under_way(void)
{
    World w = open_world("reference/tiny-sdxl", "taesd", 64, 64);
    static const char *const prompts[] = { "a hill", "a hill", "a tree", "a hill", "a lake" };
    RvRequest requests[5];
    for (int i = 0; i < 5; i++) {
        requests[i] = request_of(&w);
        requests[i].prompt = prompts[i];
        requests[i].seed = (guint64)(i / 2);
        requests[i].steps = 2 + i / 3; /* 1 and 2 evaluations */
        requests[i].strength = 0.6 + 0.05 * i;
        requests[i].smooth_strength = true;
    }
    g_autoptr(GError) error = NULL;
    for (int i = 0; i <= 5; i++) {
        if (i < 5)
            g_assert_true(rv_framer_start(w.framer, &requests[i], &error));
        g_assert_cmpint(rv_framer_under_way(w.framer), ==, i == 0 || i == 5 ? 1 : 2);
        if (i == 0)
            continue;
        g_autoptr(RvPicture) picture = rv_framer_finish(w.framer, &error);
        g_autoptr(RvPicture) want = generated(&w, &requests[i - 1]);
        g_assert_cmpint(largest_gap(picture, want), <=, 1);
    }
    g_assert_true(rv_framer_start(w.framer, &requests[0], &error)); /* freed while it is under way */
    close_world(&w);
}

/* Another number of evaluations is prepared beside the frames, which keep their settings meanwhile. */
static void
test_changes_beside_the_frames(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    RvRequest before = request_of(&w), after = before;
    after.steps = 4;
    after.prompt = "a tree";
    rv_framer_set_slice(w.framer, 300);
    g_autoptr(RvPicture) old = generated(&w, &before), new = generated(&w, &after),
                         first = framed(&w, &before);
    g_assert_cmpint(largest_gap(old, new), >, 8);
    g_assert_cmpint(largest_gap(first, old), <=, 1); /* nothing to show meanwhile: at once */
    int kept = 0;
    for (int i = 0; i < 5000; i++) {
        g_autoptr(RvPicture) picture = framed(&w, &after);
        if (largest_gap(picture, new) <= 1)
            break;
        g_assert_cmpint(largest_gap(picture, old), <=, 1);
        kept++;
    }
    g_assert_cmpint(kept, >, 3);
    g_assert_cmpint(kept, <, 5000);
    g_autoptr(RvPicture) again = framed(&w, &before); /* kept: at once */
    g_assert_cmpint(largest_gap(again, old), <=, 1);
    RvRequest third = before;
    third.steps = 6;
    g_autoptr(GError) error = NULL;
    g_assert_true(rv_framer_prepare(w.framer, &third, &error)); /* waits */
    expect_same(&w, &third);
    close_world(&w);
}

/* More shapes than are kept, each right whenever it comes. */
static void
test_many_shapes(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    for (int round = 0; round < 2; round++)
        for (int steps = 1; steps <= 6; steps++) {
            RvRequest request = request_of(&w);
            request.steps = steps;
            request.strength = 1.0;
            expect_same(&w, &request);
        }
    close_world(&w);
}

/* LoRAs change weights in place: what was prepared with the old ones is not used with the new. */
static void
test_loras(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    g_autofree char *path = golden_path("reference/tiny-sd15/lora.safetensors");
    RvLoraUse lora = { .name = path, .text_weight = 1.0, .unet_weight = 1.0 };
    RvRequest plain = request_of(&w), with = plain;
    with.loras = &lora;
    with.lora_count = 1;
    g_autoptr(RvPicture) first = framed(&w, &plain), changed = framed(&w, &with);
    g_assert_cmpint(largest_gap(first, changed), >, 8);
    expect_same(&w, &with);
    g_autoptr(RvPicture) back = framed(&w, &plain);
    g_assert_cmpint(largest_gap(first, back), ==, 0);
    close_world(&w);
}

static void
expect_refusal(World *w, const RvRequest *request)
{
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_framer_start(w->framer, request, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_UNSUPPORTED);
}

static void
test_refusals(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    g_autoptr(GError) error = NULL;
    RvRequest request = request_of(&w);
    request.init = NULL;
    expect_refusal(&w, &request);
    g_assert_false(rv_framer_check(w.framer, &request, NULL));
    request = request_of(&w);
    request.images = 2;
    expect_refusal(&w, &request);
    request = request_of(&w);
    RvMask *mask = rv_mask_new(64, 64, NULL);
    request.mask = mask;
    expect_refusal(&w, &request);
    rv_mask_free(mask);
    request = request_of(&w);
    request.sampler = "euler";
    request.steps = RV_LINEAR_EVALUATIONS + 1;
    request.strength = 1.0;
    expect_refusal(&w, &request);
    request.steps = RV_LINEAR_EVALUATIONS;
    expect_same(&w, &request);
    request.prompt = "[a hill:a lake:0.5]";
    expect_refusal(&w, &request);
    request = request_of(&w);
    request.strength = 0.1;
    g_assert_false(rv_framer_start(w.framer, &request, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
    request = request_of(&w);
    expect_same(&w, &request); /* all that left no trace */
    close_world(&w);
}

static void
test_numbers_that_are_not_finite(void)
{
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    g_autoptr(GError) error = NULL;
    RvRequest request = request_of(&w);
    request.cfg_scale = 1e39;
    g_assert_true(rv_framer_start(w.framer, &request, &error));
    g_assert_null(rv_framer_finish(w.framer, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_FAILED);
    request.cfg_scale = 1.0;
    expect_same(&w, &request);
    close_world(&w);
}

static void
test_errors_of_the_device(void)
{
    int cancel = 0;
    World w = open_world("reference/tiny-sd15", NULL, 64, 64);
    RvRequest request = request_of(&w);
    g_autoptr(GError) error = NULL;
    expect_same(&w, &request);
    cancel = 1;
    rv_device_set_cancel(rv_engine_device(w.engine), &cancel);
    request.prompt = "a bridge"; /* in the middle of filling the slots */
    g_assert_false(rv_framer_start(w.framer, &request, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_CANCELLED);
    g_assert_cmpint(rv_framer_under_way(w.framer), ==, 0);
    rv_device_set_cancel(rv_engine_device(w.engine), NULL);
    expect_same(&w, &request);
    close_world(&w);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/frame/samplers", test_every_sampler);
    g_test_add_func("/frame/models", test_models);
    g_test_add_func("/frame/single-file", test_single_file);
    g_test_add_func("/frame/two-under-way", test_two_under_way);
    g_test_add_func("/frame/changes-beside", test_changes_beside_the_frames);
    g_test_add_func("/frame/many-shapes", test_many_shapes);
    g_test_add_func("/frame/loras", test_loras);
    g_test_add_func("/frame/refusals", test_refusals);
    g_test_add_func("/frame/not-finite", test_numbers_that_are_not_finite);
    g_test_add_func("/frame/device-errors", test_errors_of_the_device);
    return g_test_run();
}
