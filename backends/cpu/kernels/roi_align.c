/*
 * roi_align and its gradient on the CPU (see <cvr/plugin/ops/roi_math.h>): channels lie side by side, so a bin is a sum
 * of few rows of channels, which are kept in registers. Forward a roi is a task. Backward a stripe of a map's rows is
 * one: it looks at all rois of its picture in their order, so that no two tasks write one pixel.
 */
#include "cpu_loops.h"
#include "cpu_vec.h"
#include "roi_taps.h"

#define STRIPE 8   /* rows of a map */
#define LANES_AT 4 /* vectors of channels that a bin's sum is kept in */

typedef struct roi_job {
    const cvr_roi_align_attrs *attrs;
    const float *rois;
    const int32_t *count; /* NULL: all rois */
    int64_t pictures, per_picture, channels;
    int64_t level;                      /* backward */
    int64_t size[CVR_ROI_MOST_MAPS][2]; /* of each map: rows, columns */
    const float *maps[CVR_ROI_MOST_MAPS];
    float *y; /* forward (N*R,P,Q,C); backward: dmap (N,h,w,C) */
    const float *grad;
    char *scratch; /* taps of each worker */
    uint64_t scratch_bytes;
} roi_job;

/* ---- taps ---- */

static uint64_t taps_bytes(const cvr_roi_align_attrs *a, const cvr_tensor *map) {
    return axis_bytes(a->output_size[0], cvr_roi_most_taps(a->sampling_ratio, map->shape[2])) +
           axis_bytes(a->output_size[1], cvr_roi_most_taps(a->sampling_ratio, map->shape[3]));
}

/* Room for any roi on any of the maps. */
static uint64_t worker_bytes(const cvr_roi_align_attrs *a, const cvr_tensor *const *maps, uint32_t n) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t bytes = taps_bytes(a, maps[i]);
        if (bytes > most) most = bytes;
    }
    return most;
}

/* Axis 0: rows; 1: columns. */
static cvr_roi_axis axis_of(const roi_job *job, const float *roi, int64_t level, int axis) {
    const cvr_roi_align_attrs *a = job->attrs;
    return cvr_roi_axis_of(roi[1 - axis], roi[3 - axis], a->scales[level], a->aligned, a->output_size[axis],
                           a->sampling_ratio, job->size[level][axis]);
}

static int64_t count_of(const roi_job *job, int64_t picture) {
    return job->count ? cpu_max(0, cpu_min(job->count[picture], job->per_picture)) : job->per_picture;
}

/* ---- forward ---- */

/* y = the bin's taps of `n` vectors of channels from x on; `row` is a row of the map, in floats. */
static inline void bin_vectors(const cvr_roi_tap *rows, int64_t n_rows, const cvr_roi_tap *columns, int64_t n_columns,
                               const float *x, int64_t row, int64_t channels, float *y, int n) {
    vec sum[LANES_AT];
    for (int k = 0; k < n; k++) sum[k] = vec_zero();
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < n_columns; j++) {
            const float weight = rows[i].weight * columns[j].weight;
            const float *const from = x + rows[i].at * row + columns[j].at * channels;
            const vec w = vec_set1(&weight);
            for (int k = 0; k < n; k++) sum[k] = vec_fma(w, vec_load(from + k * VEC), sum[k]);
        }
    for (int k = 0; k < n; k++) vec_store(y + k * VEC, sum[k]);
}

/* The channels past the last whole vector. */
static void bin_rest(const cvr_roi_tap *rows, int64_t n_rows, const cvr_roi_tap *columns, int64_t n_columns,
                     const float *x, int64_t row, int64_t channels, float *y, int64_t n) {
    const vec_part part = vec_part_of(n);
    vec sum = vec_zero();
    for (int64_t i = 0; i < n_rows; i++)
        for (int64_t j = 0; j < n_columns; j++) {
            const float weight = rows[i].weight * columns[j].weight;
            sum = vec_fma(vec_set1(&weight), vec_load_part(x + rows[i].at * row + columns[j].at * channels, part), sum);
        }
    vec_store_part(y, sum, part);
}

