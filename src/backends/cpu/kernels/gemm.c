#include "backends/cpu/kernels/gemm.h"
#include "backends/cpu/kernels/activate.h"
#include "backends/cpu/kernels/vec.h"

/* The largest block whose sums, two vectors of B and one value of A fit the registers. */
#if CPU_LANES == 16
#define ROWS 14
#else
#define ROWS 6
#endif
#define COLUMNS (2 * CPU_LANES)

#define INLINE static inline __attribute__((always_inline))

/* m is a constant at every call. Rows are addressed as bases[r / 3] + (r % 3) * stride, which x86
 * does without a pointer register for each row. */
INLINE void
block(const int m, int k, const float *a, gint64 a_stride, const float *restrict b, float *c, gint64 c_stride,
      bool accumulate)
{
    Vec sum[ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < m; r++) {
        sum[r][0] = accumulate ? vec_load(c + r * c_stride) : vec_all(0);
        sum[r][1] = accumulate ? vec_load(c + r * c_stride + CPU_LANES) : vec_all(0);
    }
    const float *bases[(ROWS + 2) / 3];
#pragma GCC unroll 16
    for (int i = 0; i < (m + 2) / 3; i++) {
        bases[i] = a + 3 * i * a_stride;
        __asm__("" : "+r"(bases[i]));
    }
    for (int i = 0; i < k; i++) {
        Vec b0 = vec_load(b), b1 = vec_load(b + CPU_LANES);
        b += COLUMNS;
#pragma GCC unroll 16
        for (int r = 0; r < m; r++) {
            Vec value = vec_all(bases[r / 3][(r % 3) * a_stride + i]);
            sum[r][0] += value * b0;
            sum[r][1] += value * b1;
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < m; r++) {
        vec_store(c + r * c_stride, sum[r][0]);
        vec_store(c + r * c_stride + CPU_LANES, sum[r][1]);
    }
}

static void
block_of(int m, int k, const float *a, gint64 a_stride, const float *b, float *c, gint64 c_stride,
         bool accumulate)
{
    switch (m) {
#define CASE(rows)                                               \
    case rows:                                                   \
        block(rows, k, a, a_stride, b, c, c_stride, accumulate); \
        break
        CASE(1);
        CASE(2);
        CASE(3);
        CASE(4);
        CASE(5);
        CASE(6);
#if ROWS > 6
        CASE(7);
        CASE(8);
        CASE(9);
        CASE(10);
        CASE(11);
        CASE(12);
        CASE(13);
        CASE(14);
#endif
#undef CASE
    }
}

/* A panel with fewer columns than the registers hold goes through a copy. */
static void
narrow_block(int m, int n, int k, const float *a, gint64 a_stride, const float *b, float *c, gint64 c_stride,
             bool accumulate)
{
    float copy[ROWS * COLUMNS] = { 0 };
    for (int r = 0; accumulate && r < m; r++)
        memcpy(copy + r * COLUMNS, c + r * c_stride, sizeof *c * (gsize)n);
    block_of(m, k, a, a_stride, b, copy, COLUMNS, accumulate);
    for (int r = 0; r < m; r++)
        memcpy(c + r * c_stride, copy + r * COLUMNS, sizeof *c * (gsize)n);
}

static void
panel(int m, int n, int k, const float *a, gint64 a_stride, const float *b, float *c, gint64 c_stride,
      bool accumulate)
{
    /* blocks of nearly equal height: 8 rows are better off as 4 + 4 than as 6 + 2 */
    int blocks = (m + ROWS - 1) / ROWS, row = 0;
    for (int i = 0; i < blocks; i++) {
        int rows = (m - row) / (blocks - i);
        if (n == COLUMNS)
            block_of(rows, k, a + row * a_stride, a_stride, b, c + row * c_stride, c_stride, accumulate);
        else
            narrow_block(rows, n, k, a + row * a_stride, a_stride, b, c + row * c_stride, c_stride,
                         accumulate);
        row += rows;
    }
}

INLINE void
finish_loop(float *restrict out, int columns, const float *bias, const float *add, const RvAct act)
{
    if (bias != NULL && add != NULL) {
#pragma omp simd
        for (int i = 0; i < columns; i++)
            out[i] = activate(act, out[i] + bias[i] + add[i]);
    } else if (bias != NULL || add != NULL) {
        const float *one = bias != NULL ? bias : add;
#pragma omp simd
        for (int i = 0; i < columns; i++)
            out[i] = activate(act, out[i] + one[i]);
    } else {
#pragma omp simd
        for (int i = 0; i < columns; i++)
            out[i] = activate(act, out[i]);
    }
}

static void
finish_rows(float *out, gint64 out_stride, gint64 rows, int columns, const CpuFinish *f)
{
    if (f->bias == NULL && f->add == NULL && f->act == RV_ACT_NONE)
        return;
    for (gint64 r = 0; r < rows; r++) {
        float *row = out + r * out_stride;
        const float *add = f->add != NULL ? f->add + r * f->add_stride : NULL;
#define CALL(constant) finish_loop(row, columns, f->bias, add, constant)
        SWITCH_ACT(f->act, CALL)
#undef CALL
    }
}

const CpuGemmKernels CPU_TABLE(cpu_gemm_kernels) = {
    .rows = ROWS,
    .columns = COLUMNS,
    .panel = panel,
    .finish = finish_rows,
};
