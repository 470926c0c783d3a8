/* Passes around the libraries: what their epilogues lack, the resize before a convolution, random numbers. */
#include "backends/cuda/device.cuh"
#include "backends/cuda/launch.cuh"

#define THREADS 256

/* VECTOR elements a thread; the launcher proves divisibility and alignment. */
template <typename T, int VECTOR> struct alignas(sizeof(T) * VECTOR) Vector {
    T at[VECTOR];
};

template <typename T, int VECTOR>
__global__ void
__launch_bounds__(THREADS) epilogue_kernel(const CudaConv p)
{
    typedef Vector<T, VECTOR> V;
    wait_for_inputs();
    long long image = (long long)p.out_h * p.out_w, per_pixel = p.out_c / VECTOR,
              total = p.n * image * per_pixel;
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < total;
         i += (long long)gridDim.x * THREADS) {
        long long pixel = i / per_pixel;
        int channel = (int)(i - pixel * per_pixel) * VECTOR;
        V value = ((V *)p.out)[i], bias = {}, add = {};
        if (p.bias != nullptr)
            bias = *(const V *)((const T *)p.bias + channel);
        if (p.add_kind != CUDA_ADD_NONE) {
            long long row = p.add_kind == CUDA_ADD_PIXEL ? pixel : pixel / image;
            add = *(const V *)((const T *)p.add + row * p.add_stride + channel);
        }
        float sum[VECTOR];
#pragma unroll
        for (int j = 0; j < VECTOR; j++) {
            sum[j] = to_float(value.at[j]);
            if (p.bias != nullptr)
                sum[j] += to_float(bias.at[j]);
            if (p.add_kind != CUDA_ADD_NONE)
                sum[j] += to_float(add.at[j]);
        }
        activate_all(p.act, sum);
#pragma unroll
        for (int j = 0; j < VECTOR; j++)
            value.at[j] = from_float<T>(sum[j]);
        ((V *)p.out)[i] = value;
    }
}

template <typename T, int VECTOR>
__global__ void
__launch_bounds__(THREADS) resize_kernel(const CudaConv p, T *to)
{
    typedef Vector<T, VECTOR> V;
    wait_for_inputs();
    int per_pixel = p.c / VECTOR;
    long long total = (long long)p.n * p.up_h * p.up_w * per_pixel;
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < total;
         i += (long long)gridDim.x * THREADS) {
        long long pixel = i / per_pixel, row = pixel / p.up_w;
        int channel = (int)(i - pixel * per_pixel) * VECTOR, x = (int)(pixel - row * p.up_w);
        int image = (int)(row / p.up_h), y = (int)(row - (long long)image * p.up_h);
        y = (int)((long long)y * p.h / p.up_h);
        x = (int)((long long)x * p.w / p.up_w);
        long long from = ((long long)image * p.h + y) * p.w + x;
        ((V *)to)[i] = *(const V *)((const T *)p.x + from * p.x_stride + channel);
    }
}

static bool
aligned(const void *p)
{
    return ((uintptr_t)p & 15) == 0;
}

static unsigned
blocks_for(long long items)
{
    long long blocks = (items + THREADS - 1) / THREADS;
    return (unsigned)(blocks < 1 ? 1 : blocks > 1 << 20 ? 1 << 20 : blocks);
}

