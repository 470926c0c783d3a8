/* routes.c - the table of the picture API. A new address is a row here and a handler; /openapi.json and /docs
 * follow. */
#include "server/sdapi/handlers.h"
#include "server/sdapi/schemas.h"

#define V1 "/sdapi/v1/"
#define MAX_PICTURES_BODY ((gsize)96 << 20)
#define MAX_PICTURE_BODY ((gsize)48 << 20)
#define MAX_OPTIONS_BODY ((gsize)1 << 20)

#define A1111(METHODS, PATH, HANDLER, HELP, ...)                                                      \
    {                                                                                                 \
        METHODS, PATH, RV_AUTH_REQUIRED, .handler = HANDLER, .errors = RV_ERRORS_A1111, .help = HELP, \
                                         ##__VA_ARGS__                                                \
    }
#define GET(PATH, HANDLER, HELP, ...) A1111("GET", PATH, HANDLER, HELP, ##__VA_ARGS__)
#define POST(PATH, HANDLER, HELP, ...) A1111("POST", PATH, HANDLER, HELP, ##__VA_ARGS__)
#define REFUSED(METHOD, PATH, WHY) A1111(METHOD, PATH, rv_sdapi_refused, "Refused", .parameter = WHY)

const RvRoute rv_sdapi_routes[] = {
    POST(V1 "txt2img", rv_sdapi_txt2img, "Pictures from text", .body = &rv_schema_txt2img,
         .max_body = MAX_PICTURES_BODY),
    POST(V1 "img2img", rv_sdapi_img2img, "Pictures from a picture, or inside a mask",
         .body = &rv_schema_img2img, .max_body = MAX_PICTURES_BODY),
    POST(V1 "extra-single-image", rv_sdapi_extras_single, "A picture, larger",
         .body = &rv_schema_extras_single, .max_body = MAX_PICTURE_BODY),
    POST(V1 "extra-batch-images", rv_sdapi_extras_batch, "Pictures, larger", .body = &rv_schema_extras_batch,
         .max_body = MAX_PICTURES_BODY),
    POST(V1 "png-info", rv_sdapi_png_info, "What a picture says about itself", .body = &rv_schema_png_info,
         .max_body = MAX_PICTURE_BODY),
    POST(V1 "interrogate", rv_sdapi_interrogate, "Answers 501: there is no model for it",
         .body = &rv_schema_interrogate, .max_body = MAX_PICTURE_BODY),

    GET(V1 "progress", rv_sdapi_progress, "How far the work is, with a preview",
        .query_fields = &rv_schema_progress),
    POST(V1 "interrupt", rv_sdapi_interrupt, "Ends one's own job with what is drawn; ?id_task=NAME"),
    POST(V1 "skip", rv_sdapi_skip, "Ends the batch in work; ?id_task=NAME"),

    A1111("GET,POST", V1 "options", rv_sdapi_options, "The user's options; POST sets some of them",
          .max_body = MAX_OPTIONS_BODY),
    GET(V1 "cmd-flags", rv_sdapi_cmd_flags, "How the server was started"),
    GET(V1 "samplers", rv_sdapi_samplers, "Samplers"),
    GET(V1 "schedulers", rv_sdapi_schedulers, "Schedules"),
    GET(V1 "upscalers", rv_sdapi_upscalers, "Upscalers"),
    GET(V1 "latent-upscale-modes", rv_sdapi_latent_upscale_modes, "Upscalers of hires fix besides"),
    GET(V1 "sd-models", rv_sdapi_checkpoints, "Models"),
    GET(V1 "sd-vae", rv_sdapi_vaes, "Autoencoders"),
    GET(V1 "hypernetworks", rv_sdapi_empty_list, "None are supported"),
    GET(V1 "face-restorers", rv_sdapi_empty_list, "None are built in"),
    GET(V1 "realesrgan-models", rv_sdapi_empty_list, "See upscalers"),
    GET(V1 "prompt-styles", rv_sdapi_styles, "The user's styles"),
    GET(V1 "embeddings", rv_sdapi_embeddings, "Textual inversions"),
    GET(V1 "loras", rv_sdapi_loras, "LoRAs"),
    GET(V1 "extensions", rv_sdapi_empty_list, "None: foreign code is not loaded"),
    POST(V1 "refresh-checkpoints", rv_sdapi_refresh, "Looks for models again"),
    POST(V1 "refresh-vae", rv_sdapi_refresh, "The same"),
    POST(V1 "refresh-loras", rv_sdapi_refresh, "The same"),
    POST(V1 "refresh-embeddings", rv_sdapi_refresh, "The same"),
    GET(V1 "memory", rv_sdapi_memory, "Bytes of the host and of devices"),
    POST(V1 "unload-checkpoint", rv_sdapi_unload, "Gives the models' memory back"),
    POST(V1 "reload-checkpoint", rv_sdapi_reload, "Loads the user's model"),
    GET(V1 "scripts", rv_sdapi_scripts, "Scripts"),
    GET(V1 "script-info", rv_sdapi_script_info, "Scripts and their arguments"),

    REFUSED("POST", V1 "server-kill", "the server is stopped by whoever started it"),
    REFUSED("POST", V1 "server-restart", "the server is stopped by whoever started it"),
    REFUSED("POST", V1 "server-stop", "the server is stopped by whoever started it"),
    REFUSED("POST", V1 "create/embedding", "this server does not train"),
    REFUSED("POST", V1 "create/hypernetwork", "this server does not train"),
    REFUSED("POST", V1 "train/embedding", "this server does not train"),
    REFUSED("POST", V1 "train/hypernetwork", "this server does not train"),

    GET("/controlnet/version", rv_sdapi_controlnet_version, "Of the extension that is followed"),
    GET("/controlnet/settings", rv_sdapi_controlnet_settings, "How many units there may be"),
    GET("/controlnet/model_list", rv_sdapi_controlnet_models, "ControlNets"),
    GET("/controlnet/module_list", rv_sdapi_controlnet_modules, "Preprocessors"),
    GET("/controlnet/control_types", rv_sdapi_controlnet_types, "Both, by what they look at"),
    POST("/controlnet/detect", rv_sdapi_controlnet_detect, "What a preprocessor makes of pictures",
         .body = &rv_schema_detect, .max_body = MAX_PICTURES_BODY),

    POST("/controlnet/txt2img", rv_sdapi_txt2img, "txt2img for old clients, with controlnet_units",
         .body = &rv_schema_txt2img, .max_body = MAX_PICTURES_BODY),
    POST("/controlnet/img2img", rv_sdapi_img2img, "img2img for old clients, with controlnet_units",
         .body = &rv_schema_img2img, .max_body = MAX_PICTURES_BODY),

    GET("/internal/ping", rv_sdapi_empty_object, "{}"),
    GET("/internal/pending-tasks", rv_sdapi_pending, "The user's queued jobs"),
    POST("/internal/progress", rv_sdapi_internal_progress, "How far a job is",
         .body = &rv_schema_internal_progress),
    GET("/internal/sysinfo", rv_sdapi_sysinfo, "Version and memory"),
    GET("/internal/profile-startup", rv_sdapi_profile_startup,
        "Seconds that the server took until it was ready"),
    GET("/internal/quicksettings-hint", rv_sdapi_option_names, "Options and what they are"),

    POST("/free", rv_sdapi_free, "ComfyUI's name for unload-checkpoint", .body = &rv_schema_free),
    { "POST", "/v1/images/generations", RV_AUTH_REQUIRED, .handler = rv_openai_images,
      .errors = RV_ERRORS_OPENAI, .body = &rv_schema_openai_images,
      .help = "Pictures from text, as OpenAI's API" },
    { "POST", "/v1/images/edits", RV_AUTH_REQUIRED, .handler = rv_openai_edits, .errors = RV_ERRORS_OPENAI,
      .body = &rv_schema_openai_edits, .takes_forms = true, .max_body = MAX_PICTURE_BODY,
      .help = "A picture redrawn, or inside a mask, as OpenAI's API; as a form, too" },
    { "GET", "/v1/models", RV_AUTH_REQUIRED, .handler = rv_openai_models, .errors = RV_ERRORS_OPENAI,
      .help = "Models, as OpenAI's API" },

    { "GET", "/openapi.json", RV_AUTH_REQUIRED, .handler = rv_openapi_get,
      .help = "These addresses for programs" },
    { "GET", "/docs", RV_AUTH_REQUIRED, .handler = rv_docs_get, .help = "These addresses for people" },
    { 0 },
};
