#include <string.h>

#include "backends/cuda/internal.h"

/* The ring is long enough for one piece to be filled while another crosses the link and a third is converted.
 */
#define PIECES 4
#define PIECE_BYTES ((gsize)16 << 20)
#define MAX_THREADS 8
/* Less than this is copied faster by one thread than shared out. */
#define SHARED_BYTES ((gsize)1 << 20)

typedef struct {
    guint8 *host;     /* pinned */
    guint8 *device;   /* for numbers that the GPU converts; made when first needed */
    cudaEvent_t done; /* the piece may be filled again */
} Piece;

struct CudaStaging {
    CudaDevice *device;
    Piece pieces[PIECES];
    int next;
    GThreadPool *pool;
    int threads;
};

typedef struct {
    GMutex mutex;
    GCond cond;
    int left;
} Work;

typedef struct {
    guint8 *to;
    const guint8 *from;
    gsize bytes;
    Work *work;
} Share;

static void
copy_share(gpointer data, gpointer user)
{
    Share *share = data;
    memcpy(share->to, share->from, share->bytes);
    g_mutex_lock(&share->work->mutex);
    if (--share->work->left == 0)
        g_cond_signal(&share->work->cond);
    g_mutex_unlock(&share->work->mutex);
}

void
cuda_copy_host(CudaDevice *device, void *to, const void *from, gsize bytes)
{
    CudaStaging *staging = device->staging;
    if (bytes < SHARED_BYTES || staging->threads < 2) {
        memcpy(to, from, bytes);
        return;
    }
    Work work = { .left = staging->threads };
    Share shares[MAX_THREADS];
    g_mutex_init(&work.mutex);
    g_cond_init(&work.cond);
    gsize each = (bytes / (gsize)staging->threads + 4095) & ~(gsize)4095;
    for (int i = 0; i < staging->threads; i++) {
        gsize start = MIN(bytes, each * (gsize)i),
              end = i + 1 < staging->threads ? MIN(bytes, start + each) : bytes;
        shares[i] = (Share) { (guint8 *)to + start, (const guint8 *)from + start, end - start, &work };
        if (i > 0)
            g_thread_pool_push(staging->pool, &shares[i], NULL);
    }
    copy_share(&shares[0], NULL);
    g_mutex_lock(&work.mutex);
    while (work.left > 0)
        g_cond_wait(&work.cond, &work.mutex);
    g_mutex_unlock(&work.mutex);
    g_mutex_clear(&work.mutex);
    g_cond_clear(&work.cond);
}

CudaStaging *
cuda_staging_new(CudaDevice *device, GError **error)
{
    CudaStaging *staging = g_new0(CudaStaging, 1);
    staging->device = device;
    staging->threads = CLAMP((int)g_get_num_processors() / 2, 1, MAX_THREADS);
    staging->pool = g_thread_pool_new(copy_share, NULL, staging->threads, FALSE, error);
    bool ok = staging->pool != NULL;
    for (int i = 0; ok && i < PIECES; i++) {
        Piece *piece = &staging->pieces[i];
        ok = cuda_check(cudaHostAlloc((void **)&piece->host, PIECE_BYTES, cudaHostAllocDefault),
                        "pinned memory on the host", error) &&
             cuda_check(cudaEventCreateWithFlags(&piece->done, cudaEventDisableTiming), device->name, error);
    }
    if (ok)
        return staging;
    cuda_staging_free(staging);
    return NULL;
}

void
cuda_staging_free(CudaStaging *staging)
{
    if (staging == NULL)
        return;
    for (int i = 0; i < PIECES; i++) {
        Piece *piece = &staging->pieces[i];
        if (piece->host != NULL)
            cudaFreeHost(piece->host);
        cuda_free(staging->device, piece->device);
        if (piece->done != NULL)
            cudaEventDestroy(piece->done);
    }
    if (staging->pool != NULL)
        g_thread_pool_free(staging->pool, FALSE, TRUE);
    g_free(staging);
}

/* The next piece of the ring, free to be filled. */
static Piece *
take_piece(CudaDevice *device, GError **error)
{
    CudaStaging *staging = device->staging;
    Piece *piece = &staging->pieces[staging->next];
    staging->next = (staging->next + 1) % PIECES;
    return cuda_check(cudaEventSynchronize(piece->done), device->name, error) ? piece : NULL;
}

static bool
send_piece(CudaDevice *device, Piece *piece, void *to, const void *from, gsize bytes, GError **error)
{
    cuda_copy_host(device, piece->host, from, bytes);
    return cuda_check(cudaMemcpyAsync(to, piece->host, bytes, cudaMemcpyHostToDevice, device->stream),
                      device->name, error);
}

bool
cuda_upload(CudaDevice *device, void *to, const void *from, gsize bytes, GError **error)
{
    if (!cuda_bind(device, error))
        return false;
    for (gsize done = 0; done < bytes;) {
        gsize count = MIN(PIECE_BYTES, bytes - done);
        Piece *piece = take_piece(device, error);
        if (piece == NULL ||
            !send_piece(device, piece, (guint8 *)to + done, (const guint8 *)from + done, count, error) ||
            !cuda_check(cudaEventRecord(piece->done, device->stream), device->name, error))
            return false;
        done += count;
    }
    return true;
}

