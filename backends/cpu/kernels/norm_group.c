/*
 * Group normalisation on the CPU (see <cvr/plugin/ops/norm.h>): sums for each channel of each picture, joined to
 * groups, then one pass for the output. Other ranks than 4 lie channel by channel, which is the same with one position
 * a row.
 */
#include "norm_columns.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

#define TABLES 4

/*
 * Rank 4: segments are pictures, columns channels. Other ranks: a segment is one channel of one picture, a single
 * column. In both, numbers of (picture, channel) are numbered alike.
 */
typedef struct group_work {
    columns c;
    int64_t n, channels, positions, groups;
    double *partial, *first, *second;
    float *narrow, *wide;
} group_work;

static void group_sizes(group_work *w, const cvr_tensor *x, const cvr_group_norm_attrs *attrs) {
    w->n = x->shape[0];
    w->channels = x->shape[1];
    w->groups = attrs->num_groups;
    w->positions = 1;
    for (uint32_t i = 2; i < x->rank; i++) w->positions *= x->shape[i];
    w->c = x->rank == 4 ? columns_of(w->n, w->positions, w->channels) : columns_of(w->n * w->channels, w->positions, 1);
}

static uint64_t group_workspace(const cvr_signature *sig) {
    group_work w;
    group_sizes(&w, sig->inputs[0], sig->attrs);
    return columns_workspace(&w.c) + (uint64_t)(w.n * w.channels) * (2 * sizeof(double) + TABLES * sizeof(float)) +
           (uint64_t)(w.c.segments * w.c.width) * TABLES * sizeof(float);
}

static group_work group_open(const cvr_kernel_args *a) {
    group_work w;
    group_sizes(&w, a->inputs[0], a->attrs);
    w.partial = a->workspace;
    w.first = w.partial + columns_workspace(&w.c) / sizeof(double);
    w.second = w.first + w.n * w.channels;
    w.narrow = (float *)(w.second + w.n * w.channels);
    w.wide = w.narrow + TABLES * w.n * w.channels;
    return w;
}

typedef struct group_job {
    const void *x, *grad;
    void *y;
    int bf16;
    const float *tables; /* (TABLES, segments, width) */
    int64_t width, table;
} group_job;

static const float *table(const group_job *job, int which, int64_t segment, int64_t column) {
    return job->tables + which * job->table + segment * job->width + column;
}

/* y = (x - mean) * scale + shift; `at` is where the row begins, whose columns [k0, k0 + n) are done */
static void scale_chunk(const group_job *job, int64_t segment, int64_t at, int64_t k0, int64_t n) {
    float buffers[2][COLUMN_CHUNK];
    const float *mean = table(job, 0, segment, k0), *scale = table(job, 1, segment, k0);
    const float *shift = table(job, 2, segment, k0);
    const float *x = cpu_row_read(job->x, job->bf16, at + k0, n, buffers[0]);
    float *y = cpu_row_space(job->y, job->bf16, at + k0, buffers[1]);
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) y[k] = (x[k] - mean[k]) * scale[k] + shift[k];
    cpu_row_store(job->y, job->bf16, at + k0, n, y);
}

static void scale_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    for (int64_t k = 0; k < n; k += COLUMN_CHUNK) scale_chunk(ctx, segment, at, k, cpu_min(COLUMN_CHUNK, n - k));
}

/* Mean and variance of a group, from those of its channels, which have equally many elements each. */
static void join_group(const group_work *w, int64_t first, double *mean, double *var) {
    const int64_t n = w->channels / w->groups;
    double sum = 0, square = 0;
    for (int64_t k = first; k < first + n; k++) sum += w->first[k];
    *mean = sum / (double)n;
    for (int64_t k = first; k < first + n; k++) square += w->second[k] + (w->first[k] - *mean) * (w->first[k] - *mean);
    *var = square / (double)n;
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_group_norm_attrs *attrs = a->attrs;
    const group_work w = group_open(a);
    const float *weight = cpu_floats(a, 1), *bias = cpu_floats(a, 2);
    const int64_t all = w.n * w.channels, per_group = w.channels / w.groups;
    columns_moments(&w.c, a->pool, a->inputs[0], w.partial, w.first, w.second);
    for (int64_t g = 0; g < w.n * w.groups; g++) {
        double mean, var;
        join_group(&w, g * per_group, &mean, &var);
        const double invstd = 1 / sqrt(var + attrs->eps);
        ((float *)a->outputs[1]->data)[g] = (float)mean;
        ((float *)a->outputs[2]->data)[g] = (float)invstd;
        for (int64_t k = g * per_group; k < (g + 1) * per_group; k++) {
            w.narrow[k] = (float)mean;
            w.narrow[all + k] = (float)(invstd * (weight ? weight[k % w.channels] : 1));
            w.narrow[2 * all + k] = bias ? bias[k % w.channels] : 0;
        }
    }
    group_job job = {.x = a->inputs[0]->data, .y = a->outputs[0]->data, .tables = w.wide};
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    job.width = w.c.width;
    job.table = w.c.segments * w.c.width;
    columns_widen(&w.c, w.narrow, TABLES - 1, w.wide);
    columns_apply(&w.c, a->pool, scale_row, &job);
    return CVR_OK;
}

