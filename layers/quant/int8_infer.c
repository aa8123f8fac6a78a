/* Shape rules of the ops on integers: those of the ops whose place they take. */
#include "quant_family.h"

/* `rank` 0: any */
static int32_t check_input(const cvr_infer_args *a, uint32_t i, uint32_t dtype, uint32_t rank, const char *what,
                           cvr_error *err) {
    const cvr_type *t = i < a->n_inputs ? a->inputs[i] : NULL;
    char axes[32] = "";
    if (t && t->dtype == dtype && (rank == 0 || t->rank == rank)) return CVR_OK;
    if (rank) (void)snprintf(axes, sizeof axes, " of %u axes", rank);
    return cvr_fail(err, CVR_ERR_INVALID, "%s must be %s%s; it is %s %s", what, cvr_dtype_name(dtype), axes,
                    t ? cvr_dtype_name(t->dtype) : "absent", t ? cvr_shape_of(t).text : "");
}

static int32_t check_requant(const cvr_requant *q, cvr_error *err) {
    const int64_t zeros[3] = {q->x_zero, q->b_zero, q->y_zero};
    CVR_TRY(quant_check_scale("x_scale", q->x_scale, err));
    CVR_TRY(quant_check_scale("b_scale", q->b_scale, err));
    CVR_TRY(quant_check_scale("y_scale", q->y_scale, err));
    for (int i = 0; i < 3; i++)
        if (zeros[i] < 0 || zeros[i] > 255)
            return cvr_fail(err, CVR_ERR_INVALID, "a zero point of %lld is no u8", (long long)zeros[i]);
    return CVR_OK;
}

/* weight_scale (K), [bias (K)], and no more terms than fit a sum of 32 bits */
static int32_t check_rows(const cvr_infer_args *a, int64_t rows, int64_t terms, cvr_error *err) {
    CVR_TRY(check_input(a, 2, CVR_F32, 1, "weight_scale", err));
    const cvr_type *bias = a->n_inputs > 3 ? a->inputs[3] : NULL;
    if (bias) CVR_TRY(check_input(a, 3, CVR_I32, 1, "bias", err));
    if (a->inputs[2]->shape[0] != rows || (bias && bias->shape[0] != rows))
        return cvr_fail(err, CVR_ERR_INVALID, "weight_scale and bias must have %lld elements", (long long)rows);
    if (terms <= CVR_INT8_MOST_TERMS) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "sums of %lld products, where 32 bits hold %d; leave the layer in f32",
                    (long long)terms, CVR_INT8_MOST_TERMS);
}

static int32_t set_windows(const cvr_type *x, const cvr_window w[2], int64_t channels, cvr_type *y, cvr_error *err) {
    int64_t out[2];
    for (int i = 0; i < 2; i++) {
        out[i] = cvr_window_count(x->shape[2 + i], &w[i]);
        if (out[i] < 1)
            return cvr_fail(err, CVR_ERR_INVALID, "windows of %lld,%lld do not fit into x %s", (long long)w[0].kernel,
                            (long long)w[1].kernel, cvr_shape_of(x).text);
    }
    cvr_type_set(y, CVR_U8, 4, (const int64_t[]){x->shape[0], channels, out[0], out[1]});
    return CVR_OK;
}

