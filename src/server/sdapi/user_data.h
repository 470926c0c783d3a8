/* user_data.h - what the store holds for a user of the picture API: options and styles. Main loop only. */
#pragma once
#include "engine/library.h"
#include "server/route.h"
#include "server/sdapi/settings.h"

/* The user's options over the defaults; a new object. A damaged document counts as none. */
JsonObject *rv_user_options(RvServer *server, const char *user);
/* Sets those of `values` that differ from what the user has; false with problems (may be NULL), then nothing
 * was changed. */
bool rv_user_options_change(RvServer *server, const char *user, JsonObject *values,
                            RvFieldProblems *problems);
/* [{"name","prompt","negative_prompt"}]; a new array. */
JsonArray *rv_user_styles(RvServer *server, const char *user);
/* Names in the order of /sdapi/v1/upscalers: "None" first; char *, free with g_ptr_array_unref. */
GPtrArray *rv_server_upscalers(RvServer *server);
/* What lies beside the models; a new library. */
RvLibrary *rv_server_library(RvServer *server);
