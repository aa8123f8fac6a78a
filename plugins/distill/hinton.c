/*
 * "hinton": the student's probabilities are to be the teacher's, both softened by a temperature (Hinton, Vinyals and
 * Dean, "Distilling the Knowledge in a Neural Network", 2015):
 *
 *     loss = alpha * task + (1 - alpha) * T^2 * KL(softmax(teacher / T) || softmax(student / T))
 *
 * The mean is over pictures, or pixels. T^2 keeps the gradient's size whatever T is.
 */
#include "distill.h"

typedef struct hinton_attrs {
    double T, alpha;
} hinton_attrs;

static int32_t add(const cvr_distillation *d, const hinton_attrs *a, const distill_scores *r, cvr_error *err) {
    const cvr_builder *b = d->builder;
    char name[128];
    cvr_value student, teacher, loss;
    CVR_TRY(distill_scale(b, 1 / a->T, r->student, &student, err));
    CVR_TRY(distill_scale(b, 1 / a->T, r->teacher, &teacher, err));
    CVR_TRY(distill_divergence(b, student, teacher, (1 - a->alpha) * a->T * a->T / r->positions, &loss, err));
    if (strcmp(r->name, "output") == 0)
        (void)snprintf(name, sizeof name, "distill");
    else
        (void)snprintf(name, sizeof name, "distill_%.100s", r->name);
    return d->student->put(d->student, name, CVR_ROLE_LOSS, loss, err);
}

static int32_t losses(const cvr_distillation *d, double *task_weight, cvr_error *err) {
    const hinton_attrs *a = d->attrs;
    distill_scores r;
    int32_t found = 1;
    for (uint32_t i = 0; found; i++) {
        CVR_TRY(distill_result(d, i, &r, &found, err));
        if (found) CVR_TRY(add(d, a, &r, err));
    }
    *task_weight = a->alpha;
    return CVR_OK;
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "T", "4", "temperature: what scores are divided by", CVR_ATTR_BETWEEN(0.01, 1000)),
    CVR_ATTR(FLOAT, "alpha", "0.1", "weight of the task's own losses; the teacher's is 1 - alpha",
             CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_distiller_desc distill_hinton = {.struct_size = sizeof distill_hinton,
                                           .name = "hinton",
                                           .doc = "the teacher's softened probabilities (Hinton et al., 2015)",
                                           .n_attrs = sizeof attrs / sizeof *attrs,
                                           .attrs = attrs,
                                           .losses = losses};
