/* tiny_model.h - models of a few kilobytes for tests, written below a temporary folder. */
#pragma once
#include "weights/config_read.h"
#include "weights/safetensors.h"

extern char *tiny_folder; /* between tiny_begin and tiny_end */
void tiny_begin(void);
void tiny_end(void);

/* Writes a file below the folder, making the folders on the way. */
void tiny_write(const char *text, const char *first, ...) G_GNUC_NULL_TERMINATED;
void tiny_remove(const char *path); /* a tree; links are not followed */

/* The config.json of a tiny part: text, UNet, VAE, TAESD. */
const char *tiny_config(RvPart part);
/* Writes folder/NAME with text encoder, UNet and VAE, and gives its path. */
char *tiny_make(const char *name);
void tiny_make_part(const char *model, RvPart part, const char *name, const char *json, const char *file);
/* The tensors that a config.json asks for: of RvTensorSpec. */
GArray *tiny_specs(const char *config_path, RvPart part);
void tiny_write_specs(const RvTensorSpec *specs, gsize count, const char *path);
