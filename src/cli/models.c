/* models.c - `reverie models`: list, info, verify, convert; pull is pull.c. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json_build.h"
#include "cli/console.h"
#include "cli/generate.h"
#include "cli/pull.h"
#include "weights/convert.h"
#include "weights/lora.h"

static char *precision, *output;

/* Opens what is there, so that info can say what is not. */
static RvModel *
open_partial(const char *name, GError **error)
{
    g_autofree char *path = rv_find_model(name, rv_generate_options.models_dir, error);
    return path != NULL ? rv_model_open(path, &(RvModelOptions) { .partial = true }, error) : NULL;
}

static void
print_names(const char *title, const GPtrArray *names)
{
    if (names->len == 0)
        return;
    printf("%s (%u):\n", title, names->len);
    for (guint i = 0; i < MIN(names->len, 10); i++)
        printf("  %s\n", (const char *)g_ptr_array_index(names, i));
    if (names->len > 10)
        printf("  ... and %u more\n", names->len - 10);
}

static bool
show_lora(const RvLora *lora, GError **error)
{
    g_autofree char *hash = rv_lora_hash(lora), *bytes = g_format_size(rv_lora_bytes(lora));
    const char *alias = rv_lora_alias(lora) != NULL ? rv_lora_alias(lora) : "";
    if (!rv_generate_options.json) {
        printf("%s\nkind        %s\nmodules     %u\nrank        %d\nname        %s\nhash        %s\nsize     "
               "   %s\n",
               rv_lora_path(lora), rv_lora_kind(lora), rv_lora_modules(lora), rv_lora_rank(lora), alias, hash,
               bytes);
        return true;
    }
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    const char *const texts[][2] = {
        { "family", "lora" }, { "variant", rv_lora_kind(lora) }, { "alias", alias }, { "hash", hash }
    };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        rv_json_add_text(json, texts[i][0], texts[i][1]);
    }
    const gint64 numbers[] = { (gint64)rv_lora_modules(lora), rv_lora_rank(lora),
                               (gint64)rv_lora_bytes(lora) };
    const char *const keys[] = { "modules", "rank", "bytes" };
    for (gsize i = 0; i < G_N_ELEMENTS(keys); i++) {
        rv_json_add_int(json, keys[i], numbers[i]);
    }
    json_builder_end_object(json);
    return rv_console_print_json(json, false, error);
}

static bool
show_info(const char *name, GError **error)
{
    g_autoptr(GError) cause = NULL;
    g_autoptr(RvModel) model = open_partial(name, &cause);
    if (model == NULL) {
        g_autofree char *path = rv_find_model(name, rv_generate_options.models_dir, NULL);
        g_autoptr(RvLora) lora = path != NULL ? rv_lora_open(path, NULL) : NULL;
        if (lora != NULL)
            return show_lora(lora, error);
        g_propagate_error(error, g_steal_pointer(&cause));
        return false;
    }
    if (rv_generate_options.json) {
        g_autofree char *line = rv_model_info_json(model);
        printf("%s\n", line);
        return true;
    }
    const RvModelTraits *traits = rv_model_traits(model);
    g_auto(RvModelCheck) check = { 0 };
    rv_model_examine(model, &check);
    g_autofree char *bytes = g_format_size(rv_model_bytes(model));
    printf("%s\n", rv_model_path(model));
    printf("family      %s\nvariant     %s\nprediction  %s%s\nlayout      %s\nparameters  %.1f million\nsize "
           "       %s\nparts      ",
           traits->family_name, rv_variant_name(traits->variant),
           rv_model_prediction_name(traits->prediction),
           traits->zero_terminal_snr ? ", zero terminal SNR" : "",
           traits->is_folder ? "folder" : "single file", (double)check.parameters * 1e-6, bytes);
    for (int part = 0; part < RV_PARTS; part++)
        if (rv_model_has(model, (RvPart)part))
            printf(" %s", rv_part_name((RvPart)part));
    printf("\n");
    print_names("missing", check.missing);
    print_names("of the wrong shape", check.wrong);
    print_names("not used", check.unused);
    return true;
}

typedef struct {
    gint64 tensors, elements, bad_tensors;
    char *first_bad;
} Finite;

static void
count_finite(void *user, const char *name, const RvArray *array)
{
    enum { PIECE = 4096 };
    Finite *finite = user;
    if (g_atomic_int_get(rv_console_cancel_flag()) != 0)
        return;
    gint64 count = rv_array_count(array);
    const guint8 *data = array->data;
    gsize size = rv_dtype_size(array->dtype);
    finite->tensors++;
    finite->elements += count;
    for (gint64 done = 0; done < count; done += PIECE) {
        float piece[PIECE];
        gsize n = (gsize)MIN(count - done, (gint64)PIECE);
        rv_convert_to_f32(array->dtype, data + (gsize)done * size, piece, n);
        for (gsize i = 0; i < n; i++)
            if (!isfinite(piece[i])) {
                finite->bad_tensors++;
                if (finite->first_bad == NULL)
                    finite->first_bad = g_strdup(name);
                return;
            }
    }
}

