/*
 * match_boxes on the CPU (see <cvr/plugin/ops/detect.h>), with the reference's decisions to the bit.
 *
 * The rows of a picture are cut into spans of SPAN. First every span finds each row's best object and each object's
 * best row among its own; then come the best rows of all, picture by picture; and where the low-quality rule is on, a
 * span whose best row for an object is as good as the best of all looks for the rows that equal it. Within a span the
 * coordinates lie apart, so that an object meets LANES rows at once. An IoU is 0 or more, and so its bits compare as
 * whole numbers.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect_math.h>

#define SPAN 1024
#define LANES 16

/* What a row is before the rules are through: its best object, and one of these. */
#define IS_BACKGROUND (1 << 30)
#define IS_BETWEEN (1 << 29)
#define MOST_OBJECTS IS_BETWEEN

typedef struct match_job {
    const cvr_kernel_args *a;
    const cvr_match_attrs *attrs;
    const int64_t *counts;
    const int32_t *valid;
    int64_t rows, objects, spans;
    /* (N, spans, objects): the largest IoU of a span's rows with an object, as bits, and the first such row */
    int32_t *best, *row;
    int32_t *largest; /* (N, objects): of all spans */
} match_job;

/* A span's rows, a coordinate after the other; those past its end are empty boxes at 0. */
typedef struct match_span {
    float x1[SPAN], y1[SPAN], x2[SPAN], y2[SPAN], area[SPAN];
    int64_t n, picture, first; /* rows that are valid; the first is row `first` of the picture */
    int32_t *match;            /* of the first */
} match_span;

static void open_span(const match_job *job, uint64_t task, match_span *s) {
    const int64_t picture = (int64_t)task / job->spans, first = (int64_t)task % job->spans * SPAN;
    const int64_t valid = job->valid ? job->valid[picture] : job->rows;
    const float *anchors = detect_picture(job->a->inputs[0], picture) + 4 * first;
    s->n = cpu_max(cpu_min(SPAN, valid - first), 0);
    s->picture = picture;
    s->first = first;
    s->match = (int32_t *)job->a->outputs[0]->data + picture * job->rows + first;
    for (int64_t i = 0; i < SPAN; i++) {
        static const float nowhere[4] = {0, 0, 0, 0};
        const float *b = i < s->n ? anchors + 4 * i : nowhere;
        s->x1[i] = b[0];
        s->y1[i] = b[1];
        s->x2[i] = b[2];
        s->y2[i] = b[3];
        s->area[i] = cvr_box_area(b);
    }
}

/* IoU of LANES rows with an object as bits; 0 for what has none (NaN). */
static inline void overlaps(const match_span *s, int64_t from, const float *object, float area,
                            int32_t *restrict bits) {
    float iou[LANES];
    for (int64_t k = 0; k < LANES; k++) {
        const int64_t i = from + k;
        const float x1 = object[0] < s->x1[i] ? s->x1[i] : object[0], y1 = object[1] < s->y1[i] ? s->y1[i] : object[1];
        const float x2 = s->x2[i] < object[2] ? s->x2[i] : object[2], y2 = s->y2[i] < object[3] ? s->y2[i] : object[3];
        const float w = x2 - x1, h = y2 - y1;
        const float inter = (w > 0 ? w : 0) * (h > 0 ? h : 0);
        const float v = inter / (area + s->area[i] - inter);
        iou[k] = v > 0 ? v : 0;
    }
    memcpy(bits, iou, sizeof iou);
}

/* The best of LANES rows takes an object's place where it is better; the first of equal ones. */
static void note_best(const match_span *s, int64_t from, const int32_t *bits, int32_t *best, int32_t *row) {
    int32_t most = -1;
    const int64_t n = cpu_min(LANES, s->n - from);
    for (int64_t k = 0; k < LANES; k++) most = bits[k] > most ? bits[k] : most;
    if (most <= *best) return;
    most = -1; /* once more, without rows past the end */
    for (int64_t k = 0; k < n; k++) {
        if (bits[k] <= most) continue;
        most = bits[k];
        if (most <= *best) continue;
        *best = most;
        *row = (int32_t)(s->first + from + k);
    }
}

/* LANES rows against all objects. */
static void meet_objects(const match_job *job, const match_span *s, int64_t from, const float *objects, int64_t count,
                         int32_t *best, int32_t *row) {
    const int notes = job->attrs->low_quality || job->attrs->each_best;
    const float high = (float)job->attrs->high, low = (float)job->attrs->low;
    int32_t most[LANES], at[LANES], bits[LANES];
    for (int k = 0; k < LANES; k++) most[k] = -1, at[k] = 0;
    for (int64_t o = 0; o < count; o++) {
        overlaps(s, from, objects + 4 * o, cvr_box_area(objects + 4 * o), bits);
        for (int k = 0; k < LANES; k++) {
            at[k] = bits[k] > most[k] ? (int32_t)o : at[k];
            most[k] = bits[k] > most[k] ? bits[k] : most[k];
        }
        if (notes) note_best(s, from, bits, &best[o], &row[o]);
    }
    for (int64_t k = 0; k < LANES && from + k < s->n; k++) {
        float iou;
        memcpy(&iou, &most[k], sizeof iou);
        s->match[from + k] = count == 0 || iou < low ? at[k] | IS_BACKGROUND : iou < high ? at[k] | IS_BETWEEN : at[k];
    }
}

