/* libjpeg leaves by longjmp, so everything that must survive lives in a struct outside the guarded call. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "media/internal.h"

/* A progressive file may name any number of passes over the picture; real ones use about ten. */
#define MAX_SCANS 200
#define MAX_MARKER_BYTES 65533

typedef struct {
    struct jpeg_error_mgr manager; /* first: libjpeg hands back a pointer to it */
    struct jpeg_decompress_struct decoder;
    struct jpeg_compress_struct encoder;
    struct jpeg_progress_mgr progress;
    const RvPictureSource *source;
    RvPicture *picture;
    guint8 *row; /* one CMYK row */
    int orientation;
    unsigned char *written;
    unsigned long written_size;
    jmp_buf jump;
    GError *error;
    char message[JMSG_LENGTH_MAX];
} Jpeg;

static void G_GNUC_NORETURN
on_error(j_common_ptr common)
{
    Jpeg *state = (Jpeg *)common->err;
    common->err->format_message(common, state->message);
    longjmp(state->jump, 1);
}

/* libjpeg merely warns where data is missing and fills up with grey; we give no partial pictures. */
static void
on_message(j_common_ptr common, int level)
{
    int code = common->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER))
        on_error(common);
}

static void
on_progress(j_common_ptr common)
{
    Jpeg *state = (Jpeg *)common->err;
    if (common->is_decompressor && ((j_decompress_ptr)common)->input_scan_number > MAX_SCANS) {
        g_strlcpy(state->message, "too many scans", sizeof state->message);
        longjmp(state->jump, 1);
    }
}

static void
prepare(Jpeg *state)
{
    jpeg_std_error(&state->manager);
    state->manager.error_exit = on_error;
    state->manager.emit_message = on_message;
    state->progress.progress_monitor = on_progress;
}

/* Photoshop stores CMYK inverted and says so with an Adobe marker. The product is Pillow's conversion. */
static void
cmyk_row_to_rgb(const guint8 *cmyk, guint8 *rgb, int width, bool is_inverted)
{
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        int white = is_inverted ? cmyk[3] : 255 - cmyk[3];
        for (int c = 0; c < 3; c++) {
            int ink = is_inverted ? 255 - cmyk[c] : cmyk[c];
            rgb[c] = (guint8)(white - (ink * white + 127) / 255);
        }
    }
}

static bool
read_rows(Jpeg *state)
{
    struct jpeg_decompress_struct *decoder = &state->decoder;
    state->picture =
        rv_picture_new((int)decoder->output_width, (int)decoder->output_height, false, &state->error);
    if (state->picture == NULL)
        return false;
    bool is_cmyk = decoder->out_color_space == JCS_CMYK;
    gsize stride = 3 * (gsize)decoder->output_width;
    if (is_cmyk)
        state->row = g_malloc_n(decoder->output_width, 4);
    while (decoder->output_scanline < decoder->output_height) {
        guint8 *to = state->picture->rgb + stride * decoder->output_scanline;
        JSAMPROW row = is_cmyk ? state->row : to;
        jpeg_read_scanlines(decoder, &row, 1);
        if (is_cmyk)
            cmyk_row_to_rgb(state->row, to, state->picture->width, decoder->saw_Adobe_marker);
    }
    return true;
}

static int
read_exif(const Jpeg *state)
{
    for (jpeg_saved_marker_ptr marker = state->decoder.marker_list; marker != NULL; marker = marker->next)
        if (marker->data_length >= 6 && memcmp(marker->data, "Exif\0\0", 6) == 0)
            return rv_exif_read(marker->data, marker->data_length, state->picture,
                                state->source->limits.text_bytes);
    return 1;
}

