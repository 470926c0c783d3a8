/* script_upscale.c - "SD upscale": the picture is enlarged and redrawn in tiles that overlap. */
#include <math.h>
#include <string.h>

#include "server/sdapi/grid.h"
#include "server/sdapi/picture_text.h"
#include "server/sdapi/script_private.h"

#define MAX_SIDE 8192

enum { NOTE, OVERLAP, UPSCALER, SCALE };

typedef struct {
    int overlap, tile_width, tile_height;
    int width, height, columns, rows; /* of the whole */
    double scale;
    char *upscaler;
    bool is_enlarged; /* the tiles are what comes next, or is there */
} Upscale;

static void
upscale_free(gpointer data)
{
    Upscale *upscale = data;
    g_free(upscale->upscaler);
    g_free(upscale);
}

/* By name, or by number in the list that clients see. */
static char *
find_upscaler(const RvScript *script, RvRefusal *refusal)
{
    g_autofree char *text = rv_script_text(script, UPSCALER);
    const GPtrArray *names = script->input.upscalers;
    char *end;
    gint64 number = g_ascii_strtoll(text, &end, 10);
    if (end != text && *end == '\0' && number >= 0 && number < (gint64)names->len)
        return g_strdup(g_ptr_array_index(names, (guint)number));
    for (guint i = 0; i < names->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(names, i), text) == 0)
            return g_strdup(g_ptr_array_index(names, i));
    rv_refusal_set(refusal, 422, "SD upscale: there is no upscaler '%s'", text);
    return NULL;
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    JsonObject *fields = script->input.fields;
    Upscale *upscale = g_new0(Upscale, 1);
    script->data = upscale;
    upscale->overlap = (int)rv_script_number(script, OVERLAP);
    upscale->scale = rv_script_number(script, SCALE);
    upscale->tile_width = (int)rv_fields_integer(fields, "width") / 8 * 8;
    upscale->tile_height = (int)rv_fields_integer(fields, "height") / 8 * 8;
    upscale->upscaler = find_upscaler(script, refusal);
    if (upscale->upscaler == NULL)
        return false;
    if (upscale->overlap >= MIN(upscale->tile_width, upscale->tile_height)) {
        rv_refusal_set(refusal, 422, "SD upscale: tiles must be larger than their overlap");
        return false;
    }
    if (rv_fields_text(fields, "mask") != NULL) {
        rv_refusal_set(refusal, 422, "SD upscale: masks are not supported");
        return false;
    }
    rv_script_fix_seeds(fields);
    return true;
}

static const char *
start_of(const RvScript *script, RvRefusal *refusal)
{
    JsonArray *images = rv_fields_has(script->input.fields, "init_images")
                            ? json_object_get_array_member(script->input.fields, "init_images")
                            : NULL;
    if (images == NULL || json_array_get_length(images) == 0) {
        rv_refusal_set(refusal, 404, "Init image not found");
        return NULL;
    }
    return json_array_get_string_element(images, 0);
}

/* First the picture is enlarged. */
static RvStudioJob *
first(RvScript *script, RvRefusal *refusal)
{
    const Upscale *upscale = script->data;
    const char *text = start_of(script, refusal);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = text != NULL ? rv_picture_text_load(text, &error) : NULL;
    if (picture == NULL) {
        if (error != NULL)
            rv_refusal_set_picture(refusal, error);
        return NULL;
    }
    if (picture->width * upscale->scale > MAX_SIDE || picture->height * upscale->scale > MAX_SIDE) {
        rv_refusal_set(refusal, 422, "SD upscale: more than %d pixels a side", MAX_SIDE);
        return NULL;
    }
    g_autoptr(GBytes) bytes = rv_picture_text_decode(text, NULL);
    RvStudioJob *job = rv_studio_job_new(RV_STUDIO_EXTRAS);
    bool is_none = g_ascii_strcasecmp(upscale->upscaler, "None") == 0;
    rv_studio_set_text(&job->upscaler_1, is_none ? NULL : upscale->upscaler);
    job->upscaling_resize = upscale->scale;
    rv_studio_job_add_init(job, bytes);
    return job;
}

/* ---- tiles ---- */

static int
tiles_along(int size, int tile, int overlap)
{
    return size <= tile ? 1 : (size - overlap + tile - overlap - 1) / (tile - overlap);
}

static int
tile_at(int index, int count, int size, int tile)
{
    int at = count > 1 ? (int)((double)(size - tile) / (count - 1) * index) : 0;
    return MIN(at, size - tile);
}

