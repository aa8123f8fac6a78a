/* The reference kernels of roi_align, its gradient, and mask_targets: a roi at a time (ops/roi_math.h). */
#include "roi_family.h"

/* The taps of all bins of one axis; bin b has n[b] from taps + b * most on. */
typedef struct axis_taps {
    cvr_roi_tap *taps;
    int32_t *n;
    int64_t bins, most;
} axis_taps;

static uint64_t axis_bytes(int64_t bins, int64_t most) {
    return (uint64_t)bins * ((uint64_t)most * sizeof(cvr_roi_tap) + sizeof(int32_t));
}

/* Takes its memory from `*at`. */
static axis_taps axis_of(char **at, int64_t bins, int64_t most) {
    const axis_taps t = {(cvr_roi_tap *)(void *)*at,
                         (int32_t *)(void *)(*at + bins * most * (int64_t)sizeof(cvr_roi_tap)), bins, most};
    *at += (axis_bytes(bins, most) + 7) / 8 * 8;
    return t;
}

static void fill_axis(axis_taps *t, const cvr_roi_axis *axis) {
    for (int64_t b = 0; b < t->bins; b++) t->n[b] = (int32_t)cvr_roi_taps(axis, b, t->taps + b * t->most, t->most);
}

/* Rows and columns of a roi. */
typedef struct roi_taps {
    axis_taps y, x;
} roi_taps;

static uint64_t taps_bytes(const int64_t bins[2], int64_t ratio, int64_t height, int64_t width) {
    return axis_bytes(bins[0], cvr_roi_most_taps(ratio, height)) +
           axis_bytes(bins[1], cvr_roi_most_taps(ratio, width)) + 16;
}

static void fill_roi(roi_taps *t, void *workspace, const cvr_roi_align_attrs *attrs, const float *roi, double scale,
                     int64_t height, int64_t width) {
    char *at = workspace;
    const cvr_roi_axis y =
        cvr_roi_axis_of(roi[1], roi[3], scale, attrs->aligned, attrs->output_size[0], attrs->sampling_ratio, height);
    const cvr_roi_axis x =
        cvr_roi_axis_of(roi[0], roi[2], scale, attrs->aligned, attrs->output_size[1], attrs->sampling_ratio, width);
    t->y = axis_of(&at, attrs->output_size[0], cvr_roi_most_taps(attrs->sampling_ratio, height));
    t->x = axis_of(&at, attrs->output_size[1], cvr_roi_most_taps(attrs->sampling_ratio, width));
    fill_axis(&t->y, &y);
    fill_axis(&t->x, &x);
}

static uint64_t most_bytes(const cvr_roi_align_attrs *attrs, const cvr_tensor *const *maps, uint32_t n) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t bytes =
            taps_bytes(attrs->output_size, attrs->sampling_ratio, maps[i]->shape[2], maps[i]->shape[3]);
        if (bytes > most) most = bytes;
    }
    return most;
}

uint64_t roi_align_workspace(const cvr_signature *sig) {
    return most_bytes(sig->attrs, sig->inputs + 2, sig->n_inputs - 2);
}

uint64_t roi_align_backward_workspace(const cvr_signature *sig) {
    const cvr_roi_align_backward_attrs *attrs = sig->attrs;
    return most_bytes(&attrs->forward, sig->outputs, 1);
}

/* Rois of picture n that count. */
static int64_t count_of(const cvr_tensor *rois, const cvr_tensor *count, int64_t n) {
    const int64_t c = count ? ((const int32_t *)count->data)[n] : rois->shape[1];
    return c < 0 ? 0 : c < rois->shape[1] ? c : rois->shape[1];
}

/* ---- roi_align ---- */

/* y (P,Q,C) = sum over the taps of weight_row * weight_column * map (h,w,C) */
static void align_one(const roi_taps *t, const float *map, int64_t width, int64_t channels, float *y) {
    for (int64_t bin = 0; bin < t->y.bins * t->x.bins; bin++, y += channels) {
        const int64_t p = bin / t->x.bins, q = bin % t->x.bins;
        const cvr_roi_tap *rows = t->y.taps + p * t->y.most, *columns = t->x.taps + q * t->x.most;
        for (int64_t c = 0; c < channels; c++) {
            double sum = 0;
            for (int32_t i = 0; i < t->y.n[p]; i++)
                for (int32_t j = 0; j < t->x.n[q]; j++)
                    sum += (double)rows[i].weight * columns[j].weight *
                           map[(rows[i].at * width + columns[j].at) * channels + c];
            y[c] = (float)sum;
        }
    }
}

int32_t roi_align_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_roi_align_attrs *attrs = a->attrs;
    const cvr_tensor *rois = a->inputs[0], *y = a->outputs[0];
    const int64_t pixels = y->shape[1] * y->shape[2] * y->shape[3];
    roi_taps t;
    (void)err;
    memset(y->data, 0, (size_t)(y->shape[0] * pixels) * sizeof(float));
    for (int64_t n = 0; n < rois->shape[0]; n++) {
        for (int64_t r = 0; r < count_of(rois, a->inputs[1], n); r++) {
            const int64_t row = n * rois->shape[1] + r;
            const float *roi = (const float *)rois->data + row * 4;
            const int64_t level = cvr_roi_level(attrs, roi);
            const cvr_tensor *map = a->inputs[2 + level];
            const int64_t size = map->shape[1] * map->shape[2] * map->shape[3];
            fill_roi(&t, a->workspace, attrs, roi, attrs->scales[level], map->shape[2], map->shape[3]);
            align_one(&t, (const float *)map->data + n * size, map->shape[3], map->shape[1],
                      (float *)y->data + row * pixels);
        }
    }
    return CVR_OK;
}

