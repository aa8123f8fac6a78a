/*
 * Task "segment": a class for each pixel (Long, Shelhamer, Darrell: "Fully Convolutional Networks for Semantic
 * Segmentation", 2015). Loss: cross entropy over the pixels that count, or what train.loss names; 255 in a mask is a
 * pixel that does not.
 * Metrics, from the confusion matrix of all pixels: the share that is right, over all and as the mean over classes; and
 * the means of intersection over union and of dice, where a class counts once it is in a mask or in a prediction.
 */
#include "../task_losses.h"
#include "loss_terms.h"
#include "segment_overlay.h"
#include <math.h>

#define SHOWN_CLASSES 5
#define OUTPUT "output"

typedef struct segment_attrs {
    const char *loss;
    double aux_weight;
} segment_attrs;

/* output: (N, n_classes, H, W) f32; target: (N, H, W) i64 */
static int32_t check_output(const cvr_task_info *info, const cvr_type *output, const cvr_type *target, cvr_error *err) {
    if (output->rank != 4 || output->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has rank %u; segmentation needs (N, classes, H, W): end it with a "
                        "convolution",
                        output->rank);
    if (output->shape[1] != info->n_classes || info->n_classes > SEGMENT_IGNORED)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output has %lld numbers a pixel for %lld classes (at most %d); change its last "
                        "layer",
                        (long long)output->shape[1], (long long)info->n_classes, SEGMENT_IGNORED);
    if (output->shape[2] != target->shape[1] || output->shape[3] != target->shape[2])
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network's output is %lld x %lld for masks of %lld x %lld; bring it to the picture's size "
                        "with resize",
                        (long long)output->shape[3], (long long)output->shape[2], (long long)target->shape[2],
                        (long long)target->shape[1]);
    return CVR_OK;
}

/* The message names a layer; which key it comes from is said before it. */
static int32_t blame_loss(int32_t status, cvr_error *err) {
    char why[sizeof err->message];
    (void)snprintf(why, sizeof why, "%s", err->message);
    return cvr_fail(err, status, "train.loss: %.*s", (int)sizeof why - 32, why);
}

/* One loss has the names of the results; of several each has its own. */
static int32_t segment_losses(const cvr_builder *b, const cvr_task_info *info, const cvr_io *io, cvr_error *err) {
    const segment_attrs *const a = info->attrs;
    loss_term terms[LOSS_MOST_TERMS];
    uint32_t n;
    CVR_TRY(loss_terms_read(a->loss, "ignore_index=255", terms, &n, err));
    for (uint32_t i = 0; i < n; i++) {
        const task_loss loss = {.layer = terms[i].layer,
                                .field = "mask",
                                .settings = terms[i].settings,
                                .name = n > 1 ? terms[i].layer : NULL,
                                .weight = terms[i].weight,
                                .aux_weight = a->aux_weight,
                                .aux_usual = 0.5,
                                .check = check_output,
                                .prepare = task_class_weights};
        const int32_t status = task_add_losses(b, info, io, &loss, err);
        if (status == CVR_ERR_NOTFOUND) return blame_loss(status, err);
        if (status != CVR_OK) return status;
    }
    return CVR_OK;
}

static int32_t segment_pipeline(const cvr_task_info *info, const cvr_pipeline *p, cvr_error *err) {
    (void)info;
    return cvr_pipeline_usual(p, err);
}

/* ---- metrics ---- */

static int32_t segment_open(const cvr_task_info *info, void **self, cvr_error *err) {
    if (info->n_classes > SEGMENT_IGNORED)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%lld classes; a mask can tell %d apart", (long long)info->n_classes,
                        SEGMENT_IGNORED);
    *self = task_matrix_new(info->host, info->n_classes, err);
    return *self ? CVR_OK : CVR_ERR_NOMEM;
}

static void segment_close(void *self) {
    task_matrix *const m = self;
    m->host->free(m->host, m);
}

/* output: (N, classes, H, W) f32, in memory (N, H, W, classes); mask: (N, H, W) i64 */
static int32_t segment_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    task_matrix *const m = self;
    const cvr_named_tensor *const output = cvr_batch_find(batch->outputs, OUTPUT);
    const cvr_named_tensor *const mask = cvr_batch_find(batch->targets, "mask");
    if (!output) return cvr_fail(err, CVR_ERR_INVALID, "the network has no result `" OUTPUT "`");
    const cvr_tensor *const x = &output->tensor;
    const int64_t classes = x->shape[1], pixels = x->shape[0] * x->shape[2] * x->shape[3];
    for (int64_t i = 0; mask && i < pixels; i++) {
        const int64_t truth = ((const int64_t *)mask->tensor.data)[i];
        if (truth == SEGMENT_IGNORED) continue;
        if (truth < 0 || truth >= classes)
            return cvr_fail(err, CVR_ERR_INVALID, "class %lld in a mask; there are %lld classes", (long long)truth,
                            (long long)classes);
        m->count[truth * m->n + cvr_argmax((const float *)x->data + i * x->pixel_stride, classes)]++;
    }
    return CVR_OK;
}

