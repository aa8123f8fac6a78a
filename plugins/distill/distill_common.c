/* Sums, divergences and masks, see distill.h. */
#include "distill.h"
#include <cvr/plugin/ops/loss.h>

int32_t distill_scale(const cvr_builder *b, double scale, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_type *t = b->type(b, x);
    cvr_expand_attrs attrs = {.rank = t->rank, .scale = scale};
    *out = x;
    if (scale == 1) return CVR_OK;
    for (uint32_t i = 0; i < CVR_MAX_RANK; i++) attrs.shape[i] = i < t->rank ? t->shape[i] : 1;
    return cvr_emit(b, "expand", &attrs, sizeof attrs, &x, 1, out, err);
}

int32_t distill_add(const cvr_builder *b, cvr_value x, cvr_value y, cvr_value *out, cvr_error *err) {
    const cvr_value in[2] = {x, y};
    return cvr_emit(b, "add", NULL, 0, in, 2, out, err);
}

int32_t distill_mul(const cvr_builder *b, cvr_value x, cvr_value y, cvr_value *out, cvr_error *err) {
    const cvr_value in[2] = {x, y};
    return cvr_emit(b, "mul", NULL, 0, in, 2, out, err);
}

int32_t distill_f32(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_cast_attrs attrs = {CVR_F32};
    *out = x;
    return b->type(b, x)->dtype == CVR_F32 ? CVR_OK : cvr_emit(b, "cast", &attrs, sizeof attrs, &x, 1, out, err);
}

int32_t distill_sum_classes(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_reduce_attrs classes = {.n_dim = 1, .dim = {1}, .keepdim = 1};
    return cvr_emit(b, "sum", &classes, sizeof classes, &x, 1, out, err);
}

int32_t distill_sum(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_reduce_attrs all = {.n_dim = 0};
    return cvr_emit(b, "sum", &all, sizeof all, &x, 1, out, err);
}

/* sum of p * (log p - log q), p of the teacher, q of the student */
int32_t distill_divergence(const cvr_builder *b, cvr_value student, cvr_value teacher, double scale, cvr_value *out,
                           cvr_error *err) {
    const cvr_softmax_attrs classes = {.dim = 1};
    cvr_value p, log_p, log_q, apart;
    CVR_TRY(cvr_emit(b, "softmax", &classes, sizeof classes, &teacher, 1, &p, err));
    CVR_TRY(cvr_emit(b, "log_softmax", &classes, sizeof classes, &teacher, 1, &log_p, err));
    CVR_TRY(cvr_emit(b, "log_softmax", &classes, sizeof classes, &student, 1, &log_q, err));
    CVR_TRY(distill_scale(b, -1, log_q, &log_q, err));
    CVR_TRY(distill_add(b, log_p, log_q, &apart, err));
    CVR_TRY(distill_mul(b, p, apart, &apart, err));
    CVR_TRY(distill_sum(b, apart, out, err));
    return distill_scale(b, scale, *out, out, err);
}

/* ---- masks ---- */

int32_t distill_one(const cvr_builder *b, cvr_value *out, cvr_error *err) {
    const float one = 1;
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "one",
                                 .dtype = CVR_F32,
                                 .rank = 2,
                                 .shape = {1, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = &one};
    return b->param(b, &decl, out, err);
}

/* The gradient of the largest element of each row. */
int32_t distill_largest(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_reduce_attrs classes = {.n_dim = 1, .dim = {1}, .keepdim = 1};
    const cvr_expand_attrs rows = {.rank = 2, .shape = {b->type(b, x)->shape[0], 1, 1, 1, 1, 1}, .scale = 1};
    cvr_value in[3] = {x};
    CVR_TRY(cvr_emit(b, "amax", &classes, sizeof classes, &x, 1, &in[1], err));
    CVR_TRY(distill_one(b, &in[2], err));
    CVR_TRY(cvr_emit(b, "expand", &rows, sizeof rows, &in[2], 1, &in[2], err));
    return cvr_emit(b, "amax_backward", &classes, sizeof classes, in, 3, out, err);
}

