/* pages.h - the files of web/ as the build put them into the program. */
#pragma once
#include <glib.h>

typedef struct {
    const char *path; /* below web/, such as "mirror/main.js" */
    const unsigned char *data;
    gsize size;
} RvWebFile;

extern const RvWebFile rv_web_files[]; /* ends with a row without a path */
