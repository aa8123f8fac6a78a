/*
 * Layer normalisation on the CPU (see <cvr/plugin/ops/norm.h>), where a group is a row in memory:
 *     y = (x - mean) * invstd * weight + bias,  invstd = 1 / sqrt(var + eps)
 *     dx = invstd * (e - mean(e) - xhat * mean(e * xhat)),  e = grad * weight,  xhat = (x - mean) * invstd
 *     dweight = sum over rows of grad * xhat,  dbias = sum over rows of grad
 *
 * Blocks of rows are tasks. A row is read from memory once; its further passes (mean, variance, result) find it in the
 * cache. A row of bf16 is widened to floats of the worker's own. dweight and dbias are summed in double for each block,
 * and the blocks' sums are added in their order.
 */
#include "cpu_rows.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

/* The tensor as `groups` rows of `size`; weights lie in another order than x where `pixels` > 0: (channels, pixels). */
typedef struct rows {
    int64_t groups, size, block, blocks;
    int64_t channels, pixels;
} rows;

/* Whether the axes begin..end-1 are innermost in memory; `r` is filled if so. */
static int rows_of(const cvr_tensor *x, const cvr_layer_norm_attrs *attrs, rows *r) {
    const int pixel = x->rank == 4 && attrs->begin == 1 && attrs->end == 2;
    const int tail = attrs->end == (int64_t)x->rank && (x->rank != 4 || attrs->begin <= 1);
    memset(r, 0, sizeof *r);
    r->size = 1;
    for (int64_t i = attrs->begin; i < attrs->end; i++) r->size *= x->shape[i];
    r->groups = r->size > 0 ? cpu_numel(x) / r->size : 0;
    r->block = cpu_max(CPU_SPAN / cpu_max(r->size, 1), 64);
    r->blocks = cpu_ceil_div(r->groups, r->block);
    if (x->rank == 4 && attrs->begin == 1 && attrs->end == 4) {
        r->channels = x->shape[1];
        r->pixels = x->shape[2] * x->shape[3];
    }
    return pixel || tail;
}

/* `n`: inputs of the activations' type, f32 or bf16 */
static int32_t supports(const cvr_signature *sig, uint32_t n, cvr_error *reason) {
    rows r;
    if (rows_of(sig->inputs[0], sig->attrs, &r)) return cpu_rows_first_supports(sig, n, reason);
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "the normalised axes are not innermost in memory (N, H, W, C)");
}

static int32_t forward_supports(const cvr_signature *sig, cvr_error *reason) {
    return supports(sig, 1, reason);
}

static int32_t backward_supports(const cvr_signature *sig, cvr_error *reason) {
    return supports(sig, 2, reason);
}

/* Bytes for `n` rows of floats a worker, where rows of bf16 are widened. */
static uint64_t wide_bytes(const cvr_signature *sig, const rows *r, uint64_t n) {
    return sig->inputs[0]->dtype == CVR_BF16 ? sig->n_workers * n * (uint64_t)r->size * sizeof(float) : 0;
}

/* weight and bias in x's order, then a row */
static uint64_t forward_workspace(const cvr_signature *sig) {
    rows r;
    (void)rows_of(sig->inputs[0], sig->attrs, &r);
    return (r.pixels > 0 ? (uint64_t)r.size * 2 * sizeof(float) : 0) + wide_bytes(sig, &r, 1);
}

/* Sums for dweight and dbias of each block of rows, then weight in x's order, then two rows. */
static uint64_t backward_workspace(const cvr_signature *sig) {
    rows r;
    (void)rows_of(sig->inputs[0], sig->attrs, &r);
    return (uint64_t)r.size * ((uint64_t)r.blocks * 2 * sizeof(double) + sizeof(float)) + wide_bytes(sig, &r, 2);
}

/* Where element i of a weight lies in a row of x. */
static int64_t row_place(const rows *r, int64_t i) {
    return r->pixels > 0 ? i % r->pixels * r->channels + i / r->pixels : i;
}

static const float *in_row_order(const rows *r, const float *weight, float *room) {
    if (!weight || r->pixels == 0) return weight;
    for (int64_t i = 0; i < r->size; i++) room[row_place(r, i)] = weight[i];
    return room;
}

typedef struct rows_job {
    rows r;
    const void *x, *grad;
    void *y;
    const float *weight, *bias;
    float *mean, *invstd;
    float *wide; /* rows of each worker */
    int bf16;
    double *partial;
    double eps;
} rows_job;

/* ---- forward ---- */

static void normalise_row(const rows_job *job, const float *x, float *y, float mean, float invstd) {
    const float *weight = job->weight, *bias = job->bias;
    const int64_t n = job->r.size;
    if (weight && bias) {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * invstd * weight[i] + bias[i];
    } else if (weight) {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * invstd * weight[i];
    } else {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * invstd;
        for (int64_t i = 0; bias && i < n; i++) y[i] += bias[i];
    }
}

