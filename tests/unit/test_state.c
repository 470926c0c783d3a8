/* Live parameters: ramps of prompts, the text for the engine, snapshots, log-in over time. */
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "server/auth.h"
#include "server/log.h"
#include "server/seed_travel.h"
#include "server/state.h"
#include "text/prompt.h"

#define MS 1000

static double
weight_of(const RvParameters *p, const char *text)
{
    for (guint i = 0; i < p->prompts->len; i++)
        if (strcmp(g_array_index(p->prompts, RvWeightedPrompt, i).text, text) == 0)
            return g_array_index(p->prompts, RvWeightedPrompt, i).weight;
    return 0.0;
}

static double
sum_of(const RvParameters *p)
{
    double sum = 0.0;
    for (guint i = 0; i < p->prompts->len; i++)
        sum += g_array_index(p->prompts, RvWeightedPrompt, i).weight;
    return sum;
}

static void
set(RvState *state, const char *name, const char *value)
{
    g_autoptr(GError) error = NULL;
    rv_state_set_text(state, name, value, &error);
    g_assert_no_error(error);
}

static void
test_ramp(void)
{
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    set(state, "prompt", "old");
    set(state, "ramp_ms", "1000");
    gint64 start = g_get_monotonic_time();
    set(state, "prompt", "new");
    gint64 late = g_get_monotonic_time();
    g_autoptr(RvParameters) first = rv_state_snapshot(state, start);
    g_assert_cmpfloat_with_epsilon(weight_of(first, "old"), 1.0, 1e-3);
    g_autoptr(RvParameters) half = rv_state_snapshot(state, start + 500 * MS);
    double slack = (double)(late - start) / (1000.0 * MS) + 1e-9;
    g_assert_cmpfloat_with_epsilon(weight_of(half, "new"), 0.5, slack);
    g_assert_cmpfloat_with_epsilon(sum_of(half), 1.0, 1e-9);
    g_autoptr(RvParameters) end = rv_state_snapshot(state, late + 1000 * MS);
    g_assert_cmpuint(end->prompts->len, ==, 1);
    g_assert_cmpfloat(weight_of(end, "new"), ==, 1.0);
}

/* Whatever is changed while a ramp runs, weights never jump and always add up to 1. */
static void
test_ramps_do_not_jump(void)
{
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    set(state, "ramp_ms", "100000"); /* so that nothing moves much while the test runs */
    for (int i = 0; i < 200; i++) {
        g_autoptr(RvParameters) before = rv_state_snapshot(state, g_get_monotonic_time());
        g_autofree char *text = g_strdup_printf("prompt %d", i % 40);
        set(state, i % 3 == 0 ? "prompt/1" : "prompt", text);
        g_autoptr(RvParameters) after = rv_state_snapshot(state, g_get_monotonic_time());
        g_assert_cmpfloat_with_epsilon(sum_of(after), 1.0, 1e-9);
        g_assert_cmpuint(after->prompts->len, <=, 2 * RV_MAX_PROMPTS);
        for (guint k = 0; k < before->prompts->len; k++) {
            const RvWeightedPrompt *prompt = &g_array_index(before->prompts, RvWeightedPrompt, k);
            g_assert_cmpfloat_with_epsilon(weight_of(after, prompt->text), prompt->weight, 0.02);
        }
    }
}

static void
test_no_ramp_is_at_once(void)
{
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    set(state, "prompt", "a");
    set(state, "prompt/1", "b");
    set(state, "crossfade", "0.25");
    g_autoptr(RvParameters) p = rv_state_snapshot(state, g_get_monotonic_time());
    g_assert_cmpfloat_with_epsilon(weight_of(p, "a"), 0.75, 1e-9);
    g_assert_cmpfloat_with_epsilon(weight_of(p, "b"), 0.25, 1e-9);
}

/* What the engine is given means the same texts with the same weights, whatever is in them. */
static void
test_text_for_the_engine(void)
{
    static const char *const texts[] = { "plain", "with \"quotes\" inside", "ends with \\",
                                         "(brackets:1.2), commas", "ünï \\\" c" };
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    RvWeightedPrompt prompts[G_N_ELEMENTS(texts)];
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++)
        prompts[i] = (RvWeightedPrompt) { (char *)texts[i], (double)(i + 1) };
    g_assert_true(rv_state_set_prompts(state, prompts, G_N_ELEMENTS(texts), NULL));
    g_autoptr(RvParameters) p = rv_state_snapshot(state, g_get_monotonic_time());
    g_autofree char *text = rv_parameters_prompt(p);
    g_autoptr(GError) error = NULL;
    g_autoptr(RvPrompt) parsed =
        rv_prompt_parse(text, &(RvPromptOptions) { .syntax = RV_PROMPT_EXPLICIT, .steps = 1 }, &error);
    g_assert_no_error(error);
    const RvPromptPart *part = g_ptr_array_index(parsed->parts, 0);
    const RvPromptEntry *entry = rv_prompt_part_at(part, 0);
    g_assert_cmpuint(entry->members->len, ==, G_N_ELEMENTS(texts));
    for (guint i = 0; i < entry->members->len; i++) {
        const RvPromptMember *member = g_ptr_array_index(entry->members, i);
        g_assert_cmpfloat_with_epsilon(member->weight, (float)(i + 1) / 15.0f, 1e-4);
    }
    const RvPromptMember *member = g_ptr_array_index(entry->members, 1);
    g_assert_cmpstr(g_array_index(member->runs, RvPromptRun, 0).text, ==, texts[1]);
}

