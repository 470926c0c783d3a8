/* Any text as generation parameters: what was read is written and read again unchanged. */
#include <string.h>

#include "media/infotext.h"

int LLVMFuzzerTestOneInput(const guint8 *data, gsize size);

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(RvInfotext) info = rv_infotext_parse(text);
    g_assert(g_utf8_validate(info->prompt, -1, NULL) && g_utf8_validate(info->negative, -1, NULL));

    /* Values must survive beside a plain prompt. A value that equals its key is written without one, and a
     * last line of fewer than three pairs would be prompt: both are the form's own rules. */
    g_autoptr(RvInfotext) values = rv_infotext_new("p", NULL);
    rv_infotext_set(values, "Steps", "1");
    rv_infotext_set(values, "Seed", "2");
    rv_infotext_set(values, "RNG", "CPU");
    for (guint i = 0; i < info->pairs->len; i++) {
        const RvInfotextPair *pair = info->pairs->pdata[i];
        if (strcmp(pair->key, pair->value) != 0)
            rv_infotext_set(values, pair->key, pair->value);
    }
    g_autofree char *written = rv_infotext_write(values);
    g_autoptr(RvInfotext) back = rv_infotext_parse(written);
    if (values->pairs->len <= 1000) {
        g_assert_cmpstr(back->prompt, ==, "p");
        g_assert_cmpuint(back->pairs->len, ==, values->pairs->len);
    }
    for (guint i = 0; i < back->pairs->len; i++) {
        const RvInfotextPair *pair = back->pairs->pdata[i];
        g_assert_cmpstr(rv_infotext_get(values, pair->key), ==, pair->value);
    }
    rv_infotext_expand(info);
    return 0;
}
