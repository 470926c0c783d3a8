#include <stdio.h>
#include <string.h>

#include "base/json_build.h"
#include "cli/bench.h"
#include "cli/chart.h"

static void
add_timings(JsonBuilder *json, const RvTimings *t)
{
    rv_json_begin_object(json, "ms");
    rv_json_add_number(json, "min", t->min);
    rv_json_add_number(json, "median", t->median);
    rv_json_add_number(json, "p99", t->p99);
    rv_json_add_number(json, "max", t->max);
    rv_json_add_number(json, "mean", t->mean);
    json_builder_end_object(json);
}

JsonBuilder *
rv_bench_json(const RvBench *b)
{
    RvDeviceInfo info;
    rv_device_describe(rv_engine_device(b->engine), &info);
    JsonBuilder *json = json_builder_new();
    json_builder_begin_object(json);
    rv_json_add_text(json, "device", info.name);
    rv_json_add_int(json, "threads", info.threads);
    rv_json_add_text(json, "precision", rv_engine_precision(b->engine));
    rv_json_add_text(json, "model", rv_pipeline_name(b->pipeline));
    g_autofree char *size = g_strdup_printf("%dx%d", b->request.width, b->request.height);
    rv_json_add_text(json, "size", size);
    return json;
}

static JsonBuilder *
figures(const RvBench *b, const RvTimings *t, double fraction)
{
    JsonBuilder *json = rv_bench_json(b);
    rv_json_add_int(json, "frames", b->samples_ms->len);
    add_timings(json, t);
    rv_json_begin_object(json, "per_stage_ms");
    rv_json_add_number(json, "encode", b->stages.encode);
    rv_json_add_number(json, "unet", b->stages.unet);
    rv_json_add_number(json, "decode", b->stages.decode);
    rv_json_add_number(json, "upload", b->stages.upload);
    rv_json_add_number(json, "download", b->stages.download);
    json_builder_end_object(json);
    if (b->options.rate > 0.0) {
        rv_json_add_number(json, "rate", b->options.rate);
        rv_json_add_int(json, "missed", b->missed);
    }
    if (b->interval_ms > 0.0)
        rv_json_add_number(json, "interval_ms", b->interval_ms);
    if (b->compute_ms > 0.0)
        rv_json_add_number(json, "compute_ms", b->compute_ms);
    rv_json_add_number(json, "tflop", b->flops * 1e-12);
    rv_json_begin_object(json, "ceiling");
    rv_json_add_number(json, "matmul_tflops", b->ceilings.matmul_flops * 1e-12);
    rv_json_add_number(json, "copy_tb_s", b->ceilings.copy_bytes * 1e-12);
    json_builder_end_object(json);
    rv_json_add_number(json, "fraction_of_ceiling", fraction);
    rv_json_add_int(json, "peak_device_bytes", (gint64)rv_pipeline_device_bytes(b->pipeline));
    rv_json_add_number(json, "ready_seconds", b->ready_seconds);
    rv_json_begin_array(json, "samples_ms");
    for (guint i = 0; i < b->samples_ms->len; i++)
        json_builder_add_double_value(json, g_array_index(b->samples_ms, double, i));
    json_builder_end_array(json);
    json_builder_end_object(json);
    return json;
}

FILE *
rv_bench_stream(const RvBench *b)
{
    return b->options.json != NULL && strcmp(b->options.json, "-") == 0 ? stderr : stdout;
}

bool
rv_bench_write_json(const RvBench *b, JsonBuilder *json, GError **error)
{
    const char *path = b->options.json;
    if (strcmp(path, "-") == 0)
        return rv_console_print_json(json, false, error);
    g_autofree char *text = rv_console_json_text(json, true);
    GError *failed = NULL;
    if (g_file_set_contents(path, text, -1, &failed))
        return true;
    rv_error_set(error, RV_ERROR_IO, path, "check the folder and the disk", "cannot write: %s",
                 failed->message);
    g_error_free(failed);
    return false;
}

