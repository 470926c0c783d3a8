/* Any bytes as a picture: decoded, and written and read again with the texts that it carried. */
#include "media/picture.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    const RvPictureLimits limits = { .pixels = 1 << 20, .text_bytes = 1 << 16 };
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPicture) picture = rv_picture_load_bytes(data, size, "input", &limits, &error);
    g_assert((picture == NULL) == (error != NULL));
    if (picture == NULL || picture->width * picture->height > 4096)
        return 0;
    RvPictureSaveOptions options = { .infotext = rv_picture_infotext(picture), .png_level = 1 };
    g_autoptr(GBytes) png = rv_picture_encode(picture, RV_PICTURE_PNG, &options, &error);
    g_assert_no_error(error);
    gsize png_size;
    const void *png_data = g_bytes_get_data(png, &png_size);
    g_autoptr(RvPicture) back = rv_picture_load_bytes(png_data, png_size, "again", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(back->width, ==, picture->width);
    const char *text = rv_picture_infotext(picture);
    g_assert_cmpstr(rv_picture_infotext(back), ==, text != NULL && *text != '\0' ? text : NULL);
    return 0;
}
