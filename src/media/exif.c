/* The two things that pictures of cameras and of other studios say in EXIF: which way is up (0x0112)
 * and the generation parameters (UserComment, 0x9286). Layout: TIFF 6.0, EXIF 2.3. */
#include <string.h>

#include "media/internal.h"

enum { TAG_ORIENTATION = 0x0112, TAG_EXIF_FOLDER = 0x8769, TAG_USER_COMMENT = 0x9286 };
enum { TYPE_SHORT = 3, TYPE_LONG = 4, TYPE_UNDEFINED = 7 };

typedef struct {
    const guint8 *data;
    gsize size;
    bool is_little;
} Tiff;

static guint32
tiff_number(const Tiff *tiff, gsize offset, int bytes)
{
    guint32 value = 0;
    if (offset > tiff->size || tiff->size - offset < (gsize)bytes)
        return 0;
    for (int i = 0; i < bytes; i++)
        value = value << 8 | tiff->data[offset + (gsize)(tiff->is_little ? bytes - 1 - i : i)];
    return value;
}

/* Offset of the entry with `tag` in the folder at `folder`, or 0. */
static gsize
find_entry(const Tiff *tiff, gsize folder, guint32 tag)
{
    guint32 count = tiff_number(tiff, folder, 2);
    for (gsize i = 0; i < count; i++) {
        gsize entry = folder + 2 + 12 * i;
        if (entry + 12 > tiff->size)
            break;
        if (tiff_number(tiff, entry, 2) == tag)
            return entry;
    }
    return 0;
}

/* Writers disagree on the byte order of UTF-16 here: most text has more zero bytes in the high halves. */
static bool
is_utf16_little(const guint8 *text, gsize size)
{
    if (size >= 2 && text[0] == 0xff && text[1] == 0xfe)
        return true;
    gsize zeros[2] = { 0, 0 };
    for (gsize i = 0; i + 1 < size; i += 2) {
        zeros[0] += text[i] == 0;
        zeros[1] += text[i + 1] == 0;
    }
    return zeros[1] > zeros[0];
}

static char *
decode_comment(const guint8 *data, gsize size)
{
    const guint8 *text = data + 8;
    gsize length = size - 8;
    if (memcmp(data, "UNICODE\0", 8) == 0) {
        bool is_little = is_utf16_little(text, length);
        if (length >= 2 && ((text[0] == 0xff && text[1] == 0xfe) || (text[0] == 0xfe && text[1] == 0xff))) {
            text += 2;
            length -= 2;
        }
        return g_convert((const char *)text, (gssize)(length & ~(gsize)1), "UTF-8",
                         is_little ? "UTF-16LE" : "UTF-16BE", NULL, NULL, NULL);
    }
    if (memcmp(data, "ASCII\0\0\0", 8) == 0 || memcmp(data, "\0\0\0\0\0\0\0\0", 8) == 0)
        return g_utf8_make_valid((const char *)text, (gssize)strnlen((const char *)text, length));
    return NULL;
}

static void
read_comment(const Tiff *tiff, gsize entry, RvPicture *picture, gsize text_limit)
{
    gsize size = tiff_number(tiff, entry + 4, 4), offset = tiff_number(tiff, entry + 8, 4);
    if (size < 8 || size > text_limit || offset > tiff->size || tiff->size - offset < size)
        return;
    char *text = decode_comment(tiff->data + offset, size);
    if (text != NULL)
        g_hash_table_replace(picture->texts, g_strdup("UserComment"), text);
}

int
rv_exif_read(const guint8 *data, gsize size, RvPicture *picture, gsize text_limit)
{
    if (size >= 6 && memcmp(data, "Exif\0\0", 6) == 0) {
        data += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(data, "II*\0", 4) != 0 && memcmp(data, "MM\0*", 4) != 0))
        return 1;
    Tiff tiff = { data, size, data[0] == 'I' };
    gsize folder = tiff_number(&tiff, 4, 4);

    gsize entry = find_entry(&tiff, folder, TAG_EXIF_FOLDER);
    if (entry != 0) {
        gsize comment = find_entry(&tiff, tiff_number(&tiff, entry + 8, 4), TAG_USER_COMMENT);
        if (comment != 0)
            read_comment(&tiff, comment, picture, text_limit);
    }
    entry = find_entry(&tiff, folder, TAG_ORIENTATION);
    guint32 orientation = 1;
    if (entry != 0 && tiff_number(&tiff, entry + 2, 2) == TYPE_SHORT)
        orientation = tiff_number(&tiff, entry + 8, 2);
    return orientation >= 1 && orientation <= 8 ? (int)orientation : 1;
}

static void
append_number(GByteArray *bytes, guint32 value, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        guint8 byte = (guint8)(value >> (8 * i));
        g_byte_array_append(bytes, &byte, 1);
    }
}

/* A folder of one entry, and no folder after it: 18 bytes. */
static void
append_folder(GByteArray *bytes, guint32 tag, guint32 type, guint32 count, guint32 value)
{
    append_number(bytes, 1, 2);
    append_number(bytes, tag, 2);
    append_number(bytes, type, 2);
    append_number(bytes, count, 4);
    append_number(bytes, value, 4);
    append_number(bytes, 0, 4);
}

GByteArray *
rv_exif_build(const char *user_comment)
{
    gsize size;
    g_autofree char *utf16 = g_convert(user_comment, -1, "UTF-16BE", "UTF-8", NULL, &size, NULL);
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)"MM\0*", 4);
    append_number(bytes, 8, 4);
    append_folder(bytes, TAG_EXIF_FOLDER, TYPE_LONG, 1, 26);
    append_folder(bytes, TAG_USER_COMMENT, TYPE_UNDEFINED, (guint32)size + 8, 44);
    g_byte_array_append(bytes, (const guint8 *)"UNICODE\0", 8);
    g_byte_array_append(bytes, (const guint8 *)utf16, (guint)size);
    return bytes;
}

/* Where the pixel at (x, y) of the upright picture lies in the stored one of width x height. */
static gsize
stored_index(int orientation, int x, int y, int width, int height)
{
    int column = orientation >= 5 ? y : x, row = orientation >= 5 ? x : y;
    if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8)
        column = width - 1 - column;
    if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7)
        row = height - 1 - row;
    return (gsize)row * (gsize)width + (gsize)column;
}

bool
rv_picture_orient(RvPicture *picture, int orientation, GError **error)
{
    if (orientation == 1)
        return true;
    bool is_turned = orientation >= 5;
    RvPicture *upright =
        rv_picture_new(is_turned ? picture->height : picture->width,
                       is_turned ? picture->width : picture->height, picture->alpha != NULL, error);
    if (upright == NULL)
        return false;
    for (int y = 0; y < upright->height; y++)
        for (int x = 0; x < upright->width; x++) {
            gsize to = (gsize)y * (gsize)upright->width + (gsize)x;
            gsize from = stored_index(orientation, x, y, picture->width, picture->height);
            memcpy(upright->rgb + 3 * to, picture->rgb + 3 * from, 3);
            if (picture->alpha != NULL)
                upright->alpha[to] = picture->alpha[from];
        }
    GHashTable *texts = upright->texts;
    RvPicture stored = *picture;
    *picture = *upright;
    picture->texts = stored.texts;
    stored.texts = texts;
    *upright = stored;
    rv_picture_free(upright);
    return true;
}
