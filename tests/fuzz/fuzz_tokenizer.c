/* Tokenizer files and the text they are used on. Input: vocab.json (or, after a first byte "J",
 * tokenizer.json), merges.txt, tokenizer_config.json and a text, separated by bytes 0x1e; an input without
 * a separator is a text for the built-in vocabulary. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text/clean.h"
#include "text/tokenizer.h"

#define SEPARATOR "\x1e"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static char folder[] = "/tmp/rv-fuzz-tokenizer-XXXXXX";

static void
remove_folder(void)
{
    const char *names[] = { "vocab.json", "tokenizer.json", "merges.txt", "tokenizer_config.json" };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(folder, names[i], NULL);
        unlink(path);
    }
    rmdir(folder);
}

static void
write_part(const char *name, const char *text)
{
    g_autofree char *path = g_build_filename(folder, name, NULL);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        abort();
    fputs(text, file);
    fclose(file);
}

static void
use(const RvTokenizer *tokenizer, const char *text)
{
    g_autoptr(GArray) ids = g_array_new(FALSE, FALSE, sizeof(gint32));
    rv_tokenizer_encode(tokenizer, text, ids);
    if (ids->len > 4 * strlen(text)) /* a byte becomes at most three (U+FFFD), and a token has one at least */
        abort();
    g_autofree char *back = rv_tokenizer_decode(tokenizer, (const gint32 *)(void *)ids->data, ids->len);
    if (!g_utf8_validate(back, -1, NULL))
        abort();
    rv_tokenizer_word(tokenizer, text);
}

static void
use_folder(char **parts, guint count)
{
    static bool is_made;
    if (!is_made && mkdtemp(folder) != NULL) {
        atexit(remove_folder);
        is_made = true;
    }
    bool is_single = parts[0][0] == 'J';
    g_autofree char *other = g_build_filename(folder, is_single ? "vocab.json" : "tokenizer.json", NULL);
    unlink(other);
    write_part(is_single ? "tokenizer.json" : "vocab.json", parts[0] + is_single);
    write_part("merges.txt", parts[1]);
    write_part("tokenizer_config.json", count > 2 ? parts[2] : "{}");
    g_autoptr(GError) error = NULL;
    g_autoptr(RvTokenizer) tokenizer = rv_tokenizer_new_from_folder(folder, &error);
    if ((tokenizer == NULL) != (error != NULL))
        abort();
    if (tokenizer != NULL)
        use(tokenizer, count > 3 ? parts[3] : "ab");
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    static RvTokenizer *builtin;
    if (builtin == NULL)
        builtin = rv_tokenizer_new_builtin(NULL);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) parts = g_strsplit(text, SEPARATOR, 4);
    guint count = g_strv_length(parts);
    if (count >= 2)
        use_folder(parts, count);
    else
        use(builtin, text);
    return 0;
}
