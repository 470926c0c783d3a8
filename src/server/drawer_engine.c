/* drawer_engine.c - a model on a device: image-to-image for every frame. */
#include <math.h>
#include <string.h>

#include "engine/pipeline.h"
#include "server/drawer.h"

typedef struct {
    RvDrawer base;
    char *model, *models_dir, *vae, *device, *precision;
    int threads, wanted_width, wanted_height;
    const int *cancel;
    RvEngine *engine;
    RvPipeline *pipeline;
    RvPromptStore *prompts;
    RvConditioning *conditioning; /* of the last frame */
    char *conditioning_text;      /* the prompts that it was asked for */
} EngineDrawer;

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

/* As the field's mirrors: strength not below one step; no guidance, so no negative prompt. */
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
        .init = frame,
        .strength = MIN(MAX(p->strength, 1.0 / p->steps + 1e-9), 1.0),
    };
    g_autofree char *note = NULL;
    return rv_pipeline_complete(d->pipeline, request, &note, error);
}

static RvPicture *
engine_draw(RvDrawer *drawer, const RvPicture *frame, const RvParameters *parameters, GError **error)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    RvRequest request;
    if (!find_conditioning(d, parameters, error) || !make_request(d, frame, parameters, &request, error))
        return NULL;
    g_autoptr(RvResult) result = rv_pipeline_generate(d->pipeline, &request, error);
    return result != NULL ? g_steal_pointer(&result->images[0].picture) : NULL;
}

static void
engine_close(RvDrawer *drawer)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    g_clear_pointer(&d->conditioning, rv_conditioning_free);
    g_clear_pointer(&d->conditioning_text, g_free);
    g_clear_pointer(&d->pipeline, rv_pipeline_free);
    g_clear_pointer(&d->engine, rv_engine_close);
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
warm_up(EngineDrawer *d, GError **error)
{
    g_autoptr(RvPicture) grey = rv_picture_new(d->base.width, d->base.height, false, error);
    if (grey == NULL)
        return false;
    memset(grey->rgb, 128, (gsize)grey->width * (gsize)grey->height * 3);
    g_autoptr(RvState) defaults = rv_state_new(NULL, NULL);
    g_autoptr(RvParameters) parameters = rv_state_snapshot(defaults, g_get_monotonic_time());
    g_autoptr(RvPicture) picture = engine_draw(&d->base, grey, parameters, error);
    d->base.device_bytes = rv_pipeline_device_bytes(d->pipeline);
    return picture != NULL;
}

static bool
engine_open(RvDrawer *drawer, GError **error)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
    RvEngineOptions engine = { d->device, d->precision, d->threads, d->cancel };
    RvPipelineOptions pipeline = { .vae = d->vae, .models_dir = d->models_dir };
    d->engine = rv_engine_open(&engine, error);
    if (d->engine == NULL)
        return false;
    d->pipeline = rv_pipeline_open(d->engine, d->model, &pipeline, error);
    return d->pipeline != NULL && find_size(d, error) && warm_up(d, error);
}

static void
engine_free(RvDrawer *drawer)
{
    EngineDrawer *d = (EngineDrawer *)drawer;
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
    static const RvDrawerClass class = { engine_open, engine_draw, engine_close, engine_free };
    EngineDrawer *d = g_new0(EngineDrawer, 1);
    *d = (EngineDrawer) {
        .base = { .class = &class },
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
    d->base.name = d->device;
    return &d->base;
}
