/*
 * Task "segment": a class for each pixel (Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic
 * Segmentation", 2015). Loss: cross entropy over the pixels that count; 255 in a mask is a pixel that does not.
 * Metrics, from the confusion matrix of all pixels: the share that is right, and the mean over classes of intersection
 * over union, where a class counts once it is in a mask or in a prediction.
 */
#include <cvr/plugin/plugin.h>
#include <math.h>

#define IGNORED 255
#define SHOWN_CLASSES 5

typedef struct segment_metrics {
    const cvr_host *host;
    int64_t n_classes;
    uint64_t matrix[]; /* (truth, prediction) */
} segment_metrics;

/* output: (N, n_classes, H, W) f32 -> target: (N, H, W) i64 */
static int32_t segment_target(const cvr_task_info *info, const cvr_type *output, cvr_type *target, cvr_error *err) {
    const int64_t shape[3] = {output->shape[0], output->shape[2], output->shape[3]};
    if (output->rank != 4 || output->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has rank %u; segmentation needs (N, classes, H, W): end it with a "
                        "convolution",
                        output->rank);
    if (output->shape[1] != info->n_classes || info->n_classes > IGNORED)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has %lld numbers a pixel for %lld classes (at most %d); change its last "
                        "layer",
                        (long long)output->shape[1], (long long)info->n_classes, IGNORED);
    cvr_type_set(target, CVR_I64, 3, shape);
    return CVR_OK;
}

static int32_t segment_loss(const cvr_builder *b, const cvr_task_info *info, cvr_value output, cvr_value target,
                            cvr_value *loss, cvr_error *err) {
    (void)info;
    const cvr_value in[2] = {output, target};
    const cvr_layer_call call = {.struct_size = sizeof call,
                                 .layer = "cross_entropy",
                                 .name = "loss",
                                 .settings = "ignore_index=255",
                                 .inputs = in,
                                 .outputs = loss,
                                 .n_inputs = 2,
                                 .n_outputs = 1};
    return b->layer(b, &call, err);
}

static int32_t segment_open(const cvr_task_info *info, void **self, cvr_error *err) {
    const uint64_t n = (uint64_t)info->n_classes;
    if (n > IGNORED)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%lld classes; a mask can tell %d apart", (long long)info->n_classes,
                        IGNORED);
    segment_metrics *m = (segment_metrics *)info->host->alloc(info->host, sizeof *m + n * n * sizeof *m->matrix, 64);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the confusion matrix");
    memset(m, 0, sizeof *m + n * n * sizeof *m->matrix);
    m->host = info->host;
    m->n_classes = info->n_classes;
    *self = m;
    return CVR_OK;
}

static void segment_close(void *self) {
    segment_metrics *m = (segment_metrics *)self;
    m->host->free(m->host, m);
}

/* The first of the largest; one that is not a number stands last. */
static int64_t argmax(const float *logits, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++) {
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i]))) best = i;
    }
    return best;
}

/* output: (N, classes, H, W) f32, in memory (N, H, W, classes); target: (N, H, W) i64 */
static int32_t segment_update(void *self, const cvr_tensor *output, const cvr_tensor *target, cvr_error *err) {
    segment_metrics *m = (segment_metrics *)self;
    const int64_t classes = output->shape[1], pixels = output->shape[0] * output->shape[2] * output->shape[3];
    for (int64_t i = 0; i < pixels; i++) {
        const int64_t truth = ((const int64_t *)target->data)[i];
        if (truth == IGNORED) continue;
        if (truth < 0 || truth >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "class %lld in a mask; there are %lld classes", (long long)truth,
                            (long long)classes);
        m->matrix[truth * m->n_classes + argmax((const float *)output->data + i * output->pixel_stride, classes)]++;
    }
    return CVR_OK;
}

