#include "engine/framer.h"

#include <math.h>
#include <string.h>

#include "engine/frame_look.h"

#define FRAMES 4 /* programs that are kept */

/* A program and how its slots make it draw. */
typedef struct {
    char *key;
    RvProgram *program;
    RvFrameLook held; /* what the slots hold, where is_filled */
    bool is_filled;
    float coefficients[RV_FRAME_COEFFICIENTS];
} Frame;

/* A frame that was started. */
typedef struct {
    RvPicture *picture;
    float *latent;
    gsize latent_count;
    Frame *frame;
} Started;

struct RvFramer {
    RvPipeline *pipeline;
    gint64 slice_us;
    GQueue frames; /* Frame, the one in use first */
    Frame *next;   /* being made beside it */
    GQueue started;
};

RvFramer *
rv_framer_new(RvPipeline *pipeline)
{
    RvFramer *framer = g_new0(RvFramer, 1);
    framer->pipeline = pipeline;
    return framer;
}

static void
frame_free(Frame *frame)
{
    if (frame == NULL)
        return;
    rv_program_free(frame->program);
    rv_frame_look_clear(&frame->held);
    g_free(frame->key);
    g_free(frame);
}

static void
started_free(Started *started)
{
    rv_picture_free(started->picture);
    g_free(started->latent);
    g_free(started);
}

void
rv_framer_free(RvFramer *framer)
{
    if (framer == NULL)
        return;
    for (Started *started; (started = g_queue_pop_head(&framer->started)) != NULL;) {
        rv_program_finish(started->frame->program, NULL);
        started_free(started);
    }
    g_queue_clear_full(&framer->frames, (GDestroyNotify)frame_free);
    frame_free(framer->next);
    g_free(framer);
}

void
rv_framer_set_slice(RvFramer *framer, gint64 slice_us)
{
    framer->slice_us = slice_us;
}

bool
rv_framer_check(RvFramer *framer, const RvRequest *request, GError **error)
{
    RvRunSettings settings;
    RvLinearPlan plan;
    return rv_frame_look_check(framer->pipeline, request, error) &&
           rv_run_settings_init(&settings, framer->pipeline, request, error) &&
           rv_linear_plan_init(&plan, &settings.sampler, error);
}

/* ---- programs ---- */

static Frame *
find_frame(RvFramer *framer, const char *key)
{
    for (GList *link = framer->frames.head; link != NULL; link = link->next) {
        Frame *frame = link->data;
        if (strcmp(frame->key, key) != 0)
            continue;
        g_queue_unlink(&framer->frames, link);
        g_queue_push_head_link(&framer->frames, link);
        return frame;
    }
    return NULL;
}

static bool
is_under_way(const RvFramer *framer, const Frame *frame)
{
    for (GList *link = framer->started.head; link != NULL; link = link->next)
        if (((const Started *)link->data)->frame == frame)
            return true;
    return false;
}

static Frame *
frame_new(const RvFramer *framer, const RvFrameShape *shape, const char *key)
{
    Frame *frame = g_new0(Frame, 1);
    frame->key = g_strdup(key);
    frame->program = rv_frame_program_new(framer->pipeline, shape);
    return frame;
}

/* Works on the program of that shape, beside those that are ready, until `until_us`. Gives it once it is
 * ready; NULL without an error while it is not. */
static Frame *
make_frame(RvFramer *framer, const RvFrameShape *shape, const char *key, gint64 until_us, GError **error)
{
    bool is_done = false;
    if (framer->next != NULL && strcmp(framer->next->key, key) != 0)
        g_clear_pointer(&framer->next, frame_free);
    if (framer->next == NULL)
        framer->next = frame_new(framer, shape, key);
    if (!rv_program_compile_some(framer->next->program, until_us, &is_done, error)) {
        g_clear_pointer(&framer->next, frame_free);
        return NULL;
    }
    if (!is_done)
        return NULL;
    Frame *frame = g_steal_pointer(&framer->next), *last = g_queue_peek_tail(&framer->frames);
    if (framer->frames.length >= FRAMES && !is_under_way(framer, last))
        frame_free(g_queue_pop_tail(&framer->frames));
    g_queue_push_head(&framer->frames, frame);
    return frame;
}

