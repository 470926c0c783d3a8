/* script_outpaint.c - "Outpainting mk2": the picture grows by a strip on one side after the other, each
 * filled with noise that is like the picture (media/outpaint_noise.h) and redrawn. */
#include <string.h>

#include "media/outpaint_noise.h"
#include "server/sdapi/grid.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/script_private.h"

#define STEP 64 /* A1111's: sizes in work are multiples of this */
#define MAX_SIDE 4096

enum { NOTE, PIXELS, MASK_BLUR, DIRECTION, FALLOFF, VARIATION };
enum { LEFT, RIGHT, UP, DOWN, SIDES };
static const char *const side_names[SIDES + 1] = { "left", "right", "up", "down", NULL };

typedef struct {
    int width, height;     /* the request's: what is redrawn is no larger */
    int grow[SIDES], blur; /* pixels; blur: of the mask, on the sides that grow */
    int count, batches;    /* pictures at a time; times */
    int batch, side;       /* in work */
    GPtrArray *start;      /* RvPicture: one, the request's */
    GPtrArray *pictures;   /* RvPicture: with the strip in work, at sizes that are multiples of STEP */
    int whole_w, whole_h;  /* what is kept of them */
    int left, top;         /* where in them the redrawn part lies */
    gint64 seed;
    GPtrArray *finished; /* RvScriptPicture */
} Outpaint;

static void
outpaint_free(gpointer data)
{
    Outpaint *o = data;
    g_ptr_array_unref(o->start);
    g_clear_pointer(&o->pictures, g_ptr_array_unref);
    g_ptr_array_unref(o->finished);
    g_free(o);
}

static GPtrArray *
new_pictures(void)
{
    return g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
}

/* ---- arguments ---- */

/* A list of sides, or one. */
static bool
read_sides(const RvScript *script, bool *grows, RvRefusal *refusal)
{
    g_autoptr(JsonArray) own = json_array_new();
    JsonNode *given = rv_script_argument(script, DIRECTION);
    JsonArray *list = given != NULL && JSON_NODE_HOLDS_ARRAY(given) ? json_node_get_array(given) : own;
    if (given != NULL && JSON_NODE_HOLDS_VALUE(given))
        json_array_add_element(own, json_node_copy(given));
    for (int side = 0; side < SIDES; side++)
        grows[side] = given == NULL;
    for (guint i = 0; i < json_array_get_length(list); i++) {
        JsonNode *item = json_array_get_element(list, i);
        const char *name = JSON_NODE_HOLDS_VALUE(item) ? json_node_get_string(item) : NULL;
        int side = 0;
        while (side < SIDES && g_strcmp0(name, side_names[side]) != 0)
            side++;
        if (side == SIDES) {
            rv_refusal_set(refusal, 422, "Outpainting direction: left, right, up, down");
            return false;
        }
        grows[side] = true;
    }
    return true;
}

/* The strips of an axis together bring it to a multiple of STEP. */
static void
share_out(Outpaint *o, int size, int first, int second, int pixels, const bool *grows)
{
    int before = grows[first] ? pixels : 0, after = grows[second] ? pixels : 0;
    int extra = (size + before + after + STEP - 1) / STEP * STEP - size;
    o->grow[first] = before > 0 ? before * extra / (before + after) : 0;
    o->grow[second] = after > 0 ? extra - o->grow[first] : 0;
}

static RvPicture *
load_start(const RvScript *script, RvRefusal *refusal)
{
    JsonArray *images = rv_fields_has(script->input.fields, "init_images")
                            ? json_object_get_array_member(script->input.fields, "init_images")
                            : NULL;
    g_autoptr(GError) error = NULL;
    if (images == NULL || json_array_get_length(images) == 0) {
        rv_refusal_set(refusal, 404, "Init image not found");
        return NULL;
    }
    RvPicture *picture = rv_picture_text_load(json_array_get_string_element(images, 0), &error);
    if (picture == NULL)
        rv_refusal_set_picture(refusal, error);
    return picture;
}

static bool
check_sizes(const Outpaint *o, const RvPicture *picture, RvRefusal *refusal)
{
    int width = picture->width + o->grow[LEFT] + o->grow[RIGHT],
        height = picture->height + o->grow[UP] + o->grow[DOWN];
    for (int side = 0; side < SIDES; side++)
        if (o->grow[side] > 0 && o->grow[side] + o->blur >= (side < UP ? o->width : o->height)) {
            rv_refusal_set(refusal, 422, "Outpainting: width and height must be larger than the strips");
            return false;
        }
    if (width > MAX_SIDE || height > MAX_SIDE) {
        rv_refusal_set(refusal, 422, "Outpainting: more than %d pixels a side", MAX_SIDE);
        return false;
    }
    return true;
}