static void align_bin(const axis_taps *ty, int64_t p, const axis_taps *tx, int64_t q, const float *map, int64_t row,
                      int64_t channels, float *y) {
    const cvr_roi_tap *const rows = ty->taps + p * ty->most, *const columns = tx->taps + q * tx->most;
    int64_t c = 0;
    for (; c + LANES_AT * VEC <= channels; c += LANES_AT * VEC)
        bin_vectors(rows, ty->n[p], columns, tx->n[q], map + c, row, channels, y + c, LANES_AT);
    for (; c + VEC <= channels; c += VEC)
        bin_vectors(rows, ty->n[p], columns, tx->n[q], map + c, row, channels, y + c, 1);
    if (c < channels) bin_rest(rows, ty->n[p], columns, tx->n[q], map + c, row, channels, y + c, channels - c);
}

static void align_task(void *ctx, uint64_t task, uint32_t worker) {
    const roi_job *job = ctx;
    const cvr_roi_align_attrs *a = job->attrs;
    const int64_t n = (int64_t)task / job->per_picture, channels = job->channels;
    const float *const roi = job->rois + task * 4;
    float *y = job->y + (int64_t)task * a->output_size[0] * a->output_size[1] * channels;
    if ((int64_t)task % job->per_picture >= count_of(job, n)) {
        memset(y, 0, (uint64_t)(a->output_size[0] * a->output_size[1] * channels) * sizeof *y);
        return;
    }
    const int64_t level = cvr_roi_level(a, roi), height = job->size[level][0], width = job->size[level][1];
    const cvr_roi_axis rows = axis_of(job, roi, level, 0), columns = axis_of(job, roi, level, 1);
    char *const memory = job->scratch + worker * job->scratch_bytes;
    const axis_taps ty = taps_of(&rows, a->output_size[0], a->sampling_ratio, memory);
    const axis_taps tx = taps_of(&columns, a->output_size[1], a->sampling_ratio, memory + axis_bytes(ty.bins, ty.most));
    const float *const map = job->maps[level] + n * height * width * channels;
    for (int64_t p = 0; p < ty.bins; p++)
        for (int64_t q = 0; q < tx.bins; q++, y += channels)
            align_bin(&ty, p, &tx, q, map, width * channels, channels, y);
}

static uint64_t align_workspace(const cvr_signature *sig) {
    return sig->n_workers * worker_bytes(sig->attrs, sig->inputs + 2, sig->n_inputs - 2);
}

static int32_t align_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *const rois = a->inputs[0];
    roi_job job = {.attrs = a->attrs,
                   .rois = rois->data,
                   .count = a->inputs[1] ? a->inputs[1]->data : NULL,
                   .pictures = rois->shape[0],
                   .per_picture = rois->shape[1],
                   .channels = a->inputs[2]->shape[1],
                   .y = a->outputs[0]->data,
                   .scratch = a->workspace,
                   .scratch_bytes = worker_bytes(a->attrs, a->inputs + 2, a->n_inputs - 2)};
    (void)err;
    for (uint32_t i = 2; i < a->n_inputs; i++) {
        job.maps[i - 2] = a->inputs[i]->data;
        memcpy(job.size[i - 2], &a->inputs[i]->shape[2], sizeof job.size[0]);
    }
    cpu_run(a->pool, job.pictures * job.per_picture, align_task, &job);
    return CVR_OK;
}

/* ---- backward ---- */

/* to += weight * from, n channels */
static inline void add_scaled(float *restrict to, const float *restrict from, float weight, int64_t n) {
    const vec w = vec_set1(&weight);
    int64_t c = 0;
    for (; c + VEC <= n; c += VEC) vec_store(to + c, vec_fma(w, vec_load(from + c), vec_load(to + c)));
    if (c == n) return;
    const vec_part part = vec_part_of(n - c);
    vec_store_part(to + c, vec_fma(w, vec_load_part(from + c, part), vec_load_part(to + c, part)), part);
}

