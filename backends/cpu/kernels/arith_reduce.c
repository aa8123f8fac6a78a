/*
 * Reductions on the CPU (see <cvr/plugin/ops/arith.h>). x is walked in the order of its memory: where the innermost
 * loop is reduced, runs of it are summed in lanes; where it is kept, rows of it are added. With few outputs, the
 * outermost reduced loop is cut into parts, whose sums combine in their order.
 */
#include "cpu_rows.h"

#include <cvr/plugin/ops/arith.h>
#include <math.h>

#define CHUNK 256 /* outputs side by side */
#define GROUP 32  /* rows that floats add up before a double takes over */
#define MAX_PARTS 64
#define PART_ELEMENTS 65536

/* The reduced and the kept loops; operand 0 is x, operand 1 the output. */
typedef struct reduction {
    cpu_nest kept, gone;
    int64_t outputs, rows;           /* rows: turns of all reduced loops but an innermost one */
    int64_t run;                     /* length of the innermost loop if it is reduced, else 0 */
    int64_t width, chunks, out_step; /* of the innermost loop if it is kept; else one output at a time */
    int64_t lines, parts;            /* kept loops but the innermost one; parts of the rows */
} reduction;

typedef struct reduce_job {
    const reduction *r;
    const void *x, *times; /* times: NULL, or factors of x */
    int x_bf16, times_bf16;
    double *partial; /* (parts, lines, width) */
    int largest;     /* amax instead of a sum */
} reduce_job;

/* Bit i of `mask`: axis i is reduced. `out_step`: of the output along x's axes. */
static reduction reduction_of(const cvr_tensor *x, uint32_t mask, const int64_t *out_step) {
    reduction r = {.outputs = 1, .rows = 1, .width = 1, .chunks = 1, .lines = 1, .parts = 1};
    int64_t step[CVR_MAX_RANK];
    const int64_t *const steps[2] = {step, out_step};
    cpu_nest all;
    cpu_steps(x->rank, x->shape, step);
    cpu_nest_init(&all, x->rank, x->shape, steps, 2, mask);
    /* A loop is reduced if the output stands still in it; loops of one kept element do not occur. */
    for (int64_t i = 0; i < all.n; i++) {
        cpu_nest *side = all.step[1][i] == 0 ? &r.gone : &r.kept;
        side->size[side->n] = all.size[i];
        for (int k = 0; k < 2; k++) side->step[k][side->n] = all.step[k][i];
        side->n++;
    }
    for (int64_t i = 0; i < r.kept.n; i++) r.outputs *= r.kept.size[i];
    if (all.step[1][all.n - 1] == 0) {
        r.run = all.size[all.n - 1];
        r.gone.n--;
        r.lines = r.outputs;
    } else {
        r.kept.n--;
        r.width = all.size[all.n - 1];
        r.chunks = cpu_ceil_div(r.width, CHUNK);
        r.out_step = all.step[1][all.n - 1];
        r.lines = r.width > 0 ? r.outputs / r.width : 0;
    }
    for (int64_t i = 0; i < r.gone.n; i++) r.rows *= r.gone.size[i];
    const int64_t tasks = cpu_max(1, r.lines * r.chunks), work = cpu_numel(x) / tasks;
    r.parts = cpu_max(1, cpu_min(cpu_min(work / PART_ELEMENTS, MAX_PARTS), r.rows));
    return r;
}

/* A run that is all there is to sum is cut like rows are. */
static void split_run(reduction *r) {
    if (r->run == 0 || r->gone.n > 0 || r->run < 2 * PART_ELEMENTS || r->lines > 8) return;
    int64_t pieces = cpu_min(r->run / PART_ELEMENTS, MAX_PARTS);
    while (r->run % pieces != 0) pieces--;
    r->gone.size[0] = pieces;
    r->gone.step[0][0] = r->run / pieces;
    r->gone.n = 1;
    r->run /= pieces;
    r->rows = r->parts = pieces;
}

static uint64_t reduction_bytes(const reduction *r) {
    return (uint64_t)(r->parts * r->outputs) * sizeof(double);
}

/* ---- one output: runs of the innermost loop ---- */

