/* One device for live frames and the studio's steps: the rule in virtual time, and the lock with real
 * threads. */
#include "engine/turns.h"

#define MS 1000

/* ---- the rule, on a device of which every moment is played ---- */

typedef struct {
    gint64 frame_us, period_us, step_us; /* period 0: no camera */
    int credit;                          /* frames under way at a time */
    gint64 from_us, until_us;            /* the camera is on */
} Scene;

typedef struct {
    int frames, late, steps; /* late: waited for a step */
    gint64 frame_work_us, step_work_us, longest_wait_us, longest_without_step_us;
} Outcome;

/* Plays `us` of it: a camera that drops what it cannot hand over, and a studio that always has work. */
static Outcome
play(RvShareRule rule, const Scene *scene, gint64 us)
{
    Outcome o = { 0 };
    RvShare s;
    gint64 ends[2] = { 0 }, step_ends = 0, next_frame = scene->from_us, last_step = 0, asked = 0;
    int under_way = 0;
    bool waits = false;
    rv_share_init(&s, rule);
    rv_share_ask_step(&s);
    for (gint64 now = 1; now < us; now += 100) {
        if (under_way > 0 && now >= ends[0]) {
            rv_share_end_frame(&s, now);
            o.frame_work_us += scene->frame_us;
            ends[0] = ends[1];
            under_way--;
        }
        if (step_ends > 0 && now >= step_ends) {
            rv_share_end_step(&s, now);
            rv_share_ask_step(&s);
            step_ends = 0;
        }
        if (scene->period_us > 0 && now >= next_frame && now < scene->until_us) {
            next_frame += scene->period_us;
            if (!waits && under_way < scene->credit) {
                rv_share_ask_frame(&s, now);
                waits = true;
                asked = now;
            }
        }
        if (waits && rv_share_may_frame(&s, now)) {
            rv_share_begin_frame(&s);
            waits = false;
            ends[under_way] = (under_way > 0 ? ends[under_way - 1] : now) + scene->frame_us;
            under_way++;
            o.frames++;
            o.late += now - asked > MS;
            o.longest_wait_us = MAX(o.longest_wait_us, now - asked);
        }
        if (step_ends == 0 && rv_share_may_step(&s, now)) {
            g_assert_true(rule == RV_SHARE_OFF || under_way == 0);
            rv_share_begin_step(&s, now);
            step_ends = now + scene->step_us;
            o.steps++;
            o.step_work_us += scene->step_us;
            o.longest_without_step_us = MAX(o.longest_without_step_us, now - last_step);
            last_step = now;
        }
    }
    return o;
}

static void
test_alone(void)
{
    Outcome o = play(RV_SHARE_MIRROR_FIRST, &(Scene) { .step_us = 50 * MS }, 10 * G_USEC_PER_SEC);
    g_assert_cmpint(o.steps, >=, 195);
}

/* A camera that leaves no gap a step would fit in: nine tenths for the frames, and neither waits for ever. */
static void
test_mirror_first(void)
{
    Scene scene = {
        .frame_us = 30 * MS, .period_us = 33 * MS, .step_us = 50 * MS, .credit = 1, .until_us = G_MAXINT64
    };
    Outcome o = play(RV_SHARE_MIRROR_FIRST, &scene, 20 * G_USEC_PER_SEC);
    g_assert_cmpfloat((double)o.step_work_us / (20.0 * G_USEC_PER_SEC), >, 0.08);
    g_assert_cmpfloat((double)o.step_work_us / (20.0 * G_USEC_PER_SEC), <, 0.11);
    g_assert_cmpint(o.longest_wait_us, <=, scene.step_us + 33 * MS);
    g_assert_cmpint(o.late, <=, 2 * o.steps);
    g_assert_cmpint(o.longest_without_step_us, <=, 10 * scene.step_us + 2 * 33 * MS);
    g_assert_cmpint(o.frames, >, 480);
}

/* Two frames under way at a time, always: they make room for a step when it is due. */
static void
test_saturated(void)
{
    Scene scene = {
        .frame_us = 20 * MS, .period_us = 5 * MS, .step_us = 40 * MS, .credit = 2, .until_us = G_MAXINT64
    };
    Outcome o = play(RV_SHARE_MIRROR_FIRST, &scene, 20 * G_USEC_PER_SEC);
    g_assert_cmpfloat((double)o.step_work_us / (20.0 * G_USEC_PER_SEC), >, 0.07);
    g_assert_cmpint(o.longest_wait_us, <=, 100 * MS);
    Outcome fair = play(RV_SHARE_FAIR, &scene, 20 * G_USEC_PER_SEC);
    g_assert_cmpfloat((double)fair.step_work_us / (double)fair.frame_work_us, >, 0.5);
    g_assert_cmpfloat((double)fair.step_work_us / (double)fair.frame_work_us, <, 1.5);
}

/* Short frames far apart: steps run between them and no frame waits. */
static void
test_gaps(void)
{
    Scene scene = {
        .frame_us = 10 * MS, .period_us = 100 * MS, .step_us = 30 * MS, .credit = 1, .until_us = G_MAXINT64
    };
    Outcome o = play(RV_SHARE_MIRROR_FIRST, &scene, 20 * G_USEC_PER_SEC);
    g_assert_cmpfloat((double)o.step_work_us / (20.0 * G_USEC_PER_SEC), >, 0.4);
    g_assert_cmpint(o.late, <, 100); /* those of the tenth that steps may take in any case */
}