/* The rows of the map from `first` to `end`, of one roi; dmap (h,w,C), grad (P,Q,C). */
static void back_roi(const axis_taps *ty, const axis_taps *tx, int64_t first, int64_t end, const float *grad,
                     int64_t width, int64_t channels, float *dmap) {
    for (int64_t p = 0; p < ty->bins; p++)
        for (int64_t i = 0; i < ty->n[p]; i++) {
            const cvr_roi_tap row = ty->taps[p * ty->most + i];
            if (row.at < first || row.at >= end) continue;
            float *const to = dmap + row.at * width * channels;
            for (int64_t q = 0; q < tx->bins; q++)
                for (int64_t j = 0; j < tx->n[q]; j++) {
                    const cvr_roi_tap column = tx->taps[q * tx->most + j];
                    add_scaled(to + column.at * channels, grad + (p * tx->bins + q) * channels,
                               row.weight * column.weight, channels);
                }
        }
}

/* Whether a roi may reach rows `first` to `end`: a look that spares most stripes its taps. */
static int may_reach(const cvr_roi_axis *rows, int64_t bins, int64_t first, int64_t end) {
    const float a = rows->start, b = rows->start + (float)bins * rows->bin;
    const float low = a < b ? a : b, high = a < b ? b : a;
    if (first == 0 || end == rows->size) return 1; /* what is past the edge counts for its pixels */
    return !(low > (float)end + 1 || high < (float)first - 1);
}

static void back_task(void *ctx, uint64_t task, uint32_t worker) {
    const roi_job *job = ctx;
    const cvr_roi_align_attrs *a = job->attrs;
    const int64_t height = job->size[job->level][0], width = job->size[job->level][1], channels = job->channels;
    const int64_t stripes = cpu_ceil_div(height, STRIPE), n = (int64_t)task / stripes;
    const int64_t first = (int64_t)task % stripes * STRIPE, end = cpu_min(first + STRIPE, height);
    const int64_t bins = a->output_size[0] * a->output_size[1];
    float *const dmap = job->y + n * height * width * channels;
    char *const memory = job->scratch + worker * job->scratch_bytes;
    memset(dmap + first * width * channels, 0, (uint64_t)((end - first) * width * channels) * sizeof *dmap);
    for (int64_t r = 0; r < count_of(job, n); r++) {
        const int64_t at = n * job->per_picture + r;
        const float *const roi = job->rois + at * 4;
        if (cvr_roi_level(a, roi) != job->level) continue;
        const cvr_roi_axis rows = axis_of(job, roi, job->level, 0), columns = axis_of(job, roi, job->level, 1);
        if (!may_reach(&rows, a->output_size[0], first, end)) continue;
        const axis_taps ty = taps_of(&rows, a->output_size[0], a->sampling_ratio, memory);
        const axis_taps tx =
            taps_of(&columns, a->output_size[1], a->sampling_ratio, memory + axis_bytes(ty.bins, ty.most));
        back_roi(&ty, &tx, first, end, job->grad + at * bins * channels, width, channels, dmap);
    }
}

static uint64_t back_workspace(const cvr_signature *sig) {
    const cvr_roi_align_backward_attrs *attrs = sig->attrs;
    return sig->n_workers * worker_bytes(&attrs->forward, sig->outputs, 1);
}

static int32_t back_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_roi_align_backward_attrs *attrs = a->attrs;
    const cvr_tensor *const rois = a->inputs[1], *const dmap = a->outputs[0];
    roi_job job = {.attrs = &attrs->forward,
                   .rois = rois->data,
                   .count = a->n_inputs > 2 && a->inputs[2] ? a->inputs[2]->data : NULL,
                   .pictures = rois->shape[0],
                   .per_picture = rois->shape[1],
                   .channels = dmap->shape[1],
                   .level = attrs->level,
                   .y = dmap->data,
                   .grad = a->inputs[0]->data,
                   .scratch = a->workspace};
    const cvr_tensor *const map = dmap;
    job.scratch_bytes = worker_bytes(&attrs->forward, &map, 1);
    memcpy(job.size[attrs->level], attrs->size, sizeof attrs->size);
    (void)err;
    cpu_run(a->pool, job.pictures * cpu_ceil_div(dmap->shape[2], STRIPE), back_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"roi_align", align_run, align_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"roi_align_backward", back_run, back_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_roi_kernels = {kernels, sizeof kernels / sizeof *kernels};
