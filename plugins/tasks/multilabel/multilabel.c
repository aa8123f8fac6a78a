/*
 * Task "multilabel": any number of classes for each picture. Loss: binary cross entropy of each class by itself, the
 * mean over pictures and classes (torch.nn.BCEWithLogitsLoss). Data with one class a picture is taken, too, as timm
 * does with --bce-loss (Wightman, Touvron, Jegou: "ResNet strikes back", 2021). Metrics: the mean of the classes'
 * average precisions, where classes without a picture are left out; F1 over all decisions, and as the mean over
 * classes.
 */
#include "../task_losses.h"
#include "multilabel_scores.h"
#include <cvr/plugin/ops/arith.h>
#include <math.h>
#include <stdlib.h>

#define OUTPUT "output"
#define LABEL "label"

typedef struct multilabel_attrs {
    double label_smoothing;
    int64_t smooth_dense;
    const char *pos_weight;
    double threshold, aux_weight;
} multilabel_attrs;

/* ---- loss ---- */

/* output, target: (N, n_classes) f32 */
static int32_t check_output(const cvr_task_info *info, const cvr_type *output, const cvr_type *target, cvr_error *err) {
    if (output->rank != 2 || output->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has rank %u; this task needs (N, classes): end it with flatten and "
                        "linear",
                        output->rank);
    if (output->shape[1] != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has %lld numbers a picture for %lld classes; change its last layer",
                        (long long)output->shape[1], (long long)info->n_classes);
    if (target->rank == 2 && target->shape[1] == info->n_classes) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "labels have %lld shares for %lld classes",
                    target->rank == 2 ? (long long)target->shape[1] : 1, (long long)info->n_classes);
}

/* target * (1 - s) + s / 2, or + s / classes: see the key smooth_dense */
static int32_t smooth(const cvr_builder *b, const cvr_task_info *info, cvr_value *target, cvr_error *err) {
    const multilabel_attrs *const a = info->attrs;
    const double even = a->label_smoothing / (a->smooth_dense ? 2 : (double)info->n_classes);
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT, .a = even};
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "smoothing",
                                 .dtype = CVR_F32,
                                 .rank = 1,
                                 .shape = {1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .init = &init};
    cvr_value parts[2] = {CVR_NONE, CVR_NONE};
    CVR_TRY(task_scale(b, 1 - a->label_smoothing, *target, &parts[0], err));
    CVR_TRY(b->param(b, &decl, &parts[1], err));
    return cvr_emit(b, "add_broadcast", NULL, 0, parts, 2, target, err);
}

/* One number for all classes, or "a,b,c": one for each; *n of them. */
static int32_t parse_weights(const char *text, float *out, int64_t n_classes, int64_t *n, cvr_error *err) {
    const char *at = text;
    for (*n = 0; *n < n_classes;) {
        char *end;
        const double w = strtod(at, &end);
        if (end == at || !(w >= 0 && w < 1e30)) break;
        out[(*n)++] = (float)w;
        at = end + strspn(end, " ");
        if (*at != ',') break;
        at++;
    }
    if (*at == '\0' && at != text && at[-1] != ',' && (*n == 1 || *n == n_classes)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "train.pos_weight = %.60s; give a number from 0 on for all classes, or %lld of them, one for each",
                    text, (long long)n_classes);
}

/* A constant (1) or (classes). */
static int32_t add_weights(const cvr_builder *b, const cvr_task_info *info, cvr_value *out, cvr_error *err) {
    const cvr_host *const host = info->host;
    float *const weights = host->alloc(host, (uint64_t)info->n_classes * sizeof *weights, 16);
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = "pos_weight",
                           .dtype = CVR_F32,
                           .rank = 1,
                           .flags = CVR_PARAM_CONSTANT,
                           .values = weights};
    int32_t status;
    if (!weights) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(parse_weights(((const multilabel_attrs *)info->attrs)->pos_weight, weights, info->n_classes,
                              &decl.shape[0], err));
    CVR_TRY_OUT(b->param(b, &decl, out, err));
out:
    host->free(host, weights);
    return status;
}

/* Both in training only: validation's loss is plain. */
static int32_t prepare(const cvr_builder *b, const cvr_task_info *info, cvr_value in[3], cvr_error *err) {
    const multilabel_attrs *const a = info->attrs;
    if (info->class_weights)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "train.class_weights is for one class a picture; set train.pos_weight instead");
    if (!b->training) return CVR_OK;
    if (a->label_smoothing > 0) CVR_TRY(smooth(b, info, &in[1], err));
    return a->pos_weight[0] ? add_weights(b, info, &in[2], err) : CVR_OK;
}

