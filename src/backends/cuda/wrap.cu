/* The copy of a picture that a circular convolution reads. */
#include "backends/cuda/wrap.h"

#include "backends/cuda/device.cuh"
#include "backends/cuda/launch.cuh"

#define THREADS 256
#define MOST_BLOCKS (1 << 20)

/* VECTOR elements a thread; the launcher proves divisibility and alignment. */
template <typename T, int VECTOR> struct alignas(sizeof(T) * VECTOR) Vector {
    T at[VECTOR];
};

/* `at` in a circle of `size`. */
__device__ int
around(int at, int size)
{
    int rest = at % size;
    return rest < 0 ? rest + size : rest;
}

template <typename T, int VECTOR>
__global__ void
__launch_bounds__(THREADS) wrap_kernel(const CudaConv p, int margin, T *to)
{
    typedef Vector<T, VECTOR> V;
    wait_for_inputs();
    int per_pixel = p.c / VECTOR, height = p.up_h + 2 * margin, width = p.up_w + 2 * margin;
    long long total = (long long)p.n * height * width * per_pixel;
    for (long long i = (long long)blockIdx.x * THREADS + threadIdx.x; i < total;
         i += (long long)gridDim.x * THREADS) {
        long long pixel = i / per_pixel, row = pixel / width;
        int channel = (int)(i - pixel * per_pixel) * VECTOR, x = (int)(pixel - row * width);
        int image = (int)(row / height), y = (int)(row - (long long)image * height);
        y = around(y - margin, p.up_h);
        x = around(x - margin, p.up_w);
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

template <typename T, int VECTOR>
static cudaError_t
launch(const CudaConv *p, int margin, void *to, cudaStream_t stream)
{
    long long items = (long long)p->n * (p->up_h + 2 * margin) * (p->up_w + 2 * margin) * (p->c / VECTOR);
    long long blocks = (items + THREADS - 1) / THREADS;
    blocks = blocks < 1 ? 1 : blocks > MOST_BLOCKS ? MOST_BLOCKS : blocks;
    launch_kernel(wrap_kernel<T, VECTOR>, dim3((unsigned)blocks), THREADS, 0, 1, stream, *p, margin, (T *)to);
    return cudaGetLastError();
}

template <typename T>
static cudaError_t
wrap(const CudaConv *p, int margin, void *to, cudaStream_t stream)
{
    const int wide = 16 / (int)sizeof(T);
    if (p->c % wide == 0 && p->x_stride % wide == 0 && aligned(p->x) && aligned(to))
        return launch<T, 16 / (int)sizeof(T)>(p, margin, to, stream);
    return launch<T, 1>(p, margin, to, stream);
}

extern "C" cudaError_t
cuda_wrap(const CudaConv *conv, int margin, void *to, cudaStream_t stream)
{
    /* Moving bytes: bfloat16 goes as float16. */
    return conv->dtype == DTYPE_F32 ? wrap<float>(conv, margin, to, stream)
                                    : wrap<__half>(conv, margin, to, stream);
}
