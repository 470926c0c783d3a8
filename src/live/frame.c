/* frame.c - reference-counted frames. */
#include "live/frame.h"

const char *
rv_stage_name(RvStage stage)
{
    static const char *const names[RV_STAGE_COUNT] = { "wait",     "decode", "upload",  "render",
                                                       "download", "encode", "service", "hold" };
    g_assert(stage < RV_STAGE_COUNT);
    return names[stage];
}

RvFrame *
rv_frame_new(void *data, gsize bytes, GDestroyNotify free_data)
{
    RvFrame *frame = g_new0(RvFrame, 1);
    g_atomic_ref_count_init(&frame->references);
    frame->data = data;
    frame->bytes = bytes;
    frame->free_data = free_data;
    return frame;
}

RvFrame *
rv_frame_new_result(const RvFrame *source, void *data, gsize bytes, GDestroyNotify free_data)
{
    RvFrame *frame = rv_frame_new(data, bytes, free_data);
    frame->sequence = source->sequence;
    frame->capture_us = source->capture_us;
    frame->born_us = source->born_us;
    frame->revision = source->revision;
    return frame;
}

RvFrame *
rv_frame_ref(RvFrame *frame)
{
    g_atomic_ref_count_inc(&frame->references);
    return frame;
}

void
rv_frame_unref(RvFrame *frame)
{
    if (frame == NULL || !g_atomic_ref_count_dec(&frame->references))
        return;
    if (frame->free_data != NULL)
        frame->free_data(frame->data);
    g_free(frame);
}
