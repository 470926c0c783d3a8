/* live_trace.h - what arrives and how long it takes, the same for every scheduler under comparison. */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum { SERVICE_JITTER, SERVICE_HEAVY_TAIL, SERVICE_STALLS } ServiceKind;

typedef struct {
    const char *name;
    double fps;
    double arrival_jitter_ms; /* standard deviation of when a frame arrives */
    int devices;
    double service_ms; /* median */
    ServiceKind kind;
    double lost; /* share of the frames that are never answered */
} LiveScenario;

typedef struct {
    int frames;
    gint64 *arrival_us; /* rising */
    gint64 *service_us; /* of this frame, on whatever device */
    bool *is_lost;      /* its device fails on it at the end of the service time */
} LiveTrace;

LiveTrace *live_trace_new(const LiveScenario *scenario, int frames, guint32 seed);
void live_trace_free(LiveTrace *trace);

typedef struct {
    int frame;
    gint64 time_us;
} LiveShow;

/* What was shown: appends to an array of LiveShow. */
void live_show_add(GArray *shows, int frame, gint64 time_us);

/* Schedulers of two reference projects, as rules about queues (no network, no JPEG). */
void live_reference_heap(const LiveTrace *trace, int devices, GArray *shows);
void live_reference_cursor(const LiveTrace *trace, int devices, GArray *shows);
