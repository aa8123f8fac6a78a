/* Ops on rows, which may be any axes of a tensor: softmax and norms, by rows_softmax.k and rows_norm.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/norm.h>

rows_params device_rows_of(const cvr_tensor *x, uint32_t axes) {
    rows_params p = {.x = device_address(x->data), .weight_groups = 1};
    uint32_t steps[CVR_MAX_RANK], number[CVR_MAX_RANK] = {0}, element[CVR_MAX_RANK] = {0}, own[CVR_MAX_RANK];
    int64_t outer[CVR_MAX_RANK], inner[CVR_MAX_RANK], part[CVR_MAX_RANK];
    uint32_t n = 0;
    device_steps(x->rank, x->shape, steps);
    p.rows = p.terms = 1;
    for (uint32_t i = x->rank; i-- > 0;) {
        const int in_row = (int)(axes >> i & 1);
        outer[i] = in_row ? 1 : x->shape[i];
        inner[i] = in_row ? x->shape[i] : 1;
        number[i] = p.rows;
        p.rows *= (uint32_t)outer[i];
        p.terms *= (uint32_t)inner[i];
    }
    for (uint32_t i = 0; i < x->rank; i++)
        if (axes >> i & 1) part[n++] = x->shape[i];
    device_steps(n, part, own); /* a weight has the axes of a row */
    for (uint32_t i = 0, k = 0; i < x->rank; i++)
        if (axes >> i & 1) element[i] = own[k++];
    p.outer = device_walk_of(x->rank, outer, number, steps);
    p.inner = device_walk_of(x->rank, inner, element, steps);
    return p;
}

uint64_t device_rows_groups(const rows_params *p, uint32_t width) {
    return device_groups_for((uint64_t)p->rows * width);
}

static uint32_t type_of(const cvr_tensor *t) {
    return t ? t->dtype : CVR_F32;
}

/* ---- softmax ---- */

static int32_t softmax_over(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *b, const cvr_tensor *y,
                            uint32_t what, int64_t axis, const cvr_tensor *lse, cvr_error *err) {
    rows_params p = device_rows_of(x, UINT32_C(1) << axis);
    const uint32_t width = device_width(&p.inner, p.rows, p.terms);
    const uint32_t constants[] = {what, width, x->dtype, type_of(b), y->dtype};
    p.b = b ? device_address(b->data) : 0;
    p.y = device_address(y->data);
    p.lse = lse ? device_address(lse->data) : 0;
    return DEVICE_LAUNCH(r, rows_softmax, &p, constants, device_rows_groups(&p, width), err);
}

int32_t device_softmax_run(const cvr_recorder *r, const cvr_tensor *x, const cvr_tensor *b, const cvr_tensor *y,
                           uint32_t what, const cvr_tensor *lse, cvr_error *err) {
    return softmax_over(r, x, b, y, what, x->rank - 1, lse, err);
}

static int32_t run_softmax(const cvr_kernel_args *a, uint32_t what, const cvr_recorder *r, cvr_error *err) {
    const int64_t axis = ((const cvr_softmax_attrs *)a->attrs)->dim;
    return softmax_over(r, a->inputs[0], device_in(a, 1), a->outputs[0], what, axis, NULL, err);
}

static int32_t record_softmax(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_softmax(a, ROWS_SOFTMAX, r, err);
}
static int32_t record_log_softmax(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_softmax(a, ROWS_LOG_SOFTMAX, r, err);
}
static int32_t record_softmax_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_softmax(a, ROWS_SOFTMAX_BACKWARD, r, err);
}
static int32_t record_log_softmax_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_softmax(a, ROWS_LOG_SOFTMAX_BACKWARD, r, err);
}

/* ---- norms ---- */

static int32_t run_norm(rows_params *p, uint32_t what, const cvr_tensor *x, const cvr_tensor *b, const cvr_tensor *y,
                        const cvr_recorder *r, cvr_error *err) {
    const uint32_t width = device_width(&p->inner, p->rows, p->terms);
    const uint32_t constants[] = {what, width, x->dtype, type_of(b), y->dtype};
    p->b = b ? device_address(b->data) : 0;
    p->y = device_address(y->data);
    return DEVICE_LAUNCH(r, rows_norm, p, constants, device_rows_groups(p, width), err);
}

/* x -> y, mean, invstd */
static int32_t norm_forward(rows_params *p, const cvr_kernel_args *a, double eps, const cvr_recorder *r,
                            cvr_error *err) {
    p->weight = device_at(a, 1);
    p->bias = device_at(a, 2);
    p->mean = device_address(a->outputs[1]->data);
    p->invstd = device_address(a->outputs[2]->data);
    p->eps = (float)eps;
    return run_norm(p, ROWS_NORM, a->inputs[0], NULL, a->outputs[0], r, err);
}

/* A tensor of f32 like x, in a workspace. */
static cvr_tensor products_in(void *workspace, const cvr_tensor *x) {
    cvr_tensor t = *x;
    t.dtype = CVR_F32;
    t.data = workspace;
    return t;
}

