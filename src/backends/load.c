#include "backends/load.h"

#include <dlfcn.h>
#include <string.h>

#define BUILD_TREE_DEPTH 4

static bool
is_file(const char *path)
{
    return g_file_test(path, G_FILE_TEST_IS_REGULAR);
}

/* In the folder of the executable or one above it, as it is or where a build puts it; NULL when in none. */
static char *
find_beside_executable(const char *name, const char *file)
{
    g_autofree char *executable = g_file_read_link("/proc/self/exe", NULL);
    g_autofree char *folder = executable != NULL ? g_path_get_dirname(executable) : NULL;
    for (int i = 0; folder != NULL && i < BUILD_TREE_DEPTH && strcmp(folder, "/") != 0; i++) {
        g_autofree char *beside = g_build_filename(folder, file, NULL);
        g_autofree char *built = g_build_filename(folder, "src", "backends", name, file, NULL);
        if (i == 0 && is_file(beside))
            return g_steal_pointer(&beside);
        if (is_file(built))
            return g_steal_pointer(&built);
        char *above = g_path_get_dirname(folder);
        g_free(folder);
        folder = above;
    }
    return NULL;
}

static char *
find_module(const char *name, GError **error)
{
    g_autofree char *upper = g_ascii_strup(name, -1);
    g_autofree char *variable = g_strdup_printf("REVERIE_%s_MODULE", upper);
    g_autofree char *file = g_strdup_printf("reverie-%s.so", name);
    const char *given = g_getenv(variable);
    if (given != NULL && is_file(given))
        return g_strdup(given);
    if (given != NULL) {
        rv_error_set(error, RV_ERROR_DEVICE, given, "set it to the module's path, or unset it",
                     "there is no such file, which %s names", variable);
        return NULL;
    }
    char *found = find_beside_executable(name, file);
    if (found != NULL)
        return found;
    g_autofree char *installed = g_build_filename(RV_MODULE_FOLDER, file, NULL);
    if (is_file(installed))
        return g_steal_pointer(&installed);
    rv_error_set(error, RV_ERROR_DEVICE, name, "install the module, or use --device cpu",
                 "%s is neither beside the program nor in " RV_MODULE_FOLDER, file);
    return NULL;
}

static const RvBackend *
open_module(const char *name, const char *path, GError **error)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        g_autofree char *reason = g_strdelimit(g_strdup(dlerror()), "\n", ' ');
        rv_error_set(error, RV_ERROR_DEVICE, name, "install the libraries that it needs, or use --device cpu",
                     "the module cannot be loaded: %s", reason);
        return NULL;
    }
    g_autofree char *symbol = g_strdup_printf("rv_%s_backend", name);
    const RvBackend *backend = dlsym(module, symbol);
    if (backend != NULL && backend->abi == RV_BACKEND_ABI)
        return backend;
    if (backend == NULL)
        rv_error_set(error, RV_ERROR_DEVICE, path, NULL, "this is no module of a back end: it lacks %s",
                     symbol);
    else
        rv_error_set(error, RV_ERROR_DEVICE, path, "install the module of the same version as the program",
                     "the module speaks version %d of the interface, this program version %d", backend->abi,
                     RV_BACKEND_ABI);
    dlclose(module);
    return NULL;
}

/* Asked first because it is quick: the module's libraries are hundreds of megabytes. */
static bool
has_driver(GError **error)
{
    if (g_getenv("REVERIE_CUDA_MODULE") != NULL)
        return true;
    void *driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (driver == NULL)
        return rv_error_set(error, RV_ERROR_DEVICE, "cuda", "install NVIDIA's driver, or use --device cpu",
                            "there is no NVIDIA driver");
    dlclose(driver);
    return true;
}

const RvBackend *
rv_backend_load(const char *name, GError **error)
{
    static GMutex mutex;
    static const RvBackend *loaded;
    if (strcmp(name, "cuda") != 0) {
        rv_error_set(error, RV_ERROR_USAGE, name, NULL, "there is no back end of that name");
        return NULL;
    }
    g_mutex_lock(&mutex);
    if (loaded == NULL && has_driver(error)) {
        g_autofree char *path = find_module(name, error);
        loaded = path != NULL ? open_module(name, path, error) : NULL;
    }
    const RvBackend *backend = loaded;
    g_mutex_unlock(&mutex);
    return backend;
}
