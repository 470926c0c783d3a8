#include "cli/chart.h"

#include "base/error.h"
#include "media/output.h"

#define WIDTH 960
#define HEIGHT 420
#define LEFT 60
#define TOP 50
#define PLOT_WIDTH 700
#define PLOT_HEIGHT 310
#define AXIS_MS 250.0
#define BINS 50

static int
compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

RvTimings
rv_timings_of(const double *samples_ms, int count)
{
    g_autofree double *sorted = g_memdup2(samples_ms, sizeof *samples_ms * (gsize)count);
    qsort(sorted, (gsize)count, sizeof *sorted, compare_doubles);
    double sum = 0.0;
    for (int i = 0; i < count; i++)
        sum += sorted[i];
    int p99 = (count * 99 + 99) / 100 - 1;
    return (RvTimings) {
        .min = sorted[0],
        .median = count % 2 == 1 ? sorted[count / 2] : 0.5 * (sorted[count / 2 - 1] + sorted[count / 2]),
        .p99 = sorted[p99],
        .max = sorted[count - 1],
        .mean = sum / count,
    };
}

static double
y_of(double ms)
{
    return TOP + PLOT_HEIGHT * (1.0 - CLAMP(ms / AXIS_MS, 0.0, 1.0));
}

static void
draw_axes(GString *svg)
{
    for (int ms = 0; ms <= (int)AXIS_MS; ms += 50) {
        g_string_append_printf(svg, "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='#ddd'/>", LEFT,
                               y_of(ms), LEFT + PLOT_WIDTH, y_of(ms));
        g_string_append_printf(svg, "<text x='%d' y='%.1f' text-anchor='end'>%d</text>", LEFT - 8,
                               y_of(ms) + 4, ms);
    }
    g_string_append_printf(svg, "<text x='%d' y='%d'>ms per frame</text>", LEFT, TOP - 8);
}

static void
draw_level(GString *svg, double ms, const char *colour)
{
    g_string_append_printf(svg,
                           "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' stroke='%s' stroke-dasharray='6 3'/>",
                           LEFT, y_of(ms), LEFT + PLOT_WIDTH, y_of(ms), colour);
}

static void
draw_frames(GString *svg, const double *samples_ms, int count)
{
    double total = 0.0, time = 0.0;
    for (int i = 0; i < count; i++)
        total += samples_ms[i];
    for (int i = 0; i < count; i++) {
        time += samples_ms[i];
        g_string_append_printf(svg, "<circle cx='%.1f' cy='%.1f' r='1.6' fill='%s'/>",
                               LEFT + PLOT_WIDTH * time / total, y_of(samples_ms[i]),
                               samples_ms[i] > AXIS_MS ? "#c22" : "#247");
    }
    g_string_append_printf(svg, "<text x='%d' y='%d' text-anchor='end'>%.1f s, %d frames</text>",
                           LEFT + PLOT_WIDTH, TOP + PLOT_HEIGHT + 20, total / 1000.0, count);
}

static void
draw_histogram(GString *svg, const double *samples_ms, int count)
{
    int bins[BINS] = { 0 }, most = 1;
    for (int i = 0; i < count; i++) {
        int bin = (int)CLAMP(samples_ms[i] / AXIS_MS * BINS, 0.0, BINS - 1.0);
        most = MAX(most, ++bins[bin]);
    }
    double bar = (double)PLOT_HEIGHT / BINS;
    for (int i = 0; i < BINS; i++)
        if (bins[i] > 0)
            g_string_append_printf(svg, "<rect x='%d' y='%.1f' width='%.1f' height='%.1f' fill='#7ab'/>",
                                   LEFT + PLOT_WIDTH + 15, TOP + PLOT_HEIGHT - bar * (i + 1),
                                   150.0 * bins[i] / most, bar - 0.5);
}

bool
rv_chart_write(const char *path, const char *title, const double *samples_ms, int count, GError **error)
{
    RvTimings timings = rv_timings_of(samples_ms, count);
    g_autofree char *escaped = g_markup_escape_text(title, -1);
    g_autoptr(GString) svg = g_string_new(NULL);
    g_string_append_printf(
        svg,
        "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
        "font-size='12'><rect width='100%%' height='100%%' fill='white'/>"
        "<text x='%d' y='22' font-size='15'>%s</text>",
        WIDTH, HEIGHT, LEFT, escaped);
    draw_axes(svg);
    draw_frames(svg, samples_ms, count);
    draw_histogram(svg, samples_ms, count);
    draw_level(svg, timings.median, "#2a2");
    draw_level(svg, timings.p99, "#e90");
    draw_level(svg, timings.max, "#c22");
    g_string_append_printf(
        svg,
        "<text x='%d' y='%d'><tspan fill='#2a2'>median %.1f ms</tspan>   <tspan fill='#e90'>p99 %.1f ms"
        "</tspan>   <tspan fill='#c22'>slowest %.1f ms</tspan></text></svg>\n",
        LEFT, TOP + PLOT_HEIGHT + 20, timings.median, timings.p99, timings.max);
    g_autoptr(RvOutput) output = rv_output_open(path, error);
    return output != NULL && rv_output_write(output, svg->str, svg->len, error) &&
           rv_output_commit(output, error);
}