template <typename T>
static cudaError_t
epilogue(const CudaConv *p, cudaStream_t stream)
{
    const int wide = 16 / (int)sizeof(T);
    long long count = (long long)p->n * p->out_h * p->out_w * p->out_c;
    bool is_wide = p->out_c % wide == 0 && aligned(p->out) && aligned(p->bias) &&
                   (p->add_kind == CUDA_ADD_NONE || (aligned(p->add) && p->add_stride % wide == 0));
    if (is_wide)
        launch_kernel(epilogue_kernel<T, wide>, dim3(blocks_for(count / wide)), THREADS, 0, 1, stream, *p);
    else
        launch_kernel(epilogue_kernel<T, 1>, dim3(blocks_for(count)), THREADS, 0, 1, stream, *p);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_epilogue(const CudaConv *conv, cudaStream_t stream)
{
    return conv->dtype == DTYPE_F32   ? epilogue<float>(conv, stream)
           : conv->dtype == DTYPE_F16 ? epilogue<__half>(conv, stream)
                                      : epilogue<__nv_bfloat16>(conv, stream);
}

template <typename T>
static cudaError_t
resize(const CudaConv *p, void *to, cudaStream_t stream)
{
    const int wide = 16 / (int)sizeof(T);
    long long count = (long long)p->n * p->up_h * p->up_w * p->c;
    if (p->c % wide == 0 && p->x_stride % wide == 0 && aligned(p->x) && aligned(to))
        launch_kernel(resize_kernel<T, wide>, dim3(blocks_for(count / wide)), THREADS, 0, 1, stream, *p,
                      (T *)to);
    else
        launch_kernel(resize_kernel<T, 1>, dim3(blocks_for(count)), THREADS, 0, 1, stream, *p, (T *)to);
    return cudaGetLastError();
}

extern "C" cudaError_t
cuda_resize(const CudaConv *conv, void *to, cudaStream_t stream)
{
    /* Moving bytes: bfloat16 goes as float16. */
    return conv->dtype == DTYPE_F32 ? resize<float>(conv, to, stream) : resize<__half>(conv, to, stream);
}

template <typename T>
__global__ void
__launch_bounds__(THREADS) fill_kernel(T *to, size_t count)
{
    for (size_t i = (size_t)blockIdx.x * THREADS + threadIdx.x; i < count; i += (size_t)gridDim.x * THREADS) {
        uint32_t bits = (uint32_t)i * 2654435761u + 12345u;
        bits ^= bits >> 15;
        bits *= 2246822519u;
        bits ^= bits >> 13;
        to[i] = from_float<T>((float)(bits >> 8) * 0x1p-24f - 0.5f);
    }
}

extern "C" cudaError_t
cuda_fill(void *to, size_t count, int dtype, cudaStream_t stream)
{
    unsigned blocks = blocks_for((long long)count / 16);
    if (dtype == DTYPE_F32)
        fill_kernel<<<blocks, THREADS, 0, stream>>>((float *)to, count);
    else if (dtype == DTYPE_F16)
        fill_kernel<<<blocks, THREADS, 0, stream>>>((__half *)to, count);
    else
        fill_kernel<<<blocks, THREADS, 0, stream>>>((__nv_bfloat16 *)to, count);
    return cudaGetLastError();
}

/* Up to 8 rows of a linear layer: a warp for each output, its weights read once. */
#define MOST_ROWS 8

template <typename T>
__global__ void
__launch_bounds__(THREADS) few_rows_kernel(const CudaConv p, int rows)
{
    int warp = (int)((blockIdx.x * THREADS + threadIdx.x) / 32), lane = threadIdx.x % 32;
    wait_for_inputs();
    if (warp >= p.out_c)
        return;
    const int wide = 16 / (int)sizeof(T);
    typedef Vector<T, wide> V;
    const V *weight = (const V *)((const T *)p.weight + (long long)warp * p.c);
    float sum[MOST_ROWS] = {};
    for (int i = lane; i < p.c / wide; i += 32) {
        V w = weight[i];
#pragma unroll
        for (int r = 0; r < MOST_ROWS; r++) {
            if (r >= rows)
                break;
            V x = ((const V *)((const T *)p.x + (long long)r * p.x_stride))[i];
#pragma unroll
            for (int j = 0; j < wide; j++)
                sum[r] = fmaf(to_float(w.at[j]), to_float(x.at[j]), sum[r]);
        }
    }
    long long image = (long long)p.out_h * p.out_w;
#pragma unroll
    for (int r = 0; r < MOST_ROWS; r++) {
        if (r >= rows)
            break;
        float value = sum[r];
        for (int step = 16; step > 0; step /= 2)
            value += __shfl_xor_sync(~0u, value, step);
        if (lane != 0)
            continue;
        if (p.bias != nullptr)
            value += to_float(((const T *)p.bias)[warp]);
        if (p.add_kind != CUDA_ADD_NONE)
            value += to_float(
                ((const T *)p.add)[(p.add_kind == CUDA_ADD_PIXEL ? r : r / image) * p.add_stride + warp]);
        ((T *)p.out)[(long long)r * p.out_c + warp] = from_float<T>(activate(p.act, value));
    }
}

static long long
rows_of(const CudaConv *p)
{
    return (long long)p->n * p->out_h * p->out_w;
}

extern "C" bool
cuda_few_rows_takes(const CudaConv *p)
{
    int wide = p->dtype == DTYPE_F32 ? 4 : 8;
    return p->kernel == 1 && rows_of(p) <= MOST_ROWS && p->c % wide == 0 && p->x_stride % wide == 0 &&
           aligned(p->x) && aligned(p->weight);
}

extern "C" cudaError_t
cuda_few_rows(const CudaConv *conv, cudaStream_t stream)
{
    unsigned blocks = (unsigned)((conv->out_c + THREADS / 32 - 1) / (THREADS / 32));
    int rows = (int)rows_of(conv);
    if (conv->dtype == DTYPE_F32)
        launch_kernel(few_rows_kernel<float>, dim3(blocks), THREADS, 0, 1, stream, *conv, rows);
    else if (conv->dtype == DTYPE_F16)
        launch_kernel(few_rows_kernel<__half>, dim3(blocks), THREADS, 0, 1, stream, *conv, rows);
    else
        launch_kernel(few_rows_kernel<__nv_bfloat16>, dim3(blocks), THREADS, 0, 1, stream, *conv, rows);
    return cudaGetLastError();
}
