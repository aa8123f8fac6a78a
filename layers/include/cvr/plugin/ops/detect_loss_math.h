/* The scalar parts of detection's losses that every backend shares. Formulas in ops/detect_loss.h. */
#ifndef CVR_PLUGIN_OPS_DETECT_LOSS_MATH_H
#define CVR_PLUGIN_OPS_DETECT_LOSS_MATH_H

#include <cvr/plugin/kernel.h>
#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- divisors ---- */

/* `norm` (N) has how many rows of each picture count, or have an object; it becomes what each picture's sum is divided
 * by. */
static inline void cvr_detect_norm(int64_t kind, int64_t n, float *norm) {
    double all = 0;
    for (int64_t i = 0; i < n; i++) all += norm[i];
    if (kind == CVR_NORM_POSITIVES && all < 1) all = 1;
    for (int64_t i = 0; i < n; i++)
        norm[i] = kind == CVR_NORM_PICTURE ? (norm[i] < 1 ? 1 : norm[i]) * (float)n : (float)all;
}

/* 1 / norm, and 0 where nothing counts. */
static inline double cvr_detect_share(float norm) {
    return norm > 0 ? 1 / (double)norm : 0;
}

/* ---- rows and what they stand for ---- */

typedef struct cvr_detect_rows {
    int64_t n, rows, objects, anchor_step; /* floats from one picture's anchors to the next one's */
    const float *anchors, *boxes;
    const int32_t *match;
} cvr_detect_rows;

static inline cvr_detect_rows cvr_detect_rows_of(const cvr_tensor *anchors, const cvr_tensor *boxes,
                                                 const cvr_tensor *match) {
    cvr_detect_rows r;
    r.n = match->shape[0];
    r.rows = match->shape[1];
    r.objects = boxes->shape[1];
    r.anchor_step = anchors->rank == 3 ? r.rows * 4 : 0;
    r.anchors = (const float *)anchors->data;
    r.boxes = (const float *)boxes->data;
    r.match = (const int32_t *)match->data;
    return r;
}

static inline const float *cvr_detect_anchor(const cvr_detect_rows *r, int64_t row) {
    return r->anchors + row / r->rows * r->anchor_step + row % r->rows * 4;
}

static inline const float *cvr_detect_object(const cvr_detect_rows *r, int64_t row) {
    return r->boxes + (row / r->rows * r->objects + r->match[row]) * 4;
}

/* Every match is an object that there is, CVR_MATCH_BACKGROUND or CVR_MATCH_BETWEEN. */
static inline int32_t cvr_detect_check_matches(const char *op, const cvr_tensor *match, int64_t objects,
                                               cvr_error *err) {
    const int32_t *m = (const int32_t *)match->data;
    for (int64_t i = 0; i < match->shape[0] * match->shape[1]; i++)
        if (m[i] < CVR_MATCH_BETWEEN || m[i] >= objects)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: row %lld of picture %lld is matched to object %d of %lld", op,
                            (long long)(i % match->shape[1]), (long long)(i / match->shape[1]), m[i],
                            (long long)objects);
    return CVR_OK;
}

/* Objects of pictures: boxes (N,M,4), labels (N,M), counts (N). There are no more than M, each of one of the classes.
 */
static inline int32_t cvr_detect_check_objects(const char *op, const cvr_tensor *boxes, const cvr_tensor *labels,
                                               const cvr_tensor *counts, int64_t classes, cvr_error *err) {
    const int64_t most = boxes->shape[1];
    for (int64_t n = 0; n < boxes->shape[0]; n++) {
        const int64_t count = ((const int64_t *)counts->data)[n];
        const int64_t *const label = (const int64_t *)labels->data + n * most;
        if (count < 0 || count > most)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: picture %lld has %lld objects; there is room for %lld", op,
                            (long long)n, (long long)count, (long long)most);
        for (int64_t i = 0; i < count; i++)
            if (label[i] < 0 || label[i] >= classes)
                return cvr_fail(err, CVR_ERR_INVALID,
                                "%s: an object of picture %lld has class %lld, but there are %lld; check the labels",
                                op, (long long)n, (long long)label[i], (long long)classes);
    }
    return CVR_OK;
}

