/* What this pack's instruction set can do at most (cvr/plugin/ops/peak.h): multiply-adds from registers, and a copy. */
#include "cpu_peak.h"
#include "cpu_loops.h"
#include "cpu_stream.h"

/* Links run side by side in phases: ROWS * PHASES sums hide two multiply-adds a cycle of five cycles each, and leave
 * room in 16 registers for the factors. */
#define ROWS 2
#define PHASES 5

/* One link: sum[i] += a[i] * b. b is volatile so that a compiler can neither take a product out of the loop, where
 * there is no fused multiply-add, nor see that all phases compute the same. */
PEAK_INLINE void add_link(vec *sum, const vec *a, const volatile vec *b) {
    const vec now = *b;
    PEAK_UNROLL
    for (int i = 0; i < ROWS; i++) sum[i] = vec_fma(a[i], now, sum[i]);
}

PEAK_INLINE void add_links(vec sum[PHASES][ROWS], const vec *a, const float *column, int64_t links) {
    const volatile vec b = vec_load(column);
    int64_t link = 0;
    for (; link + PHASES <= links; link += PHASES) {
        PEAK_UNROLL
        for (int p = 0; p < PHASES; p++) add_link(sum[p], a, &b);
    }
    for (; link < links; link++) add_link(sum[0], a, &b);
}

/* y (ROWS, VEC) of (16,16): x has the rows of y, columns (32,16) is x of the whole block, transposed. */
static void peak_piece(float *y, const float *x, const float *columns, int64_t links) {
    vec sum[PHASES][ROWS], a[ROWS];
    PEAK_UNROLL
    for (int i = 0; i < PHASES * ROWS; i++) sum[i / ROWS][i % ROWS] = vec_zero();
    for (int k = 0; k < CVR_PEAK_DEPTH; k++) {
        PEAK_UNROLL
        for (int i = 0; i < ROWS; i++) a[i] = vec_set1(x + i * CVR_PEAK_DEPTH + k);
        add_links(sum, a, columns + k * CVR_PEAK_ROWS, links);
    }
    PEAK_UNROLL
    for (int i = 0; i < ROWS; i++) {
        vec all = sum[0][i];
        PEAK_UNROLL
        for (int p = 1; p < PHASES; p++) all = vec_add(all, sum[p][i]);
        vec_store(y + i * CVR_PEAK_ROWS, all);
    }
}

static void block_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t links = ((const cvr_peak_multiply_add_attrs *)a->attrs)->links;
    const float *x = (const float *)a->inputs[0]->data + task * CVR_PEAK_ROWS * CVR_PEAK_DEPTH;
    float *y = (float *)a->outputs[0]->data + task * CVR_PEAK_ROWS * CVR_PEAK_ROWS;
    float columns[CVR_PEAK_DEPTH * CVR_PEAK_ROWS];
    for (int k = 0; k < CVR_PEAK_DEPTH; k++)
        for (int i = 0; i < CVR_PEAK_ROWS; i++) columns[k * CVR_PEAK_ROWS + i] = x[i * CVR_PEAK_DEPTH + k];
    for (int i = 0; i < CVR_PEAK_ROWS; i += ROWS)
        for (int j = 0; j < CVR_PEAK_ROWS; j += VEC)
            peak_piece(y + i * CVR_PEAK_ROWS + j, x + i * CVR_PEAK_DEPTH, columns + j, links);
}

static int32_t multiply_add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_kernel_args copy = *a;
    cpu_run(a->pool, a->inputs[0]->shape[0], block_task, &copy);
    return CVR_OK;
}

#define COPY_BYTES 262144 /* of a task */

static int64_t bytes_of(const cvr_tensor *t) {
    return cpu_numel(t) * (int64_t)cvr_dtype_size(t->dtype);
}

static void copy_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t all = bytes_of(a->inputs[0]), first = (int64_t)task * COPY_BYTES;
    const char *x = (const char *)a->inputs[0]->data + first;
    char *y = (char *)a->outputs[0]->data + first;
    const int64_t n = cpu_min(COPY_BYTES, all - first);
    if (cpu_streams(a->outputs[0]->data, all))
        cpu_stream_copy(y, x, n);
    else
        memcpy(y, x, (size_t)n);
    cpu_stream_end();
}

static int32_t copy_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    cvr_kernel_args copy = *a;
    cpu_run(a->pool, cpu_ceil_div(bytes_of(a->inputs[0]), COPY_BYTES), copy_task, &copy);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"peak_multiply_add", multiply_add_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"peak_copy", copy_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_peak_kernels = {kernels, sizeof kernels / sizeof *kernels};
