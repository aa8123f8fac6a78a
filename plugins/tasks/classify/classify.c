/*
 * Task "classify": one class for each picture. Loss: cross entropy with label smoothing (Szegedy et al., "Rethinking
 * the Inception Architecture for Computer Vision", 2016). Metrics: top1, top5, and the confusion matrix.
 */
#include <cvr/plugin/plugin.h>
#include <math.h>

#define SHOWN_CLASSES 5

typedef struct classify_attrs {
    double label_smoothing;
} classify_attrs;

typedef struct classify_metrics {
    const cvr_host *host;
    int64_t n_classes;
    uint64_t samples, top1, top5;
    uint64_t matrix[];
} classify_metrics;

/* output: (N, n_classes) f32 -> target: (N) i64 */
static int32_t classify_target(const cvr_task_info *info, const cvr_type *output, cvr_type *target, cvr_error *err) {
    if (output->rank != 2 || output->dtype != CVR_F32) {
        return cvr_fail(
            err, CVR_ERR_INVALID,
            "the network's output has rank %u; classification needs (N, classes): end it with flatten and linear",
            output->rank);
    }
    if (output->shape[1] != info->n_classes) {
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has %lld numbers a picture for %lld classes; change its last layer",
                        (long long)output->shape[1], (long long)info->n_classes);
    }
    cvr_type_set(target, CVR_I64, 1, output->shape);
    return CVR_OK;
}

static int32_t classify_loss(const cvr_builder *b, const cvr_task_info *info, cvr_value output, cvr_value target,
                             cvr_value *loss, cvr_error *err) {
    const classify_attrs *a = (const classify_attrs *)info->attrs;
    char settings[64] = "";
    if (a->label_smoothing > 0 && b->training)
        (void)snprintf(settings, sizeof settings, "label_smoothing=%.17g", a->label_smoothing);
    const cvr_value in[2] = {output, target};
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "loss",
                                 .settings = settings,
                                 .inputs = in,
                                 .outputs = loss,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    return b->layer(b, &call, err);
}

static int32_t classify_open(const cvr_task_info *info, void **self, cvr_error *err) {
    const uint64_t n = (uint64_t)info->n_classes, cells = n * n;
    if (n > 65536)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%lld classes; at most 65536 can be counted",
                        (long long)info->n_classes);
    classify_metrics *m = (classify_metrics *)info->host->alloc(info->host, sizeof *m + cells * sizeof *m->matrix, 64);
    if (!m)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the confusion matrix of %lld classes",
                        (long long)info->n_classes);
    memset(m, 0, sizeof *m + cells * sizeof *m->matrix);
    m->host = info->host;
    m->n_classes = info->n_classes;
    *self = m;
    return CVR_OK;
}

static void classify_close(void *self) {
    classify_metrics *m = (classify_metrics *)self;
    m->host->free(m->host, m);
}

/* Logits before `which` in descending order, equal ones by index; one that is not a number stands last. */
static int64_t rank_of(const float *logits, int64_t n, int64_t which) {
    int64_t before = 0;
    if (isnan(logits[which])) return n - 1;
    for (int64_t i = 0; i < n; i++) before += logits[i] > logits[which] || (logits[i] == logits[which] && i < which);
    return before;
}

static int64_t argmax(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (logits[i] > logits[best] || isnan(logits[best])) best = i;
    }
    return best;
}

/* output: (N, classes) f32, target: (N) i64 */
static int32_t classify_update(void *self, const cvr_tensor *output, const cvr_tensor *target, cvr_error *err) {
    classify_metrics *m = (classify_metrics *)self;
    const int64_t n = output->shape[0], classes = output->shape[1];
    for (int64_t i = 0; i < n; i++) {
        const float *logits = (const float *)output->data + i * classes;
        const int64_t truth = ((const int64_t *)target->data)[i];
        if (truth < 0 || truth >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "label %lld; there are %lld classes", (long long)truth,
                            (long long)classes);
        const int64_t rank = rank_of(logits, classes, truth);
        m->samples++;
        m->top1 += rank == 0;
        m->top5 += rank < 5;
        m->matrix[truth * m->n_classes + argmax(logits, classes)]++;
    }
    return CVR_OK;
}