/* The frame for a look, or, while that is being made, the one in use with the look that it has. */
static Frame *
frame_for(RvFramer *framer, RvFrameLook *look, bool waits, GError **error)
{
    g_autofree char *key = rv_frame_shape_key(&look->shape);
    Frame *frame = find_frame(framer, key), *in_use = g_queue_peek_head(&framer->frames);
    if (frame != NULL)
        return frame;
    bool can_wait = !waits && framer->slice_us > 0 && in_use != NULL && in_use->is_filled;
    GError *wrong = NULL;
    frame = make_frame(framer, &look->shape, key,
                       can_wait ? g_get_monotonic_time() + framer->slice_us : G_MAXINT64, &wrong);
    if (frame == NULL && wrong == NULL) {
        rv_frame_look_copy(look, &in_use->held);
        return in_use;
    }
    if (wrong != NULL)
        g_propagate_error(error, wrong);
    return frame;
}

/* ---- slots ---- */

/* Every output PREFIX.I of the one program into the other's input TO.I. */
static bool
copy_prepared(RvProgram *from, const char *prefix, RvProgram *to, const char *to_prefix, GError **error)
{
    for (int i = 0;; i++) {
        g_autofree char *name = g_strdup_printf("%s.%d", prefix, i),
                        *to_name = g_strdup_printf("%s.%d", to_prefix, i);
        if (rv_program_slot_bytes(from, name) == 0)
            return true;
        if (!rv_program_copy(from, name, to, to_name, error))
            return false;
    }
}

static bool
fill_texts(RvFramer *framer, Frame *frame, const RvFrameLook *look, GError **error)
{
    RvProgram *from = rv_denoiser_keys_values(
        framer->pipeline->denoiser, (const RvGuidanceTerm *)look->terms->data, (int)look->terms->len, error);
    return from != NULL && copy_prepared(from, "kv", frame->program, "kv", error);
}

static bool
fill_times(RvFramer *framer, Frame *frame, const RvFrameLook *look, GError **error)
{
    RvGuidance guidance = rv_frame_look_guidance(look, framer->pipeline);
    for (int i = 0; i < look->shape.plan.evaluations; i++) {
        g_autofree char *prefix = g_strdup_printf("t%d", i);
        RvProgram *from =
            rv_denoiser_time(framer->pipeline->denoiser, &guidance, (const RvGuidanceTerm *)look->terms->data,
                             (int)look->terms->len, look->shape.plan.timestep[i], error);
        if (from == NULL || !copy_prepared(from, "time", frame->program, prefix, error))
            return false;
    }
    return true;
}

static bool
fill_noise(RvFramer *framer, Frame *frame, const RvFrameLook *look, GError **error)
{
    g_autofree float *noise = rv_frame_look_noise(look, error);
    gsize bytes = rv_program_slot_bytes(frame->program, "noise.0");
    for (int row = 0; noise != NULL && row <= look->shape.plan.evaluations; row++) {
        g_autofree char *name = g_strdup_printf("noise.%d", row);
        if (!rv_program_write(frame->program, name, (const guint8 *)noise + (gsize)row * bytes, bytes, error))
            return false;
    }
    return noise != NULL;
}

static bool
fill_coefficients(Frame *frame, const RvFrameLook *look, GError **error)
{
    float coefficients[RV_FRAME_COEFFICIENTS] = { 0 };
    int count = rv_frame_look_coefficients(look, coefficients);
    if (frame->is_filled && memcmp(coefficients, frame->coefficients, sizeof coefficients) == 0)
        return true;
    memcpy(frame->coefficients, coefficients, sizeof coefficients);
    return rv_program_write(frame->program, "coefficients", coefficients, (gsize)count * sizeof(float),
                            error);
}

static bool
fill_factors(Frame *frame, const RvFrameLook *look, GError **error)
{
    g_autofree float *factors = g_new(float, look->terms->len);
    g_autofree guint8 *zeros = g_malloc0(rv_program_slot_bytes(frame->program, "zeros"));
    for (guint i = 0; i < look->terms->len; i++)
        factors[i] = (float)g_array_index(look->terms, RvGuidanceTerm, i).factor;
    return look->terms->len == 1 ||
           (rv_program_write(frame->program, "factors", factors, look->terms->len * sizeof *factors, error) &&
            (frame->is_filled || rv_program_write(frame->program, "zeros", zeros,
                                                  rv_program_slot_bytes(frame->program, "zeros"), error)));
}

