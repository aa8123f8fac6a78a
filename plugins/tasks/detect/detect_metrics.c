/*
 * Metrics of a split: COCO's and VOC's average precision, what is taken for what, and curves. What has no object to be
 * measured on (COCO's -1) is NaN. Pictures are matched as they come; counting waits until someone asks.
 */
#include "detect_confusion.h"
#include "detect_curves.h"
#include "detect_found.h"
#include "detect_task.h"
#include "detect_truth.h"
#include "voc_ap.h"
#include <math.h>

typedef struct detect_metrics {
    cvr_task_info info;
    coco_ap *boxes, *masks; /* masks NULL: the network has none */
    voc_ap *voc;
    detect_curves *curves;
    detect_confusion confusion;
    detect_found found;
    detect_truth truth;
    uint64_t counted, added; /* pictures */
} detect_metrics;

/* All detections count, whatever their score. */
static detect_filter everything(const cvr_task_info *info, int32_t masks) {
    return (detect_filter){.n_classes = info->n_classes, .least_score = -INFINITY, .iou = 1, .masks = masks};
}

/* ---- open, close ---- */

static int32_t open_confusion(detect_confusion *c, int64_t n_classes, cvr_error *err) {
    const uint64_t n = (uint64_t)n_classes + 1, bytes = n * n * sizeof *c->counts;
    c->n_classes = n_classes;
    if (n_classes > CONFUSION_MOST_CLASSES) return CVR_OK;
    c->counts = c->host->alloc(c->host, bytes, 64);
    if (!c->counts)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the confusion matrix of %lld classes",
                        (long long)n_classes);
    memset(c->counts, 0, bytes);
    return CVR_OK;
}

static int32_t open_parts(detect_metrics *m, cvr_error *err) {
    const cvr_host *const host = m->info.host;
    coco_settings set = {.host = host, .n_classes = m->info.n_classes, .most = {1, 10, 100}};
    CVR_TRY(coco_open(&m->boxes, &set, err));
    set.masks = 1;
    if (detect_reads_masks(&m->info)) CVR_TRY(coco_open(&m->masks, &set, err));
    CVR_TRY(voc_open(&m->voc, host, m->info.n_classes, err));
    CVR_TRY(curves_open(&m->curves, host, m->info.n_classes, err));
    return open_confusion(&m->confusion, m->info.n_classes, err);
}

int32_t detect_open(const cvr_task_info *info, void **self, cvr_error *err) {
    const cvr_host *const host = info->host;
    detect_metrics *const m = host->alloc(host, sizeof *m, 16);
    if (!m) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *m = (detect_metrics){.info = *info, .counted = UINT64_MAX};
    m->found.host = m->truth.host = m->confusion.host = host;
    const int32_t status = open_parts(m, err);
    if (status != CVR_OK)
        detect_close(m);
    else
        *self = m;
    return status;
}

void detect_close(void *self) {
    detect_metrics *const m = self;
    const cvr_host *const host = m->info.host;
    coco_close(m->boxes);
    coco_close(m->masks);
    voc_close(m->voc);
    curves_close(m->curves);
    confusion_free(&m->confusion);
    detect_found_free(&m->found);
    detect_truth_free(&m->truth);
    host->free(host, m);
}

/* ---- pictures ---- */

static coco_picture picture_of(const cvr_origin *origin, const detect_found *found, const detect_truth *truth) {
    return (coco_picture){origin->id, found->rows.data, truth->rows.data, found->rows.n, truth->rows.n};
}

static int32_t add_row(detect_metrics *m, const cvr_task_batch *batch, int64_t row, cvr_error *err) {
    const detect_filter filter = everything(&m->info, m->masks != NULL);
    detect_tally tally;
    CVR_TRY(detect_found_read(&m->found, &filter, batch->outputs, row, err));
    CVR_TRY(detect_truth_read(&m->truth, &m->info, batch->targets, row, err));
    const coco_picture p = picture_of(batch->targets->origins[row], &m->found, &m->truth);
    CVR_TRY(coco_add(m->boxes, &p, err));
    if (m->masks && m->found.has_masks && m->truth.exact) CVR_TRY(coco_add(m->masks, &p, err));
    CVR_TRY(curves_room(m->curves, m->boxes, err));
    CVR_TRY(voc_add(m->voc, &p, err));
    CVR_TRY(confusion_add(&m->confusion, &p, &tally, err));
    m->added++;
    return CVR_OK;
}

static int32_t has_targets(const cvr_task_batch *batch) {
    return cvr_batch_find(batch->targets, CVR_FIELD_BOXES) != NULL;
}

int32_t detect_update(void *self, const cvr_task_batch *batch, cvr_error *err) {
    detect_metrics *const m = self;
    if (!has_targets(batch)) return CVR_OK;
    for (int64_t i = 0; i < batch->targets->n; i++) CVR_TRY(add_row(m, batch, i, err));
    return CVR_OK;
}

/* ---- counting ---- */

/* pycocotools' AP is too low by such objects, and ours with it. */
static void warn_of_id_zero(const detect_metrics *m) {
    static int32_t told;
    char text[256];
    if (told || coco_id_zero(m->boxes) == 0) return;
    told = 1;
    (void)snprintf(text, sizeof text,
                   "an annotation of the validation data has the id 0: pycocotools, and so the metrics here, takes its "
                   "object for one that nobody finds; number annotations from 1 on");
    m->info.host->log(m->info.host, CVR_LOG_WARNING, text);
}

