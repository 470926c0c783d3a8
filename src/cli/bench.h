/* bench.h - what the files of `reverie bench` share. */
#pragma once
#include <stdio.h>

#include "cli/console.h"
#include "engine/framer.h"

typedef struct {
    char *random, *size, *json, *svg;
    int frames, steps;
    double strength, cfg, rate;
    gboolean profile;
} RvBenchOptions;

/* Milliseconds of a frame, or of all steps. */
typedef struct {
    double encode, unet, decode, upload, download;
} RvBenchStages;

typedef struct {
    RvBenchOptions options;
    RvEngine *engine;
    RvPipeline *pipeline;
    RvFramer *framer; /* NULL where frames are drawn by rv_pipeline_generate() */
    RvRequest request;
    RvPicture *init;
    RvCeilings ceilings;
    GArray *samples_ms; /* double */
    RvBenchStages stages;
    double interval_ms; /* between frames with two under way; 0: the device takes one at a time */
    double
        compute_ms; /* of a frame whose bytes do not move, where interval_ms is known; of a step: its run */
    double flops;   /* of one sample */
    int missed;     /* with --rate: pictures that came while a frame was drawn and a newer one too */
    RvProgressBar bar;
    gint64 last_step;
    double ready_seconds;
    double first_frame_seconds; /* since this process was started */
} RvBench;

/* Whole frames, one after the other; then what their parts take. */
bool rv_bench_frames(RvBench *bench, int frames, GError **error);
bool rv_bench_steps(RvBench *bench, GError **error);

/* Opens the model with rv_generate_options and readies the request's frames; and gives up all of that. */
bool rv_bench_open_frames(RvBench *bench, GError **error);
void rv_bench_close(RvBench *bench);

/* Frames in the device's usual precision and in that of rv_generate_options (fp8 unless one is given): how
 * far they are apart, and time and error layer by layer. Nothing is open before. */
bool rv_bench_precision(RvBench *bench, int frames, GError **error);

/* Frames a second of each of the devices by itself and of all together, printed and written as the options
 * ask; the request has its picture. */
bool rv_bench_devices(RvBench *bench, char **names, int frames, GError **error);

/* How long weights and scratch take to leave the device and to come back, and what a picture is then: a table
 * and PASS or, with an error, FAIL. */
bool rv_bench_sleep(RvBench *bench, GError **error);

/* Seconds that reading the model's files takes by itself, now (from the page cache once they were read), and
 * their bytes. */
bool rv_bench_reading(const char *path, double *seconds, double *bytes, GError **error);
/* Bytes a second from the host to the device. */
bool rv_bench_link(RvEngine *engine, double *rate, GError **error);
/* Since this process was started. */
double rv_bench_age(void);

/* What loading is held against. */
typedef struct {
    double bytes, reading_seconds; /* of the model's files, read by themselves */
    double link_rate;              /* bytes a second from the host to the device */
} RvBenchLoad;

/* Prints how long the model took until it was ready and until its first frame, as --json wants it too. */
bool rv_bench_report_load(const RvBench *bench, const RvBenchLoad *load, GError **error);

/* Prints the figures and writes the JSON and the chart that the options ask for; `what` is "frame" or "step".
 */
bool rv_bench_report(const RvBench *bench, const char *what, GError **error);
/* An open object with the device, the model and the size; and where --json says that it goes. */
JsonBuilder *rv_bench_json(const RvBench *bench);
/* For people: not where JSON goes. */
FILE *rv_bench_stream(const RvBench *bench);
bool rv_bench_write_json(const RvBench *bench, JsonBuilder *json, GError **error);