/* The next side that grows, from `side` on; SIDES: none. */
static int
next_side(const Outpaint *o, int side)
{
    while (side < SIDES && o->grow[side] == 0)
        side++;
    return side;
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    JsonObject *fields = script->input.fields;
    Outpaint *o = g_new0(Outpaint, 1);
    bool grows[SIDES];
    script->data = o;
    o->start = new_pictures();
    o->finished = g_ptr_array_new_with_free_func(rv_script_picture_free);
    RvPicture *picture = load_start(script, refusal);
    if (picture == NULL || !read_sides(script, grows, refusal)) {
        rv_picture_free(picture);
        return false;
    }
    g_ptr_array_add(o->start, picture);
    int pixels = (int)rv_script_number(script, PIXELS);
    share_out(o, picture->width, LEFT, RIGHT, pixels, grows);
    share_out(o, picture->height, UP, DOWN, pixels, grows);
    o->blur = (int)rv_script_number(script, MASK_BLUR);
    o->width = (int)rv_fields_integer(fields, "width") / 8 * 8;
    o->height = (int)rv_fields_integer(fields, "height") / 8 * 8;
    o->count = (int)rv_fields_integer(fields, "batch_size");
    o->batches = (int)rv_fields_integer(fields, "n_iter");
    o->side = next_side(o, 0);
    if (o->side == SIDES) {
        rv_refusal_set(refusal, 422, "Outpainting: no side is to grow");
        return false;
    }
    rv_script_fix_seeds(fields);
    o->seed = rv_fields_integer(fields, "seed");
    return check_sizes(o, picture, refusal);
}

/* ---- one strip ---- */

/* A black rectangle on white. */
static RvPicture *
new_mask(int width, int height, int left, int top, int right, int bottom)
{
    RvPicture *mask = rv_picture_new(width, height, false, NULL);
    for (int y = 0; mask != NULL && y < height; y++)
        for (int x = 0; x < width; x++) {
            bool is_known = x >= left && x < right && y >= top && y < bottom;
            memset(mask->rgb + ((gsize)y * (gsize)width + (gsize)x) * 3, is_known ? 0 : 255, 3);
        }
    return mask;
}

/* What is known of a picture of this size, `inset` mask blurs away from the strip. */
static RvPicture *
mask_of(const Outpaint *o, int width, int height, int inset)
{
    int away = o->grow[o->side] + inset * o->blur;
    return new_mask(width, height, o->side == LEFT ? away : 0, o->side == UP ? away : 0,
                    o->side == RIGHT ? width - away : o->whole_w,
                    o->side == DOWN ? height - away : o->whole_h);
}

static void
paste(RvPicture *whole, const RvPicture *part, int left, int top)
{
    int width = MIN(part->width, whole->width - left), height = MIN(part->height, whole->height - top);
    for (int y = 0; y < height; y++)
        memcpy(whole->rgb + ((gsize)(top + y) * (gsize)whole->width + (gsize)left) * 3,
               part->rgb + (gsize)y * (gsize)part->width * 3, (gsize)width * 3);
}

/* The picture with the strip, in noise. */
static RvPicture *
grown(const RvScript *script, const RvPicture *picture, const RvPicture *mask, GError **error)
{
    const Outpaint *o = script->data;
    RvPicture *whole = rv_picture_new(mask->width, mask->height, false, error);
    if (whole == NULL)
        return NULL;
    gsize count = (gsize)mask->width * (gsize)mask->height;
    g_autofree guint8 *unknown = g_new(guint8, count);
    memset(whole->rgb, 0, count * 3);
    for (gsize i = 0; i < count; i++)
        unknown[i] = mask->rgb[3 * i];
    paste(whole, picture, o->side == LEFT ? o->grow[LEFT] : 0, o->side == UP ? o->grow[UP] : 0);
    if (rv_outpaint_noise(whole, unknown, rv_script_number(script, FALLOFF),
                          rv_script_number(script, VARIATION), error))
        return whole;
    rv_picture_free(whole);
    return NULL;
}

static bool
add_text(JsonArray *list, const RvPicture *picture, GError **error)
{
    static const RvPictureStyle png = { RV_PICTURE_PNG, 0, false };
    g_autofree char *text = rv_picture_text_encode(picture, &png, NULL, error);
    if (text != NULL)
        json_array_add_string_element(list, text);
    return text != NULL;
}