/* One run, in pieces that leave the lanes as they are: cpu_sum() begins anew after as many. */
static double sum_run_at(const reduce_job *job, int64_t at, int64_t n) {
    const int64_t most = job->x_bf16 || job->times_bf16 ? CPU_SUM_BLOCK : n;
    float buffers[2][CPU_SUM_BLOCK];
    double total = 0;
    for (int64_t i = 0; i < n; i += most) {
        const int64_t some = cpu_min(most, n - i);
        const float *x = cpu_row_read(job->x, job->x_bf16, at + i, some, buffers[0]);
        if (job->times)
            total += cpu_dot(x, cpu_row_read(job->times, job->times_bf16, at + i, some, buffers[1]), some);
        else
            total += cpu_sum(x, some);
    }
    return total;
}

static double max_run_at(const reduce_job *job, int64_t at, int64_t n, double best) {
    for (int64_t k = 0; k < n; k++) {
        const double x = cpu_row_at(job->x, job->x_bf16, at + k);
        best = x > best || isnan(x) ? x : best;
    }
    return best;
}

static double reduce_runs(const reduce_job *job, int64_t at, int64_t first, int64_t end) {
    const reduction *r = job->r;
    double total = job->largest ? -INFINITY : 0;
    for (int64_t i = first; i < end; i++) {
        int64_t offset[CPU_NEST_OPERANDS];
        cpu_nest_at(&r->gone, r->gone.n, i, offset);
        if (job->largest)
            total = max_run_at(job, at + offset[0], r->run, total);
        else
            total += sum_run_at(job, at + offset[0], r->run);
    }
    return total;
}

/* ---- many outputs: rows of the innermost loop ---- */

static void add_row(const float *x, const float *times, int64_t n, float *restrict sum) {
    if (times)
        for (int64_t k = 0; k < n; k++) sum[k] += x[k] * times[k];
    else
        for (int64_t k = 0; k < n; k++) sum[k] += x[k];
}

static void max_row(const float *x, int64_t n, double *restrict best) {
    for (int64_t k = 0; k < n; k++) {
        const double v = x[k];
        best[k] = v > best[k] || v != v ? v : best[k];
    }
}

static void reduce_rows(const reduce_job *job, int64_t at, int64_t first, int64_t end, int64_t n, double *total) {
    const reduction *r = job->r;
    float sum[CHUNK] = {0}, buffers[2][CHUNK];
    for (int64_t k = 0; k < n; k++) total[k] = job->largest ? -INFINITY : 0;
    for (int64_t i = first; i < end; i++) {
        int64_t offset[CPU_NEST_OPERANDS];
        cpu_nest_at(&r->gone, r->gone.n, i, offset);
        const int64_t from = at + offset[0];
        const float *x = cpu_row_read(job->x, job->x_bf16, from, n, buffers[0]), *times = NULL;
        if (job->times) times = cpu_row_read(job->times, job->times_bf16, from, n, buffers[1]);
        if (job->largest)
            max_row(x, n, total);
        else
            add_row(x, times, n, sum);
        if ((i - first) % GROUP == GROUP - 1 || i == end - 1)
            for (int64_t k = 0; k < n && !job->largest; k++) {
                total[k] += (double)sum[k];
                sum[k] = 0;
            }
    }
}

static void reduce_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const reduce_job *job = ctx;
    const reduction *r = job->r;
    const int64_t chunk = (int64_t)task % r->chunks * CHUNK, line = (int64_t)task / r->chunks % r->lines;
    const int64_t part = (int64_t)task / r->chunks / r->lines;
    const int64_t first = cpu_part(r->rows, r->parts, part), end = cpu_part(r->rows, r->parts, part + 1);
    double *total = job->partial + (part * r->lines + line) * r->width + chunk;
    int64_t at[CPU_NEST_OPERANDS];
    cpu_nest_at(&r->kept, r->kept.n, line, at);
    if (r->run > 0)
        *total = reduce_runs(job, at[0], first, end);
    else
        reduce_rows(job, at[0] + chunk, first, end, cpu_min(CHUNK, r->width - chunk), total);
}

