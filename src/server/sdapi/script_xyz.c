/* script_xyz.c - "X/Y/Z plot": a run for every point of a grid of up to three axes. */
#include <string.h>

#include "media/infotext.h"
#include "server/sdapi/grid.h"
#include "server/sdapi/script_private.h"
#include "server/sdapi/xyz_axes.h"

enum {
    TYPE, /* of X; three arguments an axis: type, values, values of a dropdown */
    VALUES,
    DROPDOWN,
    LEGEND = 9,
    LONE,
    SUB_GRIDS,
    RANDOM_SEEDS,
    VARY_X,
    VARY_Y,
    VARY_Z,
    MARGIN,
};

typedef struct {
    const RvAxis *axis;
    char *text; /* as it was given */
    char **values;
    int count;
} Line;

typedef struct {
    Line lines[3]; /* x, y, z */
    bool legend, lone, sub_grids, fixes_seeds;
    int margin;
} Plot;

#define MAX_MEGAPIXELS 200.0 /* of a grid, A1111's limit */

static void
plot_free(gpointer data)
{
    Plot *plot = data;
    for (int i = 0; i < 3; i++) {
        g_strfreev(plot->lines[i].values);
        g_free(plot->lines[i].text);
    }
    g_free(plot);
}

/* A dropdown's list stands in for the text. */
static char *
values_text(const RvScript *script, guint line)
{
    JsonNode *list = rv_script_argument(script, 3 * line + DROPDOWN);
    if (list == NULL || !JSON_NODE_HOLDS_ARRAY(list) || json_array_get_length(json_node_get_array(list)) == 0)
        return rv_script_text(script, 3 * line + VALUES);
    GString *text = g_string_new(NULL);
    JsonArray *array = json_node_get_array(list);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *item = json_array_get_element(array, i);
        if (json_node_get_value_type(item) == G_TYPE_STRING)
            g_string_append_printf(text, "%s\"%s\"", i > 0 ? "," : "", json_node_get_string(item));
    }
    return g_string_free(text, FALSE);
}

static bool
is_seeds(const RvAxis *axis)
{
    return g_strcmp0(axis->field, "seed") == 0 || g_strcmp0(axis->field, "subseed") == 0;
}

/* Seeds that are left to chance are chosen once, so that labels and infotexts tell them. */
static void
choose_seeds(Line *line)
{
    for (char **value = line->values; *value != NULL; value++)
        if (strcmp(*value, "-1") == 0) {
            g_free(*value);
            *value = g_strdup_printf("%d", g_random_int_range(0, G_MAXINT32));
        }
}

static bool
read_line(RvScript *script, guint index, Line *line, RvRefusal *refusal)
{
    g_autofree char *type = rv_script_text(script, 3 * index + TYPE);
    line->text = values_text(script, index);
    line->axis = rv_axis_find(script->input.is_img2img, type, refusal);
    line->values = line->axis != NULL ? rv_axis_values(line->axis, line->text, refusal) : NULL;
    line->count = line->values != NULL ? (int)g_strv_length(line->values) : 0;
    if (line->values != NULL && is_seeds(line->axis) && !rv_script_flag(script, RANDOM_SEEDS))
        choose_seeds(line);
    return line->values != NULL;
}

/* Pixels of one run's picture, with its second pass. */
static double
pixels_of(JsonObject *fields)
{
    double width = (double)rv_fields_integer(fields, "width"),
           height = (double)rv_fields_integer(fields, "height");
    double x = (double)rv_fields_integer(fields, "hr_resize_x"),
           y = (double)rv_fields_integer(fields, "hr_resize_y");
    double scale = rv_fields_number(fields, "hr_scale", 1.0);
    if (!rv_fields_bool(fields, "enable_hr"))
        return width * height;
    if (x == 0.0 && y == 0.0)
        return width * height * scale * scale;
    return (x > 0.0 ? x : y * width / height) * (y > 0.0 ? y : x * height / width);
}

/* Said before hours of work, not after. */
static bool
check_size(RvScript *script, RvRefusal *refusal)
{
    double most = 0.0;
    for (guint i = 0; i < script->variants->len; i++)
        most =
            MAX(most, pixels_of(((const RvScriptVariant *)g_ptr_array_index(script->variants, i))->fields));
    double mega = most * script->variants->len / 1e6;
    if (mega > MAX_MEGAPIXELS)
        rv_refusal_set(refusal, 422, "X/Y/Z plot: a grid of %.0f megapixels is too large, %.0f at the most",
                       mega, MAX_MEGAPIXELS);
    return mega <= MAX_MEGAPIXELS;
}

