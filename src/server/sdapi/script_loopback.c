/* script_loopback.c - "Loopback": each picture is the next one's start. */
#include <math.h>
#include <string.h>

#include "server/sdapi/grid.h"
#include "server/sdapi/script_private.h"

enum { LOOPS, FINAL_STRENGTH, CURVE, APPEND };

typedef struct {
    int loops, batches, curve;
    int done; /* jobs that have ended */
    double first, last;
} Loopback;

/* From the request's strength to the final one along the curve. */
static double
strength_at(const Loopback *loop, int index)
{
    double progress = loop->loops > 1 ? (double)index / (loop->loops - 1) : 0.0;
    if (loop->curve == 0)
        progress = sin(progress * G_PI_2);
    else if (loop->curve == 2)
        progress = 1.0 - cos(progress * G_PI_2);
    return loop->loops > 1 ? loop->first + (loop->last - loop->first) * progress : loop->first;
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    JsonObject *fields = script->input.fields;
    int curve = rv_script_choice(script, CURVE, refusal);
    if (curve < 0)
        return false;
    if (rv_script_choice(script, APPEND, refusal) != 0) {
        rv_refusal_set(refusal, 422, "Loopback: this server has no model that describes pictures");
        return false;
    }
    Loopback *loop = g_new0(Loopback, 1);
    script->data = loop;
    loop->loops = (int)rv_script_number(script, LOOPS);
    loop->batches = (int)rv_fields_integer(fields, "n_iter");
    loop->curve = curve;
    loop->first = rv_fields_number(fields, "denoising_strength", 0.75);
    loop->last = rv_script_number(script, FINAL_STRENGTH);
    rv_script_fix_seeds(fields);
    RvScriptVariant *variant = rv_script_add_variant(script);
    json_object_set_int_member(variant->fields, "batch_size", 1);
    json_object_set_int_member(variant->fields, "n_iter", 1);
    return true;
}

static void
set_start(RvScriptVariant *variant, const RvScriptPicture *picture)
{
    gsize size;
    const guchar *data = g_bytes_get_data(picture->bytes, &size);
    g_autofree char *text = g_base64_encode(data, size);
    JsonArray *images = json_array_new();
    json_array_add_string_element(images, text);
    json_object_set_array_member(variant->fields, "init_images", images);
    json_object_set_int_member(variant->fields, "inpainting_fill", 1); /* what was drawn stays */
}

static RvStudioJob *
follow(RvScript *script, RvStudioResult *last, RvRefusal *refusal)
{
    Loopback *loop = script->data;
    loop->done++;
    if (loop->done >= loop->loops * loop->batches || script->pictures->len == 0)
        return NULL;
    RvScriptVariant *variant = g_ptr_array_index(script->variants, 0);
    const RvScriptPicture *picture = g_ptr_array_index(script->pictures, script->pictures->len - 1);
    int index = loop->done % loop->loops;
    if (index == 0) { /* the next batch begins with the request's own picture */
        JsonNode *images = json_object_get_member(script->input.fields, "init_images");
        json_object_set_member(variant->fields, "init_images", json_node_copy(images));
    } else if (picture->bytes == NULL) {
        rv_refusal_set(refusal, 500, "a picture's file is gone");
        return NULL;
    } else {
        set_start(variant, picture);
    }
    json_object_set_int_member(variant->fields, "seed", picture->seed + 1);
    json_object_set_double_member(variant->fields, "denoising_strength", strength_at(loop, index));
    return rv_script_job(script, refusal);
}

/* A row for each batch, before the pictures. */
static bool
compose(RvScript *script, GPtrArray *pictures, GError **error)
{
    const Loopback *loop = script->data;
    guint count = pictures->len, loops = (guint)loop->loops;
    if (loops < 2)
        return true;
    for (guint batch = 0; (batch + 1) * loops <= count; batch++) {
        g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
        const RvScriptPicture *first = g_ptr_array_index(pictures, batch + batch * loops);
        for (guint i = 0; i < loops; i++) {
            RvPicture *cell =
                rv_script_picture_load(g_ptr_array_index(pictures, batch + batch * loops + i), error);
            if (cell == NULL)
                return false;
            g_ptr_array_add(cells, cell);
        }
        g_autoptr(RvPicture) row = rv_grid_new(cells, (int)loops, 0, error);
        RvScriptPicture *made =
            row != NULL ? rv_script_picture_new(row, first->infotext, "grid", first->seed, error) : NULL;
        if (made == NULL)
            return false;
        g_ptr_array_insert(pictures, (int)batch, made);
    }
    return true;
}

static const char *const curves[] = { "Aggressive", "Linear", "Lazy", NULL }, *const appends[] = {
    "None", "CLIP", "DeepBooru", NULL
};
static const RvScriptArgument arguments[] = {
    { "Loops", "4", NULL, 1, 32, 1 },
    { "Final denoising strength", "0.5", NULL, 0, 1, 0.01 },
    { "Denoising strength curve", "\"Linear\"", curves },
    { "Append interrogated prompt at each iteration", "\"None\"", appends },
    { 0 },
};
static const RvScriptInfo info = { "Loopback", false, true, arguments };
const RvScriptClass rv_script_loopback = { &info, begin, NULL, follow, compose, g_free, false };
