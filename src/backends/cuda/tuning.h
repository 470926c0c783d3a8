/* tuning.h - the fastest way of doing an op on this GPU, found by trying, kept from run to run: a file for
 * each GPU and set of library versions below $XDG_CACHE_HOME/reverie/tuning/, written whole and renamed into
 * place. A file that is damaged or of another version counts as empty. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef struct CudaTuning CudaTuning;

/* The file `name` in the folder `kind` ("tuning"; "calibration" for f8.h): what a choice depends on, the card
 * and library versions. Never fails: without a cache folder choices are kept for the process only. */
CudaTuning *cuda_tuning_open(const char *kind, const char *name);
/* Writes what is new and frees; accepts NULL. */
void cuda_tuning_close(CudaTuning *tuning);
/* The choice kept under `key` if it has exactly so many bytes, else NULL; valid until the next store of the
 * key. */
const void *cuda_tuning_find(const CudaTuning *tuning, const char *key, gsize bytes);
void cuda_tuning_store(CudaTuning *tuning, const char *key, const void *data, gsize bytes);
/* Writes new choices to the file now (open programs call it when a plan is built), beside those that others
 * wrote since it was read, which can be found from then on; of a key that both have, this one's. */
void cuda_tuning_save(CudaTuning *tuning); /* accepts NULL */
