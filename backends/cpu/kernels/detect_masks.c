/*
 * mask_targets and mask_loss on the CPU (see <cvr/plugin/ops/detect.h> and detect_loss.h), with the reference's bits: a
 * roi is a task.
 *
 * Of mask_targets, a row of the mask is first brought to the bins' columns. Its pixels lie as far apart as there are
 * objects, so that reading them is what takes the time: each is read once, though the rows at the edge of a bin belong
 * to two. Nearly all bins of a row see 0 alone or 1 alone, and their sums are known; a row of 0 adds nothing. Each
 * worker has a roi_lines in the workspace.
 *
 * Of mask_loss, only the channel of a row's class is read, pixel by pixel, as many floats apart as there are classes; a
 * row's sum is a double in the workspace.
 */
#include "cpu_loops.h"
#include "roi_taps.h"

#include <cvr/plugin/ops/detect_loss_math.h>

/* ---- mask_targets ---- */

#define LINES 4 /* rows that are kept: what two bins share are the last ones of the first */

typedef struct targets_job {
    const uint8_t *masks; /* lie as (N,H,W,M) */
    const float *rois;
    const int32_t *match;
    int64_t per_picture, objects, height, width, size;
    float *y; /* (N,R,S*S) */
    char *scratch;
    uint64_t scratch_bytes;
} targets_job;

/* A worker's scratch, with a roi's taps. */
typedef struct roi_lines {
    axis_taps y, x;
    int64_t first, end; /* columns that are read */
    double *full;       /* (S): of each bin of columns, the sum where all pixels are 1 */
    double *line;       /* (LINES,S): rows brought to columns */
    double *bin;        /* (S): sums of a row of bins */
    uint32_t *ones;     /* (W + 1): sums of the pixels before each column */
    uint8_t *pixels;    /* (W): of a row */
    int64_t row[LINES]; /* that a line is of, or -1 */
    int empty[LINES];   /* it is 0 */
} roi_lines;

