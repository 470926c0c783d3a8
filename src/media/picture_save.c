#include <string.h>

#include "media/internal.h"
#include "media/output.h"

bool
rv_picture_format_from_path(const char *path, RvPictureFormat *format, GError **error)
{
    static const struct {
        const char *ending;
        RvPictureFormat format;
    } endings[] = {
        { ".png", RV_PICTURE_PNG },
        { ".jpg", RV_PICTURE_JPEG },
        { ".jpeg", RV_PICTURE_JPEG },
        { ".webp", RV_PICTURE_WEBP },
    };
    g_autofree char *name = g_path_get_basename(path);
    const char *dot = strrchr(name, '.');
    for (gsize i = 0; dot != NULL && i < G_N_ELEMENTS(endings); i++)
        if (g_ascii_strcasecmp(dot, endings[i].ending) == 0) {
            *format = endings[i].format;
            return true;
        }
    return rv_error_set(error, RV_ERROR_USAGE, path, "let the name end in .png, .jpg or .webp",
                        "the name does not say which kind of picture to write");
}

GBytes *
rv_picture_encode(const RvPicture *picture, RvPictureFormat format, const RvPictureSaveOptions *options,
                  GError **error)
{
    RvPictureSaveOptions chosen = { 0 };
    if (options != NULL)
        chosen = *options;
    chosen.quality = chosen.quality == 0 ? 90 : CLAMP(chosen.quality, 1, 100);
    chosen.png_level = chosen.png_level == 0 ? 6 : CLAMP(chosen.png_level, 1, 9);
    /* Prompts come from argument vectors, which may hold any bytes. */
    g_autofree char *infotext = NULL;
    if (chosen.infotext != NULL && *chosen.infotext != '\0')
        infotext = g_utf8_make_valid(chosen.infotext, -1);
    chosen.infotext = infotext;

    switch (format) {
    case RV_PICTURE_PNG:
        return rv_png_encode(picture, &chosen, error);
    case RV_PICTURE_JPEG:
        return rv_jpeg_encode(picture, &chosen, error);
    case RV_PICTURE_WEBP:
        return rv_webp_encode(picture, &chosen, error);
    }
    g_assert_not_reached();
}

bool
rv_picture_save(const RvPicture *picture, const char *path, const RvPictureSaveOptions *options,
                GError **error)
{
    RvPictureFormat format;
    if (!rv_picture_format_from_path(path, &format, error))
        return false;
    g_autoptr(GBytes) bytes = rv_picture_encode(picture, format, options, error);
    if (bytes == NULL)
        return false;
    g_autoptr(RvOutput) output = rv_output_open(path, error);
    if (output == NULL)
        return false;
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    return rv_output_write(output, data, size, error) && rv_output_commit(output, error);
}
