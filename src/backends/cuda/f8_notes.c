/* f8_notes.c - calibration: what layers see while a few pictures are drawn in float16, kept in a file of each
 * calibration below $XDG_CACHE_HOME/reverie/calibration/. */
#include <math.h>
#include <string.h>

#include "backends/cuda/f8.h"

#define MOST_LAYERS 4096
#define COMPLETE "complete"

/* Of a layer, in device memory. */
typedef struct CudaLayerNotes {
    CudaF8Note x, weight;
    double each[2], one[2]; /* cuda_f8_compare's sums: with a scale for each output, with one for all */
} Notes;

struct CudaNotes {
    char *calibration;
    Notes *notes;       /* device memory, MOST_LAYERS */
    GHashTable *layers; /* key -> index + 1 */
};

/* The names of what is multiplied. */
static char *
key_of(const RvOp *op)
{
    GString *key = g_string_new("layer");
    for (int i = 0; i < RV_OP_WEIGHTS; i += 2)
        if (op->weight[i].name != NULL)
            g_string_append_printf(key, " %s", op->weight[i].name);
    return g_string_free(key, FALSE);
}

/* What is known under that name, in this process or from an earlier one. */
static CudaTuning *
file_of(CudaDevice *device, const char *calibration)
{
    if (device->calibrations == NULL)
        device->calibrations =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)cuda_tuning_close);
    CudaTuning *file = g_hash_table_lookup(device->calibrations, calibration);
    if (file == NULL) {
        file = cuda_tuning_open("calibration", calibration);
        g_hash_table_insert(device->calibrations, g_strdup(calibration), file);
    }
    return file;
}

const CudaF8Record *
cuda_f8_record(CudaDevice *device, const RvOp *op)
{
    if (!device->fp8 || op->calibration == NULL)
        return NULL;
    g_autofree char *key = key_of(op);
    return cuda_tuning_find(file_of(device, op->calibration), key, sizeof(CudaF8Record));
}

static void
drop_notes(CudaDevice *device)
{
    CudaNotes *notes = device->notes;
    if (notes == NULL)
        return;
    device->notes = NULL;
    cuda_free(device, notes->notes);
    g_hash_table_destroy(notes->layers);
    g_free(notes->calibration);
    g_free(notes);
}

void
cuda_f8_close(CudaDevice *device)
{
    drop_notes(device);
    if (device->calibrations != NULL)
        g_hash_table_destroy(device->calibrations);
    cuda_free(device, device->f8_ones);
    cuda_free(device, device->f8_room);
}

static bool
start(CudaDevice *device, const char *calibration, GError **error)
{
    gsize bytes = MOST_LAYERS * sizeof(Notes);
    drop_notes(device);
    if (!cuda_bind(device, error))
        return false;
    device->notes = g_new0(CudaNotes, 1);
    device->notes->calibration = g_strdup(calibration);
    device->notes->layers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    device->notes->notes = cuda_alloc(device, bytes, error);
    if (device->notes->notes != NULL &&
        cuda_check(cudaMemsetAsync(device->notes->notes, 0, bytes, device->stream), device->name, error))
        return true;
    drop_notes(device);
    return false;
}

/* A layer whose inputs were never anything, or not finite, is left out: it stays as it is. */
static void
write_notes(CudaDevice *device, const Notes *seen)
{
    CudaTuning *file = file_of(device, device->notes->calibration);
    GHashTableIter iter;
    gpointer key, index;
    g_hash_table_iter_init(&iter, device->notes->layers);
    while (g_hash_table_iter_next(&iter, &key, &index)) {
        const Notes *note = &seen[GPOINTER_TO_INT(index) - 1];
        CudaF8Record record;
        memcpy(&record.largest, &note->x.largest, sizeof record.largest);
        record.each = (float)sqrt(note->each[0] / note->each[1]);
        record.one = (float)sqrt(note->one[0] / note->one[1]);
        if (isfinite(record.largest) && record.largest > 0.0f && isfinite(record.each) &&
            isfinite(record.one))
            cuda_tuning_store(file, key, &record, sizeof record);
    }
    cuda_tuning_store(file, COMPLETE, &(guint8) { 1 }, 1);
    cuda_tuning_save(file);
}

static bool
stop(CudaDevice *device, GError **error)
{
    g_autofree Notes *seen = g_new0(Notes, MOST_LAYERS);
    bool ok = cuda_download(device, seen, device->notes->notes, MOST_LAYERS * sizeof *seen, error);
    if (ok)
        write_notes(device, seen);
    drop_notes(device);
    return ok;
}