/* iou = right / (truth + predicted - right), dice = 2 * right / (truth + predicted), accuracy = right / truth */
static double iou_of(const task_class *c) {
    return task_share(c->right, c->truth + c->predicted - c->right);
}
static double dice_of(const task_class *c) {
    return task_share(2 * c->right, c->truth + c->predicted);
}

typedef struct mean {
    double sum;
    int64_t n;
} mean;

static void mean_add(mean *m, double x) {
    if (isnan(x)) return;
    m->sum += x;
    m->n++;
}

static double mean_of(const mean *m) {
    return m->n ? m->sum / (double)m->n : 0;
}

static void segment_result(const void *self, cvr_metric_fn each, void *ctx) {
    const task_matrix *const m = self;
    uint64_t all = 0, right = 0;
    mean accuracy = {0, 0}, iou = {0, 0}, dice = {0, 0};
    for (int64_t k = 0; k < m->n; k++) {
        const task_class c = task_matrix_class(m, k);
        all += c.truth;
        right += c.right;
        mean_add(&accuracy, task_share(c.right, c.truth));
        mean_add(&iou, iou_of(&c));
        mean_add(&dice, dice_of(&c));
    }
    each(ctx, "pixel_accuracy", all ? (double)right / (double)all : 0);
    each(ctx, "mean_accuracy", mean_of(&accuracy));
    each(ctx, "miou", mean_of(&iou));
    each(ctx, "dice", mean_of(&dice));
}

static void segment_per_class(const void *self, cvr_class_metric_fn each, void *ctx) {
    const task_matrix *const m = self;
    for (int64_t k = 0; k < m->n; k++) {
        const task_class c = task_matrix_class(m, k);
        each(ctx, k, "accuracy", task_share(c.right, c.truth));
        each(ctx, k, "iou", iou_of(&c));
        each(ctx, k, "dice", dice_of(&c));
    }
}

static const uint64_t *segment_matrix(const void *self) {
    return ((const task_matrix *)self)->count;
}

/* ---- one picture ---- */

/* Mean IoU over the classes that are in the mask or in the prediction; NaN where no pixel counts. */
static double picture_iou(const cvr_tensor *x, const int64_t *mask, int64_t row) {
    const int64_t classes = x->shape[1], pixels = x->shape[2] * x->shape[3];
    const float *const scores = (const float *)x->data + row * pixels * x->pixel_stride;
    task_class count[SEGMENT_IGNORED];
    mean iou = {0, 0};
    memset(count, 0, sizeof count);
    for (int64_t i = 0; i < pixels; i++) {
        const int64_t truth = mask[row * pixels + i];
        if (truth < 0 || truth >= classes) continue;
        const int64_t said = cvr_argmax(scores + i * x->pixel_stride, classes);
        count[truth].truth++;
        count[said].predicted++;
        count[said].right += truth == said;
    }
    for (int64_t k = 0; k < classes; k++) mean_add(&iou, iou_of(&count[k]));
    return iou.n ? mean_of(&iou) : NAN;
}

static int32_t segment_scores(const cvr_task_info *info, const cvr_task_batch *batch, double *scores, cvr_error *err) {
    const cvr_named_tensor *const output = cvr_batch_find(batch->outputs, OUTPUT);
    const cvr_named_tensor *const mask = cvr_batch_find(batch->targets, "mask");
    if (!output || output->tensor.rank != 4 || output->tensor.shape[1] != info->n_classes ||
        info->n_classes > SEGMENT_IGNORED)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has no result `" OUTPUT "` of %lld classes",
                        (long long)info->n_classes);
    for (int64_t i = 0; i < batch->targets->n; i++)
        scores[i] = mask ? picture_iou(&output->tensor, mask->tensor.data, i) : NAN;
    return CVR_OK;
}

/* ---- prediction ---- */

