#include "engine/choose.h"

#include <string.h>

#include "backends/cpu/cpu.h"
#include "backends/load.h"

const char *
rv_precision_name(RvDType compute)
{
    return compute == RV_F16 ? "fp16" : compute == RV_BF16 ? "bf16" : "fp32";
}

static bool
choose_precision(const RvEngineOptions *options, bool is_gpu, RvDType *compute, GError **error)
{
    const char *name = options->precision == NULL ? "auto" : options->precision;
    static const char *const known[] = { "auto", "fp32", "fp16", "bf16", "fp8", NULL };
    if (!g_strv_contains(known, name))
        return rv_error_set(error, RV_ERROR_USAGE, name, "use auto, fp32, fp16, bf16 or fp8",
                            "there is no precision of that name");
    *compute = RV_F32;
    if (strcmp(name, "fp32") == 0 || (strcmp(name, "auto") == 0 && !is_gpu))
        return true;
    if (!is_gpu)
        return rv_error_set(error, RV_ERROR_DEVICE, "cpu", "use --precision fp32 or auto",
                            "this device computes in fp32 only, not %s", name);
    *compute = strcmp(name, "bf16") == 0 ? RV_BF16 : RV_F16;
    return true;
}

static bool
open_device(const RvEngineOptions *options, const RvBackend *backend, int index, RvTurn turn,
            RvChosen *chosen, GError **error)
{
    if (backend == NULL)
        return false;
    chosen->is_gpu = backend != &rv_cpu_backend;
    if (!choose_precision(options, chosen->is_gpu, &chosen->compute, error))
        return false;
    chosen->is_fp8 = g_strcmp0(options->precision, "fp8") == 0;
    RvDeviceOptions device = { .index = index,
                               .compute = chosen->compute,
                               .threads = options->threads,
                               .fp8 = chosen->is_fp8 ? MAX(options->fp8, RV_FP8_FASTER) : RV_FP8_NONE,
                               .background = options->background,
                               .turn = turn };
    chosen->device = rv_device_open(backend, &device, error);
    return chosen->device != NULL;
}

/* Once that was a GPU it stays one: when the GPU is lost nobody waits for a CPU instead. */
static bool
open_auto(const RvEngineOptions *options, RvTurn turn, RvChosen *chosen, GError **error)
{
    static gint is_gpu; /* atomic */
    g_autoptr(GError) wrong = NULL;
    if (open_device(options, rv_backend_load("cuda", NULL), 0, turn, chosen, &wrong)) {
        g_atomic_int_set(&is_gpu, 1);
        return true;
    }
    if (!g_atomic_int_get(&is_gpu))
        return open_device(options, &rv_cpu_backend, 0, turn, chosen, error);
    g_propagate_error(error, g_steal_pointer(&wrong));
    return false;
}

/* "cuda" is the first one. */
static bool
gpu_number(const char *name, int *index)
{
    gint64 number = 0;
    if (strcmp(name, "cuda") == 0)
        *index = 0;
    else if (g_str_has_prefix(name, "cuda:") &&
             g_ascii_string_to_signed(name + 5, 10, 0, 1023, &number, NULL))
        *index = (int)number;
    else
        return false;
    return true;
}

char **
rv_engine_split_devices(const char *list)
{
    char **names = g_strsplit(list != NULL ? list : "auto", ",", -1);
    for (char **name = names; *name != NULL; name++) {
        g_strstrip(*name);
        if (!g_ascii_isdigit(**name))
            continue;
        char *full = g_strconcat("cuda:", *name, NULL);
        g_free(*name);
        *name = full;
    }
    return names;
}

bool
rv_engine_choose(const RvEngineOptions *options, RvTurn turn, RvChosen *chosen, GError **error)
{
    const char *name = options->device == NULL ? "auto" : options->device;
    int index = 0;
    if (strcmp(name, "cpu") == 0)
        return open_device(options, &rv_cpu_backend, 0, turn, chosen, error);
    if (gpu_number(name, &index))
        return open_device(options, rv_backend_load("cuda", error), index, turn, chosen, error);
    if (strcmp(name, "auto") != 0)
        return rv_error_set(error, RV_ERROR_USAGE, name, "use auto, cpu or cuda[:NUMBER]",
                            "there is no device of that name");
    return open_auto(options, turn, chosen, error);
}
