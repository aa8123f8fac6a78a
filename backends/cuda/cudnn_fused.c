/*
 * Convolutions with what follows them, as passes fuse them: the statistics of a batch norm (conv2d_stats), and a batch
 * norm by running statistics with a residual and an activation (conv2d_act). The meanings are in ops/conv.h.
 */
#include "cudnn_form_parts.h"

#include <cvr/plugin/ops/norm.h>

/* ---- conv2d_stats ---- */

static int32_t stats_takes(const cvr_signature *s, cvr_error *reason) {
    if (form_optional(s, 2)) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "it has a bias");
    return form_takes_conv((const cvr_conv2d_attrs *)s->attrs, s->inputs[0], s->inputs[1], s->outputs[0], reason);
}

/* y = conv2d(x, weight), where y is a tensor that is there already. */
static uint32_t conv(const cvr_signature *sig, cudnn_form *f, const cvr_conv2d_attrs *attrs, uint32_t y) {
    const uint32_t dtype = sig->inputs[0]->dtype, x = form_input(f, sig, 0, dtype);
    form_conv(f, CUDNN_CONV, attrs, x, form_input(f, sig, 1, dtype), y);
    return y;
}

/* mean = sum / M, var = sum of squares / M - mean^2, from what cuDNN left in the workspace. */
static int32_t finish_sums(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *y = a->outputs[0];
    const int64_t channels = y->shape[1];
    const float share = (float)((double)channels / (double)cvr_numel(4, y->shape));
    const cvr_tensor sum = form_vector(f, a, 0, channels), squares = form_vector(f, a, 1, channels);
    device_program mean = device_program_begin(), var = device_program_begin();
    (void)cvr_step2(&mean.steps, CVR_STEP_MUL, device_input(&mean, &sum), cvr_constant(&mean.steps, share));
    CVR_TRY(device_program_run(&mean, r, a->outputs[1], err));
    const uint32_t q = device_input(&var, &squares), m = device_input(&var, a->outputs[1]);
    const uint32_t of_squares = cvr_step2(&var.steps, CVR_STEP_MUL, q, cvr_constant(&var.steps, share));
    const uint32_t v = cvr_step2(&var.steps, CVR_STEP_SUB, of_squares, cvr_step2(&var.steps, CVR_STEP_MUL, m, m));
    (void)cvr_step2(&var.steps, CVR_STEP_MAX, v, cvr_constant(&var.steps, 0)); /* where rounding took it below 0 */
    return device_program_run(&var, r, a->outputs[2], err);
}

/* cuDNN adds up what it has made while it makes it. */
static void stats_in_plan(const cvr_signature *sig, cudnn_form *f) {
    const int64_t channels = sig->outputs[0]->shape[1];
    const uint32_t y = conv(sig, f, (const cvr_conv2d_attrs *)sig->attrs, form_output(f, sig, 0));
    const uint32_t sum = form_channels(f, channels, 0), squares = form_channels(f, channels, 1);
    cudnn_add_step(&f->graph, &(const cudnn_step){.kind = CUDNN_STATS, .tensors = {y, sum, squares}});
    f->after = finish_sums;
}

/* batch_norm2d_stats of y, whose workspace is at vectors[0] of the form's. */
static int32_t stats_by_kernel(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *const in[] = {a->outputs[0]};
    cvr_kernel_args stats = *a;
    stats.attrs = NULL;
    stats.inputs = in;
    stats.outputs = a->outputs + 1;
    stats.n_inputs = 1;
    stats.n_outputs = 2;
    stats.workspace = (char *)a->workspace + f->vectors[0];
    return device_find("batch_norm2d_stats")->fn.record(&stats, r, err);
}

static uint64_t stats_workspace(const cvr_tensor *y) {
    return device_columns_workspace((uint64_t)(cvr_numel(4, y->shape) / y->shape[1]), (uint64_t)y->shape[1]);
}

/* Or the convolution alone is cuDNN's. */
static void stats_after_plan(const cvr_signature *sig, cudnn_form *f) {
    (void)conv(sig, f, (const cvr_conv2d_attrs *)sig->attrs, form_output(f, sig, 0));
    f->vectors[0] = form_scratch(f, stats_workspace(sig->outputs[0]));
    f->after = stats_by_kernel;
}

