/*
 * "deit": the class that the teacher finds likeliest is a label beside the true one (Touvron et al., "Training
 * data-efficient image transformers & distillation through attention", 2021):
 *
 *     loss = alpha * task + (1 - alpha) * CE(scores, argmax of the teacher's)
 *
 * The second term is for the head of the distillation token, where the network has one (the auxiliary result
 * `distilled`: model.distilled_training = yes), else for the only head there is.
 */
#include "distill.h"

typedef struct deit_attrs {
    double alpha;
} deit_attrs;

/* The head that learns from the teacher. */
static const cvr_io_output *taught_head(const cvr_io *io) {
    const cvr_io_output *o;
    for (uint32_t i = 0; (o = io->output(io, i)); i++)
        if (o->role == CVR_ROLE_AUXILIARY && strcmp(o->name, "distilled") == 0) return o;
    return NULL;
}

static int32_t losses(const cvr_distillation *d, double *task_weight, cvr_error *err) {
    const deit_attrs *a = d->attrs;
    const cvr_builder *b = d->builder;
    const cvr_io_output *head = taught_head(d->student);
    distill_scores r;
    int32_t found;
    cvr_value in[2], loss;
    CVR_TRY(distill_result(d, 0, &r, &found, err));
    if (!found || b->type(b, r.student)->rank != 2)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "distill.method = deit is for one class a picture");
    in[0] = head ? head->value : r.student;
    if (head && b->type(b, in[0])->shape[1] != d->n_classes)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "the network's head `distilled` has not a score for each class");
    CVR_TRY(distill_largest(b, r.teacher, &in[1], err));
    CVR_TRY(cvr_layer2(b, "hard", "cross_entropy", "", in, &loss, err));
    CVR_TRY(distill_scale(b, 1 - a->alpha, loss, &loss, err));
    *task_weight = a->alpha;
    return d->student->put(d->student, head ? "distilled" : "distill", CVR_ROLE_LOSS, loss, err);
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "alpha", "0.5", "weight of the task's own losses; the teacher's is 1 - alpha",
             CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_distiller_desc distill_deit = {.struct_size = sizeof distill_deit,
                                         .name = "deit",
                                         .doc =
                                             "the teacher's likeliest class, for a head of its own where there is one "
                                             "(Touvron et al., 2021)",
                                         .n_attrs = sizeof attrs / sizeof *attrs,
                                         .attrs = attrs,
                                         .losses = losses};