static void classify_result(const void *self, cvr_metric_fn each, void *ctx) {
    const classify_metrics *m = (const classify_metrics *)self;
    const double n = m->samples ? (double)m->samples : 1;
    each(ctx, "top1", (double)m->top1 / n);
    each(ctx, "top5", (double)m->top5 / n);
}

static const uint64_t *classify_matrix(const void *self) {
    return ((const classify_metrics *)self)->matrix;
}

/* ---- prediction ---- */

/* A name as a JSON string; what JSON cannot hold becomes '?'. */
static void json_name(char *out, size_t size, const char *name) {
    size_t n = 0;
    out[n++] = '"';
    for (; *name && n + 4 < size; name++) {
        const unsigned char c = (unsigned char)*name;
        if (c == '"' || c == '\\') out[n++] = '\\';
        out[n++] = c < 0x20 ? '?' : (char)c;
    }
    out[n++] = '"';
    out[n] = '\0';
}

typedef struct top_class {
    int64_t index;
    double prob;
} top_class;

/* The likeliest classes, by softmax in double. */
static int64_t top_classes(const float *logits, int64_t n, top_class *top) {
    const float highest = logits[argmax(logits, n)];
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp((double)logits[i] - (double)highest);
    const int64_t shown = n < SHOWN_CLASSES ? n : SHOWN_CLASSES;
    for (int64_t i = 0; i < n; i++) {
        const int64_t rank = rank_of(logits, n, i);
        if (rank < shown) top[rank] = (top_class){i, exp((double)logits[i] - (double)highest) / sum};
    }
    return shown;
}

static int32_t classify_predict(const cvr_task_info *info, const cvr_tensor *output, int64_t row,
                                const cvr_prediction_sink *sink, cvr_error *err) {
    const int64_t n = output->shape[1];
    const float *logits = (const float *)output->data + row * n;
    top_class top[SHOWN_CLASSES] = {{0, 0}};
    char text[8192], name[1200];
    if (n != info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has %lld outputs for %lld classes", (long long)n,
                        (long long)info->n_classes);
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(logits[i]))
            return cvr_fail(err, CVR_ERR_NUMERIC, "the network's output is not finite; its weights are broken");
    }
    const int64_t shown = top_classes(logits, n, top);
    size_t at = (size_t)snprintf(text, sizeof text, "\"top\": [");
    for (int64_t i = 0; i < shown; i++) {
        json_name(name, sizeof name, info->class_names[top[i].index]);
        at += (size_t)snprintf(text + at, sizeof text - at, "%s{\"index\": %lld, \"name\": %s, \"prob\": %.6f}",
                               i ? ", " : "", (long long)top[i].index, name, top[i].prob);
    }
    (void)snprintf(text + at, sizeof text - at, "]");
    sink->json(sink, text);
    json_name(name, sizeof name, info->class_names[top[0].index]);
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

static const cvr_attr_desc label_smoothing = {.struct_size = sizeof label_smoothing,
                                              .name = "label_smoothing",
                                              .kind = CVR_ATTR_FLOAT,
                                              .count = 1,
                                              .flags = CVR_ATTR_MIN | CVR_ATTR_MAX,
                                              .default_text = "0",
                                              .min = 0,
                                              .max = 1,
                                              .doc = "share of the target that is spread over all classes"};
static const cvr_attr_desc *const classify_keys[] = {&label_smoothing};

static const cvr_task_desc classify_task = {.struct_size = sizeof classify_task,
                                            .name = "classify",
                                            .doc = "one class for each picture",
                                            .n_attrs = 1,
                                            .target_kind = CVR_FIELD_LABEL,
                                            .attrs = classify_keys,
                                            .target = classify_target,
                                            .loss = classify_loss,
                                            .best_metric = "top1",
                                            .metrics_open = classify_open,
                                            .metrics_update = classify_update,
                                            .metrics_result = classify_result,
                                            .metrics_matrix = classify_matrix,
                                            .metrics_close = classify_close,
                                            .predict = classify_predict,
                                            .csv_header = "index,name,prob"};

static int32_t classify_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &classify_task, err);
}

CVR_DEFINE_PLUGIN("task_classify", "0.1.0", "layer:cross_entropy", classify_load)
