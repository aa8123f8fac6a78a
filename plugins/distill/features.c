/*
 * What layers of both networks give is compared, a pair of layers at a time (distill.layers); where one map is larger
 * than the other it is averaged down.
 *
 * "hints": a 1x1 convolution with batch norm and relu brings the student's features to the teacher's channels, and
 * their squared distance is the loss (Romero et al., "FitNets: Hints for Thin Deep Nets", 2015).
 *
 * "attention": of each place the mean of its squared features counts, a map of where the network looks; both maps, with
 * length 1, are to be the same (Zagoruyko and Komodakis, "Paying More Attention to Attention", 2017).
 */
#include "distill.h"
#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/ops/norm.h>

typedef struct feature_attrs {
    double weight;
} feature_attrs;

/* Features of both networks, f32, (N, C, H, W) of one H and W. */
typedef struct features {
    const char *layer; /* the student's */
    cvr_value student, teacher;
} features;

static int32_t smaller(const cvr_builder *b, const char *name, const cvr_type *to, cvr_value *x, cvr_error *err) {
    const cvr_type *is = b->type(b, *x);
    char size[64];
    if (is->shape[2] <= to->shape[2] && is->shape[3] <= to->shape[3]) return CVR_OK;
    (void)snprintf(size, sizeof size, "output_size=%lld,%lld", (long long)to->shape[2], (long long)to->shape[3]);
    return cvr_layer(b, name, "adaptive_avg_pool2d", size, *x, x, err);
}

static int32_t features_of(const cvr_builder *b, const cvr_distill_pair *p, features *f, cvr_error *err) {
    const cvr_type *s = b->type(b, p->student), *t = b->type(b, p->teacher);
    if (s->rank != 4 || t->rank != 4)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "distill.layers: %.100s gives no map of features (N, C, H, W)",
                        s->rank != 4 ? p->student_layer : p->teacher_layer);
    f->layer = p->student_layer;
    CVR_TRY(distill_f32(b, p->student, &f->student, err));
    CVR_TRY(distill_f32(b, p->teacher, &f->teacher, err));
    CVR_TRY(smaller(b, "teacher", s, &f->teacher, err));
    CVR_TRY(smaller(b, "student", b->type(b, f->teacher), &f->student, err));
    s = b->type(b, f->student);
    t = b->type(b, f->teacher);
    if (s->shape[2] == t->shape[2] && s->shape[3] == t->shape[3]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "distill.layers: maps of %lldx%lld and %lldx%lld cannot be compared",
                    (long long)s->shape[3], (long long)s->shape[2], (long long)t->shape[3], (long long)t->shape[2]);
}

static int32_t distance(const cvr_builder *b, cvr_value x, cvr_value to, double weight, cvr_value *out,
                        cvr_error *err) {
    const cvr_loss_attrs mean = {CVR_LOSS_MEAN};
    const cvr_value in[2] = {x, to};
    CVR_TRY(cvr_emit(b, "mse_loss", &mean, sizeof mean, in, 2, out, err));
    return distill_scale(b, weight, *out, out, err);
}

/* ---- hints ---- */

static int32_t hint(const cvr_builder *b, const features *f, double weight, cvr_value *out, cvr_error *err) {
    char settings[64], name[160];
    cvr_value x;
    (void)snprintf(settings, sizeof settings, "%lld kernel_size=1 bias=no",
                   (long long)b->type(b, f->teacher)->shape[1]);
    (void)snprintf(name, sizeof name, "%.120s.conv", f->layer);
    CVR_TRY(cvr_layer(b, name, "conv2d", settings, f->student, &x, err));
    (void)snprintf(name, sizeof name, "%.120s.norm", f->layer);
    CVR_TRY(cvr_layer(b, name, "batch_norm2d", "", x, &x, err));
    CVR_TRY(cvr_layer(b, "relu", "relu", "", x, &x, err));
    return distance(b, x, f->teacher, weight, out, err);
}

/* ---- attention ---- */

/* Mean over channels of x * x, a row a picture, with length 1: (N, H*W, 1, 1). */
static int32_t attention_map(const cvr_builder *b, cvr_value x, cvr_value *out, cvr_error *err) {
    const cvr_reduce_attrs channels = {.n_dim = 1, .dim = {1}};
    const cvr_l2_norm2d_attrs norm = {.eps = 1e-12};
    char shape[96];
    cvr_value v;
    CVR_TRY(distill_mul(b, x, x, &v, err));
    CVR_TRY(cvr_emit(b, "mean", &channels, sizeof channels, &v, 1, &v, err));
    const cvr_type *t = b->type(b, v); /* (N, H, W) */
    (void)snprintf(shape, sizeof shape, "shape=%lld,%lld,1,1", (long long)t->shape[0],
                   (long long)(t->shape[1] * t->shape[2]));
    CVR_TRY(cvr_layer(b, "map", "reshape", shape, v, &v, err));
    return cvr_emit(b, "l2_norm2d", &norm, sizeof norm, &v, 1, out, err);
}

static int32_t attention(const cvr_builder *b, const features *f, double weight, cvr_value *out, cvr_error *err) {
    cvr_value student, teacher;
    CVR_TRY(attention_map(b, f->student, &student, err));
    CVR_TRY(attention_map(b, f->teacher, &teacher, err));
    return distance(b, student, teacher, weight, out, err);
}

/* ---- a loss a pair ---- */

typedef int32_t (*compare_fn)(const cvr_builder *b, const features *f, double weight, cvr_value *out, cvr_error *err);

static int32_t compare(const cvr_distillation *d, compare_fn f, const char *what, cvr_error *err) {
    const feature_attrs *a = d->attrs;
    for (uint64_t i = 0; i < d->n_pairs; i++) {
        features of;
        cvr_value loss;
        char name[160];
        (void)snprintf(name, sizeof name, "%s_%.120s", what, d->pairs[i]->student_layer);
        CVR_TRY(features_of(d->builder, d->pairs[i], &of, err));
        CVR_TRY(f(d->builder, &of, a->weight, &loss, err));
        CVR_TRY(d->student->put(d->student, name, CVR_ROLE_LOSS, loss, err));
    }
    return CVR_OK;
}

static int32_t hints_losses(const cvr_distillation *d, double *task_weight, cvr_error *err) {
    (void)task_weight;
    return compare(d, hint, "hint", err);
}

static int32_t attention_losses(const cvr_distillation *d, double *task_weight, cvr_error *err) {
    (void)task_weight;
    return compare(d, attention, "attention", err);
}

static const cvr_attr_desc *const hints_attrs[] = {
    CVR_ATTR(FLOAT, "weight", "100", "of the squared distance, beside the task's losses", CVR_ATTR_BETWEEN(0, 1e9)),
};
static const cvr_attr_desc *const attention_attrs[] = {
    CVR_ATTR(FLOAT, "weight", "1000", "of the squared distance, beside the task's losses", CVR_ATTR_BETWEEN(0, 1e9)),
};

const cvr_distiller_desc distill_hints = {.struct_size = sizeof distill_hints,
                                          .name = "hints",
                                          .doc = "features within the teacher (Romero et al., 2015)",
                                          .n_attrs = 1,
                                          .layers = 1,
                                          .attrs = hints_attrs,
                                          .losses = hints_losses};
const cvr_distiller_desc distill_attention = {.struct_size = sizeof distill_attention,
                                              .name = "attention",
                                              .doc = "where the teacher looks (Zagoruyko and Komodakis, 2017)",
                                              .n_attrs = 1,
                                              .layers = 1,
                                              .attrs = attention_attrs,
                                              .losses = attention_losses};
