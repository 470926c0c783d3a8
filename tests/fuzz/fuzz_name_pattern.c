/* Names of files: a line with the pattern, then the infotext. What comes out never leads out of a folder. */
#include <stdlib.h>
#include <string.h>

#include "store/files.h"
#include "studio/name_pattern.h"

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    char *line = strchr(text, '\n');
    if (line != NULL)
        *line = '\0';
    RvNameFacts facts = { .infotext = line != NULL ? line + 1 : NULL,
                          .user = text,
                          .styles = text,
                          .seed = 7,
                          .batch_size = 2,
                          .count = 4 };
    g_autofree char *file = rv_name_file(text, &facts), *folder = rv_name_folder(text, &facts);
    if (*file != '\0' && (!rv_path_is_plain(file) || strchr(file, '/') != NULL || strlen(file) > 200))
        abort();
    if (*folder != '\0' && !rv_path_is_plain(folder))
        abort();
    return 0;
}
