#include "cli/networks.h"

#include <string.h>

#include "cli/generate.h"
#include "engine/embeddings.h"
#include "media/annotate.h"

static struct {
    char **loras, **embeddings, **controls;
    char *module, *mode, *resize;
    RvLibrary *library;
} given;

const GOptionEntry rv_network_entries[] = {
    { "lora", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &given.loras,
      "LoRA, LoCon, LoHa or LoKr: a file, or a name in --models/Lora; several times", "FILE|NAME[:WEIGHT]" },
    { "embedding", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &given.embeddings,
      "Textual inversion, or a folder of them, used where the prompt says its name; several times", "FILE" },
    { "controlnet", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &given.controls,
      "ControlNet and the picture that steers it; several times", "FILE|NAME:IMAGE[:WEIGHT[:START:END]]" },
    { "control-module", 0, 0, G_OPTION_ARG_STRING, &given.module,
      "What makes the map from the picture: none (default), canny, blur, invert, tile, openpose", "M" },
    { "control-mode", 0, 0, G_OPTION_ARG_STRING, &given.mode, "balanced (default), prompt, control", "M" },
    { "control-resize", 0, 0, G_OPTION_ARG_STRING, &given.resize, "crop (default), stretch, fill", "R" },
    { 0 },
};

void
rv_network_options_clear(void)
{
    g_clear_pointer(&given.loras, g_strfreev);
    g_clear_pointer(&given.embeddings, g_strfreev);
    g_clear_pointer(&given.controls, g_strfreev);
    g_clear_pointer(&given.module, g_free);
    g_clear_pointer(&given.mode, g_free);
    g_clear_pointer(&given.resize, g_free);
    g_clear_pointer(&given.library, rv_library_free);
}

/* A file that is an embedding, or a folder with at least one. */
static bool
check_embedding(const char *path, GError **error)
{
    RvEmbeddingFile file;
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        bool ok = rv_embedding_file_read(&file, path, error);
        if (ok)
            rv_embedding_file_clear(&file);
        return ok;
    }
    g_autoptr(RvLibrary) folder = rv_library_new((const char *const[]) { NULL });
    rv_library_add(folder, RV_NETWORK_EMBEDDING, path);
    g_autoptr(GPtrArray) files = rv_library_list(folder, RV_NETWORK_EMBEDDING);
    for (guint i = 0; i < files->len; i++)
        if (rv_embedding_file_read(&file, ((RvLibraryFile *)g_ptr_array_index(files, i))->path, NULL)) {
            rv_embedding_file_clear(&file);
            return true;
        }
    return rv_error_set(error, RV_ERROR_NOT_FOUND, path, "give a file, or a folder of such files",
                        "there is no embedding in this folder");
}

const RvLibrary *
rv_network_library(const char *models_dir, GError **error)
{
    if (given.library != NULL)
        return given.library;
    for (char **path = given.embeddings; path != NULL && *path != NULL; path++)
        if (!check_embedding(*path, error))
            return NULL;
    g_auto(GStrv) folders = rv_model_folders(models_dir);
    given.library = rv_library_new((const char *const *)folders);
    for (char **path = given.embeddings; path != NULL && *path != NULL; path++)
        rv_library_add(given.library, RV_NETWORK_EMBEDDING, *path);
    return given.library;
}

static bool
parse_number(const char *text, double *value)
{
    char *end;
    *value = g_ascii_strtod(text, &end);
    return end != text && *end == '\0' && *value == *value && *value > -1e6 && *value < 1e6;
}

static const char *
keep(RvRequestNetworks *networks, char *text)
{
    g_ptr_array_add(networks->strings, text);
    return text;
}

/* NAME, NAME:WEIGHT or NAME:TEXT_WEIGHT:UNET_WEIGHT; a file whose name has a colon may be given, too. */
static bool
parse_lora(RvRequestNetworks *networks, const char *text, RvLoraUse *use, GError **error)
{
    double weights[2] = { 1.0, 1.0 };
    int count = 0;
    char *name = g_strdup(text), *colon;
    while (count < 2 && !g_file_test(name, G_FILE_TEST_EXISTS) && (colon = strrchr(name, ':')) != NULL &&
           parse_number(colon + 1, &weights[count])) {
        count++;
        *colon = '\0';
    }
    *use = (RvLoraUse) { keep(networks, name), weights[count == 2 ? 1 : 0], weights[0] };
    if (*name == '\0' || (count == 0 && !g_file_test(name, G_FILE_TEST_EXISTS) && strchr(name, ':') != NULL))
        return rv_error_set(error, RV_ERROR_USAGE, "--lora", "give NAME:WEIGHT, for example style:0.8",
                            "\"%s\" names no LoRA and weight", text);
    return true;
}

