/*
 * Task "classify": one class for each picture. Loss: cross entropy with label smoothing (Szegedy et al., "Rethinking
 * the Inception Architecture for Computer Vision", 2016). Metrics: top1, top5, the
 * accuracy of each class, and the confusion matrix. A label may be a share for each class, as mixing makes them.
 */
#include "../task_losses.h"
#include <math.h>

#define SHOWN_CLASSES 5
#define OUTPUT "output"

typedef struct classify_attrs {
    double label_smoothing, aux_weight;
} classify_attrs;

#define MATRIX_MOST_CLASSES 2048 /* with more there is no confusion matrix: it grows by the square */

/* Pictures of a class, and those of them that were right. */
typedef struct class_count {
    uint64_t truth, right;
} class_count;

typedef struct classify_metrics {
    const cvr_host *host;
    int64_t n_classes;
    task_matrix *matrix; /* NULL: there are too many classes */
    class_count *classes;
    uint64_t samples, top1, top5;
} classify_metrics;

/* output: (N, n_classes) f32; target: (N) i64, or (N, n_classes) f32 */
static int32_t check_output(const cvr_task_info *info, const cvr_type *output, const cvr_type *target, cvr_error *err) {
    if (output->rank != 2 || output->dtype != CVR_F32)
        return cvr_fail(
            err, CVR_ERR_INVALID,
            "the network's output has rank %u; classification needs (N, classes): end it with flatten and linear",
            output->rank);
    if (output->shape[1] != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has %lld numbers a picture for %lld classes; change its last layer",
                        (long long)output->shape[1], (long long)info->n_classes);
    if (target->dtype == CVR_F32 && target->shape[1] != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "labels have %lld shares for %lld classes", (long long)target->shape[1],
                        (long long)info->n_classes);
    return CVR_OK;
}

static int32_t classify_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const classify_attrs *a = info->attrs;
    char settings[64] = "";
    if (a->label_smoothing > 0 && b->training)
        (void)snprintf(settings, sizeof settings, "label_smoothing=%.17g", a->label_smoothing);
    const task_loss loss = {.layer = "cross_entropy",
                            .field = "label",
                            .settings = settings,
                            .weight = 1,
                            .aux_weight = a->aux_weight,
                            .aux_usual = 0.4,
                            .check = check_output,
                            .prepare = task_class_weights};
    return task_add_losses(b, info, io, &loss, err);
}

static int32_t classify_pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_usual(p, err);
}

/* ---- metrics ---- */

static void classify_close(void *self) {
    classify_metrics *const m = self;
    if (m->matrix) m->host->free(m->host, m->matrix);
    if (m->classes) m->host->free(m->host, m->classes);
    m->host->free(m->host, m);
}

static int32_t open_counts(classify_metrics *m, cvr_error *err) {
    const uint64_t bytes = (uint64_t)m->n_classes * sizeof *m->classes;
    m->classes = m->host->alloc(m->host, bytes, 16);
    if (!m->classes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(m->classes, 0, bytes);
    if (m->n_classes > MATRIX_MOST_CLASSES) return CVR_OK;
    m->matrix = task_matrix_new(m->host, m->n_classes, err);
    return m->matrix ? CVR_OK : CVR_ERR_NOMEM;
}

static int32_t classify_open(const cvr_task_info *info, void **self, cvr_error *err) {
    if (info->n_classes > 65536)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%lld classes; at most 65536 can be counted",
                        (long long)info->n_classes);
    classify_metrics *const m = info->host->alloc(info->host, sizeof *m, 16);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *m = (classify_metrics){.host = info->host, .n_classes = info->n_classes};
    const int32_t status = open_counts(m, err);
    if (status != CVR_OK)
        classify_close(m);
    else
        *self = m;
    return status;
}

/* Logits before `which` in descending order, equal ones by index; one that is not a number stands last. */
static int64_t rank_of(const float *logits, int64_t n, int64_t which) {
    int64_t before = 0;
    if (isnan(logits[which])) return n - 1;
    for (int64_t i = 0; i < n; i++) before += logits[i] > logits[which] || (logits[i] == logits[which] && i < which);
    return before;
}

/* output: (N, classes) f32; label: (N) i64, or (N, classes) f32, where the largest share counts */
static int32_t classify_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    classify_metrics *const m = self;
    const cvr_named_tensor *const output = cvr_batch_find(batch->outputs, OUTPUT);
    const cvr_named_tensor *const label = cvr_batch_find(batch->targets, "label");
    if (!output) return cvr_fail(err, CVR_ERR_INVALID, "the network has no result `" OUTPUT "`");
    const int64_t n = output->tensor.shape[0], classes = output->tensor.shape[1];
    for (int64_t i = 0; label && i < n; i++) {
        const float *logits = (const float *)output->tensor.data + i * classes;
        const int64_t truth = label->tensor.dtype == CVR_F32
                                  ? cvr_argmax((const float *)label->tensor.data + i * classes, classes)
                                  : ((const int64_t *)label->tensor.data)[i];
        if (truth < 0 || truth >= classes || classes != m->n_classes)
            return cvr_fail(err, CVR_ERR_INVALID, "label %lld of %lld classes; there are %lld", (long long)truth,
                            (long long)classes, (long long)m->n_classes);
        const int64_t rank = rank_of(logits, classes, truth);
        m->samples++;
        m->top1 += rank == 0;
        m->top5 += rank < 5;
        const int64_t said = cvr_argmax(logits, classes);
        m->classes[truth].truth++;
        m->classes[truth].right += said == truth;
        if (m->matrix) m->matrix->count[truth * classes + said]++;
    }
    return CVR_OK;
}

