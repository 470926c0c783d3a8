/* handlers.h - the handlers of the picture API, for its route table (routes.c). */
#pragma once
#include "server/sdapi/task.h"

/* txt2img.c, img2img.c */
void rv_sdapi_txt2img(const RvCall *call);
void rv_sdapi_img2img(const RvCall *call);
/* An RvStudioOnDue of an RvServer: goes on with a request that is not there any more, to the script's next
 * job or to the grid that is kept. */
void rv_sdapi_on_due(const char *user, gint64 id, const char *due, void *server);

/* extras.c, pnginfo.c */
void rv_sdapi_extras_single(const RvCall *call);
void rv_sdapi_extras_batch(const RvCall *call);
void rv_sdapi_png_info(const RvCall *call);
void rv_sdapi_interrogate(const RvCall *call);

/* progress.c */
void rv_sdapi_progress(const RvCall *call);
void rv_sdapi_interrupt(const RvCall *call);
void rv_sdapi_skip(const RvCall *call);
void rv_sdapi_internal_progress(const RvCall *call);
void rv_sdapi_pending(const RvCall *call);

/* options.c */
void rv_sdapi_options(const RvCall *call);
void rv_sdapi_cmd_flags(const RvCall *call);
void rv_sdapi_option_names(const RvCall *call);

/* models.c */
void rv_sdapi_checkpoints(const RvCall *call);
void rv_sdapi_vaes(const RvCall *call);
void rv_sdapi_refresh(const RvCall *call);
void rv_sdapi_unload(const RvCall *call);
void rv_sdapi_reload(const RvCall *call);
void rv_sdapi_free(const RvCall *call);

/* networks.c */
void rv_sdapi_loras(const RvCall *call);
void rv_sdapi_embeddings(const RvCall *call);
void rv_sdapi_upscalers(const RvCall *call);

/* lists.c */
void rv_sdapi_samplers(const RvCall *call);
void rv_sdapi_schedulers(const RvCall *call);
void rv_sdapi_latent_upscale_modes(const RvCall *call);
void rv_sdapi_styles(const RvCall *call);
void rv_sdapi_empty_list(const RvCall *call);
void rv_sdapi_empty_object(const RvCall *call);
void rv_sdapi_refused(const RvCall *call); /* what this server does not do, plainly */

/* memory.c */
void rv_sdapi_memory(const RvCall *call);
void rv_sdapi_sysinfo(const RvCall *call);
void rv_sdapi_profile_startup(const RvCall *call);

/* script_info.c */
void rv_sdapi_scripts(const RvCall *call);
void rv_sdapi_script_info(const RvCall *call);

/* controlnet.c */
void rv_sdapi_controlnet_models(const RvCall *call);
void rv_sdapi_controlnet_modules(const RvCall *call);
void rv_sdapi_controlnet_types(const RvCall *call);
void rv_sdapi_controlnet_version(const RvCall *call);
void rv_sdapi_controlnet_settings(const RvCall *call);
void rv_sdapi_controlnet_detect(const RvCall *call);

/* openai.c */
void rv_openai_images(const RvCall *call);
void rv_openai_edits(const RvCall *call);
void rv_openai_models(const RvCall *call);

/* openapi.c, docs.c */
void rv_openapi_get(const RvCall *call);
void rv_docs_get(const RvCall *call);