static bool
parse_mode(const char *text, RvControlMode *mode, GError **error)
{
    static const char *const names[] = { "balanced", "prompt", "control" };
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        if (text == NULL || strcmp(text, names[i]) == 0) {
            *mode = (RvControlMode)i;
            return true;
        }
    return rv_error_set(error, RV_ERROR_USAGE, "--control-mode", "use balanced, prompt or control",
                        "there is no mode \"%s\"", text);
}

static bool
parse_resize(const char *text, RvResizeMode *mode, GError **error)
{
    static const char *const names[] = { "stretch", "crop", "fill" };
    *mode = RV_RESIZE_CROP;
    for (gsize i = 0; text != NULL && i < G_N_ELEMENTS(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *mode = (RvResizeMode)i;
            return true;
        }
    return text == NULL || rv_error_set(error, RV_ERROR_USAGE, "--control-resize",
                                        "use crop, stretch or fill", "there is no way \"%s\"", text);
}

/* Keypoints are drawn at the picture's size when it is given. */
static RvPicture *
draw_pose(const char *path, const RvRequest *request, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autofree char *json = NULL;
    gsize length;
    if (!g_file_get_contents(path, &json, &length, &cause)) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the path", "cannot read the pose: %s",
                     cause->message);
        return NULL;
    }
    return rv_openpose_draw(json, (gssize)length, request->width > 0 ? request->width : 512,
                            request->height > 0 ? request->height : 512, error);
}

static bool
parse_control(RvRequestNetworks *networks, const char *text, const RvRequest *request, RvControlUse *use,
              GError **error)
{
    g_auto(GStrv) fields = g_strsplit(text, ":", -1);
    guint count = g_strv_length(fields);
    *use = (RvControlUse) { .weight = 1.0, .end = 1.0, .module = given.module };
    bool ok = (count == 2 || count == 3 || count == 5) && *fields[0] != '\0' && *fields[1] != '\0' &&
              (count < 3 || parse_number(fields[2], &use->weight)) &&
              (count < 5 || (parse_number(fields[3], &use->start) && parse_number(fields[4], &use->end)));
    if (!ok)
        return rv_error_set(error, RV_ERROR_USAGE, "--controlnet",
                            "give MODEL:IMAGE, MODEL:IMAGE:WEIGHT or MODEL:IMAGE:WEIGHT:START:END",
                            "\"%s\" cannot be read", text);
    if (use->start < 0.0 || use->end > 1.0 || use->start > use->end)
        return rv_error_set(error, RV_ERROR_USAGE, "--controlnet", "give shares of the steps, 0 to 1",
                            "from %g to %g is no range", use->start, use->end);
    RvPicture *picture = g_str_has_suffix(fields[1], ".json") ? draw_pose(fields[1], request, error)
                                                              : rv_picture_load(fields[1], NULL, error);
    if (picture == NULL)
        return false;
    g_ptr_array_add(networks->pictures, picture);
    use->image = picture;
    use->model = keep(networks, g_strdup(fields[0]));
    return parse_mode(given.mode, &use->mode, error) && parse_resize(given.resize, &use->resize, error);
}

static bool
check_count(const char *option, char **list, guint most, GError **error)
{
    guint count = list != NULL ? g_strv_length(list) : 0;
    return count <= most || rv_error_set(error, RV_ERROR_USAGE, option, "give fewer",
                                         "%u are too many, %u at the most", count, most);
}

/* Said even when no picture is given: an option that does nothing is a mistake. */
static bool
check_control_options(GError **error)
{
    RvControlMode mode;
    RvResizeMode resize;
    if (!parse_mode(given.mode, &mode, error) || !parse_resize(given.resize, &resize, error))
        return false;
    if (given.controls != NULL || (given.module == NULL && given.mode == NULL && given.resize == NULL))
        return true;
    return rv_error_set(error, RV_ERROR_USAGE, "--controlnet", "add --controlnet MODEL:IMAGE",
                        "an option for ControlNets without a ControlNet");
}

bool
rv_network_options_parse(RvRequestNetworks *networks, RvRequest *request, GError **error)
{
    *networks = (RvRequestNetworks) {
        .strings = g_ptr_array_new_with_free_func(g_free),
        .pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free),
    };
    if (!check_control_options(error) || !check_count("--lora", given.loras, RV_MAX_LORAS, error) ||
        !check_count("--controlnet", given.controls, RV_MAX_CONTROLS, error))
        return false;
    for (char **text = given.loras; text != NULL && *text != NULL; text++)
        if (!parse_lora(networks, *text, &networks->loras[request->lora_count++], error))
            return false;
    for (char **text = given.controls; text != NULL && *text != NULL; text++)
        if (!parse_control(networks, *text, request, &networks->controls[request->control_count++], error))
            return false;
    request->loras = networks->loras;
    request->controls = networks->controls;
    return true;
}

void
rv_request_networks_clear(RvRequestNetworks *networks)
{
    g_clear_pointer(&networks->strings, g_ptr_array_unref);
    g_clear_pointer(&networks->pictures, g_ptr_array_unref);
}