static void
on_change(RvState *state, void *user)
{
    ++*(int *)user;
}

static void
test_changes_are_told(void)
{
    int changes = 0;
    g_autoptr(RvState) state = rv_state_new(on_change, &changes);
    guint32 before = rv_state_revision(state);
    set(state, "mode", "soft");
    g_assert_cmpint(changes, ==, 1);
    g_assert_cmpuint(rv_state_revision(state), ==, before + 1);
    g_assert_false(rv_state_set_text(state, "steps", "0", NULL));
    g_autoptr(GError) error = NULL;
    g_assert_false(rv_state_set_text(state, "no such", "0", &error));
    g_assert_error(error, RV_ERROR, RV_ERROR_NOT_FOUND);
    g_assert_cmpint(changes, ==, 1);
    g_assert_cmpuint(rv_state_revision(state), ==, before + 1);
}

static void
test_seeds(void)
{
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    set(state, "seed", "18446744073709551615");
    g_autoptr(RvParameters) a = rv_state_snapshot(state, 0), b = rv_state_snapshot(state, 0);
    g_assert_true(a->seed == G_MAXUINT64 && b->seed == a->seed);
    set(state, "fixed_seed", "false");
    g_autoptr(RvParameters) c = rv_state_snapshot(state, 0), d = rv_state_snapshot(state, 0);
    g_assert_true(c->seed != d->seed);
}

/* Coordinates of a point on seeds 1, 2 and 3, as shares of each. */
static void
shares(const RvSeedTravel *travel, gint64 now, double share[3])
{
    RvSeedPoint point = rv_seed_travel_at(travel, now);
    share[0] = share[1] = share[2] = 0;
    g_assert_true(point.strength >= 0 && point.strength <= 1);
    share[point.seed - 1] += 1 - point.strength;
    share[point.subseed - 1] += point.strength;
}

/* Whenever the goal is changed, and to whichever seed, no step is longer than the fastest travel makes it. */
static void
test_seed_travels_on(void)
{
    for (gint64 change = 0; change <= 1000; change += 50)
        for (guint64 goal = 1; goal <= 3; goal++) {
            RvSeedTravel travel;
            double before[3], now[3];
            rv_seed_travel_init(&travel, 1);
            rv_seed_travel_to(&travel, 2, 1000, 0);
            shares(&travel, 0, before);
            for (gint64 t = 0; t <= 3000; t += 10, memcpy(before, now, sizeof now)) {
                if (t == change)
                    rv_seed_travel_to(&travel, goal, 1000, t);
                if (t == change + 300)
                    rv_seed_travel_to(&travel, 3, 1000, t);
                shares(&travel, t, now);
                for (int i = 0; i < 3; i++)
                    g_assert_cmpfloat(fabs(now[i] - before[i]), <=, 0.0151);
            }
            g_assert_true(now[2] == 1.0);
        }
}

static void
test_seed_travels(void)
{
    g_autoptr(RvState) state = rv_state_new(NULL, NULL);
    set(state, "seed", "5");
    set(state, "ramp_ms", "1000");
    gint64 start = g_get_monotonic_time();
    set(state, "seed", "9");
    gint64 late = g_get_monotonic_time();
    double slack = (double)(late - start) / (1000.0 * MS) + 1e-9;
    g_autoptr(RvParameters) half = rv_state_snapshot(state, start + 500 * MS);
    g_assert_true(half->seed == 5 && half->subseed == 9);
    g_assert_cmpfloat_with_epsilon(half->subseed_strength, 0.5, slack);
    g_autoptr(RvParameters) end = rv_state_snapshot(state, late + 1000 * MS);
    g_assert_true(end->seed == 9 && end->subseed_strength == 0.0);
    set(state, "ramp_ms", "0");
    set(state, "seed", "10");
    g_autoptr(RvParameters) jump = rv_state_snapshot(state, start);
    g_assert_true(jump->seed == 10 && jump->subseed_strength == 0.0);
}

/* ---- log-in ---- */

static RvAuthVerdict
try(RvAuth *auth, const char *address, const char *token, gint64 now_us)
{
    g_autofree char *cookie = NULL, *user = NULL;
    return rv_auth_check(auth, address, NULL, NULL, token, now_us, &cookie, &user);
}

