/* script_matrix.c - "Prompt matrix": every choice of the prompt's parts that stand between "|". */
#include <string.h>

#include "server/sdapi/grid.h"
#include "server/sdapi/script_private.h"

#define MAX_PARTS 8

enum { AT_START, OTHER_SEEDS, WHICH, DELIMITER, MARGIN };

typedef struct {
    char **parts; /* the first is always there */
    int choices;  /* 2 to the number of the others */
    int margin;
} Matrix;

static void
matrix_free(gpointer data)
{
    Matrix *matrix = data;
    g_strfreev(matrix->parts);
    g_free(matrix);
}

static char *
prompt_of(const RvScript *script, const Matrix *matrix, int choice, const char *delimiter)
{
    g_autoptr(GPtrArray) texts = g_ptr_array_new();
    bool at_start = rv_script_flag(script, AT_START);
    if (!at_start)
        g_ptr_array_add(texts, matrix->parts[0]);
    for (int i = 1; matrix->parts[i] != NULL; i++)
        if (choice & (1 << (i - 1)))
            g_ptr_array_add(texts, matrix->parts[i]);
    if (at_start)
        g_ptr_array_add(texts, matrix->parts[0]);
    g_ptr_array_add(texts, NULL);
    return g_strjoinv(delimiter, (char **)texts->pdata);
}

static bool
begin(RvScript *script, RvRefusal *refusal)
{
    int which = rv_script_choice(script, WHICH, refusal),
        delimiter = rv_script_choice(script, DELIMITER, refusal);
    if (which < 0 || delimiter < 0)
        return false;
    const char *field = which == 0 ? "prompt" : "negative_prompt";
    Matrix *matrix = g_new0(Matrix, 1);
    script->data = matrix;
    matrix->parts = g_strsplit(rv_fields_text(script->input.fields, field), "|", -1);
    matrix->margin = (int)rv_script_number(script, MARGIN);
    guint count = g_strv_length(matrix->parts);
    if (count < 1 || count > MAX_PARTS) {
        rv_refusal_set(refusal, 422, "Prompt matrix: 1 to %d parts, not %u", MAX_PARTS, count);
        return false;
    }
    for (char **part = matrix->parts; *part != NULL; part++)
        g_strstrip(*part);
    matrix->choices = 1 << (count - 1);
    rv_script_fix_seeds(script->input.fields);
    gint64 seed = rv_fields_integer(script->input.fields, "seed");
    for (int i = 0; i < matrix->choices; i++) {
        RvScriptVariant *variant = rv_script_add_variant(script);
        g_autofree char *prompt = prompt_of(script, matrix, i, delimiter == 0 ? ", " : " ");
        json_object_set_string_member(variant->fields, field, prompt);
        json_object_set_int_member(variant->fields, "batch_size", 1);
        json_object_set_int_member(variant->fields, "n_iter", 1);
        json_object_set_int_member(variant->fields, "seed",
                                   rv_script_flag(script, OTHER_SEEDS) ? seed + i : seed);
    }
    return true;
}

/* Half of the optional parts go across, the others down, as A1111 does. */
static char **
label_choices(char **parts, int first, int count)
{
    char **labels = g_new0(char *, (1u << count) + 1);
    for (int choice = 0; choice < 1 << count; choice++) {
        g_autoptr(GString) text = g_string_new(NULL);
        for (int i = 0; i < count; i++)
            if (choice & (1 << i))
                g_string_append_printf(text, "%s%s", text->len > 0 ? "\n" : "", parts[first + i]);
        labels[choice] = g_strdup(text->len > 0 ? text->str : "-");
    }
    return labels;
}

static bool
compose(RvScript *script, GPtrArray *pictures, GError **error)
{
    const Matrix *matrix = script->data;
    int optional = (int)g_strv_length(matrix->parts) - 1, across = (optional + 1) / 2;
    if ((int)pictures->len != matrix->choices || pictures->len < 2)
        return true;
    g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func((GDestroyNotify)rv_picture_free);
    for (guint i = 0; i < pictures->len; i++) {
        RvPicture *cell = rv_script_picture_load(g_ptr_array_index(pictures, i), error);
        if (cell == NULL)
            return false;
        g_ptr_array_add(cells, cell);
    }
    g_auto(GStrv) columns = label_choices(matrix->parts, 1, across),
                  rows = label_choices(matrix->parts, 1 + across, optional - across);
    RvGridLabels labels = { (const char *const *)columns, (const char *const *)rows, matrix->parts[0],
                            matrix->margin };
    g_autoptr(RvPicture) grid = rv_grid_new_labelled(cells, 1 << across, &labels, error);
    const RvScriptPicture *first = g_ptr_array_index(pictures, 0);
    RvScriptPicture *made =
        grid != NULL ? rv_script_picture_new(grid, first->infotext, "prompt_matrix", first->seed, error)
                     : NULL;
    if (made != NULL)
        g_ptr_array_insert(pictures, 0, made);
    return made != NULL;
}

static const char *const which[] = { "positive", "negative", NULL }, *const delimiters[] = { "comma", "space",
                                                                                             NULL };
static const RvScriptArgument arguments[] = {
    { "Put variable parts at start of prompt", "false", NULL },
    { "Use different seed for each picture", "false", NULL },
    { "Select prompt", "\"positive\"", which },
    { "Select joining char", "\"comma\"", delimiters },
    { "Grid margins (px)", "0", NULL, 0, 500, 2 },
    { 0 },
};
static const RvScriptInfo info = { "Prompt matrix", true, true, arguments };
const RvScriptClass rv_script_matrix = { &info, begin, NULL, NULL, compose, matrix_free };