static uint64_t bytes_up(uint64_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static uint64_t lines_bytes(int64_t size, int64_t height, int64_t width) {
    return axis_bytes(size, cvr_roi_most_taps(-1, height)) + axis_bytes(size, cvr_roi_most_taps(-1, width)) +
           bytes_up((2 + LINES) * (uint64_t)size * sizeof(double)) +
           bytes_up(((uint64_t)width + 1) * sizeof(uint32_t)) + bytes_up((uint64_t)width);
}

/* The columns that the bins read, and the sum of each over pixels that are all 1. */
static void open_columns(roi_lines *l) {
    l->first = l->end = 0;
    for (int64_t q = 0; q < l->x.bins; q++) {
        const cvr_roi_tap *taps = l->x.taps + q * l->x.most;
        l->full[q] = 0;
        for (int32_t j = 0; j < l->x.n[q]; j++) {
            l->first = l->end == 0 ? taps[j].at : cpu_min(l->first, taps[j].at);
            l->end = cpu_max(l->end, taps[j].at + 1);
            l->full[q] += (double)taps[j].weight;
        }
    }
}

static roi_lines lines_of(const targets_job *job, const float *roi, char *memory) {
    const int64_t size = job->size;
    const cvr_roi_axis rows = cvr_roi_axis_of(roi[1], roi[3], 1, 0, size, -1, job->height);
    const cvr_roi_axis columns = cvr_roi_axis_of(roi[0], roi[2], 1, 0, size, -1, job->width);
    roi_lines l = {.y = taps_of(&rows, size, -1, memory)};
    memory += axis_bytes(size, l.y.most);
    l.x = taps_of(&columns, size, -1, memory);
    memory += axis_bytes(size, l.x.most);
    l.full = (double *)(void *)memory;
    l.line = l.full + size;
    l.bin = l.line + LINES * size;
    memory += bytes_up((2 + LINES) * (uint64_t)size * sizeof(double));
    l.ones = (uint32_t *)(void *)memory;
    l.pixels = (uint8_t *)memory + bytes_up(((uint64_t)job->width + 1) * sizeof(uint32_t));
    for (int k = 0; k < LINES; k++) l.row[k] = -1;
    open_columns(&l);
    return l;
}

/* Reads the pixels, `step` apart; returns whether they are 0 or 1 alone, and sets *any where one is not 0. */
static int read_pixels(roi_lines *l, const uint8_t *mask, int64_t step, int *any) {
    uint8_t all = 0;
    uint32_t ones = 0; /* of other numbers it may wrap, and is not asked */
    for (int64_t x = l->first; x < l->end; x++) {
        const uint8_t pixel = mask[x * step];
        l->pixels[x] = pixel;
        l->ones[x] = ones;
        ones += pixel;
        all |= pixel;
    }
    l->ones[l->end] = ones;
    *any = all != 0;
    return all < 2;
}

static double sum_of(const roi_lines *l, int64_t q) {
    const cvr_roi_tap *taps = l->x.taps + q * l->x.most;
    double sum = 0;
    for (int32_t j = 0; j < l->x.n[q]; j++) sum += (double)taps[j].weight * l->pixels[taps[j].at];
    return sum;
}

/* A row of the mask, brought to the bins' columns; NULL where it is 0. */
static const double *line_of(roi_lines *l, const uint8_t *mask, int64_t row, int64_t width, int64_t step) {
    const int slot = (int)(row % LINES);
    double *line = l->line + slot * l->x.bins;
    if (l->row[slot] != row) {
        int any;
        const int bits = read_pixels(l, mask + row * width * step, step, &any);
        l->row[slot] = row;
        l->empty[slot] = !any;
        for (int64_t q = 0; q < l->x.bins && any; q++) {
            const cvr_roi_tap *taps = l->x.taps + q * l->x.most;
            const int32_t n = l->x.n[q], from = n ? taps[0].at : 0, to = n ? taps[n - 1].at + 1 : 0;
            const uint32_t ones = n ? l->ones[to] - l->ones[from] : 0;
            if (bits && to - from == n && (ones == 0 || ones == (uint32_t)n))
                line[q] = ones ? l->full[q] : 0;
            else
                line[q] = sum_of(l, q);
        }
    }
    return l->empty[slot] ? NULL : line;
}

static void targets_task(void *ctx, uint64_t task, uint32_t worker) {
    const targets_job *job = ctx;
    const int64_t size = job->size, pixels = job->height * job->width * job->objects;
    const int32_t match = job->match[task];
    float *y = job->y + (int64_t)task * size * size;
    if (match < 0 || pixels == 0) {
        memset(y, 0, (size_t)(size * size) * sizeof *y);
        return;
    }
    const uint8_t *mask = job->masks + (int64_t)task / job->per_picture * pixels + match;
    roi_lines l = lines_of(job, job->rois + task * 4, job->scratch + worker * job->scratch_bytes);
    for (int64_t p = 0; p < size; p++, y += size) {
        const cvr_roi_tap *rows = l.y.taps + p * l.y.most;
        for (int64_t q = 0; q < size; q++) l.bin[q] = 0;
        for (int32_t i = 0; i < l.y.n[p]; i++) {
            const double *line = line_of(&l, mask, rows[i].at, job->width, job->objects);
            for (int64_t q = 0; q < size && line; q++) l.bin[q] += rows[i].weight * line[q];
        }
        for (int64_t q = 0; q < size; q++) y[q] = (float)l.bin[q];
    }
}

static uint64_t targets_workspace(const cvr_signature *sig) {
    const cvr_mask_targets_attrs *attrs = sig->attrs;
    return sig->n_workers * lines_bytes(attrs->size, sig->inputs[0]->shape[2], sig->inputs[0]->shape[3]);
}

static int32_t targets_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *masks = a->inputs[0], *rois = a->inputs[1];
    targets_job job = {.masks = masks->data,
                       .rois = rois->data,
                       .match = a->inputs[2]->data,
                       .per_picture = rois->shape[1],
                       .objects = masks->shape[1],
                       .height = masks->shape[2],
                       .width = masks->shape[3],
                       .size = ((const cvr_mask_targets_attrs *)a->attrs)->size,
                       .y = a->outputs[0]->data,
                       .scratch = a->workspace};
    job.scratch_bytes = lines_bytes(job.size, job.height, job.width);
    for (int64_t row = 0; row < rois->shape[0] * job.per_picture; row++)
        if (job.match[row] >= job.objects)
            return cvr_fail(err, CVR_ERR_INVALID, "mask_targets: roi %lld has object %d of %lld", (long long)row,
                            job.match[row], (long long)job.objects);
    cpu_run(a->pool, rois->shape[0] * job.per_picture, targets_task, &job);
    return CVR_OK;
}

