/* video_frames.h - a folder of frames, read in natural order of names. For video.c only. */
#pragma once
#include "media/video.h"

typedef struct RvFrames RvFrames;
RvFrames *rv_frames_open(const char *folder, const RvPictureLimits *limits, RvVideoInfo *info,
                         GError **error);
bool rv_frames_next(RvFrames *frames, RvPicture **frame, GError **error);
void rv_frames_skip(RvFrames *frames, gint64 count);
void rv_frames_close(RvFrames *frames);
