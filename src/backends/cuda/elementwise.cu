/* elementwise.cu - each thread makes one vector of the result: memory is the only limit, so the vectors are
 * as wide as one access can be, and dense operands are one long row whatever their channels. */
#include "activation.cuh"
#include "kernels.h"
#include "launch.cuh"
#include "rows.cuh"

#define THREADS 256
#define GLU_THREADS 160 /* twice its vectors is a row of SDXL's 2,560 channels, and half of 5,120 */
#define MOST_GRID_ROWS 65536
/* Vectors of one launch: what Divisor can divide. Pixels are fewer than 2^32: memory holds no more. */
#define MOST_VECTORS ((int64_t)1 << 31)

/* What each op computes: V numbers of the result from channel `c` of pixel `p` on. */
struct Act {
    CudaView x;
    int act, is_exact;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        load_vector<V>(x.data, x.dtype, p * x.stride + c, out);
#pragma unroll
        for (int i = 0; i < V; i++)
            out[i] = activate(out[i], act, is_exact);
    }
};

struct Glu {
    CudaView x;
    int half, is_exact;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        float gate[V];
        load_vector<V>(x.data, x.dtype, p * x.stride + c, out);
        load_vector<V>(x.data, x.dtype, p * x.stride + c + half, gate);
#pragma unroll
        for (int i = 0; i < V; i++)
            out[i] *= gelu(gate[i], is_exact);
    }
};

struct Add {
    CudaView a, b;
    unsigned plane; /* 0: b has a's pixels */
    int per_image;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        float addend[V];
        int64_t q = plane == 0 ? p : per_image ? (unsigned)p / plane : (unsigned)p % plane;
        load_vector<V>(a.data, a.dtype, p * a.stride + c, out);
        load_vector<V>(b.data, b.dtype, q * b.stride + c, addend);
#pragma unroll
        for (int i = 0; i < V; i++)
            out[i] += addend[i];
    }
};

static __device__ __forceinline__ float
factor_at(const CudaView &factor, int64_t p)
{
    if (factor.data == nullptr)
        return 1.0f;
    int64_t at = factor.pixels == 1 ? 0 : (unsigned)p % (unsigned)factor.pixels;
    return ((const float *)factor.data)[at * factor.stride];
}

struct Mix {
    CudaView x, y, a, b;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        float other[V];
        load_vector<V>(x.data, x.dtype, p * x.stride + c, out);
        load_vector<V>(y.data, y.dtype, p * y.stride + c, other);
        float of_x = factor_at(a, p), of_y = factor_at(b, p);
#pragma unroll
        for (int i = 0; i < V; i++)
            out[i] = of_x * out[i] + of_y * other[i];
    }
};

struct Concat {
    CudaView a, b;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        bool is_first = c < a.channels;
        const CudaView &x = is_first ? a : b;
        load_vector<V>(x.data, x.dtype, p * x.stride + (is_first ? c : c - a.channels), out);
    }
};

struct Convert {
    CudaView x;
    float scale, shift;
    template <int V> __device__ void compute(int64_t p, int64_t c, float out[V]) const
    {
        load_vector<V>(x.data, x.dtype, p * x.stride + c, out);
#pragma unroll
        for (int i = 0; i < V; i++)
            out[i] = out[i] * scale + shift;
    }
};

/* `per_row` vectors of W channels a pixel; the last one of a row may be shorter. */
template <class Op, int W>
static __global__ void
__launch_bounds__(THREADS)
    elementwise(Op op, CudaView out, int64_t first_pixel, unsigned vectors, Divisor per_row)
{
    wait_for_inputs();
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= vectors)
        return;
    unsigned row = divide(i, per_row);
    int64_t p = first_pixel + row, c = (int64_t)(i - row * per_row.divisor) * W;
    if (c + W <= out.channels) {
        float x[W];
        op.template compute<W>(p, c, x);
        store_result<W>(out, p * out.stride + c, x);
        return;
    }
    for (; c < out.channels; c++) {
        float x[1];
        op.template compute<1>(p, c, x);
        store_result<1>(out, p * out.stride + c, x);
    }
}

template <class Op, int W>
static void
launch_width(const Op &op, const CudaView &out, cudaStream_t stream)
{
    int64_t per_row = ((int64_t)out.channels + W - 1) / W, rows = MOST_VECTORS / per_row;
    Divisor divisor = divisor_of((unsigned)per_row);
    for (int64_t p = 0; p < out.pixels; p += rows) {
        int64_t vectors = (out.pixels - p < rows ? out.pixels - p : rows) * per_row;
        launch_kernel(elementwise<Op, W>, dim3((unsigned)((vectors + THREADS - 1) / THREADS)), THREADS, 0, 1,
                      stream, op, out, p, (unsigned)vectors, divisor);
    }
}

