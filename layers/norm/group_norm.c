/* Group normalisation (Wu and He, 2018): torch.nn.GroupNorm. Formulas in ops/norm.h. */
#include "norm_family.h"

static const cvr_attr_desc groups_attr =
    CVR_ATTR_INIT(INT, "num_groups", NULL, "groups that the channels are cut into", CVR_ATTR_PLACE_AT_LEAST(1));
static const cvr_attr_desc *const op_attrs[] = {&groups_attr, &norm_eps_attr};
static const cvr_attr_desc *const layer_attrs[] = {&groups_attr, &norm_eps_attr, &norm_affine_attr};

/* As layer_attrs packs it. */
typedef struct group_norm_layer {
    cvr_group_norm_attrs op;
    int64_t affine;
} group_norm_layer;

static int32_t check(const cvr_infer_args *a, uint32_t first, uint32_t last, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    CVR_TRY(norm_check_f32("group_norm", x, err));
    if (x->rank < 2 || attrs->num_groups < 1 || x->shape[1] % attrs->num_groups != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "group_norm: %lld groups do not divide the input's %lld channels",
                        (long long)attrs->num_groups, (long long)(x->rank < 2 ? 0 : x->shape[1]));
    for (uint32_t i = first; i <= last && i < a->n_inputs; i++)
        CVR_TRY(norm_check_vector("group_norm", "a scale or shift", a->inputs[i], x->shape[1], err));
    return CVR_OK;
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const int64_t shape[2] = {a->inputs[0]->shape[0], attrs->num_groups};
    *a->outputs[0] = *a->inputs[0];
    cvr_type_set(a->outputs[1], CVR_F32, 2, shape);
    cvr_type_set(a->outputs[2], CVR_F32, 2, shape);
    return check(a, 1, 2, err);
}

static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const int64_t shape[2] = {a->inputs[0]->shape[0], attrs->num_groups};
    CVR_TRY(check(a, 2, 2, err));
    CVR_TRY(norm_check_like("group_norm_backward", a->inputs[0], a->inputs[1], err));
    for (uint32_t i = 3; i < 5; i++) {
        const cvr_type *t = a->inputs[i];
        if (t->dtype != CVR_F32 || t->rank != 2 || t->shape[0] != shape[0] || t->shape[1] != shape[1])
            CVR_TRY(cvr_fail(err, CVR_ERR_INVALID, "group_norm_backward: mean and invstd must be (N, groups) f32"));
    }
    *a->outputs[0] = *a->inputs[0];
    cvr_type_set(a->outputs[1], CVR_F32, 1, &a->inputs[0]->shape[1]);
    cvr_type_set(a->outputs[2], CVR_F32, 1, &a->inputs[0]->shape[1]);
    return CVR_OK;
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    if (a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    const cvr_value weight = a->n_inputs > 1 ? a->inputs[1] : CVR_NONE;
    const cvr_value inputs[5] = {a->inputs[0], a->grad_outputs[0], weight, a->outputs[1], a->outputs[2]};
    cvr_value outputs[3];
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "group_norm_backward",
                              .attrs = a->attrs,
                              .attrs_size = sizeof(cvr_group_norm_attrs),
                              .inputs = inputs,
                              .outputs = outputs,
                              .n_inputs = 5,
                              .n_outputs = 3};
    CVR_TRY(b->emit(b, &call, err));
    for (uint32_t i = 0; i < 3 && i < a->n_inputs; i++) a->grad_inputs[i] = outputs[i];
    return CVR_OK;
}

/* ---- reference kernels ---- */

/* Element (n, c, s) of x lies at n * picture + c * channel_step + s * position_step. */
typedef struct group_layout {
    int64_t n, channels, positions, per_group, groups;
    int64_t picture, channel_step, position_step;
} group_layout;

static group_layout layout_of(const cvr_kernel_args *a) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    group_layout l = {.n = x->shape[0], .channels = x->shape[1], .positions = 1, .groups = attrs->num_groups};
    for (uint32_t i = 2; i < x->rank; i++) l.positions *= x->shape[i];
    l.per_group = l.channels / l.groups;
    l.picture = l.channels * l.positions;
    l.channel_step = x->rank == 4 ? 1 : l.positions;
    l.position_step = x->rank == 4 ? l.channels : 1;
    return l;
}

/* Where element e (channel-major) of group g of picture n lies; its channel goes to *c. */
static int64_t element_at(const group_layout *l, int64_t n, int64_t g, int64_t e, int64_t *c) {
    *c = g * l->per_group + e / l->positions;
    return n * l->picture + *c * l->channel_step + e % l->positions * l->position_step;
}

