/*
 * Non-maximum suppression: torchvision.ops.nms and batched_nms. Both of the latter's ways are here, as they differ in
 * rare cases: moving each class by an offset costs the boxes some bits.
 */
#include "detect_family.h"

static const cvr_attr_desc *const nms_attrs[] = {
    CVR_ATTR(FLOAT, "iou_threshold", NULL, "boxes of a larger IoU are suppressed"),
    CVR_ATTR(FLOAT, "score_threshold", "-1e18", "boxes must have a larger score"),
    CVR_ATTR(BOOL, "inclusive", "no", "an equal score is enough"),
    CVR_ATTR(FLOAT, "min_size", "0", "least side of a box"),
    CVR_ATTR(INT, "max_out", NULL, "boxes kept at most", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(INT, "n_groups", "0", "row r is of group r modulo this; 0: one group", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(BOOL, "background", "no", "group 0 is left out"),
    CVR_ATTR(CHOICE, "method", "auto", "how groups are kept apart", .choices = "auto|offset|loop"),
};

#define GROUP 2
#define VALID 3
#define MOST_OFFSET 1000 /* candidates, for which CVR_NMS_AUTO takes the offset */

/* boxes (N,P,4), scores (N,P), [group (N,P) i32], [valid (N) i32] -> index (N,max_out) i32, count (N) i32 */
static int32_t nms_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t many[3] = {-1, -1, 4};
    const cvr_nms_attrs *attrs = a->attrs;
    const cvr_type *boxes = a->inputs[0];
    const int64_t shape[2] = {boxes->shape[0], attrs->max_out};
    CVR_TRY(detect_check("nms", a, 0, CVR_F32, 3, many, err));
    CVR_TRY(detect_check("nms", a, 1, CVR_F32, 2, boxes->shape, err));
    if (detect_given(a, GROUP)) CVR_TRY(detect_check("nms", a, GROUP, CVR_I32, 2, boxes->shape, err));
    if (detect_given(a, VALID)) CVR_TRY(detect_check("nms", a, VALID, CVR_I32, 1, boxes->shape, err));
    if (attrs->max_out < 1 || attrs->max_out > INT32_MAX || attrs->n_groups < 0 || attrs->n_groups > INT32_MAX)
        return cvr_fail(err, CVR_ERR_INVALID, "nms: max_out is %lld, n_groups %lld", (long long)attrs->max_out,
                        (long long)attrs->n_groups);
    cvr_type_set(a->outputs[0], CVR_I32, 2, shape);
    cvr_type_set(a->outputs[1], CVR_I32, 1, shape);
    return detect_check_rows("nms", boxes->shape[1], err);
}

/* One picture. */
typedef struct suppression {
    const cvr_nms_attrs *attrs;
    const float *boxes, *scores;
    const int32_t *group;
    uint64_t *keys;         /* of the candidates, cvr_score_key */
    int64_t rows;           /* that are valid */
    int32_t moved, grouped; /* groups are kept apart: by an offset, or by comparing them */
    float offset;           /* of one group from the next */
} suppression;

static int32_t group_of(const suppression *s, int64_t row) {
    if (s->group) return s->group[row];
    return s->attrs->n_groups ? (int32_t)(row % s->attrs->n_groups) : 0;
}

static int is_candidate(const suppression *s, int64_t row) {
    const cvr_nms_attrs *attrs = s->attrs;
    const float *b = s->boxes + 4 * row, least = (float)attrs->min_size, from = (float)attrs->score_threshold;
    if (!s->group && attrs->n_groups && attrs->background && group_of(s, row) == 0) return 0;
    if (!(b[2] - b[0] >= least && b[3] - b[1] >= least)) return 0;
    return attrs->inclusive ? s->scores[row] >= from : s->scores[row] > from;
}

static int64_t list_candidates(const suppression *s) {
    int64_t n = 0;
    for (int64_t row = 0; row < s->rows; row++)
        if (is_candidate(s, row)) s->keys[n++] = cvr_score_key(s->scores[row], (uint32_t)row);
    detect_sort(s->keys, n);
    return n;
}

/* How the groups of n candidates are kept apart. The offset is their largest coordinate + 1. */
static void choose_method(suppression *s, int64_t n) {
    const int groups = s->group || s->attrs->n_groups, few = n <= MOST_OFFSET;
    float largest = -INFINITY;
    s->moved = groups && (s->attrs->method == CVR_NMS_OFFSET || (s->attrs->method == CVR_NMS_AUTO && few));
    s->grouped = groups && !s->moved;
    for (int64_t i = 0; s->moved && i < 4 * n; i++) {
        const float x = s->boxes[4 * cvr_score_key_row(s->keys[i / 4]) + i % 4];
        largest = x > largest ? x : largest;
    }
    s->offset = largest + 1;
}

static void place_of(const suppression *s, int64_t row, float *box) {
    const float by = s->moved ? (float)group_of(s, row) * s->offset : 0;
    for (int k = 0; k < 4; k++) box[k] = s->boxes[4 * row + k] + by;
}

/* IoU > threshold, as torchvision compares: the IoU in f32, the threshold in double. NaN is not. */
static int suppresses(const suppression *s, int64_t kept, int64_t row) {
    float a[4], b[4];
    if (s->grouped && group_of(s, kept) != group_of(s, row)) return 0;
    place_of(s, kept, a);
    place_of(s, row, b);
    return (double)cvr_box_iou(a, cvr_box_area(a), b, cvr_box_area(b)) > s->attrs->iou_threshold;
}

/* The candidates in falling order of score, each unless one that is kept suppresses it. */
static int32_t suppress(const suppression *s, int64_t n, int32_t *index) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n && kept < s->attrs->max_out; i++) {
        const int64_t row = cvr_score_key_row(s->keys[i]);
        int64_t k = 0;
        while (k < kept && !suppresses(s, index[k], row)) k++;
        if (k == kept) index[kept++] = (int32_t)row;
    }
    for (int64_t i = kept; i < s->attrs->max_out; i++) index[i] = -1;
    return (int32_t)kept;
}