/* The part of the grown pictures that is redrawn: the strip's side of them. */
static JsonArray *
parts_of(Outpaint *o, int width, int height, GError **error)
{
    g_autoptr(JsonArray) list = json_array_new();
    for (guint i = 0; i < o->pictures->len; i++) {
        g_autoptr(RvPicture) part =
            rv_picture_crop(g_ptr_array_index(o->pictures, i), o->left, o->top, width, height, error);
        if (part == NULL || !add_text(list, part, error))
            return NULL;
    }
    return g_steal_pointer(&list);
}

static bool
set_masks(const Outpaint *o, JsonObject *fields, const RvPicture *mask, int width, int height, GError **error)
{
    g_autoptr(JsonArray) texts = json_array_new();
    g_autoptr(RvPicture) part = rv_picture_crop(mask, o->left, o->top, width, height, error),
                         latent = mask_of(o, width, height, 2);
    if (part == NULL || latent == NULL || !add_text(texts, part, error) || !add_text(texts, latent, error))
        return false;
    json_object_set_string_member(fields, "mask", json_array_get_string_element(texts, 0));
    json_object_set_string_member(fields, "latent_mask", json_array_get_string_element(texts, 1));
    json_object_set_null_member(fields, "mask_blur");
    json_object_set_int_member(fields, "mask_blur_x", o->grow[LEFT] + o->grow[RIGHT] > 0 ? 4 * o->blur : 0);
    json_object_set_int_member(fields, "mask_blur_y", o->grow[UP] + o->grow[DOWN] > 0 ? 4 * o->blur : 0);
    json_object_set_int_member(fields, "inpainting_mask_invert", 0);
    json_object_set_int_member(fields, "inpainting_fill", 1);
    json_object_set_boolean_member(fields, "inpaint_full_res", FALSE);
    return true;
}

static bool
set_strip(RvScript *script, GPtrArray *from, JsonObject *fields, GError **error)
{
    Outpaint *o = script->data;
    const RvPicture *first = g_ptr_array_index(from, 0);
    bool is_wide = o->side < UP;
    o->whole_w = first->width + (is_wide ? o->grow[o->side] : 0);
    o->whole_h = first->height + (is_wide ? 0 : o->grow[o->side]);
    int all_w = (o->whole_w + STEP - 1) / STEP * STEP, all_h = (o->whole_h + STEP - 1) / STEP * STEP;
    int width = is_wide ? MIN(o->width, o->whole_w) / 8 * 8 : all_w,
        height = is_wide ? all_h : MIN(o->height, o->whole_h) / 8 * 8;
    g_autoptr(RvPicture) mask = mask_of(o, all_w, all_h, 1);
    g_autoptr(GPtrArray) pictures = new_pictures();
    o->left = o->side == RIGHT ? all_w - width : 0;
    o->top = o->side == DOWN ? all_h - height : 0;
    for (int i = 0; mask != NULL && i < o->count; i++) {
        RvPicture *picture =
            grown(script, g_ptr_array_index(from, MIN((guint)i, from->len - 1)), mask, error);
        if (picture == NULL)
            return false;
        g_ptr_array_add(pictures, picture);
    }
    g_clear_pointer(&o->pictures, g_ptr_array_unref);
    o->pictures = g_steal_pointer(&pictures);
    JsonArray *parts = mask != NULL ? parts_of(o, width, height, error) : NULL;
    if (parts == NULL)
        return false;
    json_object_set_array_member(fields, "init_images", parts);
    json_object_set_int_member(fields, "width", width);
    json_object_set_int_member(fields, "height", height);
    json_object_set_int_member(fields, "n_iter", 1);
    json_object_set_int_member(fields, "seed", o->seed + (gint64)o->batch * o->count);
    json_object_set_boolean_member(fields, "save_images", FALSE);
    return set_masks(o, fields, mask, width, height, error);
}

static RvStudioJob *
strip(RvScript *script, GPtrArray *from, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    g_ptr_array_set_size(script->variants, 0);
    RvScriptVariant *variant = rv_script_add_variant(script);
    if (set_strip(script, from, variant->fields, &error))
        return rv_script_job(script, refusal);
    rv_refusal_set(refusal, 503, "%s", error != NULL ? error->message : "out of memory");
    return NULL;
}

static RvStudioJob *
first(RvScript *script, RvRefusal *refusal)
{
    const Outpaint *o = script->data;
    return strip(script, o->start, refusal);
}

/* ---- what was drawn ---- */

