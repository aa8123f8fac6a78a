/*
 * What is taken for what. Detections from a score of 0.25 on count. Pairs of an object and a detection that cover each
 * other with an IoU over 0.45 are joined, those of one class first, then of whatever classes, in each the largest IoU
 * first, each object and each detection once: an object that was found is not confused. A pair counts at (class of the
 * object, class of the detection); an object that is left at (its class, background), a detection that is left at
 * (background, its class). Crowds and difficult objects do not count; neither does a detection that is left and that
 * covers one of them so (of a crowd: with 0.45 of its own area). Score and IoU are those that users of Ultralytics are
 * used to.
 */
#ifndef CVR_DETECT_CONFUSION_H
#define CVR_DETECT_CONFUSION_H

#include "coco_ap.h"
#include "host_array.h"

#define CONFUSION_SCORE 0.25
#define CONFUSION_IOU 0.45
#define CONFUSION_MOST_CLASSES                                                                                         \
    2048 /* with more there is no matrix: nobody could look at it, and it grows by the square */

typedef struct detect_confusion {
    const cvr_host *host;
    int64_t n_classes;
    uint64_t *counts; /* (K + 1, K + 1), rows the truth, background last; NULL: they are not kept */
    host_array pairs, partner;
} detect_confusion;

/* How one picture went: objects and detections that count, and pairs of one class. */
typedef struct detect_tally {
    uint64_t objects, found, right;
} detect_tally;

int32_t confusion_add(detect_confusion *c, const coco_picture *p, detect_tally *tally, cvr_error *err);
void confusion_free(detect_confusion *c);

#endif
