/* video.h - moving pictures in and out: a film (through GStreamer) or a folder of frames, behind one
 * interface.
 *
 * A folder holds one PNG, JPEG or WebP a frame, in natural order of names (frame-2 before frame-10). Sound is
 * neither read nor written. A reader or writer belongs to one thread at a time. GStreamer is started by the
 * first film that is opened. */
#pragma once
#include "media/picture.h"

typedef struct {
    int width, height;                    /* of the first frame; pixels are square */
    int rate_numerator, rate_denominator; /* frames a second; 0/1 when unknown (always for a folder) */
    gint64 frames;                        /* -1 when unknown; of a film an estimate from its duration */
} RvVideoInfo;

typedef struct RvVideoReader RvVideoReader;

/* Opens a folder or a film and decodes its first frame. `limits` (of each frame) may be NULL. */
RvVideoReader *rv_video_reader_open(const char *path, const RvPictureLimits *limits, GError **error);
void rv_video_reader_close(RvVideoReader *reader); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvVideoReader, rv_video_reader_close)
const RvVideoInfo *rv_video_reader_get_info(const RvVideoReader *reader);
/* Gives the next frame, upright, to the caller; NULL in *frame after the last one. False only on an error. */
bool rv_video_reader_next(RvVideoReader *reader, RvPicture **frame, GError **error);
/* Passes over `count` frames: exact, but a film still decodes them. Going past the end is no error. */
bool rv_video_reader_skip(RvVideoReader *reader, gint64 count, GError **error);

typedef struct RvVideoWriter RvVideoWriter;

typedef struct {
    int width, height;                    /* even for a film */
    int rate_numerator, rate_denominator; /* ignored by a folder */
    gint64 first_frame; /* a folder counts on from here (see rv_video_frame_path); 0 for a film */
} RvVideoWriterOptions;

/* Whether the name ends like a film that can be written: mp4, m4v, mov, mkv (H.264) or webm (VP8). Any other
 * name is a folder. */
bool rv_video_path_is_film(const char *path);
/* The file of frame `index` (from 0) in a folder that a writer fills: "FOLDER/frame-000001.png" is frame 0.
 */
char *rv_video_frame_path(const char *folder, gint64 index);

/* A film appears under its name only when rv_video_writer_finish succeeds; a folder is made when missing and
 * gets each frame whole, at once. A GStreamer element that is not installed fails with RV_ERROR_UNSUPPORTED
 * and the name of the Debian package. */
RvVideoWriter *rv_video_writer_open(const char *path, const RvVideoWriterOptions *options, GError **error);
/* `frame` must have the size of the options (a bug otherwise); alpha is dropped. */
bool rv_video_writer_add(RvVideoWriter *writer, const RvPicture *frame, GError **error);
bool rv_video_writer_finish(RvVideoWriter *writer, GError **error);
void rv_video_writer_close(RvVideoWriter *writer); /* accepts NULL; an unfinished film goes away */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RvVideoWriter, rv_video_writer_close)