/* conv2d, then batch_norm2d_stats; one workspace serves both. */
static int32_t stats_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    cvr_kernel_args first = *a;
    first.n_outputs = 1;
    (void)op;
    CVR_TRY(device_find("conv2d")->fn.record(&first, r, err));
    return stats_by_kernel(&(const cudnn_form){.vectors = {0, 0}}, a, r, err);
}

static uint64_t stats_plain_workspace(const library_op *op, const cvr_signature *sig) {
    cvr_signature first = *sig;
    first.n_outputs = 1;
    (void)op;
    const uint64_t n = device_find("conv2d")->workspace(&first), m = stats_workspace(sig->outputs[0]);
    return n > m ? n : m;
}

/* ---- conv2d_act ---- */

enum { X, WEIGHT, BIAS, SCALE, SHIFT, MEAN, VAR, RESIDUAL };

static int32_t act_takes(const cvr_signature *s, cvr_error *reason) {
    const cvr_conv2d_act_attrs *attrs = (const cvr_conv2d_act_attrs *)s->attrs;
    const cvr_tensor *residual = form_optional(s, RESIDUAL);
    if (residual && residual->dtype != s->outputs[0]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "the residual is %s", cvr_dtype_name(residual->dtype));
    return form_takes_conv(&attrs->conv, s->inputs[0], s->inputs[1], s->outputs[0], reason);
}

/* The batch norm and the bias as y = conv * factor + offset: factor = scale / sqrt(var + eps), offset = shift + (bias -
 * mean) * factor. The results are vectors 0 and 1; factor is left out where there is no norm. */
static int32_t fold_norm(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const double eps = ((const cvr_conv2d_act_attrs *)a->attrs)->eps;
    const int64_t channels = a->outputs[0]->shape[1];
    const cvr_tensor factor = form_vector(f, a, 0, channels), offset = form_vector(f, a, 1, channels);
    const cvr_tensor *scale = device_in(a, SCALE), *shift = device_in(a, SHIFT), *bias = device_in(a, BIAS);
    device_program p = device_program_begin(), q = device_program_begin();
    uint32_t v = cvr_step1(
        &p.steps, CVR_STEP_RSQRT,
        cvr_step2(&p.steps, CVR_STEP_ADD, device_input(&p, device_in(a, VAR)), cvr_constant(&p.steps, (float)eps)));
    if (scale) (void)cvr_step2(&p.steps, CVR_STEP_MUL, v, device_input(&p, scale));
    CVR_TRY(device_program_run(&p, r, &factor, err));
    const uint32_t m = device_input(&q, device_in(a, MEAN));
    v = cvr_step2(&q.steps, CVR_STEP_SUB, bias ? device_input(&q, bias) : cvr_constant(&q.steps, 0), m);
    v = cvr_step2(&q.steps, CVR_STEP_MUL, v, device_input(&q, &factor));
    if (shift) (void)cvr_step2(&q.steps, CVR_STEP_ADD, v, device_input(&q, shift));
    return device_program_run(&q, r, &offset, err);
}

/* Sets the form up for factor and offset: whether there is a norm. Without one the offset is the bias, or nothing. */
static int has_norm(const cvr_signature *sig, cudnn_form *f) {
    const int norm = form_optional(sig, MEAN) != NULL;
    if (norm) f->before = fold_norm;
    return norm;
}

/* y = a(conv * factor + offset + residual) inside the plan. */
static void act_in_plan(const cvr_signature *sig, cudnn_form *f) {
    const cvr_conv2d_act_attrs *attrs = (const cvr_conv2d_act_attrs *)sig->attrs;
    const int64_t channels = sig->outputs[0]->shape[1];
    cudnn_graph *g = &f->graph;
    uint32_t v = conv(sig, f, &attrs->conv, form_passing(f, sig->outputs[0]));
    if (has_norm(sig, f)) {
        v = cudnn_add_pointwise(g, CUDNN_POINTWISE_MUL, v, form_channels(f, channels, 0));
        v = cudnn_add_pointwise(g, CUDNN_POINTWISE_ADD, v, form_channels(f, channels, 1));
    } else if (form_optional(sig, BIAS)) {
        v = cudnn_add_pointwise(g, CUDNN_POINTWISE_ADD, v, form_input(f, sig, BIAS, CVR_F32));
    }
    if (form_optional(sig, RESIDUAL))
        v = cudnn_add_pointwise(g, CUDNN_POINTWISE_ADD, v, form_input(f, sig, RESIDUAL, sig->outputs[0]->dtype));
    const cudnn_step last = {.kind = CUDNN_POINTWISE,
                             .mode = attrs->activation ? CUDNN_POINTWISE_RELU_FWD : CUDNN_POINTWISE_IDENTITY,
                             .upper = attrs->activation == CVR_ACTIVATION_RELU6 ? 6.0f : 0.0f,
                             .tensors = {v, NO_TENSOR, form_output(f, sig, 0)}};
    cudnn_add_step(g, &last);
}