/* x (N,C,H,W), weight (K,C/groups,R,S), weight_scale (K), [bias (K)] -> (N,K,P,Q) */
int32_t int8_conv_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_int8_attrs *attrs = a->attrs;
    const cvr_conv2d_attrs *c = &attrs->conv;
    cvr_window w[2];
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_input(a, 1, CVR_I8, 4, "weight", err));
    CVR_TRY(check_requant(&attrs->q, err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    if (c->groups < 1 || x->shape[1] % c->groups || weight->shape[0] % c->groups ||
        weight->shape[1] != x->shape[1] / c->groups)
        return cvr_fail(err, CVR_ERR_INVALID, "weight %s does not fit x %s in %lld groups", cvr_shape_of(weight).text,
                        cvr_shape_of(x).text, (long long)c->groups);
    CVR_TRY(check_rows(a, weight->shape[0], cvr_numel(3, &weight->shape[1]), err));
    for (int i = 0; i < 2; i++)
        w[i] = (cvr_window){weight->shape[2 + i], c->stride[i], c->padding[i], c->dilation[i], 0};
    return set_windows(x, w, weight->shape[0], a->outputs[0], err);
}

/* x (N,C,H,W), weight (C,K,R,S), weight_scale (K), [bias (K)] -> (N,K,P,Q) */
int32_t int8_transposed_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv_transpose2d_int8_attrs *attrs = a->attrs;
    const cvr_conv2d_attrs *c = &attrs->conv.conv;
    int64_t out[2];
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_input(a, 1, CVR_I8, 4, "weight", err));
    CVR_TRY(check_requant(&attrs->q, err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    if (c->groups != 1 || weight->shape[0] != x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "weight %s does not fit x %s in one group", cvr_shape_of(weight).text,
                        cvr_shape_of(x).text);
    const int64_t terms[3] = {weight->shape[0], weight->shape[2], weight->shape[3]};
    CVR_TRY(check_rows(a, weight->shape[1], cvr_numel(3, terms), err));
    for (int i = 0; i < 2; i++) {
        const cvr_window w = {weight->shape[2 + i], c->stride[i], c->padding[i], c->dilation[i], 0};
        const int64_t limit = w.stride > w.dilation ? w.stride : w.dilation;
        out[i] = attrs->conv.output_padding[i] < limit
                     ? cvr_window_transposed(x->shape[2 + i], &w, attrs->conv.output_padding[i])
                     : 0;
        if (out[i] < 1)
            return cvr_fail(err, CVR_ERR_INVALID, "x %s and weight %s leave no output with this padding",
                            cvr_shape_of(x).text, cvr_shape_of(weight).text);
    }
    cvr_type_set(a->outputs[0], CVR_U8, 4, (const int64_t[]){x->shape[0], weight->shape[1], out[0], out[1]});
    return CVR_OK;
}

/* x (...,I), weight (O,I), weight_scale (O), [bias (O)] -> (...,O) */
int32_t int8_linear_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_input(a, 0, CVR_U8, 0, "x", err));
    CVR_TRY(check_input(a, 1, CVR_I8, 2, "weight", err));
    CVR_TRY(check_requant(a->attrs, err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    const int order = memcmp(weight->order, x->order, sizeof x->order) == 0;
    if (x->rank < 2 || x->rank == 4 || x->shape[x->rank - 1] != weight->shape[1] || (x->rank == 2 && !order))
        return cvr_fail(err, CVR_ERR_INVALID, "weight %s does not fit x %s", cvr_shape_of(weight).text,
                        cvr_shape_of(x).text);
    CVR_TRY(check_rows(a, weight->shape[0], weight->shape[1], err));
    cvr_type_set(a->outputs[0], CVR_U8, x->rank, x->shape);
    a->outputs[0]->shape[x->rank - 1] = weight->shape[0];
    if (x->rank != 2) memcpy(a->outputs[0]->order, x->order, sizeof x->order);
    return CVR_OK;
}

/* a, b of one shape */
int32_t int8_add_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *b = a->inputs[1];
    CVR_TRY(check_requant(a->attrs, err));
    if (x->dtype != CVR_U8 || b->dtype != CVR_U8 || x->rank != b->rank ||
        memcmp(x->shape, b->shape, sizeof x->shape) != 0 || memcmp(x->order, b->order, sizeof x->order) != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "add_int8: the two inputs must be u8 and of one shape");
    *a->outputs[0] = *x;
    return CVR_OK;
}

int32_t int8_max_pool_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_max_pool2d_int8_attrs *attrs = a->attrs;
    const cvr_max_pool2d_attrs *p = &attrs->pool;
    cvr_window w[2];
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_requant(&attrs->q, err));
    for (int i = 0; i < 2; i++)
        w[i] = (cvr_window){p->kernel_size[i], p->stride[i], p->padding[i], p->dilation[i], p->ceil_mode};
    return set_windows(a->inputs[0], w, a->inputs[0]->shape[1], a->outputs[0], err);
}

