/* Boxes as differences from anchors, and back (Girshick et al., 2014; FCOS: Tian et al., 2019). Formulas in
 * ops/detect_math.h. */
#include "detect_family.h"

static const cvr_attr_desc *const coder_attrs[] = {
    CVR_ATTR(CHOICE, "coder", "center", "differences of centres and sides, or distances to the sides",
             .choices = "center|ltrb|center_open"),
    CVR_ATTR(FLOAT, "weights", "1", "factors of dx, dy, dw, dh", .count = 4),
};

static int32_t check_coder(const char *op, const cvr_box_coder_attrs *c, cvr_error *err) {
    if (c->coder == CVR_CODER_LTRB) return CVR_OK;
    for (int i = 0; i < 4; i++)
        if (!(c->weights[i] > 0))
            return cvr_fail(err, CVR_ERR_INVALID, "%s: weights[%d] is %g; it must be above 0", op, i, c->weights[i]);
    return CVR_OK;
}

/* boxes (N,A,4), anchors -> (N,A,4) */
static int32_t encode_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t shape[3] = {-1, -1, 4};
    const cvr_type *boxes = a->inputs[0];
    CVR_TRY(detect_check("encode_boxes", a, 0, CVR_F32, 3, shape, err));
    CVR_TRY(detect_check_anchors("encode_boxes", a, 1, boxes->shape[0], boxes->shape[1], err));
    cvr_type_set(a->outputs[0], CVR_F32, 3, boxes->shape);
    return check_coder("encode_boxes", a->attrs, err);
}

/* deltas (N,A,4*K), anchors, [grad] -> the same */
static int32_t check_decode(const char *op, const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[3] = {-1, -1, -1};
    const cvr_type *deltas = a->inputs[0];
    CVR_TRY(detect_check(op, a, 0, CVR_F32, 3, any, err));
    CVR_TRY(detect_check_anchors(op, a, 1, deltas->shape[0], deltas->shape[1], err));
    if (deltas->shape[2] % 4)
        return cvr_fail(err, CVR_ERR_INVALID, "%s: the deltas are %s; the last axis is no multiple of 4", op,
                        cvr_shape_of(deltas).text);
    cvr_type_set(a->outputs[0], CVR_F32, 3, deltas->shape);
    return check_coder(op, a->attrs, err);
}

static int32_t decode_infer(const cvr_infer_args *a, cvr_error *err) {
    return check_decode("decode_boxes", a, err);
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_decode("decode_boxes_backward", a, err));
    return detect_check("decode_boxes_backward", a, 2, CVR_F32, 3, a->inputs[0]->shape, err);
}

static int32_t decode_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value in[3] = {a->inputs[0], a->inputs[1], a->grad_outputs[0]};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    return cvr_emit(b, "decode_boxes_backward", a->attrs, sizeof(cvr_box_coder_attrs), in, 3, &a->grad_inputs[0], err);
}

static int32_t encode_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->inputs[0]->shape;
    (void)err;
    for (int64_t i = 0; i < shape[0] * shape[1]; i++)
        cvr_box_encode(a->attrs, (const float *)a->inputs[0]->data + 4 * i,
                       detect_picture(a->inputs[1], i / shape[1]) + 4 * (i % shape[1]),
                       (float *)a->outputs[0]->data + 4 * i);
    return CVR_OK;
}

static int32_t decode_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->inputs[0]->shape, columns = shape[2];
    const float *delta = a->inputs[0]->data;
    float *box = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) {
        const float *anchor = detect_picture(a->inputs[1], i / shape[1]) + 4 * (i % shape[1]);
        for (int64_t k = 0; k < columns; k += 4)
            cvr_box_decode(a->attrs, delta + i * columns + k, anchor, box + i * columns + k);
    }
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->inputs[0]->shape, columns = shape[2];
    const float *delta = a->inputs[0]->data, *grad = a->inputs[2]->data;
    float *ddelta = a->outputs[0]->data;
    (void)err;
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) {
        const float *anchor = detect_picture(a->inputs[1], i / shape[1]) + 4 * (i % shape[1]);
        for (int64_t k = i * columns; k < (i + 1) * columns; k += 4)
            cvr_box_decode_backward(a->attrs, delta + k, anchor, grad + k, ddelta + k);
    }
    return CVR_OK;
}

/* About 6 operations a number, an exponential or a logarithm for half of them. */
static double coder_flops(const cvr_infer_args *a) {
    return 10.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "encode_boxes",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = coder_attrs,
            .infer = encode_infer,
            .flops = coder_flops,
            .doc = "boxes as differences from anchors"},
     .reference = {sizeof(cvr_cpu_fn), encode_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "decode_boxes",
            .version = 1,
            .trait = detect_decode_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = coder_attrs,
            .infer = decode_infer,
            .grad = decode_grad,
            .flops = coder_flops,
            .doc = "boxes from differences and anchors"},
     .reference = {sizeof(cvr_cpu_fn), decode_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "decode_boxes_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = coder_attrs,
            .infer = backward_infer,
            .flops = coder_flops,
            .doc = "gradient of decode_boxes for the differences"},
     .reference = {sizeof(cvr_cpu_fn), backward_run}},
};

const detect_family detect_box_coder = DETECT_FAMILY(ops);
