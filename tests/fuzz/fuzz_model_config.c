/* A part's config.json (the first byte chooses the part), and the list of tensors that it asks for. */
#include "weights/config_read.h"
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static void
expect(void *user, const char *name, int rank, const gint64 *shape)
{
    for (int i = 0; i < rank; i++)
        if (shape[i] < 1)
            __builtin_trap();
    ++*(gsize *)user;
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    RvConfig config;
    char path[64];
    gsize count = 0;
    int fd = size > 0 ? memfd_create("config", MFD_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    RvPart part = (RvPart)(data[0] % RV_PARTS);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (write(fd, data + 1, size - 1) == (ssize_t)(size - 1) && rv_config_read(path, part, &config, NULL)) {
        if (part == RV_PART_UNET)
            rv_config_settle_pooled(&config.unet, 0, false);
        rv_config_expect(part, &config, expect, &count);
    }
    close(fd);
    return 0;
}