/* ---- mask_loss ---- */

typedef struct loss_job {
    const float *x; /* lies as (N*R,S,S,K) */
    const float *target;
    const int64_t *label;
    const int32_t *match;
    int64_t rows, classes, pixels;
    double *sum; /* (N*R) */
    double scale;
    float *dx;
} loss_job;

/* `count`: rows with an object. */
static int32_t loss_open(const cvr_kernel_args *a, loss_job *job, int64_t *count, cvr_error *err) {
    const int64_t *shape = a->inputs[0]->shape;
    job->x = a->inputs[0]->data;
    job->target = a->inputs[1]->data;
    job->label = a->inputs[2]->data;
    job->match = a->inputs[3]->data;
    job->rows = shape[0];
    job->classes = shape[1];
    job->pixels = shape[2] * shape[3];
    *count = 0;
    for (int64_t i = 0; i < job->rows; i++) {
        if (job->match[i] < 0) continue;
        if (job->label[i] < 0 || job->label[i] >= job->classes)
            return cvr_fail(err, CVR_ERR_INVALID, "mask_loss: label %lld, but there are masks for %lld classes",
                            (long long)job->label[i], (long long)job->classes);
        ++*count;
    }
    return CVR_OK;
}

static void loss_task(void *ctx, uint64_t task, uint32_t worker) {
    const loss_job *job = ctx;
    const int64_t row = (int64_t)task;
    (void)worker;
    if (job->match[row] >= 0)
        job->sum[row] = cvr_mask_row_loss(job->x + row * job->pixels * job->classes + job->label[row], job->classes,
                                          job->target + row * job->pixels, job->pixels);
}

static uint64_t loss_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[0] * sizeof(double);
}

static int32_t loss_run(const cvr_kernel_args *a, cvr_error *err) {
    loss_job job = {.sum = a->workspace};
    int64_t count;
    double sum = 0;
    CVR_TRY(loss_open(a, &job, &count, err));
    cpu_run(a->pool, job.rows, loss_task, &job);
    for (int64_t row = 0; row < job.rows; row++)
        if (job.match[row] >= 0) sum += job.sum[row];
    const double norm = (double)(count * job.pixels);
    *(float *)a->outputs[0]->data = (float)(norm > 0 ? sum / norm : 0);
    *(float *)a->outputs[1]->data = (float)norm;
    return CVR_OK;
}

static void loss_back_task(void *ctx, uint64_t task, uint32_t worker) {
    const loss_job *job = ctx;
    const int64_t row = (int64_t)task, at = row * job->pixels * job->classes;
    (void)worker;
    memset(job->dx + at, 0, (size_t)(job->pixels * job->classes) * sizeof *job->dx);
    if (job->match[row] >= 0)
        cvr_mask_row_slope(job->x + at + job->label[row], job->classes, job->target + row * job->pixels, job->pixels,
                           job->scale, job->dx + at + job->label[row]);
}

/* x, target, label, match, norm, grad */
static int32_t loss_back_run(const cvr_kernel_args *a, cvr_error *err) {
    loss_job job = {.dx = a->outputs[0]->data};
    int64_t count;
    CVR_TRY(loss_open(a, &job, &count, err));
    job.scale = *cpu_floats(a, 5) * cvr_detect_share(*cpu_floats(a, 4));
    cpu_run(a->pool, job.rows, loss_back_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"mask_targets", targets_run, targets_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"mask_loss", loss_run, loss_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"mask_loss_backward", loss_back_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_masks_kernels = {kernels, sizeof kernels / sizeof *kernels};
