/* drawer_engine.c - a model on a device: image-to-image for every frame. */
#include <math.h>
#include <string.h>

#include "engine/framer.h"
#include "server/drawer.h"

/* While another program is made beside the frames, each of them may take this much longer. */
#define LEAST_SLICE_US 2000
#define SLICE_OF_A_FRAME 0.1
/* A frame that takes longer is not drawn a second time to measure a warm one. */
#define PATIENCE_US (2 * G_USEC_PER_SEC)

typedef struct {
    RvDrawer base;
    char *name, *model, *models_dir, *vae, *device, *precision;
    int threads, wanted_width, wanted_height;
    const int *cancel;
    RvEngine *engine;
    RvPipeline *pipeline;
    RvFramer *framer;
    GQueue under_way; /* RvPicture of frames that the pipeline has drawn, FRAMED for those of the framer */
    RvPromptStore *prompts;
    RvConditioning *conditioning; /* of the last frame */
    char *conditioning_text;      /* the prompts that it was asked for */
} EngineDrawer;

static char framed;
#define FRAMED ((gpointer)&framed)

/* The conditioning of this frame's prompts; that of the last frame while they are being encoded or if they
 * cannot be. The same prompts keep the same object, so that what depends on it is not computed again. */
static bool
find_conditioning(EngineDrawer *d, const RvParameters *p, GError **error)
{
    g_autofree char *prompt = rv_parameters_prompt(p),
                    *text = g_strconcat(p->compel ? "e" : "p", prompt, NULL);
    g_autoptr(GError) wrong = NULL;
    if (g_strcmp0(text, d->conditioning_text) == 0)
        return true;
    RvConditioning *next = d->conditioning != NULL ? rv_prompt_store_get(d->prompts, p, &wrong)
                                                   : rv_prompt_store_wait(d->prompts, p, &wrong);
    if (next == NULL && d->conditioning != NULL)
        return true;
    if (next == NULL) {
        g_propagate_error(error, g_steal_pointer(&wrong));
        return false;
    }
    rv_conditioning_free(d->conditioning);
    g_free(d->conditioning_text);
    d->conditioning = next;
    d->conditioning_text = g_steal_pointer(&text);
    return true;
}

/* As the field's mirrors: diffusers' steps, at least one; no guidance, so no negative prompt. */
static bool
make_request(EngineDrawer *d, const RvPicture *frame, const RvParameters *p, RvRequest *request,
             GError **error)
{
    *request = (RvRequest) {
        .conditioning = d->conditioning,
        .width = d->base.width,
        .height = d->base.height,
        .steps = p->steps,
        .cfg_scale = 1.0,
        .seed = p->seed,
        .subseed = p->subseed,
        .subseed_strength = p->subseed_strength,
        .images = 1,
        .noise = RV_NOISE_CPU,
        .clip_skip = 1,
        .eta = -1.0,
        .diffusers = true,
        .init = frame,
        .strength = p->smooth_strength ? p->strength : MIN(MAX(p->strength, 1.0 / p->steps + 1e-9), 1.0),
        .smooth_strength = p->smooth_strength,
    };
    g_autofree char *note = NULL;
    return rv_pipeline_complete(d->pipeline, request, &note, error);
}

/* Models and settings whose frames cannot be one program are drawn step by step. */
static bool
engine_start(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    GError *wrong = NULL;
    RvRequest request;
    if (!find_conditioning(d, parameters, error) || !make_request(d, frame, parameters, &request, error))
        return false;
    if (rv_framer_start(d->framer, &request, &wrong)) {
        g_queue_push_tail(&d->under_way, FRAMED);
        return true;
    }
    if (!g_error_matches(wrong, RV_ERROR, RV_ERROR_UNSUPPORTED)) {
        g_propagate_error(error, wrong);
        return false;
    }
    g_error_free(wrong);
    g_autoptr(RvResult) result = rv_pipeline_generate(d->pipeline, &request, error);
    if (result != NULL)
        g_queue_push_tail(&d->under_way, g_steal_pointer(&result->images[0].picture));
    return result != NULL;
}

static RvPicture *
engine_finish(RvDrawer *drawer, GError **error)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    gpointer oldest = g_queue_pop_head(&d->under_way);
    return oldest == FRAMED ? rv_framer_finish(d->framer, error) : oldest;
}

static void
engine_close(RvDrawer *drawer)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    g_clear_pointer(&d->conditioning, rv_conditioning_free);
    g_clear_pointer(&d->conditioning_text, g_free);
    for (gpointer picture; (picture = g_queue_pop_head(&d->under_way)) != NULL;)
        if (picture != FRAMED)
            rv_picture_free(picture);
    g_clear_pointer(&d->framer, rv_framer_free);
    g_clear_pointer(&d->pipeline, rv_pipeline_free);
    g_clear_pointer(&d->engine, rv_engine_close);
}

static bool
engine_sleep(RvDrawer *drawer)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    return rv_engine_can_sleep(d->engine) && rv_engine_sleep(d->engine, NULL);
}

