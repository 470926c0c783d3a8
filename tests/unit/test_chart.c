/* The statistics of frame times, and the chart of them. */
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "cli/chart.h"

static void
test_p99_is_the_smallest_sample_that_99_percent_do_not_exceed(void)
{
    for (int count = 1; count <= 1000; count++) {
        g_autofree double *samples = g_new(double, count);
        for (int i = 0; i < count; i++)
            samples[i] = (i * 7919) % count; /* each of 0 to count - 1 once: 7919 is prime */
        double p99 = rv_timings_of(samples, count).p99;
        int below = 0, not_above = 0;
        for (int i = 0; i < count; i++) {
            below += samples[i] < p99;
            not_above += samples[i] <= p99;
        }
        g_assert_cmpint(100 * not_above, >=, 99 * count);
        g_assert_cmpint(100 * below, <, 99 * count);
    }
}

static void
test_other_statistics(void)
{
    const double even[] = { 40, 10, 30, 20 }, odd[] = { 5, 1, 9 }, one[] = { 7 };
    RvTimings t = rv_timings_of(even, 4);
    g_assert_cmpfloat(t.min, ==, 10);
    g_assert_cmpfloat(t.median, ==, 25);
    g_assert_cmpfloat(t.max, ==, 40);
    g_assert_cmpfloat(t.mean, ==, 25);
    g_assert_cmpfloat(rv_timings_of(odd, 3).median, ==, 5);
    t = rv_timings_of(one, 1);
    g_assert_true(t.min == 7 && t.median == 7 && t.p99 == 7 && t.max == 7 && t.mean == 7);
    g_assert_cmpfloat(even[0], ==, 40); /* the samples stay as they were */
}

static void
test_one_outlier_in_a_hundred_is_the_slowest_but_not_p99(void)
{
    double samples[100];
    for (int i = 0; i < 100; i++)
        samples[i] = i == 50 ? 900 : 20;
    RvTimings t = rv_timings_of(samples, 100);
    g_assert_cmpfloat(t.p99, ==, 20);
    g_assert_cmpfloat(t.max, ==, 900);
}

static int
occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static void
test_chart_has_a_dot_per_frame(void)
{
    const double samples[] = { 20, 30, 400, 25 };
    g_autofree char *folder = g_dir_make_tmp("reverie-chart-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "a.svg", NULL), *text = NULL;
    g_autoptr(GError) error = NULL;
    g_assert_true(rv_chart_write(path, "<title> & more", samples, 4, &error));
    g_assert_no_error(error);
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_assert_true(g_str_has_prefix(text, "<svg"));
    g_assert_cmpint(occurrences(text, "<circle"), ==, 4);
    g_assert_null(strstr(text, "<title> & more")); /* escaped */
    g_unlink(path);
    g_rmdir(folder);
    g_assert_false(rv_chart_write(path, "gone", samples, 4, &error));
    g_assert_nonnull(error);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/chart/p99", test_p99_is_the_smallest_sample_that_99_percent_do_not_exceed);
    g_test_add_func("/chart/statistics", test_other_statistics);
    g_test_add_func("/chart/outlier", test_one_outlier_in_a_hundred_is_the_slowest_but_not_p99);
    g_test_add_func("/chart/svg", test_chart_has_a_dot_per_frame);
    return g_test_run();
}
