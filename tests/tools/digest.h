/* digest.h - a checksum of what a safetensors file says, whatever the order in which it says it. */
#pragma once
#include <glib.h>

/* SHA-256, in hexadecimal, over the tensors sorted by name (bytewise); of each "NAME DTYPE AxBxC\n" (the
 * shape of a scalar is empty), then its bytes. NULL and *error when the file cannot be read. Free with
 * g_free. */
char *digest_of_file(const char *path, GError **error);
