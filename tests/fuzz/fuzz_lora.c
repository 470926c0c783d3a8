/* An adapter's file, and its modules against layers of the shapes that they claim. */
#include "weights/lora_private.h"
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    static int memory = -1;
    if (memory < 0)
        memory = memfd_create("lora", 0);
    if (ftruncate(memory, 0) != 0 || pwrite(memory, data, size, 0) != (ssize_t)size)
        return 0;
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", memory);
    g_autoptr(RvLora) lora = rv_lora_open(path, NULL);
    if (lora != NULL)
        g_free(rv_lora_hash(lora));
    for (size_t at = 0; at < size; at += 64) {
        g_autofree char *name = g_strndup((const char *)data + at, MIN(size - at, (size_t)64));
        g_free(rv_lora_normal_key(name));
    }
    return 0;
}
