#include "media/video.h"

#include <errno.h>
#include <string.h>

#include "media/video_film.h"
#include "media/video_frames.h"

struct RvVideoReader {
    RvVideoInfo info;
    RvFrames *frames; /* one of these two */
    RvFilmReader *film;
};

struct RvVideoWriter {
    RvFilmWriter *film; /* or, when NULL, a folder */
    char *folder;
    gint64 next;
    int width, height;
};

RvVideoReader *
rv_video_reader_open(const char *path, const RvPictureLimits *limits, GError **error)
{
    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        rv_error_set(error, RV_ERROR_NOT_FOUND, path, "check the name", "no such film or folder");
        return NULL;
    }
    RvVideoReader *reader = g_new0(RvVideoReader, 1);
    if (g_file_test(path, G_FILE_TEST_IS_DIR))
        reader->frames = rv_frames_open(path, limits, &reader->info, error);
    else
        reader->film = rv_film_reader_open(path, limits, &reader->info, error);
    if (reader->frames == NULL && reader->film == NULL)
        g_clear_pointer(&reader, g_free);
    return reader;
}

void
rv_video_reader_close(RvVideoReader *reader)
{
    if (reader == NULL)
        return;
    g_clear_pointer(&reader->frames, rv_frames_close);
    g_clear_pointer(&reader->film, rv_film_reader_close);
    g_free(reader);
}

const RvVideoInfo *
rv_video_reader_get_info(const RvVideoReader *reader)
{
    return &reader->info;
}

bool
rv_video_reader_next(RvVideoReader *reader, RvPicture **frame, GError **error)
{
    return reader->film != NULL ? rv_film_reader_next(reader->film, frame, error)
                                : rv_frames_next(reader->frames, frame, error);
}

bool
rv_video_reader_skip(RvVideoReader *reader, gint64 count, GError **error)
{
    if (reader->film != NULL)
        return rv_film_reader_skip(reader->film, count, error);
    rv_frames_skip(reader->frames, count);
    return true;
}

bool
rv_video_path_is_film(const char *path)
{
    static const char *const endings[] = { ".mp4", ".m4v", ".mov", ".mkv", ".webm" };
    g_autofree char *name = g_ascii_strdown(path, -1);
    for (gsize i = 0; i < G_N_ELEMENTS(endings); i++)
        if (g_str_has_suffix(name, endings[i]))
            return true;
    return false;
}

char *
rv_video_frame_path(const char *folder, gint64 index)
{
    g_autofree char *name = g_strdup_printf("frame-%06" G_GINT64_FORMAT ".png", index + 1);
    return g_build_filename(folder, name, NULL);
}

RvVideoWriter *
rv_video_writer_open(const char *path, const RvVideoWriterOptions *options, GError **error)
{
    g_assert(options->width > 0 && options->height > 0);
    RvVideoWriter *writer = g_new0(RvVideoWriter, 1);
    writer->width = options->width;
    writer->height = options->height;
    writer->next = options->first_frame;
    if (rv_video_path_is_film(path)) {
        writer->film = rv_film_writer_open(path, options, error);
        if (writer->film == NULL)
            g_clear_pointer(&writer, rv_video_writer_close);
        return writer;
    }
    writer->folder = g_strdup(path);
    if (g_mkdir_with_parents(path, 0777) != 0) {
        rv_error_set(error, RV_ERROR_IO, path, "check the name and its permissions", "cannot make folder: %s",
                     g_strerror(errno));
        g_clear_pointer(&writer, rv_video_writer_close);
    }
    return writer;
}

bool
rv_video_writer_add(RvVideoWriter *writer, const RvPicture *frame, GError **error)
{
    g_assert(frame->width == writer->width && frame->height == writer->height);
    if (writer->film != NULL)
        return rv_film_writer_add(writer->film, frame, error);
    g_autofree char *path = rv_video_frame_path(writer->folder, writer->next);
    RvPicture opaque = *frame;
    opaque.alpha = NULL;
    if (!rv_picture_save(&opaque, path, NULL, error))
        return false;
    writer->next++;
    return true;
}

bool
rv_video_writer_finish(RvVideoWriter *writer, GError **error)
{
    return writer->film == NULL || rv_film_writer_finish(writer->film, error);
}

void
rv_video_writer_close(RvVideoWriter *writer)
{
    if (writer == NULL)
        return;
    g_clear_pointer(&writer->film, rv_film_writer_close);
    g_free(writer->folder);
    g_free(writer);
}