static bool
verify(const char *name, GError **error)
{
    g_autofree char *path = rv_find_model(name, rv_generate_options.models_dir, error);
    g_autoptr(RvModel) model = path != NULL ? rv_model_open(path, NULL, error) : NULL;
    if (model == NULL || !rv_model_check(model, error))
        return false;
    Finite finite = { 0 };
    for (int part = 0; part < RV_PARTS; part++)
        rv_model_each(model, (RvPart)part, count_finite, &finite);
    g_autofree char *first_bad = finite.first_bad;
    if (!rv_console_check_cancel(error))
        return false;
    if (finite.bad_tensors > 0)
        return rv_error_set(error, RV_ERROR_INVALID, first_bad, "get the file again",
                            "%" G_GINT64_FORMAT " tensors hold numbers that are not finite, this one first",
                            finite.bad_tensors);
    if (rv_generate_options.json) {
        g_autoptr(JsonBuilder) json = json_builder_new();
        json_builder_begin_object(json);
        rv_json_add_text(json, "path", path);
        rv_json_add_int(json, "tensors", finite.tensors);
        rv_json_add_int(json, "parameters", finite.elements);
        json_builder_end_object(json);
        return rv_console_print_json(json, false, error);
    }
    printf("%s: complete, %" G_GINT64_FORMAT " tensors, %" G_GINT64_FORMAT " numbers, all finite\n", path,
           finite.tensors, finite.elements);
    return true;
}

static bool
on_converted(void *user, double done)
{
    rv_progress_bar_update(user, done * 100.0, 100.0, "%");
    return g_atomic_int_get(rv_console_cancel_flag()) == 0;
}

static bool
convert(const char *name, GError **error)
{
    static const struct {
        const char *name;
        RvDType dtype;
    } precisions[] = { { "fp16", RV_F16 }, { "bf16", RV_BF16 }, { "fp32", RV_F32 } };
    if (rv_generate_options.json)
        return rv_error_set(error, RV_ERROR_USAGE, "--json", "leave it out", "convert prints nothing");
    RvProgressBar bar;
    RvConvertOptions options = { .progress = on_converted, .user = &bar };
    if (output == NULL || *output == '\0')
        return rv_error_set(error, RV_ERROR_USAGE, "--output",
                            "add -o OUT (a folder, or a name that ends in .safetensors)",
                            "it is not said where to write");
    bool known = false;
    for (gsize i = 0; i < G_N_ELEMENTS(precisions); i++)
        if (strcmp(precision != NULL ? precision : "fp16", precisions[i].name) == 0) {
            options.dtype = precisions[i].dtype;
            known = true;
        }
    if (!known)
        return rv_error_set(error, RV_ERROR_USAGE, "--precision", "use fp16, bf16 or fp32",
                            "cannot write \"%s\"", precision);
    g_autofree char *path = rv_find_model(name, rv_generate_options.models_dir, error);
    g_autoptr(RvModel) model = path != NULL ? rv_model_open(path, NULL, error) : NULL;
    if (model == NULL)
        return false;
    rv_progress_bar_begin(&bar, "converting");
    bool ok = rv_model_convert(model, output, &options, error);
    rv_progress_bar_end(&bar);
    return ok;
}

/* A folder with model_index.json, or a safetensors file. */
static bool
looks_like_model(const char *path)
{
    g_autofree char *index = g_build_filename(path, "model_index.json", NULL);
    return g_file_test(index, G_FILE_TEST_EXISTS) ||
           (g_str_has_suffix(path, ".safetensors") && g_file_test(path, G_FILE_TEST_IS_REGULAR));
}

static int
compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The models in a folder, by name, that are not in `paths` yet. */
static void
add_models(const char *folder, GPtrArray *paths)
{
    guint first = paths->len;
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir != NULL && (name = g_dir_read_name(dir)) != NULL;) {
        g_autofree char *joined = g_build_filename(folder, name, NULL),
                        *path = g_canonicalize_filename(joined, NULL);
        if (looks_like_model(path) && !g_ptr_array_find_with_equal_func(paths, path, g_str_equal, NULL))
            g_ptr_array_add(paths, g_steal_pointer(&path));
    }
    if (paths->len > first)
        qsort(paths->pdata + first, paths->len - first, sizeof *paths->pdata, compare_strings);
}