/* The divisors of a loss whose rows with an object count. */
static inline void cvr_detect_match_norm(int64_t kind, const cvr_tensor *match, float *norm) {
    const int32_t least = kind == CVR_NORM_COUNTED ? CVR_MATCH_BACKGROUND : 0;
    const int32_t *m = (const int32_t *)match->data;
    for (int64_t n = 0; n < match->shape[0]; n++) {
        int64_t count = 0;
        for (int64_t i = 0; i < match->shape[1]; i++) count += *m++ >= least;
        norm[n] = (float)count;
    }
    cvr_detect_norm(kind, match->shape[0], norm);
}

/* The divisors of anchor_focal_loss. */
static inline void cvr_detect_target_norm(const cvr_anchor_focal_attrs *a, const cvr_tensor *target, float *norm) {
    const int64_t least = a->norm == CVR_NORM_COUNTED ? -1 : a->first_class, *t = (const int64_t *)target->data;
    for (int64_t n = 0; n < target->shape[0]; n++) {
        int64_t count = 0;
        for (int64_t i = 0; i < target->shape[1]; i++) count += *t++ >= least;
        norm[n] = (float)count;
    }
    cvr_detect_norm(a->norm, target->shape[0], norm);
}

/* The divisors of anchor_quality_loss. */
static inline void cvr_detect_quality_norm(const cvr_anchor_quality_attrs *a, const cvr_tensor *target, float *norm) {
    cvr_anchor_focal_attrs same;
    memset(&same, 0, sizeof same);
    same.norm = a->norm;
    cvr_detect_target_norm(&same, target, norm);
}

/* x (N,A,K), target (N,A): every target is a class, -1 or -2. */
static inline int32_t cvr_detect_check_targets(const char *op, const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *const target = a->inputs[1];
    const int64_t *const t = (const int64_t *)target->data, classes = a->inputs[0]->shape[2];
    for (int64_t i = 0; i < target->shape[0] * target->shape[1]; i++)
        if (t[i] < -2 || t[i] >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: target %lld, but there are %lld classes; check the labels", op,
                            (long long)t[i], (long long)classes);
    return CVR_OK;
}

/* The class of a row, where `labels` are its picture's. */
static inline int64_t cvr_class_target(const cvr_class_targets_attrs *a, int32_t match, const int64_t *labels) {
    if (match >= 0) return labels[match] + a->offset;
    return match == CVR_MATCH_BACKGROUND ? a->background : a->ignore;
}

/* ---- cross entropy with logits ---- */

/* log(1 + exp(-|x|)) + max(x, 0) - x * t */
static inline double cvr_detect_bce(double x, double t) {
    return log1p(exp(-fabs(x))) + (x > 0 ? x : 0) - x * t;
}

static inline double cvr_detect_sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* The sum over the classes of one row of anchor_quality_loss. */
static inline double cvr_detect_quality_loss(const float *x, int64_t classes, int64_t target, double quality) {
    double sum = 0;
    for (int64_t k = 0; k < classes; k++) sum += cvr_detect_bce(x[k], k == target ? quality : 0);
    return sum;
}

/* Its gradient times `scale`, 0 where the row counts for nothing; dx may be x. */
static inline void cvr_detect_quality_slope(const float *x, int64_t classes, int64_t target, double quality,
                                            double scale, float *dx) {
    for (int64_t k = 0; k < classes; k++)
        dx[k] = target >= 0 ? (float)(scale * (cvr_detect_sigmoid(x[k]) - (k == target ? quality : 0))) : 0;
}

/* sqrt(min(l,r) / max(l,r) * min(t,b) / max(t,b)) */
static inline double cvr_detect_centerness(const float *anchor, const float *object) {
    double share = 1;
    for (int k = 0; k < 2; k++) {
        const double centre = ((double)anchor[k] + anchor[k + 2]) / 2;
        const double low = centre - object[k], high = object[k + 2] - centre;
        share *= fmin(low, high) / fmax(low, high);
    }
    return sqrt(share);
}

/* The sum over one mask, whose pixels lie `step` apart in x. */
static inline double cvr_mask_row_loss(const float *x, int64_t step, const float *target, int64_t pixels) {
    double sum = 0;
    for (int64_t i = 0; i < pixels; i++) sum += cvr_detect_bce(x[i * step], target[i]);
    return sum;
}

static inline void cvr_mask_row_slope(const float *x, int64_t step, const float *target, int64_t pixels, double scale,
                                      float *dx) {
    for (int64_t i = 0; i < pixels; i++) dx[i * step] = (float)(scale * (cvr_detect_sigmoid(x[i * step]) - target[i]));
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_detect_rows) == 56, "cvr_detect_rows has padding");

#endif