template <class Op>
static void
launch(const Op &op, const CudaView &out, bool is_wide, cudaStream_t stream)
{
    if (is_wide && takes_eight(&out))
        launch_width<Op, 8>(op, out, stream);
    else
        launch_width<Op, 1>(op, out, stream);
}

/* One row instead of many when nothing depends on where a pixel ends. */
template <int N>
static void
flatten(CudaView *const (&views)[N])
{
    for (CudaView *view : views)
        if (!is_dense(view) || view->pixels != views[0]->pixels || view->channels != views[0]->channels ||
            view->pixels * view->channels > INT32_MAX)
            return;
    for (CudaView *view : views) {
        view->channels *= (int)view->pixels;
        view->stride = view->channels;
        view->pixels = 1;
    }
}

extern "C" void
cuda_kernel_act(CudaView x, CudaView out, int act, int is_exact, cudaStream_t stream)
{
    flatten({ &x, &out });
    launch(Act { x, act, is_exact }, out, takes_eight(&x), stream);
}

/* Both halves of GLU_VECTORS vectors a thread under way at a time, for half floats and bfloats. A row of
 * blocks for each pixel. */
#define GLU_VECTORS 2
template <int TYPE>
static __global__ void
__launch_bounds__(GLU_THREADS) glu_halves(CudaView x, CudaView out)
{
    wait_for_inputs();
    const uint4 *values = (const uint4 *)((const uint16_t *)x.data + blockIdx.y * (int64_t)x.stride);
    const uint4 *gates = values + out.channels / 8;
    uint4 value_bits[GLU_VECTORS], gate_bits[GLU_VECTORS];
    int first = blockIdx.x * GLU_VECTORS * GLU_THREADS + threadIdx.x, count = out.channels / 8;
#pragma unroll
    for (int k = 0; k < GLU_VECTORS; k++)
        if (first + k * GLU_THREADS < count) {
            gate_bits[k] = gates[first + k * GLU_THREADS];
            value_bits[k] = values[first + k * GLU_THREADS];
        }
#pragma unroll
    for (int k = 0; k < GLU_VECTORS; k++) {
        int at = first + k * GLU_THREADS;
        if (at >= count)
            return;
        float value[8], gate[8];
        load_eight(&gate_bits[k], TYPE, 0, gate);
        load_eight(&value_bits[k], TYPE, 0, value);
#pragma unroll
        for (int i = 0; i < 8; i++)
            value[i] *= gelu(gate[i], false);
        store_result<8>(out, blockIdx.y * (int64_t)out.stride + at * 8, value);
    }
}

static bool
takes_halves(const CudaView &x, const CudaView &out)
{
    return (x.dtype == F16 || x.dtype == BF16) && (out.dtype == x.dtype || out.dtype == F8_E4M3) &&
           takes_eight(&x) && takes_eight(&out) && out.channels % 8 == 0 && out.pixels < MOST_GRID_ROWS;
}

extern "C" void
cuda_kernel_glu(CudaView x, CudaView out, int is_exact, cudaStream_t stream)
{
    if (!is_exact && takes_halves(x, out)) {
        unsigned per_row =
            (unsigned)(out.channels / 8 + GLU_VECTORS * GLU_THREADS - 1) / (GLU_VECTORS * GLU_THREADS);
        launch_kernel(x.dtype == F16 ? glu_halves<F16> : glu_halves<BF16>,
                      dim3(per_row, (unsigned)out.pixels), GLU_THREADS, 0, 1, stream, x, out);
        return;
    }
    launch(Glu { x, out.channels, is_exact }, out, takes_eight(&x) && out.channels % 8 == 0, stream);
}

extern "C" void
cuda_kernel_add(CudaView a, CudaView b, CudaView out, int64_t plane, int per_image, cudaStream_t stream)
{
    if (a.pixels == b.pixels) {
        plane = 0;
        flatten({ &a, &b, &out });
    }
    launch(Add { a, b, (unsigned)plane, per_image }, out, takes_eight(&a) && takes_eight(&b), stream);
}

extern "C" void
cuda_kernel_mix(CudaView x, CudaView y, CudaView a, CudaView b, CudaView out, cudaStream_t stream)
{
    if ((a.data == nullptr || a.pixels == 1) && (b.data == nullptr || b.pixels == 1))
        flatten({ &x, &y, &out });
    launch(Mix { x, y, a, b }, out, takes_eight(&x) && takes_eight(&y), stream);
}

extern "C" void
cuda_kernel_concat(CudaView a, CudaView b, CudaView out, cudaStream_t stream)
{
    bool is_wide = takes_eight(&a) && takes_eight(&b) && a.channels % 8 == 0;
    launch(Concat { a, b }, out, is_wide, stream);
}

extern "C" void
cuda_kernel_convert(CudaView x, CudaView out, float scale, float shift, cudaStream_t stream)
{
    flatten({ &x, &out });
    launch(Convert { x, scale, shift }, out, takes_eight(&x), stream);
}
