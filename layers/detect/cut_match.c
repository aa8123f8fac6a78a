/* A match whose rows past a picture's count stand for nothing: rows that only fill a sample up carry no loss. */
#include "detect_family.h"

/* match (N,A) i32, count (N) i32 -> (N,A) */
static int32_t cut_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[2] = {-1, -1};
    *a->outputs[0] = *a->inputs[0];
    CVR_TRY(detect_check("cut_match", a, 0, CVR_I32, 2, any, err));
    return detect_check("cut_match", a, 1, CVR_I32, 1, a->inputs[0]->shape, err);
}

static int32_t cut_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0], rows = a->inputs[0]->shape[1];
    for (int64_t n = 0; n < pictures; n++) {
        const int32_t *from = (const int32_t *)a->inputs[0]->data + n * rows;
        int32_t *to = (int32_t *)a->outputs[0]->data + n * rows;
        int64_t count;
        CVR_TRY(detect_valid("cut_match", a->inputs[1]->data, n, rows, &count, err));
        for (int64_t i = 0; i < rows; i++) to[i] = i < count ? from[i] : CVR_MATCH_BETWEEN;
    }
    return CVR_OK;
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "cut_match",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = cut_infer,
            .doc = "a match whose rows past a count stand for nothing"},
     .reference = {sizeof(cvr_cpu_fn), cut_run}},
};

const detect_family detect_cut_match = DETECT_FAMILY(ops);