bool
rv_bench_report(const RvBench *b, const char *what, GError **error)
{
    const double *samples = (const double *)b->samples_ms->data;
    int count = (int)b->samples_ms->len;
    RvTimings t = rv_timings_of(samples, count);
    double fraction = b->flops / (t.median * 1e-3) / b->ceilings.matmul_flops;
    FILE *to = rv_bench_stream(b);
    fprintf(to, "%s, %dx%d: %d %ss, median %.2f ms, p99 %.2f, slowest %.2f (%.2f a second)\n",
            rv_pipeline_name(b->pipeline), b->request.width, b->request.height, count, what, t.median, t.p99,
            t.max, 1000.0 / t.median);
    fprintf(to, "slowest of %d: %.2f ms; fastest %.2f, mean %.2f\n", count, t.max, t.min, t.mean);
    if (b->options.rate > 0.0)
        fprintf(to,
                "a picture every %.2f ms, each timed from when it came; %d more came in vain while one was "
                "drawn\n",
                1000.0 / b->options.rate, b->missed);
    fprintf(to, "encode %.2f ms, UNet %.2f ms, decode %.2f ms", b->stages.encode, b->stages.unet,
            b->stages.decode);
    if (b->interval_ms > 0.0)
        fprintf(to,
                ", upload %.2f ms, download %.2f ms; every %.2f ms with two under way, of which %.2f ms is "
                "computing",
                b->stages.upload, b->stages.download, b->interval_ms, b->compute_ms);
    else if (b->compute_ms > 0.0)
        fprintf(to, "; the UNet's run %.2f ms of a %s", b->compute_ms, what);
    fprintf(to, "; ready after %.2f s\n", b->ready_seconds);
    fprintf(to, "%.3f TFLOP a %s; ceiling %.3f TFLOP/s, copy %.1f GB/s: %.0f %% of the matrix ceiling\n",
            b->flops * 1e-12, what, b->ceilings.matmul_flops * 1e-12, b->ceilings.copy_bytes * 1e-9,
            fraction * 100.0);
    g_autofree char *title =
        g_strdup_printf("%s, %dx%d", rv_pipeline_name(b->pipeline), b->request.width, b->request.height);
    if (b->options.svg != NULL && !rv_chart_write(b->options.svg, title, samples, count, error))
        return false;
    if (b->options.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = figures(b, &t, fraction);
    return rv_bench_write_json(b, json, error);
}

bool
rv_bench_report_load(const RvBench *b, const RvBenchLoad *load, GError **error)
{
    double warm_ms = g_array_index(b->samples_ms, double, 0), reading = MAX(load->reading_seconds, 1e-9);
    FILE *to = rv_bench_stream(b);
    fprintf(to,
            "%s, %dx%d: %.1f MB, ready after %.3f s (%.2f GB/s), first frame after %.3f s, a warm one takes "
            "%.2f ms\n"
            "reading the files alone: %.3f s (%.2f GB/s); to the device: %.2f GB/s\n",
            rv_pipeline_name(b->pipeline), b->request.width, b->request.height, load->bytes * 1e-6,
            b->ready_seconds, load->bytes * 1e-9 / b->ready_seconds, b->first_frame_seconds, warm_ms, reading,
            load->bytes * 1e-9 / reading, load->link_rate * 1e-9);
    if (b->options.json == NULL)
        return true;
    g_autoptr(JsonBuilder) json = rv_bench_json(b);
    rv_json_add_number(json, "bytes", load->bytes);
    rv_json_add_number(json, "ready_seconds", b->ready_seconds);
    rv_json_add_number(json, "first_frame_seconds", b->first_frame_seconds);
    rv_json_add_number(json, "warm_frame_ms", warm_ms);
    rv_json_add_number(json, "reading_gb_s", load->bytes * 1e-9 / reading);
    rv_json_add_number(json, "link_gb_s", load->link_rate * 1e-9);
    json_builder_end_object(json);
    return rv_bench_write_json(b, json, error);
}