/* The same of y in place, by one device kernel. */
static int32_t act_by_kernel(const cudnn_form *f, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t channels = a->outputs[0]->shape[1];
    const cvr_tensor factor = form_vector(f, a, 0, channels), offset = form_vector(f, a, 1, channels);
    const cvr_tensor *bias = device_in(a, BIAS), *residual = device_in(a, RESIDUAL);
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    uint32_t v = device_input(&p, a->outputs[0]);
    if (f->before) {
        v = cvr_step2(s, CVR_STEP_MUL, v, device_input_channels(&p, &factor));
        v = cvr_step2(s, CVR_STEP_ADD, v, device_input_channels(&p, &offset));
    } else if (bias) {
        v = cvr_step2(s, CVR_STEP_ADD, v, device_input_channels(&p, bias));
    }
    if (residual) v = cvr_step2(s, CVR_STEP_ADD, v, device_input(&p, residual));
    v = device_activation(&p, ((const cvr_conv2d_act_attrs *)a->attrs)->activation, v);
    if (!s->n_steps) return CVR_OK;
    return device_program_run(&p, r, a->outputs[0], err);
}

static void act_after_plan(const cvr_signature *sig, cudnn_form *f) {
    const cvr_conv2d_act_attrs *attrs = (const cvr_conv2d_act_attrs *)sig->attrs;
    (void)conv(sig, f, &attrs->conv, form_output(f, sig, 0));
    if (has_norm(sig, f)) {
        for (uint32_t i = 0; i < CUDNN_FORM_VECTORS; i++)
            f->vectors[i] = form_scratch(f, (uint64_t)sig->outputs[0]->shape[1] * 4);
    }
    f->after = act_by_kernel;
}

/* conv2d by its device kernel, and what follows as above; factor and offset lie behind its workspace. */
static uint64_t act_conv_workspace(const cvr_signature *sig) {
    cvr_signature first = *sig;
    first.n_inputs = 2;
    return device_padded(device_find("conv2d")->workspace(&first));
}

static uint64_t act_plain_workspace(const library_op *op, const cvr_signature *sig) {
    (void)op;
    return act_conv_workspace(sig) + 2 * device_padded((uint64_t)sig->outputs[0]->shape[1] * 4);
}

static int32_t act_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const uint64_t vector = device_padded((uint64_t)a->outputs[0]->shape[1] * 4);
    const uint64_t at = a->workspace_size - 2 * vector;
    const cudnn_form f = {.vectors = {at, at + vector}, .before = device_in(a, MEAN) ? fold_norm : NULL};
    cvr_kernel_args first = *a;
    (void)op;
    first.n_inputs = 2;
    CVR_TRY(device_find("conv2d")->fn.record(&first, r, err));
    if (f.before) CVR_TRY(f.before(&f, a, r, err));
    return act_by_kernel(&f, a, r, err);
}

const cudnn_op cudnn_fused_ops[CUDNN_FUSED_OPS] = {{.op = {.op = "conv2d_stats",
                                                           .library = &cudnn_library,
                                                           .attrs_size = sizeof(cvr_conv2d_attrs),
                                                           .takes = stats_takes,
                                                           .plain = stats_plain,
                                                           .plain_workspace = stats_plain_workspace},
                                                    .pads = form_pads_both,
                                                    .forms = {stats_in_plan, stats_after_plan}},
                                                   {.op = {.op = "conv2d_act",
                                                           .library = &cudnn_library,
                                                           .attrs_size = sizeof(cvr_conv2d_act_attrs),
                                                           .takes = act_takes,
                                                           .plain = act_plain,
                                                           .plain_workspace = act_plain_workspace},
                                                    .pads = form_pads_both,
                                                    .forms = {act_in_plan, act_after_plan}}};