/* Half a piece is emptied while the next half crosses the link. */
bool
cuda_download(CudaDevice *device, void *to, const void *from, gsize bytes, GError **error)
{
    Piece *pieces[2] = { NULL, NULL };
    gsize counts[2] = { 0, 0 }, asked = 0, done = 0;
    if (!cuda_bind(device, error))
        return false;
    for (int i = 0; done < bytes; i ^= 1) {
        for (int k = asked == 0 ? 0 : i ^ 1, end = i ^ 1; asked < bytes; k++) {
            pieces[k & 1] = take_piece(device, error);
            if (pieces[k & 1] == NULL)
                return false;
            gsize count = counts[k & 1] = MIN(PIECE_BYTES, bytes - asked);
            if (!cuda_check(cudaMemcpyAsync(pieces[k & 1]->host, (const guint8 *)from + asked, count,
                                            cudaMemcpyDeviceToHost, device->stream),
                            device->name, error) ||
                !cuda_check(cudaEventRecord(pieces[k & 1]->done, device->stream), device->name, error))
                return false;
            asked += count;
            if (k == end)
                break;
        }
        if (!cuda_check(cudaEventSynchronize(pieces[i]->done), device->name, error))
            return false;
        cuda_copy_host(device, (guint8 *)to + done, pieces[i]->host, counts[i]);
        done += counts[i];
    }
    return true;
}

/* Elements that must stay together for the layout: whole outputs of a convolution. */
static gint64
row_elements(const RvArray *from, CudaLayout layout, int *taps)
{
    *taps = 1;
    if (layout == CUDA_PLAIN || from->rank < 4)
        return 1;
    *taps = (int)(from->shape[2] * from->shape[3]);
    return *taps > 1 ? from->shape[1] * *taps : 1;
}

static bool
is_float(RvDType dtype)
{
    return dtype == RV_F32 || dtype == RV_F16 || dtype == RV_BF16 || dtype == RV_F64 || dtype == RV_F8_E4M3;
}

/* So many elements of the file, the first of them number `done`: whole rows. */
static void
pack_piece(CudaDevice *device, const RvArray *from, CudaLayout layout, const void *piece, gint64 row,
           int taps, gint64 done, gint64 elements, RvDType to_type, guint8 *to)
{
    CudaSpread spread = { .first = (int)(done / row),
                          .count = (int)(elements / row),
                          .outputs = (int)from->shape[0],
                          .channels = (int)from->shape[1],
                          .inputs_last = layout == CUDA_OIHW_TO_TWICE };
    if (layout == CUDA_OIHW_TO_SPREAD || layout == CUDA_OIHW_TO_TWICE)
        cuda_kernel_pack_spread(piece, (int)from->dtype, to, (int)to_type, spread, device->stream);
    else
        cuda_kernel_pack(piece, (int)from->dtype, to + done * (gint64)rv_dtype_size(to_type), (int)to_type,
                         elements, row, taps, device->stream);
}

static bool
load_converted(CudaDevice *device, const RvArray *from, CudaLayout layout, gint64 row, int taps,
               RvDType to_type, guint8 *to, GError **error)
{
    gint64 count = rv_array_count(from), size = (gint64)rv_dtype_size(from->dtype);
    gint64 most = (gint64)PIECE_BYTES / size / row * row;
    if (most == 0)
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, device->name, NULL,
                            "a convolution with %" G_GINT64_FORMAT " weights an output is too large", row);
    for (gint64 done = 0; done < count; done += most) {
        gint64 elements = MIN(most, count - done);
        Piece *piece = take_piece(device, error);
        if (piece == NULL)
            return false;
        if (piece->device == NULL && (piece->device = cuda_alloc(device, PIECE_BYTES, error)) == NULL)
            return false;
        if (!send_piece(device, piece, piece->device, (const guint8 *)from->data + done * size,
                        (gsize)(elements * size), error))
            return false;
        pack_piece(device, from, layout, piece->device, row, taps, done, elements, to_type, to);
        if (!cuda_check(cudaGetLastError(), "converting weights", error) ||
            !cuda_check(cudaEventRecord(piece->done, device->stream), device->name, error))
            return false;
    }
    return true;
}

bool
cuda_load_weight(CudaDevice *device, const RvArray *from, CudaLayout layout, RvDType to_type, void *to,
                 GError **error)
{
    int taps = 1;
    gint64 row = row_elements(from, layout, &taps);
    if (taps == 1 && from->dtype == to_type)
        return cuda_upload(device, to, from->data, (gsize)rv_array_count(from) * rv_dtype_size(to_type),
                           error);
    if (!is_float(from->dtype))
        return rv_error_set(error, RV_ERROR_UNSUPPORTED, device->name, NULL, "weights cannot be %s",
                            rv_dtype_name(from->dtype));
    return cuda_bind(device, error) && load_converted(device, from, layout, row, taps, to_type, to, error);
}
