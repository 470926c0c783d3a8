/* library.h - what lies beside the models, by name: LoRAs, embeddings, ControlNets, upscalers, VAEs,
 * wildcards.
 *
 * In each of the models' folders the sub-folders are those of A1111 and ComfyUI (Lora, embeddings,
 * ControlNet, ESRGAN ...; upper and lower case are one). A name is a file's name without its ending, as A1111
 * has it. Files are looked up anew at each call, so that one that was put there a moment ago is found. Once
 * set up a library does not change and may be used from several threads. */
#pragma once
#include "base/error.h"

typedef enum {
    RV_NETWORK_LORA,
    RV_NETWORK_EMBEDDING,
    RV_NETWORK_CONTROLNET,
    RV_NETWORK_UPSCALER,
    RV_NETWORK_VAE,
    RV_NETWORK_WILDCARD, /* text files, one choice a line */
    RV_NETWORK_KINDS,
} RvNetworkKind;

typedef struct RvLibrary RvLibrary;

/* Folders of models in the order of precedence, NULL-terminated; those that do not exist are passed over. */
RvLibrary *rv_library_new(const char *const *folders);
void rv_library_free(RvLibrary *library); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvLibrary, rv_library_free)

/* One file more, or all the files of one folder more, whatever their place. For setting up. */
void rv_library_add(RvLibrary *library, RvNetworkKind kind, const char *path);

typedef struct {
    char *name; /* stem; with sub-folders' names for wildcards ("animals/cats") */
    char *path;
    gint64 bytes, modified; /* modified: seconds since 1970 */
} RvLibraryFile;

/* All files of a kind by name, each name once; an array of RvLibraryFile, free with g_ptr_array_unref. */
GPtrArray *rv_library_list(const RvLibrary *library, RvNetworkKind kind);
/* The same without those that are still being copied here: for choosing from. */
GPtrArray *rv_library_list_whole(const RvLibrary *library, RvNetworkKind kind);
/* The path of a name; RV_ERROR_NOT_FOUND when no file has it. Never a path: for names from outside. Free with
 * g_free. `library` NULL knows none. */
char *rv_library_find(const RvLibrary *library, RvNetworkKind kind, const char *name, GError **error);
/* The same, and paths too: for whoever may read files anyway. */
char *rv_library_resolve(const RvLibrary *library, RvNetworkKind kind, const char *name, GError **error);