/* y = factor * the parts together */
static void finish(const reduce_job *job, const cvr_tensor *y, double factor) {
    const reduction *r = job->r;
    for (int64_t line = 0; line < r->lines; line++) {
        int64_t at[CPU_NEST_OPERANDS];
        cpu_nest_at(&r->kept, r->kept.n, line, at);
        for (int64_t k = 0; k < r->width; k++) {
            const double *part = job->partial + line * r->width + k;
            double total = *part;
            for (int64_t p = 1; p < r->parts; p++) {
                part += r->outputs;
                if (!job->largest)
                    total += *part;
                else if (*part > total || isnan(*part))
                    total = *part;
            }
            cpu_row_put(y->data, y->dtype == CVR_BF16, at[1] + k * r->out_step, (float)(total * factor));
        }
    }
}

/* ---- kernels ---- */

static uint32_t reduced_axes(const cvr_reduce_attrs *attrs, uint32_t rank) {
    uint32_t mask = 0;
    for (int64_t i = 0; i < attrs->n_dim; i++) mask |= 1u << attrs->dim[i];
    return attrs->n_dim == 0 ? (1u << rank) - 1 : mask;
}

/* Steps of y along the axes of x, 0 along the reduced ones. */
static void output_steps(const cvr_tensor *x, const cvr_tensor *y, uint32_t mask, int keepdim, int64_t *step) {
    int64_t own[CVR_MAX_RANK];
    cpu_steps(y->rank, y->shape, own);
    for (uint32_t i = 0, next = 0; i < x->rank; i++) {
        const int gone = mask >> i & 1;
        step[i] = gone ? 0 : own[next];
        next += !gone || keepdim;
    }
}

static reduction by_attrs(const cvr_tensor *x, const cvr_tensor *y, const cvr_reduce_attrs *attrs) {
    const uint32_t mask = reduced_axes(attrs, x->rank);
    int64_t step[CVR_MAX_RANK];
    output_steps(x, y, mask, attrs->keepdim != 0, step);
    reduction r = reduction_of(x, mask, step);
    split_run(&r);
    return r;
}

static reduction by_shape(const cvr_tensor *x, const cvr_tensor *y) {
    int64_t step[CVR_MAX_RANK];
    uint32_t mask = 0;
    cpu_broadcast_steps(y, x->rank, step);
    for (uint32_t i = 0; i < x->rank; i++) mask |= (uint32_t)(step[i] == 0) << i;
    reduction r = reduction_of(x, mask, step);
    split_run(&r);
    return r;
}

static uint64_t reduce_workspace(const cvr_signature *sig) {
    const reduction r = by_attrs(sig->inputs[0], sig->outputs[0], sig->attrs);
    return reduction_bytes(&r);
}

static uint64_t sum_to_workspace(const cvr_signature *sig) {
    const reduction r = by_shape(sig->inputs[0], sig->outputs[0]);
    return reduction_bytes(&r);
}

static int32_t reduce(const cvr_kernel_args *a, const reduction *r, const cvr_tensor *times, int largest,
                      double factor) {
    const cvr_tensor *y = a->outputs[0];
    if (cpu_numel(a->inputs[0]) == 0) {
        for (int64_t i = 0; i < cpu_numel(a->outputs[0]); i++)
            cpu_row_put(y->data, y->dtype == CVR_BF16, i, (float)(0 * factor)); /* the mean of nothing: NaN */
        return CVR_OK;
    }
    reduce_job job = {.r = r, .x = a->inputs[0]->data, .partial = a->workspace, .largest = largest};
    job.x_bf16 = a->inputs[0]->dtype == CVR_BF16;
    if (times) job.times = times->data;
    job.times_bf16 = times && times->dtype == CVR_BF16;
    cpu_run(a->pool, r->parts * r->lines * r->chunks, reduce_task, &job);
    finish(&job, y, factor);
    return CVR_OK;
}

/* Elements that go into one output. */
static double count_of(const cvr_kernel_args *a) {
    const cvr_reduce_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    const uint32_t mask = reduced_axes(attrs, x->rank);
    int64_t n = 1;
    for (uint32_t i = 0; i < x->rank; i++) n *= mask >> i & 1 ? x->shape[i] : 1;
    return (double)n;
}

static int32_t sum_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduction r = by_attrs(a->inputs[0], a->outputs[0], a->attrs);
    return reduce(a, &r, NULL, 0, 1);
}

static int32_t mean_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduction r = by_attrs(a->inputs[0], a->outputs[0], a->attrs);
    return reduce(a, &r, NULL, 0, 1 / count_of(a));
}

