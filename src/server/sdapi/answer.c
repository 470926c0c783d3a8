#include "server/sdapi/answer.h"

#include <string.h>

#include "server/sdapi/grid.h"
#include "server/sdapi/picture_text.h"

static void
picture_clear(RvScriptPicture *picture)
{
    g_clear_pointer(&picture->bytes, g_bytes_unref);
    g_clear_pointer(&picture->infotext, g_free);
}

void
rv_script_picture_free(gpointer picture)
{
    picture_clear(picture);
    g_free(picture);
}

static RvScriptPicture *
picture_of(const RvStudioPicture *from)
{
    RvScriptPicture *picture = g_new0(RvScriptPicture, 1);
    picture->bytes = from->bytes != NULL ? g_bytes_ref(from->bytes) : NULL;
    picture->infotext = g_strdup(from->infotext);
    picture->seed = from->seed;
    picture->subseed = from->subseed;
    return picture;
}

static bool
keeps_grids(const RvAnswerInput *input)
{
    return rv_fields_bool(input->fields, "save_images") && rv_fields_bool(input->options, "grid_save") &&
           !rv_fields_bool(input->fields, "do_not_save_grid");
}

/* A1111 makes one of a batch when it keeps pictures. */
static bool
wants_grid(const RvAnswerInput *input, guint count)
{
    bool is_one = count < 2 && rv_fields_bool(input->options, "grid_only_if_multiple");
    return count > 0 && !is_one && rv_fields_bool(input->fields, "save_images") &&
           !rv_fields_bool(input->fields, "do_not_save_grid") &&
           (rv_fields_bool(input->options, "return_grid") || rv_fields_bool(input->options, "grid_save"));
}

bool
rv_answer_keeps_grid(const RvAnswerInput *input, int pictures)
{
    bool is_made =
        input->script != NULL ? rv_script_has_one_job(input->script) : wants_grid(input, (guint)pictures);
    return is_made && keeps_grids(input);
}

/* All samples of the batch in one, before them. */
static bool
add_grid(const RvAnswerInput *input, GPtrArray *pictures, GError **error)
{
    int batch = (int)rv_fields_integer(input->fields, "batch_size");
    if (!wants_grid(input, pictures->len))
        return true;
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    for (guint i = 0; i < pictures->len; i++) {
        RvPicture *cell = rv_script_picture_load(g_ptr_array_index(pictures, i), error);
        if (cell == NULL)
            return false;
        g_ptr_array_add(cells, cell);
    }
    g_autoptr(RvPicture) grid =
        rv_grid_new(cells, rv_grid_columns_as((int)cells->len, batch, input->options), 0, error);
    const RvScriptPicture *first = g_ptr_array_index(pictures, 0);
    RvScriptPicture *made =
        grid != NULL ? rv_script_picture_new(grid, first->infotext, "grid", first->seed, error) : NULL;
    if (made != NULL)
        g_ptr_array_insert(pictures, 0, made);
    return made != NULL;
}

/* ---- what is kept ---- */

static bool
is_kept(const RvAnswerInput *input, const RvScriptPicture *picture)
{
    if (picture->keep == NULL)
        return false;
    return *picture->keep != '\0' ? keeps_grids(input)
                                  : rv_fields_bool(input->fields, "save_images") &&
                                        rv_fields_bool(input->options, "samples_save") &&
                                        !rv_fields_bool(input->fields, "do_not_save_samples");
}

static GPtrArray *
find_kept(const RvAnswerInput *input, const GPtrArray *pictures, GError **error)
{
    g_autoptr(GPtrArray) kept = g_ptr_array_new_with_free_func(rv_script_picture_free);
    for (guint i = 0; i < pictures->len; i++) {
        const RvScriptPicture *picture = g_ptr_array_index(pictures, i);
        if (!is_kept(input, picture))
            continue;
        bool is_grid = *picture->keep != '\0';
        GBytes *bytes = rv_script_picture_file(picture, input->options,
                                               is_grid ? "grid_format" : "samples_format", error);
        if (bytes == NULL)
            return NULL;
        RvScriptPicture *copy = g_new(RvScriptPicture, 1);
        *copy = *picture;
        copy->bytes = bytes;
        copy->infotext = g_strdup(picture->infotext);
        g_ptr_array_add(kept, copy);
    }
    return g_steal_pointer(&kept);
}

/* Grids of batches are answered if so asked; those of scripts always. */
static void
drop_unwanted(const RvAnswerInput *input, GPtrArray *pictures)
{
    if (rv_fields_bool(input->options, "return_grid"))
        return;
    for (guint i = pictures->len; i > 0; i--)
        if (g_strcmp0(((const RvScriptPicture *)g_ptr_array_index(pictures, i - 1))->keep, "grid") == 0)
            g_ptr_array_remove_index(pictures, i - 1);
}

static GPtrArray *
collect(const RvAnswerInput *input, GError **error)
{
    if (input->script != NULL)
        return rv_script_pictures(input->script, error);
    g_autoptr(GPtrArray) pictures = g_ptr_array_new_with_free_func(rv_script_picture_free);
    for (guint i = 0; i < input->result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(input->result->pictures, i);
        if (picture->role == RV_STUDIO_SAMPLE)
            g_ptr_array_add(pictures, picture_of(picture));
    }
    return add_grid(input, pictures, error) ? g_steal_pointer(&pictures) : NULL;
}

/* ---- info ---- */

static void
set_list(JsonObject *info, const char *name, const GPtrArray *pictures,
         JsonNode *(*value)(const RvScriptPicture *picture))
{
    JsonArray *list = json_array_new();
    for (guint i = 0; i < pictures->len; i++) {
        const RvScriptPicture *picture = g_ptr_array_index(pictures, i);
        if (!picture->is_made)
            json_array_add_element(list, value(picture));
    }
    json_object_set_array_member(info, name, list);
}