static void classify_result(const void *self, cvr_metric_fn each, void *ctx) {
    const classify_metrics *const m = self;
    const double n = m->samples ? (double)m->samples : 1;
    each(ctx, "top1", (double)m->top1 / n);
    each(ctx, "top5", (double)m->top5 / n);
}

static void classify_per_class(const void *self, cvr_class_metric_fn each, void *ctx) {
    const classify_metrics *const m = self;
    for (int64_t k = 0; k < m->n_classes && m->samples; k++)
        each(ctx, k, "accuracy", task_share(m->classes[k].right, m->classes[k].truth));
}

static const uint64_t *classify_matrix(const void *self) {
    const classify_metrics *const m = self;
    return m->samples && m->matrix ? m->matrix->count : NULL;
}

/* ---- prediction ---- */

typedef struct top_class {
    int64_t index;
    double prob;
} top_class;

/* The likeliest classes, by softmax in double; the first of several that are alike. One pass: there may be many. */
static int64_t top_classes(const float *logits, int64_t n, top_class *top) {
    const float highest = logits[cvr_argmax(logits, n)];
    double sum = 0;
    int64_t shown = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - (double)highest);
        if (shown == SHOWN_CLASSES && logits[i] <= logits[top[shown - 1].index]) continue;
        int64_t at = shown < SHOWN_CLASSES ? shown++ : shown - 1;
        for (; at > 0 && logits[top[at - 1].index] < logits[i]; at--) top[at] = top[at - 1];
        top[at].index = i;
    }
    for (int64_t i = 0; i < shown; i++) top[i].prob = exp((double)logits[top[i].index] - (double)highest) / sum;
    return shown;
}

static int32_t classify_predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                                const cvr_prediction_sink *sink, cvr_error *err) {
    const cvr_named_tensor *const output = cvr_batch_find(outputs, OUTPUT);
    const int64_t n = output && output->tensor.rank == 2 ? output->tensor.shape[1] : 0;
    top_class top[SHOWN_CLASSES] = {{0, 0}};
    char text[8192], name[1200];
    if (n != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has %lld outputs for %lld classes", (long long)n,
                        (long long)info->n_classes);
    const float *logits = (const float *)output->tensor.data + row * n;
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]))
            return cvr_fail(err, CVR_ERR_NUMERIC, "the network's output is not finite; its weights are broken");
    }
    const int64_t shown = top_classes(logits, n, top);
    size_t at = (size_t)snprintf(text, sizeof text, "\"top\": [");
    for (int64_t i = 0; i < shown; i++) {
        (void)cvr_json_string(name, sizeof name, info->class_names[top[i].index]);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s{\"index\": %lld, \"name\": %s, \"prob\": %.6f}",
                               i ? ", " : "", (long long)top[i].index, name, top[i].prob);
    }
    (void)snprintf(text + at, sizeof text - at, "]");
    sink->json(sink, text);
    (void)cvr_csv_string(name, sizeof name, info->class_names[top[0].index]);
    (void)snprintf(text, sizeof text, "%lld,%s,%.6f", (long long)top[0].index, name, top[0].prob);
    sink->csv(sink, text);
    at = 0;
    for (int64_t i = 0; i < shown && i < 3; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%.200s %.1f %%", i ? ", " : "",
                               info->class_names[top[i].index], 100 * top[i].prob);
    }
    sink->line(sink, text);
    return CVR_OK;
}

static const cvr_attr_desc *const classify_keys[] = {
    CVR_ATTR(FLOAT, "label_smoothing", "0", "share of the target that is spread over all classes",
             CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "aux_weight", "-1",
             "weight of the losses of auxiliary classifiers; -1: as the model says, 0.4 where it does not",
             CVR_ATTR_AT_LEAST(-1)),
};

static const cvr_want label = {.struct_size = sizeof label,
                               .field = "label",
                               .kind = CVR_FIELD_LABEL,
                               .remedy = "choose another data.format",
                               .several = "set run.task = multilabel"};
static const cvr_want *const wants[] = {&label};

static const cvr_task_desc classify_task = {.struct_size = sizeof classify_task,
                                            .name = "classify",
                                            .doc = "one class for each picture",
                                            .n_attrs = sizeof classify_keys / sizeof *classify_keys,
                                            .n_wants = 1,
                                            .attrs = classify_keys,
                                            .wants = wants,
                                            .pipeline = classify_pipeline,
                                            .losses = classify_losses,
                                            .best_metric = "top1",
                                            .metrics_open = classify_open,
                                            .metrics_update = classify_update,
                                            .metrics_result = classify_result,
                                            .metrics_per_class = classify_per_class,
                                            .metrics_matrix = classify_matrix,
                                            .metrics_close = classify_close,
                                            .predict = classify_predict,
                                            .csv_header = "index,name,prob"};

static int32_t classify_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &classify_task, err);
}

CVR_DEFINE_PLUGIN("task_classify", "0.1.0", "layer:cross_entropy op:expand", classify_load)