/* iou_k = right_k / (truth_k + predicted_k - right_k) */
static void segment_result(const void *self, cvr_metric_fn each, void *ctx) {
    const segment_metrics *m = (const segment_metrics *)self;
    const int64_t n = m->n_classes;
    uint64_t all = 0, right = 0;
    double sum = 0;
    int64_t counted = 0;
    for (int64_t k = 0; k < n; k++) {
        uint64_t truth = 0, predicted = 0;
        for (int64_t i = 0; i < n; i++) {
            truth += m->matrix[k * n + i];
            predicted += m->matrix[i * n + k];
        }
        const uint64_t hit = m->matrix[k * n + k], together = truth + predicted - hit;
        all += truth;
        right += hit;
        if (together == 0) continue;
        sum += (double)hit / (double)together;
        counted++;
    }
    each(ctx, "pixel_accuracy", all ? (double)right / (double)all : 0);
    each(ctx, "miou", counted ? sum / (double)counted : 0);
}

static const uint64_t *segment_matrix(const void *self) {
    return ((const segment_metrics *)self)->matrix;
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

/* Pixels of each class; fails where the output is not finite. */
static int32_t count_classes(const cvr_tensor *output, int64_t row, uint64_t count[IGNORED], cvr_error *err) {
    const int64_t classes = output->shape[1], pixels = output->shape[2] * output->shape[3];
    const float *logits = (const float *)output->data + row * pixels * output->pixel_stride;
    for (int64_t i = 0; i < pixels; i++, logits += output->pixel_stride) {
        for (int64_t k = 0; k < classes; k++) {
            if (!isfinite(logits[k]))
                return cvr_fail(err, CVR_ERR_NUMERIC, "the network's output is not finite; its weights are broken");
        }
        count[argmax(logits, classes)]++;
    }
    return CVR_OK;
}

/* The classes that take most of the picture, with their share of it. */
static int32_t segment_predict(const cvr_task_info *info, const cvr_tensor *output, int64_t row,
                               const cvr_prediction_sink *sink, cvr_error *err) {
    uint64_t count[IGNORED] = {0};
    char json[8192], line[2048] = "", name[1200];
    const int64_t n = output->rank == 4 ? output->shape[1] : 0;
    if (n != info->n_classes || n > IGNORED)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has %lld outputs a pixel for %lld classes", (long long)n,
                        (long long)info->n_classes);
    const int32_t status = count_classes(output, row, count, err);
    if (status != CVR_OK) return status;
    const double pixels = (double)(output->shape[2] * output->shape[3]);
    size_t at = (size_t)snprintf(json, sizeof json, "\"classes\": ["), shown = 0;
    for (int64_t i = 0; i < SHOWN_CLASSES; i++) {
        int64_t k = 0;
        for (int64_t j = 1; j < n; j++) k = count[j] > count[k] ? j : k;
        if (count[k] == 0) break;
        const double share = (double)count[k] / pixels;
        json_name(name, sizeof name, info->class_names[k]);
        at += (size_t)snprintf(json + at, sizeof json - at, "%s{\"index\": %lld, \"name\": %s, \"share\": %.6f}",
                               i ? ", " : "", (long long)k, name, share);
        shown += (size_t)snprintf(line + shown, sizeof line - shown, "%s%.200s %.1f %%", i ? ", " : "",
                                  info->class_names[k], 100 * share);
        if (i == 0) {
            char cells[1300];
            (void)snprintf(cells, sizeof cells, "%lld,%s,%.6f", (long long)k, name, share);
            sink->csv(sink, cells);
        }
        count[k] = 0;
    }
    (void)snprintf(json + at, sizeof json - at, "]");
    sink->json(sink, json);
    sink->line(sink, line);
    return CVR_OK;
}

static const cvr_task_desc segment_task = {.struct_size = sizeof segment_task,
                                           .name = "segment",
                                           .doc = "a class for each pixel",
                                           .target_kind = CVR_FIELD_MASK,
                                           .target = segment_target,
                                           .loss = segment_loss,
                                           .best_metric = "miou",
                                           .metrics_open = segment_open,
                                           .metrics_update = segment_update,
                                           .metrics_result = segment_result,
                                           .metrics_matrix = segment_matrix,
                                           .metrics_close = segment_close,
                                           .predict = segment_predict,
                                           .csv_header = "index,name,share"};

static int32_t segment_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &segment_task, err);
}

CVR_DEFINE_PLUGIN("task_segment", "0.1.0", "layer:cross_entropy", segment_load)
