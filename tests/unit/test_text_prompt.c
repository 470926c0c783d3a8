#include <math.h>
#include <string.h>

#include "base/error.h"
#include "text/prompt.h"
#include "text/wildcards.h"

static const RvPromptOptions a1111 = { .syntax = RV_PROMPT_A1111, .steps = 10 };
static const RvPromptOptions explicit_only = { .syntax = RV_PROMPT_EXPLICIT, .steps = 10 };
static const RvPromptOptions plain = { .syntax = RV_PROMPT_PLAIN, .steps = 10 };

static RvPrompt *
parse(const char *text, const RvPromptOptions *options)
{
    g_autoptr(GError) error = NULL;
    RvPrompt *prompt = rv_prompt_parse(text, options, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(prompt->parts->len, >=, 1);
    return prompt;
}

static const RvPromptPart *
part_at(const RvPrompt *prompt, guint i)
{
    g_assert_cmpuint(i, <, prompt->parts->len);
    return g_ptr_array_index(prompt->parts, i);
}

static const RvPromptMember *
member_at(const RvPrompt *prompt, guint i)
{
    const RvPromptEntry *entry = g_ptr_array_index(part_at(prompt, 0)->entries, 0);
    g_assert_cmpuint(i, <, entry->members->len);
    return g_ptr_array_index(entry->members, i);
}

/* Runs as text: "text*weight|text*weight", BREAK as "BREAK". */
static char *
describe_runs(const GArray *runs)
{
    GString *text = g_string_new(NULL);
    g_assert_cmpuint(runs->len, >=, 1);
    for (guint i = 0; i < runs->len; i++) {
        const RvPromptRun *run = &g_array_index(runs, RvPromptRun, i);
        if (i > 0)
            g_string_append_c(text, '|');
        if (run->is_break)
            g_string_append(text, "BREAK");
        else
            g_string_append_printf(text, "%s*%g", run->text, (double)run->weight);
    }
    return g_string_free(text, FALSE);
}

static void
assert_runs(const char *text, const RvPromptOptions *options, const char *want)
{
    g_autoptr(RvPrompt) prompt = parse(text, options);
    g_assert_cmpuint(prompt->parts->len, ==, 1);
    g_autofree char *got = describe_runs(member_at(prompt, 0)->runs);
    g_assert_cmpstr(got, ==, want);
}

static void
test_emphasis(void)
{
    const char *pairs[][2] = {
        { "normal text", "normal text*1" },
        { "an (important) word", "an *1|important*1.1| word*1" },
        { "(unbalanced", "unbalanced*1.1" },
        { "\\(literal\\]", "(literal]*1" },
        { "(unnecessary)(parens)", "unnecessaryparens*1.1" },
        { "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
          "a *1|house*1.573| *1.1|on*1| a *1.1|hill*0.55|, sun, *1.1|sky*1.4641|.*1.1" },
        { "[x]", "x*0.909091" },
        { "[x:1.2)", "x:1.2)*0.909091" }, /* a weight form inside [] is literal */
        { "a:1.2) b", "a:1.2) b*1" },
        { "(a: +1.5 )", "a*1.5" },
        { "(a:-.5)", "a*-0.5" },
        { "(a:2.)", "a*2" },
        { "(a:1.2.3)", "a:1.2.3*1.1" },
        { "(a:b)", "a:b*1.1" },
        { "(a:1.2:1.3)", "a:1.2*1.3" },
        { "a ) ] b", "a ) ] b*1" },
        { "back\\slash \\\\ \\[", "backslash \\ [*1" },
        { "", "*1" },
        { "()", "*1" },
        { "((a)(b:2))", "a*1.21|b*2.2" },
        { "(a [b) c]", "a *1.1|b*1| c*0.909091" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++)
        assert_runs(pairs[i][0], &a1111, pairs[i][1]);
}

static void
test_break(void)
{
    assert_runs("a BREAK b", &a1111, "a*1|BREAK|b*1");
    assert_runs("BREAK", &a1111, "BREAK");
    assert_runs("a BREAK  BREAK\nb", &a1111, "a*1|BREAK|BREAK|b*1");
    assert_runs("aBREAK BREAKb break BREAK_", &a1111, "aBREAK BREAKb break BREAK_*1");
    assert_runs("(a\xe3\x80\x80"
                "BREAK b:1.2)",
                &a1111, "a*1.2|BREAK|b*1.2");
    assert_runs("\xc3\xa9"
                "BREAK \xc3\xa9",
                &a1111,
                "\xc3\xa9"
                "BREAK \xc3\xa9*1");
    assert_runs("a,BREAK,b", &explicit_only, "a,*1|BREAK|,b*1");
    assert_runs("a BREAK b", &plain, "a BREAK b*1");
}

static void
test_explicit(void)
{
    const char *pairs[][2] = {
        { "a (cat:1.2) [dog] ((x)) :3", "a *1|cat*1.2| [dog] ((x)) :3*1" },
        { "(a (b:1.5) c:2)", "a *2|b*3| c*2" },
        { "(unclosed (x:0.5", "(unclosed (x:0.5*1" },
        { "\\(a:1.2\\) \\o/ \\[", "(a:1.2) \\o/ \\[*1" },
        { "((a:1.2))", "(*1|a*1.2|)*1" },
        { "a <lora:x:1> [b:c:3] [d|e] AND f :2", "a <lora:x:1> [b:c:3] [d|e] AND f :2*1" },
        { "(approximately) 3:2", "(approximately) 3:2*1" },
        { "", "*1" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++)
        assert_runs(pairs[i][0], &explicit_only, pairs[i][1]);
    assert_runs("((a:1.2)) [b] \\(", &plain, "((a:1.2)) [b] \\(*1");
    assert_runs("(\"a\", \"b\").blend(1, 2)", &plain, "(\"a\", \"b\").blend(1, 2)*1");
}

/* Entries as text: "3:text|10:text". */
static void
assert_schedule(const char *text, const RvPromptOptions *options, const char *want)
{
    g_autoptr(RvPrompt) prompt = parse(text, options);
    g_assert_cmpuint(prompt->parts->len, ==, 1);
    const GPtrArray *entries = part_at(prompt, 0)->entries;
    g_autoptr(GString) got = g_string_new(NULL);
    for (guint i = 0; i < entries->len; i++) {
        const RvPromptEntry *entry = g_ptr_array_index(entries, i);
        g_string_append_printf(got, "%s%d:%s", i > 0 ? "|" : "", entry->end_step, entry->text);
    }
    g_assert_cmpstr(got->str, ==, want);
}

static void
test_schedule(void)
{
    const char *pairs[][2] = {
        { "test", "10:test" },
        { "a [b:3]", "3:a |10:a b" },
        { "a [b: 3]", "3:a |10:a b" },
        { "a [[[b]]:2]", "2:a |10:a [[b]]" },
        { "[(a:2):3]", "3:|10:(a:2)" },
        { "a [b : c : 1] d", "1:a b  d|10:a  c  d" },
        { "a[b:[c:d:2]:1]e", "1:abe|2:ace|10:ade" },
        { "a [unbalanced", "10:a [unbalanced" },
        { "a [b:.5] c", "5:a  c|10:a b c" },
        { "((a][:b:c [d:3]", "3:((a][:b:c |10:((a][:b:c d" },
        { "[a::4]b", "4:ab|10:b" },
        { "[a:b:99]", "10:a" },
        { "[a:b:0]", "10:b" },
        { "[a:b:-1]", "10:b" },
        { "[a:b:0.0]", "10:b" },
        { "[a:b:1e0]", "1:a|10:b" },
        { "[a:b: +5 ]", "5:a|10:b" },
        { "[a:b:5 x]", "10:[a:b:5 x]" },
        { "[a:b:]", "10:[a:b:]" },
        { "[a:b:c:5]", "10:[a:b:c:5]" },
        { "[a:b]", "10:[a:b]" },
        { "[:5]", "5:|10:" },
        { "[x [a:b:5]", "5:[x a|10:[x b" },
        { "(x [a:b:5] y:1.2)", "5:(x a y:1.2)|10:(x b y:1.2)" },
        { "[[a:b:5]:c:(7)]", "5:[a:c:(7)]|10:[b:c:(7)]" },
        { "a|b [c:3]", "10:a|b [c:3]" }, /* a stray | makes the whole prompt literal */
        { "(a|b) [c:3]", "10:(a|b) [c:3]" },
        { "[c:3] \\", "10:[c:3] \\" },
        { "\\[c:3\\] [d:4]", "4:\\[c:3\\] |10:\\[c:3\\] d" },
        { "[a \\| b:4]", "4:|10:a \\| b" },
        { "[\xc3\xa9:\xe2\x80\x83"
          "4]",
          "4:|10:\xc3\xa9" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++)
        assert_schedule(pairs[i][0], &a1111, pairs[i][1]);
}

static void
test_alternate(void)
{
    const RvPromptOptions five = { .syntax = RV_PROMPT_A1111, .steps = 5 };
    assert_schedule("[fe|]male", &five, "1:female|2:male|3:female|4:male|5:female");
    assert_schedule("[fe|||]male", &five, "1:female|2:male|3:male|4:male|5:female");
    assert_schedule("[a|(b:1.1)]", &five, "1:a|2:(b:1.1)|3:a|4:(b:1.1)|5:a");
    assert_schedule("[a|[b:c:3]]", &five, "1:a|2:b|3:a|4:c|5:a");
    assert_schedule("[[x|y]:z:2]", &five, "1:x|2:y|3:z|4:z|5:z");
    assert_schedule("[a|b:3]", &five, "5:[a|b:3]");
}

static void
test_second_pass(void)
{
    const RvPromptOptions second = { .syntax = RV_PROMPT_A1111, .steps = 20, .hires_steps = 8 };
    assert_schedule("[a:b:22]", &second, "2:a|8:b");
    assert_schedule("[a:b:1.5]", &second, "4:a|8:b");
    assert_schedule("[a:b:10]", &second, "8:b");
    assert_schedule("[a:b:0.5]", &second, "8:b");
}

static void
test_part_at(void)
{
    g_autoptr(RvPrompt) prompt = parse("[a:b:3]", &a1111);
    const RvPromptPart *part = part_at(prompt, 0);
    g_assert_cmpstr(rv_prompt_part_at(part, 0)->text, ==, "a");
    g_assert_cmpstr(rv_prompt_part_at(part, 3)->text, ==, "a"); /* steps 0..3: four of them */
    g_assert_cmpstr(rv_prompt_part_at(part, 4)->text, ==, "b");
    g_assert_cmpstr(rv_prompt_part_at(part, 99)->text, ==, "b");
}

static void
test_and(void)
{
    g_autoptr(RvPrompt) prompt = parse("a cat :1.2 AND a [dog:5] AND a benchANDb: -0.5 ", &a1111);
    g_assert_cmpuint(prompt->parts->len, ==, 3);
    const float weights[] = { 1.2f, 1, -0.5f };
    const char *texts[] = { "a cat", " a ", " a benchANDb" };
    for (guint i = 0; i < 3; i++) {
        const RvPromptEntry *entry = g_ptr_array_index(part_at(prompt, i)->entries, 0);
        g_assert_cmpfloat(part_at(prompt, i)->weight, ==, weights[i]);
        g_assert_cmpstr(entry->text, ==, texts[i]);
    }
    g_assert_cmpuint(part_at(prompt, 1)->entries->len, ==, 2);

    RvPromptOptions negative = a1111;
    negative.is_negative = true;
    assert_runs("a :2 AND b :3", &negative, "a :2 AND b :3*1");
    assert_runs("a photo, 16:9", &a1111, "a photo, 16:9*1");
    g_autoptr(RvPrompt) empty = parse("AND", &a1111);
    g_assert_cmpuint(empty->parts->len, ==, 2);
}

static void
test_networks(void)
{
    g_autoptr(RvPrompt) prompt = parse("a <lora:one> b <lora:two:0.5><lora:three:0.5:0.25:7> "
                                       "<lora:four:te=0.1:unet=2> <hypernet:h:1>c < d > <x>"
                                       " <lora:> <:y>",
                                       &a1111);
    const RvPromptEntry *entry = g_ptr_array_index(part_at(prompt, 0)->entries, 0);
    g_assert_cmpstr(entry->text, ==, "a  b   c < d > <x> <lora:> <:y>");
    const struct {
        const char *kind, *name;
        float text, unet;
        guint count;
    } want[] = { { "lora", "one", 1, 1, 1 },
                 { "lora", "two", 0.5f, 0.5f, 2 },
                 { "lora", "three", 0.5f, 0.25f, 4 },
                 { "lora", "four", 0.1f, 2, 3 },
                 { "hypernet", "h", 1, 1, 2 } };
    g_assert_cmpuint(prompt->networks->len, ==, G_N_ELEMENTS(want));
    for (guint i = 0; i < G_N_ELEMENTS(want); i++) {
        const RvPromptNetwork *network = g_ptr_array_index(prompt->networks, i);
        g_assert_cmpstr(network->kind, ==, want[i].kind);
        g_assert_cmpstr(network->name, ==, want[i].name);
        g_assert_cmpfloat(network->text_weight, ==, want[i].text);
        g_assert_cmpfloat(network->unet_weight, ==, want[i].unet);
        g_assert_cmpuint(g_strv_length(network->arguments), ==, want[i].count);
    }
}

static void
test_comments(void)
{
    RvPromptOptions options = a1111;
    assert_schedule("a #b", &options, "10:a #b");
    options.strip_comments = true;
    assert_schedule("a # b\nc", &options, "10:a \nc");
    assert_schedule("# whole line\nc\n# another\n#more\nd #", &options, "10:c\nd ");
    assert_schedule("x <lora:#a>", &options, "10:x <lora:");
}

static void
test_blend(void)
{
    g_autoptr(RvPrompt) prompt =
        parse(" ( \"a (cat:1.2)\" , \"say \\\"x\\\"\" ) . blend ( 0.3 , 0.7 ) ", &explicit_only);
    g_assert_cmpfloat_with_epsilon(member_at(prompt, 0)->weight, 0.3f, 1e-6f);
    g_assert_cmpfloat_with_epsilon(member_at(prompt, 1)->weight, 0.7f, 1e-6f);
    g_autofree char *first = describe_runs(member_at(prompt, 0)->runs);
    g_autofree char *second = describe_runs(member_at(prompt, 1)->runs);
    g_assert_cmpstr(first, ==, "a *1|cat*1.2");
    g_assert_cmpstr(second, ==, "say \"x\"*1");

    g_autoptr(RvPrompt) scaled = parse("(\"a\", \"b\", \"c\").blend(1, 2, 1)", &a1111);
    g_assert_cmpfloat(member_at(scaled, 1)->weight, ==, 0.5f);
    g_autoptr(RvPrompt) raw = parse("(\"a\", \"b\").blend(1, -1, \"no_normalize\")", &a1111);
    g_assert_cmpfloat(member_at(raw, 1)->weight, ==, -1);
    g_autoptr(RvPrompt) even = parse("(\"a\", \"b\").blend()", &a1111);
    g_assert_cmpfloat(member_at(even, 0)->weight, ==, 0.5f);
}

static void
test_and_chain(void)
{
    assert_runs("(\"a\", \"b (c:2)\").and()", &explicit_only, "a*1|BREAK|b *1|c*2");
    assert_runs("(\"a\", \"b BREAK c\").and(1, 0.5)", &a1111, "a*1|BREAK|b*0.5|BREAK|c*0.5");
}

static void
test_not_quite_a_blend(void)
{
    const char *texts[] = { "(\"a\", \"b\")",
                            "(\"a\" \"b\").blend(1, 1)",
                            "(\"a\", \"b\").blend(1, 1) x",
                            "(\"a\", \"b).blend(1, 1)",
                            "(\"a\", \"b\").blend(1, x)",
                            "(\"a\", \"b\").mix(1, 1)",
                            "(\"a\",).blend(1)",
                            "().blend()" };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_autofree char *want = g_strdup_printf("%s*1", texts[i]);
        assert_runs(texts[i], &explicit_only, want);
    }
}

static void
test_errors(void)
{
    g_autofree char *too_long = g_strnfill(RV_PROMPT_MAX_BYTES + 1, 'x');
    g_autofree char *huge = g_strdup_printf("(a:1%0300d)", 0);
    g_autofree char *huge_part = g_strdup_printf("a AND b:1%0300d", 0);
    g_autofree char *half = g_strnfill(RV_PROMPT_MAX_BYTES / 2, 'x');
    g_autofree char *changing = g_strdup_printf("%s[a|b]", half);
    g_autofree char *quarter = g_strnfill(RV_PROMPT_MAX_BYTES / 5, 'x');
    g_autofree char *parts = g_strdup_printf("%s[a|b] AND %s[a|b] AND %s[a|b]", quarter, quarter, quarter);
    const RvPromptOptions some = { .syntax = RV_PROMPT_A1111, .steps = 70 };
    const RvPromptOptions none = { .syntax = RV_PROMPT_A1111, .steps = 0 };
    const RvPromptOptions many = { .syntax = RV_PROMPT_A1111, .steps = RV_PROMPT_MAX_STEPS };
    const RvPromptOptions minus = { .syntax = RV_PROMPT_A1111, .steps = 1, .hires_steps = -1 };
    const struct {
        const char *text;
        const RvPromptOptions *options;
    } bad[] = {
        { too_long, &plain },
        { huge, &a1111 },
        { huge, &explicit_only },
        { huge_part, &a1111 },
        { changing, &many },
        { parts, &some }, /* each part alone would pass */
        { "a", &none },
        { "a", &minus },
        { "(\"a\", \"b\").blend(1)", &a1111 },
        { "(\"a\").blend(1, 1)", &explicit_only },
        { "(\"a\", \"b\").blend(1, -1)", &a1111 },
        { "(\"a\", \"b\").and(1, 2, 3)", &a1111 },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_prompt_parse(bad[i].text, bad[i].options, &error));
        g_assert_error(error, RV_ERROR, RV_ERROR_USAGE);
        g_assert_null(rv_prompt_parse(bad[i].text, bad[i].options, NULL));
    }
}

/* Every pattern repeated to the limit: nothing may take more than linear time, or recurse. */
static void
test_hostile_prompts_are_fast(void)
{
    const char *patterns[] = { "(",  "[",      "((a)", "[a|",   "[[a:1]", "(a:1.2", "[a:[b:",
                               "a:", "<lora:", "<a",   "\\",    "a AND ", "BREAK ", "([",
                               ")]", "(\"",    "#\n",  "[x:3]", "[a|b]",  "\xff" };
    const char *closers[] = { "", ")", "]", ":3]", ":1.1)", ">" };
    const RvPromptOptions *options[] = { &a1111, &explicit_only, &plain };
    gint64 start = g_get_monotonic_time();
    for (gsize i = 0; i < G_N_ELEMENTS(patterns); i++)
        for (gsize j = 0; j < G_N_ELEMENTS(closers) * 3; j++) {
            const char *closer = closers[j / 3];
            GString *text = g_string_new(NULL);
            gsize count = RV_PROMPT_MAX_BYTES / (strlen(patterns[i]) + strlen(closer)) / 4;
            for (gsize k = 0; k < count; k++)
                g_string_append(text, patterns[i]);
            for (gsize k = 0; k < count && *closer != '\0'; k++)
                g_string_append(text, closer);
            rv_prompt_free(rv_prompt_parse(text->str, options[j % 3], NULL));
            g_string_free(text, TRUE);
        }
    g_assert_cmpint(g_get_monotonic_time() - start, <, 120 * G_USEC_PER_SEC);
}

/* NAME=TEXT of a few wildcards. */
static char *
read_wildcard(const char *name, void *user, GError **error)
{
    static const char *const texts[][2] = {
        { "animal", "fox\r\n# not this\n  cat  \n\nowl" },
        { "in/deep", "a __animal__" },
        { "twice", "__in/deep__ and __in/deep__" },
        { "a_b-c.d", "odd" },
        { "loop", "__loop__" },
        { "tree", "__tree____tree__\nleaf" },
        { "empty", "# nothing\n\n" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        if (strcmp(texts[i][0], name) == 0)
            return g_strdup(texts[i][1]);
    rv_error_set(error, RV_ERROR_NOT_FOUND, name, NULL, "there is none");
    return NULL;
}

static char *
draw_wildcards(const char *prompt, guint64 seed)
{
    g_autoptr(GError) error = NULL;
    char *text = rv_wildcards_draw(prompt, seed, read_wildcard, NULL, &error);
    g_assert_no_error(error);
    return text;
}

/* All choices come up, about equally, and the same for the same seed. */
static void
test_wildcards(void)
{
    int counts[3] = { 0 };
    for (guint64 seed = 0; seed < 300; seed++) {
        g_autofree char *text = draw_wildcards("a __animal__!", seed),
                        *again = draw_wildcards("a __animal__!", seed);
        g_assert_cmpstr(text, ==, again);
        const char *const wanted[] = { "a fox!", "a cat!", "a owl!", NULL };
        g_assert_true(g_strv_contains(wanted, text));
        counts[strcmp(text, wanted[0]) == 0 ? 0 : strcmp(text, wanted[1]) == 0 ? 1 : 2]++;
    }
    for (int i = 0; i < 3; i++)
        g_assert_cmpint(counts[i], >, 60);
    g_autofree char *odd = draw_wildcards("__a_b-c.d__", 1), *nested = draw_wildcards("(__twice__:1.2)", 5);
    g_assert_cmpstr(odd, ==, "odd");
    g_assert_true(g_str_has_prefix(nested, "(a ") && g_str_has_suffix(nested, ":1.2)"));
    g_assert_nonnull(strstr(nested, " and a "));
    g_assert_null(strstr(nested, "__"));
    static const char *const literal[] = { "",      "no wildcard", "a__b",    "__",        "____",
                                           "_____", "__ a __",     "__a,b__", "snake_case" };
    for (gsize i = 0; i < G_N_ELEMENTS(literal); i++) {
        g_autofree char *text = draw_wildcards(literal[i], 1);
        g_assert_cmpstr(text, ==, literal[i]);
        g_assert_false(rv_wildcards_in(literal[i]));
    }
    g_assert_true(rv_wildcards_in("a __animal__") && !rv_wildcards_in(NULL));
}

static void
test_wildcards_refused(void)
{
    static const struct {
        const char *prompt;
        RvError code;
        const char *text;
    } cases[] = {
        { "a __nothing__", RV_ERROR_NOT_FOUND, "nothing" },
        { "__../animal__", RV_ERROR_USAGE, "no wildcard's name" },
        { "__/animal__", RV_ERROR_USAGE, "no wildcard's name" },
        { "__in/../animal__", RV_ERROR_USAGE, "no wildcard's name" },
        { "__in//animal__", RV_ERROR_USAGE, "no wildcard's name" },
        { "__.hidden__", RV_ERROR_USAGE, "no wildcard's name" },
        { "__loop__", RV_ERROR_INVALID, "without an end" },
        { "__empty__", RV_ERROR_INVALID, "no choices" },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(rv_wildcards_draw(cases[i].prompt, 1, read_wildcard, NULL, &error));
        g_assert_error(error, RV_ERROR, (int)cases[i].code);
        g_assert_nonnull(strstr(error->message, cases[i].text));
    }
    for (guint64 seed = 0; seed < 200; seed++) { /* whatever is drawn, it ends */
        g_autoptr(GError) error = NULL;
        g_autofree char *text =
            rv_wildcards_draw("__tree____tree____tree__", seed, read_wildcard, NULL, &error);
        g_assert_true((text == NULL) == (error != NULL));
    }
    g_autofree char *long_prompt = g_strnfill(70000, 'x');
    g_autoptr(GError) error = NULL;
    g_assert_null(rv_wildcards_draw(long_prompt, 1, read_wildcard, NULL, &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_INVALID);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/prompt/emphasis", test_emphasis);
    g_test_add_func("/text/prompt/break", test_break);
    g_test_add_func("/text/prompt/explicit", test_explicit);
    g_test_add_func("/text/prompt/schedule", test_schedule);
    g_test_add_func("/text/prompt/alternate", test_alternate);
    g_test_add_func("/text/prompt/second-pass", test_second_pass);
    g_test_add_func("/text/prompt/part-at", test_part_at);
    g_test_add_func("/text/prompt/and", test_and);
    g_test_add_func("/text/prompt/networks", test_networks);
    g_test_add_func("/text/prompt/comments", test_comments);
    g_test_add_func("/text/prompt/blend", test_blend);
    g_test_add_func("/text/prompt/and-chain", test_and_chain);
    g_test_add_func("/text/prompt/not-quite-a-blend", test_not_quite_a_blend);
    g_test_add_func("/text/prompt/errors", test_errors);
    g_test_add_func("/text/wildcards", test_wildcards);
    g_test_add_func("/text/wildcards/refused", test_wildcards_refused);
    g_test_add_func("/text/prompt/hostile-prompts-are-fast", test_hostile_prompts_are_fast);
    return g_test_run();
}