static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    const int64_t n = job->r.size, first = (int64_t)task * job->r.block;
    const int64_t end = cpu_min(first + job->r.block, job->r.groups);
    float *wide = job->bf16 ? job->wide + worker * n : NULL;
    for (int64_t g = first; g < end; g++) {
        const float *x = cpu_row_read(job->x, job->bf16, g * n, n, wide), mean = (float)(cpu_sum(x, n) / (double)n);
        const float invstd = (float)(1 / sqrt(cpu_sum_square(x, mean, n) / (double)n + job->eps));
        float *y = cpu_row_space(job->y, job->bf16, g * n, wide);
        normalise_row(job, x, y, mean, invstd);
        cpu_row_store(job->y, job->bf16, g * n, n, y);
        job->mean[g] = mean;
        job->invstd[g] = invstd;
    }
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_layer_norm_attrs *attrs = a->attrs;
    rows_job job = {.x = a->inputs[0]->data, .y = a->outputs[0]->data, .eps = attrs->eps};
    float *room = a->workspace;
    (void)rows_of(a->inputs[0], attrs, &job.r);
    job.weight = in_row_order(&job.r, cpu_floats(a, 1), room);
    job.bias = in_row_order(&job.r, cpu_floats(a, 2), room + job.r.size);
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    if (job.bf16) job.wide = room + (job.r.pixels > 0 ? 2 * job.r.size : 0);
    job.mean = a->outputs[1]->data;
    job.invstd = a->outputs[2]->data;
    cpu_run(a->pool, job.r.blocks, forward_task, &job);
    return CVR_OK;
}

/* ---- backward ---- */

/* sums of e and of e * xhat over a row, e = grad * weight, xhat = (x - mean) * invstd */
static void row_sums(const rows_job *job, const float *x, const float *g, float mean, float invstd, double sums[2]) {
    float e[CPU_SUM_BLOCK], xhat[CPU_SUM_BLOCK];
    sums[0] = sums[1] = 0;
    for (int64_t i = 0; i < job->r.size; i += CPU_SUM_BLOCK) {
        const int64_t n = cpu_min(CPU_SUM_BLOCK, job->r.size - i);
        for (int64_t k = 0; k < n; k++) xhat[k] = (x[i + k] - mean) * invstd;
        if (job->weight)
            for (int64_t k = 0; k < n; k++) e[k] = g[i + k] * job->weight[i + k];
        else
            memcpy(e, g + i, (size_t)n * sizeof *e);
        sums[0] += cpu_sum(e, n);
        sums[1] += cpu_dot(e, xhat, n);
    }
}

/* dx = invstd * (e - mean(e) - xhat * mean(e * xhat)) */
static void row_gradient(const rows_job *job, const float *x, const float *g, float *dx, const float *scalars) {
    const float mean = scalars[0], invstd = scalars[1], level = scalars[2], slope = scalars[3];
    const float *weight = job->weight;
    const int64_t n = job->r.size;
    if (weight) {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) dx[i] = invstd * (g[i] * weight[i] - level - (x[i] - mean) * invstd * slope);
    } else {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) dx[i] = invstd * (g[i] - level - (x[i] - mean) * invstd * slope);
    }
}

static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    const int64_t n = job->r.size, first = (int64_t)task * job->r.block;
    const int64_t end = cpu_min(first + job->r.block, job->r.groups);
    float *wide = job->bf16 ? job->wide + 2 * worker * n : NULL, *wide_grad = job->bf16 ? wide + n : NULL;
    double *restrict dweight = job->partial + (int64_t)task * 2 * n, *restrict dbias = dweight + n;
    memset(dweight, 0, 2 * (size_t)n * sizeof *dweight);
    for (int64_t r = first; r < end; r++) {
        const float *x = cpu_row_read(job->x, job->bf16, r * n, n, wide), mean = job->mean[r];
        const float *g = cpu_row_read(job->grad, job->bf16, r * n, n, wide_grad), invstd = job->invstd[r];
        float *dx = cpu_row_space(job->y, job->bf16, r * n, wide);
        double sums[2];
        row_sums(job, x, g, mean, invstd, sums);
        const float scalars[4] = {mean, invstd, (float)(sums[0] / (double)n), (float)(sums[1] / (double)n)};
        for (int64_t i = 0; i < n; i++) {
            dweight[i] += (double)(g[i] * ((x[i] - mean) * invstd));
            dbias[i] += (double)g[i];
        }
        row_gradient(job, x, g, dx, scalars);
        cpu_row_store(job->y, job->bf16, r * n, n, dx);
    }
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    rows_job job = {.x = a->inputs[0]->data, .grad = a->inputs[1]->data, .y = a->outputs[0]->data};
    float *dweight = a->outputs[1]->data, *dbias = a->outputs[2]->data;
    (void)rows_of(a->inputs[0], a->attrs, &job.r);
    const rows *r = &job.r;
    job.partial = a->workspace;
    job.wide = (float *)(job.partial + r->blocks * 2 * r->size) + r->size;
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    job.weight = in_row_order(r, cpu_floats(a, 2), job.wide - r->size);
    job.mean = cpu_floats(a, 3);
    job.invstd = cpu_floats(a, 4);
    cpu_run(a->pool, r->blocks, backward_task, &job);
    for (int64_t i = 0; i < r->size; i++) {
        const double *part = job.partial + row_place(r, i);
        double sum[2] = {0, 0};
        for (int64_t b = 0; b < r->blocks; b++, part += 2 * r->size) {
            sum[0] += part[0];
            sum[1] += part[r->size];
        }
        dweight[i] = (float)sum[0];
        dbias[i] = (float)sum[1];
    }
    return CVR_OK;
}

#define NORM_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"layer_norm", forward_run, forward_workspace, forward_supports, 0, NORM_FLAGS, NULL},
    {"layer_norm_backward", backward_run, backward_workspace, backward_supports, 3, NORM_FLAGS, NULL},
};
const cpu_kernel_table cpu_norm_rows_kernels = {kernels, sizeof kernels / sizeof *kernels};
