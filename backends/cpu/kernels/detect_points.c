/*
 * match_points on the CPU (see <cvr/plugin/ops/detect.h>), with the reference's decisions to the bit: LANES points meet
 * an object at once, object after object. An object's worth, float(1e8 - area), is the same for all of them. A task is
 * a span of a picture's points. No workspace.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

#define SPAN 1024
#define LANES 16

typedef struct points_job {
    const cvr_kernel_args *a;
    const cvr_match_points_attrs *attrs;
    const int64_t *counts;
    int64_t rows, spans;
} points_job;

/* Centres, sides times the radius, and the level's bounds for the longest distance. */
typedef struct points_lanes {
    float x[LANES], y[LANES], reach[LANES], from[LANES], to[LANES];
} points_lanes;

/* Lanes past the end reach nothing. */
static void open_lanes(const points_job *job, int64_t first, int64_t n, points_lanes *p) {
    const float *anchors = job->a->inputs[0]->data, radius = (float)job->attrs->radius;
    int64_t level = 0;
    memset(p, 0, sizeof *p);
    for (int64_t k = 0; k < n; k++) {
        const float *b = anchors + 4 * (first + k), side = b[2] - b[0];
        while (first + k >= job->attrs->level_ends[level]) level++;
        p->x[k] = (b[0] + b[2]) / 2;
        p->y[k] = (b[1] + b[3]) / 2;
        p->reach[k] = radius * side;
        p->from[k] = level ? side * 4 : 0;
        p->to[k] = level + 1 < job->attrs->n_levels ? side * 8 : INFINITY;
    }
}

static inline float larger(float a, float b) {
    return a > b ? a : b;
}

static inline void meet_object(const points_lanes *p, const float *b, float worth, int32_t object, float *restrict most,
                               int32_t *restrict at) {
    const float bx = (b[0] + b[2]) / 2, by = (b[1] + b[3]) / 2;
    for (int k = 0; k < LANES; k++) {
        const float dx = fabsf(p->x[k] - bx), dy = fabsf(p->y[k] - by);
        const float l = p->x[k] - b[0], t = p->y[k] - b[1], r = b[2] - p->x[k], d = b[3] - p->y[k];
        const float farthest = larger(larger(l, t), larger(r, d));
        const int takes = (larger(dx, dy) < p->reach[k]) & (l > 0) & (t > 0) & (r > 0) & (d > 0) &
                          (farthest > p->from[k]) & (farthest < p->to[k]) & (worth > most[k]);
        most[k] = takes ? worth : most[k];
        at[k] = takes ? object : at[k];
    }
}

static void points_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const points_job *job = ctx;
    const int64_t picture = (int64_t)task / job->spans, first = (int64_t)task % job->spans * SPAN;
    const int64_t end = cpu_min(first + SPAN, job->rows);
    const float *objects = detect_picture(job->a->inputs[1], picture);
    int32_t *match = (int32_t *)job->a->outputs[0]->data + picture * job->rows;
    for (int64_t i = first; i < end; i += LANES) {
        const int64_t n = cpu_min(LANES, end - i);
        float most[LANES] = {0};
        int32_t at[LANES];
        points_lanes p;
        for (int k = 0; k < LANES; k++) at[k] = CVR_MATCH_BACKGROUND;
        open_lanes(job, i, n, &p);
        for (int64_t o = 0; o < job->counts[picture]; o++) {
            const float worth = 1e8f - cvr_box_area(objects + 4 * o);
            if (worth >= 1e-5f) meet_object(&p, objects + 4 * o, worth, (int32_t)o, most, at);
        }
        memcpy(match + i, at, (size_t)n * sizeof *at);
    }
}

static int32_t points_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->outputs[0]->shape[0];
    points_job job = {a, a->attrs, a->inputs[2]->data, a->outputs[0]->shape[1], 0};
    job.spans = cpu_ceil_div(job.rows, SPAN);
    for (int64_t n = 0; n < pictures; n++)
        CVR_TRY(detect_check_count("match_points", n, job.counts[n], a->inputs[1]->shape[1], err));
    cpu_run(a->pool, pictures * job.spans, points_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"match_points", points_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_points_kernels = {kernels, sizeof kernels / sizeof *kernels};
