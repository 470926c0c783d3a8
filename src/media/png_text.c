/* The texts of a PNG, read apart from libpng so that one budget covers all of them together:
 * a file of 1 MB can unpack to gigabytes. Texts that break the format are left out, as browsers do. */
#include <string.h>
#include <zlib.h>

#include "media/internal.h"

typedef struct {
    const RvPictureSource *source;
    RvPicture *picture;
    gsize budget; /* bytes of text still allowed */
    int orientation;
    GError **error;
} Walk;

static bool
too_much_text(const Walk *walk)
{
    return rv_error_set(walk->error, RV_ERROR_INVALID, walk->source->name, "give another file",
                        "PNG holds more than %" G_GSIZE_FORMAT " bytes of text",
                        walk->source->limits.text_bytes);
}

/* Unpacks to at most `budget` bytes. A broken stream gives an empty *text, but what it unpacked to is spent.
 */
static bool
inflate_text(Walk *walk, const guint8 *packed, gsize size, GByteArray *text)
{
    z_stream stream = { .next_in = (Bytef *)packed, .avail_in = (uInt)size };
    guint8 block[4096];
    int status = inflateInit(&stream);
    bool fits = true;
    while (status == Z_OK && fits) {
        stream.next_out = block;
        stream.avail_out = sizeof block;
        status = inflate(&stream, Z_NO_FLUSH);
        g_byte_array_append(text, block, (guint)(sizeof block - stream.avail_out));
        fits = text->len <= walk->budget;
    }
    inflateEnd(&stream);
    if (!fits)
        return too_much_text(walk);
    if (status == Z_STREAM_END)
        return true;
    walk->budget -= text->len;
    g_byte_array_set_size(text, 0);
    return true;
}

static bool
keep(Walk *walk, const char *key, const guint8 *text, gsize size, bool is_utf8)
{
    /* The constant stands for the entry itself, so that a million empty texts are refused too. */
    gsize cost = strlen(key) + size + 32;
    if (cost > walk->budget)
        return too_much_text(walk);
    walk->budget -= cost;
    char *utf8 = is_utf8
                     ? g_utf8_make_valid((const char *)text, (gssize)size)
                     : g_convert((const char *)text, (gssize)size, "UTF-8", "ISO-8859-1", NULL, NULL, NULL);
    char *key_utf8 = g_convert(key, -1, "UTF-8", "ISO-8859-1", NULL, NULL, NULL);
    g_hash_table_replace(walk->picture->texts, key_utf8, utf8);
    return true;
}

static bool
keep_unpacked(Walk *walk, const char *key, const guint8 *packed, gsize size, bool is_utf8)
{
    g_autoptr(GByteArray) text = g_byte_array_new();
    if (!inflate_text(walk, packed, size, text))
        return false;
    return text->len == 0 || keep(walk, key, text->data, text->len, is_utf8);
}

/* iTXt after its keyword: packed?, method, language NUL, translated keyword NUL, text. */
static bool
read_itxt(Walk *walk, const char *key, const guint8 *data, gsize size)
{
    if (size < 2)
        return true;
    bool is_packed = data[0] == 1;
    const guint8 *end = data + size, *next = data + 2;
    for (int i = 0; i < 2; i++) {
        next = memchr(next, 0, (gsize)(end - next));
        if (next == NULL)
            return true;
        next++;
    }
    if (is_packed)
        return keep_unpacked(walk, key, next, (gsize)(end - next), true);
    return keep(walk, key, next, (gsize)(end - next), true);
}

static bool
read_chunk(Walk *walk, const guint8 *type, const guint8 *data, gsize size)
{
    if (memcmp(type, "eXIf", 4) == 0) {
        walk->orientation = rv_exif_read(data, size, walk->picture, walk->source->limits.text_bytes);
        return true;
    }
    bool is_plain = memcmp(type, "tEXt", 4) == 0, is_packed = memcmp(type, "zTXt", 4) == 0;
    if (!is_plain && !is_packed && memcmp(type, "iTXt", 4) != 0)
        return true;
    const guint8 *key_end = memchr(data, 0, MIN(size, 80));
    if (key_end == NULL || key_end == data)
        return true;
    const char *key = (const char *)data;
    const guint8 *rest = key_end + 1;
    gsize rest_size = size - (gsize)(rest - data);
    if (is_plain)
        return keep(walk, key, rest, rest_size, false);
    if (is_packed)
        return rest_size < 1 || keep_unpacked(walk, key, rest + 1, rest_size - 1, false);
    return read_itxt(walk, key, rest, rest_size);
}

bool
rv_png_read_texts(const RvPictureSource *source, RvPicture *picture, int *orientation, GError **error)
{
    Walk walk = { source, picture, source->limits.text_bytes, 1, error };
    gsize offset = 8;
    while (source->size - offset >= 12) {
        const guint8 *chunk = source->data + offset;
        guint32 size, crc;
        memcpy(&size, chunk, 4);
        size = GUINT32_FROM_BE(size);
        if (size > source->size - offset - 12)
            break;
        memcpy(&crc, chunk + 8 + size, 4);
        bool is_ancillary = (chunk[4] & 0x20) != 0;
        if (is_ancillary && GUINT32_FROM_BE(crc) == crc32(0, chunk + 4, size + 4) &&
            !read_chunk(&walk, chunk + 4, chunk + 8, size))
            return false;
        offset += 12 + (gsize)size;
    }
    *orientation = walk.orientation;
    return true;
}