static bool
decode_guarded(Jpeg *state)
{
    struct jpeg_decompress_struct *decoder = &state->decoder;
    if (setjmp(state->jump))
        return rv_error_set(&state->error, RV_ERROR_INVALID, state->source->name, "give another file",
                            "broken JPEG: %s", state->message);
    jpeg_create_decompress(decoder);
    decoder->progress = &state->progress;
    jpeg_mem_src(decoder, state->source->data, state->source->size);
    jpeg_save_markers(decoder, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(decoder, TRUE);
    if (!rv_picture_check_size(state->source, decoder->image_width, decoder->image_height, &state->error))
        return false;
    bool is_cmyk = decoder->jpeg_color_space == JCS_CMYK || decoder->jpeg_color_space == JCS_YCCK;
    decoder->out_color_space = is_cmyk ? JCS_CMYK : JCS_RGB;
    decoder->dct_method = JDCT_ISLOW;
    jpeg_start_decompress(decoder);
    if (!read_rows(state))
        return false;
    state->orientation = read_exif(state); /* finishing drops the markers */
    jpeg_finish_decompress(decoder);
    return true;
}

RvPicture *
rv_jpeg_decode(const RvPictureSource *source, GError **error)
{
    Jpeg *state = g_new0(Jpeg, 1);
    state->source = source;
    prepare(state);
    state->decoder.err = &state->manager;
    bool done = decode_guarded(state) && rv_picture_orient(state->picture, state->orientation, &state->error);
    jpeg_destroy_decompress(&state->decoder);
    g_free(state->row);
    RvPicture *picture = state->picture;
    if (!done) {
        rv_picture_free(picture);
        picture = NULL;
        g_propagate_error(error, state->error);
    }
    g_free(state);
    return picture;
}

static bool
encode_guarded(Jpeg *state, const RvPicture *picture, int quality, const GByteArray *exif)
{
    struct jpeg_compress_struct *encoder = &state->encoder;
    if (setjmp(state->jump))
        return rv_error_set(&state->error, RV_ERROR_FAILED, NULL, NULL, "cannot write JPEG: %s",
                            state->message);
    jpeg_create_compress(encoder);
    jpeg_mem_dest(encoder, &state->written, &state->written_size);
    encoder->image_width = (JDIMENSION)picture->width;
    encoder->image_height = (JDIMENSION)picture->height;
    encoder->input_components = 3;
    encoder->in_color_space = JCS_RGB;
    jpeg_set_defaults(encoder);
    jpeg_set_quality(encoder, quality, TRUE);
    encoder->optimize_coding = TRUE;
    jpeg_start_compress(encoder, TRUE);
    if (exif != NULL)
        jpeg_write_marker(encoder, JPEG_APP0 + 1, exif->data, exif->len);
    while (encoder->next_scanline < encoder->image_height) {
        JSAMPROW row = picture->rgb + 3 * (gsize)picture->width * encoder->next_scanline;
        jpeg_write_scanlines(encoder, &row, 1);
    }
    jpeg_finish_compress(encoder);
    return true;
}

GBytes *
rv_jpeg_encode(const RvPicture *picture, const RvPictureSaveOptions *options, GError **error)
{
    g_autoptr(GByteArray) exif = NULL;
    if (options->infotext != NULL) {
        exif = rv_exif_build(options->infotext);
        g_byte_array_prepend(exif, (const guint8 *)"Exif\0\0", 6);
        if (exif->len > MAX_MARKER_BYTES) {
            rv_error_set(error, RV_ERROR_USAGE, NULL, "save as PNG",
                         "the generation parameters are too long for a JPEG: %u bytes", exif->len);
            return NULL;
        }
    }
    Jpeg *state = g_new0(Jpeg, 1);
    prepare(state);
    state->encoder.err = &state->manager;
    bool done = encode_guarded(state, picture, options->quality, exif);
    jpeg_destroy_compress(&state->encoder);
    GBytes *bytes = NULL;
    if (done)
        bytes = g_bytes_new(state->written, state->written_size);
    else
        g_propagate_error(error, state->error);
    free(state->written);
    g_free(state);
    return bytes;
}
