/* Two lists of rows for each picture as one, what counts of both in front: proposals, and the objects themselves that
 * are proposals while a network is trained (Ren et al., "Faster R-CNN", 2015). */
#include "detect_family.h"

/* a (N,P,K), count (N) i32, b (N,M,K), counts (N) i64 -> (N,P+M,K), count (N) i32 */
static int32_t append_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[3] = {-1, -1, -1};
    const cvr_type *first = a->inputs[0], *second = a->inputs[2];
    CVR_TRY(detect_check("append_rows", a, 0, CVR_F32, 3, any, err));
    CVR_TRY(detect_check("append_rows", a, 1, CVR_I32, 1, first->shape, err));
    const int64_t same[3] = {first->shape[0], -1, first->shape[2]};
    CVR_TRY(detect_check("append_rows", a, 2, CVR_F32, 3, same, err));
    CVR_TRY(detect_check("append_rows", a, 3, CVR_I64, 1, first->shape, err));
    CVR_TRY(detect_check_rows("append_rows", first->shape[1], err));
    CVR_TRY(detect_check_rows("append_rows", first->shape[1] + second->shape[1], err));
    const int64_t shape[3] = {first->shape[0], first->shape[1] + second->shape[1], first->shape[2]};
    cvr_type_set(a->outputs[0], CVR_F32, 3, shape);
    cvr_type_set(a->outputs[1], CVR_I32, 1, shape);
    return CVR_OK;
}

static int32_t append_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->outputs[0]->shape;
    const int64_t row = shape[2], most[2] = {a->inputs[0]->shape[1], a->inputs[2]->shape[1]};
    for (int64_t n = 0; n < shape[0]; n++) {
        float *out = (float *)a->outputs[0]->data + n * shape[1] * row;
        int64_t first, second;
        CVR_TRY(detect_valid("append_rows", a->inputs[1]->data, n, most[0], &first, err));
        CVR_TRY(detect_count("append_rows", a->inputs[3]->data, n, most[1], &second, err));
        memset(out, 0, (size_t)(shape[1] * row) * sizeof *out);
        memcpy(out, detect_picture(a->inputs[0], n), (size_t)(first * row) * sizeof *out);
        memcpy(out + first * row, detect_picture(a->inputs[2], n), (size_t)(second * row) * sizeof *out);
        ((int32_t *)a->outputs[1]->data)[n] = (int32_t)(first + second);
    }
    return CVR_OK;
}

static const cvr_counts_trait append_counts = {sizeof append_counts, 1u << 2, 0};
CVR_DEFINE_TRAITS(append_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &append_counts})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "append_rows",
            .version = 1,
            .trait = append_traits,
            .min_inputs = 4,
            .max_inputs = 4,
            .n_outputs = 2,
            .infer = append_infer,
            .doc = "the rows that count of two lists, one after the other"},
     .reference = {sizeof(cvr_cpu_fn), append_run}},
};

const detect_family detect_append_rows = DETECT_FAMILY(ops);
