/* Which object each anchor stands for, by overlap: torchvision's Matcher (Ren et al., 2015) and SSDMatcher (Liu et al.,
 * 2016). */
#include "detect_family.h"

static const cvr_attr_desc *const match_attrs[] = {
    CVR_ATTR(FLOAT, "high", NULL, "least IoU of a match"),
    CVR_ATTR(FLOAT, "low", NULL, "below it, a row is background"),
    CVR_ATTR(BOOL, "low_quality", "no", "rows that are an object's best keep their own best object"),
    CVR_ATTR(BOOL, "each_best", "no", "each object takes the row that is its best"),
};

/* anchors, boxes (N,M,4), counts (N) i64, [valid (N) i32] -> (N,A) i32 */
static int32_t match_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t many[3] = {-1, -1, 4};
    const cvr_match_attrs *attrs = a->attrs;
    const cvr_type *boxes = a->inputs[1];
    CVR_TRY(detect_check("match_boxes", a, 1, CVR_F32, 3, many, err));
    CVR_TRY(detect_check_anchors("match_boxes", a, 0, boxes->shape[0], -1, err));
    CVR_TRY(detect_check("match_boxes", a, 2, CVR_I64, 1, boxes->shape, err));
    if (detect_given(a, 3)) CVR_TRY(detect_check("match_boxes", a, 3, CVR_I32, 1, boxes->shape, err));
    if (!(attrs->low <= attrs->high))
        return cvr_fail(err, CVR_ERR_INVALID, "match_boxes: low is %g, above high, %g", attrs->low, attrs->high);
    const int64_t shape[2] = {boxes->shape[0], a->inputs[0]->shape[a->inputs[0]->rank - 2]};
    cvr_type_set(a->outputs[0], CVR_I32, 2, shape);
    CVR_TRY(detect_check_rows("match_boxes", shape[1], err));
    return detect_check_rows("match_boxes", boxes->shape[1], err);
}

/* One picture. */
typedef struct matching {
    const cvr_match_attrs *attrs;
    const float *anchors, *objects;
    int64_t rows, n_objects; /* that count */
    float *largest;          /* of each object: its IoU with the row that is its best, */
    int32_t *row;            /* and that row, the first of equal ones */
    int32_t *match;
} matching;

/* IoU, 0 for what has none (NaN). */
static float overlap(const float *anchor, const float *object) {
    const float iou = cvr_box_iou(object, cvr_box_area(object), anchor, cvr_box_area(anchor));
    return iou > 0 ? iou : 0;
}

/* The best object of row i, the first of equal ones. */
static int32_t best_object(const matching *m, int64_t i, float *iou) {
    int32_t best = 0;
    *iou = -1;
    for (int64_t k = 0; k < m->n_objects; k++) {
        const float v = overlap(m->anchors + 4 * i, m->objects + 4 * k);
        if (v > *iou) *iou = v, best = (int32_t)k;
    }
    return best;
}

static void best_rows(matching *m) {
    for (int64_t k = 0; k < m->n_objects; k++) {
        m->largest[k] = -1;
        m->row[k] = 0;
        for (int64_t i = 0; i < m->rows; i++) {
            const float v = overlap(m->anchors + 4 * i, m->objects + 4 * k);
            if (v > m->largest[k]) m->largest[k] = v, m->row[k] = (int32_t)i;
        }
    }
}

static int is_best_row(const matching *m, int64_t i) {
    for (int64_t k = 0; k < m->n_objects; k++)
        if (overlap(m->anchors + 4 * i, m->objects + 4 * k) == m->largest[k]) return 1;
    return 0;
}

static void match_picture(matching *m) {
    const float high = (float)m->attrs->high, low = (float)m->attrs->low;
    if (m->attrs->low_quality || m->attrs->each_best) best_rows(m);
    for (int64_t i = 0; i < m->rows; i++) {
        float iou;
        const int32_t best = best_object(m, i, &iou);
        m->match[i] = iou < low ? CVR_MATCH_BACKGROUND : iou < high ? CVR_MATCH_BETWEEN : best;
        if (m->n_objects == 0) m->match[i] = CVR_MATCH_BACKGROUND;
        if (m->match[i] < 0 && m->attrs->low_quality && is_best_row(m, i)) m->match[i] = best;
    }
    for (int64_t k = 0; k < m->n_objects && m->attrs->each_best && m->rows > 0; k++) m->match[m->row[k]] = (int32_t)k;
}

static int32_t match_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->outputs[0]->shape[0], rows = a->outputs[0]->shape[1], most = a->inputs[1]->shape[1];
    for (int64_t n = 0; n < pictures; n++) {
        matching m = {.attrs = a->attrs,
                      .anchors = detect_picture(a->inputs[0], n),
                      .objects = detect_picture(a->inputs[1], n),
                      .largest = a->workspace,
                      .row = (int32_t *)a->workspace + most,
                      .match = (int32_t *)a->outputs[0]->data + n * rows};
        CVR_TRY(detect_count("match_boxes", a->inputs[2]->data, n, most, &m.n_objects, err));
        CVR_TRY(detect_valid("match_boxes", detect_optional(a, 3), n, rows, &m.rows, err));
        match_picture(&m);
        for (int64_t i = m.rows; i < rows; i++) m.match[i] = CVR_MATCH_BETWEEN;
    }
    return CVR_OK;
}

static uint64_t match_workspace(const cvr_signature *sig) {
    return 8 * (uint64_t)sig->inputs[1]->shape[1];
}

static double match_flops(const cvr_infer_args *a) {
    return 12.0 * (double)cvr_numel(2, a->outputs[0]->shape) * (double)a->inputs[1]->shape[1];
}

static const cvr_counts_trait match_counts = {sizeof match_counts, 1u << 1, 0};
CVR_DEFINE_TRAITS(match_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &match_counts})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "match_boxes",
            .version = 1,
            .trait = match_traits,
            .min_inputs = 3,
            .max_inputs = 4,
            .n_outputs = 1,
            .n_attrs = 4,
            .attrs = match_attrs,
            .optional = 1u << 3,
            .infer = match_infer,
            .flops = match_flops,
            .doc = "the object of largest IoU of each anchor (Ren et al., 2015; Liu et al., 2016)"},
     .reference = {sizeof(cvr_cpu_fn), match_run},
     .workspace = match_workspace},
};

const detect_family detect_match_boxes = DETECT_FAMILY(ops);
