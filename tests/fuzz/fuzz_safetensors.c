/* A whole safetensors file, then all that is made of its names and shapes. */
#include "weights/config_read.h"
#include "weights/header.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *data, size_t size);

static void
expect(void *user, const char *name, int rank, const gint64 *shape)
{
    const RvNames *names = user;
    for (int part = 0; part < RV_PARTS; part++) {
        const RvBinding *binding = rv_names_find(names, (RvPart)part, name);
        if (binding)
            rv_shapes_match(rank, shape, binding->array.rank, binding->array.shape);
    }
}

static void
try_names(const RvHeader *header, RvPart part)
{
    const RvGuess guess = { true, true, 1.0f };
    g_autoptr(RvNames) names = rv_names_new();
    const RvFileTensor *tensors = (const RvFileTensor *)(void *)header->tensors->data;
    if (!rv_names_add(names, tensors, header->tensors->len, part, "fuzz", NULL))
        return;
    for (int p = 0; p < RV_PARTS; p++) {
        RvConfig config;
        if (rv_names_has_part(names, (RvPart)p) &&
            rv_config_deduce(names, (RvPart)p, &guess, &config, "fuzz", NULL)) {
            if (p == RV_PART_UNET)
                rv_config_settle_pooled(&config.unet, 0, false);
            rv_config_expect((RvPart)p, &config, expect, names);
        }
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, size_t size)
{
    RvHeader header;
    guint64 length;
    if (size < 8)
        return 0;
    memcpy(&length, data, 8);
    length = GUINT64_FROM_LE(length);
    if (length > size - 8)
        return 0;
    if (!rv_header_parse(&header, (const char *)data + 8, length, size - 8 - length, "fuzz", NULL))
        return 0;
    try_names(&header, RV_PART_NONE);
    for (int part = 0; part < RV_PARTS; part++)
        try_names(&header, (RvPart)part);
    rv_header_clear(&header);
    return 0;
}