bool
cuda_calibrate(void *state, const char *calibration, RvCalibrationStep step, bool *is_known, GError **error)
{
    CudaDevice *device = state;
    bool is_asked = device->fp8 && calibration != NULL;
    if (is_known != NULL)
        *is_known = !is_asked || cuda_tuning_find(file_of(device, calibration), COMPLETE, 1) != NULL;
    if (!is_asked || step == RV_CALIBRATION_FIND)
        return true;
    if (step == RV_CALIBRATION_START)
        return start(device, calibration, error);
    if (step == RV_CALIBRATION_CANCEL)
        drop_notes(device);
    return device->notes == NULL || stop(device, error);
}

static gsize
rounded(gsize bytes)
{
    return (bytes + 255) & ~(gsize)255;
}

static gsize
x_bytes(const CudaConv *conv)
{
    return (gsize)conv->n * (gsize)conv->h * (gsize)conv->w * (gsize)conv->c * 2;
}

static gsize
weight_bytes(const CudaConv *conv)
{
    return (gsize)conv->out_c * (gsize)conv->kernel * (gsize)conv->kernel * (gsize)conv->c * 2;
}

static gsize
out_bytes(const CudaConv *conv)
{
    return (gsize)conv->n * (gsize)conv->out_h * (gsize)conv->out_w * (gsize)conv->out_c * 2;
}

bool
cuda_f8_take_notes(CudaLayer *layer, CudaDevice *device, RvOp *op, const CudaConv *conv, GError **error)
{
    CudaNotes *notes = device->notes;
    if (notes == NULL || op->calibration == NULL || strcmp(op->calibration, notes->calibration) != 0 ||
        op->out.dtype != RV_F16 || conv->c % 16 != 0 || conv->out_c % 16 != 0 || conv->x_stride != conv->c)
        return true;
    g_autofree char *key = key_of(op);
    int index = GPOINTER_TO_INT(g_hash_table_lookup(notes->layers, key));
    if (index == 0) {
        index = (int)g_hash_table_size(notes->layers) + 1;
        if (index > MOST_LAYERS)
            return true;
        g_hash_table_insert(notes->layers, g_strdup(key), GINT_TO_POINTER(index));
    }
    layer->notes = notes->notes + index - 1;
    layer->workspace = rounded(op->workspace);
    op->workspace =
        layer->workspace + rounded(x_bytes(conv)) + rounded(weight_bytes(conv)) + rounded(out_bytes(conv));
    return true;
}

/* The layer with rounded weights, `again`, against itself. */
static bool
compare(CudaDevice *device, const RvOp *op, const CudaConv *conv, const CudaConv *again,
        const CudaF8Note *all, double *sums, CudaRerun rerun, cudaStream_t stream, GError **error)
{
    int length = conv->kernel * conv->kernel * conv->c;
    return cuda_check(
               cuda_f8_round_rows(conv->weight, conv->out_c, length, (void *)again->weight, all, stream),
               op->name, error) &&
           rerun(device, op, again, stream, error) &&
           cuda_check(cuda_f8_compare(conv, again->out, sums, stream), op->name, error);
}

bool
cuda_f8_note(const CudaLayer *layer, CudaDevice *device, const RvOp *op, const CudaConv *conv,
             CudaRerun rerun, cudaStream_t stream, GError **error)
{
    Notes *notes = layer->notes;
    gint64 count = (gint64)conv->n * conv->h * conv->w * conv->c;
    gint64 weights = (gint64)conv->out_c * conv->kernel * conv->kernel * conv->c;
    guint8 *x = (guint8 *)op->workspace_data + layer->workspace, *weight = x + rounded(x_bytes(conv));
    CudaConv again = *conv;
    again.x = x;
    again.weight = weight;
    again.out = weight + rounded(weight_bytes(conv));
    return cuda_check(cuda_f8_note_largest(conv->x, count, &notes->x, stream), op->name, error) &&
           cuda_check(cuda_f8_note_largest(conv->weight, weights, &notes->weight, stream), op->name, error) &&
           cuda_check(cuda_f8_round(conv->x, count, x, &notes->x, stream), op->name, error) &&
           compare(device, op, conv, &again, NULL, notes->each, rerun, stream, error) &&
           compare(device, op, conv, &again, &notes->weight, notes->one, rerun, stream, error);
}