/* The gradient of cross entropy where all scores are 0 is 1 / classes, less 1 in the column of the class: the column is
 * where its negative is largest. */
static int32_t mask_of_index(const cvr_builder *b, cvr_value label, cvr_value like, cvr_value *out, cvr_error *err) {
    const cvr_cross_entropy_attrs plain = {.ignore_index = -100, .reduction = CVR_LOSS_SUM};
    cvr_value zero, loss[3], one;
    CVR_TRY(distill_scale(b, 0, like, &zero, err));
    const cvr_value in[2] = {zero, label};
    const cvr_op_call forward = {.struct_size = sizeof forward,
                                 .op = "cross_entropy",
                                 .attrs = &plain,
                                 .attrs_size = sizeof plain,
                                 .inputs = in,
                                 .outputs = loss,
                                 .n_inputs = 2,
                                 .n_outputs = 3};
    CVR_TRY(b->emit(b, &forward, err));
    CVR_TRY(distill_one(b, &one, err));
    CVR_TRY(distill_sum(b, one, &one, err)); /* (1,1) becomes () */
    const cvr_value back[6] = {zero, label, CVR_NONE, loss[1], loss[2], one};
    CVR_TRY(cvr_emit(b, "cross_entropy_backward", &plain, sizeof plain, back, 6, &zero, err));
    CVR_TRY(distill_scale(b, -1, zero, &zero, err));
    return distill_largest(b, zero, out, err);
}

int32_t distill_class_mask(const cvr_builder *b, cvr_value label, cvr_value like, cvr_value *out, cvr_error *err) {
    const cvr_type *t = b->type(b, label), *x = b->type(b, like);
    if (!t || x->rank != 2 || t->shape[0] != x->shape[0])
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "this method is for one class a picture");
    if (t->dtype == CVR_F32 && t->rank == 2 && t->shape[1] == x->shape[1]) return distill_largest(b, label, out, err);
    if (t->dtype == CVR_I64 && t->rank == 1) return mask_of_index(b, label, like, out, err);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "this method needs a class, or a share for each class, of every picture");
}

/* ---- results ---- */

static int is_scores(const cvr_type *t, int64_t n_classes) {
    return t->dtype == CVR_F32 && (t->rank == 2 || t->rank == 4) && t->shape[1] == n_classes;
}

int32_t distill_result(const cvr_distillation *d, uint32_t i, distill_scores *out, int32_t *found, cvr_error *err) {
    const cvr_io_output *o, *of = NULL;
    *found = 0;
    for (uint32_t k = 0; !of && (o = d->student->output(d->student, k)); k++)
        if (o->role == CVR_ROLE_RESULT && i-- == 0) of = o;
    if (!of) return CVR_OK;
    const cvr_io_output *taught = NULL;
    for (uint32_t k = 0; !taught && (o = d->teacher->output(d->teacher, k)); k++)
        if (strcmp(o->name, of->name) == 0) taught = o;
    if (!taught)
        return cvr_fail(err, CVR_ERR_USAGE, "the student's result is `%s`, and the teacher has none of that name",
                        of->name);
    const cvr_type *s = d->builder->type(d->builder, of->value), *t = d->builder->type(d->builder, taught->value);
    if (!is_scores(s, d->n_classes) || !is_scores(t, d->n_classes))
        return cvr_fail(
            err, CVR_ERR_UNSUPPORTED,
            "the result `%s` is no scores of classes, (N, classes) or (N, classes, H, W), in both networks; "
            "take another distill.method",
            of->name);
    if (s->rank != t->rank || memcmp(s->shape, t->shape, sizeof s->shape) != 0)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "the teacher's `%s` has %lldx%lld places, and the student's %lldx%lld", of->name,
                        (long long)t->shape[3], (long long)t->shape[2], (long long)s->shape[3], (long long)s->shape[2]);
    *out = (distill_scores){.name = of->name, .student = of->value, .teacher = taught->value};
    out->positions = (double)cvr_numel(s->rank, s->shape) / (double)s->shape[1];
    *found = 1;
    return CVR_OK;
}
