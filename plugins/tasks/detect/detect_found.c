/*
 * The way back to the picture is the inverse of the sample's geometry: for a picture that was resized a ratio an axis,
 * as torchvision's detectors map boxes. They are cut off at the picture's sides.
 */
#include "detect_found.h"
#include "mask_paste.h"
#include <math.h>

/* ---- geometry ---- */

int32_t detect_inverse(double out[9], const double m[9], cvr_error *err) {
    double determinant = 0;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            const int a = (i + 1) % 3, b = (i + 2) % 3, c = (k + 1) % 3, d = (k + 2) % 3;
            out[3 * k + i] = m[3 * a + c] * m[3 * b + d] - m[3 * a + d] * m[3 * b + c];
            if (i == 0) determinant += m[k] * out[3 * k];
        }
    if (!(fabs(determinant) > 1e-12) || !isfinite(determinant))
        return cvr_fail(err, CVR_ERR_INVALID, "a transform of the pictures cannot be undone for the boxes");
    for (int i = 0; i < 9; i++) out[i] /= determinant;
    return CVR_OK;
}

static double clamp(double x, double most) {
    return x < 0 ? 0 : x > most ? most : x;
}

/* The hull of its corners. */
void detect_map_box(double out[4], const double m[9], const float xyxy[4], int64_t height, int64_t width) {
    double x1 = INFINITY, y1 = INFINITY, x2 = -INFINITY, y2 = -INFINITY;
    for (int i = 0; i < 4; i++) {
        const double x = xyxy[i & 1 ? 2 : 0], y = xyxy[i & 2 ? 3 : 1], z = m[6] * x + m[7] * y + m[8];
        const double u = (m[0] * x + m[1] * y + m[2]) / z, v = (m[3] * x + m[4] * y + m[5]) / z;
        x1 = fmin(x1, u);
        x2 = fmax(x2, u);
        y1 = fmin(y1, v);
        y2 = fmax(y2, v);
    }
    out[0] = clamp(x1, (double)width);
    out[1] = clamp(y1, (double)height);
    out[2] = clamp(x2, (double)width) - out[0];
    out[3] = clamp(y2, (double)height) - out[1];
}

/* The double that is nearest to the decimal number, so that it is read back as it is. */
static double rounded(double x) {
    return floor(x * 1e4 + 0.5) / 1e4;
}

/* ---- the results of a row ---- */

typedef struct results {
    const float *boxes, *scores, *masks; /* masks NULL: there are none, or none are wanted */
    const int64_t *labels;
    int64_t n, side;
} results;

static const cvr_tensor *result(const cvr_batch_view *outputs, const char *name, uint32_t dtype, uint32_t rank) {
    const cvr_named_tensor *const t = cvr_batch_find(outputs, name);
    return t && t->tensor.dtype == dtype && t->tensor.rank == rank ? &t->tensor : NULL;
}

static int32_t find_masks(results *r, const cvr_batch_view *outputs, int64_t row, cvr_error *err) {
    const cvr_tensor *const masks = result(outputs, DETECT_MASKS, CVR_F32, 3);
    if (!masks) return CVR_OK;
    while (r->side * r->side < masks->shape[2]) r->side++;
    if (masks->shape[1] != r->n || r->side * r->side != masks->shape[2])
        return cvr_fail(err, CVR_ERR_INVALID, "the network's masks are no squares, one for each box");
    r->masks = (const float *)masks->data + row * r->n * masks->shape[2];
    return CVR_OK;
}

static int32_t find_results(results *r, const cvr_batch_view *outputs, int64_t row, int32_t with_masks,
                            cvr_error *err) {
    const cvr_tensor *const boxes = result(outputs, DETECT_BOXES, CVR_F32, 3),
                            *const scores = result(outputs, DETECT_SCORES, CVR_F32, 2),
                            *const labels = result(outputs, DETECT_LABELS, CVR_I64, 2);
    *r = (results){.n = boxes ? boxes->shape[1] : 0};
    if (!boxes || !scores || !labels || boxes->shape[2] != 4 || scores->shape[1] != r->n || labels->shape[1] != r->n)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network has no results `boxes`, `scores` and `labels`, as detectors have; choose one of "
                        "those that `cvrun help models` names");
    r->boxes = (const float *)boxes->data + row * r->n * 4;
    r->scores = (const float *)scores->data + row * r->n;
    r->labels = (const int64_t *)labels->data + row * r->n;
    return with_masks ? find_masks(r, outputs, row, err) : CVR_OK;
}