static int32_t multilabel_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const task_loss loss = {.layer = "bce_with_logits",
                            .field = LABEL,
                            .settings = "",
                            .weight = 1,
                            .aux_weight = ((const multilabel_attrs *)info->attrs)->aux_weight,
                            .aux_usual = 0.4,
                            .check = check_output,
                            .prepare = prepare};
    return task_add_losses(b, info, io, &loss, err);
}

static int32_t multilabel_pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_usual(p, err);
}

/* ---- metrics ---- */

static int32_t multilabel_open(const cvr_task_info *info, void **self, cvr_error *err) {
    multilabel_scores *s;
    CVR_TRY(multilabel_scores_open(info->host, info->n_classes, ((const multilabel_attrs *)info->attrs)->threshold, &s,
                                   err));
    *self = s;
    return CVR_OK;
}

static void multilabel_close(void *self) {
    multilabel_scores_close(self);
}

/* output, label: (N, classes) f32 */
static int32_t multilabel_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    multilabel_scores *const s = self;
    const cvr_named_tensor *const output = cvr_batch_find(batch->outputs, OUTPUT);
    const cvr_named_tensor *const label = cvr_batch_find(batch->targets, LABEL);
    if (!output) return cvr_fail(err, CVR_ERR_INVALID, "the network has no result `" OUTPUT "`");
    if (!label) return CVR_OK;
    return multilabel_scores_add(s, output->tensor.data, label->tensor.data, output->tensor.shape[0], err);
}

/* 2 * right / (positives + predicted), NaN where both are 0 */
static double f1_of(uint64_t right, uint64_t positives, uint64_t predicted) {
    return task_share(2 * right, positives + predicted);
}

static double or_zero(double x) {
    return isnan(x) ? 0 : x;
}

/* As scikit-learn's defaults have it, a class that is neither there nor predicted has an F1 of 0 in the mean. */
static void multilabel_result(const void *self, cvr_metric_fn each, void *ctx) {
    const multilabel_scores *const s = self;
    const multilabel_class *const c = multilabel_scores_rank(s);
    uint64_t right = 0, positives = 0, predicted = 0, ranked = 0;
    double ap = 0, f1 = 0;
    for (int64_t k = 0; k < s->n_classes; k++) {
        right += c[k].right;
        positives += c[k].positives;
        predicted += c[k].predicted;
        ranked += c[k].positives > 0;
        ap += or_zero(c[k].ap);
        f1 += or_zero(f1_of(c[k].right, c[k].positives, c[k].predicted));
    }
    each(ctx, "map", ranked ? ap / (double)ranked : 0);
    each(ctx, "f1", or_zero(f1_of(right, positives, predicted)));
    each(ctx, "f1_macro", f1 / (double)s->n_classes);
}

static void multilabel_per_class(const void *self, cvr_class_metric_fn each, void *ctx) {
    const multilabel_scores *const s = self;
    const multilabel_class *const c = multilabel_scores_rank(s);
    for (int64_t k = 0; k < s->n_classes && s->n; k++) {
        each(ctx, k, "ap", c[k].ap);
        each(ctx, k, "f1", f1_of(c[k].right, c[k].positives, c[k].predicted));
        each(ctx, k, "positives", (double)c[k].positives);
    }
}

/* ---- prediction ---- */

typedef struct found_class {
    int64_t index;
    float logit;
} found_class;

static int likelier_first(const void *a, const void *b) {
    const found_class *const x = a, *const y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? 1 : -1;
    return (x->index > y->index) - (x->index < y->index);
}

/* The classes from the threshold on, the likeliest first; else only the likeliest. */
static int64_t find_classes(const float *logits, int64_t n, float threshold, found_class *found) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        if (logits[i] >= threshold) found[count++] = (found_class){i, logits[i]};
    }
    if (count == 0) {
        const int64_t top = cvr_argmax(logits, n);
        found[count++] = (found_class){top, logits[top]};
    }
    qsort(found, (size_t)count, sizeof *found, likelier_first);
    return count;
}

static double prob_of(const found_class *f) {
    return 1 / (1 + exp(-(double)f->logit));
}

#define MOST_JSON 1400 /* bytes of one class in the list */

/* "top": [...], in memory that the caller gives back; NULL when there is none. */
static char *write_list(const cvr_task_info *info, const found_class *found, int64_t count) {
    const uint64_t size = (uint64_t)count * MOST_JSON + 32;
    char *const text = info->host->alloc(info->host, size, 16);
    char name[1200];
    if (!text) return NULL;
    size_t at = (size_t)snprintf(text, size, "\"top\": [");
    for (int64_t i = 0; i < count; i++) {
        (void)cvr_json_string(name, sizeof name, info->class_names[found[i].index]);
        at += (size_t)snprintf(text + at, size - at, "%s{\"index\": %lld, \"name\": %s, \"prob\": %.6f}", i ? ", " : "",
                               (long long)found[i].index, name, prob_of(&found[i]));
    }
    (void)snprintf(text + at, size - at, "]");
    return text;
}