/* dx = grad * own + (x - mean) * slope + level */
static void gradient_chunk(const group_job *job, int64_t segment, int64_t at, int64_t k0, int64_t n) {
    float buffers[3][COLUMN_CHUNK];
    const float *mean = table(job, 0, segment, k0), *own = table(job, 1, segment, k0);
    const float *slope = table(job, 2, segment, k0), *level = table(job, 3, segment, k0);
    const float *x = cpu_row_read(job->x, job->bf16, at + k0, n, buffers[0]);
    const float *g = cpu_row_read(job->grad, job->bf16, at + k0, n, buffers[1]);
    float *dx = cpu_row_space(job->y, job->bf16, at + k0, buffers[2]);
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) dx[k] = g[k] * own[k] + (x[k] - mean[k]) * slope[k] + level[k];
    cpu_row_store(job->y, job->bf16, at + k0, n, dx);
}

static void gradient_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    for (int64_t k = 0; k < n; k += COLUMN_CHUNK) gradient_chunk(ctx, segment, at, k, cpu_min(COLUMN_CHUNK, n - k));
}

/* dweight = sum of grad * xhat, dbias = sum of grad, from the sums of each picture */
static void parameter_gradients(const cvr_kernel_args *a, const group_work *w) {
    const float *invstd = cpu_floats(a, 4);
    for (int64_t c = 0; c < w->channels; c++) {
        double dweight = 0, dbias = 0;
        for (int64_t n = 0; n < w->n; n++) {
            const int64_t k = n * w->channels + c;
            dbias += w->first[k];
            dweight += w->second[k] * invstd[n * w->groups + c / (w->channels / w->groups)];
        }
        ((float *)a->outputs[1]->data)[c] = (float)dweight;
        ((float *)a->outputs[2]->data)[c] = (float)dbias;
    }
}

/* dx = invstd * (e - mean(e) - xhat * mean(e * xhat)), e = grad * weight, xhat = (x - mean) * invstd */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const group_work w = group_open(a);
    const float *weight = cpu_floats(a, 2), *means = cpu_floats(a, 3), *invstds = cpu_floats(a, 4);
    const int64_t all = w.n * w.channels, per_group = w.channels / w.groups;
    for (int64_t k = 0; k < all; k++) w.narrow[k] = means[k / per_group];
    const columns_plain plain = {a->inputs[0]->data, a->inputs[1]->data, a->inputs[0]->dtype == CVR_BF16};
    columns_products(&w.c, a->pool, columns_plain_row, &plain, w.narrow, w.partial, w.first, w.second);
    parameter_gradients(a, &w);
    for (int64_t g = 0; g < w.n * w.groups; g++) {
        const double invstd = invstds[g], size = (double)(per_group * w.positions);
        double sum = 0, dot = 0;
        for (int64_t k = g * per_group; k < (g + 1) * per_group; k++) {
            const double scale = weight ? weight[k % w.channels] : 1;
            sum += w.first[k] * scale;
            dot += w.second[k] * scale * invstd;
        }
        const double slope = -invstd * invstd * dot / size, level = -invstd * sum / size;
        for (int64_t k = g * per_group; k < (g + 1) * per_group; k++) {
            w.narrow[all + k] = (float)(invstd * (weight ? weight[k % w.channels] : 1));
            w.narrow[2 * all + k] = (float)slope;
            w.narrow[3 * all + k] = (float)level;
        }
    }
    group_job job = {.x = a->inputs[0]->data, .grad = a->inputs[1]->data, .y = a->outputs[0]->data, .tables = w.wide};
    job.bf16 = a->inputs[0]->dtype == CVR_BF16;
    job.width = w.c.width;
    job.table = w.c.segments * w.c.width;
    columns_widen(&w.c, w.narrow, TABLES, w.wide);
    columns_apply(&w.c, a->pool, gradient_row, &job);
    return CVR_OK;
}

/* x, and backward its gradient, are f32 or bf16 alike; all else is f32. */
static int32_t forward_supports(const cvr_signature *sig, cvr_error *reason) {
    return cpu_rows_first_supports(sig, 1, reason);
}

static int32_t backward_supports(const cvr_signature *sig, cvr_error *reason) {
    return cpu_rows_first_supports(sig, 2, reason);
}

#define NORM_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"group_norm", forward_run, group_workspace, forward_supports, 0, NORM_FLAGS, NULL},
    {"group_norm_backward", backward_run, group_workspace, backward_supports, 3, NORM_FLAGS, NULL},
};
const cpu_kernel_table cpu_norm_group_kernels = {kernels, sizeof kernels / sizeof *kernels};
