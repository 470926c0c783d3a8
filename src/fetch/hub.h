/* hub.h - which files of a Hugging Face repository are the model. */
#pragma once
#include "fetch/http.h"

typedef struct {
    char *path; /* inside the repository; plain (store/files.h) */
    gint64 size;
    char *sha256; /* of files in LFS, else NULL */
} RvHubFile;

/* The files of a diffusers model in the order in which to fetch them: model_index.json last, so that a folder
 * that has it is whole. Weights are safetensors of `variant` ("fp16"; NULL: the plain ones), a part that
 * lacks it gives what it has. Without a model_index.json: config.json and the weights beside it (a VAE or
 * TAESD). Array of RvHubFile; free with g_ptr_array_unref. Errors: UNSUPPORTED (pickles only, no model),
 * INVALID (the answer is malformed or a path in it leads out), and those of rv_http_get_text. */
GPtrArray *rv_hub_list(const RvFetchOptions *options, const char *hub, const char *repo, const char *variant,
                       GError **error);