/* JSON and line have the classes that are there, the largest first; the table has a row for each class. */
static int32_t tell_shares(const cvr_task_info *info, const segment_mask *mask, const char *file,
                           const cvr_prediction_sink *sink, cvr_error *err) {
    segment_share shares[SEGMENT_IGNORED];
    const int64_t n = segment_shares(mask, info->n_classes, shares);
    const uint64_t room = (uint64_t)(n + 2) * 1400;
    char line[2048] = "", name[1200], cells[1300], percent[16], *const json = info->host->alloc(info->host, room, 16);
    size_t at, shown = 0;
    if (!json) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the shares of classes");
    (void)cvr_json_string(name, sizeof name, file);
    at = (size_t)snprintf(json, room, "\"mask\": %s, \"classes\": [", name);
    for (int64_t i = 0; i < n; i++) {
        const char *const class_name = info->class_names[shares[i].klass];
        (void)cvr_json_string(name, sizeof name, class_name);
        at += (size_t)snprintf(json + at, room - at, "%s{\"index\": %lld, \"name\": %s, \"share\": %.6f}",
                               i ? ", " : "", (long long)shares[i].klass, name, shares[i].share);
        segment_percent(percent, shares[i].share);
        if (i < SHOWN_CLASSES)
            shown +=
                (size_t)snprintf(line + shown, sizeof line - shown, "%s%.200s %s", i ? ", " : "", class_name, percent);
    }
    (void)snprintf(json + at, room - at, "]");
    sink->json(sink, json);
    sink->line(sink, line);
    info->host->free(info->host, json);
    for (int64_t k = 0; k < info->n_classes; k++) {
        (void)cvr_csv_string(name, sizeof name, info->class_names[k]);
        (void)snprintf(cells, sizeof cells, "%lld,%s,%.6f", (long long)k, name,
                       mask->seen ? task_share(mask->count[k], mask->seen) : 0.0);
        sink->csv(sink, cells);
    }
    return CVR_OK;
}

static int32_t make_mask(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row, segment_mask *mask,
                         cvr_error *err) {
    const cvr_named_tensor *const output = cvr_batch_find(outputs, OUTPUT);
    const int64_t n = output && output->tensor.rank == 4 ? output->tensor.shape[1] : 0;
    if (n != info->n_classes || n > SEGMENT_IGNORED)
        return cvr_fail(err, CVR_ERR_INVALID, "the network has %lld outputs a pixel for %lld classes", (long long)n,
                        (long long)info->n_classes);
    return segment_mask_make(mask, info->host, &output->tensor, row, outputs->origins[row], err);
}

static int32_t segment_predict(const cvr_task_info *info, const cvr_batch_view *outputs, int64_t row,
                               const cvr_prediction_sink *sink, cvr_error *err) {
    segment_mask mask;
    const char *file = "";
    char name[1024];
    int32_t status;
    CVR_TRY(make_mask(info, outputs, row, &mask, err));
    CVR_TRY_OUT(segment_mask_write(&mask, "_mask.png", sink, &file, err));
    (void)snprintf(name, sizeof name, "%s", file ? file : "");
    CVR_TRY_OUT(segment_overlay_write(info, &mask, sink, err));
    CVR_TRY_OUT(tell_shares(info, &mask, name, sink, err));
out:
    segment_mask_free(&mask);
    return status;
}

/* NAME.png of the picture's own size: indices of classes, 255 where the network did not see a pixel. */
static int32_t segment_save(const cvr_task_info *info, const cvr_task_batch *batch, int64_t row,
                            const cvr_prediction_sink *sink, cvr_error *err) {
    segment_mask mask;
    CVR_TRY(make_mask(info, batch->outputs, row, &mask, err));
    const int32_t status = segment_mask_write(&mask, ".png", sink, NULL, err);
    segment_mask_free(&mask);
    return status;
}

static const cvr_attr_desc *const segment_keys[] = {
    CVR_ATTR(STRING, "loss", "cross_entropy",
             "what is trained: a layer of losses, or a sum, cross_entropy + 0.5 * dice(smooth=1)"),
    CVR_ATTR(FLOAT, "aux_weight", "-1",
             "weight of the losses of auxiliary results; -1: as the model says, 0.5 where it does not",
             CVR_ATTR_AT_LEAST(-1)),
};

static const cvr_want mask_want = {.struct_size = sizeof mask_want,
                                   .field = "mask",
                                   .kind = CVR_FIELD_MASK,
                                   .dtype = CVR_I64,
                                   .remedy = "choose another data.format"};
static const cvr_want *const wants[] = {&mask_want};

static const cvr_task_desc segment_task = {.struct_size = sizeof segment_task,
                                           .name = "segment",
                                           .doc = "a class for each pixel",
                                           .n_attrs = sizeof segment_keys / sizeof *segment_keys,
                                           .n_wants = 1,
                                           .attrs = segment_keys,
                                           .wants = wants,
                                           .pipeline = segment_pipeline,
                                           .losses = segment_losses,
                                           .best_metric = "miou",
                                           .pads = 1,
                                           .metrics_open = segment_open,
                                           .metrics_update = segment_update,
                                           .metrics_result = segment_result,
                                           .metrics_per_class = segment_per_class,
                                           .metrics_matrix = segment_matrix,
                                           .metrics_close = segment_close,
                                           .predict = segment_predict,
                                           .csv_header = "index,name,share",
                                           .dense = OUTPUT,
                                           .scores = segment_scores,
                                           .score_name = "iou",
                                           .save = segment_save};

static int32_t segment_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_TASK, &segment_task, err);
}

CVR_DEFINE_PLUGIN("task_segment", "0.1.0", "layer:cross_entropy op:expand", segment_load)