/* x, grad, weight, mean, invstd -> dx, dweight, dbias; `summed`: the axes that the weight does not have. */
static int32_t norm_backward(rows_params *p, const cvr_kernel_args *a, uint32_t summed, const cvr_recorder *r,
                             cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *grad = a->inputs[1];
    const cvr_tensor products = products_in(a->workspace, x);
    void *rest = (char *)a->workspace + device_padded(UINT64_C(4) * device_numel(x));
    p->weight = device_at(a, 2);
    p->mean = device_at(a, 3);
    p->invstd = device_at(a, 4);
    p->products = device_address(products.data);
    CVR_TRY(run_norm(p, ROWS_NORM_BACKWARD, x, grad, a->outputs[0], r, err));
    CVR_TRY(device_sum_axes(r, &products, a->outputs[1], summed, rest, err));
    return device_sum_axes(r, grad, a->outputs[2], summed, rest, err);
}

static uint64_t backward_workspace(const cvr_signature *sig, uint32_t summed) {
    const cvr_tensor *x = sig->inputs[0];
    return device_padded(UINT64_C(4) * device_numel(x)) + device_sum_axes_workspace(x, sig->outputs[1], summed);
}

static uint32_t layer_axes(const void *attrs) {
    const cvr_layer_norm_attrs *n = (const cvr_layer_norm_attrs *)attrs;
    return (UINT32_C(1) << n->end) - (UINT32_C(1) << n->begin);
}

static uint32_t other_axes(const cvr_tensor *x, uint32_t axes) {
    return ((UINT32_C(1) << x->rank) - 1) & ~axes;
}

static int32_t record_layer_norm(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = device_rows_of(a->inputs[0], layer_axes(a->attrs));
    return norm_forward(&p, a, ((const cvr_layer_norm_attrs *)a->attrs)->eps, r, err);
}

static int32_t record_layer_norm_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const uint32_t axes = layer_axes(a->attrs);
    rows_params p = device_rows_of(a->inputs[0], axes);
    return norm_backward(&p, a, other_axes(a->inputs[0], axes), r, err);
}

static uint64_t layer_norm_workspace(const cvr_signature *sig) {
    return backward_workspace(sig, other_axes(sig->inputs[0], layer_axes(sig->attrs)));
}

/* x (N,C,...) with its channels in groups: a row has C / G channels and all positions. */
static rows_params channel_groups(const cvr_tensor *x, const void *attrs) {
    const uint32_t groups = (uint32_t)((const cvr_group_norm_attrs *)attrs)->num_groups;
    const uint32_t channels = (uint32_t)x->shape[1], of_group = channels / groups;
    const uint32_t positions = device_numel(x) / ((uint32_t)x->shape[0] * channels);
    const uint32_t step = x->rank == 4 ? 1 : positions,
                   along = x->rank == 4 ? channels : 1; /* of channels, positions */
    const int64_t outer[2] = {x->shape[0], groups}, inner[2] = {of_group, positions};
    const uint32_t number[2] = {groups, 1}, from[2] = {channels * positions, of_group * step};
    const uint32_t element[2] = {1, 0}, own[2] = {step, along};
    return (rows_params){.x = device_address(x->data),
                         .rows = (uint32_t)x->shape[0] * groups,
                         .terms = of_group * positions,
                         .outer = device_walk_of(2, outer, number, from),
                         .inner = device_walk_of(2, inner, element, own),
                         .weight_groups = groups,
                         .weight_step = of_group};
}

static int32_t record_group_norm(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = channel_groups(a->inputs[0], a->attrs);
    return norm_forward(&p, a, ((const cvr_group_norm_attrs *)a->attrs)->eps, r, err);
}

static int32_t record_group_norm_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = channel_groups(a->inputs[0], a->attrs);
    return norm_backward(&p, a, other_axes(a->inputs[0], 2), r, err);
}

static uint64_t group_norm_workspace(const cvr_signature *sig) {
    return backward_workspace(sig, other_axes(sig->inputs[0], 2));
}

static int32_t record_l2(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = device_rows_of(a->inputs[0], 2);
    p.eps = (float)((const cvr_l2_norm2d_attrs *)a->attrs)->eps;
    return run_norm(&p, ROWS_L2, a->inputs[0], NULL, a->outputs[0], r, err);
}

static int32_t record_l2_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = device_rows_of(a->inputs[0], 2);
    p.eps = (float)((const cvr_l2_norm2d_attrs *)a->attrs)->eps;
    return run_norm(&p, ROWS_L2_BACKWARD, a->inputs[0], a->inputs[1], a->outputs[0], r, err);
}

static int32_t params_are_f32(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_f32(sig, 1, 2, reason);
}
static int32_t backward_params_are_f32(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_f32(sig, 2, 4, reason);
}

const device_op device_rows_ops[] = {DEVICE_OP("softmax", record_softmax),
                                     DEVICE_OP("log_softmax", record_log_softmax),
                                     DEVICE_OP("softmax_backward", record_softmax_backward),
                                     DEVICE_OP("log_softmax_backward", record_log_softmax_backward),
                                     DEVICE_OP("layer_norm", record_layer_norm, .supports = params_are_f32),
                                     DEVICE_OP("layer_norm_backward", record_layer_norm_backward,
                                               .supports = backward_params_are_f32, .workspace = layer_norm_workspace),
                                     DEVICE_OP("group_norm", record_group_norm, .supports = params_are_f32),
                                     DEVICE_OP("group_norm_backward", record_group_norm_backward,
                                               .supports = backward_params_are_f32, .workspace = group_norm_workspace),
                                     DEVICE_OP("l2_norm2d", record_l2),
                                     DEVICE_OP("l2_norm2d_backward", record_l2_backward),
                                     {.op = NULL}};
