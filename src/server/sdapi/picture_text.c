#include "server/sdapi/picture_text.h"

#include <string.h>

#define MAX_FILE (64u << 20)

static bool
is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Every character of base64, standard or for addresses, with blanks between. */
static bool
is_base64(const char *text)
{
    gsize count = 0, padding = 0;
    for (; *text != '\0'; text++) {
        if (is_blank(*text))
            continue;
        bool is_digit = g_ascii_isalnum(*text) || strchr("+/-_", *text) != NULL;
        if (*text == '=')
            padding++;
        else if (!is_digit || padding > 0)
            return false;
        count++;
    }
    return count >= 4 && padding <= 2 && (count - padding) % 4 != 1;
}

static bool
refuse_picture(GError **error)
{
    return rv_error_set(error, RV_ERROR_INVALID, NULL, NULL, "Invalid encoded image");
}

GBytes *
rv_picture_text_decode(const char *text, GError **error)
{
    if (g_str_has_prefix(text, "http://") || g_str_has_prefix(text, "https://")) {
        rv_error_set(error, RV_ERROR_USAGE, NULL, NULL, "Requests not allowed");
        return NULL;
    }
    if (g_str_has_prefix(text, "data:")) {
        const char *comma = strchr(text, ',');
        if (comma == NULL || comma - text < 7 || strncmp(comma - 7, ";base64", 7) != 0) {
            refuse_picture(error);
            return NULL;
        }
        text = comma + 1;
    }
    if (!is_base64(text)) {
        refuse_picture(error);
        return NULL;
    }
    g_autofree char *plain = g_strdup(text);
    for (char *c = plain; *c != '\0'; c++)
        *c = *c == '-' ? '+' : *c == '_' ? '/' : *c;
    gsize size;
    guchar *bytes = g_base64_decode(plain, &size);
    return g_bytes_new_take(bytes, size);
}

RvPicture *
rv_picture_text_load(const char *text, GError **error)
{
    static const RvPictureLimits limits = { .file_bytes = MAX_FILE };
    g_autoptr(GBytes) bytes = rv_picture_text_decode(text, error);
    g_autoptr(GError) wrong = NULL;
    if (bytes == NULL)
        return NULL;
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    RvPicture *picture = rv_picture_load_bytes(data, size, "the picture", &limits, &wrong);
    if (picture == NULL && g_error_matches(wrong, RV_ERROR, RV_ERROR_NO_MEMORY))
        g_propagate_error(error, g_steal_pointer(&wrong));
    else if (picture == NULL)
        rv_error_set(error, RV_ERROR_INVALID, NULL, NULL, "Invalid encoded image: %s", wrong->message);
    return picture;
}

bool
rv_picture_style_parse(const char *name, RvPictureStyle *style)
{
    static const struct {
        const char *name;
        RvPictureFormat format;
    } formats[] = { { "png", RV_PICTURE_PNG },
                    { "jpg", RV_PICTURE_JPEG },
                    { "jpeg", RV_PICTURE_JPEG },
                    { "webp", RV_PICTURE_WEBP } };
    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++)
        if (g_ascii_strcasecmp(name, formats[i].name) == 0) {
            style->format = formats[i].format;
            return true;
        }
    return false;
}

char *
rv_picture_text_encode(const RvPicture *picture, const RvPictureStyle *style, const char *infotext,
                       GError **error)
{
    RvPictureSaveOptions options = {
        .infotext = infotext, .quality = style->quality, .lossless = style->lossless, .png_level = 1
    };
    g_autoptr(GBytes) bytes = rv_picture_encode(picture, style->format, &options, error);
    if (bytes == NULL)
        return NULL;
    gsize size;
    const guchar *data = g_bytes_get_data(bytes, &size);
    return g_base64_encode(data, size);
}
