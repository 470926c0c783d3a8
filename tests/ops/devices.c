#include "devices.h"

#include <stdlib.h>
#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/load.h"

static const RvBackend *
open_once(const TestDevice *tested, GError **error)
{
    void *device = NULL;
    const RvDeviceOptions options = { .compute = tested->compute, .fp8 = tested->fp8 };
    const RvBackend *backend = rv_backend_load("cuda", error);
    if (backend == NULL || !backend->open(&options, &device, error))
        return NULL;
    backend->close(device);
    return backend;
}

TestDevice
test_device(const char *name)
{
    static const TestDevice devices[] = {
        { "cpu", &rv_cpu_backend, RV_F32, RV_FP8_NONE }, { "cuda-f16", NULL, RV_F16, RV_FP8_NONE },
        { "cuda-bf16", NULL, RV_BF16, RV_FP8_NONE },     { "cuda-f32", NULL, RV_F32, RV_FP8_NONE },
        { "cuda-f8", NULL, RV_F16, RV_FP8_ONE },         { "cuda-f8-each", NULL, RV_F16, RV_FP8_EACH },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(devices); i++) {
        TestDevice device = devices[i];
        if (strcmp(device.name, name) != 0)
            continue;
        g_autoptr(GError) error = NULL;
        if (device.backend == NULL && (device.backend = open_once(&device, &error)) == NULL) {
            g_print("1..0 # SKIP no GPU for %s: %s\n", name, error->message);
            exit(EXIT_SUCCESS);
        }
        return device;
    }
    g_error("no device %s", name);
}
