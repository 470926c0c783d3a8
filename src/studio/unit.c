#include "studio/unit.h"

#define PREVIEW_FOR_US (10 * G_USEC_PER_SEC) /* after they were asked for */

const char *
rv_unit_phase_name(RvUnitPhase phase)
{
    static const char *const names[] = { "queued", "loading", "text", "encode", "sample", "decode", "save" };
    return names[phase];
}

static void
drawn_free(gpointer data)
{
    RvDrawn *drawn = data;
    rv_picture_free(drawn->picture);
    g_free(drawn->infotext);
    g_free(drawn);
}

RvUnit *
rv_unit_new(void)
{
    RvUnit *unit = g_new0(RvUnit, 1);
    g_atomic_ref_count_init(&unit->count);
    g_mutex_init(&unit->mutex);
    unit->drawn = g_ptr_array_new_with_free_func(drawn_free);
    unit->pictures = g_ptr_array_new_with_free_func((GDestroyNotify)rv_studio_picture_free);
    unit->notes = g_ptr_array_new_with_free_func(g_free);
    return unit;
}

RvUnit *
rv_unit_ref(RvUnit *unit)
{
    g_atomic_ref_count_inc(&unit->count);
    return unit;
}

void
rv_unit_unref(RvUnit *unit)
{
    if (unit == NULL || !g_atomic_ref_count_dec(&unit->count))
        return;
    rv_studio_job_free(unit->spec);
    g_free(unit->model);
    g_free(unit->vae);
    g_free(unit->hash);
    g_free(unit->user);
    g_free(unit->refiner);
    g_free(unit->hires_model);
    g_free(unit->hires_vae);
    g_free(unit->refiner_title);
    g_free(unit->hires_title);
    g_strfreev(unit->wildcards);
    g_free(unit->outputs);
    g_free(unit->folder);
    g_free(unit->job_folder);
    g_clear_pointer(&unit->leftovers, g_ptr_array_unref);
    g_mutex_clear(&unit->mutex);
    g_clear_pointer(&unit->preview, g_bytes_unref);
    g_free(unit->blocked);
    g_ptr_array_unref(unit->drawn);
    g_ptr_array_unref(unit->pictures);
    g_ptr_array_unref(unit->notes);
    g_clear_error(&unit->error);
    g_free(unit);
}

void
rv_unit_set_phase(RvUnit *unit, RvUnitPhase phase, int step, int steps)
{
    g_mutex_lock(&unit->mutex);
    unit->phase = phase;
    unit->step = step;
    unit->steps = steps;
    g_mutex_unlock(&unit->mutex);
}

void
rv_unit_set_sampling(RvUnit *unit, gint64 sampling_us, double text_seconds)
{
    g_mutex_lock(&unit->mutex);
    if (unit->sampling_us == 0) {
        unit->sampling_us = sampling_us;
        unit->text_seconds = text_seconds;
    }
    g_mutex_unlock(&unit->mutex);
}

void
rv_unit_set_preview(RvUnit *unit, GBytes *bytes)
{
    g_mutex_lock(&unit->mutex);
    g_clear_pointer(&unit->preview, g_bytes_unref);
    unit->preview = bytes;
    unit->previews++;
    g_mutex_unlock(&unit->mutex);
}

bool
rv_unit_wants_preview(RvUnit *unit)
{
    g_mutex_lock(&unit->mutex);
    bool wants =
        unit->preview_wanted_us > 0 && g_get_monotonic_time() - unit->preview_wanted_us < PREVIEW_FOR_US;
    g_mutex_unlock(&unit->mutex);
    return wants;
}

void
rv_unit_set_blocked(RvUnit *unit, const char *why)
{
    g_mutex_lock(&unit->mutex);
    g_free(unit->blocked);
    unit->blocked = g_strdup(why);
    g_mutex_unlock(&unit->mutex);
}

RvUnitStop
rv_unit_stopped(RvUnit *unit)
{
    return (RvUnitStop)g_atomic_int_get(&unit->stop);
}

void
rv_unit_forget_drawn(RvUnit *unit)
{
    g_ptr_array_set_size(unit->drawn, 0);
    g_ptr_array_set_size(unit->notes, 0);
}

void
rv_unit_add_drawn(RvUnit *unit, RvStudioRole role, RvPicture *picture, const char *infotext, gint64 seed,
                  gint64 subseed)
{
    RvDrawn *drawn = g_new(RvDrawn, 1);
    *drawn = (RvDrawn) { role, picture, g_strdup(infotext != NULL ? infotext : ""), seed, subseed };
    g_ptr_array_add(unit->drawn, drawn);
}