/* Makes the frame's slots hold the look: what differs from what they hold. */
static bool
fill(RvFramer *framer, Frame *frame, const RvFrameLook *look, GError **error)
{
    const RvFrameLook *held = &frame->held;
    bool all = !frame->is_filled;
    bool ok = (!all && rv_frame_look_same_texts(held, look)) || fill_texts(framer, frame, look, error);
    ok = ok && ((!all && rv_frame_look_same_times(held, look)) || fill_times(framer, frame, look, error));
    ok = ok && ((!all && rv_frame_look_same_noise(held, look)) || fill_noise(framer, frame, look, error));
    ok = ok && fill_coefficients(frame, look, error);
    ok = ok && ((!all && rv_frame_look_same_factors(held, look)) || fill_factors(frame, look, error));
    if (ok)
        rv_frame_look_copy(&frame->held, look);
    frame->is_filled = ok;
    return ok;
}

/* The frame that draws the request, filled. */
static Frame *
settle(RvFramer *framer, const RvRequest *request, bool waits, GError **error)
{
    RvFrameLook look = { 0 };
    Frame *frame = NULL;
    if (rv_frame_look_init(&look, framer->pipeline, request, error))
        frame = frame_for(framer, &look, waits, error);
    if (frame != NULL && !fill(framer, frame, &look, error))
        frame = NULL;
    rv_frame_look_clear(&look);
    return frame;
}

/* ---- frames ---- */

bool
rv_framer_prepare(RvFramer *framer, const RvRequest *request, GError **error)
{
    return settle(framer, request, true, error) != NULL;
}

bool
rv_framer_start(RvFramer *framer, const RvRequest *request, GError **error)
{
    Frame *frame = settle(framer, request, false, error);
    if (frame == NULL)
        return false;
    const RvFrameShape *shape = &frame->held.shape;
    const RvPicture *picture = request->init;
    g_autoptr(RvPicture) fitted = NULL;
    if (picture->width != shape->width || picture->height != shape->height)
        picture = fitted = rv_picture_resize(picture, shape->width, shape->height, RV_FILTER_LANCZOS, error);
    if (picture == NULL)
        return false;
    gsize bytes = (gsize)shape->width * (gsize)shape->height * 3,
          latent = rv_program_slot_bytes(frame->program, "latent");
    Started *started = g_new0(Started, 1);
    *started = (Started) { .picture = rv_picture_new(shape->width, shape->height, false, error),
                           .latent = g_malloc(latent),
                           .latent_count = latent / sizeof(float),
                           .frame = frame };
    RvSlotBytes in = { "rgb", picture->rgb, bytes };
    if (started->picture == NULL ||
        !rv_program_start(frame->program, &in, 1,
                          (RvSlotBytes[]) { { "picture", started->picture->rgb, bytes },
                                            { "latent", started->latent, latent } },
                          2, error)) {
        started_free(started);
        return false;
    }
    g_queue_push_tail(&framer->started, started);
    return true;
}

int
rv_framer_under_way(const RvFramer *framer)
{
    return (int)framer->started.length;
}

RvPicture *
rv_framer_finish(RvFramer *framer, GError **error)
{
    Started *started = g_queue_pop_head(&framer->started);
    RvPicture *picture = NULL;
    bool is_finite = true;
    if (rv_program_finish(started->frame->program, error)) {
        for (gsize i = 0; i < started->latent_count; i++)
            is_finite &= isfinite(started->latent[i]) != 0;
        if (is_finite)
            picture = g_steal_pointer(&started->picture);
        else
            rv_error_set(error, RV_ERROR_FAILED, "UNet", "verify the model's files (reverie models verify)",
                         "the model gave numbers that are not finite");
    }
    started_free(started);
    return picture;
}

char *
rv_framer_infotext(const RvFramer *framer, const RvRequest *request)
{
    const Frame *frame = g_queue_peek_head((GQueue *)&framer->frames);
    return rv_run_infotext(framer->pipeline, request, &frame->held.settings, NULL, 0);
}

RvProgram *
rv_framer_program(const RvFramer *framer)
{
    const Frame *frame = g_queue_peek_head((GQueue *)&framer->frames);
    return frame->program;
}
