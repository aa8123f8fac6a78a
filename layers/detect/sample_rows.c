/*
 * A sample of rows that has objects and background in a fixed proportion: torchvision's BalancedPositiveNegativeSampler
 * (Ren et al., "Faster R-CNN", 2015), with counter-based random numbers in place of permutations.
 */
#include "detect_family.h"
#include <cvr/plugin/rng.h>

static const cvr_attr_desc *const sample_attrs[] = {
    CVR_ATTR(INT, "rows", NULL, "of a picture's sample", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(FLOAT, "positive_fraction", NULL, "most rows with an object, a share of the sample",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(CHOICE, "draw", "random", "which rows are taken", .choices = "random|first"),
    CVR_ATTR(INT, "key", "0", "tells this layer's numbers from another's"),
};

/* match (N,A) i32, seed () i64, step () i64 -> index (N,B) i32, count (N) i32 */
static int32_t sample_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[2] = {-1, -1};
    const cvr_sample_rows_attrs *attrs = a->attrs;
    const cvr_type *match = a->inputs[0];
    CVR_TRY(detect_check("sample_rows", a, 0, CVR_I32, 2, any, err));
    CVR_TRY(detect_check("sample_rows", a, 1, CVR_I64, 0, any, err));
    CVR_TRY(detect_check("sample_rows", a, 2, CVR_I64, 0, any, err));
    if (attrs->rows < 1 || attrs->rows > INT32_MAX || !(attrs->positive_fraction >= 0 && attrs->positive_fraction <= 1))
        return cvr_fail(err, CVR_ERR_INVALID, "sample_rows: %lld rows, a share of %g of them positive",
                        (long long)attrs->rows, attrs->positive_fraction);
    const int64_t shape[2] = {match->shape[0], attrs->rows};
    cvr_type_set(a->outputs[0], CVR_I32, 2, shape);
    cvr_type_set(a->outputs[1], CVR_I32, 1, shape);
    return detect_check_rows("sample_rows", match->shape[1], err);
}

/* The numbers that decide, of the rows of one picture. */
typedef struct sampling {
    const int32_t *match;
    int64_t rows, first; /* `first`: the picture's first row, counted over all pictures */
    uint64_t key, step;
    int64_t draw;
} sampling;

/* Rows with small numbers are taken first; no two rows of a picture have the same. */
static uint64_t rank_of(const sampling *s, int64_t row) {
    uint32_t r[4];
    const uint64_t i = (uint64_t)(s->first + row);
    if (s->draw == CVR_DRAW_FIRST) return (uint64_t)row;
    cvr_philox(s->key, s->step, i / 4, r);
    return (uint64_t)r[i % 4] << 32 | (uint64_t)row;
}

static int is_of_kind(int32_t match, int positive) {
    return positive ? match >= 0 : match == CVR_MATCH_BACKGROUND;
}

/* The largest number among the `most` smallest of one kind of rows, and how many of them there are. */
static int64_t limit_of(const sampling *s, int positive, int64_t most, uint64_t *keys, uint64_t *limit) {
    int64_t n = 0;
    for (int64_t i = 0; i < s->rows; i++)
        if (is_of_kind(s->match[i], positive)) keys[n++] = rank_of(s, i);
    const int64_t taken = n < most ? n : most;
    detect_sort(keys, n);
    *limit = taken ? keys[taken - 1] : 0;
    return taken;
}

static int32_t sample_picture(const sampling *s, const cvr_sample_rows_attrs *attrs, uint64_t *keys, int32_t *index) {
    uint64_t limits[2];
    int64_t taken[2], n = 0;
    taken[1] = limit_of(s, 1, (int64_t)((double)attrs->rows * attrs->positive_fraction), keys, &limits[1]);
    taken[0] = limit_of(s, 0, attrs->rows - taken[1], keys, &limits[0]);
    for (int64_t i = 0; i < s->rows; i++) {
        const int positive = s->match[i] >= 0;
        if (!is_of_kind(s->match[i], positive) || !taken[positive] || rank_of(s, i) > limits[positive]) continue;
        index[n++] = (int32_t)i;
    }
    for (int64_t i = n; i < attrs->rows; i++) index[i] = n ? index[i - n] : 0;
    return (int32_t)n;
}

static int32_t sample_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_sample_rows_attrs *attrs = a->attrs;
    const int64_t pictures = a->inputs[0]->shape[0], rows = a->inputs[0]->shape[1];
    const int64_t seed = *(const int64_t *)a->inputs[1]->data, step = *(const int64_t *)a->inputs[2]->data;
    (void)err;
    for (int64_t n = 0; n < pictures; n++) {
        const sampling s = {.match = (const int32_t *)a->inputs[0]->data + n * rows,
                            .rows = rows,
                            .first = n * rows,
                            .key = cvr_rng_mix((uint64_t)seed, (uint64_t)attrs->key),
                            .step = (uint64_t)step,
                            .draw = attrs->draw};
        ((int32_t *)a->outputs[1]->data)[n] =
            sample_picture(&s, attrs, a->workspace, (int32_t *)a->outputs[0]->data + n * attrs->rows);
    }
    return CVR_OK;
}

static uint64_t sample_workspace(const cvr_signature *sig) {
    return 8 * (uint64_t)sig->inputs[0]->shape[1];
}

static double sample_flops(const cvr_infer_args *a) {
    return 40.0 * (double)cvr_numel(2, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "sample_rows",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 2,
            .n_attrs = 4,
            .attrs = sample_attrs,
            .infer = sample_infer,
            .flops = sample_flops,
            .doc = "rows with an object and background in a fixed proportion (Ren et al., 2015)"},
     .reference = {sizeof(cvr_cpu_fn), sample_run},
     .workspace = sample_workspace},
};

const detect_family detect_sample_rows = DETECT_FAMILY(ops);