static void
test_guessing_is_slow(void)
{
    g_autoptr(RvAuth) auth = rv_auth_new("correct horse", NULL, NULL);
    for (int i = 0; i < RV_AUTH_MAX_FAILURES; i++)
        g_assert_cmpint(try(auth, "a", "wrong", i), ==, RV_AUTH_WRONG);
    g_assert_cmpint(try(auth, "a", "correct horse", 59 * G_USEC_PER_SEC), ==, RV_AUTH_LIMITED);
    g_assert_cmpint(try(auth, "b", "correct horse", 0), ==, RV_AUTH_OK);
    g_assert_cmpint(try(auth, "a", "correct horse", 61 * G_USEC_PER_SEC), ==, RV_AUTH_OK);
    for (int i = 0; i < 5000; i++) { /* many addresses fill no memory and shut nobody else out */
        g_autofree char *address = g_strdup_printf("%d", i);
        g_assert_cmpint(try(auth, address, "wrong", 0), ==, RV_AUTH_WRONG);
    }
    g_assert_cmpint(try(auth, "c", "correct horse", 0), ==, RV_AUTH_OK);
    g_assert_cmpint(try(auth, "c", "correct hors", 0), ==, RV_AUTH_WRONG);
    g_assert_cmpint(try(auth, "c", "", 0), ==, RV_AUTH_WRONG);
    g_assert_cmpint(try(auth, "c", NULL, 0), ==, RV_AUTH_MISSING);
}

/* Whoever has one address of IPv6 has many. */
static void
test_guessing_from_a_network(void)
{
    g_autoptr(RvAuth) auth = rv_auth_new("correct horse", NULL, NULL);
    for (int i = 0; i < RV_AUTH_MAX_FAILURES; i++) {
        g_autofree char *address = g_strdup_printf("2001:db8:0:1:%x::%x", i, 7 * i);
        g_assert_cmpint(try(auth, address, "wrong", 0), ==, RV_AUTH_WRONG);
        g_assert_cmpint(try(auth, "::ffff:10.0.0.1", "wrong", 0), ==, RV_AUTH_WRONG);
    }
    g_assert_cmpint(try(auth, "2001:db8:0:1::9999", "correct horse", 0), ==, RV_AUTH_LIMITED);
    g_assert_cmpint(try(auth, "2001:db8:0:2::1", "correct horse", 0), ==, RV_AUTH_OK);
    g_assert_cmpint(try(auth, "10.0.0.1", "correct horse", 0), ==, RV_AUTH_LIMITED);
    g_assert_cmpint(try(auth, "::ffff:10.0.0.2", "correct horse", 0), ==, RV_AUTH_OK);
}

static void
test_cookie_outlives_a_restart(void)
{
    g_autofree char *cookie = NULL, *none = NULL, *user = NULL, *again = NULL, *nobody = NULL;
    g_autofree char *folder = g_dir_make_tmp("reverie-auth-XXXXXX", NULL),
                    *key = g_build_filename(folder, "session.key", NULL);
    GStatBuf info;
    g_autoptr(RvAuth) before = rv_auth_new("correct horse", NULL, NULL);
    rv_auth_keep_key(before, key);
    g_assert_cmpint(g_stat(key, &info), ==, 0);
    g_assert_cmpint(info.st_mode & 077, ==, 0);
    g_assert_cmpint(rv_auth_check(before, "a", "Bearer correct horse", NULL, NULL, 0, &cookie, &user), ==,
                    RV_AUTH_OK);
    g_assert_nonnull(cookie);
    g_assert_cmpstr(user, ==, "");
    g_autofree char *header = g_strdup_printf("x=1; reverie=%s", cookie);
    g_autoptr(RvAuth) after = rv_auth_new("correct horse", NULL, NULL),
                      other = rv_auth_new("another one", NULL, NULL),
                      elsewhere = rv_auth_new("correct horse", NULL, NULL);
    rv_auth_keep_key(after, key);
    rv_auth_keep_key(other, key);
    g_assert_cmpint(rv_auth_check(after, "a", NULL, header, NULL, 0, &none, &again), ==, RV_AUTH_OK);
    g_assert_cmpint(rv_auth_check(other, "a", NULL, header, NULL, 0, &none, &nobody), ==, RV_AUTH_MISSING);
    /* Knowing the token makes no cookie: guesses have to go where they are counted. */
    g_assert_cmpint(rv_auth_check(elsewhere, "a", NULL, header, NULL, 0, &none, &nobody), ==,
                    RV_AUTH_MISSING);
    g_unlink(key);
    g_rmdir(folder);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rv_log_set_level(RV_LOG_ERROR); /* each wrong log-in is a line */
    g_test_add_func("/state/ramp", test_ramp);
    g_test_add_func("/state/ramps-do-not-jump", test_ramps_do_not_jump);
    g_test_add_func("/state/no-ramp-is-at-once", test_no_ramp_is_at_once);
    g_test_add_func("/state/text-for-the-engine", test_text_for_the_engine);
    g_test_add_func("/state/changes-are-told", test_changes_are_told);
    g_test_add_func("/state/seeds", test_seeds);
    g_test_add_func("/state/seed-travels", test_seed_travels);
    g_test_add_func("/state/seed-travels-on", test_seed_travels_on);
    g_test_add_func("/auth/guessing-is-slow", test_guessing_is_slow);
    g_test_add_func("/auth/guessing-from-a-network", test_guessing_from_a_network);
    g_test_add_func("/auth/cookie-outlives-a-restart", test_cookie_outlives_a_restart);
    return g_test_run();
}
