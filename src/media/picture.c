#include "media/picture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "media/internal.h"

#define DEFAULT_PIXELS ((gint64)64 << 20)
#define DEFAULT_FILE_BYTES ((gsize)512 << 20)
#define DEFAULT_TEXT_BYTES ((gsize)4 << 20)

RvPicture *
rv_picture_new(int width, int height, bool has_alpha, GError **error)
{
    g_assert(width > 0 && height > 0);
    gsize pixels = (gsize)width * (gsize)height;
    RvPicture *picture = g_new0(RvPicture, 1);
    picture->width = width;
    picture->height = height;
    picture->texts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    picture->rgb = g_try_malloc_n(pixels, 3);
    if (has_alpha)
        picture->alpha = g_try_malloc(pixels);
    if (picture->rgb == NULL || (has_alpha && picture->alpha == NULL)) {
        rv_picture_free(picture);
        rv_error_set(error, RV_ERROR_NO_MEMORY, NULL, "ask for a smaller picture",
                     "no memory for %d x %d pixels", width, height);
        return NULL;
    }
    return picture;
}

void
rv_picture_free(RvPicture *picture)
{
    if (picture == NULL)
        return;
    g_free(picture->rgb);
    g_free(picture->alpha);
    g_hash_table_unref(picture->texts);
    g_free(picture);
}

RvPicture *
rv_picture_copy(const RvPicture *picture, GError **error)
{
    return rv_picture_crop(picture, 0, 0, picture->width, picture->height, error);
}

const char *
rv_picture_infotext(const RvPicture *picture)
{
    const char *comment = g_hash_table_lookup(picture->texts, "UserComment");
    return comment != NULL && *comment != '\0' ? comment : g_hash_table_lookup(picture->texts, "parameters");
}

bool
rv_picture_check_size(const RvPictureSource *source, gint64 width, gint64 height, GError **error)
{
    if (width < 1 || height < 1)
        return rv_error_set(error, RV_ERROR_INVALID, source->name, "give another file",
                            "picture has no pixels: %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT, width, height);
    if (width > G_MAXINT32 || height > G_MAXINT32 || width > source->limits.pixels / height)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, source->name, "give a smaller one",
                            "picture is too large: %" G_GINT64_FORMAT " x %" G_GINT64_FORMAT
                            " pixels, the limit is %.1f million",
                            width, height, (double)source->limits.pixels / 1e6);
    return true;
}

void
rv_picture_set_rgba(RvPicture *picture, const guint8 *rgba)
{
    gsize pixels = (gsize)picture->width * (gsize)picture->height;
    for (gsize i = 0; i < pixels; i++) {
        memcpy(picture->rgb + 3 * i, rgba + 4 * i, 3);
        picture->alpha[i] = rgba[4 * i + 3];
    }
}

static bool
starts_with(const RvPictureSource *source, gsize offset, const char *magic, gsize length)
{
    return source->size >= offset + length && memcmp(source->data + offset, magic, length) == 0;
}

/* The name of a kind of file that people take for a usable picture, or NULL. */
static const char *
refused_kind(const RvPictureSource *source)
{
    if (starts_with(source, 0, "GIF8", 4))
        return "GIF";
    if (starts_with(source, 0, "BM", 2))
        return "BMP";
    if (starts_with(source, 0, "II*\0", 4) || starts_with(source, 0, "MM\0*", 4))
        return "TIFF";
    if (starts_with(source, 4, "ftypavif", 8) || starts_with(source, 4, "ftypavis", 8))
        return "AVIF";
    if (starts_with(source, 4, "ftyphei", 7) || starts_with(source, 4, "ftypmif1", 8))
        return "HEIC";
    if (starts_with(source, 0, "\xff\x0a", 2) || starts_with(source, 4, "JXL ", 4))
        return "JPEG XL";
    return NULL;
}