/* A row of the CSV file for each class; of the terminal's line, the first three. */
static void tell_rows(const cvr_task_info *info, const found_class *found, int64_t count,
                      const cvr_prediction_sink *sink) {
    char text[2048], name[1200];
    size_t at = 0;
    for (int64_t i = 0; i < count; i++) {
        (void)cvr_csv_string(name, sizeof name, info->class_names[found[i].index]);
        (void)snprintf(text, sizeof text, "%lld,%s,%.6f", (long long)found[i].index, name, prob_of(&found[i]));
        sink->csv(sink, text);
    }
    for (int64_t i = 0; i < count && i < 3; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.200s %.1f %%", i ? ", " : "",
                               info->class_names[found[i].index], 100 * prob_of(&found[i]));
    }
    if (count > 3) (void)snprintf(text + at, sizeof text - at, ", and %lld more", (long long)count - 3);
    sink->line(sink, text);
}

static int32_t check_logits(const cvr_task_info *info, const cvr_named_tensor *output, int64_t row, cvr_error *err) {
    const int64_t n = output && output->tensor.rank == 2 ? output->tensor.shape[1] : 0;
    if (n != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has %lld outputs for %lld classes", (long long)n,
                        (long long)info->n_classes);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(((const float *)output->tensor.data)[row * n + i]))
            return cvr_fail(err, CVR_ERR_NUMERIC, "the network's output is not finite; its weights are broken");
    }
    return CVR_OK;
}

static int32_t multilabel_predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                                  const cvr_prediction_sink *sink, cvr_error *err) {
    const cvr_host *const host = info->host;
    const cvr_named_tensor *const output = cvr_batch_find(outputs, OUTPUT);
    const float threshold = (float)multilabel_logit(((const multilabel_attrs *)info->attrs)->threshold);
    const int64_t n = info->n_classes;
    CVR_TRY(check_logits(info, output, row, err));
    found_class *const found = host->alloc(host, (uint64_t)n * sizeof *found, 16);
    if (!found) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int64_t count = find_classes((const float *)output->tensor.data + row * n, n, threshold, found);
    char *const list = write_list(info, found, count);
    if (list) {
        sink->json(sink, list);
        tell_rows(info, found, count, sink);
        host->free(host, list);
    }
    host->free(host, found);
    return list ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static const cvr_attr_desc *const multilabel_keys[] = {
    CVR_ATTR(FLOAT, "label_smoothing", "0", "how far targets move to the middle, s", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(BOOL, "smooth_dense", "yes",
             "the target of a class becomes target * (1 - s) + s / 2; no: target * (1 - s) + s / classes, as timm has "
             "it for data with one class a picture, mixed or not"),
    CVR_ATTR(STRING, "pos_weight", "",
             "what the pictures that have a class weigh in its training loss: a number for all classes, or one for "
             "each, a,b,c"),
    CVR_ATTR(FLOAT, "threshold", "0.5",
             "probability from which on a class is taken for there: f1, f1_macro, predictions", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "aux_weight", "-1",
             "weight of the losses of auxiliary classifiers; -1: as the model says, 0.4 where it does not",
             CVR_ATTR_AT_LEAST(-1)),
};

/* As f32: the index of one class becomes a share for each. */
static const cvr_want label = {.struct_size = sizeof label,
                               .field = LABEL,
                               .kind = CVR_FIELD_LABEL,
                               .dtype = CVR_F32,
                               .remedy = "choose another data.format"};
static const cvr_want *const wants[] = {&label};

static const cvr_task_desc multilabel_task = {.struct_size = sizeof multilabel_task,
                                              .name = "multilabel",
                                              .doc = "any number of classes for each picture",
                                              .n_attrs = sizeof multilabel_keys / sizeof *multilabel_keys,
                                              .n_wants = 1,
                                              .attrs = multilabel_keys,
                                              .wants = wants,
                                              .pipeline = multilabel_pipeline,
                                              .losses = multilabel_losses,
                                              .best_metric = "map",
                                              .metrics_open = multilabel_open,
                                              .metrics_update = multilabel_update,
                                              .metrics_result = multilabel_result,
                                              .metrics_per_class = multilabel_per_class,
                                              .metrics_close = multilabel_close,
                                              .predict = multilabel_predict,
                                              .csv_header = "index,name,prob"};

static int32_t multilabel_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &multilabel_task, err);
}

CVR_DEFINE_PLUGIN("task_multilabel", "0.1.0", "layer:bce_with_logits op:expand op:add_broadcast", multilabel_load)
