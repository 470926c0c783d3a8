/* networks.h - the options that name LoRAs, embeddings and ControlNets, and what they turn into. */
#pragma once
#include <glib.h>

#include "engine/library.h"
#include "engine/request.h"

extern const GOptionEntry rv_network_entries[];

/* Frees the options' strings and the library. */
void rv_network_options_clear(void);

/* The library of the models' folders and of --embedding; made at the first call, freed by the function above.
 * NULL when an embedding does not exist. */
const RvLibrary *rv_network_library(const char *models_dir, GError **error);

/* Parses the options into a request, which borrows `networks`. USAGE or the picture's error. */
typedef struct {
    RvLoraUse loras[RV_MAX_LORAS];
    RvControlUse controls[RV_MAX_CONTROLS];
    GPtrArray *strings, *pictures;
} RvRequestNetworks;
bool rv_network_options_parse(RvRequestNetworks *networks, RvRequest *request, GError **error);
void rv_request_networks_clear(RvRequestNetworks *networks);
