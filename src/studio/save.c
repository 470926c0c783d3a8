/* save.c - what was drawn, into files. */
#include <glib/gstdio.h>
#include <string.h>

#include "store/files.h"
#include "studio/extras.h"
#include "studio/save.h"
#include "studio/unit.h"

#define PNG_LEVEL 4         /* a third of the time of level 6 for a few per cent of size */
#define TRY_AGAIN_US 500000 /* when the disk is full */
#define MAX_NUMBER 9999999

/* ---- into bytes ---- */

static RvPictureFormat
format_of(const RvStudioJob *job, const char **ending)
{
    const char *name = job->samples_format != NULL ? job->samples_format : "png";
    if (g_ascii_strcasecmp(name, "jpg") == 0 || g_ascii_strcasecmp(name, "jpeg") == 0) {
        *ending = "jpg";
        return RV_PICTURE_JPEG;
    }
    bool is_webp = g_ascii_strcasecmp(name, "webp") == 0;
    *ending = is_webp ? "webp" : "png";
    return is_webp ? RV_PICTURE_WEBP : RV_PICTURE_PNG;
}

static GBytes *
encode(const RvUnit *unit, const RvDrawn *drawn, const char **ending, GError **error)
{
    const RvStudioJob *job = unit->spec;
    const char *done = job->kind == RV_STUDIO_EXTRAS ? rv_extras_postprocessing(job, drawn->infotext) : "";
    gsize before = strlen(drawn->infotext) - strlen(done);
    g_autofree char *infotext = g_strndup(drawn->infotext, before);
    if (g_str_has_suffix(infotext, ", "))
        infotext[before - 2] = '\0';
    RvPictureSaveOptions options = { .infotext = job->no_infotext ? NULL : infotext,
                                     .postprocessing = job->no_infotext || *done == '\0' ? NULL : done,
                                     .quality = job->quality,
                                     .lossless = job->webp_lossless,
                                     .png_level = PNG_LEVEL };
    return rv_picture_encode(drawn->picture, format_of(job, ending), &options, error);
}

/* ---- names ---- */

const char *
rv_save_ending(GBytes *bytes)
{
    gsize size;
    const guint8 *data = g_bytes_get_data(bytes, &size);
    return size > 2 && data[0] == 0xff && data[1] == 0xd8 ? "jpg"
           : size > 4 && memcmp(data, "RIFF", 4) == 0     ? "webp"
                                                          : "png";
}

/* The number after the highest in the folder, of files that begin with `prefix`, as A1111 counts. */
static int
next_number(const char *folder, const char *prefix)
{
    int next = 0;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        char *end;
        if (!g_str_has_prefix(name, prefix) || strchr(name, '.') == NULL) /* folders are no pictures */
            continue;
        gint64 number = g_ascii_strtoll(name + strlen(prefix), &end, 10);
        if (end != name + strlen(prefix) && (*end == '-' || *end == '.') && number >= next &&
            number < MAX_NUMBER)
            next = (int)number + 1;
    }
    return next;
}

static bool
same_content(const char *path, GBytes *bytes)
{
    g_autofree char *data = NULL;
    gsize size, wanted;
    const void *given = g_bytes_get_data(bytes, &wanted);
    return g_file_get_contents(path, &data, &size, NULL) && size == wanted && memcmp(data, given, size) == 0;
}

/* Several batches may find the same file, and may have drawn the same picture. */
static bool
claim(const char *path)
{
    static GMutex mutex;
    static GHashTable *taken;
    g_mutex_lock(&mutex);
    if (taken == NULL)
        taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    bool is_free = g_hash_table_add(taken, g_strdup(path));
    g_mutex_unlock(&mutex);
    return is_free;
}

char *
rv_save_take_leftover(GPtrArray *leftovers, GBytes *bytes)
{
    for (guint i = 0; leftovers != NULL && i < leftovers->len; i++)
        if (same_content(g_ptr_array_index(leftovers, i), bytes) && claim(g_ptr_array_index(leftovers, i)))
            return g_ptr_array_steal_index(leftovers, i);
    return NULL;
}

static char *
name_of(const RvSaveName *name, const char *prefix, int number, bool is_again)
{
    const char *dash = *name->text != '\0' ? "-" : "";
    if (!name->no_number || *name->text == '\0')
        return g_strdup_printf("%s%0*d%s%s", prefix, *prefix == '\0' ? 5 : 4, number, dash, name->text);
    return is_again ? g_strdup_printf("%s%s-%d", prefix, name->text, number)
                    : g_strconcat(prefix, name->text, NULL);
}

char *
rv_save_named(const char *outputs, const char *folder, const RvSaveName *name, GBytes *bytes,
              const char *ending, GError **error)
{
    if (outputs != NULL && !rv_folder_make_below(outputs, folder + strlen(outputs) + strlen("/"), error))
        return NULL;
    g_autofree char *prefix = name->prefix != NULL ? g_strconcat(name->prefix, "-", NULL) : g_strdup("");
    bool is_counted = !name->no_number || *name->text == '\0';
    int first = is_counted ? next_number(folder, prefix) : 0;
    for (int number = first;; number++) {
        bool exists;
        g_autofree char *file = name_of(name, prefix, number, number > first),
                        *path = g_strdup_printf("%s/%s.%s", folder, file, ending);
        bool is_written = outputs != NULL
                              ? rv_file_write_new_below(outputs, path + strlen(outputs) + strlen("/"), bytes,
                                                        &exists, error)
                              : rv_file_write_new(path, bytes, &exists, error);
        if (is_written)
            return g_steal_pointer(&path);
        if (!exists)
            return NULL;
    }
}