RvPicture *
rv_picture_load_bytes(const void *data, gsize size, const char *name, const RvPictureLimits *limits,
                      GError **error)
{
    RvPictureSource source = { .data = data, .size = size, .name = name };
    if (limits != NULL)
        source.limits = *limits;
    if (source.limits.pixels == 0)
        source.limits.pixels = DEFAULT_PIXELS;
    if (source.limits.text_bytes == 0)
        source.limits.text_bytes = DEFAULT_TEXT_BYTES;

    if (starts_with(&source, 0, "\x89PNG\r\n\x1a\n", 8))
        return rv_png_decode(&source, error);
    if (starts_with(&source, 0, "\xff\xd8\xff", 3))
        return rv_jpeg_decode(&source, error);
    if (starts_with(&source, 0, "RIFF", 4) && starts_with(&source, 8, "WEBP", 4))
        return rv_webp_decode(&source, error);
    if (starts_with(&source, 0, "P5", 2) || starts_with(&source, 0, "P6", 2))
        return rv_pnm_decode(&source, error);

    const char *kind = refused_kind(&source);
    if (size == 0)
        rv_error_set(error, RV_ERROR_INVALID, name, "give a PNG, JPEG or WebP file", "picture file is empty");
    else if (kind != NULL)
        rv_error_set(error, RV_ERROR_UNSUPPORTED, name, "save it as PNG, JPEG or WebP",
                     "%s pictures are not read", kind);
    else
        rv_error_set(error, RV_ERROR_INVALID, name, "give a PNG, JPEG or WebP file", "not a picture");
    return NULL;
}

static GByteArray *
file_failed(const char *path, GError **error)
{
    if (errno == ENOENT || errno == ENOTDIR)
        rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the name", "no such picture");
    else
        rv_error_set(error, rv_error_of_open(errno), path, "check the file and its permissions",
                     "cannot read picture: %s", g_strerror(errno));
    return NULL;
}

/* Reads to the end of an open file; pipes have no size beforehand, so the limit is checked on the way. */
static GByteArray *
read_descriptor(int descriptor, const char *path, gsize limit, GError **error)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autofree guint8 *block = g_malloc(1 << 16);
    for (;;) {
        gssize got = read(descriptor, block, 1 << 16);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_failed(path, error);
        if (got == 0)
            return g_steal_pointer(&bytes);
        if (bytes->len + (gsize)got > limit) {
            rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "give a smaller one",
                         "picture file is larger than %" G_GSIZE_FORMAT " bytes", limit);
            return NULL;
        }
        g_byte_array_append(bytes, block, (guint)got);
    }
}

static GByteArray *
read_file(const char *path, gsize limit, GError **error)
{
    /* O_NONBLOCK keeps open() from waiting for the writer of a named pipe. */
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0)
        return file_failed(path, error);
    GByteArray *bytes = NULL;
    struct stat status;
    if (fstat(descriptor, &status) != 0)
        file_failed(path, error);
    else if (S_ISDIR(status.st_mode))
        rv_error_set(error, RV_ERROR_INVALID, path, "name a picture file", "is a folder, not a picture");
    else if (S_ISREG(status.st_mode) && (guint64)status.st_size > limit)
        rv_error_set(error, RV_ERROR_UNSUPPORTED, path, "give a smaller one",
                     "picture file is larger than %" G_GSIZE_FORMAT " bytes", limit);
    else if (fcntl(descriptor, F_SETFL, 0) != 0)
        file_failed(path, error);
    else
        bytes = read_descriptor(descriptor, path, limit, error);
    close(descriptor);
    return bytes;
}

RvPicture *
rv_picture_load(const char *path, const RvPictureLimits *limits, GError **error)
{
    gsize limit = limits != NULL && limits->file_bytes != 0 ? limits->file_bytes : DEFAULT_FILE_BYTES;
    g_autoptr(GByteArray) bytes = read_file(path, limit, error);
    if (bytes == NULL)
        return NULL;
    return rv_picture_load_bytes(bytes->data, bytes->len, path, limits, error);
}