static JsonNode *
seed_of(const RvScriptPicture *picture)
{
    return json_node_init_int(json_node_alloc(), picture->seed);
}

static JsonNode *
subseed_of(const RvScriptPicture *picture)
{
    return json_node_init_int(json_node_alloc(), picture->subseed);
}

/* A1111's Processed.comments: what was asked for in vain. */
static char *
comments_of(const RvAnswerInput *input)
{
    GString *text = g_string_new(input->note);
    for (guint i = 0; i < input->result->notes->len; i++)
        g_string_append_printf(text, "%s%s", text->len > 0 ? "\n" : "",
                               (const char *)g_ptr_array_index(input->result->notes, i));
    return g_string_free(text, FALSE);
}

/* The studio's, put right for pictures that came from several jobs or are grids. */
static char *
info_of(const RvAnswerInput *input, const GPtrArray *pictures)
{
    g_autoptr(JsonNode) node =
        input->result->info != NULL ? json_from_string(input->result->info, NULL) : NULL;
    g_autoptr(JsonObject) info =
        node != NULL && JSON_NODE_HOLDS_OBJECT(node) ? json_node_dup_object(node) : json_object_new();
    JsonArray *texts = json_array_new();
    int made = 0;
    for (guint i = 0; i < pictures->len; i++) {
        const RvScriptPicture *picture = g_ptr_array_index(pictures, i);
        made += picture->is_made;
        json_array_add_string_element(texts, picture->infotext != NULL ? picture->infotext : "");
    }
    json_object_set_array_member(info, "infotexts", texts);
    json_object_set_int_member(info, "index_of_first_image", made < (int)pictures->len ? made : 0);
    if (input->script != NULL && made < (int)pictures->len) {
        set_list(info, "all_seeds", pictures, seed_of);
        set_list(info, "all_subseeds", pictures, subseed_of);
    }
    JsonArray *styles = rv_fields_has(input->fields, "styles")
                            ? json_array_ref(json_object_get_array_member(input->fields, "styles"))
                            : json_array_new();
    json_object_set_array_member(info, "styles", styles);
    g_autofree char *comments = comments_of(input);
    json_object_set_string_member(info, "comments", comments);
    g_autoptr(JsonNode) root = json_node_init_object(json_node_alloc(), info);
    return json_to_string(root, FALSE);
}

/* ---- the whole ---- */

static void
add_picture(JsonArray *images, GBytes *bytes)
{
    gsize size;
    const guchar *data = bytes != NULL ? g_bytes_get_data(bytes, &size) : NULL;
    if (data == NULL)
        return;
    g_autofree char *text = g_base64_encode(data, size);
    json_array_add_string_element(images, text);
}

static void
add_maps(JsonArray *images, const RvAnswerInput *input)
{
    if (rv_fields_bool(input->options, "control_net_no_detectmap"))
        return;
    for (guint i = 0; i < input->result->pictures->len; i++) {
        const RvStudioPicture *picture = g_ptr_array_index(input->result->pictures, i);
        if (picture->role == RV_STUDIO_MAP)
            add_picture(images, picture->bytes);
    }
}

static JsonObject *
echo_of(const RvAnswerInput *input)
{
    static const char *const pictures[] = { "init_images", "mask", "latent_mask", "firstpass_image", NULL };
    JsonObject *echo = json_object_new();
    JsonObjectIter iter;
    const char *name;
    JsonNode *value;
    bool with_pictures = rv_fields_bool(input->fields, "include_init_images");
    json_object_iter_init(&iter, input->fields);
    while (json_object_iter_next(&iter, &name, &value)) {
        bool is_picture = g_strv_contains(pictures, name);
        if (is_picture && !with_pictures)
            json_object_set_null_member(echo, name);
        else
            json_object_set_member(echo, name, json_node_copy(value));
    }
    return echo;
}

/* Made ones come as PNG: in the answer all are in one format. */
static bool
add_pictures(const RvAnswerInput *input, const GPtrArray *pictures, JsonArray *images, GError **error)
{
    for (guint i = 0; i < pictures->len; i++) {
        const RvScriptPicture *picture = g_ptr_array_index(pictures, i);
        g_autoptr(GBytes) made =
            picture->keep != NULL ? rv_script_picture_file(picture, input->options, "samples_format", error)
                                  : NULL;
        if (picture->keep != NULL && made == NULL)
            return false;
        add_picture(images, made != NULL ? made : picture->bytes);
    }
    add_maps(images, input);
    return true;
}

JsonObject *
rv_answer_generation(const RvAnswerInput *input, GPtrArray **kept, GError **error)
{
    g_autoptr(GPtrArray) pictures = collect(input, error);
    g_autoptr(GPtrArray) to_keep = pictures != NULL ? find_kept(input, pictures, error) : NULL;
    g_autoptr(JsonArray) images = json_array_new();
    bool shows =
        rv_fields_bool(input->fields, "send_images") && !rv_fields_bool(input->options, "do_not_show_images");
    if (to_keep == NULL)
        return NULL;
    drop_unwanted(input, pictures);
    if (shows && !add_pictures(input, pictures, images, error))
        return NULL;
    g_autofree char *info = info_of(input, pictures);
    JsonObject *answer = json_object_new();
    json_object_set_array_member(answer, "images", g_steal_pointer(&images));
    json_object_set_object_member(answer, "parameters", echo_of(input));
    json_object_set_string_member(answer, "info", info);
    *kept = g_steal_pointer(&to_keep);
    return answer;
}