/* Into the grown pictures, which are then cut to their size. False with a refusal. */
static bool
take_drawn(Outpaint *o, const RvStudioResult *result, RvRefusal *refusal)
{
    g_autoptr(GPtrArray) cut = new_pictures();
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < o->pictures->len && i < result->pictures->len; i++) {
        const RvStudioPicture *drawn = g_ptr_array_index(result->pictures, i);
        RvScriptPicture file = { .bytes = drawn->bytes };
        g_autoptr(RvPicture) part = drawn->bytes != NULL ? rv_script_picture_load(&file, &error) : NULL;
        if (part == NULL)
            break;
        paste(g_ptr_array_index(o->pictures, i), part, o->left, o->top);
        RvPicture *whole =
            rv_picture_crop(g_ptr_array_index(o->pictures, i), 0, 0, o->whole_w, o->whole_h, &error);
        if (whole == NULL)
            break;
        g_ptr_array_add(cut, whole);
    }
    if (cut->len < o->pictures->len) {
        rv_refusal_set(refusal, 500, "%s", error != NULL ? error->message : "a picture's file is gone");
        return false;
    }
    g_ptr_array_unref(o->pictures);
    o->pictures = g_steal_pointer(&cut);
    return true;
}

static bool
finish_batch(Outpaint *o, const RvStudioResult *result, RvRefusal *refusal)
{
    g_autoptr(GError) error = NULL;
    for (guint i = 0; i < o->pictures->len; i++) {
        const RvStudioPicture *drawn = g_ptr_array_index(result->pictures, i);
        RvScriptPicture *made = rv_script_picture_new(g_ptr_array_index(o->pictures, i), drawn->infotext, "",
                                                      drawn->seed, &error);
        if (made == NULL) {
            rv_refusal_set(refusal, 503, "%s", error->message);
            return false;
        }
        made->subseed = drawn->subseed;
        made->is_made = false;
        g_ptr_array_add(o->finished, made);
    }
    return true;
}

static RvStudioJob *
follow(RvScript *script, RvStudioResult *last, RvRefusal *refusal)
{
    Outpaint *o = script->data;
    if (!take_drawn(o, last, refusal))
        return NULL;
    o->side = next_side(o, o->side + 1);
    if (o->side < SIDES) {
        g_autoptr(GPtrArray) from = g_ptr_array_ref(o->pictures);
        return strip(script, from, refusal);
    }
    if (!finish_batch(o, last, refusal))
        return NULL;
    o->side = next_side(o, 0);
    return ++o->batch < o->batches ? strip(script, o->start, refusal) : NULL;
}

/* The whole pictures; those of an interrupted run as far as it came. */
static bool
compose(RvScript *script, GPtrArray *pictures, GError **error)
{
    Outpaint *o = script->data;
    if (o->finished->len == 0)
        return true;
    g_ptr_array_set_size(pictures, 0);
    while (o->finished->len > 0)
        g_ptr_array_add(pictures, g_ptr_array_steal_index(o->finished, 0));
    if (pictures->len < 2)
        return true;
    g_autoptr(GPtrArray) cells = new_pictures();
    for (guint i = 0; i < pictures->len; i++) {
        RvPicture *cell = rv_script_picture_load(g_ptr_array_index(pictures, i), error);
        if (cell == NULL)
            return false;
        g_ptr_array_add(cells, cell);
    }
    const RvScriptPicture *one = g_ptr_array_index(pictures, 0);
    g_autoptr(RvPicture) grid =
        rv_grid_new(cells, rv_grid_columns_as((int)cells->len, o->count, script->input.options), 0, error);
    RvScriptPicture *made =
        grid != NULL ? rv_script_picture_new(grid, one->infotext, "grid", one->seed, error) : NULL;
    if (made != NULL)
        g_ptr_array_insert(pictures, 0, made);
    return made != NULL;
}

static const RvScriptArgument arguments[] = {
    { "Recommended settings: Sampling Steps: 80-100, Sampler: Euler a, Denoising strength: 0.8", "\"\"",
      NULL },
    { "Pixels to expand", "128", NULL, 8, 256, 8 },
    { "Mask blur", "8", NULL, 0, 64, 1 },
    { "Outpainting direction", "[\"left\",\"right\",\"up\",\"down\"]", side_names },
    { "Fall-off exponent (lower=higher detail)", "1.0", NULL, 0, 4, 0.01 },
    { "Color variation", "0.05", NULL, 0, 1, 0.01 },
    { 0 },
};
static const RvScriptInfo info = { "Outpainting mk2", false, true, arguments };
const RvScriptClass rv_script_outpaint = { &info, begin, first, follow, compose, outpaint_free, true };