static void count(const detect_metrics *self) {
    detect_metrics *const m = (detect_metrics *)(uintptr_t)self;
    if (m->counted == m->added) return;
    coco_count(m->boxes);
    if (m->masks) coco_count(m->masks);
    voc_count(m->voc);
    curves_make(m->curves, m->boxes);
    m->counted = m->added;
    warn_of_id_zero(m);
}

/* Over the classes that have objects, at the confidence where they are best. */
static void tell_best(const detect_metrics *m, cvr_metric_fn each, void *ctx) {
    detect_best mean = {0, 0, 0};
    double n = 0;
    for (int64_t k = 0; k < m->info.n_classes; k++) {
        const detect_best *const best = curves_best(m->curves, k);
        if (isnan(best->f1)) continue;
        mean.precision += best->precision;
        mean.recall += best->recall;
        mean.f1 += best->f1;
        n++;
    }
    each(ctx, "precision", n > 0 ? mean.precision / n : NAN);
    each(ctx, "recall", n > 0 ? mean.recall / n : NAN);
    each(ctx, "f1", n > 0 ? mean.f1 / n : NAN);
    each(ctx, "best_confidence", curves_confidence(m->curves));
}

static double or_nan(double x) {
    return x < 0 ? NAN : x;
}

#define FIRST_STATS 3 /* what rows and pictures with room for few have to show */

static void tell_stats(const coco_ap *c, const char *prefix, int from, int past, cvr_metric_fn each, void *ctx) {
    static const char *const names[COCO_STATS] = {"map", "map50", "map75", "map_small", "map_medium", "map_large",
                                                  "ar1", "ar10",  "ar100", "ar_small",  "ar_medium",  "ar_large"};
    double stats[COCO_STATS];
    char name[32];
    coco_stats(c, stats);
    for (int i = from; i < past; i++) {
        (void)snprintf(name, sizeof name, "%s%s", prefix, names[i]);
        each(ctx, name, or_nan(stats[i]));
    }
}

void detect_result(const void *self, cvr_metric_fn each, void *ctx) {
    const detect_metrics *const m = self;
    double voc07, voc10;
    count(m);
    tell_stats(m->boxes, "", 0, FIRST_STATS, each, ctx);
    if (m->masks) tell_stats(m->masks, "mask_", 0, FIRST_STATS, each, ctx);
    tell_stats(m->boxes, "", FIRST_STATS, COCO_STATS, each, ctx);
    voc_means(m->voc, &voc07, &voc10);
    each(ctx, "voc07", voc07);
    each(ctx, "voc10", voc10);
    tell_best(m, each, ctx);
    if (m->masks) tell_stats(m->masks, "mask_", FIRST_STATS, COCO_STATS, each, ctx);
}

void detect_per_class(const void *self, cvr_class_metric_fn each, void *ctx) {
    const detect_metrics *const m = self;
    count(m);
    for (int64_t k = 0; k < m->info.n_classes; k++) {
        const detect_best *const best = curves_best(m->curves, k);
        each(ctx, k, "ap", or_nan(coco_class_ap(m->boxes, k, -1)));
        each(ctx, k, "ap50", or_nan(coco_class_ap(m->boxes, k, 0)));
        if (m->masks) {
            each(ctx, k, "mask_ap", or_nan(coco_class_ap(m->masks, k, -1)));
            each(ctx, k, "mask_ap50", or_nan(coco_class_ap(m->masks, k, 0)));
        }
        each(ctx, k, "ar100", or_nan(coco_class_ar(m->boxes, k, -1)));
        each(ctx, k, "precision", best->precision);
        each(ctx, k, "recall", best->recall);
        each(ctx, k, "f1", best->f1);
    }
}

const uint64_t *detect_matrix(const void *self) {
    return ((const detect_metrics *)self)->confusion.counts;
}

uint32_t detect_metrics_curves(const void *self, const cvr_curve *const **curves) {
    const detect_metrics *const m = self;
    count(m);
    return curves_list(m->curves, curves);
}

/* ---- one picture ---- */

typedef struct scoring {
    detect_found found;
    detect_truth truth;
    detect_confusion confusion;
} scoring;

/* 2 * right / (objects + found); NaN where there is nothing, and nothing was found. */
static int32_t score_row(scoring *s, const cvr_task_info *info, const cvr_task_batch *batch, int64_t row, double *score,
                         cvr_error *err) {
    const detect_filter filter = everything(info, 0);
    detect_tally t;
    CVR_TRY(detect_found_read(&s->found, &filter, batch->outputs, row, err));
    CVR_TRY(detect_truth_read(&s->truth, info, batch->targets, row, err));
    const coco_picture p = picture_of(batch->targets->origins[row], &s->found, &s->truth);
    CVR_TRY(confusion_add(&s->confusion, &p, &t, err));
    *score = t.objects + t.found ? 2 * (double)t.right / (double)(t.objects + t.found) : NAN;
    return CVR_OK;
}

int32_t detect_scores(const cvr_task_info *info, const cvr_task_batch *batch, double *scores, cvr_error *err) {
    scoring s = {{.host = info->host}, {.host = info->host}, {.host = info->host, .n_classes = info->n_classes}};
    int32_t status = CVR_OK;
    for (int64_t i = 0; i < batch->targets->n && status == CVR_OK; i++) {
        scores[i] = NAN;
        if (has_targets(batch)) status = score_row(&s, info, batch, i, &scores[i], err);
    }
    detect_found_free(&s.found);
    detect_truth_free(&s.truth);
    confusion_free(&s.confusion);
    return status;
}