static void meet_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const match_job *job = ctx;
    match_span s;
    open_span(job, task, &s);
    const float *objects = detect_picture(job->a->inputs[1], s.picture);
    int32_t *best = job->best + (int64_t)task * job->objects, *row = job->row + (int64_t)task * job->objects;
    for (int64_t o = 0; o < job->objects; o++) best[o] = -1, row[o] = 0;
    for (int64_t from = 0; from < s.n; from += LANES)
        meet_objects(job, &s, from, objects, job->counts[s.picture], best, row);
}

/* Each object's best of all spans, the first of equal ones; where every object has its row, the first span's
 * place keeps it. */
static void best_of_all(const match_job *job, int64_t picture) {
    int32_t *best = job->best + picture * job->spans * job->objects,
            *row = job->row + picture * job->spans * job->objects;
    for (int64_t o = 0; o < job->counts[picture]; o++) {
        int32_t most = -1, at = 0;
        for (int64_t k = 0; k < job->spans; k++) {
            if (best[k * job->objects + o] <= most) continue;
            most = best[k * job->objects + o];
            at = row[k * job->objects + o];
        }
        job->largest[picture * job->objects + o] = most;
        row[o] = at;
    }
}

/* Rows whose IoU with object o is its largest have their best object again. */
static void restore_rows(const match_span *s, const float *object, int32_t largest) {
    int32_t bits[LANES];
    for (int64_t from = 0; from < s->n; from += LANES) {
        overlaps(s, from, object, cvr_box_area(object), bits);
        for (int64_t k = 0; k < LANES && from + k < s->n; k++)
            if (bits[k] == largest) s->match[from + k] &= ~(IS_BACKGROUND | IS_BETWEEN);
    }
}

static void settle_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const match_job *job = ctx;
    match_span s;
    open_span(job, task, &s);
    const int32_t *best = job->best + (int64_t)task * job->objects;
    const int32_t *largest = job->largest + s.picture * job->objects;
    for (int64_t o = 0; o < job->counts[s.picture] && job->attrs->low_quality; o++)
        if (best[o] == largest[o]) restore_rows(&s, detect_picture(job->a->inputs[1], s.picture) + 4 * o, largest[o]);
    for (int64_t i = 0; i < cpu_min(SPAN, job->rows - s.first); i++) {
        const int32_t m = i < s.n ? s.match[i] : IS_BETWEEN;
        s.match[i] = m & IS_BACKGROUND ? CVR_MATCH_BACKGROUND : m & IS_BETWEEN ? CVR_MATCH_BETWEEN : m;
    }
}

/* A later object takes a row from an earlier one. */
static void give_rows(const match_job *job, int64_t picture) {
    int32_t *match = (int32_t *)job->a->outputs[0]->data + picture * job->rows;
    const int32_t *row = job->row + picture * job->spans * job->objects;
    const int64_t valid = job->valid ? job->valid[picture] : job->rows;
    for (int64_t o = 0; o < job->counts[picture] && valid > 0; o++) match[row[o]] = (int32_t)o;
}

static int32_t match_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->outputs[0]->shape[0];
    match_job job = {.a = a,
                     .attrs = a->attrs,
                     .counts = a->inputs[2]->data,
                     .valid = detect_optional(a, 3),
                     .rows = a->outputs[0]->shape[1],
                     .objects = a->inputs[1]->shape[1],
                     .best = a->workspace};
    job.spans = cpu_ceil_div(job.rows, SPAN);
    job.row = job.best + pictures * job.spans * job.objects;
    job.largest = job.row + pictures * job.spans * job.objects;
    for (int64_t n = 0; n < pictures; n++) {
        CVR_TRY(detect_check_count("match_boxes", n, job.counts[n], job.objects, err));
        if (job.valid) CVR_TRY(detect_check_count("match_boxes", n, job.valid[n], job.rows, err));
    }
    cpu_run(a->pool, pictures * job.spans, meet_task, &job);
    for (int64_t n = 0; n < pictures && job.spans > 0; n++) best_of_all(&job, n);
    cpu_run(a->pool, pictures * job.spans, settle_task, &job);
    for (int64_t n = 0; n < pictures && job.spans > 0 && job.attrs->each_best; n++) give_rows(&job, n);
    return CVR_OK;
}

static uint64_t match_workspace(const cvr_signature *sig) {
    const uint64_t pictures = (uint64_t)sig->outputs[0]->shape[0], objects = (uint64_t)sig->inputs[1]->shape[1];
    const uint64_t spans = (uint64_t)cpu_ceil_div(sig->outputs[0]->shape[1], SPAN);
    return pictures * objects * (2 * spans + 1) * sizeof(int32_t);
}

static int32_t match_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[1]->shape[1] <= MOST_OBJECTS) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "more than %d objects a picture", MOST_OBJECTS);
}

static const cpu_kernel kernels[] = {
    {"match_boxes", match_run, match_workspace, match_supports, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_match_kernels = {kernels, sizeof kernels / sizeof *kernels};
