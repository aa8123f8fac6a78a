/* The ops that calibrate (ops/peak.h) and their reference kernels: the plugin "layer_peak". */
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/peak.h>
#include <cvr/plugin/ops/reference.h>

#define ROWS CVR_PEAK_ROWS
#define DEPTH CVR_PEAK_DEPTH

static const cvr_attr_desc links_attr =
    CVR_ATTR_INIT(INT, "links", "1", "products that are added up", CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc *const multiply_add_attrs[] = {&links_attr};

/* x (B,16,32) -> y (B,16,16) */
static int32_t multiply_add_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    const int64_t shape[3] = {x->shape[0], ROWS, ROWS};
    if (x->dtype != CVR_F32 || x->rank != 3 || x->shape[1] != ROWS || x->shape[2] != DEPTH)
        return cvr_fail(err, CVR_ERR_INVALID, "peak_multiply_add: the input is %s; it must be f32, (B,%d,%d)",
                        cvr_shape_of(x).text, ROWS, DEPTH);
    cvr_type_set(a->outputs[0], CVR_F32, 3, shape);
    return CVR_OK;
}

static double multiply_add_flops(const cvr_infer_args *a) {
    const cvr_peak_multiply_add_attrs *attrs = a->attrs;
    return 2.0 * ROWS * ROWS * DEPTH * (double)attrs->links * (double)a->inputs[0]->shape[0];
}

/* The sums are double, so that they are exact whatever order a kernel takes. */
static int32_t multiply_add_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_peak_multiply_add_attrs *attrs = a->attrs;
    float *y = a->outputs[0]->data;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * ROWS * ROWS; i++) {
        const float *block = (const float *)a->inputs[0]->data + i / (ROWS * ROWS) * ROWS * DEPTH;
        const float *row = block + i / ROWS % ROWS * DEPTH, *column = block + i % ROWS * DEPTH;
        double sum = 0;
        for (int64_t link = 0; link < attrs->links; link++)
            for (int k = 0; k < DEPTH; k++) sum += (double)row[k] * (double)column[k];
        y[i] = (float)sum;
    }
    return CVR_OK;
}

static int32_t copy_infer(const cvr_infer_args *a, cvr_error *err) {
    (void)err;
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t copy_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0];
    memcpy(a->outputs[0]->data, x->data, (size_t)cvr_numel(x->rank, x->shape) * cvr_dtype_size(x->dtype));
    return CVR_OK;
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "peak_multiply_add",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = multiply_add_attrs,
            .infer = multiply_add_infer,
            .flops = multiply_add_flops,
            .doc = "y[b] = links * x[b] x[b]^T, link by link: the most multiply-adds a second, for calibration"},
     .reference = {sizeof(cvr_cpu_fn), multiply_add_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "peak_copy",
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = copy_infer,
            .doc = "y = x: the most bytes a second, for calibration"},
     .reference = {sizeof(cvr_cpu_fn), copy_run}},
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return cvr_add_reference_ops(r, ops, sizeof ops / sizeof *ops, err);
}

CVR_DEFINE_PLUGIN("layer_peak", "0.1.0", "", load)