static int32_t amax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduction r = by_attrs(a->inputs[0], a->outputs[0], a->attrs);
    return reduce(a, &r, NULL, 1, 1);
}

static int32_t sum_to_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduction r = by_shape(a->inputs[0], a->outputs[0]);
    return reduce(a, &r, a->n_inputs > 1 ? a->inputs[1] : NULL, 0, 1);
}

/* ---- amax_backward: dx = grad / (how many x equal y) where x = y ---- */

typedef struct ties_job {
    cpu_nest kept, gone;
    const void *x, *y, *grad;
    void *dx;
    int bf16;
    int64_t inner;
} ties_job;

static void ties_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const ties_job *job = ctx;
    int64_t at[CPU_NEST_OPERANDS], offset[CPU_NEST_OPERANDS], equal = 0;
    cpu_nest_at(&job->kept, job->kept.n, (int64_t)task, at);
    const float y = cpu_row_at(job->y, job->bf16, at[1]);
    for (int64_t i = 0; i < job->inner; i++) {
        cpu_nest_at(&job->gone, job->gone.n, i, offset);
        equal += cpu_row_at(job->x, job->bf16, at[0] + offset[0]) == y;
    }
    const float share = equal > 0 ? cpu_row_at(job->grad, job->bf16, at[1]) / (float)equal : 0;
    for (int64_t i = 0; i < job->inner; i++) {
        cpu_nest_at(&job->gone, job->gone.n, i, offset);
        const float x = cpu_row_at(job->x, job->bf16, at[0] + offset[0]);
        cpu_row_put(job->dx, job->bf16, at[0] + offset[0], x == y ? share : 0);
    }
}

static int32_t amax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_reduce_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->inputs[1];
    const uint32_t mask = reduced_axes(attrs, x->rank);
    ties_job job = {.x = x->data, .y = y->data, .grad = a->inputs[2]->data, .dx = a->outputs[0]->data, .inner = 1};
    job.bf16 = x->dtype == CVR_BF16;
    int64_t step[CVR_MAX_RANK], out_step[CVR_MAX_RANK], kept[CVR_MAX_RANK], gone[CVR_MAX_RANK], outputs = 1;
    const int64_t *const steps[2] = {step, out_step};
    cpu_steps(x->rank, x->shape, step);
    output_steps(x, y, mask, attrs->keepdim != 0, out_step);
    for (uint32_t i = 0; i < x->rank; i++) {
        kept[i] = mask >> i & 1 ? 1 : x->shape[i];
        gone[i] = mask >> i & 1 ? x->shape[i] : 1;
        outputs *= kept[i];
        job.inner *= gone[i];
    }
    cpu_nest_init(&job.kept, x->rank, kept, steps, 2, 0);
    cpu_nest_init(&job.gone, x->rank, gone, steps, 2, 0);
    cpu_run(a->pool, outputs, ties_task, &job);
    return CVR_OK;
}

/* x, and its factors, may be of the one type or the other. */
static int32_t sum_supports(const cvr_signature *sig, cvr_error *reason) {
    int fits = sig->outputs[0]->dtype == CVR_F32 || sig->outputs[0]->dtype == CVR_BF16;
    for (uint32_t i = 0; i < sig->n_inputs; i++)
        fits = fits && (!sig->inputs[i] || sig->inputs[i]->dtype == CVR_F32 || sig->inputs[i]->dtype == CVR_BF16);
    return fits ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors that are neither f32 nor bf16");
}

#define REDUCE_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"sum", sum_run, reduce_workspace, sum_supports, 0, REDUCE_FLAGS, NULL},
    {"mean", mean_run, reduce_workspace, sum_supports, 0, REDUCE_FLAGS, NULL},
    {"amax", amax_run, reduce_workspace, sum_supports, 0, REDUCE_FLAGS, NULL},
    {"amax_backward", amax_backward_run, NULL, cpu_rows_supports, 1, REDUCE_FLAGS, NULL},
    {"sum_to", sum_to_run, sum_to_workspace, sum_supports, 0, REDUCE_FLAGS, NULL},
};
const cpu_kernel_table cpu_arith_reduce_kernels = {kernels, sizeof kernels / sizeof *kernels};
