/* Binary PPM (P6) and PGM (P5) with samples of one byte. */
#include "media/internal.h"

/* Skips spaces and comments, then reads digits; -1 when there are none or too many. */
static gint64
read_number(const RvPictureSource *source, gsize *offset)
{
    while (*offset < source->size &&
           (g_ascii_isspace(source->data[*offset]) || source->data[*offset] == '#')) {
        if (source->data[*offset] == '#')
            while (*offset < source->size && source->data[*offset] != '\n')
                (*offset)++;
        else
            (*offset)++;
    }
    gint64 value = -1;
    while (*offset < source->size && g_ascii_isdigit(source->data[*offset])) {
        value = (value < 0 ? 0 : value) * 10 + (source->data[(*offset)++] - '0');
        if (value > G_MAXINT32)
            return -1;
    }
    return value;
}

RvPicture *
rv_pnm_decode(const RvPictureSource *source, GError **error)
{
    gsize offset = 2, channels = source->data[1] == '6' ? 3 : 1;
    gint64 width = read_number(source, &offset), height = read_number(source, &offset);
    gint64 maximum = read_number(source, &offset);
    if (width < 0 || height < 0 || maximum < 0) {
        rv_error_set(error, RV_ERROR_INVALID, source->name, "give another file", "broken PPM header");
        return NULL;
    }
    if (!rv_picture_check_size(source, width, height, error))
        return NULL;
    if (maximum != 255) {
        rv_error_set(error, RV_ERROR_UNSUPPORTED, source->name, "save it as PNG",
                     "PPM with samples up to %d is not read, only 255", (int)maximum);
        return NULL;
    }
    offset++; /* the one space after the header */
    gsize pixels = (gsize)width * (gsize)height;
    if (offset > source->size || (source->size - offset) / channels < pixels) {
        rv_error_set(error, RV_ERROR_INVALID, source->name, "give another file", "PPM ends too early");
        return NULL;
    }
    RvPicture *picture = rv_picture_new((int)width, (int)height, false, error);
    if (picture == NULL)
        return NULL;
    const guint8 *from = source->data + offset;
    for (gsize i = 0; i < pixels; i++)
        for (gsize c = 0; c < 3; c++)
            picture->rgb[3 * i + c] = from[channels * i + (channels == 3 ? c : 0)];
    return picture;
}