static void run_group(const cvr_kernel_args *a, const group_layout *l, int64_t n, int64_t g) {
    const cvr_group_norm_attrs *attrs = a->attrs;
    const float *x = a->inputs[0]->data, *weight = norm_in(a, 1), *bias = norm_in(a, 2);
    float *y = a->outputs[0]->data;
    const int64_t size = l->per_group * l->positions;
    double sum = 0, square = 0;
    int64_t c;
    for (int64_t e = 0; e < size; e++) sum += x[element_at(l, n, g, e, &c)];
    const double mean = sum / (double)size;
    for (int64_t e = 0; e < size; e++) {
        const double d = x[element_at(l, n, g, e, &c)] - mean;
        square += d * d;
    }
    const double invstd = 1 / sqrt(square / (double)size + attrs->eps);
    for (int64_t e = 0; e < size; e++) {
        const int64_t at = element_at(l, n, g, e, &c);
        y[at] = (float)((x[at] - mean) * invstd * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
    }
    ((float *)a->outputs[1]->data)[n * l->groups + g] = (float)mean;
    ((float *)a->outputs[2]->data)[n * l->groups + g] = (float)invstd;
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const group_layout l = layout_of(a);
    for (int64_t n = 0; n < l.n; n++)
        for (int64_t g = 0; g < l.groups; g++) run_group(a, &l, n, g);
    return CVR_OK;
}

/* dx = invstd * (e - mean(e) - xhat * mean(e * xhat)), e = grad * weight */
static void backward_group(const cvr_kernel_args *a, const group_layout *l, int64_t n, int64_t g) {
    const float *x = a->inputs[0]->data, *dy = a->inputs[1]->data, *weight = norm_in(a, 2);
    const double mean = norm_in(a, 3)[n * l->groups + g], invstd = norm_in(a, 4)[n * l->groups + g];
    float *dx = a->outputs[0]->data;
    const int64_t size = l->per_group * l->positions;
    double sum = 0, dot = 0;
    int64_t c;
    for (int64_t e = 0; e < size; e++) {
        const int64_t at = element_at(l, n, g, e, &c);
        const double scaled = dy[at] * (weight ? (double)weight[c] : 1);
        sum += scaled;
        dot += scaled * (x[at] - mean) * invstd;
    }
    for (int64_t e = 0; e < size; e++) {
        const int64_t at = element_at(l, n, g, e, &c);
        const double scaled = dy[at] * (weight ? (double)weight[c] : 1), xhat = (x[at] - mean) * invstd;
        dx[at] = (float)(invstd * (scaled - (sum + xhat * dot) / (double)size));
    }
}

/* dweight = sum of grad * xhat, dbias = sum of grad, over n and positions */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const group_layout l = layout_of(a);
    const float *x = a->inputs[0]->data, *dy = a->inputs[1]->data, *mean = norm_in(a, 3), *invstd = norm_in(a, 4);
    for (int64_t c = 0; c < l.channels; c++) {
        double dweight = 0, dbias = 0;
        for (int64_t i = 0; i < l.n * l.positions; i++) {
            const int64_t n = i / l.positions, group = n * l.groups + c / l.per_group;
            const int64_t at = n * l.picture + c * l.channel_step + i % l.positions * l.position_step;
            dbias += dy[at];
            dweight += (double)dy[at] * ((x[at] - (double)mean[group]) * invstd[group]);
        }
        ((float *)a->outputs[1]->data)[c] = (float)dweight;
        ((float *)a->outputs[2]->data)[c] = (float)dbias;
    }
    for (int64_t n = 0; n < l.n; n++)
        for (int64_t g = 0; g < l.groups; g++) backward_group(a, &l, n, g);
    return CVR_OK;
}

/* ---- the layer ---- */

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err) {
    (void)n_inputs;
    const group_norm_layer *layer = attrs;
    const cvr_type *x = b->type(b, inputs[0]);
    cvr_value in[3] = {inputs[0], CVR_NONE, CVR_NONE};
    if (layer->affine && x->rank >= 2) {
        CVR_TRY(norm_param(b, "weight", 1, 1, &x->shape[1], &in[1], err));
        CVR_TRY(norm_param(b, "bias", 0, 1, &x->shape[1], &in[2], err));
    }
    return cvr_emit(b, "group_norm", &layer->op, sizeof layer->op, in, 3, outputs, err);
}

static double flops(const cvr_infer_args *a) {
    return 5.0 * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "group_norm",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 3,
            .n_outputs = 3,
            .n_attrs = 2,
            .attrs = op_attrs,
            .optional = 1u << 1 | 1u << 2,
            .infer = infer,
            .grad = grad,
            .flops = flops,
            .doc = "y = (x - mean) / sqrt(var + eps) * weight + bias over groups of channels (Wu and He, 2018)"},
     .reference = {sizeof(cvr_cpu_fn), run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "group_norm_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 5,
            .n_outputs = 3,
            .n_attrs = 2,
            .attrs = op_attrs,
            .optional = 1u << 2,
            .infer = backward_infer,
            .flops = flops,
            .doc = "dx = invstd * (e - mean(e) - xhat * mean(e * xhat)), e = grad * weight"},
     .reference = {sizeof(cvr_cpu_fn), backward_run},
     .inplace = 3},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "group_norm",
     .doc = "normalises over groups of channels, then scales and shifts each channel",
     .n_attrs = 3,
     .min_inputs = 1,
     .max_inputs = 1,
     .n_outputs = 1,
     .attrs = layer_attrs,
     .build = build},
};

const norm_family norm_group = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