static RvNameFacts
facts_of(const RvUnit *unit, const RvDrawn *drawn, guint index)
{
    const RvStudioJob *job = unit->spec;
    int first = unit->batch * job->batch_size, count = job->batch_size * job->n_iter;
    bool varies = job->subseed_strength <= 0.0;
    return (RvNameFacts) {
        .infotext = drawn->infotext,
        .user = unit->user,
        .styles = job->styles,
        .picture = drawn->picture,
        .seed = drawn->seed,
        .subseed = drawn->subseed,
        .first_seed = job->seed,
        .last_seed = job->seed + (varies ? count - 1 : 0),
        .batch_size = job->batch_size,
        .index = (int)index,
        .count = count,
        .number = first + (int)index,
        .words = job->prompt_words,
        .began = unit->began,
    };
}

static char *
write_sample(const RvUnit *unit, const RvDrawn *drawn, guint index, GBytes *bytes, const char *ending,
             GError **error)
{
    const RvStudioJob *job = unit->spec;
    RvNameFacts facts = facts_of(unit, drawn, index);
    g_autofree char *below =
        rv_name_folder(job->folder_pattern != NULL ? job->folder_pattern : "[date]", &facts);
    g_autofree char *text = rv_name_file(job->name_pattern != NULL ? job->name_pattern : "[seed]", &facts);
    g_autofree char *folder =
        *below != '\0' ? g_build_filename(unit->folder, below, NULL) : g_strdup(unit->folder);
    RvSaveName name = { NULL, text, job->no_number };
    return rv_save_named(unit->outputs, folder, &name, bytes, ending, error);
}

static char *
write_one(RvUnit *unit, const RvDrawn *drawn, guint index, GBytes *bytes, const char *ending, GError **error)
{
    char *leftover = rv_save_take_leftover(unit->leftovers, bytes);
    if (leftover != NULL)
        return leftover;
    if (unit->is_numbered && drawn->role == RV_STUDIO_SAMPLE)
        return write_sample(unit, drawn, index, bytes, ending, error);
    g_autofree char *path =
        g_strdup_printf("%s/%s-%" G_GINT64_FORMAT "-%d-%u.%s", unit->job_folder,
                        rv_studio_role_name(drawn->role), unit->job, unit->index, index, ending);
    return rv_file_write(path, bytes, error) ? g_steal_pointer(&path) : NULL;
}

/* ---- all of them ---- */

/* Tries until there is room. */
static char *
write_with_patience(RvUnit *unit, const RvDrawn *drawn, guint index, GBytes *bytes, const char *ending,
                    GError **error)
{
    for (;;) {
        g_autoptr(GError) wrong = NULL;
        char *path = write_one(unit, drawn, index, bytes, ending, &wrong);
        if (path != NULL) {
            rv_unit_set_blocked(unit, NULL);
            return path;
        }
        if (!g_error_matches(wrong, RV_ERROR, RV_ERROR_IO)) { /* waiting would not help */
            g_propagate_error(error, g_steal_pointer(&wrong));
            return NULL;
        }
        rv_unit_set_blocked(unit, wrong->message);
        if (rv_unit_stopped(unit) == RV_UNIT_ABANDON) {
            rv_error_set(error, RV_ERROR_CANCELLED, NULL, NULL, "cancelled");
            return NULL;
        }
        g_usleep(TRY_AGAIN_US);
    }
}

static bool
save_one(RvUnit *unit, const RvDrawn *drawn, guint index, GError **error)
{
    const char *ending;
    g_autoptr(GBytes) bytes = encode(unit, drawn, &ending, error);
    char *path = bytes != NULL ? write_with_patience(unit, drawn, index, bytes, ending, error) : NULL;
    if (path == NULL)
        return false;
    RvStudioPicture *picture = g_new0(RvStudioPicture, 1);
    *picture = (RvStudioPicture) { .role = drawn->role,
                                   .part = unit->part,
                                   .bytes = g_bytes_ref(bytes),
                                   .path = path,
                                   .infotext = g_strdup(drawn->infotext),
                                   .seed = drawn->seed,
                                   .subseed = drawn->subseed,
                                   .width = drawn->picture->width,
                                   .height = drawn->picture->height };
    g_ptr_array_add(unit->pictures, picture);
    return true;
}

bool
rv_unit_save(RvUnit *unit, GError **error)
{
    bool ok = true;
    for (guint i = 0; ok && i < unit->drawn->len; i++)
        ok = save_one(unit, g_ptr_array_index(unit->drawn, i), i, error);
    for (guint i = 0; !ok && i < unit->pictures->len; i++)
        g_unlink(((const RvStudioPicture *)g_ptr_array_index(unit->pictures, i))->path);
    g_ptr_array_set_size(unit->drawn, 0);
    return ok;
}
