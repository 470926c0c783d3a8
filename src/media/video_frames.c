#include "media/video_frames.h"

#include <string.h>

struct RvFrames {
    GPtrArray *paths;
    guint next;
    RvPictureLimits limits;
    RvPicture *first; /* decoded by open, for its size */
};

/* Digits compare by their value, everything else byte by byte. */
static int
compare_natural(gconstpointer left, gconstpointer right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    while (*a != '\0' && *b != '\0') {
        if (!g_ascii_isdigit(*a) || !g_ascii_isdigit(*b)) {
            if (*a != *b)
                return (guchar)*a - (guchar)*b;
            a++;
            b++;
            continue;
        }
        a += strspn(a, "0");
        b += strspn(b, "0");
        gsize a_digits = strspn(a, "0123456789"), b_digits = strspn(b, "0123456789");
        if (a_digits != b_digits)
            return a_digits < b_digits ? -1 : 1;
        int order = memcmp(a, b, a_digits);
        if (order != 0)
            return order;
        a += a_digits;
        b += b_digits;
    }
    if (*a != *b)
        return (guchar)*a - (guchar)*b;
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static GPtrArray *
list_pictures(const char *folder, GError **error)
{
    g_autoptr(GError) fault = NULL;
    GDir *entries = g_dir_open(folder, 0, &fault);
    if (entries == NULL) {
        rv_error_set(error, RV_ERROR_IO, folder, "check its permissions", "cannot read folder: %s",
                     fault->message);
        return NULL;
    }
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    const char *name;
    RvPictureFormat format;
    while ((name = g_dir_read_name(entries)) != NULL)
        if (name[0] != '.' && rv_picture_format_from_path(name, &format, NULL))
            g_ptr_array_add(paths, g_build_filename(folder, name, NULL));
    g_dir_close(entries);
    g_ptr_array_sort(paths, compare_natural);
    return paths;
}

RvFrames *
rv_frames_open(const char *folder, const RvPictureLimits *limits, RvVideoInfo *info, GError **error)
{
    g_autoptr(GPtrArray) paths = list_pictures(folder, error);
    if (paths == NULL)
        return NULL;
    if (paths->len == 0) {
        rv_error_set(error, RV_ERROR_INVALID, folder, "put PNG, JPEG or WebP files there",
                     "folder holds no frames");
        return NULL;
    }
    RvPicture *first = rv_picture_load(paths->pdata[0], limits, error);
    if (first == NULL)
        return NULL;
    *info = (RvVideoInfo) { first->width, first->height, 0, 1, paths->len };
    RvFrames *frames = g_new0(RvFrames, 1);
    frames->paths = g_steal_pointer(&paths);
    frames->first = first;
    if (limits != NULL)
        frames->limits = *limits;
    return frames;
}

bool
rv_frames_next(RvFrames *frames, RvPicture **frame, GError **error)
{
    *frame = NULL;
    if (frames->next == frames->paths->len)
        return true;
    if (frames->next == 0)
        *frame = g_steal_pointer(&frames->first);
    else
        *frame = rv_picture_load(frames->paths->pdata[frames->next], &frames->limits, error);
    frames->next++;
    return *frame != NULL;
}

void
rv_frames_skip(RvFrames *frames, gint64 count)
{
    frames->next += (guint)CLAMP(count, 0, (gint64)(frames->paths->len - frames->next));
}

void
rv_frames_close(RvFrames *frames)
{
    g_ptr_array_unref(frames->paths);
    rv_picture_free(frames->first);
    g_free(frames);
}
