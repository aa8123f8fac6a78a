/* The scalar parts of detection's losses that every backend shares. Formulas in ops/detect_loss.h. */
#ifndef CVR_PLUGIN_OPS_DETECT_LOSS_MATH_H
#define CVR_PLUGIN_OPS_DETECT_LOSS_MATH_H

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/loss_math.h>

#ifdef __cplusplus
extern "C" {
#endif

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

/* One class of one row of anchor_focal_loss. */
typedef struct cvr_focal_part {
    double log_q, rest; /* log q, 1 - q */
    double alpha, sign; /* what it counts; the sign of dq/dx */
} cvr_focal_part;

static inline cvr_focal_part cvr_focal_part_of(double x, int is, double alpha) {
    const double z = is ? x : -x;
    cvr_focal_part p;
    p.log_q = -(log1p(exp(-fabs(z))) + (z < 0 ? -z : 0));
    p.rest = 1 / (1 + exp(z));
    p.alpha = alpha < 0 ? 1 : is ? alpha : 1 - alpha;
    p.sign = is ? 1 : -1;
    return p;
}

static inline double cvr_focal_part_loss(const cvr_focal_part *p, double gamma) {
    return -p->alpha * cvr_focal_easy(p->rest, gamma) * p->log_q;
}

/* dlog q / dx = sign * (1 - q), which takes the negative power of 1 - q out of the slope. */
static inline double cvr_focal_part_slope(const cvr_focal_part *p, double gamma) {
    return p->alpha * p->sign * cvr_focal_easy(p->rest, gamma) * (gamma * exp(p->log_q) * p->log_q - p->rest);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_focal_part) == 32, "cvr_focal_part has padding");

#endif
