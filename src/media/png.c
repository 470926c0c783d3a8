/* libpng leaves by longjmp, so everything that must survive lives in a struct outside the guarded call. */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "media/internal.h"

typedef struct {
    png_structp png;
    png_infop info;
    const RvPictureSource *source;
    gsize offset;
    RvPicture *picture;
    guint8 *rgba; /* only with alpha */
    png_bytep *rows;
    GByteArray *written;
    GError *error;
    char message[120];
} Png;

static void G_GNUC_NORETURN
on_error(png_structp png, png_const_charp message)
{
    Png *state = png_get_error_ptr(png);
    g_strlcpy(state->message, message, sizeof state->message);
    png_longjmp(png, 1);
}

static void
on_warning(png_structp png, png_const_charp message)
{
}

static void
on_read(png_structp png, png_bytep to, size_t count)
{
    Png *state = png_get_io_ptr(png);
    if (count > state->source->size - state->offset)
        png_error(png, "the file ends too early");
    memcpy(to, state->source->data + state->offset, count);
    state->offset += count;
}

static void
on_write(png_structp png, png_bytep from, size_t count)
{
    Png *state = png_get_io_ptr(png);
    g_byte_array_append(state->written, from, (guint)count);
}

static void
on_flush(png_structp png)
{
}

/* Whatever the file holds, rows come out as 8-bit RGB or RGBA. */
static void
ask_for_rgb(Png *state)
{
    png_set_expand(state->png);
    png_set_scale_16(state->png);
    png_set_gray_to_rgb(state->png);
    png_set_interlace_handling(state->png);
    png_read_update_info(state->png, state->info);
}

static bool
allocate_rows(Png *state, int width, int height)
{
    bool has_alpha = png_get_channels(state->png, state->info) == 4;
    state->picture = rv_picture_new(width, height, has_alpha, &state->error);
    if (state->picture == NULL)
        return false;
    gsize row = (gsize)width * (has_alpha ? 4 : 3);
    g_assert(png_get_rowbytes(state->png, state->info) == row);
    if (has_alpha)
        state->rgba = g_try_malloc_n((gsize)height, row);
    state->rows = g_try_new(png_bytep, height);
    if ((has_alpha && state->rgba == NULL) || state->rows == NULL)
        return rv_error_set(&state->error, RV_ERROR_NO_MEMORY, state->source->name, "give a smaller one",
                            "no memory to read the picture");
    for (int y = 0; y < height; y++)
        state->rows[y] = (has_alpha ? state->rgba : state->picture->rgb) + (gsize)y * row;
    return true;
}

static bool
decode_guarded(Png *state)
{
    if (setjmp(png_jmpbuf(state->png)))
        return rv_error_set(&state->error, RV_ERROR_INVALID, state->source->name, "give another file",
                            "broken PNG: %s", state->message);
    png_set_read_fn(state->png, state, on_read);
    png_set_keep_unknown_chunks(state->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_user_limits(state->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_read_info(state->png, state->info);
    ask_for_rgb(state);
    if (!allocate_rows(state, (int)png_get_image_width(state->png, state->info),
                       (int)png_get_image_height(state->png, state->info)))
        return false;
    png_read_image(state->png, state->rows);
    png_read_end(state->png, NULL);
    return true;
}

/* The size stands right behind the signature; libpng has no clear words for absurd ones. */
static bool
check_header(const RvPictureSource *source, GError **error)
{
    guint32 size[2];
    if (source->size < 24 || memcmp(source->data + 12, "IHDR", 4) != 0)
        return rv_error_set(error, RV_ERROR_INVALID, source->name, "give another file",
                            "broken PNG: no header");
    memcpy(size, source->data + 16, sizeof size);
    return rv_picture_check_size(source, GUINT32_FROM_BE(size[0]), GUINT32_FROM_BE(size[1]), error);
}

RvPicture *
rv_png_decode(const RvPictureSource *source, GError **error)
{
    if (!check_header(source, error))
        return NULL;
    Png state = { .source = source };
    state.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
    state.info = png_create_info_struct(state.png);
    int orientation = 1;
    bool done = decode_guarded(&state);
    if (done && state.rgba != NULL)
        rv_picture_set_rgba(state.picture, state.rgba);
    png_destroy_read_struct(&state.png, &state.info, NULL);
    g_free(state.rgba);
    g_free(state.rows);
    done = done && rv_png_read_texts(source, state.picture, &orientation, &state.error) &&
           rv_picture_orient(state.picture, orientation, &state.error);
    if (!done) {
        rv_picture_free(state.picture);
        g_propagate_error(error, state.error);
        return NULL;
    }
    return state.picture;
}

/* Pillow's rule, which readers of A1111 pictures rely on: Latin-1 as tEXt, anything else as plain iTXt. */
static void
write_text(Png *state, const char *key, const char *text)
{
    gsize length;
    g_autofree char *keyword = g_strdup(key);
    g_autofree char *latin1 = g_convert(text, -1, "ISO-8859-1", "UTF-8", NULL, &length, NULL);
    g_autofree char *utf8 = latin1 == NULL ? g_strdup(text) : NULL;
    png_text chunk = { 0 };
    chunk.key = keyword;
    chunk.compression = latin1 != NULL ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    chunk.text = latin1 != NULL ? latin1 : utf8;
    if (latin1 != NULL)
        chunk.text_length = length;
    else
        chunk.itxt_length = strlen(utf8);
    png_set_text(state->png, state->info, &chunk, 1);
}

static bool
encode_guarded(Png *state, const RvPicture *picture, const RvPictureSaveOptions *options)
{
    if (setjmp(png_jmpbuf(state->png)))
        return rv_error_set(&state->error, RV_ERROR_FAILED, NULL, NULL, "cannot write PNG: %s",
                            state->message);
    png_set_write_fn(state->png, state, on_write, on_flush);
    png_set_user_limits(state->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_compression_level(state->png, options->png_level);
    png_set_IHDR(state->png, state->info, (png_uint_32)picture->width, (png_uint_32)picture->height, 8,
                 picture->alpha != NULL ? PNG_COLOR_TYPE_RGBA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (options->infotext != NULL)
        write_text(state, "parameters", options->infotext);
    if (options->postprocessing != NULL)
        write_text(state, "postprocessing", options->postprocessing);
    png_write_info(state->png, state->info);
    for (int y = 0; y < picture->height; y++) {
        gsize first = (gsize)y * (gsize)picture->width;
        const guint8 *row = picture->rgb + 3 * first;
        for (int x = 0; picture->alpha != NULL && x < picture->width; x++) {
            memcpy(state->rgba + 4 * x, row + 3 * x, 3);
            state->rgba[4 * x + 3] = picture->alpha[first + (gsize)x];
        }
        png_write_row(state->png, picture->alpha != NULL ? state->rgba : row);
    }
    png_write_end(state->png, state->info);
    return true;
}

GBytes *
rv_png_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error)
{
    Png state = { .written = g_byte_array_new() };
    if (picture->alpha != NULL)
        state.rgba = g_malloc_n((gsize)picture->width, 4);
    state.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, on_error, on_warning);
    state.info = png_create_info_struct(state.png);
    bool done = encode_guarded(&state, picture, options);
    png_destroy_write_struct(&state.png, &state.info);
    g_free(state.rgba);
    if (!done) {
        g_byte_array_unref(state.written);
        g_propagate_error(error, state.error);
        return NULL;
    }
    return g_byte_array_free_to_bytes(state.written);
}