static bool
engine_wake(RvDrawer *drawer, GError **error)
{
    return rv_engine_wake(((EngineDrawer *)drawer)->engine, error);
}

static bool
engine_is_lost(RvDrawer *drawer)
{
    const EngineDrawer *d = (EngineDrawer *)drawer;
    return d->engine != NULL && rv_device_is_lost(rv_engine_device(d->engine));
}

/* The model's own size, unless one was asked for. */
static bool
find_size(EngineDrawer *d, GError **error)
{
    RvRequest request = { .width = d->wanted_width,
                          .height = d->wanted_height,
                          .images = 1,
                          .cfg_scale = 1.0,
                          .strength = -1.0,
                          .eta = -1.0,
                          .clip_skip = 1 };
    g_autofree char *note = NULL;
    if (!rv_pipeline_complete(d->pipeline, &request, &note, error))
        return false;
    d->base.width = request.width;
    d->base.height = request.height;
    return true;
}

static bool
draw_grey(EngineDrawer *d, const RvParameters *parameters, GError **error)
{
    g_autoptr(RvPicture) grey = rv_picture_new(d->base.width, d->base.height, false, error);
    if (grey == NULL)
        return false;
    memset(grey->rgb, 128, (gsize)grey->width * (gsize)grey->height * 3);
    gint64 start = g_get_monotonic_time();
    g_autoptr(RvPicture) picture =
        engine_start(&d->base, grey, parameters, error) ? engine_finish(&d->base, error) : NULL;
    d->base.expected_us = g_get_monotonic_time() - start;
    return picture != NULL;
}

/* A prompt that cannot be encoded, kept from an earlier run, must not keep the device from opening. */
static bool
draw_first(EngineDrawer *d, const RvParameters *parameters, GError **error)
{
    g_autoptr(GError) wrong = NULL;
    if (draw_grey(d, parameters, &wrong))
        return true;
    if (!g_error_matches(wrong, RV_ERROR, RV_ERROR_INVALID) &&
        !g_error_matches(wrong, RV_ERROR, RV_ERROR_USAGE)) {
        g_propagate_error(error, g_steal_pointer(&wrong));
        return false;
    }
    g_autoptr(RvState) defaults = rv_state_new(NULL, NULL);
    g_autoptr(RvParameters) usual = rv_state_snapshot(defaults, g_get_monotonic_time());
    return draw_grey(d, usual, error);
}

static bool
warm_up(EngineDrawer *d, const RvParameters *parameters, GError **error)
{
    RvDeviceInfo info;
    if (!draw_first(d, parameters, error) ||
        (d->base.expected_us < PATIENCE_US && !draw_first(d, parameters, error)))
        return false;
    rv_device_describe(rv_engine_device(d->engine), &info);
    rv_framer_set_slice(d->framer,
                        MAX((gint64)((double)d->base.expected_us * SLICE_OF_A_FRAME), LEAST_SLICE_US));
    d->base.depth = info.overlaps ? RV_STARTS_UNDER_WAY : 1;
    d->base.device_bytes = rv_pipeline_device_bytes(d->pipeline);
    return true;
}

static bool
engine_open(RvDrawer *drawer, const RvParameters *parameters, GError **error)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    RvEngineOptions engine = { d->device, d->precision, d->threads, d->cancel, false };
    RvPipelineOptions pipeline = { .vae = d->vae, .models_dir = d->models_dir };
    d->engine = rv_engine_open(&engine, error);
    if (d->engine == NULL)
        return false;
    d->pipeline = rv_pipeline_open(d->engine, d->model, &pipeline, error);
    if (d->pipeline == NULL || !find_size(d, error))
        return false;
    d->framer = rv_framer_new(d->pipeline);
    return warm_up(d, parameters, error);
}

static void
engine_free(RvDrawer *drawer)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    g_free(d->name);
    g_free(d->model);
    g_free(d->models_dir);
    g_free(d->vae);
    g_free(d->device);
    g_free(d->precision);
    g_free(d);
}

RvDrawer *
rv_drawer_engine_new(const RvEngineDrawerOptions *options)
{
    static const RvDrawerClass class = { .open = engine_open,
                                         .start = engine_start,
                                         .finish = engine_finish,
                                         .sleep = engine_sleep,
                                         .wake = engine_wake,
                                         .is_lost = engine_is_lost,
                                         .close = engine_close,
                                         .free = engine_free };
    EngineDrawer *d = g_new0(EngineDrawer, 1);
    *d = (EngineDrawer) {
        .base = { .class = &class },
        .name = g_strdup(options->name != NULL ? options->name : options->device),
        .model = g_strdup(options->model),
        .models_dir = g_strdup(options->models_dir),
        .vae = g_strdup(options->vae),
        .device = g_strdup(options->device),
        .precision = g_strdup(options->precision),
        .threads = options->threads,
        .wanted_width = options->width,
        .wanted_height = options->height,
        .cancel = options->cancel,
        .prompts = options->prompts,
    };
    d->base.name = d->name;
    return &d->base;
}
