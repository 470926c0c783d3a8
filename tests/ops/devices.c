#include "devices.h"

#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/load.h"

static const RvBackend *
open_once(RvDType compute, GError **error)
{
    void *device = NULL;
    const RvBackend *backend = rv_backend_load("cuda", error);
    if (backend == NULL || !backend->open(&(RvDeviceOptions) { .compute = compute }, &device, error))
        return NULL;
    backend->close(device);
    return backend;
}

TestDevice
test_device(const char *name)
{
    static const TestDevice devices[] = {
        { "cpu", &rv_cpu_backend, RV_F32 },
        { "cuda-f16", NULL, RV_F16 },
        { "cuda-bf16", NULL, RV_BF16 },
        { "cuda-f32", NULL, RV_F32 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(devices); i++) {
        TestDevice device = devices[i];
        if (strcmp(device.name, name) != 0)
            continue;
        g_autoptr(GError) error = NULL;
        if (device.backend == NULL && (device.backend = open_once(device.compute, &error)) == NULL) {
            g_print("1..0 # SKIP no GPU for %s: %s\n", name, error->message);
            exit(EXIT_SUCCESS);
        }
        return device;
    }
    g_error("no device %s", name);
}