int32_t int8_avg_pool_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_avg_pool2d_int8_attrs *attrs = a->attrs;
    const cvr_avg_pool2d_attrs *p = &attrs->pool;
    cvr_window w[2];
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_requant(&attrs->q, err));
    for (int i = 0; i < 2; i++) w[i] = (cvr_window){p->kernel_size[i], p->stride[i], p->padding[i], 1, p->ceil_mode};
    return set_windows(a->inputs[0], w, a->inputs[0]->shape[1], a->outputs[0], err);
}

int32_t int8_adaptive_pool_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_adaptive_avg_pool2d_int8_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_requant(&attrs->q, err));
    const cvr_type *x = a->inputs[0];
    for (int i = 0; i < 2; i++)
        if (attrs->pool.size[i] < 1 || attrs->pool.size[i] > INT32_MAX || x->shape[2 + i] > INT32_MAX)
            return cvr_fail(err, CVR_ERR_INVALID, "output_size must be at least 1, and no axis may pass 2^31");
    /* Sums of u8 must fit 32 bits. */
    if (x->shape[2] / attrs->pool.size[0] + 2 > (1 << 22) / (x->shape[3] / attrs->pool.size[1] + 2))
        return cvr_fail(err, CVR_ERR_INVALID, "means over more than 2^22 pixels; leave the layer in f32");
    cvr_type_set(a->outputs[0], CVR_U8, 4,
                 (const int64_t[]){x->shape[0], x->shape[1], attrs->pool.size[0], attrs->pool.size[1]});
    return CVR_OK;
}

int32_t int8_upsample_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_upsample_int8_attrs *attrs = a->attrs;
    const cvr_upsample_attrs *u = &attrs->upsample;
    CVR_TRY(check_input(a, 0, CVR_U8, 4, "x", err));
    CVR_TRY(check_requant(&attrs->q, err));
    const cvr_type *x = a->inputs[0];
    for (int i = 0; i < 2; i++)
        if (u->size[i] < 1 || !(u->scale_factor[i] >= 0) || isinf(u->scale_factor[i]))
            return cvr_fail(err, CVR_ERR_INVALID, "it needs sizes of at least 1 and finite scale factors");
    cvr_type_set(a->outputs[0], CVR_U8, 4, (const int64_t[]){x->shape[0], x->shape[1], u->size[0], u->size[1]});
    return CVR_OK;
}

int32_t int8_requantize_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_input(a, 0, CVR_U8, 0, "x", err));
    CVR_TRY(check_requant(a->attrs, err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

/* q (N,L,D), k and v (N,S,D) */
int32_t int8_attention_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_attention_int8_attrs *attrs = a->attrs;
    const int64_t heads = attrs->attention.num_heads;
    CVR_TRY(check_requant(&attrs->q, err));
    CVR_TRY(check_input(a, 0, CVR_U8, 3, "q", err));
    CVR_TRY(check_input(a, 1, CVR_U8, 3, "k", err));
    CVR_TRY(check_input(a, 2, CVR_U8, 3, "v", err));
    const cvr_type *q = a->inputs[0], *k = a->inputs[1], *v = a->inputs[2];
    if (q->shape[0] != k->shape[0] || q->shape[2] != k->shape[2] || k->shape[1] < 1 ||
        memcmp(k->shape, v->shape, sizeof k->shape) != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "attention takes q (N,L,D), k and v (N,S,D); these are %s, %s and %s",
                        cvr_shape_of(q).text, cvr_shape_of(k).text, cvr_shape_of(v).text);
    if (heads < 1 || q->shape[2] < 1 || q->shape[2] % heads != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "num_heads=%lld must divide the %lld features", (long long)heads,
                        (long long)q->shape[2]);
    if (q->shape[2] / heads > CVR_ATTENTION_INT8_FEATURES || k->shape[1] > CVR_ATTENTION_INT8_KEYS)
        return cvr_fail(err, CVR_ERR_INVALID, "heads of more than %d features or more than %d keys; leave it in f32",
                        CVR_ATTENTION_INT8_FEATURES, CVR_ATTENTION_INT8_KEYS);
    *a->outputs[0] = *q;
    return CVR_OK;
}