static void
set_seed(RvScript *script, const Plot *plot, const int *at, RvScriptVariant *variant)
{
    gint64 seed = rv_fields_integer(script->input.fields, "seed");
    int step = 1;
    for (int i = 0; i < 3; i++)
        if (rv_script_flag(script, VARY_X + (guint)i)) {
            seed += (gint64)at[i] * step;
            step *= plot->lines[i].count;
        }
    json_object_set_int_member(variant->fields, "seed", rv_script_flag(script, RANDOM_SEEDS) ? -1 : seed);
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    Plot *plot = g_new0(Plot, 1);
    script->data = plot;
    for (guint i = 0; i < 3; i++)
        if (!read_line(script, i, &plot->lines[i], refusal))
            return false;
    plot->legend = rv_script_flag(script, LEGEND);
    plot->lone = rv_script_flag(script, LONE);
    plot->sub_grids = rv_script_flag(script, SUB_GRIDS);
    plot->margin = (int)rv_script_number(script, MARGIN);
    plot->fixes_seeds = !rv_script_flag(script, RANDOM_SEEDS);
    if ((gint64)plot->lines[0].count * plot->lines[1].count * plot->lines[2].count > 256) {
        rv_refusal_set(refusal, 422, "X/Y/Z plot: more than 256 runs");
        return false;
    }
    rv_script_fix_seeds(script->input.fields);
    int at[3];
    for (at[2] = 0; at[2] < plot->lines[2].count; at[2]++)
        for (at[1] = 0; at[1] < plot->lines[1].count; at[1]++)
            for (at[0] = 0; at[0] < plot->lines[0].count; at[0]++) {
                RvScriptVariant *variant = rv_script_add_variant(script);
                set_seed(script, plot, at, variant);
                for (int i = 0; i < 3; i++)
                    if (!rv_axis_apply(plot->lines[i].axis, plot->lines[i].values, (guint)at[i], variant,
                                       script->input.is_img2img, refusal))
                        return false;
            }
    return check_size(script, refusal);
}

/* ---- the grids ---- */

static char **
labels_of(const Line *line)
{
    g_auto(GStrv) labels = g_strdupv(line->values);
    if (line->axis->kind == RV_AXIS_NOTHING)
        return NULL;
    for (char **label = labels; *label != NULL; label++) {
        char *text = rv_axis_label(line->axis, *label);
        g_free(*label);
        *label = text;
    }
    return g_steal_pointer(&labels);
}

/* One picture of a run is its cell; the first where there are several. */
static RvPicture *
layer(const Plot *plot, GPtrArray *pictures, int per_run, int z, const char *title, GError **error)
{
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    int columns = plot->lines[0].count, count = columns * plot->lines[1].count;
    for (int i = 0; i < count; i++) {
        RvPicture *cell =
            rv_script_picture_load(g_ptr_array_index(pictures, (guint)((z * count + i) * per_run)), error);
        if (cell == NULL)
            return NULL;
        g_ptr_array_add(cells, cell);
    }
    g_auto(GStrv) x = labels_of(&plot->lines[0]), y = labels_of(&plot->lines[1]);
    RvGridLabels labels = { (const char *const *)x, (const char *const *)y, title, plot->margin };
    if (!plot->legend)
        labels = (RvGridLabels) { .margin = plot->margin };
    return rv_grid_new_labelled(cells, columns, &labels, error);
}

/* What the grid shows, as A1111 says it in the grid's own infotext; Z in that of the whole alone. */
static char *
infotext_of(const Plot *plot, const char *first, int axes)
{
    static const char *const names[] = { "X", "Y", "Z" };
    g_autoptr(RvInfotext) info = rv_infotext_parse(first);
    rv_infotext_set(info, "Script", "X/Y/Z plot");
    for (int i = 0; i < axes; i++) {
        const Line *line = &plot->lines[i];
        if (line->axis->kind == RV_AXIS_NOTHING)
            continue;
        g_autofree char *type = g_strconcat(names[i], " Type", NULL),
                        *values = g_strconcat(names[i], " Values", NULL),
                        *fixed = g_strconcat("Fixed ", values, NULL), *all = g_strjoinv(", ", line->values);
        rv_infotext_set(info, type, line->axis->label);
        rv_infotext_set(info, values, line->text);
        if (is_seeds(line->axis) && plot->fixes_seeds)
            rv_infotext_set(info, fixed, all);
    }
    return rv_infotext_write(info);
}

