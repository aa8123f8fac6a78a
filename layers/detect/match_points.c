/* Which object each point stands for, by where it lies in it and by the object's size (Tian et al., "FCOS", 2019). */
#include "detect_family.h"

static const cvr_attr_desc *const points_attrs[] = {
    CVR_ATTR(FLOAT, "radius", "1.5", "of centre sampling, in sides of the anchor", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INTS, "level_ends", NULL, "anchors before the end of each level", .count = 8, CVR_ATTR_AT_LEAST(0)),
};

/* anchors (A,4), boxes (N,M,4), counts (N) i64 -> (N,A) i32 */
static int32_t points_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t one[2] = {-1, 4}, many[3] = {-1, -1, 4};
    const cvr_match_points_attrs *attrs = a->attrs;
    CVR_TRY(detect_check("match_points", a, 0, CVR_F32, 2, one, err));
    CVR_TRY(detect_check("match_points", a, 1, CVR_F32, 3, many, err));
    CVR_TRY(detect_check("match_points", a, 2, CVR_I64, 1, a->inputs[1]->shape, err));
    const int64_t shape[2] = {a->inputs[1]->shape[0], a->inputs[0]->shape[0]};
    int64_t end = 0;
    for (int64_t i = 0; i < attrs->n_levels; i++) {
        if (attrs->level_ends[i] < end) return cvr_fail(err, CVR_ERR_INVALID, "match_points: level_ends must rise");
        end = attrs->level_ends[i];
    }
    if (end != shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "match_points: the last level ends at %lld; there are %lld anchors",
                        (long long)end, (long long)shape[1]);
    cvr_type_set(a->outputs[0], CVR_I32, 2, shape);
    CVR_TRY(detect_check_rows("match_points", shape[1], err));
    return detect_check_rows("match_points", a->inputs[1]->shape[1], err);
}

static float larger(float a, float b) {
    return a > b ? a : b;
}

/* Objects whose longest distance from the point is within these are the level's own. */
typedef struct extent {
    float from, to;
} extent;

static int is_candidate(const float *anchor, const float *box, float radius, extent e) {
    const float x = (anchor[0] + anchor[2]) / 2, y = (anchor[1] + anchor[3]) / 2;
    const float dx = fabsf(x - (box[0] + box[2]) / 2), dy = fabsf(y - (box[1] + box[3]) / 2);
    const float l = x - box[0], t = y - box[1], r = box[2] - x, b = box[3] - y;
    const float farthest = larger(larger(l, t), larger(r, b));
    if (!(larger(dx, dy) < radius * (anchor[2] - anchor[0]))) return 0;
    return l > 0 && t > 0 && r > 0 && b > 0 && farthest > e.from && farthest < e.to;
}

/* The candidate of the smallest area: of the largest float(1e8 - area), which has to be above 0. */
static int32_t best_object(const float *anchor, const float *objects, int64_t n, float radius, extent e) {
    int32_t best = CVR_MATCH_BACKGROUND;
    float largest = 0;
    for (int64_t k = 0; k < n; k++) {
        const float v = 1e8f - cvr_box_area(objects + 4 * k);
        if (!(v >= 1e-5f) || !(v > largest) || !is_candidate(anchor, objects + 4 * k, radius, e)) continue;
        largest = v;
        best = (int32_t)k;
    }
    return best;
}

static int32_t points_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_match_points_attrs *attrs = a->attrs;
    const int64_t pictures = a->outputs[0]->shape[0], rows = a->outputs[0]->shape[1], most = a->inputs[1]->shape[1];
    const float *anchors = a->inputs[0]->data;
    int32_t *match = a->outputs[0]->data;
    for (int64_t n = 0; n < pictures; n++) {
        int64_t count, level = 0;
        CVR_TRY(detect_count("match_points", a->inputs[2]->data, n, most, &count, err));
        for (int64_t i = 0; i < rows; i++) {
            while (i >= attrs->level_ends[level]) level++;
            const float side = anchors[4 * i + 2] - anchors[4 * i];
            const extent e = {level ? side * 4 : 0, level + 1 < attrs->n_levels ? side * 8 : INFINITY};
            *match++ = best_object(anchors + 4 * i, detect_picture(a->inputs[1], n), count, (float)attrs->radius, e);
        }
    }
    return CVR_OK;
}

static double points_flops(const cvr_infer_args *a) {
    return 20.0 * (double)cvr_numel(2, a->outputs[0]->shape) * (double)a->inputs[1]->shape[1];
}

static const cvr_counts_trait points_counts = {sizeof points_counts, 1u << 1, 0};
CVR_DEFINE_TRAITS(points_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &points_counts})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "match_points",
            .version = 1,
            .trait = points_traits,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = points_attrs,
            .infer = points_infer,
            .flops = points_flops,
            .doc = "the smallest object of the level's size about each point (Tian et al., 2019)"},
     .reference = {sizeof(cvr_cpu_fn), points_run}},
};

const detect_family detect_match_points = DETECT_FAMILY(ops);