static int32_t check_row(const results *r, int64_t i, const detect_filter *f, cvr_error *err) {
    const float *const b = r->boxes + 4 * i;
    if (r->labels[i] >= f->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "the network found class %lld; there are %lld", (long long)r->labels[i],
                        (long long)f->n_classes);
    if (!isfinite(r->scores[i]) || !isfinite(b[0]) || !isfinite(b[1]) || !isfinite(b[2]) || !isfinite(b[3]))
        return cvr_fail(err, CVR_ERR_NUMERIC, "the network's boxes are not finite; its weights are broken");
    return CVR_OK;
}

/* ---- which are kept ---- */

static double iou_of(const double a[4], const double b[4]) {
    const double w = fmin(a[0] + a[2], b[0] + b[2]) - fmax(a[0], b[0]),
                 h = fmin(a[1] + a[3], b[1] + b[3]) - fmax(a[1], b[1]);
    return w > 0 && h > 0 ? w * h / (a[2] * a[3] + b[2] * b[3] - w * h) : 0;
}

/* Scores fall, so that those that are kept already are the better ones. */
static int32_t is_suppressed(const detect_found *d, const coco_found *c, double iou) {
    const coco_found *const kept = detect_found_rows(d);
    for (uint64_t i = 0; i < d->rows.n && iou < 1; i++)
        if (kept[i].klass == c->klass && iou_of(kept[i].box, c->box) > iou) return 1;
    return 0;
}

/* `mask.runs` is where they begin among all runs, plus nothing yet: memory may still move. */
static int32_t add_mask(detect_found *d, const results *r, int64_t i, const double xywh[4], coco_found *c,
                        cvr_error *err) {
    const mask_small small = {r->masks + i * r->side * r->side,
                              r->side,
                              {(float)xywh[0], (float)xywh[1], (float)(xywh[0] + xywh[2]), (float)(xywh[1] + xywh[3])}};
    CVR_TRY(mask_paste(&d->mask, &small, d->height, d->width, err));
    CVR_TRY(host_array_room(&d->runs, d->host, d->mask.n, sizeof(uint32_t), err));
    memcpy((uint32_t *)d->runs.data + d->runs.n, d->mask.runs, d->mask.n * sizeof(uint32_t));
    d->runs.n += d->mask.n;
    c->mask.n = d->mask.n;
    return CVR_OK;
}

static int32_t take_row(detect_found *d, const detect_filter *f, const results *r, int64_t i, cvr_error *err) {
    coco_found c = {.klass = r->labels[i], .score = r->scores[i]};
    double xywh[4];
    detect_map_box(xywh, d->back, r->boxes + 4 * i, d->height, d->width);
    for (int k = 0; k < 4; k++) c.box[k] = rounded(xywh[k]);
    if (is_suppressed(d, &c, f->iou)) return CVR_OK;
    if (r->masks) CVR_TRY(add_mask(d, r, i, xywh, &c, err));
    coco_found *const to = host_array_add(&d->rows, d->host, sizeof *to, err);
    if (!to) return CVR_ERR_NOMEM;
    *to = c;
    return CVR_OK;
}

/* Once all runs are there. */
static void place_masks(detect_found *d) {
    coco_found *const rows = d->rows.data;
    uint64_t at = 0;
    for (uint64_t i = 0; i < d->rows.n; i++) {
        rows[i].mask.runs = (const uint32_t *)d->runs.data + at;
        at += rows[i].mask.n;
    }
}

int32_t detect_found_read(detect_found *d, const detect_filter *f, const cvr_batch_view *outputs, int64_t row,
                          cvr_error *err) {
    const cvr_origin *const origin = outputs->origins[row];
    results r;
    d->rows.n = d->runs.n = 0;
    d->mask.host = d->host;
    d->height = origin->height;
    d->width = origin->width;
    CVR_TRY(find_results(&r, outputs, row, f->masks, err));
    CVR_TRY(detect_inverse(d->back, origin->geometry, err));
    d->has_masks = r.masks != NULL;
    for (int64_t i = 0; i < r.n && !(f->most && d->rows.n == (uint64_t)f->most); i++) {
        if (r.labels[i] < 0) continue;
        CVR_TRY(check_row(&r, i, f, err));
        if (r.scores[i] >= f->least_score) CVR_TRY(take_row(d, f, &r, i, err));
    }
    if (d->has_masks) place_masks(d);
    return CVR_OK;
}

void detect_found_free(detect_found *d) {
    host_array_free(&d->rows, d->host);
    host_array_free(&d->runs, d->host);
    d->mask.host = d->host;
    rle_free(&d->mask);
}
