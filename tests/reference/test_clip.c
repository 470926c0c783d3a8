/* Text encoders against transformers: hidden states at every depth and the pooled vector. */
#include "models/clip.h"
#include "part.h"
#include <string.h>

static RvTensor
record(RvProgram *p, const RvClipConfig *config, Golden *golden, const char *ids, int skip,
       bool is_normalised)
{
    RvClipInputs in = {
        .ids = part_input_tokens(p, golden, ids),
        .skip = skip,
        .is_hidden_normalised = is_normalised,
    };
    return rv_clip_record(p, config, &in).hidden;
}

static void
check_hidden(const char *model, RvPart which, const char *text, const char *output, int skip,
             bool is_normalised)
{
    Part *part = part_open(model, which);
    Golden *golden = part_golden(model);
    const RvClipConfig *config = rv_model_clip_config(part->model, which);
    g_autofree char *ids = g_strconcat(text, ".ids", NULL), *out = g_strconcat(text, output, NULL);
    RvProgram *p = rv_program_new(part->weights);
    rv_output(p, out, record(p, config, golden, ids, skip, is_normalised));
    part_compile(p);
    part_write(p, golden, ids);
    part_run(p);
    part_compare(p, golden, out, 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

typedef struct {
    const char *model, *text;
    RvPart part;
} Encoder;

static void
test_hidden(gconstpointer data)
{
    const Encoder *e = data;
    check_hidden(e->model, e->part, e->text, ".penultimate", 1, false);
    check_hidden(e->model, e->part, e->text, ".last", 0, true);
}

/* Position of the end token in each row: the first of the highest id. */
static void
find_ends(Golden *golden, const char *ids, gint32 *ends)
{
    RvArray a = golden_array(golden, ids);
    const gint32 *id = a.data;
    for (gint64 n = 0; n < a.shape[0]; n++) {
        const gint32 *row = id + n * a.shape[1];
        ends[n] = 0;
        for (gint32 t = 1; t < a.shape[1]; t++)
            if (row[t] > row[ends[n]])
                ends[n] = t;
    }
}

/* One program for everything that SDXL takes from its second encoder. */
static void
test_pooled(void)
{
    Part *part = part_open("tiny-sdxl", RV_PART_TEXT2);
    Golden *golden = part_golden("tiny-sdxl");
    RvProgram *p = rv_program_new(part->weights);
    RvClipInputs in = {
        .ids = part_input_tokens(p, golden, "text2.ids"),
        .end = rv_input(p, "end", RV_I32, (RvShape) { 4, 1, 1, 1 }),
        .skip = 1,
    };
    RvClipOutputs out = rv_clip_record(p, rv_model_clip_config(part->model, RV_PART_TEXT2), &in);
    rv_output(p, "text2.penultimate", out.hidden);
    rv_output(p, "text2.pooled", out.pooled);
    part_compile(p);
    gint32 ends[4];
    find_ends(golden, "text2.ids", ends);
    g_assert_true(rv_program_write(p, "end", ends, sizeof ends, NULL));
    part_write(p, golden, "text2.ids");
    part_run(p);
    part_compare(p, golden, "text2.penultimate", 1.0f);
    part_compare(p, golden, "text2.pooled", 1.0f);
    rv_program_free(p);
    golden_close(golden);
    part_close(part);
}

static void
check_refused(const RvClipConfig *config, int skip, const char *word)
{
    Part *part = part_open("tiny-sd15", RV_PART_TEXT);
    RvProgram *p = rv_program_new(part->weights);
    RvClipInputs in = { .ids = rv_input(p, "ids", RV_I32, (RvShape) { 1, 1, 77, 1 }), .skip = skip };
    rv_output(p, "hidden", rv_clip_record(p, config, &in).hidden);
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_program_compile(p, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, word));
    rv_program_free(p);
    part_close(part);
}

static void
test_bad_configs(void)
{
    Part *part = part_open("tiny-sd15", RV_PART_TEXT);
    const RvClipConfig good = *rv_model_clip_config(part->model, RV_PART_TEXT);
    part_close(part);
    RvClipConfig bad = good;
    bad.hidden_size = G_MAXINT;
    check_refused(&bad, 0, "hidden_size");
    bad = good, bad.layers = G_MAXINT;
    check_refused(&bad, 0, "num_hidden_layers");
    bad = good, bad.layers = 5;
    check_refused(&bad, 0, "layers.3");
    bad = good, bad.heads = 3;
    check_refused(&bad, 0, "3 heads");
    bad = good, bad.heads = 0;
    check_refused(&bad, 0, "0 heads");
    bad = good, bad.intermediate_size = 255;
    check_refused(&bad, 0, "fc1");
    bad = good, bad.vocab_size = 667;
    check_refused(&bad, 0, "token_embedding");
    check_refused(&good, 4, "skip");
    check_refused(&good, -1, "skip");
}

int
main(int argc, char **argv)
{
    part_init(&argc, &argv);
    static const Encoder encoders[] = {
        { "tiny-sd15", "text", RV_PART_TEXT },
        { "tiny-sd21", "text", RV_PART_TEXT },
        { "tiny-sdxl", "text", RV_PART_TEXT },
        { "tiny-sdxl", "text2", RV_PART_TEXT2 },
    };
    for (guint i = 0; i < G_N_ELEMENTS(encoders); i++) {
        g_autofree char *name = g_strdup_printf("/clip/%s/%s/hidden", encoders[i].model, encoders[i].text);
        g_test_add_data_func(name, &encoders[i], test_hidden);
    }
    g_test_add_func("/clip/pooled", test_pooled);
    g_test_add_func("/clip/bad-configs", test_bad_configs);
    return g_test_run();
}