static bool
print_listed(const char *name, const RvModel *model, const char *path, const GError *wrong, GError **error)
{
    g_autoptr(JsonBuilder) json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "name", name);
    rv_json_add_text(json, "path", path);
    if (model != NULL) {
        rv_json_add_text(json, "family", rv_model_traits(model)->family_name);
        rv_json_add_text(json, "variant", rv_variant_name(rv_model_traits(model)->variant));
    } else {
        rv_json_add_text(json, "error", wrong->message);
    }
    json_builder_end_object(json);
    return rv_console_print_json(json, false, error);
}

static bool
list_one(const char *path, GError **error)
{
    g_autofree char *name = g_path_get_basename(path);
    g_autoptr(GError) wrong = NULL;
    g_autoptr(RvModel) model = rv_model_open(path, &(RvModelOptions) { .partial = true }, &wrong);
    if (rv_generate_options.json)
        return print_listed(name, model, path, wrong, error);
    if (model != NULL)
        printf("%-24s %-8s %-10s %s\n", name, rv_model_traits(model)->family_name,
               rv_variant_name(rv_model_traits(model)->variant), path);
    else
        printf("%-24s %s\n", name, wrong->message);
    return true;
}

static bool
list(GError **error)
{
    g_auto(GStrv) folders = rv_model_folders(rv_generate_options.models_dir);
    g_autoptr(GPtrArray) paths = g_ptr_array_new_with_free_func(g_free);
    for (char **folder = folders; *folder != NULL; folder++)
        add_models(*folder, paths);
    for (guint i = 0; i < paths->len; i++)
        if (!rv_console_check_cancel(error) || !list_one(g_ptr_array_index(paths, i), error))
            return false;
    if (paths->len > 0)
        return true;
    g_autofree char *all = g_strjoinv(", ", folders);
    return rv_error_set(error, RV_ERROR_NOT_FOUND, all, "give a folder with --models", "there is no model");
}

int
rv_command_models(int argc, char **argv)
{
    const GOptionEntry entries[] = {
        { "models", 0, 0, G_OPTION_ARG_FILENAME, &rv_generate_options.models_dir,
          "Where names of models are looked up (also $REVERIE_MODELS)", "DIR" },
        { "output", 'o', 0, G_OPTION_ARG_FILENAME, &output,
          "convert: a folder, or a name that ends in .safetensors", "OUT" },
        { "precision", 0, 0, G_OPTION_ARG_STRING, &precision, "convert: fp16 (default), bf16, fp32", "P" },
        { "json", 0, 0, G_OPTION_ARG_NONE, &rv_generate_options.json,
          "list: a JSON object a line; info, verify, pull: one", NULL },
        { 0 },
    };
    const RvOptionGroup groups[] = { { NULL, entries }, { "Pull", rv_pull_entries }, { NULL, NULL } };
    g_autofree char *pull_names = rv_pull_names();
    g_autofree char *summary = g_strconcat(
        "list: the models that have a name here. info: family, variant, parts, what is missing.\n"
        "verify: every tensor there, of the right shape, every number finite.\n"
        "convert: another precision or layout.\n"
        "pull: downloads a model into the first folder of --models, $REVERIE_MODELS, ./models: a NAME of "
        "those "
        "below,\nhf:OWNER/REPO, hf:OWNER/REPO:FILE or https://... A run that was cut off goes on when it is "
        "repeated.\nA token is taken from $HF_TOKEN.\n\nNames that pull knows:\n",
        pull_names, NULL);
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) arguments = NULL;
    rv_generate_options_init();
    bool ok = rv_parse_options(&argc, &argv,
                               "list | info MODEL | verify MODEL | convert MODEL -o OUT | pull NAME", summary,
                               "Examples:\n  reverie models info sd15.safetensors\n"
                               "  reverie models convert sd15.safetensors -o sd15-folder --precision fp16\n"
                               "  reverie models pull sdxl-turbo --variant fp16\n",
                               groups, &arguments, &error);
    const char *what = ok && arguments[0] != NULL ? arguments[0] : "";
    const char *model = *what != '\0' ? arguments[1] : NULL;
    bool one_model = model != NULL && arguments[2] == NULL;
    if (ok && strcmp(what, "list") == 0 && model == NULL)
        ok = list(&error);
    else if (ok && strcmp(what, "info") == 0 && one_model)
        ok = show_info(model, &error);
    else if (ok && strcmp(what, "verify") == 0 && one_model)
        ok = verify(model, &error);
    else if (ok && strcmp(what, "convert") == 0 && one_model)
        ok = convert(model, &error);
    else if (ok && strcmp(what, "pull") == 0 && one_model)
        ok = rv_models_pull(model, &error);
    else if (ok)
        ok = rv_error_set(&error, RV_ERROR_USAGE, "models", "see reverie models --help",
                          "say list, or info, verify, convert or pull and one model");
    rv_generate_options_clear();
    return ok ? 0 : rv_console_fail(error);
}
