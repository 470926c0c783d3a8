/* video_film.h - films through GStreamer; the one file pair that knows it. For video.c only. */
#pragma once
#include "media/video.h"

typedef struct RvFilmReader RvFilmReader;
RvFilmReader *rv_film_reader_open(const char *path, const RvPictureLimits *limits, RvVideoInfo *info,
                                  GError **error);
bool rv_film_reader_next(RvFilmReader *reader, RvPicture **frame, GError **error);
bool rv_film_reader_skip(RvFilmReader *reader, gint64 count, GError **error);
void rv_film_reader_close(RvFilmReader *reader);

typedef struct RvFilmWriter RvFilmWriter;
RvFilmWriter *rv_film_writer_open(const char *path, const RvVideoWriterOptions *options, GError **error);
bool rv_film_writer_add(RvFilmWriter *writer, const RvPicture *frame, GError **error);
bool rv_film_writer_finish(RvFilmWriter *writer, GError **error);
void rv_film_writer_close(RvFilmWriter *writer);