/* dmap (h,w,C) += weight_row * weight_column * grad (P,Q,C) */
static void align_back_one(const roi_taps *t, const float *grad, int64_t width, int64_t channels, float *dmap) {
    for (int64_t bin = 0; bin < t->y.bins * t->x.bins; bin++, grad += channels) {
        const int64_t p = bin / t->x.bins, q = bin % t->x.bins;
        const cvr_roi_tap *rows = t->y.taps + p * t->y.most, *columns = t->x.taps + q * t->x.most;
        for (int32_t i = 0; i < t->y.n[p]; i++)
            for (int32_t j = 0; j < t->x.n[q]; j++) {
                float *to = dmap + (rows[i].at * width + columns[j].at) * channels;
                const float weight = rows[i].weight * columns[j].weight;
                for (int64_t c = 0; c < channels; c++) to[c] += weight * grad[c];
            }
    }
}

int32_t roi_align_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_roi_align_backward_attrs *attrs = a->attrs;
    const cvr_tensor *grad = a->inputs[0], *rois = a->inputs[1], *dmap = a->outputs[0];
    const cvr_tensor *count = a->n_inputs > 2 ? a->inputs[2] : NULL;
    const int64_t pixels = grad->shape[1] * grad->shape[2] * grad->shape[3];
    const int64_t size = dmap->shape[1] * dmap->shape[2] * dmap->shape[3];
    roi_taps t;
    (void)err;
    memset(dmap->data, 0, (size_t)(dmap->shape[0] * size) * sizeof(float));
    for (int64_t n = 0; n < rois->shape[0]; n++) {
        for (int64_t r = 0; r < count_of(rois, count, n); r++) {
            const int64_t row = n * rois->shape[1] + r;
            const float *roi = (const float *)rois->data + row * 4;
            if (cvr_roi_level(&attrs->forward, roi) != attrs->level) continue;
            fill_roi(&t, a->workspace, &attrs->forward, roi, attrs->forward.scales[attrs->level], dmap->shape[2],
                     dmap->shape[3]);
            align_back_one(&t, (const float *)grad->data + row * pixels, dmap->shape[3], dmap->shape[1],
                           (float *)dmap->data + n * size);
        }
    }
    return CVR_OK;
}

/* ---- mask_targets ---- */

uint64_t roi_mask_targets_workspace(const cvr_signature *sig) {
    const int64_t size = ((const cvr_mask_targets_attrs *)sig->attrs)->size, bins[2] = {size, size};
    const cvr_tensor *masks = sig->inputs[0];
    return taps_bytes(bins, -1, masks->shape[2], masks->shape[3]) + (uint64_t)size * sizeof(double);
}

/* y (S,S) of one object's mask, whose pixels lie `step` apart. A row of the mask is first brought to S columns. */
static void mask_one(const roi_taps *t, const uint8_t *mask, int64_t width, int64_t step, double *line, float *y) {
    for (int64_t p = 0; p < t->y.bins; p++, y += t->x.bins) {
        const cvr_roi_tap *rows = t->y.taps + p * t->y.most;
        for (int64_t q = 0; q < t->x.bins; q++) line[q] = 0;
        for (int32_t i = 0; i < t->y.n[p]; i++) {
            const uint8_t *row = mask + rows[i].at * width * step;
            for (int64_t q = 0; q < t->x.bins; q++) {
                const cvr_roi_tap *columns = t->x.taps + q * t->x.most;
                double sum = 0;
                for (int32_t j = 0; j < t->x.n[q]; j++) sum += (double)columns[j].weight * row[columns[j].at * step];
                line[q] += rows[i].weight * sum;
            }
        }
        for (int64_t q = 0; q < t->x.bins; q++) y[q] = (float)line[q];
    }
}

int32_t roi_mask_targets_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *masks = a->inputs[0], *rois = a->inputs[1], *y = a->outputs[0];
    const int64_t size = ((const cvr_mask_targets_attrs *)a->attrs)->size, per_picture = rois->shape[1];
    const int64_t objects = masks->shape[1], height = masks->shape[2], width = masks->shape[3];
    const cvr_roi_align_attrs attrs = {.output_size = {size, size}, .sampling_ratio = -1, .n_scales = 1};
    double *line = a->workspace;
    memset(y->data, 0, (size_t)cvr_numel(3, y->shape) * sizeof(float));
    for (int64_t row = 0; row < rois->shape[0] * per_picture; row++) {
        const int32_t match = ((const int32_t *)a->inputs[2]->data)[row];
        roi_taps t;
        if (match >= objects)
            return cvr_fail(err, CVR_ERR_INVALID, "mask_targets: roi %lld has object %d of %lld", (long long)row, match,
                            (long long)objects);
        if (match < 0) continue;
        fill_roi(&t, line + size, &attrs, (const float *)rois->data + row * 4, 1, height, width);
        mask_one(&t, (const uint8_t *)masks->data + row / per_picture * height * width * objects + match, width,
                 objects, line, (float *)y->data + row * size * size);
    }
    return CVR_OK;
}