static bool
add_tile(RvScript *script, const RvPicture *picture, int column, int row, RvRefusal *refusal)
{
    const Upscale *u = script->data;
    static const RvPictureStyle png = { RV_PICTURE_PNG, 0, false };
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) tile = rv_picture_crop(picture, tile_at(column, u->columns, u->width, u->tile_width),
                                                tile_at(row, u->rows, u->height, u->tile_height),
                                                u->tile_width, u->tile_height, &error);
    g_autofree char *text = tile != NULL ? rv_picture_text_encode(tile, &png, NULL, &error) : NULL;
    if (text == NULL) {
        rv_refusal_set(refusal, 500, "%s", error->message);
        return false;
    }
    RvScriptVariant *variant = rv_script_add_variant(script);
    JsonArray *images = json_array_new();
    json_array_add_string_element(images, text);
    json_object_set_array_member(variant->fields, "init_images", images);
    json_object_set_int_member(variant->fields, "width", u->tile_width);
    json_object_set_int_member(variant->fields, "height", u->tile_height);
    json_object_set_int_member(variant->fields, "batch_size", 1);
    json_object_set_int_member(variant->fields, "n_iter", 1);
    json_object_set_boolean_member(variant->fields, "save_images", FALSE);
    return true;
}

/* Then its tiles are redrawn, all as parts of one job. */
static RvStudioJob *
follow(RvScript *script, RvStudioResult *last, RvRefusal *refusal)
{
    Upscale *u = script->data;
    g_autoptr(GError) error = NULL;
    if (u->is_enlarged)
        return NULL;
    u->is_enlarged = true;
    g_autoptr(RvPicture) picture =
        script->pictures->len == 1 ? rv_script_picture_load(g_ptr_array_index(script->pictures, 0), &error)
                                   : NULL;
    g_ptr_array_set_size(script->pictures, 0);
    if (picture == NULL) {
        rv_refusal_set(refusal, 500, "%s", error != NULL ? error->message : "the picture was not enlarged");
        return NULL;
    }
    u->width = picture->width;
    u->height = picture->height;
    u->tile_width = MIN(u->tile_width, u->width / 8 * 8);
    u->tile_height = MIN(u->tile_height, u->height / 8 * 8);
    if (u->tile_width <= u->overlap || u->tile_height <= u->overlap) {
        rv_refusal_set(refusal, 422, "SD upscale: tiles must be larger than their overlap");
        return NULL;
    }
    u->columns = tiles_along(u->width, u->tile_width, u->overlap);
    u->rows = tiles_along(u->height, u->tile_height, u->overlap);
    for (int row = 0; row < u->rows; row++)
        for (int column = 0; column < u->columns; column++)
            if (!add_tile(script, picture, column, row, refusal))
                return NULL;
    return rv_script_job(script, refusal);
}

/* How much of a new tile shows at `place` pixels into it: rising over the overlap, but at the border all. */
static int
share_of(int place, int start, int overlap)
{
    return start == 0 || place >= overlap ? 256 : place * 256 / overlap;
}

static void
lay_tile(RvPicture *whole, const RvPicture *tile, int left, int top, int overlap)
{
    for (int y = 0; y < tile->height; y++)
        for (int x = 0; x < tile->width; x++) {
            int share = MIN(share_of(x, left, overlap), share_of(y, top, overlap));
            guint8 *to = whole->rgb + ((gsize)(top + y) * (gsize)whole->width + (gsize)(left + x)) * 3;
            const guint8 *from = tile->rgb + ((gsize)y * (gsize)tile->width + (gsize)x) * 3;
            for (int c = 0; c < 3; c++)
                to[c] = (guint8)((from[c] * share + to[c] * (256 - share)) >> 8);
        }
}

static bool
compose(RvScript *script, GPtrArray *pictures, GError **error)
{
    const Upscale *u = script->data;
    if ((int)pictures->len != u->columns * u->rows)
        return true; /* interrupted */
    g_autoptr(RvPicture) whole = rv_picture_new(u->width, u->height, false, error);
    if (whole == NULL)
        return false;
    memset(whole->rgb, 0, (gsize)u->width * (gsize)u->height * 3);
    for (guint i = 0; i < pictures->len; i++) {
        g_autoptr(RvPicture) tile = rv_script_picture_load(g_ptr_array_index(pictures, i), error);
        if (tile == NULL)
            return false;
        lay_tile(whole, tile, tile_at((int)i % u->columns, u->columns, u->width, u->tile_width),
                 tile_at((int)i / u->columns, u->rows, u->height, u->tile_height), u->overlap);
    }
    RvScriptPicture *one = g_ptr_array_index(pictures, 0);
    RvScriptPicture *made = rv_script_picture_new(whole, one->infotext, "", one->seed, error);
    if (made == NULL)
        return false;
    made->subseed = one->subseed;
    made->is_made = false;
    g_ptr_array_set_size(pictures, 0);
    g_ptr_array_add(pictures, made);
    return true;
}

static const RvScriptArgument arguments[] = {
    { "Will upscale the image by the selected scale factor; use width and height sliders to set tile size",
      "\"\"", NULL },
    { "Tile overlap", "64", NULL, 0, 256, 16 },
    { "Upscaler", "\"None\"", NULL },
    { "Scale Factor", "2.0", NULL, 1, 4, 0.05 },
    { 0 },
};
static const RvScriptInfo info = { "SD upscale", false, true, arguments };
const RvScriptClass rv_script_upscale = { &info, begin, first, follow, compose, upscale_free, true };