static bool
insert_grid(GPtrArray *pictures, guint place, const RvPicture *grid, const char *infotext, gint64 seed,
            GError **error)
{
    RvScriptPicture *made =
        grid != NULL ? rv_script_picture_new(grid, infotext, "xyz_grid", seed, error) : NULL;
    if (made != NULL)
        g_ptr_array_insert(pictures, (int)place, made);
    return made != NULL;
}

/* Grids come first: the one of all layers, then, if wanted, each layer's; then, if wanted, the pictures. */
static bool
put_grids(const Plot *plot, GPtrArray *pictures, GPtrArray *grids, GError **error)
{
    guint per_layer = pictures->len / grids->len, place = 0;
    const RvScriptPicture *first = g_ptr_array_index(pictures, 0);
    gint64 seed = first->seed;
    g_autofree char *whole = infotext_of(plot, first->infotext, 3);
    g_autoptr(GPtrArray) texts = g_ptr_array_new_with_free_func(g_free);
    for (guint z = 0; z < grids->len; z++) {
        const RvScriptPicture *corner = g_ptr_array_index(pictures, z * per_layer);
        g_ptr_array_add(texts, infotext_of(plot, corner->infotext, 2));
    }
    if (!plot->lone)
        g_ptr_array_set_size(pictures, 0);
    if (grids->len > 1) {
        g_autoptr(RvPicture) all = rv_grid_new(grids, (int)grids->len, plot->margin, error);
        if (!insert_grid(pictures, place++, all, whole, seed, error))
            return false;
    }
    for (guint z = 0; z < grids->len && (grids->len == 1 || plot->sub_grids); z++) {
        const char *infotext = grids->len == 1 ? whole : g_ptr_array_index(texts, z);
        if (!insert_grid(pictures, place++, g_ptr_array_index(grids, z), infotext, seed, error))
            return false;
    }
    return true;
}

static bool
compose(RvScript *script, GPtrArray *pictures, GError **error)
{
    const Plot *plot = script->data;
    int layers = plot->lines[2].count, runs = layers * plot->lines[0].count * plot->lines[1].count;
    if (pictures->len == 0 || (int)pictures->len % runs != 0)
        return true; /* interrupted: the pictures as far as there are any */
    g_autoptr(GPtrArray) grids = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    g_auto(GStrv) titles = labels_of(&plot->lines[2]);
    for (int z = 0; z < layers; z++) {
        RvPicture *grid =
            layer(plot, pictures, (int)pictures->len / runs, z, titles != NULL ? titles[z] : NULL, error);
        if (grid == NULL)
            return false;
        g_ptr_array_add(grids, grid);
    }
    return put_grids(plot, pictures, grids, error);
}

static const RvScriptArgument arguments[] = {
    { "X type", "\"Seed\"", NULL },
    { "X values", "\"\"", NULL },
    { "X values", "[]", NULL },
    { "Y type", "\"Nothing\"", NULL },
    { "Y values", "\"\"", NULL },
    { "Y values", "[]", NULL },
    { "Z type", "\"Nothing\"", NULL },
    { "Z values", "\"\"", NULL },
    { "Z values", "[]", NULL },
    { "Draw legend", "true", NULL },
    { "Include Sub Images", "false", NULL },
    { "Include Sub Grids", "false", NULL },
    { "Keep -1 for seeds", "false", NULL },
    { "Vary seeds for X", "false", NULL },
    { "Vary seeds for Y", "false", NULL },
    { "Vary seeds for Z", "false", NULL },
    { "Grid margins (px)", "0", NULL, 0, 500, 2 },
    { "Use text inputs instead of dropdowns", "false", NULL },
    { 0 },
};
static const RvScriptInfo info = { "X/Y/Z plot", true, true, arguments };
const RvScriptClass rv_script_xyz = { &info, begin, NULL, NULL, compose, plot_free };
