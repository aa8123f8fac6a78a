/*
 * "dkd": what the teacher says of a picture's own class, and of the others among each other, are two losses with
 * weights of their own (Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022):
 *
 *     loss = task + ramp * T^2 * (alpha * KL(b_teacher || b_student) + beta * KL(q_teacher || q_student))
 *
 * b is (probability of the picture's class, of any other), q the probabilities of the other classes, as if the class
 * were not there; both of scores divided by T. ramp rises from 0 to 1 in the first `warmup` epochs. Of a mixed picture
 * the class with the larger share is taken for its own.
 */
#include "distill.h"

typedef struct dkd_attrs {
    double T, alpha, beta, warmup;
} dkd_attrs;

/* What is taken from the score of a picture's own class, so that nothing is left of its probability. */
#define OUT 1000.0

/* The scores of one network, (N, classes). */
typedef struct parted {
    cvr_value others; /* the same, without the own class: its score is OUT less */
    cvr_value two;    /* (N, 2): the own class's score, and log(sum of exp) of the others' */
} parted;

/* log(sum of exp(x)) of a row is x_j - log_softmax(x)_j for any j; taken as the mean over the other classes, whose
 * scores are small numbers. */
static int32_t log_sum(const cvr_builder *b, cvr_value others, cvr_value rest, double n_rest, cvr_value *out,
                       cvr_error *err) {
    const cvr_softmax_attrs classes = {.dim = 1};
    cvr_value log;
    CVR_TRY(cvr_emit(b, "log_softmax", &classes, sizeof classes, &others, 1, &log, err));
    CVR_TRY(distill_scale(b, -1, log, &log, err));
    CVR_TRY(distill_add(b, others, log, &log, err));
    CVR_TRY(distill_mul(b, log, rest, &log, err));
    CVR_TRY(distill_sum_classes(b, log, out, err));
    return distill_scale(b, 1 / n_rest, *out, out, err);
}

/* `mask`: 1 for the own class; `rest`: 1 for the others. */
static int32_t part(const cvr_builder *b, const char *name, cvr_value scores, cvr_value mask, cvr_value rest, parted *p,
                    cvr_error *err) {
    const double n_rest = (double)(b->type(b, scores)->shape[1] - 1);
    cvr_value away, pair[2];
    CVR_TRY(distill_scale(b, -OUT, mask, &away, err));
    CVR_TRY(distill_add(b, scores, away, &p->others, err));
    CVR_TRY(distill_mul(b, scores, mask, &pair[0], err));
    CVR_TRY(distill_sum_classes(b, pair[0], &pair[0], err));
    CVR_TRY(log_sum(b, p->others, rest, n_rest, &pair[1], err));
    return cvr_layer2(b, name, "concat", "dim=1", pair, &p->two, err);
}

/* min(epoch / warmup, 1) */
static int32_t ramp(const cvr_builder *b, double warmup, cvr_value loss, cvr_value *out, cvr_error *err) {
    cvr_value in[2] = {loss};
    *out = loss;
    if (warmup <= 0) return CVR_OK;
    CVR_TRY(b->scalar(b, "epoch", CVR_F32, &in[1], err));
    CVR_TRY(distill_sum(b, in[1], &in[1], err)); /* one element becomes () */
    CVR_TRY(distill_scale(b, 6 / warmup, in[1], &in[1], err));
    CVR_TRY(cvr_emit(b, "relu6", NULL, 0, &in[1], 1, &in[1], err));
    CVR_TRY(distill_scale(b, 1.0 / 6, in[1], &in[1], err));
    return distill_mul(b, in[0], in[1], out, err);
}

/* 1 - mask */
static int32_t rest_of(const cvr_builder *b, cvr_value mask, cvr_value *out, cvr_error *err) {
    cvr_value in[2];
    CVR_TRY(distill_scale(b, -1, mask, &in[0], err));
    CVR_TRY(distill_one(b, &in[1], err));
    return cvr_emit(b, "add_broadcast", NULL, 0, in, 2, out, err);
}

static int32_t add(const cvr_distillation *d, const dkd_attrs *a, const distill_scores *r, cvr_error *err) {
    const cvr_builder *b = d->builder;
    const double scale = a->T * a->T / r->positions;
    const cvr_value label = d->student->input(d->student, "label");
    cvr_value student, teacher, mask, rest, own, others, loss;
    parted s, t;
    if (d->n_classes < 2) return cvr_fail(err, CVR_ERR_USAGE, "distill.method = dkd: there is but one class");
    CVR_TRY(distill_class_mask(b, label, r->student, &mask, err));
    CVR_TRY(rest_of(b, mask, &rest, err));
    CVR_TRY(distill_scale(b, 1 / a->T, r->student, &student, err));
    CVR_TRY(distill_scale(b, 1 / a->T, r->teacher, &teacher, err));
    CVR_TRY(part(b, "student", student, mask, rest, &s, err));
    CVR_TRY(part(b, "teacher", teacher, mask, rest, &t, err));
    CVR_TRY(distill_divergence(b, s.two, t.two, a->alpha * scale, &own, err));
    CVR_TRY(distill_divergence(b, s.others, t.others, a->beta * scale, &others, err));
    CVR_TRY(distill_add(b, own, others, &loss, err));
    CVR_TRY(ramp(b, a->warmup, loss, &loss, err));
    return d->student->put(d->student, "distill", CVR_ROLE_LOSS, loss, err);
}

static int32_t losses(const cvr_distillation *d, double *task_weight, cvr_error *err) {
    distill_scores r;
    int32_t found;
    (void)task_weight;
    CVR_TRY(distill_result(d, 0, &r, &found, err));
    return found ? add(d, d->attrs, &r, err) : cvr_fail(err, CVR_ERR_USAGE, "the network gives no result");
}

static const cvr_attr_desc *const attrs[] = {
    CVR_ATTR(FLOAT, "T", "4", "temperature: what scores are divided by", CVR_ATTR_BETWEEN(0.01, 1000)),
    CVR_ATTR(FLOAT, "alpha", "1", "weight of what the teacher says of a picture's own class", CVR_ATTR_BETWEEN(0, 1e6)),
    CVR_ATTR(FLOAT, "beta", "8", "weight of what it says of the other classes among each other",
             CVR_ATTR_BETWEEN(0, 1e6)),
    CVR_ATTR(FLOAT, "warmup", "1", "epochs in which both rise from 0; the paper: 20 of 240", CVR_ATTR_BETWEEN(0, 1e6)),
};

const cvr_distiller_desc distill_dkd = {.struct_size = sizeof distill_dkd,
                                        .name = "dkd",
                                        .doc = "a picture's own class and the others apart (Zhao et al., 2022)",
                                        .n_attrs = sizeof attrs / sizeof *attrs,
                                        .attrs = attrs,
                                        .losses = losses};