static int32_t nms_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_nms_attrs *attrs = a->attrs;
    const int64_t pictures = a->inputs[0]->shape[0], rows = a->inputs[0]->shape[1];
    const int32_t *group = detect_optional(a, GROUP);
    for (int64_t n = 0; n < pictures; n++) {
        suppression s = {.attrs = attrs,
                         .boxes = detect_picture(a->inputs[0], n),
                         .scores = (const float *)a->inputs[1]->data + n * rows,
                         .group = group ? group + n * rows : NULL,
                         .keys = a->workspace};
        CVR_TRY(detect_valid("nms", detect_optional(a, VALID), n, rows, &s.rows, err));
        const int64_t candidates = list_candidates(&s);
        choose_method(&s, candidates);
        ((int32_t *)a->outputs[1]->data)[n] =
            suppress(&s, candidates, (int32_t *)a->outputs[0]->data + n * attrs->max_out);
    }
    return CVR_OK;
}

static uint64_t nms_workspace(const cvr_signature *sig) {
    return 8 * (uint64_t)sig->inputs[1]->shape[1];
}

/* At least every candidate against one that is kept. */
static double nms_flops(const cvr_infer_args *a) {
    return 12.0 * (double)cvr_numel(2, a->inputs[1]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "nms",
            .version = 1,
            .trait = detect_nms_traits,
            .min_inputs = 2,
            .max_inputs = 4,
            .n_outputs = 2,
            .n_attrs = 8,
            .attrs = nms_attrs,
            .optional = 1u << GROUP | 1u << VALID,
            .infer = nms_infer,
            .flops = nms_flops,
            .doc = "the boxes of highest score that do not overlap each other"},
     .reference = {sizeof(cvr_cpu_fn), nms_run},
     .workspace = nms_workspace},
};

const detect_family detect_nms = DETECT_FAMILY(ops);
