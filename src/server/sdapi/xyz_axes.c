#include "server/sdapi/xyz_axes.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_VALUES 128

static const RvAxis axes[] = {
    { "Nothing", RV_AXIS_NOTHING, NULL, NULL, false, false },
    { "Seed", RV_AXIS_INTEGERS, "seed", NULL, false, false },
    { "Var. seed", RV_AXIS_INTEGERS, "subseed", NULL, false, false },
    { "Var. strength", RV_AXIS_NUMBERS, "subseed_strength", NULL, false, false },
    { "Steps", RV_AXIS_INTEGERS, "steps", NULL, false, false },
    { "Hires steps", RV_AXIS_INTEGERS, "hr_second_pass_steps", NULL, true, false },
    { "CFG Scale", RV_AXIS_NUMBERS, "cfg_scale", NULL, false, false },
    { "Image CFG Scale", RV_AXIS_MISSING, NULL, NULL, false, true },
    { "Prompt S/R", RV_AXIS_REPLACE, NULL, NULL, false, false },
    { "Prompt order", RV_AXIS_ORDER, NULL, NULL, false, false },
    { "Sampler", RV_AXIS_TEXTS, "sampler_name", NULL, true, false },
    { "Hires sampler", RV_AXIS_TEXTS, "hr_sampler_name", NULL, true, false },
    { "Sampler", RV_AXIS_TEXTS, "sampler_name", NULL, false, true },
    { "Checkpoint name", RV_AXIS_TEXTS, NULL, "sd_model_checkpoint", false, false },
    { "Negative Guidance minimum sigma", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Sigma Churn", RV_AXIS_NUMBERS, "s_churn", NULL, false, false },
    { "Sigma min", RV_AXIS_NUMBERS, "s_tmin", NULL, false, false },
    { "Sigma max", RV_AXIS_NUMBERS, "s_tmax", NULL, false, false },
    { "Sigma noise", RV_AXIS_NUMBERS, "s_noise", NULL, false, false },
    { "Schedule type", RV_AXIS_TEXTS, "scheduler", NULL, false, false },
    { "Schedule min sigma", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Schedule max sigma", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Schedule rho", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Beta schedule alpha", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Beta schedule beta", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Eta", RV_AXIS_NUMBERS, "eta", NULL, false, false },
    { "Clip skip", RV_AXIS_INTEGERS, NULL, "CLIP_stop_at_last_layers", false, false },
    { "Denoising", RV_AXIS_NUMBERS, "denoising_strength", NULL, false, false },
    { "Initial noise multiplier", RV_AXIS_NUMBERS, "initial_noise_multiplier", NULL, false, true },
    { "Extra noise", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Hires upscaler", RV_AXIS_TEXTS, "hr_upscaler", NULL, true, false },
    { "Cond. Image Mask Weight", RV_AXIS_MISSING, NULL, NULL, false, true },
    { "VAE", RV_AXIS_TEXTS, NULL, "sd_vae", false, false },
    { "Styles", RV_AXIS_TEXTS, "styles", NULL, false, false },
    { "UniPC Order", RV_AXIS_MISSING, NULL, NULL, true, false },
    { "Face restore", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Token merging ratio", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Token merging ratio high-res", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Always discard next-to-last sigma", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "SGM noise multiplier", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Refiner checkpoint", RV_AXIS_TEXTS, "refiner_checkpoint", NULL, false, false },
    { "Refiner switch at", RV_AXIS_NUMBERS, "refiner_switch_at", NULL, false, false },
    { "RNG source", RV_AXIS_TEXTS, NULL, "randn_source", false, false },
    { "FP8 mode", RV_AXIS_MISSING, NULL, NULL, false, false },
    { "Size", RV_AXIS_SIZES, NULL, NULL, false, false },
};

const RvAxis *
rv_axis_at(bool is_img2img, int index)
{
    for (gsize i = 0; i < G_N_ELEMENTS(axes); i++)
        if (!(is_img2img ? axes[i].txt2img_only : axes[i].img2img_only) && index-- == 0)
            return &axes[i];
    return NULL;
}

const RvAxis *
rv_axis_find(bool is_img2img, const char *name, RvRefusal *refusal)
{
    char *end;
    gint64 number = g_ascii_strtoll(name, &end, 10);
    const RvAxis *axis = *name == '\0' ? rv_axis_at(is_img2img, 0) : NULL;
    if (end != name && *end == '\0' && number >= 0 && number < (gint64)G_N_ELEMENTS(axes))
        axis = rv_axis_at(is_img2img, (int)number);
    for (int i = 0; axis == NULL && rv_axis_at(is_img2img, i) != NULL; i++)
        if (g_ascii_strcasecmp(rv_axis_at(is_img2img, i)->label, name) == 0)
            axis = rv_axis_at(is_img2img, i);
    if (axis == NULL)
        rv_refusal_set(refusal, 422, "X/Y/Z plot: there is no axis '%s'", name);
    else if (axis->kind == RV_AXIS_MISSING)
        rv_refusal_set(refusal, 422, "X/Y/Z plot: this server cannot vary '%s'", axis->label);
    return axis != NULL && axis->kind != RV_AXIS_MISSING ? axis : NULL;
}

/* ---- values ---- */

/* Comma-separated; a value in double quotes may hold commas, "" in it is a quote. */
static GPtrArray *
split(const char *text)
{
    GPtrArray *values = g_ptr_array_new_with_free_func(g_free);
    while (*text != '\0') {
        g_autoptr(GString) value = g_string_new(NULL);
        text += strspn(text, " \t\r\n");
        bool is_quoted = *text == '"';
        for (text += is_quoted; *text != '\0' && (is_quoted || *text != ','); text++) {
            if (is_quoted && *text == '"' && text[1] != '"') {
                is_quoted = false;
                continue;
            }
            text += is_quoted && *text == '"';
            g_string_append_c(value, *text);
        }
        text += *text == ',';
        g_strstrip(value->str);
        if (*value->str != '\0')
            g_ptr_array_add(values, g_strdup(value->str));
    }
    return values;
}

static void
add_number(GPtrArray *values, double number, bool is_whole)
{
    if (values->len < MAX_VALUES + 1)
        g_ptr_array_add(values,
                        is_whole ? g_strdup_printf("%.0f", round(number)) : g_strdup_printf("%.10g", number));
}

/* "A-B", "A-B(+C)", "A-B[N]"; false when it is none of them. */
static bool
add_range(GPtrArray *values, const char *text, bool is_whole)
{
    g_autoptr(GRegex) regex =
        g_regex_new("^\\s*([+-]?\\d+(?:\\.\\d*)?)\\s*-\\s*([+-]?\\d+(?:\\.\\d*)?)"
                    "(?:\\s*\\(([+-]\\d+(?:\\.\\d*)?)\\s*\\)|\\s*\\[(\\d+)\\s*\\])?\\s*$",
                    0, 0, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    if (!g_regex_match(regex, text, 0, &match))
        return false;
    double parts[5] = { 0 };
    bool given[5] = { false };
    for (int i = 1; i <= 4; i++) {
        g_autofree char *part = g_match_info_fetch(match, i);
        given[i] = part != NULL && *part != '\0';
        parts[i] = given[i] ? g_ascii_strtod(part, NULL) : 0.0;
    }
    double from = parts[1], to = parts[2], step = given[3] ? parts[3] : 1.0;
    if (given[4]) { /* so many, evenly */
        int count = (int)MIN(parts[4], MAX_VALUES + 1);
        for (int i = 0; i < count; i++)
            add_number(values, count > 1 ? from + (to - from) * i / (count - 1) : from, is_whole);
        return true;
    }
    if (step == 0.0)
        return false;
    for (int i = 0;
         i <= MAX_VALUES && (step > 0 ? from + i * step <= to + 1e-9 : from + i * step >= to - 1e-9); i++)
        add_number(values, from + i * step, is_whole);
    return true;
}

static bool
add_numbers(GPtrArray *values, const char *text, bool is_whole)
{
    char *end;
    double number = g_ascii_strtod(text, &end);
    if (end == text || *end != '\0')
        return add_range(values, text, is_whole);
    add_number(values, number, is_whole);
    return isfinite(number);
}

/* Every order of the words, each joined by "\n", which no value holds. */
static void
add_orders(GPtrArray *values, char **words, guint count, guint first)
{
    if (first == count) {
        g_autofree char *joined = g_strjoinv("\n", words);
        g_ptr_array_add(values, g_steal_pointer(&joined));
    }
    for (guint i = first; i < count && values->len <= MAX_VALUES; i++) {
        char *word = words[i];
        memmove(words + first + 1, words + first, (i - first) * sizeof *words);
        words[first] = word;
        add_orders(values, words, count, first + 1);
        memmove(words + first, words + first + 1, (i - first) * sizeof *words);
        words[i] = word;
    }
}

static GPtrArray *
expand(const RvAxis *axis, GPtrArray *listed, RvRefusal *refusal)
{
    g_autoptr(GPtrArray) values = g_ptr_array_new_with_free_func(g_free);
    bool is_number = axis->kind == RV_AXIS_INTEGERS || axis->kind == RV_AXIS_NUMBERS;
    if (axis->kind == RV_AXIS_NOTHING)
        g_ptr_array_add(values, g_strdup(""));
    if (axis->kind == RV_AXIS_ORDER && listed->len > 0) {
        g_autofree char **words = g_new0(char *, listed->len + 1);
        memcpy(words, listed->pdata, listed->len * sizeof *words);
        add_orders(values, words, listed->len, 0);
        return g_steal_pointer(&values);
    }
    for (guint i = 0; axis->kind != RV_AXIS_NOTHING && i < listed->len; i++) {
        const char *text = g_ptr_array_index(listed, i);
        if (!is_number) {
            g_ptr_array_add(values, g_strdup(text));
        } else if (!add_numbers(values, text, axis->kind == RV_AXIS_INTEGERS)) {
            rv_refusal_set(refusal, 422, "X/Y/Z plot: %s: '%s' is no number", axis->label, text);
            return NULL;
        }
    }
    return g_steal_pointer(&values);
}

char **
rv_axis_values(const RvAxis *axis, const char *text, RvRefusal *refusal)
{
    g_autoptr(GPtrArray) listed = split(text), values = expand(axis, listed, refusal);
    if (values == NULL)
        return NULL;
    if (values->len == 0 || values->len > MAX_VALUES) {
        rv_refusal_set(refusal, 422, "X/Y/Z plot: %s: 1 to %d values", axis->label, MAX_VALUES);
        return NULL;
    }
    g_ptr_array_add(values, NULL);
    g_ptr_array_set_free_func(values, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&values), FALSE);
}

/* ---- one value of an axis ---- */

/* As A1111 words them: samplers, models and words of the prompt speak for themselves. */
char *
rv_axis_label(const RvAxis *axis, const char *value)
{
    const char *slash = strrchr(value, '/');
    g_auto(GStrv) words = g_strsplit(value, "\n", -1);
    if (axis->kind == RV_AXIS_ORDER)
        return g_strjoinv(", ", words);
    if (axis->kind == RV_AXIS_REPLACE || g_str_has_suffix(axis->label, "ampler"))
        return g_strdup(value);
    if (g_strcmp0(axis->option, "sd_model_checkpoint") == 0)
        return g_strdup(slash != NULL ? slash + 1 : value);
    return g_strconcat(axis->label, ": ", value, NULL);
}

static bool
replace_texts(RvScriptVariant *variant, const char *from, const char *to, RvRefusal *refusal)
{
    static const char *const fields[] = { "prompt", "negative_prompt" };
    bool found = false;
    for (gsize i = 0; i < G_N_ELEMENTS(fields); i++) {
        const char *prompt = rv_fields_text(variant->fields, fields[i]);
        g_auto(GStrv) parts = g_strsplit(prompt, from, -1);
        found = found || g_strv_length(parts) > 1;
        g_autofree char *replaced = g_strjoinv(to, parts);
        json_object_set_string_member(variant->fields, fields[i], g_strv_length(parts) > 0 ? replaced : "");
    }
    if (!found)
        rv_refusal_set(refusal, 422, "X/Y/Z plot: '%s' is not in the prompts", from);
    return found;
}

/* The words change places; what stands between them stays. */
static bool
order_texts(RvScriptVariant *variant, const char *first, const char *value, RvRefusal *refusal)
{
    g_auto(GStrv) words = g_strsplit(first, "\n", -1), wanted = g_strsplit(value, "\n", -1);
    g_autoptr(GString) prompt = g_string_new(rv_fields_text(variant->fields, "prompt"));
    g_autoptr(GString) result = g_string_new(NULL);
    const char *rest = prompt->str;
    for (guint place = 0; wanted[place] != NULL; place++) {
        const char *next = NULL, *found = NULL;
        for (char **word = words; *word != NULL; word++) {
            const char *at = strstr(rest, *word);
            if (at != NULL && (next == NULL || at < next)) {
                next = at;
                found = *word;
            }
        }
        if (next == NULL) {
            rv_refusal_set(refusal, 422, "X/Y/Z plot: a word of Prompt order is not in the prompt");
            return false;
        }
        g_string_append_len(result, rest, next - rest);
        g_string_append(result, wanted[place]);
        rest = next + strlen(found);
    }
    g_string_append(result, rest);
    json_object_set_string_member(variant->fields, "prompt", result->str);
    return true;
}

static bool
set_size(RvScriptVariant *variant, const char *value, RvRefusal *refusal)
{
    int width, height;
    char rest;
    if (sscanf(value, "%dx%d%c", &width, &height, &rest) != 2 || width < 8 || height < 8 || width > 4096 ||
        height > 4096) {
        rv_refusal_set(refusal, 422, "X/Y/Z plot: Size: '%s' is no size", value);
        return false;
    }
    json_object_set_int_member(variant->fields, "width", width);
    json_object_set_int_member(variant->fields, "height", height);
    return true;
}

/* The request's styles and these: "a,b". */
static JsonArray *
with_styles(JsonObject *fields, const char *value)
{
    JsonArray *list = json_array_new(),
              *own = rv_fields_has(fields, "styles") ? json_object_get_array_member(fields, "styles") : NULL;
    g_auto(GStrv) names = g_strsplit(value, ",", -1);
    for (guint i = 0; own != NULL && i < json_array_get_length(own); i++)
        json_array_add_string_element(list, json_array_get_string_element(own, i));
    for (char **name = names; *name != NULL; name++)
        json_array_add_string_element(list, g_strstrip(*name));
    return list;
}

/* Read as the field or option would be read from JSON. */
static bool
set_value(const RvAxis *axis, const char *value, RvScriptVariant *variant, bool is_img2img,
          RvRefusal *refusal)
{
    const char *name = axis->field != NULL ? axis->field : axis->option;
    g_autoptr(JsonArray) problems = json_array_new();
    g_autoptr(JsonObject) body = json_object_new(), read = NULL;
    if (strcmp(name, "styles") == 0) {
        json_object_set_array_member(body, name, with_styles(variant->fields, value));
    } else {
        json_object_set_string_member(body, name, value);
    }
    if (axis->field == NULL) {
        read = rv_settings_merge(variant->options, body, problems);
    } else {
        const RvFieldSet *set = rv_plan_schema(is_img2img);
        const RvField *field = rv_field_find(set, name);
        RvField rows[] = { field != NULL ? *field : (RvField) { 0 }, { 0 } };
        RvFieldSet one = { set->name, { rows } };
        read = rv_fields_read(&one, body, "body", problems);
    }
    if (read == NULL) {
        rv_refusal_set(refusal, 422, "X/Y/Z plot: %s: '%s': %s", axis->label, value,
                       json_object_get_string_member(json_array_get_object_element(problems, 0), "msg"));
        return false;
    }
    if (json_object_has_member(read, name))
        json_object_set_member(axis->field != NULL ? variant->fields : variant->options, name,
                               json_node_copy(json_object_get_member(read, name)));
    return true;
}

bool
rv_axis_apply(const RvAxis *axis, char **values, guint index, RvScriptVariant *variant, bool is_img2img,
              RvRefusal *refusal)
{
    switch (axis->kind) {
    case RV_AXIS_NOTHING:
    case RV_AXIS_MISSING:
        return true;
    case RV_AXIS_REPLACE:
        return replace_texts(variant, values[0], values[index], refusal);
    case RV_AXIS_ORDER:
        return order_texts(variant, values[0], values[index], refusal);
    case RV_AXIS_SIZES:
        return set_size(variant, values[index], refusal);
    case RV_AXIS_INTEGERS:
    case RV_AXIS_NUMBERS:
    case RV_AXIS_TEXTS:
        break;
    }
    return set_value(axis, values[index], variant, is_img2img, refusal);
}