/* The camera goes: a second later the studio has everything. */
static void
test_end_of_session(void)
{
    Scene scene = { .frame_us = 30 * MS,
                    .period_us = 33 * MS,
                    .step_us = 50 * MS,
                    .credit = 1,
                    .until_us = 5 * G_USEC_PER_SEC };
    Outcome o = play(RV_SHARE_MIRROR_FIRST, &scene, 16 * G_USEC_PER_SEC);
    g_assert_cmpint(o.steps, >, 195);
    g_assert_cmpint(o.longest_without_step_us, <=, G_USEC_PER_SEC);
}

static void
test_off(void)
{
    Scene scene = {
        .frame_us = 30 * MS, .period_us = 33 * MS, .step_us = 50 * MS, .credit = 1, .until_us = G_MAXINT64
    };
    Outcome o = play(RV_SHARE_OFF, &scene, 5 * G_USEC_PER_SEC);
    g_assert_cmpint(o.late, ==, 0);
    g_assert_cmpint(o.steps, >=, 98);
}

static void
test_names(void)
{
    RvShareRule rule;
    for (int i = RV_SHARE_OFF; i <= RV_SHARE_MIRROR_FIRST; i++) {
        g_assert_true(rv_share_parse(rv_share_name((RvShareRule)i), &rule));
        g_assert_cmpint((int)rule, ==, i);
    }
    g_assert_false(rv_share_parse("mirror", &rule));
    g_assert_false(rv_share_parse("", &rule));
}

/* ---- the lock, with threads ---- */

typedef struct {
    RvTurns *turns;
    gint busy, together, steps, frames, stop; /* atomic; together: how often two had the device */
    int cancel;
} Card;

static void
work(Card *card, gint64 us)
{
    if (g_atomic_int_add(&card->busy, 1) != 0)
        g_atomic_int_inc(&card->together);
    g_usleep((gulong)us);
    g_atomic_int_add(&card->busy, -1);
}

static gpointer
run_steps(gpointer data)
{
    Card *card = data;
    while (!g_atomic_int_get(&card->stop) && rv_turns_begin_step(card->turns, &card->cancel)) {
        work(card, 2 * MS);
        rv_turns_end_step(card->turns);
        g_atomic_int_inc(&card->steps);
    }
    return NULL;
}

static gpointer
run_frames(gpointer data)
{
    Card *card = data;
    while (!g_atomic_int_get(&card->stop)) {
        if (!rv_turns_try_frame(card->turns))
            rv_turns_begin_frame(card->turns);
        work(card, 2 * MS);
        rv_turns_end_frame(card->turns);
        g_atomic_int_inc(&card->frames);
    }
    return NULL;
}

/* Frames without a pause beside two that draw: all get on, and no two at once. */
static void
test_threads(void)
{
    RvTurnsTable *table = rv_turns_table_new(RV_SHARE_MIRROR_FIRST);
    Card card = { .turns = rv_turns_table_get(table, "cuda:0") };
    g_assert_true(rv_turns_table_get(table, "cuda:0") == card.turns);
    g_assert_true(rv_turns_table_get(table, "cuda:1") != card.turns);
    GThread *threads[] = { g_thread_new("frames", run_frames, &card), g_thread_new("steps", run_steps, &card),
                           g_thread_new("steps", run_steps, &card) };
    bool was_held_up = false;
    for (int i = 0; i < 3000 && (g_atomic_int_get(&card.steps) < 10 || !was_held_up); i++) {
        was_held_up |= rv_turns_is_held_up(card.turns);
        g_usleep(10 * MS);
    }
    g_atomic_int_set(&card.stop, 1);
    for (gsize i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpint(card.steps, >=, 10);
    g_assert_cmpint(card.frames, >, card.steps);
    g_assert_cmpint(card.together, ==, 0);
    g_assert_true(was_held_up);
    rv_turns_table_free(table);
}

/* A step that waits while a frame is under way gives up when it is cancelled; the turns outlive their table.
 */
static void
test_cancel(void)
{
    RvTurnsTable *table = rv_turns_table_new(RV_SHARE_MIRROR_FIRST);
    Card card = { .turns = rv_turns_ref(rv_turns_table_get(table, "cpu")) };
    rv_turns_table_free(table);
    rv_turns_begin_frame(card.turns);
    GThread *thread = g_thread_new("steps", run_steps, &card);
    g_usleep(50 * MS);
    g_assert_cmpint(g_atomic_int_get(&card.steps), ==, 0);
    __atomic_store_n(&card.cancel, 1, __ATOMIC_RELAXED);
    g_thread_join(thread);
    g_assert_cmpint(card.steps, ==, 0);
    rv_turns_end_frame(card.turns);
    g_assert_true(rv_turns_try_frame(card.turns));
    rv_turns_end_frame(card.turns);
    rv_turns_unref(card.turns);
}

static void
test_not_shared(void)
{
    int cancel = 0;
    g_assert_null(rv_turns_table_get(NULL, "cpu"));
    g_assert_true(rv_turns_try_frame(NULL));
    g_assert_true(rv_turns_begin_step(NULL, &cancel));
    cancel = 1;
    g_assert_false(rv_turns_begin_step(NULL, &cancel));
    g_assert_false(rv_turns_is_held_up(NULL));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/share/alone", test_alone);
    g_test_add_func("/share/mirror-first", test_mirror_first);
    g_test_add_func("/share/saturated", test_saturated);
    g_test_add_func("/share/gaps", test_gaps);
    g_test_add_func("/share/end-of-session", test_end_of_session);
    g_test_add_func("/share/off", test_off);
    g_test_add_func("/share/names", test_names);
    g_test_add_func("/turns/threads", test_threads);
    g_test_add_func("/turns/cancel", test_cancel);
    g_test_add_func("/turns/not-shared", test_not_shared);
    return g_test_run();
}
