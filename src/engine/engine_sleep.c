/* engine_sleep.c - lending the device's memory to other programs. */
#include <string.h>

#include "engine/engine.h"

/* Bytes that programs may still take; 0: not known. */
static gsize
available_memory(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL))
        return 0;
    const char *line = strstr(text, "MemAvailable:");
    return line != NULL ? (gsize)g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024 : 0;
}

bool
rv_engine_can_sleep(const RvEngine *engine)
{
    const char *choice = g_getenv("REVERIE_SLEEP");
    if (g_strcmp0(choice, "always") == 0 || g_strcmp0(choice, "never") == 0)
        return *choice == 'a';
    return strcmp(rv_device_backend(rv_engine_device((RvEngine *)engine)), "cpu") != 0;
}

bool
rv_engine_sleep(RvEngine *engine, GError **error)
{
    RvDevice *device = rv_engine_device(engine);
    bool all;
    if (rv_device_unkept(device) <= available_memory() / 2 && !rv_device_keep(device, &all, error))
        return false;
    return rv_device_sleep(device, error);
}

bool
rv_engine_wake(RvEngine *engine, GError **error)
{
    return rv_device_wake(rv_engine_device(engine), error);
}
