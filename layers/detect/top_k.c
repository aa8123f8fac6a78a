/* The k largest of each picture's numbers, in falling order: torch.topk, with equal ones by index. */
#include "detect_family.h"

static const cvr_attr_desc *const top_attrs[] = {
    CVR_ATTR(INT, "k", NULL, "how many", CVR_ATTR_AT_LEAST(1)),
    CVR_ATTR(BOOL, "above", "no", "only those above `threshold`"),
    CVR_ATTR(FLOAT, "threshold", "0", "what they must exceed"),
};

/* x (N,P) -> values (N,k), index (N,k) i32, count (N) i32 */
static int32_t top_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[2] = {-1, -1};
    const cvr_top_k_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    CVR_TRY(detect_check("top_k", a, 0, CVR_F32, 2, any, err));
    const int64_t shape[2] = {x->shape[0], attrs->k};
    if (attrs->k < 1 || attrs->k > x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "top_k: k is %lld; it must be in 1..%lld, the numbers that there are",
                        (long long)attrs->k, (long long)x->shape[1]);
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    cvr_type_set(a->outputs[1], CVR_I32, 2, shape);
    cvr_type_set(a->outputs[2], CVR_I32, 1, shape);
    return detect_check_rows("top_k", x->shape[1], err);
}

static int32_t top_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_top_k_attrs *attrs = a->attrs;
    const int64_t pictures = a->inputs[0]->shape[0], columns = a->inputs[0]->shape[1], k = attrs->k;
    uint64_t *keys = a->workspace;
    (void)err;
    for (int64_t n = 0; n < pictures; n++) {
        const float *x = (const float *)a->inputs[0]->data + n * columns;
        float *values = (float *)a->outputs[0]->data + n * k;
        int32_t *index = (int32_t *)a->outputs[1]->data + n * k;
        int64_t found = 0;
        for (int64_t i = 0; i < columns; i++)
            if (!attrs->above || x[i] > (float)attrs->threshold) keys[found++] = cvr_score_key(x[i], (uint32_t)i);
        detect_sort(keys, found);
        found = found < k ? found : k;
        for (int64_t i = 0; i < k; i++) {
            index[i] = i < found ? (int32_t)cvr_score_key_row(keys[i]) : -1;
            values[i] = i < found ? x[index[i]] : 0;
        }
        ((int32_t *)a->outputs[2]->data)[n] = (int32_t)found;
    }
    return CVR_OK;
}

static uint64_t top_workspace(const cvr_signature *sig) {
    return 8 * (uint64_t)sig->inputs[0]->shape[1];
}

static double top_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(2, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "top_k",
            .version = 1,
            .trait = detect_top_k_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 3,
            .n_attrs = 3,
            .attrs = top_attrs,
            .infer = top_infer,
            .flops = top_flops,
            .doc = "the k largest numbers of each picture, in falling order, equal ones by index"},
     .reference = {sizeof(cvr_cpu_fn), top_run},
     .workspace = top_workspace},
};

const detect_family detect_top_k = DETECT_FAMILY(ops);
